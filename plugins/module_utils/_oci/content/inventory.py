# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What a layout has, whatever its documents say of it: its blobs, and the files that are none of its own. Nothing is read but names."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import typing as t

from ..spec.digest import ALGORITHMS, Digest, is_digest
from ..spec.errors import InvalidError, NotFoundError
from ..spec.strictjson import MAX_DOCUMENT
from .archive_file import BLOBS, DOCKER_MANIFEST, INDEX, OCI_LAYOUT_FILE, ArchiveFile
from .beneath import TEMP_PREFIX, folder, folder_beneath, open_beneath
from .names import IndexedStore

if t.TYPE_CHECKING:
    from .archive import Archive
    from .layout import Layout

_OWN = (INDEX, OCI_LAYOUT_FILE, BLOBS)


class Stored(t.NamedTuple):
    """A blob's file. ``touched``: when it was last written or got its name, in seconds since 1970; 0 in a tar, which is written whole."""

    size: int
    touched: float = 0.0


class Inventory(t.NamedTuple):
    """``foreign``: paths in the layout that are none of its own, folders with a slash at the end, unseen what is in them.
    ``unfinished``: what writers that were cut short have left. ``saved``: the blobs that docker save's manifest.json names."""

    blobs: t.Dict[Digest, Stored]
    foreign: t.List[str]
    unfinished: t.List[str]
    saved: t.FrozenSet[Digest]

    @property
    def size(self) -> int:
        return sum(stored.size for stored in self.blobs.values())


def inventory_of(store: IndexedStore) -> Inventory:
    """Raises NotFoundError when there is no layout, InvalidError for one whose own folders or files are links."""
    return _of_archive(t.cast("Archive", store).opened()) if store.is_tar else _of_folder(t.cast("Layout", store).path)


def _of_archive(file: ArchiveFile) -> Inventory:
    blobs: t.Dict[Digest, Stored] = {}
    foreign = list(file.links)
    for name, member in file.members.items():
        digest = _digest_of(name)
        if digest is not None:
            blobs[digest] = Stored(member.size)
        elif name not in _OWN:
            foreign.append(name)
    return Inventory(blobs, sorted(foreign), [], _saved(lambda: _members_saved(file)))


def _of_folder(path: str) -> Inventory:
    found = Inventory({}, [], [], _saved(lambda: _files_saved(path)))
    with folder(path) as root:
        for entry in _entries(root):
            if entry.name.startswith(TEMP_PREFIX):
                found.unfinished.append(entry.name)
            elif entry.name not in _OWN:
                found.foreign.append(_shown(entry))
        with contextlib.suppress(NotFoundError), folder_beneath(root, [BLOBS]) as blobs:
            for entry in _entries(blobs):
                if entry.name in ALGORITHMS and entry.is_dir(follow_symlinks=False):
                    _add_blobs(found, blobs, entry.name)
                else:
                    found.foreign.append(f"{BLOBS}/{_shown(entry)}")
    return found


def _add_blobs(found: Inventory, blobs: int, algorithm: str) -> None:
    with folder_beneath(blobs, [algorithm]) as parent:
        for entry in _entries(parent):
            place = f"{BLOBS}/{algorithm}/{entry.name}"
            digest = _digest_of(place)
            status = _status(entry)
            if digest is not None and status is not None and stat.S_ISREG(status.st_mode):
                # The change time, because a link or a rename gives an old file its name now.
                found.blobs[digest] = Stored(status.st_size, max(status.st_mtime, status.st_ctime))
            elif status is not None:
                found.foreign.append(place + "/" * stat.S_ISDIR(status.st_mode))


def _entries(descriptor: int) -> t.List[os.DirEntry[str]]:
    with os.scandir(descriptor) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _shown(entry: os.DirEntry[str]) -> str:
    return entry.name + "/" * entry.is_dir(follow_symlinks=False)


def _status(entry: os.DirEntry[str]) -> t.Optional[os.stat_result]:
    """None for what went away meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return entry.stat(follow_symlinks=False)
    return None


def _digest_of(place: str) -> t.Optional[Digest]:
    """The digest that a path in a layout stands for; None for one that is no blob of a digest that can be verified."""
    parts = place.split("/")
    text = ":".join(parts[1:])
    return Digest(text) if len(parts) == 3 and parts[0] == BLOBS and is_digest(text) else None


def _saved(names: t.Callable[[], t.Iterable[str]]) -> t.FrozenSet[Digest]:
    """A layout may have any other file: a manifest.json that is not Docker's names nothing."""
    try:
        return frozenset(digest for digest in map(_digest_of, names()) if digest is not None)
    except (InvalidError, NotFoundError):
        return frozenset()


def _members_saved(file: ArchiveFile) -> t.Iterator[str]:
    for name in _names_in(file.slice(DOCKER_MANIFEST).read(MAX_DOCUMENT + 1)):
        with contextlib.suppress(InvalidError, NotFoundError):
            yield file.followed(name).name


def _files_saved(path: str) -> t.List[str]:
    with folder(path) as root, open_beneath(root, [DOCKER_MANIFEST]) as file:
        return _names_in(io.BufferedReader(t.cast(io.RawIOBase, file)).read(MAX_DOCUMENT + 1))


def _names_in(content: bytes) -> t.List[str]:
    from .docker_archive import parse_saved  # few layouts have one

    return [name for image in parse_saved(content) for name in (image.config, *image.layers)]

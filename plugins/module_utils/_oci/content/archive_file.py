# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The bytes of a layout tar, or of one of docker save: where each member lies. Nothing is ever extracted."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
import tempfile
import typing as t
from dataclasses import dataclass

from ..spec.errors import InvalidError, NotFoundError
from . import tar
from .codec import MAGIC_SIZE, inflated, sniff
from .compression import NONE
from .slices import Slice

INDEX, OCI_LAYOUT_FILE, BLOBS = "index.json", "oci-layout", "blobs"
DOCKER_MANIFEST = "manifest.json"
_ONLY_ONCE = (INDEX, OCI_LAYOUT_FILE, DOCKER_MANIFEST)
_MAX_MEMBERS = 200_000  # more than twice the nodes that a graph may have; each costs memory
_MAX_LINKS = 40  # from one to the next, as Linux follows them


@dataclass(frozen=True)
class Member:
    """``size`` bytes of content at ``offset``."""

    name: str
    offset: int
    size: int


class ArchiveFile:
    """An existing tar, open to read. ``members`` by name (``./`` taken off); ``links``: what else has a name, with the name that it points
    at, None for devices; ``compressed``: the codec around the whole tar."""

    def __init__(self, path: str) -> None:
        self._stack = contextlib.ExitStack()
        file = self._stack.enter_context(_open_regular(path))
        self.status = os.fstat(file.fileno())
        self.compressed = NONE
        try:
            self._file = self._plain(file)
            self.members = self._read_members()
        except BaseException:
            self.close()
            raise

    def _plain(self, file: t.BinaryIO) -> t.BinaryIO:
        self.compressed = sniff(os.pread(file.fileno(), MAGIC_SIZE, 0))
        if self.compressed == NONE:
            return file
        plain = t.cast(t.BinaryIO, self._stack.enter_context(tempfile.TemporaryFile()))
        for chunk in inflated(file, self.compressed, f"the {self.compressed} around the tar"):
            plain.write(chunk)
        plain.flush()
        return plain

    def _read_members(self) -> t.Dict[str, Member]:
        length = os.fstat(self._file.fileno()).st_size
        self._file.seek(0)
        found: t.Dict[str, Member] = {}
        self.links: t.Dict[str, t.Optional[str]] = {}
        reader = tar.TarReader(self._file, length)
        for count, entry in enumerate(reader):
            if count >= _MAX_MEMBERS:
                raise InvalidError(f"the tar has more than {_MAX_MEMBERS} members")
            name = _normal_name(entry.name)
            if entry.kind == tar.DIRECTORY:
                continue
            if name in _ONLY_ONCE and (name in found or name in self.links):
                raise InvalidError(f"the tar has {name} twice")
            found.pop(name, None)
            self.links.pop(name, None)
            member = _member(entry, name, found)
            if member is None:
                self.links[name] = entry.link if entry.kind == tar.SYMLINK else None
            else:
                found[name] = member
        self._cut_at = None if reader.ended else length
        return found

    def lacking(self, name: str, what: str, hint: str = "") -> InvalidError:
        """The error for a tar that is not ``what``, because it has no ``name``: most tools write that last, so a cut takes it first."""
        if self._cut_at is None:
            return InvalidError(f"the tar is not {what}: no {name} in it{hint}")
        ends = f"it ends after {self._cut_at} bytes without the zeros that end a tar, and has no {name} (copy it here once more)"
        return InvalidError(f"the tar is cut short: {ends}")

    def refuse_links(self) -> None:
        """A layout has files: raises InvalidError when one of its own is a link or device, which are never followed or made."""
        for name in self.links:
            if name in (INDEX, OCI_LAYOUT_FILE, BLOBS) or name.startswith(BLOBS + "/"):
                raise InvalidError(f"the tar has {name!r} as a link or device, not as a file")

    def followed(self, name: str) -> Member:
        """The file of that name, through symbolic links that stay in the tar. Raises NotFoundError, InvalidError."""
        place = _normal_name(name)
        for _link in range(_MAX_LINKS):
            member = self.members.get(place)
            if member is not None:
                return member
            if place not in self.links:
                raise NotFoundError(f"no {name} in the tar" + ("" if place == name else f": it is a link to {place!r}, which is not there"))
            target = self.links[place]
            if target is None:
                raise InvalidError(f"the tar has {name!r} as a device, not as a file")
            place = _link_target(place, target)
        raise InvalidError(f"the tar has {name!r} as a link that leads through more than {_MAX_LINKS} others, or to itself")

    def slice(self, name: str) -> Slice:
        member = self.members.get(name)
        if member is None:
            raise NotFoundError(f"no {name} in the tar")
        return self.content(member)

    def content(self, member: Member) -> Slice:
        return Slice(self._file.fileno(), member.offset, member.size)

    def close(self) -> None:
        self._stack.close()


def _open_regular(path: str) -> t.BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError(f"no such file: {path}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidError(f"not a regular file: {path}")
    return open(descriptor, "rb", buffering=0)


def _member(entry: tar.Entry, name: str, found: t.Mapping[str, Member]) -> t.Optional[Member]:
    """The member that an entry is; None for symbolic links and devices."""
    if entry.kind == tar.FILE:
        return Member(name, entry.offset, entry.size)
    if entry.kind == tar.HARD_LINK:
        target = found.get(_normal_name(entry.link))
        if target is None:
            raise InvalidError(f"the tar has a hard link {name!r} to {entry.link!r}, which is not a file before it in the tar")
        return Member(name, target.offset, target.size)
    return None


def _link_target(name: str, target: str) -> str:
    """Where the link ``name`` points to, by its own folder."""
    place = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if posixpath.isabs(target) or place.split("/")[0] == "..":
        raise InvalidError(f"the tar has {name!r} as a link out of the tar: {target!r}")
    return place


def _normal_name(name: str) -> str:
    """Without ``./`` and doubled slashes; a name that leaves the tar is refused."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise InvalidError(f"the tar has a member outside of itself: {name!r}")
    return "/".join(parts)

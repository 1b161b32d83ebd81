# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What the tar of a folder holds: every member judged, and hashed, before one of them is written.

oras's convention (oras-go content/file): a layer with the annotation ``io.deis.oras.content.unpack: "true"`` is the tar of the
folder that its title names, usually gzip; members carry the title before their own path.
"""

from __future__ import annotations

import hashlib
import typing as t

from .content import tar
from .content.store import CHUNK
from .plaintar import Limits, PlainTar
from .spec.descriptor import CONTENT_DIGEST, UNPACK, Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError
from .titles import MemberPaths, Parts, check_apart, check_link

if t.TYPE_CHECKING:
    from .content.codec import Readable

# No setuid, setgid or sticky, not writable by others; its owner can always read a file, and enter and change a folder.
_MODE = 0o755
_FILE_MODE = 0o400
_FOLDER_MODE = 0o700
# What an entry may cost on average, in bytes of its name and link; a part of a path is an object, which counts as so many.
_ENTRY_COST, _PART_COST = 1024, 64


class Member(t.NamedTuple):
    """``path`` below the folder, () for the folder itself; ``kind`` is FILE, DIRECTORY or SYMLINK of ``content.tar``.

    ``mode``: permission bits. ``sha256``: hex digest of a file. ``link``: a symlink's target; for a file that was a hard link,
    the path of the file that it is a copy of.
    """

    path: Parts
    kind: str
    mode: int = 0
    size: int = 0
    sha256: str = ""
    link: str = ""


Listing = t.Tuple[Member, ...]
# Where in the tar the content of each file begins, in the tar's order.
Offsets = t.Dict[Parts, int]


def is_folder(desc: Descriptor) -> bool:
    """Whether the content of this titled descriptor is to be unpacked."""
    return desc.annotations.get(UNPACK) == "true"


def read_listing(raw: Readable, desc: Descriptor, title: Parts, limits: Limits, threaded: bool = False) -> t.Tuple[Listing, Offsets]:
    """List the tar that ``raw`` holds, the folder itself first, and where ``contents`` finds its files. Reads to the end.
    ``threaded`` as PlainTar has it.

    Raises InvalidError for any member that is not a plain file, folder or link within the folder, or beyond the limits;
    MismatchError when the tar is not the one that the annotation tells.
    """
    stated = desc.annotations.get(CONTENT_DIGEST)
    with PlainTar(raw, desc, limits, Digest(stated) if stated is not None else None, threaded=threaded) as stream:
        return _listed(stream, desc, title, limits)


def _listed(stream: PlainTar, desc: Descriptor, title: Parts, limits: Limits) -> t.Tuple[Listing, Offsets]:
    found: t.Dict[Parts, Member] = {(): Member((), tar.DIRECTORY, _MODE)}
    offsets: Offsets = {}
    paths = MemberPaths(title)
    reader, left = tar.TarReader(stream), limits.entries * _ENTRY_COST
    for count, entry in enumerate(reader):
        if count >= limits.entries:
            raise InvalidError(f"{desc.digest} has more than the limit of {limits.entries} entries: not unpacked")
        member = _member(entry, paths, reader, found)
        left -= len(entry.name) + len(member.link) + _PART_COST * len(member.path)
        if left < 0:
            raise InvalidError(f"{desc.digest} has names too long, or too deep, for the limit of {limits.entries} entries: not unpacked")
        _add(member, found)
        if entry.kind == tar.FILE:
            offsets[member.path] = entry.offset
    stream.finish()
    leaves = {path for path, member in found.items() if member.kind != tar.DIRECTORY}
    check_apart(leaves, found, "the tar member")
    return tuple(found.values()), offsets


def contents(
    raw: Readable, desc: Descriptor, offsets: Offsets, files: t.Mapping[Parts, Member], limits: Limits
) -> t.Generator[t.Tuple[Member, t.Iterator[bytes]], None, None]:
    """The content of these files of a tar that was listed before, in its order: each is to be read before the next is asked for.

    ``raw``: a local file, which is read until this is closed.
    """
    with PlainTar(raw, desc, limits, threaded=True) as stream:
        cursor = tar.Cursor(stream)
        for path, offset in offsets.items():
            member = files.get(path)
            if member is not None:
                cursor.skip_to(offset)
                yield member, cursor.pieces(member.size, CHUNK)


def _member(entry: tar.Entry, paths: MemberPaths, reader: tar.TarReader, found: t.Mapping[Parts, Member]) -> Member:
    path = paths.parse(entry.name)
    if entry.kind == tar.DIRECTORY:
        return Member(path, tar.DIRECTORY, entry.mode & _MODE | _FOLDER_MODE)
    if not path:
        raise InvalidError(f"the tar member {entry.name!r} is to be the folder itself, and is not a folder")
    if entry.kind == tar.FILE:
        return Member(path, tar.FILE, entry.mode & _MODE | _FILE_MODE, entry.size, _hash_content(reader, entry.size))
    if entry.kind == tar.SYMLINK:
        check_link(entry.link, path[:-1], f"the tar member {entry.name!r}")
        return Member(path, tar.SYMLINK, link=entry.link)
    if entry.kind == tar.HARD_LINK:
        return _hard_link(entry, path, paths, found)
    kind = tar.TYPE_NAMES.get(entry.kind, f"of type {entry.kind!r}")
    raise InvalidError(f"the tar member {entry.name!r} is {kind}: only files, folders and links are unpacked")


def _hash_content(reader: tar.TarReader, size: int) -> str:
    running = hashlib.sha256(reader.read(min(size, CHUNK)))
    if size > CHUNK:
        for chunk in iter(lambda: reader.read(CHUNK), b""):
            running.update(chunk)
    return running.hexdigest()


def _hard_link(entry: tar.Entry, path: Parts, paths: MemberPaths, found: t.Mapping[Parts, Member]) -> Member:
    """A file of its own with the same content, so that no link is ever made to what stands on disk."""
    target = found.get(paths.parse(entry.link))
    if target is None or target.kind != tar.FILE:
        raise InvalidError(f"the tar member {entry.name!r} is a hard link to {entry.link!r}, which is no file before it in the tar")
    return target._replace(path=path, link=target.link or "/".join(target.path))


def _add(member: Member, found: t.Dict[Parts, Member]) -> None:
    """A folder may stand in a tar more than once, anything else only once."""
    present = found.get(member.path)
    if present is not None and not present.kind == member.kind == tar.DIRECTORY:
        raise InvalidError(f"the tar member {'/'.join(member.path)!r} stands twice in the tar")
    found[member.path] = member

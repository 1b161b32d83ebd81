# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The bytes of a layout tar: where each member lies, and how a new tar is laid out. Nothing is ever extracted."""

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
from .codec import MAGIC_SIZE, NONE, inflated, sniff
from .slices import Slice

INDEX, OCI_LAYOUT_FILE, BLOBS = "index.json", "oci-layout", "blobs"
DOCKER_MANIFEST = "manifest.json"  # of docker save
_ONCE = (INDEX, OCI_LAYOUT_FILE, DOCKER_MANIFEST)
_MAX_LINKS = 8
_MAX_MEMBERS = 1_000_000


@dataclass(frozen=True)
class Member:
    """``size`` bytes of content at ``offset``."""

    name: str
    offset: int
    size: int


class ArchiveFile:
    """An existing layout tar, open to read. ``members`` by name (``./`` taken off); ``compressed``: the codec around the whole tar."""

    def __init__(self, path: str) -> None:
        self._stack = contextlib.ExitStack()
        file = self._stack.enter_context(_open_regular(path))
        self.status = os.fstat(file.fileno())
        self.compressed = NONE
        self._links: t.Dict[str, str] = {}
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
        for entry in tar.TarReader(self._file, length):
            member = _member(entry, found)
            if member is None:
                if entry.kind == tar.SYMLINK:
                    self._links[_normal_name(entry.name)] = entry.link
                continue
            if member.name in found and member.name in _ONCE:
                raise InvalidError(f"the tar has {member.name} twice")
            found[member.name] = member
            if len(found) > _MAX_MEMBERS:
                raise InvalidError(f"the tar has more than {_MAX_MEMBERS} members")
        return found

    def slice(self, name: str) -> Slice:
        member = self.members.get(name)
        if member is None:
            raise NotFoundError(f"no {name} in the tar")
        return Slice(self._file.fileno(), member.offset, member.size)

    def followed(self, path: str) -> str:
        """The member that a path leads to, through symbolic links of the tar and nothing else, as older ``docker save`` wrote them.

        Raises InvalidError for a link that leads out of the tar or in a circle, NotFoundError when there is no such member.
        """
        name = _normal_name(path)
        for _link in range(_MAX_LINKS):
            if name in self.members:
                return name
            if name not in self._links:
                raise NotFoundError(f"no {name} in the tar")
            link = self._links[name]
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
            if link.startswith("/") or target.split("/")[0] == "..":
                raise InvalidError(f"the tar has a link {name!r} that leads out of it: {link!r}")
            name = _normal_name(target)
        raise InvalidError(f"the tar has links that lead in a circle, or too far: {path!r}")

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


def _member(entry: tar.Entry, found: t.Mapping[str, Member]) -> t.Optional[Member]:
    """The member that an entry is; None for folders, and for links and devices, which are never followed or made."""
    name = _normal_name(entry.name)
    if entry.kind == tar.FILE:
        return Member(name, entry.offset, entry.size)
    if entry.kind == tar.HARD_LINK:
        target = found.get(_normal_name(entry.link))
        if target is None:
            raise InvalidError(f"the tar has a hard link {name!r} to {entry.link!r}, which is not a file before it in the tar")
        return Member(name, target.offset, target.size)
    if entry.kind != tar.DIRECTORY and (name in (INDEX, OCI_LAYOUT_FILE) or (name == BLOBS or name.startswith(BLOBS + "/"))):
        raise InvalidError(f"the tar has {name!r} as a link or device, not as a file")
    return None


def _normal_name(name: str) -> str:
    """Without ``./`` and doubled slashes; a name that leaves the tar is refused."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise InvalidError(f"the tar has a member outside of itself: {name!r}")
    return "/".join(parts)

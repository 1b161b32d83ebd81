# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What stands in a root file system on disk, told in the words of the diff; nothing is followed, nothing blocks."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from ..content import tar
from ..content.attributes import xattrs_of
from ..content.beneath import TEMP_PREFIX, folder_beneath, open_beneath, stat_beneath
from ..content.store import CHUNK
from ..spec.digest import Digest
from ..spec.errors import InvalidError, NotFoundError
from ..titles import Parts
from .entries import Entry

KINDS = {
    tar.FILE: stat.S_IFREG,
    tar.DIRECTORY: stat.S_IFDIR,
    tar.SYMLINK: stat.S_IFLNK,
    tar.CHARACTER: stat.S_IFCHR,
    tar.BLOCK_DEVICE: stat.S_IFBLK,
    tar.FIFO: stat.S_IFIFO,
}
_NAMES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
}
ABSENT = "absent"
Identity = t.Tuple[int, int]


class Folders:
    """Descriptors of folders below ``root``. Those on the way to the last one stay open, so a walk in order opens each once."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: t.List[t.Tuple[str, int]] = []

    def open(self, parts: Parts) -> int:
        """Valid until the next call. Raises NotFoundError, and InvalidError when a part is a link or not a folder."""
        common = 0
        while common < min(len(parts), len(self._open)) and self._open[common][0] == parts[common]:
            common += 1
        self._close_from(common)
        for part in parts[common:]:
            with folder_beneath(self._open[-1][1] if self._open else self._root, [part]) as descriptor:
                self._open.append((part, os.dup(descriptor)))
        return self._open[-1][1] if self._open else self._root

    def found(self, parts: Parts) -> t.Optional[int]:
        """As ``open``, None where no folder is, or a link on the way."""
        try:
            return self.open(parts)
        except (NotFoundError, InvalidError):
            return None

    def _close_from(self, number: int) -> None:
        while len(self._open) > number:
            os.close(self._open.pop()[1])

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._close_from(0)


class Digests:
    """Digests of files, remembered while inode, size and times stay: a plan is made twice."""

    def __init__(self) -> None:
        self._known: t.Dict[t.Tuple[int, ...], str] = {}

    def of(self, parent: int, name: str) -> str:
        """sha256 in hex; 'unreadable' when this user may not read it."""
        try:
            file = open_beneath(parent, [name])
        except PermissionError:
            return "unreadable"
        with file:
            state = os.fstat(file.fileno())
            key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            if key not in self._known:
                running = Digest.of(b"").hasher()
                for chunk in iter(lambda: file.read(CHUNK), b""):
                    running.update(chunk)
                self._known[key] = running.hexdigest()
            return self._known[key]


def shown_wanted(entry: Entry) -> str:
    """An entry in the words of the diff."""
    if entry.same:
        return f"hard link to {'/'.join(entry.same)}"
    words = [_NAMES[KINDS[entry.kind]]]
    if entry.kind != tar.SYMLINK:
        words.append(f"{entry.mode:04o}")
    words += _owner(entry.uid, entry.gid) + _xattrs(entry.xattrs)
    if entry.kind == tar.FILE:
        words += [f"{entry.size} bytes", f"sha256:{entry.sha256}"]
    elif entry.kind == tar.SYMLINK:
        words.append(f"-> {entry.link}")
    elif entry.kind in (tar.CHARACTER, tar.BLOCK_DEVICE):
        words.append(f"{entry.device[0]}:{entry.device[1]}")
    return " ".join(words)


def shown_found(parent: int, name: str, found: os.stat_result, entry: Entry, digests: Digests) -> str:
    """What stands there, in the words that ``shown_wanted`` has for the entry: equal words mean that nothing is to do."""
    kind = stat.S_IFMT(found.st_mode)
    words = [_NAMES.get(kind, "something else")]
    if kind != stat.S_IFLNK:
        words.append(f"{stat.S_IMODE(found.st_mode):04o}")
    words += _owner(found.st_uid if entry.uid != -1 else -1, found.st_gid)
    if kind == KINDS[entry.kind]:
        words += _xattrs(_xattrs_of(parent, name, entry))
    if kind == stat.S_IFREG:
        words.append(f"{found.st_size} bytes")
        if entry.kind == tar.FILE and found.st_size == entry.size:
            words.append(f"sha256:{digests.of(parent, name)}")
    elif kind == stat.S_IFLNK:
        words.append(f"-> {os.readlink(name, dir_fd=parent)}")
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        words.append(f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}")
    return " ".join(words)


def _owner(uid: int, gid: int) -> t.List[str]:
    return [f"{uid}:{gid}"] if uid != -1 else []


def _xattrs(xattrs: t.Iterable[t.Tuple[str, bytes]]) -> t.List[str]:
    return [f"{name}=0x{value.hex()}" for name, value in xattrs]


def _xattrs_of(parent: int, name: str, entry: Entry) -> t.Tuple[t.Tuple[str, bytes], ...]:
    """Those that the entry has; where the file system has none at all they cannot differ."""
    if not entry.xattrs:
        return ()
    names = [one for one, _value in entry.xattrs]
    with contextlib.suppress(PermissionError):
        if entry.kind == tar.DIRECTORY:
            with folder_beneath(parent, [name] if name else []) as descriptor:
                found = xattrs_of(descriptor, names)
        else:
            with open_beneath(parent, [name]) as file:
                found = xattrs_of(file.fileno(), names)
        return found if found is not None else entry.xattrs
    return ()


def names_in(folder: int) -> t.List[str]:
    """What a folder holds, without the temporary files that a killed run left."""
    return [name for name in os.listdir(folder) if not name.startswith(TEMP_PREFIX)]


def look(folders: Folders, path: Parts) -> t.Optional[os.stat_result]:
    """lstat of what stands there, None for nothing; what is reached through a link only does not stand there."""
    if not path:
        return os.fstat(folders.open(()))
    parent = folders.found(path[:-1])
    return stat_beneath(parent, path[-1]) if parent is not None else None

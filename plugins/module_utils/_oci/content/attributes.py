# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What stands below a folder besides content: other names of a file, devices, owners, modes, times, extended attributes.

By folder descriptor and name, never through a link; attributes of files and folders by a descriptor of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import typing as t

from .beneath import stat_beneath, temp_name
from .writing import renamed

_NO_XATTRS = (errno.ENOTSUP, errno.EOPNOTSUPP)


class Attributes(t.NamedTuple):
    """``mode``: permission bits with setuid, setgid and sticky; ``uid`` and ``gid``: -1 leaves as it is; ``mtime`` in nanoseconds,
    None leaves as it is."""

    mode: int
    uid: int = -1
    gid: int = -1
    mtime: t.Optional[int] = None
    xattrs: t.Tuple[t.Tuple[str, bytes], ...] = ()


def give(descriptor: int, wanted: Attributes) -> None:
    """Give an open file or folder its attributes. The order matters: a new owner costs setuid and capabilities, a write the time."""
    if (wanted.uid, wanted.gid) != (-1, -1):
        os.fchown(descriptor, wanted.uid, wanted.gid)
    os.fchmod(descriptor, wanted.mode)
    for name, value in wanted.xattrs:
        with _where_supported():
            os.setxattr(descriptor, name, value)
    if wanted.mtime is not None:
        os.utime(descriptor, ns=(wanted.mtime, wanted.mtime))


def xattrs_of(descriptor: int, names: t.Iterable[str]) -> t.Optional[t.Tuple[t.Tuple[str, bytes], ...]]:
    """Those of ``names`` that the open file or folder has; None when its file system has no extended attributes."""
    found = []
    for name in names:
        try:
            found.append((name, os.getxattr(descriptor, name)))
        except OSError as error:
            if error.errno in _NO_XATTRS:
                return None
            if error.errno != errno.ENODATA:
                raise
    return tuple(found)


@contextlib.contextmanager
def _where_supported() -> t.Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_XATTRS:
            raise


def make_symlink(parent: int, name: str, target: str, wanted: Attributes) -> None:
    """Make ``name``, where nothing stands, a symbolic link with this owner and time; it appears whole."""
    with temp_name(parent) as temp:
        os.symlink(target, temp, dir_fd=parent)
    with renamed(parent, temp, name):
        _give_by_name(parent, temp, wanted)


def make_node(parent: int, name: str, kind: int, device: t.Tuple[int, int], wanted: Attributes) -> None:
    """Make ``name``, where nothing stands, a device or FIFO (``kind``: its stat.S_IF bits). Not while other threads make files."""
    # A node cannot be opened to change its mode: that could block, or do what the device does. So it is made with it.
    mask = os.umask(0)
    try:
        os.mknod(name, kind | wanted.mode, os.makedev(*device), dir_fd=parent)
    finally:
        os.umask(mask)
    _give_by_name(parent, name, wanted)


def _give_by_name(parent: int, name: str, wanted: Attributes) -> None:
    if (wanted.uid, wanted.gid) != (-1, -1):
        os.chown(name, wanted.uid, wanted.gid, dir_fd=parent, follow_symlinks=False)
    if wanted.mtime is not None:
        os.utime(name, ns=(wanted.mtime, wanted.mtime), dir_fd=parent, follow_symlinks=False)


def make_hard_link(origin: int, origin_name: str, parent: int, name: str) -> None:
    """Let ``name`` in the folder ``parent`` be another name of the regular file ``origin_name`` in ``origin``, replacing what is there.

    Both are on one file system, and ``name`` is not one of its names yet.
    """
    with temp_name(parent) as temp:
        os.link(origin_name, temp, src_dir_fd=origin, dst_dir_fd=parent, follow_symlinks=False)
    with renamed(parent, temp, name):
        pass


def remove(parent: int, name: str) -> None:
    """Remove what stands there: a folder only when it is empty, nothing through a link."""
    found = stat_beneath(parent, name)
    if found is not None and stat.S_ISDIR(found.st_mode):
        os.rmdir(name, dir_fd=parent)
    elif found is not None:
        os.unlink(name, dir_fd=parent)


def sync(descriptor: int) -> None:
    """All that was written to the file system of ``descriptor`` is on the disk when this returns."""
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
    elif syncfs(ctypes.c_int(descriptor)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""A file that is had a second time without a copy: its blocks are shared where the file system can do that, else the file itself.

Blobs are never written to again, by anybody who keeps to the specification; who does not could change both. So a file is shared only
when nobody but us can write to it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from .beneath import NewFile, forget_temp, stat_beneath, temp_name

_FICLONE = 0x40049409  # of Linux: ioctl_ficlone(2)
# What file systems say that cannot share, or will not: across file systems, too many names, not this kind of file.
_REFUSED = (
    errno.EXDEV,
    errno.EMLINK,
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ETXTBSY,
)


def same_file_system(one: str, other: str) -> bool:
    """Of two paths that exist; False when that cannot be told."""
    try:
        return os.stat(one).st_dev == os.stat(other).st_dev
    except OSError:
        return False


def is_shareable(found: os.stat_result, mode: int) -> bool:
    """A file of our own that nobody else can write to, with the permission bits that it is to have."""
    return (
        stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022 and stat.S_IMODE(found.st_mode) == mode
    )


def share(descriptor: int, origin: int, name: str, root: int, folder_fd: int, mode: int) -> bool:
    """Have the file ``name`` of the folder ``origin``, open as ``descriptor``, in the folder ``folder_fd`` too; whole or not at all.

    ``root``: a folder of the same file system for what is temporary. ``mode``: the permission bits it has to have. False when it
    has to be copied. ``folder_fd`` is still to be synced. Raises OSError.
    """
    found = os.fstat(descriptor)
    if not is_shareable(found, mode):
        return False
    # Whoever wrote it may not have synced it.
    os.fsync(descriptor)
    if _cloned(descriptor, root, folder_fd, name, mode):
        return True
    return _linked(found, origin, name, root, folder_fd)


def _cloned(descriptor: int, root: int, folder_fd: int, name: str, mode: int) -> bool:
    with NewFile(root, mode) as new:
        try:
            fcntl.ioctl(new.fd, _FICLONE, descriptor)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            return False
        new.commit_into(folder_fd, name, sync_folder=False)
    return True


def _linked(found: os.stat_result, origin: int, name: str, root: int, folder_fd: int) -> bool:
    with temp_name(root) as temp:
        try:
            os.link(name, temp, src_dir_fd=origin, dst_dir_fd=root, follow_symlinks=False)
        except OSError as error:
            forget_temp(temp)
            if error.errno not in (*_REFUSED, errno.ENOENT):
                raise
            return False
    try:
        made = stat_beneath(root, temp)
        # Another file may have come under the name since it was opened; and a sweeper may have taken ours.
        if made is None or (made.st_dev, made.st_ino) != (found.st_dev, found.st_ino):
            return False
        with contextlib.suppress(FileNotFoundError):
            os.rename(temp, name, src_dir_fd=root, dst_dir_fd=folder_fd)
            return True
        return False
    finally:
        # A rename to another name of the same file does nothing, so it may still be there.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temp, dir_fd=root)
        forget_temp(temp)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What only who writes needs: names that are given whole or not at all, and content and names that outlast a loss of power."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t

from ..spec.digest import ALGORITHMS
from ..spec.errors import NotFoundError
from .beneath import check_part, folder_beneath, forget_temp, stat_beneath, temp_name

_WRITE_BACK = 8 * 1024 * 1024  # bytes after which the disk gets something to do: less costs calls, more leaves it idle
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def give_name(descriptor: int, parent: int, name: str, mode: int) -> bool:
    """Let a whole ``nameless_file`` be ``name`` in the folder ``parent``, synced before and after; False where that cannot be done.

    What stands there stays.
    """
    check_part(name, name)
    if os.fstat(descriptor).st_nlink:
        return False
    os.fchmod(descriptor, mode)
    os.fsync(descriptor)
    try:
        # Not for files that had a name: the kernel makes no new one for those.
        os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=parent)
    except OSError:
        return False
    os.fsync(parent)
    return True


class Writeback:
    """Lets the disk begin with a file while the rest of it comes, so that the sync before its name has less to wait for."""

    def __init__(self, descriptor: int, offset: int = 0) -> None:
        self._descriptor = descriptor
        self._begun = offset

    def reached(self, offset: int) -> None:
        """All before ``offset`` was written to the file."""
        length = offset - self._begun
        if length >= _WRITE_BACK and hasattr(os, "posix_fadvise"):
            # What is not on the disk yet stays in memory: the advice starts the writing, and waits for nothing.
            os.posix_fadvise(self._descriptor, self._begun, length, os.POSIX_FADV_DONTNEED)
            self._begun = offset


@contextlib.contextmanager
def renamed(parent: int, temp: str, name: str) -> t.Iterator[None]:
    """Give ``temp`` its name at the end; it is removed on any other way out."""
    try:
        yield
        os.rename(temp, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temp, dir_fd=parent)
        raise
    finally:
        forget_temp(temp)


def replace_link(parent: int, name: str, target: str) -> None:
    """Make ``name`` a symbolic link to ``target``, whole or not at all, replacing what is there; neither is followed."""
    check_part(name, name)
    while True:
        with temp_name(parent) as temp:
            os.symlink(target, temp, dir_fd=parent)
        # A sweeper cannot tell whether a link's maker lives, and may take it: once more.
        with contextlib.suppress(FileNotFoundError):
            with renamed(parent, temp, name):
                pass
            os.fsync(parent)
            return


def second_name(parent: int, name: str, other: str) -> None:
    """Let the file ``name`` be there as ``other`` too, so that it outlives what replaces ``name``. Raises OSError when ``other`` exists.

    A file system without hard links takes ``name`` away for the moment until it is replaced.
    """
    check_part(name, name)
    check_part(other, other)
    try:
        os.link(name, other, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS or stat_beneath(parent, other) is not None:
            raise
        os.rename(name, other, src_dir_fd=parent, dst_dir_fd=parent)


def sync_names(root: int, blobs: str) -> None:
    """Let the names of all blobs in the folder ``blobs`` outlast a loss of power, also of those that another process has just stored."""
    with contextlib.suppress(NotFoundError), folder_beneath(root, [blobs]) as parent:
        for algorithm in ALGORITHMS:
            found = stat_beneath(parent, algorithm)
            if found is not None and stat.S_ISDIR(found.st_mode):
                with folder_beneath(parent, [algorithm]) as named:
                    os.fsync(named)

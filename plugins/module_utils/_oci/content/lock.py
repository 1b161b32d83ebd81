# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""One writer at a time, by ``flock`` on the folder or file itself: there is no lock file to be left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ..spec.errors import StorageError
from .beneath import stat_beneath

WAIT_SECONDS = 600.0
# A tar is locked while its content arrives over the network.
FILE_WAIT_SECONDS = 3600.0
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def locked(folder_fd: int, what: str, wait: float = WAIT_SECONDS, shared: bool = False) -> t.Iterator[None]:
    """Hold the exclusive lock of the folder, or one that others may share. Raises StorageError when another process keeps it for
    ``wait`` seconds.

    A descriptor of its own, so that threads and nested descriptors of this process do not share (and release) the lock.
    """
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder_fd)
    try:
        _acquire(descriptor, what, time.monotonic() + wait, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_file(folder_fd: int, name: str, what: str, wait: float = FILE_WAIT_SECONDS) -> t.Iterator[None]:
    """Hold the exclusive lock of the file ``name`` in the folder, which its holder may replace by renaming another over it.

    A file that does not exist yet is locked by its folder: one is made at a time. Raises StorageError when another process keeps
    the lock for ``wait`` seconds.
    """
    descriptor = _acquire_file(folder_fd, name, what, time.monotonic() + wait)
    try:
        yield
    finally:
        os.close(descriptor)


def _acquire_file(folder_fd: int, name: str, what: str, deadline: float) -> int:
    while True:
        identity: t.Optional[t.Tuple[int, int]]
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
            status = os.fstat(descriptor)
            identity = (status.st_dev, status.st_ino)
        except FileNotFoundError:
            descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder_fd)
            identity = None
        try:
            _acquire(descriptor, what, deadline)
            found = stat_beneath(folder_fd, name)
        except BaseException:
            os.close(descriptor)
            raise
        # Who held the lock may have made or replaced the file meanwhile: then it is another one that must be locked.
        current = None if found is None else (found.st_dev, found.st_ino)
        if current == identity:
            return descriptor
        os.close(descriptor)


def _acquire(descriptor: int, what: str, deadline: float, kind: int = fcntl.LOCK_EX) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise StorageError(f"{what} is locked by another process: gave up waiting") from error
        time.sleep(_POLL_SECONDS)

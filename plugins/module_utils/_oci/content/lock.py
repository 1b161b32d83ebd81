# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""One writer at a time in a folder: ``flock`` on the folder itself, which leaves no lock file behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ..spec.errors import StorageError

WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def locked(folder_fd: int, what: str, wait: float = WAIT_SECONDS) -> t.Iterator[None]:
    """Hold the exclusive lock of the folder. Raises StorageError when another process keeps it for ``wait`` seconds.

    A descriptor of its own, so that threads and nested descriptors of this process do not share (and release) the lock.
    """
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder_fd)
    try:
        _acquire(descriptor, what, time.monotonic() + wait)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, what: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise StorageError(f"{what} is locked by another process: gave up waiting") from error
        time.sleep(_POLL_SECONDS)

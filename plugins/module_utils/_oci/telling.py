# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Tells whoever started the module how far it is: two numbers in a small file, a few times while the work goes on.

The action plugin names the file (``plugins/plugin_utils/_progress.py``). ``module.py`` imports this when there is something to tell.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
import typing as t

from .content.beneath import folder, forget_temp, temp_name
from .spec.errors import OCIError
from .spec.progress import PROGRESS, Progress

_PATH = re.compile(r"/(?:[^/\0]+/)*\.lading-progress-[0-9a-f]{32}", re.ASCII)
_FIRST = 1.0  # seconds of work before which there is nothing to tell
_EACH = 0.5


@contextlib.contextmanager
def telling(path: str, progress: Progress = PROGRESS, first: float = _FIRST, each: float = _EACH) -> t.Iterator[None]:
    """While it is entered, the file ``path`` says what ``progress`` counts. Any other name than an action plugin's is left alone."""
    if not _PATH.fullmatch(path):
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_tell, args=(path, progress, over, first, each), name="lading-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        progress.end()
        over.set()
        thread.join()


def _tell(path: str, progress: Progress, over: threading.Event, first: float, each: float) -> None:
    # A disk that is full, or a folder that is not there, is no reason to fail: then nothing is told.
    with contextlib.suppress(OSError, OCIError):
        if over.wait(first):
            return
        while not progress.totals().total:
            if over.wait(each):
                return
        with folder(os.path.dirname(path)) as parent, _new_file(parent, os.path.basename(path)) as descriptor:
            _write(descriptor, progress)
            while not over.wait(each):
                _write(descriptor, progress)


@contextlib.contextmanager
def _new_file(parent: int, name: str) -> t.Iterator[int]:
    """Gone when it is left, and when the run is ended from outside. Nothing that is there is ever opened.

    Locked as all temp files are, so that nobody who writes in that folder takes it for one that was left over.
    """
    with temp_name(parent, name):
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
        forget_temp(name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)


def _write(descriptor: int, progress: Progress) -> None:
    # Always as many bytes, in one call: who reads meanwhile sees the old numbers or the new ones.
    os.pwrite(descriptor, "{:020d} {:020d}\n".format(*progress.totals()).encode(), 0)

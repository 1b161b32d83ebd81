# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Whether the run is being ended from outside (Ctrl-C, a signal), or by the failure of other work: what waits or reads on asks here."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t

from .errors import CancelledError

_begun = threading.Event()
_thread = threading.local()
_LOOK = 0.25  # seconds between two looks at both reasons to end


class Ended(BaseException):
    """Raised in the main thread by a signal that ends the run. Not an Exception: nothing between takes it for an error to survive."""


def begin() -> None:
    """From now on ``check`` and ``pause`` raise, in whatever thread."""
    _begun.set()


def begun() -> bool:
    return _begun.is_set()


def check() -> None:
    """Raises CancelledError once the run is being ended."""
    if _begun.is_set():
        raise CancelledError("stopped, because the run was ended")


@contextlib.contextmanager
def stopped_by(stop: threading.Event) -> t.Iterator[None]:
    """Pauses of this thread end when ``stop`` is set, too."""
    before = getattr(_thread, "stop", None)
    _thread.stop = stop
    try:
        yield
    finally:
        _thread.stop = before


def pause(seconds: float) -> None:
    """Sleep. Raises CancelledError when the run ends, or other work of the task fails: nobody waits for what is lost already."""
    stop: t.Optional[threading.Event] = getattr(_thread, "stop", None)
    until = time.monotonic() + seconds
    while True:
        check()
        if stop is not None and stop.is_set():
            raise CancelledError("stopped, because another transfer failed")
        left = until - time.monotonic()
        if left <= 0:
            return
        _begun.wait(left if stop is None else min(left, _LOOK))

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Whether the run is being ended from outside (Ctrl-C, a signal): what waits, retries or reads on asks here."""

from __future__ import annotations

import threading

from .errors import CancelledError

_begun = threading.Event()


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


def pause(seconds: float) -> None:
    """Sleep; the end of the run cuts it short. Raises CancelledError then."""
    _begun.wait(seconds)
    check()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""A least speed for answers. A socket's time-out counts from one byte to the next: a byte a second would last for ever."""

from __future__ import annotations

import http.client
import io
import socket
import time
import typing as t

LEAST_SPEED = 1024  # bytes a second
_BUFFER = 256 * 1024


class PacedResponse(http.client.HTTPResponse):
    """An answer whose header and body must come with LEAST_SPEED on average over each ``window`` seconds of waiting.

    Only time spent waiting for the network counts, and not that until the first byte, which the socket's time-out bounds.
    Raises ``socket.timeout`` from whatever is being read.
    """

    window: float = 30

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_Paced(raw, self.window), _BUFFER)


def paced(window: float) -> t.Type[PacedResponse]:
    """The response class for a time-out of ``window`` seconds."""
    return type("PacedResponse", (PacedResponse,), {"window": window})


class _Paced(io.RawIOBase):
    def __init__(self, raw: t.Any, window: float) -> None:
        self._raw = raw
        self._window = window
        self._begun = False
        self._waited = 0.0
        self._got = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        start = time.monotonic()
        count: int = self._raw.readinto(buffer)
        if self._begun and count:
            self._account(time.monotonic() - start, count)
        self._begun = True
        return count

    def _account(self, waited: float, count: int) -> None:
        self._waited += waited
        self._got += count
        if self._waited < self._window:
            return
        if self._got < LEAST_SPEED * self._waited:
            raise socket.timeout(f"slower than {LEAST_SPEED} bytes a second")
        self._waited, self._got = 0.0, 0

    def close(self) -> None:
        self._raw.close()
        super().close()

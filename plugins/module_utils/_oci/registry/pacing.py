# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""A least speed for answers, and an end of their headers.

A socket's time-out counts from one byte to the next: a byte a second would last for ever, and so would interim answers (100 Continue).
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import typing as t

LEAST_SPEED = 1024  # bytes a second
MAX_HEADER = 1024 * 1024  # bytes, with interim answers before it and what of the body came along with it
_BUFFER = 64 * 1024  # what is read in larger pieces than this goes past the buffer


class PacedResponse(http.client.HTTPResponse):
    """An answer whose body must come with LEAST_SPEED on average over each ``window`` seconds of waiting, its header within one.

    Only time spent waiting for the network counts, and not that until the first byte, which the socket's time-out bounds.
    Raises ``socket.timeout`` from whatever is being read, HTTPException for more than MAX_HEADER bytes of header.
    """

    window: float = 30

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._paced = _Paced(self.fp.detach(), self.window)
        self.fp = io.BufferedReader(self._paced, _BUFFER)

    def begin(self) -> None:
        super().begin()
        self._paced.header_ended()


def paced(window: float) -> t.Type[PacedResponse]:
    """The response class for a time-out of ``window`` seconds."""
    return type("PacedResponse", (PacedResponse,), {"window": window})


class _Paced(io.RawIOBase):
    def __init__(self, raw: t.Any, window: float) -> None:
        self._raw = raw
        self._window = window
        self._begun = False
        self._in_header = True
        self._waited = 0.0
        self._got = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        start = time.monotonic()
        count: int = self._raw.readinto(buffer)
        if count:
            self._account(time.monotonic() - start if self._begun else 0.0, count)
        self._begun = True
        return count

    def header_ended(self) -> None:
        self._in_header = False
        self._waited, self._got = 0.0, 0

    def _account(self, waited: float, count: int) -> None:
        self._waited += waited
        self._got += count
        if self._in_header:
            self._check_header()
            return
        if self._waited < self._window:
            return
        if self._got < LEAST_SPEED * self._waited:
            raise socket.timeout(f"slower than {LEAST_SPEED} bytes a second")
        self._waited, self._got = 0.0, 0

    def _check_header(self) -> None:
        if self._waited >= self._window:
            raise socket.timeout("the header does not end")
        if self._got > MAX_HEADER:
            raise http.client.HTTPException(f"more than {MAX_HEADER} bytes, and no end of the header")

    def close(self) -> None:
        self._raw.close()
        super().close()

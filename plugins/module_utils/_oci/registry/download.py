# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Reading content of a known size over connections that may break (distribution-spec "Pulling blobs", resumable pull)."""

from __future__ import annotations

import re
import typing as t

from ..spec.errors import Interrupted, TransportError
from .retry import Patience
from .transport import Response

_CONTENT_RANGE = re.compile(r"bytes\s+([0-9]{1,19})-([0-9]{1,19})/(\*|[0-9]{1,19})", re.ASCII)
_PROGRESS = 1024 * 1024  # bytes after which a broken connection is a new one, not the same again
_SKIP = 1024 * 1024

# Asks for the content anew; with an offset, from there on. Raises for an answer that is neither 200, 206 nor 416.
Reopen = t.Callable[[t.Optional[int]], Response]


class ResumingReader:
    """The bytes of one GET, taken up again where a broken connection left off. Delivers bytes; who reads verifies them.

    Without ``response`` it begins at ``offset``, as after a connection that had brought what is before. Raises TransportError when
    there is no progress for all the retries.
    """

    def __init__(self, response: t.Optional[Response], size: int, reopen: Reopen, patience: Patience, offset: int = 0) -> None:
        self._size = size
        self._reopen = reopen
        self._patience = patience
        self._taken = offset
        self._renewed_at = offset
        self._response = response if response is not None else self._started()

    def _started(self) -> Response:
        try:
            return self._reopened()
        except Interrupted as error:
            return self._resumed(error)

    def read(self, size: int) -> bytes:
        buffer = memoryview(bytearray(size))
        return bytes(buffer[: self.readinto(buffer)])

    def readinto(self, view: memoryview) -> int:
        while True:
            try:
                count = self._response.readinto(view)
                if not count and len(view) and self._taken < self._size and self._response.length is None:
                    raise Interrupted(f"the connection ended after {self._taken} of {self._size} bytes")
            except Interrupted as error:
                if self._taken >= self._size:
                    return 0
                self._response.close()
                self._response = self._resumed(error)
                continue
            self._advance(count)
            return count

    def close(self) -> None:
        if self._taken >= self._size:
            self._response.finish()
        else:
            self._response.close()

    def _advance(self, count: int) -> None:
        self._taken += count
        if self._taken - self._renewed_at >= _PROGRESS:
            self._renewed_at = self._taken
            self._patience.renew()

    def _resumed(self, error: Interrupted) -> Response:
        """A new answer, positioned where the old one ended."""
        while True:
            if not self._patience.wait():
                raise TransportError(f"{error.message} (tried {self._patience.used + 1} times)") from error
            try:
                return self._reopened()
            except Interrupted as again:
                error = again

    def _reopened(self) -> Response:
        if not self._taken:
            return self._reopen(None)
        response = self._reopen(self._taken)
        if response.status == 206 and _starts_at(response, self._taken, self._size):
            return response
        if response.status != 200:
            response.close()
            response = self._reopen(None)
        try:
            _skip(response, self._taken)
        except BaseException:
            response.close()
            raise
        return response


def _starts_at(response: Response, offset: int, size: int) -> bool:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return match is not None and int(match.group(1)) == offset and match.group(3) in ("*", str(size))


def _skip(response: Response, count: int) -> None:
    while count:
        chunk = response.read(min(count, _SKIP))
        if not chunk:
            raise Interrupted("the connection ended before what was there already")
        count -= len(chunk)

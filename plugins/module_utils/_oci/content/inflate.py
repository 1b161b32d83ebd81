# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Gzip content with its end checked and its growth bounded."""

from __future__ import annotations

import gzip
import typing as t
import zlib

from ..spec.errors import InvalidError
from .store import CHUNK

GZIP_MAGIC = b"\x1f\x8b"
# Honest content may be all zeros, but not for gigabytes: over the free part more than this is a bomb (CVE-2023-25153).
MAX_RATIO = 200
_FREE = 256 * 1024 * 1024


class Readable(t.Protocol):
    """What can be read from, in pieces of any size."""

    def read(self, size: int) -> bytes: ...


def inflated(stream: Readable, what: str, max_ratio: int = MAX_RATIO) -> t.Iterator[bytes]:
    """The content of a gzip stream. Raises InvalidError, naming ``what``, when it is broken, cut short or a decompression bomb."""
    counted, given = _Counted(stream), 0
    try:
        with gzip.GzipFile(fileobj=t.cast(t.BinaryIO, counted), mode="rb") as content:
            for chunk in iter(lambda: content.read(CHUNK), b""):
                given += len(chunk)
                if given > _FREE and given > max_ratio * counted.taken:
                    raise InvalidError(f"{what} inflates more than {max_ratio} times: refused as a decompression bomb")
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidError(f"{what} is broken gzip: {error}") from error


class _Counted:
    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.taken = 0

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self.taken += len(chunk)
        return chunk


class Joined:
    """Pieces as a stream: ``read(n)`` gives at most n bytes, b'' at the end."""

    def __init__(self, pieces: t.Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = memoryview(b"")

    def read(self, size: int) -> bytes:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = memoryview(piece)
        part, self._left = self._left[:size], self._left[size:]
        return bytes(part)

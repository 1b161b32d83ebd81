# Copyright: Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Inflate a tar while it is read, within limits: what is refused is refused before it is written anywhere."""

from __future__ import annotations

import typing as t
import zlib
from dataclasses import dataclass

from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, MismatchError

_CHUNK = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31  # zlib's way to say: gzip, with its header and trailer checked
# A small blob may well inflate a lot; below this no ratio is worth a refusal.
_UNSUSPICIOUS = 64 * 1024 * 1024


class Stream(t.Protocol):
    def read(self, size: int) -> bytes: ...


@dataclass(frozen=True)
class Limits:
    """Of one folder that is unpacked: its bytes as a tar, those bytes per byte of the blob, its entries."""

    bytes: int = 64 * 1024**3
    ratio: int = 200
    entries: int = 200_000


class Inflated:
    """The bytes of the tar in ``raw``, the content of ``desc``, which is gzip or plain.

    Raises InvalidError for broken gzip and beyond the limits, and in the end MismatchError when the tar has not the digest ``expected``.
    """

    def __init__(self, raw: Stream, desc: Descriptor, limits: Limits, expected: t.Optional[Digest] = None) -> None:
        head = _read_head(raw)
        if head == _ZSTD_MAGIC:
            raise InvalidError(f"{desc.digest} is a zstd tar, which cannot be unpacked (gzip and plain tar can)")
        self._stream: Stream = _Gunzip(raw, head) if head.startswith(_GZIP_MAGIC) else _Rejoined(raw, head)
        self._desc = desc
        self._limit = min(limits.bytes, max(limits.ratio * desc.size, _UNSUSPICIOUS))
        self._taken = 0
        self._expected = expected
        self._hash = expected.hasher() if expected is not None else None

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._taken += len(chunk)
        if self._taken > self._limit:
            raise InvalidError(
                f"{self._desc.digest} has {self._desc.size} bytes and unpacks to more than {self._limit}: "
                "not unpacked (unpack_limits sets the bounds)"
            )
        if self._hash is not None:
            self._hash.update(chunk)
        return chunk

    def finish(self) -> None:
        """Read to the end, where the checksums are."""
        while self.read(_CHUNK):
            pass
        if self._hash is not None and Digest.from_hash(self._hash) != self._expected:
            found = Digest.from_hash(self._hash)
            raise MismatchError(f"{self._desc.digest} unpacks to {found}, its annotation says {self._expected}")


def _read_head(raw: Stream) -> bytes:
    head = b""
    while len(head) < len(_ZSTD_MAGIC):
        chunk = raw.read(len(_ZSTD_MAGIC) - len(head))
        if not chunk:
            break
        head += chunk
    return head


class _Rejoined:
    """A stream after its first bytes were looked at."""

    def __init__(self, raw: Stream, head: bytes) -> None:
        self._raw = raw
        self._head = head

    def read(self, size: int) -> bytes:
        if not self._head:
            return self._raw.read(size)
        chunk, self._head = self._head[:size], self._head[size:]
        return chunk


class _Gunzip:
    """The content of gzip members (RFC 1952), one after the other; nothing else may follow."""

    def __init__(self, raw: Stream, head: bytes) -> None:
        self._raw = raw
        self._input = head
        self._inflater = zlib.decompressobj(_GZIP_WINDOW)

    def read(self, size: int) -> bytes:
        try:
            return self._inflate(size)
        except zlib.error as error:
            raise InvalidError(f"broken gzip, or bytes that are not gzip at its end: {error}") from error

    def _inflate(self, size: int) -> bytes:
        while True:
            if self._inflater.eof and not self._next_member():
                return b""
            data = self._input or self._raw.read(_CHUNK)
            chunk = self._inflater.decompress(data, size)
            self._input = self._inflater.unconsumed_tail
            if chunk:
                return chunk
            if not data and not self._inflater.eof:
                raise InvalidError("the gzip is cut short")

    def _next_member(self) -> bool:
        self._input = self._inflater.unused_data or self._raw.read(_CHUNK)
        self._inflater = zlib.decompressobj(_GZIP_WINDOW)
        return bool(self._input)

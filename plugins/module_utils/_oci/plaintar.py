# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The tar in a layer's blob, read within limits: what is refused is refused before it is written anywhere."""

from __future__ import annotations

import typing as t

from .content.compression import MAX_RATIO
from .content.store import CHUNK
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, MismatchError

if t.TYPE_CHECKING:
    from .content.codec import Readable


class Limits(t.NamedTuple):
    """Of one folder that is unpacked: the bytes of its tar, those bytes per byte of its compressed form, its entries."""

    bytes: int = 64 * 1024**3
    ratio: int = MAX_RATIO
    entries: int = 200_000


class PlainTar:
    """The bytes of the tar, plain or compressed, that is the content of ``desc`` and that ``raw`` reads.

    Raises InvalidError for a broken one and beyond the limits, and at the end MismatchError when the tar is not ``expected``,
    which is what ``says`` tells. ``threaded``, for a local file: a thread reads on from ``raw`` until this is closed.
    """

    def __init__(
        self,
        raw: Readable,
        desc: Descriptor,
        limits: Limits,
        expected: t.Optional[Digest] = None,
        says: str = "its annotation",
        threaded: bool = False,
    ) -> None:
        # Content that stands as it should is not read again.
        from .content.ahead import ahead
        from .content.codec import Joined, plain

        self._desc = desc
        self._left = limits.bytes
        self._expected = expected
        self._says = says
        self._hash = expected.hasher() if expected is not None else None
        pieces = self._pieces(plain(raw, str(desc.digest), limits.ratio))
        self._made = ahead(pieces) if threaded else pieces
        self._stream = Joined(self._made)

    def __enter__(self) -> PlainTar:
        return self

    def __exit__(self, *_exc: t.Any) -> None:
        self._made.close()

    @property
    def left(self) -> int:
        """The bytes that the limit still allows, once all is read."""
        return self._left

    def read(self, size: int) -> bytes:
        return self._stream.read(size)

    def _pieces(self, stream: Readable) -> t.Generator[bytes, None, None]:
        """Counted and hashed in large pieces: what reads the tar asks for a record at a time."""
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            self._left -= len(chunk)
            if self._left < 0:
                raise InvalidError(f"{self._desc.digest} unpacks to more than the limit of bytes: not unpacked")
            if self._hash is not None:
                self._hash.update(chunk)
            yield chunk

    def finish(self) -> None:
        """Read to the end, where the checksums are."""
        while self.read(CHUNK):
            pass
        if self._hash is not None and Digest.from_hash(self._hash) != self._expected:
            found = Digest.from_hash(self._hash)
            raise MismatchError(f"{self._desc.digest} unpacks to {found}, {self._says} says {self._expected}")

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The tar in an older blob of a layer: what did not change since is taken from there, not from the files, and not compressed again."""

from __future__ import annotations

import collections
import contextlib
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor

from .content.compression import Block
from .content.gzip_blocks import HEADER, unpack
from .content.store import CHUNK, Fetcher, VerifyingReader
from .layer import Unusable
from .spec.descriptor import Descriptor
from .spec.errors import OCIError

_AHEAD = 2  # blocks that are inflated before they are asked for
_RECENT = 8  # blocks whose compressed form is at hand: those that a new block can be, which begins a little behind


class OldBlock(t.NamedTuple):
    """``start`` in the tar; the content, and its compressed form."""

    start: int
    content: bytes
    packed: bytes


class OldTar:
    """What ``GzipBlocks`` made, in ``store`` as ``desc``, of ``blocks``. What it gives is verified when ``finish`` returns.

    Ranges are asked for in ascending order. Raises Unusable.
    """

    def __init__(self, store: Fetcher, desc: Descriptor, blocks: t.Sequence[Block]) -> None:
        with _usable():
            self._reader: VerifyingReader = store.fetch(desc)
        self._left = collections.deque(blocks)
        self._start = 0
        self._begun = False
        self._thread = ThreadPoolExecutor(1)
        self._coming: t.Deque[Future[OldBlock]] = collections.deque()
        self._recent: t.Deque[OldBlock] = collections.deque(maxlen=_RECENT)

    def range(self, start: int, end: int) -> t.Iterator[bytes]:
        """The bytes of the tar between these offsets."""
        while start < end:
            block = self._at(start)
            piece = block.content[start - block.start : end - block.start]
            yield piece
            start += len(piece)

    def reuse(self, content: bytes) -> t.Optional[bytes]:
        """The compressed form of a block, when it is one that was just read."""
        return next((old.packed for old in self._recent if old.content == content), None)

    def finish(self) -> None:
        """Read the rest, which tells whether all was right."""
        while self._left or self._coming:
            self._advance()
        with _usable():
            for _rest in self._reader.chunks():
                pass

    def close(self) -> None:
        for future in self._coming:
            future.cancel()
        self._thread.shutdown()
        self._reader.close()

    def _at(self, offset: int) -> OldBlock:
        while not self._recent or self._recent[-1].start + len(self._recent[-1].content) <= offset:
            self._advance()
        return self._recent[-1]

    def _advance(self) -> None:
        while self._left and len(self._coming) <= _AHEAD:
            self._coming.append(self._thread.submit(self._read, self._left.popleft()))
        if not self._coming:
            raise Unusable("it ends too early")
        with _usable():
            self._recent.append(self._coming.popleft().result())

    def _read(self, block: Block) -> OldBlock:
        """The next block. Only one thread is here."""
        if not self._begun:
            self._exactly(len(HEADER))
            self._begun = True
        packed = self._exactly(block.packed)
        old = OldBlock(self._start, unpack(packed, block.size), packed)
        self._start += block.size
        return old

    def _exactly(self, size: int) -> bytes:
        parts: t.List[bytes] = []
        while size:
            parts.append(self._reader.read(min(size, CHUNK)))
            if not parts[-1]:
                raise ValueError("the blob is shorter than its blocks")
            size -= len(parts[-1])
        return b"".join(parts)


@contextlib.contextmanager
def _usable() -> t.Iterator[None]:
    try:
        yield
    except (OCIError, ValueError) as error:
        raise Unusable(str(error)) from error

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""gzip written in blocks that know nothing of each other: several processors work on one stream, and a block of an older blob can
be taken over as it is.

Where a block ends follows from the content alone: at the header of a tar member where one comes in time. So a change of one member
changes the blocks around it, and the bytes do not depend on threads or pieces. To who reads it, it is one gzip member (RFC 1952).
"""

from __future__ import annotations

import os
import struct
import threading
import typing as t
import zlib
from concurrent.futures import Future, ThreadPoolExecutor

from .compression import Block

MIN_BLOCK = 512 * 1024
MAX_BLOCK = 1024 * 1024
# mtime 0, no name; the system is UNIX, as zlib writes it.
HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
_LAST = b"\x03\x00"  # an empty block that is marked as the last one
_RECORD = 512  # of a tar
_MAGIC, _MAGIC_AT = b"ustar", 257
_MARKS = 8  # one of so many headers can begin a block: after a change the ends fall on the same headers again soon
_STORED = 65535  # the most that a block without compression can hold (RFC 1951)
_SAMPLES, _SAMPLE = 8, 2048
_GAIN = 0.97  # what a sample is more than this of its size in is not worth compressing
_MAX_WORKERS = 8  # each holds some blocks in memory

# Content and its compressed form, when that is at hand.
Reuse = t.Callable[[bytes], t.Optional[bytes]]


class Sink(t.Protocol):
    """Where bytes go."""

    def write(self, content: bytes) -> object: ...


class GzipBlocks:
    """Compresses what is written to ``sink``; ``finish`` ends the stream. ``sink`` is written to by one thread at a time.

    ``blocks``: those of the stream, in order, complete when it is finished. ``reuse`` is asked for each, in order, by the thread of
    ``write``. ``workers``: threads that compress; None for as many as
    there are processors.
    """

    def __init__(self, sink: Sink, level: int, reuse: t.Optional[Reuse] = None, workers: t.Optional[int] = None) -> None:
        self._sink = sink
        self._level = level
        self._reuse = reuse
        self._workers = workers or min(_processors(), _MAX_WORKERS)
        self._pending = bytearray()
        self._threads: t.Optional[_Threads] = None
        self._begun = False
        self._crc = 0
        self._size = 0
        self.blocks: t.List[Block] = []

    def write(self, content: bytes) -> None:
        self._pending += content
        while len(self._pending) >= MAX_BLOCK + _RECORD:
            if self._threads is None:
                self._threads = _Threads(self._workers)
            self._cut(end_of_block(self._pending))

    def finish(self) -> None:
        while self._pending:
            self._cut(end_of_block(self._pending))
        if self._threads is not None:
            self._threads.finish()
        self._begin()
        self._sink.write(_LAST + struct.pack("<LL", self._crc, self._size & 0xFFFFFFFF))

    def _cut(self, end: int) -> None:
        block = bytes(memoryview(self._pending)[:end])
        del self._pending[:end]
        known = self._reuse(block) if self._reuse is not None else None

        def work() -> bytes:
            return pack(block, self._level) if known is None else known

        if self._threads is None:
            self._put(block, work())
        else:
            self._threads.submit(work, lambda packed: self._put(block, packed))

    def _put(self, block: bytes, packed: bytes) -> None:
        self._begin()
        self._crc = zlib.crc32(block, self._crc)
        self._size += len(block)
        self.blocks.append(Block(len(block), len(packed)))
        self._sink.write(packed)

    def _begin(self) -> None:
        if not self._begun:
            self._sink.write(HEADER)
            self._begun = True


def end_of_block(content: t.Union[bytes, bytearray]) -> int:
    """How much of ``content`` is its first block: as much as that begins with MAX_BLOCK and a record more, or else is all there is."""
    most = min(MAX_BLOCK, len(content))
    found = content.find(_MAGIC, MIN_BLOCK + _MAGIC_AT)
    while 0 <= found - _MAGIC_AT < most:
        start = found - _MAGIC_AT
        if start % _RECORD == 0 and zlib.crc32(content[start : start + _RECORD]) % _MARKS == 0:
            return start
        found = content.find(_MAGIC, found + 1)
    return most


def pack(block: bytes, level: int) -> bytes:
    """The deflated form of a block, ending on a byte, so that another one can follow."""
    if not _is_compressible(block):
        return _stored(block)
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH)


def unpack(packed: bytes, size: int) -> bytes:
    """The content of a block, ``size`` bytes. Raises ValueError when it is something else."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        block = inflater.decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(block) != size:
        raise ValueError(f"a block of {len(block)} bytes, not {size}")
    return block


def _is_compressible(block: bytes) -> bool:
    """What a look at some of it says: archives, images and what is encrypted are passed on at the speed of a copy."""
    step = len(block) // _SAMPLES
    if step < _SAMPLE:
        return True
    sample = b"".join(block[number * step : number * step + _SAMPLE] for number in range(_SAMPLES))
    return len(zlib.compress(sample, 1)) < _GAIN * len(sample)


def _stored(block: bytes) -> bytes:
    parts: t.List[bytes] = []
    for start in range(0, len(block), _STORED):
        part = block[start : start + _STORED]
        parts += (struct.pack("<BHH", 0, len(part), len(part) ^ 0xFFFF), part)
    return b"".join(parts)


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class _Threads:
    """Work is done by several threads, and what it gives is put in its place by one more, in order. Few are at hand at a time."""

    def __init__(self, workers: int) -> None:
        self._work = ThreadPoolExecutor(workers)
        self._order = ThreadPoolExecutor(1)
        self._room = threading.Semaphore(2 * workers + 1)
        self._error: t.Optional[BaseException] = None

    def submit(self, work: t.Callable[[], bytes], put: t.Callable[[bytes], None]) -> None:
        """Raises what an earlier ``work`` or ``put`` has raised."""
        self._room.acquire()
        self._check()
        self._order.submit(self._put, self._work.submit(work), put)

    def finish(self) -> None:
        self._order.shutdown()
        self._work.shutdown()
        self._check()

    def _put(self, done: Future[bytes], put: t.Callable[[bytes], None]) -> None:
        try:
            packed = done.result()
            if self._error is None:
                put(packed)
        except BaseException as error:  # pylint: disable=broad-exception-caught
            self._error = self._error or error
        finally:
            self._room.release()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

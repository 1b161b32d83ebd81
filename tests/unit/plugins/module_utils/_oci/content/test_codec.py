# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressions: what the tools write is read, and nothing that is broken; equal content gives equal bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import sys
import typing as t

import pytest
import zstandard
from ansible_collections.lading.oci.plugins.module_utils._oci.content import codec
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError

CONTENT = bytes(random.Random(1).choices(range(60), k=300_000)) + bytes(2_000_000)
PACKERS: t.Dict[str, t.Callable[[bytes], bytes]] = {
    codec.GZIP: gzip.compress,
    codec.XZ: lzma.compress,
    codec.BZIP2: bz2.compress,
    codec.ZSTD: zstandard.ZstdCompressor().compress,
}


class Dripping:
    """A stream that gives few bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, 700))


def inflate(packed: bytes, name: str) -> bytes:
    return b"".join(codec.inflated(Dripping(packed), name, "the test", max_ratio=10_000))


@pytest.mark.parametrize("name", PACKERS)
def test_what_the_tools_write(name: str) -> None:
    packed = PACKERS[name](CONTENT)
    assert codec.sniff(packed[: codec.MAGIC_SIZE]) == name
    assert inflate(packed, name) == CONTENT
    assert inflate(packed + PACKERS[name](b"more"), name) == CONTENT + b"more"
    assert inflate(packed + bytes(1024), name) == CONTENT
    assert inflate(PACKERS[name](b""), name) == b""
    stream = codec.plain(Dripping(packed), "the test", max_ratio=10_000)
    assert b"".join(iter(lambda: stream.read(999), b"")) == CONTENT


@pytest.mark.parametrize("name", PACKERS)
def test_what_is_broken(name: str) -> None:
    packed = PACKERS[name](CONTENT)
    for broken in (packed[:-1], packed[: len(packed) // 2], packed + b"rubbish", packed[:20] + bytes(40) + packed[60:], b""):
        with pytest.raises(InvalidError, match=f"the test is broken {name}"):
            inflate(broken, name)


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_FREE", 1_000_000)
    with pytest.raises(InvalidError, match="decompression bomb"):
        list(codec.inflated(io.BytesIO(PACKERS[name](bytes(50_000_000))), name, "the test"))


def test_little_content_may_be_all_zeros() -> None:
    packed = PACKERS[codec.GZIP](bytes(8 << 20))
    assert len(packed) * codec.MAX_RATIO < 8 << 20
    assert sum(map(len, codec.inflated(io.BytesIO(packed), codec.GZIP, "the test"))) == 8 << 20


def gzip_of_size(content: bytes, size: int) -> bytes:
    """A name in the header makes it so long."""
    plain = gzip.compress(content)
    return plain[:3] + b"\x08" + plain[4:10] + b"n" * (size - len(plain) - 1) + b"\0" + plain[10:]


def test_200_times_is_no_bomb_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_FREE", 0)
    content = bytes(200_000)
    assert b"".join(codec.inflated(io.BytesIO(gzip_of_size(content, 1000)), codec.GZIP, "the test")) == content
    with pytest.raises(InvalidError, match="decompression bomb"):
        list(codec.inflated(io.BytesIO(gzip_of_size(content + b"\0", 1000)), codec.GZIP, "the test"))


def test_a_zstd_bomb_takes_little_memory() -> None:
    """Blocks of one repeated byte: 4 bytes for 128 KiB each. The pieces are what the library makes at once."""
    block = (0x20000 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (0x20000 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    frame = b"\x28\xb5\x2f\xfd\0" + bytes([13 << 3]) + block * 400 + last
    pieces = [len(piece) for piece in codec.inflated(io.BytesIO(frame), codec.ZSTD, "the test", max_ratio=100_000)]
    assert sum(pieces) == 401 * 0x20000 and max(pieces) <= 17 * 1024 * 1024


@pytest.mark.parametrize("name", [codec.GZIP, codec.ZSTD])
def test_equal_content_is_equal_bytes(name: str) -> None:
    whole, pieces = io.BytesIO(), io.BytesIO()
    deflater = codec.Deflater(whole, name)
    deflater.write(CONTENT)
    deflater.finish()
    deflater = codec.Deflater(pieces, name)
    for start in range(0, len(CONTENT), 4097):
        deflater.write(CONTENT[start : start + 4097])
    deflater.finish()
    assert whole.getvalue() == pieces.getvalue()
    assert inflate(whole.getvalue(), name) == CONTENT


def test_levels() -> None:
    sizes = []
    for level in (1, 9):
        sink = io.BytesIO()
        deflater = codec.Deflater(sink, codec.GZIP, level)
        deflater.write(CONTENT)
        deflater.finish()
        sizes.append(len(sink.getvalue()))
    assert sizes[0] > sizes[1]
    for name, level in ((codec.GZIP, 10), (codec.ZSTD, 0), (codec.NONE, 1)):
        with pytest.raises(InvalidError, match="level"):
            codec.Deflater(io.BytesIO(), name, level)


def test_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression", "backports", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidError, match=r"install backports\.zstd or zstandard"):
        list(codec.inflated(io.BytesIO(b"\x28\xb5\x2f\xfd"), codec.ZSTD, "the test"))

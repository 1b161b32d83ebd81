# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""gzip in blocks: one member for every reader, the same bytes whatever wrote them, blocks that end where members begin."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import subprocess
import threading
import typing as t
import zlib

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content import gzip_blocks, tar
from ansible_collections.lading.oci.plugins.module_utils._oci.content.gzip_blocks import MAX_BLOCK, MIN_BLOCK, Block, GzipBlocks
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.noise import noise

WORDS = [b"layer", b"manifest", b"config", b"digest", b" ", b"\n", b"blob"]


def text(size: int, seed: int = 1) -> bytes:
    return b"".join(random.Random(seed).choices(WORDS, k=size // 4))[:size]


def members(count: int, size: int = 4096) -> bytes:
    """A tar of files, which begin and end at records."""
    entries = (tar.encode(tar.Entry(f"folder/{number}", size=size)) + text(size, number) for number in range(count))
    return b"".join(entries) + tar.END


SMALL_FILES = members(1000)
CONTENTS = {
    "empty": b"",
    "a byte": b"x",
    "text": text(3 * MAX_BLOCK + 7),
    "a block and a record": text(MAX_BLOCK + 512),
    "a block and a byte": text(MAX_BLOCK + 1),
    "random": noise(2, 2 * MAX_BLOCK + 99),
    "small files": SMALL_FILES,
    "headers alone": tar.encode(tar.Entry("a")) * 5000,
    "the word alone": b"ustar" * 400_000,
}


def packed(content: bytes, level: int = 6, piece: int = MAX_BLOCK, **options: t.Any) -> t.Tuple[bytes, t.List[Block]]:
    sink = io.BytesIO()
    blocks = GzipBlocks(sink, level, **options)
    for start in range(0, len(content), piece):
        blocks.write(content[start : start + piece])
    blocks.finish()
    return sink.getvalue(), blocks.blocks


@pytest.mark.parametrize("name", CONTENTS)
def test_the_bytes_depend_on_the_content_alone(name: str) -> None:
    content = CONTENTS[name]
    found = {
        hashlib.sha256(packed(content, 1, piece, workers=workers)[0]).hexdigest()
        for piece in (4097, 300_000, 5 * MAX_BLOCK)
        for workers in (1, 2, 5)
    }
    assert len(found) == 1


@pytest.mark.parametrize("name", CONTENTS)
def test_it_is_one_member(name: str) -> None:
    whole, blocks = packed(CONTENTS[name])
    inflater = zlib.decompressobj(31)
    assert inflater.decompress(whole) == CONTENTS[name] == gzip.decompress(whole)
    assert inflater.eof and not inflater.unused_data
    assert whole[:10] == gzip_blocks.HEADER and whole[4:8] == bytes(4)
    assert sum(block.size for block in blocks) == len(CONTENTS[name])
    assert sum(block.packed for block in blocks) == len(whole) - len(gzip_blocks.HEADER) - 10
    assert all(MIN_BLOCK <= block.size <= MAX_BLOCK for block in blocks[:-1])


def test_gzip_reads_it() -> None:
    subprocess.run(["gzip", "-t"], input=packed(CONTENTS["text"])[0], check=True)


def test_each_block_stands_alone() -> None:
    whole, blocks = packed(SMALL_FILES)
    at, start = len(gzip_blocks.HEADER), 0
    for block in blocks:
        assert gzip_blocks.unpack(whole[at : at + block.packed], block.size) == SMALL_FILES[start : start + block.size]
        at, start = at + block.packed, start + block.size
    for broken, size in ((whole[10 : 10 + blocks[0].packed], blocks[0].size - 1), (b"\xff" * 20, 20), (b"", 1)):
        with pytest.raises(ValueError, match=r"."):
            gzip_blocks.unpack(broken, size)


def ends(content: bytes) -> t.Set[bytes]:
    """The blocks' contents, each as its digest."""
    start, found = 0, set()
    for block in packed(content, 1)[1]:
        found.add(hashlib.sha256(content[start : start + block.size]).digest())
        start += block.size
    return found


def test_blocks_begin_at_members_and_fall_in_step_again() -> None:
    assert all(SMALL_FILES[start + 257 : start + 262] == b"ustar" for start in starts(SMALL_FILES))
    longer = SMALL_FILES[:4608] + tar.encode(tar.Entry("folder/new", size=512)) + bytes(512) + SMALL_FILES[4608:]
    both = ends(SMALL_FILES) & ends(longer)
    assert len(both) >= len(ends(SMALL_FILES)) - 3 > 1


def starts(content: bytes) -> t.Iterator[int]:
    start = 0
    for block in packed(content, 1)[1]:
        yield start
        start += block.size


def test_blocks_have_half_a_mebibyte_to_a_whole_one() -> None:
    """Other bounds would make other layers of the same content."""
    header = next(block for block in (members(count=1, size=size)[:512] for size in range(1, 1000)) if zlib.crc32(block) % 8 == 0)
    for place, end in (((512 << 10) - 512, 1 << 20), (512 << 10, 512 << 10), (1 << 20, 1 << 20), (1025 << 10, 1 << 20)):
        assert gzip_blocks.end_of_block(bytes(place) + header + bytes(1 << 20)) == end


def test_what_cannot_be_compressed_is_stored() -> None:
    content = CONTENTS["random"]
    assert len(content) < len(packed(content)[0]) < len(content) * 1.001
    # A sample is no proof: what looks random and is not stays readable.
    step = MAX_BLOCK // 8
    tricky = b"".join(content[number * 2048 : number * 2048 + 2048] + bytes(step - 2048) for number in range(8))
    assert gzip.decompress(packed(tricky)[0]) == tricky


def test_levels_are_of_use() -> None:
    assert len(packed(CONTENTS["text"], 1)[0]) > len(packed(CONTENTS["text"], 9)[0])


def test_blocks_at_hand_are_not_compressed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, blocks = packed(SMALL_FILES)
    at, start, known = len(gzip_blocks.HEADER), 0, {}
    for block in blocks:
        known[SMALL_FILES[start : start + block.size]] = whole[at : at + block.packed]
        at, start = at + block.packed, start + block.size
    monkeypatch.setattr(gzip_blocks, "pack", lambda *_any: pytest.fail("compressed"))
    assert packed(SMALL_FILES, reuse=known.get)[0] == whole


class Full(io.RawIOBase):
    def write(self, content: t.Any) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", ["text", "a byte"])
def test_an_error_of_the_sink_is_raised(name: str) -> None:
    deflater = GzipBlocks(Full(), 1)
    with pytest.raises(OSError, match="No space left"):
        for _again in range(20):
            deflater.write(CONTENTS[name])
        deflater.finish()


def test_an_error_of_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_block: bytes, _level: int) -> bytes:
        raise MemoryError

    monkeypatch.setattr(gzip_blocks, "pack", broken)
    deflater = GzipBlocks(io.BytesIO(), 1)
    with pytest.raises(MemoryError):
        for _again in range(20):
            deflater.write(CONTENTS["text"])


def test_few_blocks_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow sink holds up who writes: memory does not grow with the content."""
    held, most, lock = [0], [0], threading.Lock()
    pack = gzip_blocks.pack

    def counted(block: bytes, level: int) -> bytes:
        with lock:
            held[0] += 1
            most[0] = max(most[0], held[0])
        return pack(block, level)

    class Slow:
        def write(self, content: bytes) -> None:
            threading.Event().wait(0.01)
            with lock:
                held[0] -= 1

    monkeypatch.setattr(gzip_blocks, "pack", counted)
    deflater = GzipBlocks(Slow(), 1, workers=2)
    for _again in range(40):
        deflater.write(bytes(MAX_BLOCK))
    deflater.finish()
    assert 2 <= most[0] <= 7

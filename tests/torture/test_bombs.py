# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layers that unpack to far more than they are (threat row 15), as folders of a pull and as a root file system."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import typing as t
import zlib

import clients
import pytest
import tally as tallies
import zstandard
from hostile import rawtar
from hostile.bench import LAYER, OCI_CONFIG, TITLE, UNPACK, Bench, dumps, tree
from hostile.case import of_output

MIB = 1024 * 1024
_WORTH_HASHING = 1024 * MIB  # what is longer is refused long before its end


@dataclasses.dataclass(frozen=True)
class Bomb:
    """A tar of ``head``, ``count`` times ``block``, and the end. ``words``: why it is refused."""

    head: bytes
    block: bytes
    count: int
    words: str = ""

    def plain(self) -> t.Iterator[bytes]:
        yield self.head
        for _number in range(self.count):
            yield self.block
        yield rawtar.END

    @property
    def is_hashed(self) -> bool:
        return self.count * len(self.block) <= _WORTH_HASHING

    def diff_id(self) -> str:
        """The true one, where anyone reads so far."""
        running = hashlib.sha256()
        for chunk in self.plain() if self.is_hashed else ():
            running.update(chunk)
        return f"sha256:{running.hexdigest()}"

    def gzip(self) -> bytes:
        """Each block is compressed alone, so that its bytes can be repeated."""
        parts = [_deflated(self.head), _deflated(self.block) * self.count, _deflated(rawtar.END), b"\x03\0"]
        crc, size = 0, 0
        for chunk in self.plain() if self.is_hashed else ():
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
        return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + b"".join(parts) + crc.to_bytes(4, "little") + (size % 2**32).to_bytes(4, "little")

    def zstd(self) -> bytes:
        packer = zstandard.ZstdCompressor(level=1).compressobj()
        return b"".join([*map(packer.compress, self.plain()), packer.flush()])


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)


def _zeros(mebibytes: int) -> Bomb:
    return Bomb(rawtar.header("d/zeros", size=mebibytes * MIB), bytes(MIB), mebibytes, "refused as a decompression bomb")


def _members(blocks: int) -> Bomb:
    """2,000 members a block. They come again in each, which folders may."""
    return Bomb(b"", b"".join(rawtar.folder(f"d/{number}") for number in range(2_000)), blocks, "limit of 200000 entries")


BOMBS = {"zeros": lambda: _zeros(1024), "members": lambda: _members(5_000)}
CONTROLS = {"zeros": lambda: _zeros(4), "members": lambda: _members(1)}
KINDS = [("zeros", "gzip"), ("zeros", "zstd"), ("members", "gzip"), ("members", "zstd")]


def _run(bench: Bench, bomb: Bomb, pack: str, unpack: str, client: clients.Ours) -> clients.Run:
    packed = getattr(bomb, pack)()
    if unpack == "files":
        root = bench.artifact(bench.put(packed, f"{LAYER}+{pack}", annotations={TITLE: "d", UNPACK: "true"}))
    else:
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [bomb.diff_id()]}}
        root = bench.document({"config": bench.put(dumps(config), OCI_CONFIG), "layers": [bench.put(packed, f"{LAYER}+{pack}")]})
    return client.pull(bench.named(root), str(bench.out), unpack=unpack)


@pytest.mark.parametrize("unpack", ["files", "rootfs"])
@pytest.mark.parametrize("kind, pack", KINDS)
def test_bomb(kind: str, pack: str, unpack: str, ours: t.Type[clients.Ours], report: t.Callable[..., None], tmp_path: pathlib.Path) -> None:
    """Threat row 15: 1 GiB of zeros, and ten million members: refused by the limits, in little memory and time."""
    bench, bomb = Bench(tmp_path), BOMBS[kind]()
    before = bench.surroundings()
    done = _run(bench, bomb, pack, unpack, ours(bench.home, limit=300))
    # Nothing is waited for here, so that the processor's time is what it takes, whatever else the machine does.
    problems = list(of_output(dataclasses.replace(done, seconds=done.cpu), ours.name))
    message = json.loads(done.output).get("msg", "") if not problems else ""
    problems += ["it succeeded"] if done.succeeded else []
    problems += [] if bomb.words in message else [f"the error is {message}"]
    problems += [f"left behind: {path}" for path in tree(bench.out)] if bench.out.exists() else []
    problems += [] if bench.surroundings() == before else ["something outside was touched"]
    report(tallies.INPUTS, problems)


@pytest.mark.parametrize("unpack", ["files", "rootfs"])
@pytest.mark.parametrize("kind, pack", KINDS)
def test_control(kind: str, pack: str, unpack: str, ours: t.Type[clients.Ours], tmp_path: pathlib.Path) -> None:
    """Less of the same is unpacked."""
    bench = Bench(tmp_path)
    done = _run(bench, CONTROLS[kind](), pack, unpack, ours(bench.home))
    assert done.succeeded, done.output[:2000]
    made = list(bench.out.joinpath("d").iterdir())
    assert len(made) == (1 if kind == "zeros" else 2_000)
    assert sum(path.stat().st_size for path in made if path.is_file()) == (4 * MIB if kind == "zeros" else 0)

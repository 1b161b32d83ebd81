# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Transfers that are cut at nine tenths and gone on with, whatever their size."""

from __future__ import annotations

import filecmp
import os
import pathlib
import time
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from cutting_proxy import CUT, HOLD, CuttingProxy
from support import fail, start_module, succeed

MIB = 1024 * 1024
SENT = 0.15  # of the content, at most, that the next run is sent: the tenth that was not there is part of it
_LOST = 2 * MIB  # what a reader has taken and not written yet
KINDS = ("folder", "tar", "file")


class Published(t.NamedTuple):
    """A file in an artifact in a registry, and the layout that it came from. ``repository`` has no host."""

    file: pathlib.Path
    layout: pathlib.Path
    repository: str

    @property
    def size(self) -> int:
        return self.file.stat().st_size

    def source(self, proxy: CuttingProxy) -> t.Dict[str, t.Any]:
        options = {"plain_http": True, "retries": 1, "timeout": 20}
        return {"src": f"{proxy.host}/{self.repository}:v1", "src_registry": options}


def publish(root: pathlib.Path, host: str, repository: str, mebibytes: int) -> Published:
    published = Published(root / "large.bin", root / "layout", repository)
    write_content(published.file, mebibytes)
    files = [{"src": str(published.file)}]
    build = {"path": str(published.layout), "tag": "v1", "artifact_type": "application/vnd.lading.test", "files": files}
    succeed("oci_layout_build", build)
    push = {"src": f"oci:{published.layout}:v1", "dest": f"{host}/{repository}:v1", "dest_registry": {"plain_http": True}}
    succeed("oci_copy", push)
    return published


def write_content(path: pathlib.Path, mebibytes: int) -> None:
    """No zeros, no two equal blocks, and quickly made."""
    block = os.urandom(MIB - 16)
    with path.open("wb") as file:
        for number in range(mebibytes):
            file.write(b"%016d" % number)
            file.write(block)


class Transfer:
    """One destination of ``KINDS`` below ``place``."""

    def __init__(self, kind: str, place: pathlib.Path, published: Published, proxy: CuttingProxy) -> None:
        self.kind, self.place, self.published, self.proxy = kind, place, published, proxy
        self.path = place / {"folder": "copy", "tar": "copy.tar", "file": "files"}[kind]

    @property
    def module(self) -> str:
        return "oci_pull" if self.kind == "file" else "oci_copy"

    @property
    def arguments(self) -> t.Dict[str, t.Any]:
        dest = {"folder": f"oci:{self.path}:v1", "tar": f"oci-archive:{self.path}:v1", "file": str(self.path)}[self.kind]
        return {**self.published.source(self.proxy), "dest": dest}

    def cut(self) -> str:
        """The link breaks at nine tenths; the module's message."""
        self.proxy.break_after(CUT, down=self.published.size * 9 // 10)
        return fail(self.module, self.arguments)

    def kill(self) -> None:
        """kill -9 at nine tenths, when all that came is written."""
        enough = self.published.size * 9 // 10
        self.proxy.break_after(HOLD, down=enough)
        process = start_module(self.module, {**self.arguments, "_ansible_remote_tmp": "/tmp"})
        try:
            assert self.proxy.broken.wait(300)
            deadline = time.monotonic() + 60
            while self.written() < enough - _LOST:
                assert process.poll() is None and time.monotonic() < deadline, f"{self.written()} bytes were written"
                time.sleep(0.01)
        finally:
            process.kill()
            process.communicate()

    def written(self) -> int:
        """Bytes that the disk has of partial files."""
        return sum(path.stat().st_blocks * 512 for path in self.partials())

    def partials(self) -> t.List[pathlib.Path]:
        return sorted(self.place.rglob(".lading-partial-*"))

    def go_on(self) -> float:
        """The next run, which completes; the share of the content that it was sent."""
        self.proxy.heal()
        done = succeed(self.module, self.arguments)
        assert done["changed"]
        return self.proxy.down / self.published.size

    def check(self) -> None:
        """What was asked for is there, and nothing else."""
        assert [path.name for path in self.place.rglob(".lading-*")] == []
        if self.kind == "file":
            assert filecmp.cmp(self.path / self.published.file.name, self.published.file, shallow=False)
            return
        store = Layout(str(self.path)) if self.kind == "folder" else Archive(str(self.path))
        for desc in store._reachable([store.resolve("v1")]):
            with store.fetch(desc) as reader:
                assert sum(map(len, reader.chunks())) == desc.size

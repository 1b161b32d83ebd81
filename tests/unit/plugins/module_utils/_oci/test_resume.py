# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pulls that were cut: the next one goes on, with a file, a folder layer and the layers of a root file system (threat row 34)."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import RawReader
from ansible_collections.lading.oci.plugins.module_utils._oci.destination import Destination
from ansible_collections.lading.oci.plugins.module_utils._oci.folders import FolderBlobs
from ansible_collections.lading.oci.plugins.module_utils._oci.plaintar import Limits
from ansible_collections.lading.oci.plugins.module_utils._oci.receipt import Receipt
from ansible_collections.lading.oci.plugins.module_utils._oci.selection import select
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import MismatchError, TransportError
from ansible_collections.lading.oci.plugins.module_utils._oci.unpack import Pull, apply_unpack, plan_unpack
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource, member, tar_gz
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.test_partial import Breaking
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.noise import noise
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.rootfs.images import Rootfs, image

MIB = 1024 * 1024
CONTENT = noise(11, 3 * MIB)
CUT = 2 * MIB
KINDS = ("file", "folder", "rootfs")


class Cuttable(MemorySource):
    """``offsets``: from where on large content was read. It breaks after ``CUT`` bytes while ``error`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets: t.List[int] = []
        self.error: t.Optional[BaseException] = None

    def _open(self, desc: Descriptor) -> t.Any:
        return self._open_at(desc, 0)

    def _open_at(self, desc: Descriptor, offset: int) -> RawReader:
        raw = super()._open(desc)
        raw.seek(offset)
        if desc.size < MIB:
            return raw
        self.offsets.append(offset)
        return Breaking(self.contents[desc.digest], CUT, self.error) if self.error is not None else raw


class Puller:
    """One destination, and what is pulled into it."""

    def __init__(self, kind: str, dest: pathlib.Path) -> None:
        self.kind, self.dest, self.source = kind, dest, Cuttable()
        if kind == "rootfs":
            self.root = image(self.source, [member("large", CONTENT)])
        elif kind == "folder":
            self.root = self.source.artifact(self.source.folder("d", tar_gz(member("d/large", CONTENT))))
        else:
            self.root = self.source.artifact(self.source.file("d/large", CONTENT))

    @property
    def large(self) -> Digest:
        return max(self.source.contents, key=lambda digest: len(self.source.contents[digest]))

    def pull(self, check: bool = False) -> None:
        if self.kind == "rootfs":
            Rootfs(self.dest, self.source).unpack(self.root, check)
            return
        receipt, destination = Receipt(str(self.dest), pytest.fail), Destination(str(self.dest))
        with FolderBlobs(self.source, destination, receipt, Limits(), keep=not check) as blobs:
            parts = Pull(self.source, select(self.source, self.root, receipt), destination, blobs)
            plan = plan_unpack(parts)
            if plan.changed and not check:
                apply_unpack(plan, parts)

    def cut(self, error: t.Optional[BaseException] = None) -> str:
        self.source.error = error or TransportError("the link is down")
        with pytest.raises(type(self.source.error)) as caught:
            self.pull()
        self.source.error, self.source.offsets = None, []
        return str(caught.value)

    def check_complete(self) -> None:
        path = self.dest / "large" if self.kind == "rootfs" else self.dest / "d" / "large"
        assert path.read_bytes() == CONTENT
        assert self.litter() == []

    def litter(self) -> t.List[pathlib.Path]:
        return sorted(self.dest.parent.rglob(".lading-*"))


@pytest.fixture(autouse=True)
def _cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(name="puller", params=[(kind, made) for kind in KINDS for made in (False, True)], ids=lambda one: f"{one[0]}-{one[1]}")
def _puller(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Puller:
    """Into a folder that is there already, and into one that is not."""
    kind, made = request.param
    if made:
        (tmp_path / "place" / "dest").mkdir(parents=True)
    (tmp_path / "place").mkdir(exist_ok=True)
    return Puller(kind, tmp_path / "place" / "dest")


def test_the_next_pull_goes_on(puller: Puller) -> None:
    message = puller.cut()
    (kept,) = puller.litter()
    assert f"the link is down; the first {CUT} bytes are kept in {kept}, the next run goes on from there" in message
    puller.pull()
    assert puller.source.offsets == [CUT]
    puller.check_complete()


def test_what_is_damaged_is_fetched_anew(puller: Puller) -> None:
    puller.cut()
    (kept,) = puller.litter()
    with kept.open("r+b") as file:
        file.write(b"damaged")
    puller.pull()
    assert puller.source.offsets == [CUT, 0]
    puller.check_complete()


@pytest.mark.parametrize("error", [MismatchError("x"), KeyboardInterrupt()], ids=["judgement", "person"])
def test_nothing_is_kept_after_other_ends(puller: Puller, error: BaseException) -> None:
    puller.cut(error)
    assert puller.litter() == []


def test_check_mode_touches_nothing(puller: Puller) -> None:
    puller.cut()
    (kept,) = puller.litter()
    before, folders = kept.stat(), [(path, path.stat().st_mtime_ns) for path in puller.dest.parent.rglob("*")]
    puller.pull(check=True)
    assert (kept.stat().st_ino, kept.stat().st_size, kept.stat().st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert [(path, path.stat().st_mtime_ns) for path in puller.dest.parent.rglob("*")] == folders


def test_the_folder_may_be_made_meanwhile(tmp_path: pathlib.Path) -> None:
    """What lies above the folder is found there."""
    puller = Puller("folder", tmp_path / "place" / "deep" / "dest")
    (tmp_path / "place").mkdir()
    puller.cut()
    puller.dest.mkdir(parents=True)
    puller.pull()
    assert puller.source.offsets == [CUT]
    assert list((tmp_path / "place").rglob(".lading-*")) == []


def test_listings_do_not_have_it(tmp_path: pathlib.Path) -> None:
    puller = Puller("file", tmp_path / "dest")
    puller.cut()
    assert Destination(str(puller.dest)).names(("d",)) == []


def test_a_root_file_system_keeps_the_time_of_its_folder(tmp_path: pathlib.Path) -> None:
    """Nothing is made in a folder whose times are part of the content: what check mode foresees stays true."""
    puller = Puller("rootfs", tmp_path / "dest")
    puller.pull()
    (puller.dest / "large").write_bytes(b"changed")
    os.utime(puller.dest, (1, 1))
    before = puller.dest.stat().st_mtime_ns
    puller.cut()
    assert puller.dest.stat().st_mtime_ns == before
    assert [path.parent for path in tmp_path.glob(".lading-*")] == [tmp_path]
    puller.pull()
    puller.check_complete()


def test_a_folder_above_that_is_closed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is kept, and the pull works as ever."""
    puller = Puller("rootfs", tmp_path / "place" / "dest")
    puller.dest.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(puller.dest.parent))
    puller.cut()
    assert puller.litter() == []
    puller.pull()
    puller.check_complete()


def test_small_content_has_no_name(tmp_path: pathlib.Path) -> None:
    source = MemorySource()
    desc = source.add(b"small")
    with Destination(str(tmp_path)).scratch(desc) as file:
        file.fill(lambda have=None: source.fetch(desc, have))
        assert os.listdir(tmp_path) == []
        assert file.from_start().read() == file.from_start().read() == b"small"

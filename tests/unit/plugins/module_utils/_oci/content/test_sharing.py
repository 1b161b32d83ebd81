# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blobs that two layouts on one file system have in common, and when they may not."""

from __future__ import annotations

import errno
import os
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import copy
from ansible_collections.lading.oci.plugins.module_utils._oci.content import sharing
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.beneath import folder
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import MismatchError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import BLOB, store

LAYER = Descriptor.of(BLOB, mediatype.OCI_LAYER)


@pytest.fixture(name="source")
def _source(tmp_path: pathlib.Path) -> Layout:
    source = Layout(str(tmp_path / "source"))
    store(source, ["v1"], BLOB)
    return source


@pytest.fixture(name="linking")
def _linking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot share blocks, as most."""

    def refuse(*_arguments: t.Any) -> int:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(sharing.fcntl, "ioctl", refuse)


def blob(layout: Layout) -> pathlib.Path:
    return pathlib.Path(layout.path, "blobs", "sha256", LAYER.digest.encoded)


def copied(source: Layout, target: Layout, hardlinks: bool = True) -> t.Tuple[copy.CopyPlan, copy.Outcome]:
    root = source.resolve("v1")
    plan = copy.Planner(target, copy.CopyOptions(hardlinks=hardlinks)).plan(source, root, {"v1": target.lookup("v1")})
    outcome = copy.apply_copy(plan, source, target)
    assert Layout(target.path).fetch_bytes(LAYER) == BLOB and Layout(target.path).resolve("v1") == root
    assert not [name for name in os.listdir(target.path) if name.startswith(".")], "nothing is left over"
    return plan, outcome


@pytest.mark.usefixtures("linking")
class TestLinks:
    def test_a_blob_is_one_file(self, source: Layout, tmp_path: pathlib.Path) -> None:
        target = Layout(str(tmp_path / "target"))
        plan, outcome = copied(source, target)
        assert LAYER.digest in plan.mounted and LAYER.digest in outcome.mounted
        assert blob(target).stat().st_ino == blob(source).stat().st_ino

    def test_unless_it_is_not_wanted(self, source: Layout, tmp_path: pathlib.Path) -> None:
        target = Layout(str(tmp_path / "target"))
        plan, outcome = copied(source, target, hardlinks=False)
        assert not plan.mounted and not outcome.mounted and blob(target).stat().st_nlink == 1

    @pytest.mark.parametrize("mode", [0o664, 0o646, 0o600])
    def test_a_file_that_others_may_write_or_of_another_mode_is_copied(self, mode: int, source: Layout, tmp_path: pathlib.Path) -> None:
        blob(source).chmod(mode)
        target = Layout(str(tmp_path / "target"))
        plan, outcome = copied(source, target)
        assert LAYER.digest not in plan.mounted and LAYER.digest not in outcome.mounted and blob(target).stat().st_nlink == 1

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_the_file_of_somebody_else_is_copied(self, source: Layout, tmp_path: pathlib.Path) -> None:
        os.chown(blob(source), 12345, 12345)
        target = Layout(str(tmp_path / "target"))
        copied(source, target)
        assert blob(target).stat().st_nlink == 1 and blob(target).stat().st_uid == 0

    @pytest.mark.parametrize(("mode", "shared"), [(0o644, True), (0o664, False), (0o646, False)])
    def test_what_others_may_write_is_not_shared_although_it_would_get_that_mode(
        self, mode: int, shared: bool, source: Layout, tmp_path: pathlib.Path
    ) -> None:
        (tmp_path / "target").mkdir()
        blob(source).chmod(mode)
        with folder(str(blob(source).parent)) as origin, folder(str(tmp_path / "target")) as target, open(blob(source), "rb") as file:
            assert sharing.share(file.fileno(), origin, LAYER.digest.encoded, target, target, mode) is shared
        assert (tmp_path / "target" / LAYER.digest.encoded).exists() is shared

    @pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM])
    def test_where_the_system_refuses_it_is_copied(
        self, number: int, source: Layout, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_arguments: t.Any, **_more: t.Any) -> None:
            raise OSError(number, "no link")

        monkeypatch.setattr(os, "link", refuse)
        target = Layout(str(tmp_path / "target"))
        plan, outcome = copied(source, target)
        assert LAYER.digest in plan.mounted and LAYER.digest not in outcome.mounted

    def test_a_full_disk_is_an_error(self, source: Layout, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_arguments: t.Any, **_more: t.Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "link", full)
        with pytest.raises(Exception, match="No space left on device"):
            copied(source, Layout(str(tmp_path / "target")))

    def test_another_file_that_came_under_the_name_is_not_taken(
        self, source: Layout, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link = os.link

        def swapped(name: str, *arguments: t.Any, **more: t.Any) -> None:
            if name == LAYER.digest.encoded:
                other = tmp_path / "other"
                other.write_bytes(b"other")
                other.replace(blob(source))
            link(name, *arguments, **more)

        monkeypatch.setattr(os, "link", swapped)
        target = Layout(str(tmp_path / "target"))
        with pytest.raises(Exception, match="5 bytes"):
            copied(source, target)
        assert not blob(target).exists()

    def test_a_damaged_one_is_replaced_by_the_good_one(self, source: Layout, tmp_path: pathlib.Path) -> None:
        target = Layout(str(tmp_path / "target"))
        copied(source, target, hardlinks=False)
        blob(target).write_bytes(b"x" * len(BLOB))
        plan = copy.Planner(target, copy.CopyOptions(deep=True, hardlinks=True)).plan(source, source.resolve("v1"), {})
        copy.apply_copy(plan, source, target)
        assert blob(target).read_bytes() == BLOB and blob(target).stat().st_ino == blob(source).stat().st_ino

    def test_a_damaged_source_gets_no_second_name(self, source: Layout, tmp_path: pathlib.Path) -> None:
        blob(source).write_bytes(b"x" * len(BLOB))
        target = Layout(str(tmp_path / "target"))
        with pytest.raises(MismatchError, match="another digest"):
            copied(source, target)
        assert not blob(target).exists()


def test_shared_blocks_leave_two_files(source: Layout, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Btrfs and XFS; what the kernel does is done here by a copy."""

    def clone(new: int, _request: int, origin: int) -> int:
        os.pwrite(new, os.pread(origin, 1 << 20, 0), 0)
        return 0

    monkeypatch.setattr(sharing.fcntl, "ioctl", clone)
    target = Layout(str(tmp_path / "target"))
    _plan, outcome = copied(source, target)
    assert LAYER.digest in outcome.mounted and blob(target).stat().st_nlink == 1


def test_a_broken_disk_is_an_error(source: Layout, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: t.Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sharing.fcntl, "ioctl", broken)
    with pytest.raises(Exception, match="Input/output error"):
        copied(source, Layout(str(tmp_path / "target")))


def test_only_from_a_layout_folder_on_the_same_file_system(source: Layout, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Layout(str(tmp_path / "target"))
    assert target.mountable(LAYER, source) and not target.mountable(LAYER, Archive(str(tmp_path / "a.tar")))
    assert not target.mount(LAYER, Archive(str(tmp_path / "a.tar")))
    assert not sharing.same_file_system(source.path, str(tmp_path / "absent"))
    assert not sharing.same_file_system(source.path, "/proc")
    monkeypatch.setattr(sharing, "same_file_system", lambda one, other: False)
    assert not target.mountable(LAYER, source)

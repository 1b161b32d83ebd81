# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 at every system call of a pull that changes the disk: each file is the old or the new one, the next run completes."""

from __future__ import annotations

import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.destination import Destination
from ansible_collections.lading.oci.plugins.module_utils._oci.folders import FolderBlobs
from ansible_collections.lading.oci.plugins.module_utils._oci.plaintar import Limits
from ansible_collections.lading.oci.plugins.module_utils._oci.pruning import PrunePlan, Written
from ansible_collections.lading.oci.plugins.module_utils._oci.receipt import Receipt
from ansible_collections.lading.oci.plugins.module_utils._oci.selection import select
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.unpack import Pull, apply_unpack, plan_unpack
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import (
    MemorySource,
    folder,
    hard_link,
    member,
    symlink,
    tar_gz,
)
from test_kill import run_and_die

Tree = t.Dict[str, t.Union[None, str, bytes]]
OLD: Tree = {"a": b"old", "d": None, "d/b": b"old", "d/l": "b"}
NEW: Tree = {"a": b"new", "x": None, "x/y": b"new", "d": None, "d/b": b"new", "d/copy": b"new", "d/s": None, "d/s/c": b"c", "d/l": "s/c"}
MEMBERS = (folder("d"), member("d/b", b"new"), hard_link("d/copy", "d/b"), member("d/s/c", b"c", 0o755), symlink("d/l", "s/c"))


def tree(root: pathlib.Path) -> Tree:
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
    }


def pull(
    source: MemorySource, root: Descriptor, dest: pathlib.Path, prune: bool = False, warn: t.Callable[[str], None] = pytest.fail
) -> None:
    receipt = Receipt(str(dest), warn)
    written, pruned = Written(receipt, "memory"), PrunePlan()
    selection, destination, limits = select(source, root, receipt), Destination(str(dest)), Limits()
    with FolderBlobs(source, destination, receipt, limits, keep=True) as blobs:
        parts = Pull(source, selection, destination, blobs, announce=written.announce)
        plan = plan_unpack(parts)
        if plan.changed:
            apply_unpack(plan, parts, concurrency=1)
        if prune:
            pruned = written.apply(parts, backup=False)
        written.finish(parts, pruned)
        receipt.remember(root, selection.manifests, blobs.listings)


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_every_point(existing: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = MemorySource()
    root = source.artifact(source.file("a", b"new"), source.file("x/y", b"new"), source.folder("d", tar_gz(*MEMBERS)))
    work, killed, points = tmp_path / "work", True, 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(work / "cache"))
    dest = work / "dest"
    while killed:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        if existing:
            (dest / "d").mkdir(parents=True)
            (dest / "a").write_bytes(b"old")
            (dest / "d" / "b").write_bytes(b"old")
            (dest / "d" / "l").symlink_to("b")
        points += 1
        killed = run_and_die(lambda: pull(source, root, dest), points)
        for name, content in tree(dest).items():
            assert os.path.basename(name).startswith(".lading-") or content in (NEW[name], OLD.get(name) if existing else NEW[name])
        pull(source, root, dest)
        assert tree(dest) == NEW
        assert list(work.rglob(".lading-*")) == []
    assert points > 20, "the calls that change the disk were not seen"


def test_every_point_of_a_batch(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a large folder are written first, and get their names together: some of them may be old then, none is in between."""
    names = [*(f"d/{number}" for number in range(9)), *(f"d/s/{number}" for number in range(9))]
    source = MemorySource()
    members = [member(name, b"new") for name in names]
    root = source.artifact(source.folder("d", tar_gz(*members, hard_link("d/copy", "d/1"))))
    work, killed, points = tmp_path / "work", True, 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(work / "cache"))
    dest = work / "dest"
    while killed:
        shutil.rmtree(work, ignore_errors=True)
        (dest / "d").mkdir(parents=True)
        (dest / "d" / "3").write_bytes(b"old")
        points += 1
        killed = run_and_die(lambda: pull(source, root, dest), points)
        for name, content in tree(dest).items():
            started = any(part.startswith(".lading-") for part in name.split("/"))
            assert started or content in (None, b"new") or (name, content) == ("d/3", b"old")
        pull(source, root, dest)
        assert tree(dest) == {"d": None, "d/s": None, "d/copy": b"new", **{name: b"new" for name in names}}
    assert points > 80, "the calls that change the disk were not seen"


def test_a_killed_pull_is_pruned(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever point the pull of one version, or of the next, was killed: what it left is known to be ours."""
    source = MemorySource()
    first = source.artifact(source.file("a", b"1"), source.file("x/y", b"2"))
    second = source.artifact(source.file("a", b"new"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dest, killed, points = tmp_path / "dest", True, 0
    while killed:
        for name in ("dest", "cache"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        points += 1
        killed = run_and_die(lambda: (pull(source, first, dest), pull(source, second, dest, prune=True)), points)
        pull(source, second, dest, prune=True)
        assert tree(dest) == {"a": b"new"}, f"killed at {points}"
    assert points > 20, "the calls that change the disk were not seen"

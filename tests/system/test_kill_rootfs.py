# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 at every system call of an unpacking that changes the disk: no file is half there, the next run completes, nothing is left."""

from __future__ import annotations

import pathlib
import shutil

import pytest
import test_kill
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import (
    MemorySource,
    folder,
    hard_link,
    member,
    symlink,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.rootfs.images import Rootfs, fifo, image

OLD = [[folder("d"), member("d/a", b"old", 0o600), member("gone/x", b"x"), member("turns/y", b"y"), symlink("l", "d")]]
NEW = [
    [folder("d"), member("d/a", b"new"), hard_link("d/b", "d/a"), symlink("e", "d"), symlink("l", "e"), fifo("pipe")],
    [member("e/c", b"c", 0o4755), member("turns", b"file"), member("s/t/u", b"u"), member("empty")],
]
STATE = {
    "d": "0755 folder",
    "d/a": "0644 new",
    "d/b": "0644 new",
    "d/c": "4755 c",
    "e": "-> d",
    "empty": "0644 ",
    "l": "-> e",
    "s": "0755 folder",
    "s/t": "0755 folder",
    "s/t/u": "0644 u",
    "turns": "0644 file",
}
CONTENTS = {"old", "x", "y", "new", "c", "file", "u", ""}
MORE_CALLS = ("fchown", "setxattr", "utime", "symlink", "mknod", "chown")


@pytest.mark.parametrize("existing", [False, True], ids=["new", "upgrade"])
def test_every_point(existing: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_kill, "CHANGING_CALLS", (*test_kill.CHANGING_CALLS, *MORE_CALLS))
    source, work, pristine = MemorySource(), tmp_path / "work", tmp_path / "pristine"
    old, new = image(source, *OLD), image(source, *NEW)
    monkeypatch.setenv("XDG_CACHE_HOME", str(work / "cache"))
    rootfs = Rootfs(work / "rootfs", source)
    work.mkdir()
    if existing:
        rootfs.unpack(old)
    shutil.copytree(work, pristine, symlinks=True)
    killed, points = True, 0
    while killed:
        shutil.rmtree(work)
        shutil.copytree(pristine, work, symlinks=True)
        points += 1
        killed = test_kill.run_and_die(lambda: rootfs.unpack(new), points)
        for path in rootfs.path.rglob("*"):
            if path.is_file() and not path.is_symlink() and not path.name.startswith(".lading-"):
                assert path.read_text() in CONTENTS, path
        rootfs.unpack(new)
        assert rootfs.state() == STATE, points
        assert list(work.rglob(".lading-*")) == [] and not rootfs.unpack(new, check=True).changed
    assert points > 60, "the calls that change the disk were not seen"


def test_another_image_after_the_kill(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the killed run had begun to write is not forgotten."""
    source, work = MemorySource(), tmp_path / "work"
    first, second = image(source, *NEW), image(source, [member("only", b"this")])
    monkeypatch.setenv("XDG_CACHE_HOME", str(work / "cache"))
    rootfs = Rootfs(work / "rootfs", source)
    killed, points = True, 0
    while killed:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        points += 3
        killed = test_kill.run_and_die(lambda: rootfs.unpack(first), points)
        rootfs.unpack(second)
        assert rootfs.state() == {"only": "0644 this"}, points
        assert list(work.rglob(".lading-*")) == []

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 at every system call that changes a layout or a tar: what was there stays readable, the next run completes."""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import signal
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import store
from support import peer

# The calls through which the library changes anything on disk: each is a point to die before.
CHANGING_CALLS = ("open", "mkdir", "write", "pwrite", "fchmod", "fsync", "rename", "link", "unlink", "rmdir")
Store = t.Union[Layout, Archive]


def die_before(call_number: int) -> None:
    """Let this process kill itself before its ``call_number``-th call that changes the disk."""
    left = [call_number]

    def dying(real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def call(*args: t.Any, **kwargs: t.Any) -> t.Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CHANGING_CALLS:
        setattr(os, name, dying(getattr(os, name)))


def run_and_die(work: t.Callable[[], None], call_number: int) -> bool:
    """True when the child was killed, False when it had finished before."""
    child = os.fork()
    if child == 0:
        try:
            die_before(call_number)
            work()
            os._exit(0)
        except BaseException:  # the child must not return into pytest
            os._exit(1)
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def copy_to(target: Store, source: Layout) -> None:
    apply_copy(plan_copy(source, source.resolve("new"), target, ["new", "v1"]), source, target, concurrency=1)


@pytest.fixture(name="source")
def _source(tmp_path: pathlib.Path) -> Layout:
    layout = Layout(str(tmp_path / "source"))
    store(layout, ["new"], b"a new layer", b"shared layer", title="new")
    return layout


CASES = [
    pytest.param(Layout, "layout", True, id="folder"),
    pytest.param(Archive, "image.tar", True, id="tar"),
    pytest.param(Layout, "layout", False, id="new-folder"),
    pytest.param(Archive, "image.tar", False, id="new-tar"),
]


@pytest.mark.parametrize("kind, name, existing", CASES)
def test_every_point(kind: t.Type[Store], name: str, existing: bool, source: Layout, tmp_path: pathlib.Path, peers: t.Any) -> None:
    pristine, work = tmp_path / "pristine", tmp_path / "work"
    pristine.mkdir()
    if existing:
        store(kind(str(pristine / name)), ["v1", "old"], b"old layer", b"shared layer")
    points = 0
    while True:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(pristine, work, symlinks=True)
        path = work / name
        killed = run_and_die(functools.partial(copy_to, kind(str(path)), source), points + 1)
        check_readable(kind, path, existing, peers)
        copy_to(kind(str(path)), source)
        check_complete(kind, path, existing, source)
        if not killed:
            break
        points += 1
    assert points >= 10, "the calls that change the disk were not seen"


def check_readable(kind: t.Type[Store], path: pathlib.Path, existing: bool, peers: t.Any) -> None:
    """The old ref is there, whole, for us and for every peer; ``v1`` names the old or the new image, nothing else."""
    if not existing:
        return
    layout = kind(str(path))
    old = layout.resolve("old")
    assert not plan_copy(layout, old, kind(str(path)), ["old"]).missing
    for _desc in layout._reachable([old, layout.resolve("v1")]):
        layout.fetch_bytes(_desc)
    transport = "oci" if kind is Layout else "oci-archive"
    digest = peer(peers.require("skopeo"), "inspect", "--format", "{{.Digest}}", f"{transport}:{path}:old").strip()
    assert digest == old.digest
    fetched = peer(peers.require("oras"), "manifest", "fetch", "--oci-layout", "--descriptor", f"{path}:old")
    assert old.digest in fetched


def check_complete(kind: t.Type[Store], path: pathlib.Path, existing: bool, source: Layout) -> None:
    layout = kind(str(path))
    root = source.resolve("new")
    assert layout.resolve("new") == layout.resolve("v1") == root
    for desc in layout._reachable([root]):
        layout.fetch_bytes(desc)
    assert layout.index.names == (["new", "old", "v1"] if existing else ["new", "v1"])
    litter = [str(file) for file in path.parent.rglob("*") if file.name.startswith(".lading-")]
    assert litter == []

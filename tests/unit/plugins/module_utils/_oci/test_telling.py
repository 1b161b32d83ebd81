# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module tells of its progress, and what of its work is counted."""

from __future__ import annotations

import contextlib
import os
import pathlib
import stat
import sys
import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import copy, layer, module, telling, transfer, unpack
from ansible_collections.lading.oci.plugins.module_utils._oci.content import beneath, store
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.registry import upload_content
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs import layers
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.progress import Progress, Totals
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import BLOB
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import store as store_image
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

NAME = ".lading-progress-" + "0a" * 16
ONE = Descriptor.of(b"0123456789", "text/plain")
SOON = 0.01


@pytest.fixture(name="file")
def _file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / NAME


def wanted() -> Progress:
    progress = Progress()
    progress.wanted = True
    return progress


def wait_for(happened: t.Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)


def test_two_numbers_while_the_work_goes_on(file: pathlib.Path) -> None:
    progress = wanted()
    with telling.telling(str(file), progress, SOON, SOON):
        progress.expect([ONE])
        wait_for(file.exists)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        progress.reached(ONE.digest, 7)
        wait_for(lambda: file.read_bytes() == b"%020d %020d\n" % (7, 10))
    assert not file.exists()


def test_it_goes_after_an_error_too(file: pathlib.Path) -> None:
    progress = wanted()
    with pytest.raises(KeyboardInterrupt), telling.telling(str(file), progress, SOON, SOON):
        progress.expect([ONE])
        wait_for(file.exists)
        raise KeyboardInterrupt
    assert not file.exists()


def test_nothing_is_written_of_work_that_is_short(file: pathlib.Path) -> None:
    progress = wanted()
    with telling.telling(str(file), progress, first=3600.0):
        progress.expect([ONE])
        assert progress.totals() == (0, 10)
        assert not list(file.parent.iterdir())
    assert not list(file.parent.iterdir())


class Asked(Progress):
    """Knows how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = True
        self.count = 0

    def totals(self) -> Totals:
        self.count += 1
        return super().totals()


def test_nothing_is_written_of_a_run_with_nothing_to_move(file: pathlib.Path) -> None:
    progress = Asked()
    with telling.telling(str(file), progress, SOON, SOON):
        progress.expect([Descriptor.of(b"", "text/plain")])
        wait_for(lambda: progress.count >= 5)
        assert not file.exists()


@pytest.mark.parametrize(
    "value", ["", "progress", "/etc/passwd", NAME, "/tmp/" + NAME + "0", "/tmp/" + NAME.upper(), "/tmp/" + NAME + "\n"]
)
def test_only_a_name_of_ours_is_written_to(value: str) -> None:
    before = threading.active_count()
    with telling.telling(value, wanted(), SOON, SOON):
        assert threading.active_count() == before


def test_who_writes_in_the_same_folder_leaves_it(file: pathlib.Path) -> None:
    """Temp files that nobody holds are swept by any task with a destination there."""
    progress = wanted()
    with telling.telling(str(file), progress, SOON, SOON):
        progress.expect([ONE])
        wait_for(lambda: file.exists() and file.stat().st_size > 0)
        with beneath.folder(str(file.parent)) as parent:
            beneath.sweep(parent)
        assert file.exists()
    file.write_text("of a run that was killed")
    with beneath.folder(str(file.parent)) as parent:
        beneath.sweep(parent)
    assert not file.exists()


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_is_there_is_left_alone(file: pathlib.Path, kind: str) -> None:
    other = file.parent / "other"
    other.write_text("mine")
    if kind == "link":
        file.symlink_to(other)
    elif kind == "folder":
        file.mkdir()
    else:
        file.write_text("mine")
    with telling.telling(str(file), progress := wanted(), SOON, SOON):
        progress.expect([ONE])
        wait_for(lambda: not any(thread.name == "lading-progress" for thread in threading.enumerate()))
    assert other.read_text() == "mine" and os.path.lexists(file)
    assert kind == "folder" or file.read_text() == "mine"


def test_a_folder_that_is_not_there_is_no_error(tmp_path: pathlib.Path) -> None:
    with telling.telling(str(tmp_path / "none" / NAME), progress := wanted(), SOON, SOON):
        progress.expect([ONE])
        wait_for(lambda: not any(thread.name == "lading-progress" for thread in threading.enumerate()))


class Module:
    """As much of AnsibleModule as a run without an error needs."""


@pytest.mark.parametrize("asked", [False, True])
def test_a_module_tells_only_of_what_there_is_to_do(asked: bool, monkeypatch: pytest.MonkeyPatch, file: pathlib.Path) -> None:
    """No thread, and nothing imported, for a run without a change."""
    progress = Progress()
    monkeypatch.setattr(module, "PROGRESS", progress)
    monkeypatch.delitem(sys.modules, telling.__name__)
    if asked:
        monkeypatch.setenv(module.PROGRESS_FILE, str(file))

    def tells() -> bool:
        return any(thread.name == "lading-progress" for thread in threading.enumerate())

    with module.failing(t.cast(t.Any, Module())):
        progress.expect([])
        assert not tells() and telling.__name__ not in sys.modules
        progress.expect([ONE])
        assert tells() == asked and (telling.__name__ in sys.modules) == asked
    assert not tells()


class Watched(Progress):
    """Remembers each step."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = True
        self.steps: t.List[t.Tuple[t.Hashable, int]] = []

    def reached(self, key: t.Hashable, position: int) -> None:
        self.steps.append((key, position))
        super().reached(key, position)


@pytest.fixture(name="progress")
def _progress(monkeypatch: pytest.MonkeyPatch) -> Watched:
    progress = Watched()
    for counting in (transfer, layer, unpack, store, upload_content, layers):
        monkeypatch.setattr(counting, "PROGRESS", progress)
    return progress


@pytest.fixture(name="source")
def _source(tmp_path: pathlib.Path) -> Layout:
    layout = Layout(str(tmp_path / "source"))
    store_image(layout, ["v1"], BLOB, b"second layer" * 100_000)
    return layout


def run_copy(source: t.Any, target: t.Any) -> int:
    """The bytes of the blobs that were moved."""
    plan = copy.plan_copy(source, source.resolve("v1"), target, ["v1"])
    copy.apply_copy(plan, source, target)
    return sum(desc.size for desc in plan.missing if not mediatype.is_manifest(desc.media_type))


def test_all_of_a_copy_is_counted(source: Layout, tmp_path: pathlib.Path, progress: Watched) -> None:
    moved = run_copy(source, Layout(str(tmp_path / "target")))
    assert moved and progress.totals() == (moved, moved)


def test_a_push_is_counted_where_it_is_sent(source: Layout, progress: Watched) -> None:
    """Each blob of a file is read twice, to be verified first: that says nothing of how much was sent."""
    with contextlib.closing(fake.FakeRegistry()) as registry:
        moved = run_copy(source, fake.Harness(registry).repository())
    assert progress.totals() == (moved, moved)
    for key in {key for key, _position in progress.steps if key in progress._sizes}:
        positions = [position for one, position in progress.steps if one == key]
        assert len(positions) == len(set(positions)), (key, positions)


def test_a_second_run_expects_nothing(source: Layout, tmp_path: pathlib.Path, progress: Watched) -> None:
    target = Layout(str(tmp_path / "target"))
    run_copy(source, target)
    progress._sizes.clear()
    assert run_copy(source, target) == 0 and progress.totals() == (0, 0)


def test_each_pass_over_a_tree_is_counted(tmp_path: pathlib.Path, progress: Watched) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "one").write_bytes(b"1" * 3_000_000)
    (tmp_path / "tree" / "below" / "two").write_bytes(b"2" * 50)
    (tmp_path / "tree" / "link").symlink_to("one")
    tree = layer.Tree(str(tmp_path / "tree"))
    layer.content_digest(tree.write_tar)
    once = progress.totals()
    assert once.done == once.total >= 3_000_050
    layer.content_digest(tree.write_tar)
    assert progress.totals() == (2 * once.done, 2 * once.total)


def test_a_file_that_is_hashed_is_counted(tmp_path: pathlib.Path, progress: Watched) -> None:
    (tmp_path / "one").write_bytes(b"1" * 3_000_000)
    layer.file_digest(str(tmp_path / "one"))
    assert progress.totals() == (3_000_000, 3_000_000)
    assert len(progress.steps) == 3

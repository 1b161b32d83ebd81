# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds that read only what changed give what builds that read everything give; what could deceive them does not."""

from __future__ import annotations

import io
import json
import os
import pathlib
import random
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import layer, layer_receipt, old_tar
from ansible_collections.lading.oci.plugins.module_utils._oci.build_options import BuildOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.content import gzip_blocks
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Overlay, Spool
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import CopyPlan, apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.known import known_layers
from ansible_collections.lading.oci.plugins.module_utils._oci.layer_maker import LayerMaker
from ansible_collections.lading.oci.plugins.module_utils._oci.layer_receipt import LayerReceipts
from ansible_collections.lading.oci.plugins.module_utils._oci.pack import Packer
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.test_build import file_option, layer_option, params

FILES = 150
TEXT = b"".join(random.Random(1).choices([b"layer", b"manifest", b"config", b" ", b"\n"], k=30_000))
SETTLED = layer_receipt._TICK / 1e9 + 0.05


class World:
    """A tree, a layout, and what builds of the one into the other read and compressed."""

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.warnings: t.List[str] = []
        self.read: t.List[str] = []
        self.compressed = 0
        exactly, pack = layer._exactly, gzip_blocks.pack

        def noted(descriptor: int, size: int, path: str) -> t.Iterator[bytes]:
            self.read.append(os.path.basename(path))
            return exactly(descriptor, size, path)

        def counted(block: bytes, level: int) -> bytes:
            self.compressed += 1
            return pack(block, level)

        monkeypatch.setattr(layer, "_exactly", noted)
        monkeypatch.setattr(gzip_blocks, "pack", counted)

    def build(self, out: str = "out", used: bool = True, check: bool = False, **options: t.Any) -> CopyPlan:
        """What the build plans; ``read`` and ``compressed`` are of this one then."""
        self.read, self.compressed = [], 0
        given = {"files": [file_option(self.tree)]} if options.pop("packed", False) else {"layers": [layer_option(self.tree, **options)]}
        path = str(self.folder / out)
        target = Layout(path)
        overlay = Overlay(target)
        receipts = LayerReceipts(target, self.warnings.append, used, stored=not check)
        maker = LayerMaker(overlay, Spool(None if check else path), known_layers(target, "v1"), receipts)
        plan = plan_copy(overlay, BuildOptions(params(**given), {}).pack(Packer(overlay, maker)), target, ["v1"])
        if plan.changed and not check:
            apply_copy(plan, overlay, target)
        return plan

    def fresh(self, **options: t.Any) -> Descriptor:
        """The root that a build from nothing gives."""
        read, compressed = self.read, self.compressed
        cache, os.environ["XDG_CACHE_HOME"] = os.environ["XDG_CACHE_HOME"], str(self.folder / "no-cache")
        try:
            return self.build(f"fresh-{random.random()}", used=False, check=True, **options).root
        finally:
            os.environ["XDG_CACHE_HOME"] = cache
            self.read, self.compressed = read, compressed

    def layer(self, out: str = "out") -> Descriptor:
        store = Layout(str(self.folder / out))
        root = store.resolve("v1")
        return manifest.parse(root, store.fetch_bytes(root)).layers[0]

    def blob(self) -> pathlib.Path:
        return self.folder / "out" / "blobs" / "sha256" / self.layer().digest.encoded

    def receipt(self) -> pathlib.Path:
        (found,) = (self.folder / "cache" / "lading-oci" / "layer").glob("*.json")
        return found


@pytest.fixture(name="world")
def _world(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """3 MB in 150 files, as they are some time after they were written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number in range(FILES):
        folder = tmp_path / "tree" / str(number // 50)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03}").write_bytes(TEXT[number * 600 : number * 600 + 20_000])
    (tmp_path / "tree" / "link").symlink_to("0/000")
    os.link(tmp_path / "tree" / "1" / "050", tmp_path / "tree" / "2" / "hard")
    settle()
    return World(tmp_path, monkeypatch)


def settle() -> None:
    time.sleep(SETTLED)


def same_size(path: pathlib.Path) -> None:
    """Other content, with the same size, mtime and inode."""
    before = path.stat()
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content[:-1] + (b"#" if content[-1:] != b"#" else b"%"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_size, path.stat().st_ino) == (before.st_mtime_ns, before.st_size, before.st_ino)


@pytest.mark.parametrize("options", [{}, {"compression": "none"}, {"compression_level": 9}, {"packed": True}, {"dest": "/opt/a"}])
def test_nothing_changed_reads_nothing(world: World, options: t.Dict[str, t.Any]) -> None:
    assert world.build(**options).changed
    stamp = world.receipt().stat()
    again = world.build(**options)
    assert not again.changed and not world.read and not world.compressed and again.root == world.fresh(**options)
    assert (world.receipt().stat().st_ino, world.receipt().stat().st_mtime_ns) == (stamp.st_ino, stamp.st_mtime_ns)
    assert not world.build(check=True, **options).changed and not world.read


def replaced(tree: pathlib.Path) -> None:
    """Another file of the same size and mtime under the name."""
    path, other = tree / "2" / "120", tree.parent / "other"
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)


def two_names_less(tree: pathlib.Path) -> None:
    (tree / "1" / "050").unlink()


CHANGES: t.Dict[str, t.Callable[[pathlib.Path], object]] = {
    "same size and mtime": lambda tree: same_size(tree / "2" / "120"),
    "replaced by rename": replaced,
    "longer": lambda tree: (tree / "2" / "120").write_bytes(b"x" * 70_000),
    "empty": lambda tree: (tree / "2" / "120").write_bytes(b""),
    "the first": lambda tree: (tree / "0" / "000").write_bytes(b"x"),
    "a new one": lambda tree: (tree / "2" / "120a").write_bytes(b"new"),
    "a new one at the end": lambda tree: (tree / "z").write_bytes(b"new"),
    "one less": lambda tree: (tree / "2" / "120").unlink(),
    "the last less": lambda tree: (tree / "link").unlink(),
    "renamed": lambda tree: (tree / "2" / "120").rename(tree / "2" / "999"),
    "mode": lambda tree: (tree / "2" / "120").chmod(0o600),
    "mode of a folder": lambda tree: (tree / "2").chmod(0o700),
    "a link": lambda tree: ((tree / "link").unlink(), (tree / "link").symlink_to("0/001")),
    "a file with two names": lambda tree: same_size(tree / "1" / "050"),
    "its first name goes": two_names_less,
    "a third name, first of all": lambda tree: os.link(tree / "1" / "050", tree / "0" / "!"),
    "a folder where a file was": lambda tree: ((tree / "2" / "120").unlink(), (tree / "2" / "120").mkdir()),
    "everything": lambda tree: [same_size(path) for path in sorted(tree.rglob("???"))],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("packed", [False, True])
def test_what_changed_is_found(world: World, change: str, packed: bool) -> None:
    world.build(packed=packed)
    CHANGES[change](world.tree)
    checked = world.build(packed=packed, check=True)
    done = world.build(packed=packed)
    assert done.changed and checked.root == done.root == world.fresh(packed=packed) and checked.missing == done.missing
    settle()
    assert world.build(packed=packed).root == done.root
    assert not world.build(packed=packed).changed and not world.read and not world.warnings


def test_one_file_of_many(world: World) -> None:
    world.build()
    blocks = world.compressed
    assert blocks > 2
    (world.tree / "0" / "020").write_bytes(b"short")
    assert world.build().root == world.fresh()
    # That with two names is read too: how it is stored depends on the files before it.
    assert world.read == ["020", "050"] and 0 < world.compressed <= 2
    settle()
    (world.tree / "2" / "120").write_bytes(b"short")
    assert world.build().root == world.fresh()
    assert "120" in world.read and len(world.read) < 4


def test_a_change_that_leaves_the_content(world: World) -> None:
    first = world.build()
    for path in world.tree.rglob("*"):
        os.utime(path, follow_symlinks=False)
    settle()
    again = world.build()
    assert not again.changed and again.root == first.root and world.read
    assert not world.build().changed and not world.read


def test_another_ref_of_the_layout(world: World) -> None:
    """The destination's ref says nothing of the layer, which is taken out of the blob that is there, after a look at it."""
    world.build()
    names = Layout(str(world.folder / "out"))
    names.untag("v1")
    assert world.build().changed and world.read in ([], ["050"]) and not world.compressed


def test_in_the_tick_of_its_last_change_a_file_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change in the same tick leaves ctime: as if the clock stood still."""
    path = world.tree / "2" / "120"
    path.write_bytes(b"one")
    when = path.stat()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", lambda: when.st_ctime_ns + 5_000_000)
        world.build()
    path.write_bytes(b"two")
    true_stat = os.stat

    def stat(*args: t.Any, **options: t.Any) -> os.stat_result:
        found = true_stat(*args, **options)
        return when if found.st_ino == when.st_ino else found

    monkeypatch.setattr(os, "stat", stat)
    assert world.build().changed and "120" in world.read


@pytest.mark.parametrize(
    "ctime, age, settled",
    [(10**18 + 7, 90, False), (10**18 + 7, 110, True), (10**18, 1900, False), (10**18, 2100, True), (10**18 + 7, -5, False)],
)
def test_settled(ctime: int, age: int, settled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Status:
        st_ctime_ns = ctime

    found = layer.Found("a", ("a",), t.cast(os.stat_result, Status()), ctime + age * 1_000_000)
    assert layer_receipt.is_settled(found) is settled


def test_a_clock_that_was_put_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.build()
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() - 3600 * 10**9)
    assert not world.build().changed and world.read


def edited(change: t.Callable[[t.Dict[str, t.Any]], object], sign: bool) -> t.Callable[[pathlib.Path], object]:
    def edit(path: pathlib.Path) -> None:
        document = json.loads(path.read_text())
        content = json.loads(document["content"])
        change(content)
        document["content"] = json.dumps(content)
        if sign:
            document["digest"] = layer_receipt._digest(document["content"])
        path.write_text(json.dumps(document))

    return edit


DAMAGES: t.Dict[str, t.Callable[[pathlib.Path], object]] = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_text(""),
    "no object": lambda path: path.write_text("[]"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-99]),
    "a wrong digest": edited(lambda content: content.update(diff_id="sha256:" + "0" * 64), sign=False),
    "a wrong offset": edited(lambda content: content["ends"].__setitem__(0, 77), sign=False),
    "others may write": lambda path: path.chmod(0o622),
    "a link": lambda path: (path.rename(path.with_suffix(".x")), path.symlink_to(path.with_suffix(".x"))),
    "no rows": edited(lambda content: content.update(rows=7), sign=True),
    "blocks that are none": edited(lambda content: content.update(made=[1, 2, 3]), sign=True),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_receipt_is_none(world: World, damage: str) -> None:
    world.build()
    DAMAGES[damage](world.receipt())
    again = world.build()
    assert not again.changed and len(world.read) == FILES
    assert again.root == world.fresh() and not world.warnings


def test_a_receipt_of_somebody_else(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    world.build()
    os.chown(world.receipt(), 12345, -1)
    assert not world.build().changed and world.read


def damaged(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [damaged, pathlib.Path.unlink, lambda path: path.write_bytes(b"")], ids=["damaged", "gone", "empty"])
def test_a_blob_that_is_not_what_it_was(world: World, harm: t.Callable[[pathlib.Path], object]) -> None:
    """What is taken out of it is verified; then all is read."""
    world.build()
    harm(world.blob())
    same_size(world.tree / "2" / "120")
    done = world.build()
    assert done.root == world.fresh() and len(world.read) >= FILES
    Layout(str(world.folder / "out")).fetch_bytes(world.layer())


def test_a_blob_that_is_gone_is_made_again(world: World) -> None:
    first = world.build()
    world.blob().unlink()
    assert world.build().root == first.root and world.blob().exists()


@pytest.mark.parametrize("change", ["zlib", "level", "codec"])
def test_another_compression_takes_no_blocks(world: World, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.build()
    if change == "zlib":
        monkeypatch.setattr(layer_receipt.zlib, "ZLIB_RUNTIME_VERSION", "2.0")
    options = {"level": {"compression_level": 1}, "codec": {"compression": "none"}}.get(change, {})
    same_size(world.tree / "2" / "120")
    assert world.build(**options).root == world.fresh(**options) and len(world.read) >= FILES


@pytest.mark.parametrize("options", [{"mode": "0644"}, {"owner": 7}, {"xattrs": False, "group": "keep"}])
def test_other_options_are_another_tar(world: World, options: t.Dict[str, t.Any]) -> None:
    world.build()
    assert world.build(**options).root == world.fresh(**options) and len(world.read) >= FILES


def test_without_it_everything_is_read(world: World) -> None:
    world.build()
    assert not world.build(used=False).changed and len(world.read) == FILES
    assert not world.build().changed and not world.read


def test_check_mode_notes_nothing(world: World) -> None:
    world.build(check=True)
    assert not (world.folder / "cache").exists()


def test_a_cache_that_cannot_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(world.folder / "file"))
    assert world.build().changed and not world.build().changed
    assert len(world.warnings) == 2 and "XDG_CACHE_HOME" in world.warnings[0]


def test_very_many_files_are_not_noted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_receipt, "_MAX_ROWS", FILES)
    world.build()
    assert not (world.folder / "cache").exists()


def test_old_receipts_go(world: World) -> None:
    folder = world.folder / "cache" / "lading-oci" / "layer"
    folder.mkdir(parents=True)
    for name, days in (("old.json", 31), ("new.json", 29), ("other", 31)):
        (folder / name).write_text("{}")
        os.utime(folder / name, (time.time() - days * 86400,) * 2)
    world.build()
    assert {path.name for path in folder.iterdir()} >= {"new.json", "other"} and not (folder / "old.json").exists()


def test_one_file_as_a_layer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tree = world.tree / "2" / "120"
    world.build()
    assert not world.build().changed and not world.read
    same_size(world.tree)
    assert world.build().root == world.fresh()


def test_a_file_that_changes_while_the_older_tar_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unchanged when it was looked at is what it was then; the next build sees the change."""
    world.build()
    same_size(world.tree / "2" / "120")
    before = world.fresh()
    ranged = old_tar.OldTar.range

    def changing(self: t.Any, start: int, end: int) -> t.Iterator[bytes]:
        (world.tree / "0" / "001").write_bytes(b"meanwhile")
        return ranged(self, start, end)

    monkeypatch.setattr(old_tar.OldTar, "range", changing)
    assert world.build().root == before
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(world.folder / "cache"))
    assert world.build().root == world.fresh() != before


def test_a_full_disk_is_said_to_be_the_layouts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.RawIOBase):
        def write(self, content: t.Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spool, "open", lambda _self: Full())
    with pytest.raises(OCIError, match="writing a layer to a temporary file"):
        world.build()

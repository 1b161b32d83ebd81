# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a power loss may not find (threat row 61): every name is given after a sync, nothing is written in place; row 68 beside it."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import typing as t

import pytest
import tally as tallies
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.layouts import as_tar
from support import start_module, tree_state

# A sitecustomize of the module's process: it writes down what the process does to files, and with which descriptors.
RECORDER = """
import json, os, sys
_log = os.open(os.environ["LADING_RECORD"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
_raw = os.write
def _note(*words):
    _raw(_log, json.dumps(words).encode() + b"\\n")
def _name(descriptor):
    return os.readlink("/proc/self/fd/%d" % descriptor)
def _wrapped(name, told):
    real = getattr(os, name)
    def call(*args, **options):
        words = told(*args, **options)
        result = real(*args, **options)
        _note(name, *words)
        return result
    setattr(os, name, call)
_wrapped("write", lambda fd, data: [_name(fd)])
_wrapped("pwrite", lambda fd, data, offset: [_name(fd)])
_wrapped("fsync", lambda fd: [_name(fd)])
_wrapped("rename", lambda a, b, src_dir_fd=None, dst_dir_fd=None: [os.path.join(_name(src_dir_fd), a), os.path.join(_name(dst_dir_fd), b)])
def _hook(event, args):
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
        _note("opened", os.fsdecode(args[0]) if isinstance(args[0], (str, bytes)) else str(args[0]), args[2])
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"):
        _note("changed", event, [str(arg) for arg in args])
    elif event == "ctypes.dlsym" and args[1] == "syncfs":
        _note("syncfs", "")
sys.addaudithook(_hook)
"""
Record = t.List[t.List[t.Any]]
# What the kernel calls a file that has no name: whatever is in it, nobody finds it after a power loss.
NAMELESS = " (deleted)"


@pytest.fixture(name="recorded")
def _recorded(tmp_path: pathlib.Path) -> t.Callable[..., Record]:
    """Run a module that must succeed; what its process did to files."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(RECORDER)

    def run(name: str, arguments: t.Dict[str, t.Any], check: bool = False) -> Record:
        log = tmp_path / "record"
        log.unlink(missing_ok=True)
        path = os.pathsep.join(filter(None, (str(tmp_path / "site"), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "LADING_RECORD": str(log), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path)}
        options = {**arguments, "_ansible_check_mode": check, "_ansible_remote_tmp": str(tmp_path)}
        out, err = start_module(name, options, env=environment).communicate(timeout=120)
        assert out and not json.loads(out).get("failed"), out + err
        return [json.loads(line) for line in log.read_text().splitlines()]

    return run


@pytest.fixture(name="content")
def _content(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "content"
    folder.mkdir()
    for number in range(5):
        (folder / f"f{number}").write_bytes(bytes([number]) * 100_000)
    return folder


def build(layout: pathlib.Path, content: pathlib.Path, tag: str = "v1", count: int = 5) -> t.Dict[str, t.Any]:
    files = [{"src": str(path)} for path in sorted(content.iterdir())[:count]]
    return {"path": str(layout), "tag": tag, "artifact_type": "a/b", "files": files}


def build_image(layout: pathlib.Path, content: pathlib.Path) -> t.Dict[str, t.Any]:
    return {"path": str(layout), "tag": "image", "layers": [{"src": f"{content}/", "dest": "/data"}]}


def out_of_order(record: Record, root: pathlib.Path, durable: bool = True) -> t.List[str]:
    """What is wrong with how names below ``root`` were given. ``durable``: whether each file has a sync of its own."""
    problems: t.List[str] = []
    dirty: t.Set[str] = set()
    unsynced: t.Dict[str, str] = {}
    synced_whole = False
    for name, *words in record:
        if name in ("write", "pwrite") and words[0].startswith(str(root)) and not words[0].endswith(NAMELESS):
            dirty.add(words[0])
            if not os.path.basename(words[0]).startswith(".lading-"):
                problems.append(f"written in place: {words[0]}")
        elif name == "fsync":
            dirty.discard(words[0])
            unsynced = {path: folder for path, folder in unsynced.items() if folder != words[0]}
        elif name == "syncfs":
            synced_whole = True
            dirty.clear()
            unsynced.clear()
        elif name == "rename" and words[1].startswith(str(root)):
            if durable and words[0] in dirty:
                problems.append(f"named before it was synced: {words[1]}")
            if durable and os.path.basename(words[1]) == "index.json" and unsynced:
                problems.append(f"index.json before the names of {sorted(unsynced)} were synced")
            unsynced[words[1]] = os.path.dirname(words[1])
    if unsynced:
        problems.append(f"the folder was not synced after: {sorted(unsynced)}")
    if not durable and not synced_whole:
        problems.append("the file system was not synced")
    return problems


def renames(record: Record, root: pathlib.Path) -> int:
    """How many files got their names; what has another temporary name has none."""
    names = [words[1] for name, *words in record if name == "rename" and words[1].startswith(str(root))]
    return sum(1 for name in names if not os.path.basename(name).startswith(".lading-"))


@pytest.mark.parametrize("dest", ["layout", "layout.tar"])
@pytest.mark.parametrize("kind", ["build", "copy"])
def test_layouts(kind: str, dest: str, recorded: t.Any, content: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    root = tmp_path / "dest"
    root.mkdir()
    if kind == "copy":
        recorded("oci_layout_build", build(tmp_path / "source", content))
        prefix = "oci" if dest == "layout" else "oci-archive"
        record = recorded("oci_copy", {"src": f"oci:{tmp_path}/source:v1", "dest": f"{prefix}:{root / dest}:v1"})
    else:
        record = recorded("oci_layout_build", build(root / dest, content))
    assert renames(record, root) >= (1 if dest.endswith(".tar") else 6), "nothing was recorded"
    report(tallies.DISK, out_of_order(record, root))


def test_pulled_files(recorded: t.Any, content: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    recorded("oci_layout_build", build(tmp_path / "source", content))
    record = recorded("oci_pull", {"src": f"oci:{tmp_path}/source:v1", "dest": f"{tmp_path}/dest"})
    assert renames(record, tmp_path / "dest") == 5
    report(tallies.DISK, out_of_order(record, tmp_path / "dest"))


def test_the_files_of_a_large_folder(recorded: t.Any, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """None has its name before a sync that came after it was written, which is one for many of them."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    for number in range(40):
        (tree / ("sub" if number % 2 else ".") / f"f{number}").write_bytes(b"content of a file")
    folder = {"path": str(tmp_path / "source"), "tag": "v1", "artifact_type": "a/b", "files": [{"src": str(tree)}]}
    recorded("oci_layout_build", folder)
    record = recorded("oci_pull", {"src": f"oci:{tmp_path}/source:v1", "dest": f"{tmp_path}/dest"})
    assert renames(record, tmp_path / "dest") == 40
    report(tallies.DISK, out_of_order(record, tmp_path / "dest"))
    assert sum(1 for name, *_words in record if name == "syncfs") <= 3, "a sync for each file"


def test_a_root_file_system_is_synced_as_a_whole(
    recorded: t.Any, content: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any
) -> None:
    """Before the receipt says that it stands, and not file by file."""
    recorded("oci_layout_build", build_image(tmp_path / "source", content))
    record = recorded("oci_pull", {"src": f"oci:{tmp_path}/source:image", "dest": f"{tmp_path}/dest", "unpack": "rootfs"})
    assert renames(record, tmp_path / "dest") == 5
    problems = out_of_order(record, tmp_path / "dest", durable=False)
    last = max(number for number, (name, *words) in enumerate(record) if name == "rename" and "/rootfs/" in words[1])
    whole = [number for number, (name, *_words) in enumerate(record) if name == "syncfs"]
    report(tallies.DISK, problems + ([] if whole and whole[-1] < last else ["the receipt says so before the sync"]))


def test_the_judge_sees_what_is_wrong(tmp_path: pathlib.Path) -> None:
    temp, blob, folder = f"{tmp_path}/.lading-1", f"{tmp_path}/blob", str(tmp_path)
    good = [["write", temp], ["fsync", temp], ["rename", temp, blob], ["fsync", folder]]
    assert out_of_order(good, tmp_path) == []
    assert out_of_order([good[0], *good[2:]], tmp_path) and out_of_order(good[:3], tmp_path)
    assert out_of_order([["write", blob], *good], tmp_path)
    assert out_of_order([["pwrite", f"{tmp_path}/#1{NAMELESS}"], *good], tmp_path) == []
    whole = [["write", temp], ["syncfs", ""], ["rename", temp, blob], ["syncfs", ""]]
    assert out_of_order(whole, tmp_path) == []
    assert out_of_order([whole[0], *whole[2:]], tmp_path) and out_of_order(whole[:3], tmp_path)
    index = [["rename", temp, f"{tmp_path}/index.json"], ["fsync", folder]]
    assert out_of_order([*good[:3], *index], tmp_path)


@pytest.mark.parametrize("dest", ["layout", "layout.tar"])
def test_a_repair(dest: str, recorded: t.Any, content: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    root = tmp_path / "dest"
    root.mkdir()
    recorded("oci_layout_build", build(tmp_path / "source", content))
    lose_a_blob(tmp_path / "source", root / "layout")
    if dest.endswith(".tar"):
        as_tar(root / "layout")
    record = recorded("oci_layout_info", {"path": str(root / dest), "repair_from": [f"oci:{tmp_path}/source"]})
    assert renames(record, root) == 1
    report(tallies.DISK, out_of_order(record, root))


def test_a_removal(recorded: t.Any, content: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """index.json and its folder are synced before the first blob goes, and the folders of the blobs after the last."""
    source = tmp_path / "source"
    recorded("oci_layout_build", build(source, content))
    recorded("oci_layout_build", build(source, content, "old", 3))
    recorded("oci_attach", {"dest": f"oci:{source}:old", "artifact_type": "a/c", "files": [{"src": f"{content}/f4"}]})
    recorded("oci_tag", {"dest": f"oci:{source}:old", "state": "absent"})
    record = recorded("oci_layout_prune", {"path": str(source), "keep_younger": 0, "keep_untagged": False})
    named = [number for number, (name, *words) in enumerate(record) if name == "rename" and words[1] == f"{source}/index.json"]
    removed = [
        number for number, (name, *words) in enumerate(record) if name == "changed" and words[0] == "os.remove" and len(words[1][0]) == 64
    ]
    synced = {
        folder: [number for number, words in enumerate(record) if words == ["fsync", folder]]
        for folder in (f"{source}", f"{source}/blobs/sha256")
    }
    assert len(named) == 1 and len(removed) == 2, record
    problems = [] if any(named[0] < number < removed[0] for number in synced[f"{source}"]) else ["blobs went before index.json was synced"]
    problems += [] if any(number > removed[-1] for number in synced[f"{source}/blobs/sha256"]) else ["the folder was not synced after"]
    report(tallies.DISK, problems)


def lose_a_blob(source: pathlib.Path, dest: pathlib.Path) -> None:
    """Copy the layout, all but its largest blob."""
    shutil.copytree(source, dest)
    max((dest / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size).unlink()


CHECKED = (
    "build", "build-tar", "build-image", "copy", "copy-tar", "prune", "pull", "pull-prune", "rootfs", "layout-prune", "layout-repair"
)  # fmt: skip


@pytest.mark.parametrize("kind", CHECKED)
def test_check_mode_opens_nothing_for_writing(
    kind: str, recorded: t.Any, content: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any
) -> None:
    """Threat row 68. That the same run without check mode is seen to write is the control."""
    source = tmp_path / "source"
    recorded("oci_layout_build", build(source, content))
    recorded("oci_layout_build", build(source, content, "old", 3))
    recorded("oci_layout_build", build_image(source, content))
    dest, src = f"{tmp_path}/dest", f"oci:{source}:v1"
    name, options = {
        "build": ("oci_layout_build", build(tmp_path / "dest", content)),
        "build-tar": ("oci_layout_build", build(tmp_path / "dest.tar", content)),
        "build-image": ("oci_layout_build", build_image(tmp_path / "dest", content)),
        "copy": ("oci_copy", {"src": src, "dest": f"oci:{dest}:v1"}),
        "copy-tar": ("oci_copy", {"src": src, "dest": f"oci-archive:{dest}.tar:v1"}),
        "prune": ("oci_copy", {"src": f"oci:{source}", "dest": f"oci:{dest}", "all_tags": True, "prune": True}),
        "pull": ("oci_pull", {"src": src, "dest": dest}),
        "pull-prune": ("oci_pull", {"src": f"oci:{source}:old", "dest": dest, "prune": True}),
        "rootfs": ("oci_pull", {"src": f"oci:{source}:image", "dest": dest, "unpack": "rootfs"}),
        "layout-prune": ("oci_layout_prune", {"path": str(source), "keep_younger": 0}),
        "layout-repair": ("oci_layout_info", {"path": dest, "verify": True, "repair_from": [f"oci:{source}"]}),
    }[kind]
    if kind == "prune":
        recorded("oci_copy", {"src": src, "dest": f"oci:{dest}:gone"})
    if kind == "layout-prune":
        recorded("oci_tag", {"dest": f"oci:{source}:old", "state": "absent"})
    if kind == "layout-repair":
        lose_a_blob(source, tmp_path / "dest")
    if kind == "pull-prune":
        recorded("oci_pull", {**options, "src": src})
    before = {path: state for path, state in tree_state(tmp_path).items() if path not in ("record",)}
    changes = written(recorded(name, options, check=True), tmp_path)
    after = {path: state for path, state in tree_state(tmp_path).items() if path not in ("record",)}
    problems = [f"check mode: {change}" for change in changes] + ([] if before == after else ["check mode changed the disk"])
    assert written(recorded(name, options), tmp_path), "the run itself was not seen to write"
    again = recorded(name, options)
    assert not any(words[:1] == ["rename"] for words in again), "the second run changed something"
    report(tallies.DISK, problems)


def written(record: Record, root: pathlib.Path) -> t.List[t.Any]:
    """What was opened for writing or changed: but for /dev/null, and for the module's own log line."""
    return [words for words in record if words[0] in ("changed", "rename", "pwrite", "opened") and words[1] not in ("/dev/null",)]

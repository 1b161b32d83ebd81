# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root file systems side by side: umoci and crane unpack the same images, and what stands on disk is the same."""

from __future__ import annotations

import hashlib
import os
import pathlib
import stat
import subprocess
import tarfile
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import (
    Member,
    MemorySource,
    folder,
    hard_link,
    member,
    symlink,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.rootfs.images import attributed, image
from support import peer, start_module, succeed, tree_state

HTTP = {"plain_http": True}
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners and devices")
FIRST: t.Sequence[Member] = (
    folder("./"),
    folder("usr"),
    folder("usr/bin"),
    member("usr/bin/tool", b"tool", 0o4755),
    hard_link("usr/bin/alias", "usr/bin/tool"),
    folder("usr/lib"),
    symlink("bin", "usr/bin"),
    symlink("lib", "/usr/lib"),
    folder("etc", 0o750),
    member("etc/conf", b"old", 0o640),
    member("etc/gone"),
    folder("var"),
    folder("var/cache"),
    member("var/cache/a", b"a"),
    folder("var/cache/deep"),
    member("var/cache/deep/b", b"b"),
    folder("tmp", 0o1777),
    member("turns", b"into a folder"),
    folder("shrinks"),
    member("shrinks/x", b"x"),
)
SECOND: t.Sequence[Member] = (
    member("lib/libc", b"libc" * 5000, 0o755),
    member("bin/more", b"more", 0o755),
    hard_link("usr/lib/again", "usr/bin/tool"),
    member("etc/conf", b"new", 0o600),
    member("etc/.wh.gone"),
    symlink("etc/mtab", "/proc/mounts"),
    symlink("etc/broken", "../../../nowhere"),
    folder("var/cache"),
    member("var/cache/new", b"n"),
    member("var/cache/.wh..wh..opq"),
    folder("turns"),
    member("turns/y", b"y"),
    member("shrinks", b"now a file"),
    member("usr/ünï cödé \n name", b"odd"),
)
THIRD: t.Sequence[Member] = (
    attributed(member("dev/null", mode=0o666, kind=tarfile.CHRTYPE), devmajor=1, devminor=3),
    attributed(member("dev/pipe", mode=0o622, kind=tarfile.FIFOTYPE)),
    attributed(member("usr/bin/noted", b"x"), pax_headers={"SCHILY.xattr.user.note": "a value", "mtime": "1234.5"}),
)


def dated(members: t.Sequence[Member], start: int) -> t.List[Member]:
    """Each with a time and an owner of its own; a hard link has its file's."""
    for number, (info, _content) in enumerate(members):
        if info.type != tarfile.LNKTYPE:
            info.mtime, info.uid, info.gid = start + number, number % 3, number % 5
    for info, _content in members:
        if info.type == tarfile.LNKTYPE:
            tool = next(one for one, _content in FIRST if one.name == "usr/bin/tool")
            info.mtime, info.uid, info.gid, info.mode = tool.mtime, tool.uid, tool.gid, tool.mode
    return list(members)


LAYERS = [dated(FIRST, 10_000), dated(SECOND, 20_000), dated(THIRD, 30_000)]


def layout_with(path: pathlib.Path, **images: t.Sequence[t.Sequence[Member]]) -> pathlib.Path:
    source, target = MemorySource(), Layout(str(path))
    for name, layers in images.items():
        root = image(source, *layers)
        apply_copy(plan_copy(source, root, target, [name]), source, target)
    return path


def state(root: pathlib.Path, owners: bool = True, times: bool = True) -> t.Dict[str, t.Tuple[t.Any, ...]]:
    """All that two trees must have in common, by path; hard links as the group of paths that they are."""
    groups: t.Dict[int, t.List[str]] = {}
    found = {}
    for path in [root, *sorted(root.rglob("*"))]:
        entry, name = path.lstat(), str(path.relative_to(root))
        kind, mode = stat.S_IFMT(entry.st_mode), stat.S_IMODE(entry.st_mode)
        content: t.Any = entry.st_rdev
        if stat.S_ISLNK(entry.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(entry.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            groups.setdefault(entry.st_ino, []).append(name)
            content = (content, groups[entry.st_ino], [(one, os.getxattr(path, one)) for one in os.listxattr(path)])
        owner = (entry.st_uid, entry.st_gid) if owners else ()
        # A folder that no layer names has whatever time it was made; umoci lets new folders in the root change the root's.
        time = int(entry.st_mtime) if times and entry.st_mtime < 1_000_000 and path != root else None
        found[name] = (kind, mode, owner, time, content)
    return found


@pytest.fixture(name="layout")
def _layout(tmp_path: pathlib.Path) -> pathlib.Path:
    # crane does not know opaque folders.
    plain = [*LAYERS[:1], [made for made in LAYERS[1] if ".opq" not in made[0].name]]
    return layout_with(tmp_path / "layout", v1=LAYERS[:1], v2=LAYERS[:2], v3=LAYERS, plain=plain)


def umoci(peers: t.Any, layout: pathlib.Path, tag: str, bundle: pathlib.Path) -> pathlib.Path:
    peer(peers.require("umoci"), "unpack", "--image", f"{layout}:{tag}", bundle)
    return bundle / "rootfs"


@AS_ROOT
@pytest.mark.parametrize("tag", ["v1", "v2", "v3"])
def test_as_umoci_unpacks(tag: str, layout: pathlib.Path, peers: t.Any, tmp_path: pathlib.Path) -> None:
    theirs = umoci(peers, layout, tag, tmp_path / "bundle")
    options = {"src": f"oci:{layout}:{tag}", "dest": str(tmp_path / "ours"), "unpack": "rootfs", "rootfs_options": {"devices": True}}
    checked, done = succeed("oci_pull", options, check=True), succeed("oci_pull", options)
    assert state(tmp_path / "ours") == state(theirs)
    for key in ("changed", "changes", "diff", "entries", "stats"):
        assert checked[key] == done[key]
    assert not succeed("oci_pull", options)["changed"]


@AS_ROOT
def test_what_umoci_has_unpacked_needs_no_change(layout: pathlib.Path, peers: t.Any, tmp_path: pathlib.Path) -> None:
    theirs = umoci(peers, layout, "v3", tmp_path / "bundle")
    before = tree_state(theirs)
    options = {"src": f"oci:{layout}:v3", "dest": str(theirs), "unpack": "rootfs", "rootfs_options": {"devices": True}}
    # What no layer names umoci makes as it likes.
    assert [change["path"] for change in succeed("oci_pull", options)["changes"]] in ([], ["dev"])
    assert {path: inode for path, (inode, _time) in before.items()} == {path: inode for path, (inode, _time) in tree_state(theirs).items()}


@AS_ROOT
def test_an_image_that_umoci_packed(layout: pathlib.Path, peers: t.Any, tmp_path: pathlib.Path) -> None:
    program, bundle = peers.require("umoci"), tmp_path / "bundle"
    theirs = umoci(peers, layout, "v2", bundle)
    (theirs / "etc/conf").write_text("by hand")
    (theirs / "var/cache/new").unlink()
    (theirs / "srv").mkdir()
    (theirs / "srv/added").write_text("added")
    os.link(theirs / "srv/added", theirs / "srv/linked")
    peer(program, "repack", "--image", f"{layout}:packed", bundle)
    unpacked = umoci(peers, layout, "packed", tmp_path / "again")
    succeed("oci_pull", {"src": f"oci:{layout}:packed", "dest": str(tmp_path / "ours"), "unpack": "rootfs"})
    assert state(tmp_path / "ours") == state(unpacked)


@AS_ROOT
def test_as_crane_exports(registry: t.Any, repository: str, layout: pathlib.Path, peers: t.Any, tmp_path: pathlib.Path) -> None:
    reference = f"{registry.host}/{repository}:plain"
    succeed("oci_copy", {"src": f"oci:{layout}:plain", "dest": reference, "dest_registry": HTTP})
    peer(peers.require("crane"), "export", "--insecure", reference, tmp_path / "export.tar")
    with tarfile.open(tmp_path / "export.tar") as exported:
        members = {info.name.rstrip("/"): info for info in exported if info.name.rstrip("/") != "."}
    ours = tmp_path / "ours"
    succeed("oci_pull", {"src": reference, "src_registry": HTTP, "dest": str(ours), "unpack": "rootfs"})
    # crane leaves the names of the layers as they are.
    moved = {"usr/bin/more": "bin/more", "usr/lib/libc": "lib/libc"}
    assert {moved.get(str(path.relative_to(ours)), str(path.relative_to(ours))) for path in ours.rglob("*")} == set(members)
    for name, info in members.items():
        found = (ours / name).lstat() if name not in moved.values() else (ours / f"usr/{name}").lstat()
        assert (found.st_uid, found.st_gid, int(found.st_mtime)) == (info.uid, info.gid, info.mtime), name
        if not info.issym():
            assert stat.S_IMODE(found.st_mode) == info.mode, name


def test_of_our_own_build(tmp_path: pathlib.Path, peers: t.Any) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/hello").write_text("#!/bin/sh\n")
    (tree / "bin/hello").chmod(0o755)
    (tree / "sh").symlink_to("bin/hello")
    succeed("oci_layout_build", {"path": str(tmp_path / "built"), "tag": "v1", "platform": "linux/amd64", "layers": [{"src": f"{tree}/"}]})
    succeed("oci_pull", {"src": f"oci:{tmp_path}/built:v1", "dest": str(tmp_path / "ours"), "unpack": "rootfs"})
    ours = state(tmp_path / "ours", owners=False)
    assert {name: found[4] for name, found in ours.items() if name == "sh"} == {"sh": "bin/hello"}
    if os.geteuid() == 0:
        assert state(umoci(peers, tmp_path / "built", "v1", tmp_path / "bundle")) == state(tmp_path / "ours")


def test_upgrade_drift_and_requests(registry: t.Any, repository: str, layout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    dest, fresh = tmp_path / "ours", tmp_path / "fresh"
    for tag in ("v1", "v2"):
        reference = f"{registry.host}/{repository}:{tag}"
        succeed("oci_copy", {"src": f"oci:{layout}:{tag}", "dest": reference, "dest_registry": HTTP})
        options = {"src": reference, "src_registry": HTTP, "dest": str(dest), "unpack": "rootfs"}
        checked, done = succeed("oci_pull", options, check=True), succeed("oci_pull", options)
        assert checked["changes"] == done["changes"] and checked["stats"]["bytes_transferred"] == done["stats"]["bytes_transferred"]
    assert not (dest / "etc/gone").exists()
    succeed("oci_pull", {**options, "dest": str(fresh)})
    # Nothing that was there before v2 made a difference; only the time of a folder that was not touched may.
    assert state(dest, times=False) == state(fresh, times=False)
    touched = tree_state(dest)
    again = succeed("oci_pull", options)
    assert not again["changed"] and again["stats"]["requests"]["source"] == {"HEAD": 1} and tree_state(dest) == touched
    (dest / "usr/lib/libc").write_text("drift")
    (dest / "etc/conf").unlink()
    (dest / "etc/conf").symlink_to("/etc/passwd")
    repaired = succeed("oci_pull", options)
    assert [change["path"] for change in repaired["changes"]] == ["etc/conf", "usr/lib/libc"]
    assert state(dest, times=False) == state(fresh, times=False)


def test_several_at_once(layout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    options = {"src": f"oci:{layout}:v2", "unpack": "rootfs", "_ansible_remote_tmp": "/tmp"}
    succeed("oci_pull", {**options, "dest": str(alone)})
    running = [start_module("oci_pull", {**options, "dest": str(shared)}) for _number in range(4)]
    answers = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, answers
    assert state(shared) == state(alone)


@AS_ROOT
def test_a_program_runs_in_it(tmp_path: pathlib.Path, peers: t.Any) -> None:
    """The point of it all: with chroot, links and permissions are what the image meant."""
    upper = [member("bin/busybox", peers.require("busybox").read_bytes(), 0o755), symlink("bin/sh", "busybox")]
    layers = [[folder("usr/bin"), symlink("bin", "/usr/bin")], upper]
    layout = layout_with(tmp_path / "layout", v1=layers)
    succeed("oci_pull", {"src": f"oci:{layout}:v1", "dest": str(tmp_path / "ours"), "unpack": "rootfs"})
    done = subprocess.run(["chroot", str(tmp_path / "ours"), "/bin/sh", "-c", "echo works"], capture_output=True, text=True, check=False)
    assert done.stdout == "works\n", done.stderr

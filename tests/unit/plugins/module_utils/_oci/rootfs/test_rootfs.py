# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root file systems on disk: made, compared, repaired, upgraded; and nothing outside of them is ever touched."""

from __future__ import annotations

import errno
import os
import pathlib
import resource
import stat
import tarfile
import tempfile
import traceback
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.attributes import Attributes, give, xattrs_of
from ansible_collections.lading.oci.plugins.module_utils._oci.content.codec import Deflater
from ansible_collections.lading.oci.plugins.module_utils._oci.plaintar import Limits
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.entries import Policy
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.plan import RootfsPlan
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.report import policy_of
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, MismatchError, OCIError, StorageError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import (
    MemorySource,
    folder,
    hard_link,
    member,
    plain_tar,
    symlink,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.rootfs.images import OWN, POLICY, Rootfs, attributed, fifo, image

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
KEEP = Policy()
LOWER = (
    folder("usr/bin"),
    member("usr/bin/tool", b"tool", 0o4755),
    symlink("bin", "usr/bin"),
    folder("etc"),
    member("etc/conf", b"old"),
    member("etc/gone", b"gone"),
    member("etc/empty"),
    hard_link("usr/bin/alias", "usr/bin/tool"),
)
UPPER = (member("bin/more", b"more", 0o755), member("etc/conf", b"new"), member("etc/.wh.gone"), symlink("etc/mtab", "/proc/mounts"))
STATE = {
    "bin": "-> usr/bin",
    "etc": "0755 folder",
    "etc/conf": "0644 new",
    "etc/empty": "0644 ",
    "etc/mtab": "-> /proc/mounts",
    "usr": "0755 folder",
    "usr/bin": "0755 folder",
    "usr/bin/alias": "4755 tool",
    "usr/bin/more": "0755 more",
    "usr/bin/tool": "4755 tool",
}


@pytest.fixture(name="source")
def _source() -> MemorySource:
    return MemorySource()


@pytest.fixture(name="rootfs")
def _rootfs(source: MemorySource, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Rootfs:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Rootfs(tmp_path / "rootfs", source)


@pytest.fixture(name="root")
def _root(source: MemorySource) -> Descriptor:
    return image(source, LOWER, UPPER)


def told(plan: RootfsPlan) -> t.Dict[str, t.Tuple[str, str]]:
    changes = {change.entry.name: (change.before, change.after) for change in plan.changes}
    return {**changes, **{"/".join(path): (before, "absent") for path, before in plan.removed}}


def repaired(rootfs: Rootfs, root: Descriptor) -> t.Dict[str, t.Tuple[str, str]]:
    """What a run repairs; it has to be all that differs, and what check mode tells."""
    checked = rootfs.unpack(root, check=True)
    done = rootfs.unpack(root)
    assert told(checked) == told(done) and rootfs.state() == STATE
    assert not rootfs.unpack(root).changed
    return told(done)


class TestUnpacking:
    def test_check_run_again(self, rootfs: Rootfs, root: Descriptor, source: MemorySource, tmp_path: pathlib.Path) -> None:
        checked = rootfs.unpack(root, check=True)
        assert list(tmp_path.iterdir()) == []
        done = rootfs.unpack(root)
        assert told(checked) == told(done) and checked.layers == done.layers == {0, 1}
        assert rootfs.state() == STATE
        assert (rootfs.path / "usr/bin/alias").stat().st_ino == (rootfs.path / "usr/bin/tool").stat().st_ino
        source.opened.clear()
        before = {path: path.lstat().st_mtime_ns for path in rootfs.path.rglob("*")}
        again = rootfs.unpack(root)
        assert not again.changed and source.opened == []
        assert before == {path: path.lstat().st_mtime_ns for path in rootfs.path.rglob("*")}

    def test_without_a_receipt_it_is_compared_with_the_layers(
        self, rootfs: Rootfs, root: Descriptor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rootfs.unpack(root)
        monkeypatch.setenv("XDG_CACHE_HOME", str(rootfs.path.parent / "other"))
        assert not rootfs.unpack(root, check=True).changed
        assert not (rootfs.path.parent / "other").exists()
        assert not rootfs.unpack(root).changed
        assert (rootfs.path.parent / "other").exists()

    def test_what_others_put_there_stays(self, rootfs: Rootfs, root: Descriptor) -> None:
        rootfs.unpack(root)
        (rootfs.path / "etc/foreign").write_text("mine")
        assert not rootfs.unpack(root).changed
        assert (rootfs.path / "etc/foreign").read_text() == "mine"

    def test_times_are_those_of_the_layers(self, rootfs: Rootfs, source: MemorySource) -> None:
        members = [folder("d"), member("d/a", b"a"), symlink("d/l", "a"), member("d/later", b"x")]
        root = image(source, [attributed(made, mtime=1000 + number) for number, made in enumerate(members)])
        rootfs.unpack(root)
        found = [int((rootfs.path / name).lstat().st_mtime) for name in ("d", "d/a", "d/l", "d/later")]
        assert found == [1000, 1001, 1002, 1003]
        os.utime(rootfs.path / "d/a", (5, 5))
        assert not rootfs.unpack(root).changed, "another time alone is no change"

    def test_a_folders_time_is_right_after_a_repair_in_it(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, [attributed(folder("d"), mtime=1000), member("d/a", b"a")])
        rootfs.unpack(root)
        (rootfs.path / "d/a").unlink()
        rootfs.unpack(root)
        assert (rootfs.path / "d").stat().st_mtime == 1000

    def test_the_umask_is_not_asked(self, rootfs: Rootfs, source: MemorySource) -> None:
        old = os.umask(0o077)
        try:
            rootfs.unpack(image(source, [folder("d", 0o777), member("d/a", b"", 0o666)]))
        finally:
            os.umask(old)
        assert rootfs.state() == {"d": "0777 folder", "d/a": "0666 "}

    def test_the_root_folder_gets_its_attributes(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, [attributed(folder("./", 0o711), mtime=1000), member("a")])
        rootfs.unpack(root)
        assert stat.S_IMODE(rootfs.path.stat().st_mode) == 0o711 and rootfs.path.stat().st_mtime == 1000
        rootfs.path.chmod(0o755)
        assert list(told(rootfs.unpack(root))) == ["."]
        assert stat.S_IMODE(rootfs.path.stat().st_mode) == 0o711

    @pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
    def test_compressions(self, codec: str, rootfs: Rootfs, source: MemorySource) -> None:
        if codec == "zstd":
            pytest.importorskip("zstandard")

        class Sink(bytearray):
            def write(self, content: bytes) -> None:
                self.extend(content)

        def pack(content: bytes) -> bytes:
            sink = Sink()
            deflater = Deflater(sink, codec)
            deflater.write(content)
            deflater.finish()
            return bytes(sink)

        rootfs.unpack(image(source, LOWER, UPPER, pack=pack))
        assert rootfs.state() == STATE

    def test_one_layer_twice(self, rootfs: Rootfs, source: MemorySource) -> None:
        layer = plain_tar(member("a", b"a"))
        root = image(source, layer, [member("b", b"b")], layer)
        rootfs.unpack(root)
        assert len(source.opened) == 4 and rootfs.state() == {"a": "0644 a", "b": "0644 b"}

    def test_odd_names(self, rootfs: Rootfs, source: MemorySource) -> None:
        names = ["new\nline", "\x1b[31m", "ü", "lone-\udcff", " "]
        root = image(source, [member(name, b"x") for name in names])
        rootfs.unpack(root)
        assert sorted(os.listdir(rootfs.path)) == sorted(names)
        assert not rootfs.unpack(root).changed

    def test_a_deep_tree(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, [member("d/" * 200 + "x", b"x")])
        rootfs.unpack(root)
        assert not rootfs.unpack(root).changed


class TestDrift:
    @pytest.mark.parametrize(
        ("path", "harm", "found"),
        [
            ("etc/conf", lambda path: path.write_text("bad"), "file 0644 3 bytes sha256:"),
            ("etc/conf", lambda path: path.write_text("longer"), "file 0644 6 bytes"),
            ("etc/conf", lambda path: path.chmod(0o600), "file 0600"),
            ("etc/conf", lambda path: path.unlink(), "absent"),
            ("etc/mtab", lambda path: (path.unlink(), path.symlink_to("x")), "link -> x"),
            ("etc/mtab", lambda path: (path.unlink(), path.write_text("x")), "file 0644 1 bytes"),
            ("etc/mtab", lambda path: (path.unlink(), path.mkdir(mode=0o755)), "folder 0755"),
            ("etc/conf", lambda path: (path.unlink(), path.mkdir(mode=0o755)), "folder 0755"),
            ("etc/conf", lambda path: (path.unlink(), os.mkfifo(path, 0o644)), "FIFO 0644"),
            ("etc/empty", lambda path: path.write_text("x"), "file 0644 1 bytes"),
            ("etc", lambda path: path.chmod(0o700), "folder 0700"),
            ("usr/bin/alias", lambda path: path.chmod(0o755), "file 0755 4 bytes"),
        ],
    )
    def test_it_is_repaired(self, path: str, harm: t.Callable[[pathlib.Path], t.Any], found: str, rootfs: Rootfs, root: Descriptor) -> None:
        rootfs.unpack(root)
        harm(rootfs.path / path)
        changes = repaired(rootfs, root)
        assert list(changes) == [path] and changes[path][0].startswith(found), changes

    def test_a_folder_that_became_a_link(self, rootfs: Rootfs, root: Descriptor, tmp_path: pathlib.Path) -> None:
        rootfs.unpack(root)
        (rootfs.path / "etc").rename(tmp_path / "elsewhere")
        (rootfs.path / "etc").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere/conf").write_text("theirs")
        assert repaired(rootfs, root)["etc/conf"][0] == "absent"
        assert (tmp_path / "elsewhere/conf").read_text() == "theirs"

    def test_a_file_that_became_a_link(self, rootfs: Rootfs, root: Descriptor, tmp_path: pathlib.Path) -> None:
        rootfs.unpack(root)
        (tmp_path / "theirs").write_text("new")
        (rootfs.path / "etc/conf").unlink()
        (rootfs.path / "etc/conf").symlink_to(tmp_path / "theirs")
        assert list(repaired(rootfs, root)) == ["etc/conf"]
        (rootfs.path / "etc/conf").write_text("x")
        assert (tmp_path / "theirs").read_text() == "new"

    def test_a_hard_link_that_was_parted(self, rootfs: Rootfs, root: Descriptor) -> None:
        rootfs.unpack(root)
        (rootfs.path / "usr/bin/tool").unlink()
        (rootfs.path / "usr/bin/tool").write_text("tool")
        (rootfs.path / "usr/bin/tool").chmod(0o4755)
        assert repaired(rootfs, root)["usr/bin/tool"][1] == "hard link to usr/bin/alias"
        assert (rootfs.path / "usr/bin/tool").stat().st_nlink == 2

    def test_a_first_name_whose_content_changed_takes_the_others_along(self, rootfs: Rootfs, root: Descriptor) -> None:
        rootfs.unpack(root)
        (rootfs.path / "usr/bin/alias").write_text("evil")
        assert list(repaired(rootfs, root)) == ["usr/bin/alias", "usr/bin/tool"]
        assert (rootfs.path / "usr/bin/tool").stat().st_nlink == 2

    def test_two_files_that_became_one(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, [member("a", b"x"), member("b", b"x")])
        rootfs.unpack(root)
        (rootfs.path / "b").unlink()
        os.link(rootfs.path / "a", rootfs.path / "b")
        assert list(told(rootfs.unpack(root))) == ["b"]
        assert (rootfs.path / "a").stat().st_nlink == 1

    def test_a_file_with_a_name_elsewhere_does_not_pass_its_attributes_on(
        self, rootfs: Rootfs, root: Descriptor, tmp_path: pathlib.Path
    ) -> None:
        rootfs.unpack(root)
        secret = tmp_path / "secret"
        secret.write_text("new")
        secret.chmod(0o600)
        (rootfs.path / "etc/conf").unlink()
        os.link(secret, rootfs.path / "etc/conf")
        assert list(repaired(rootfs, root)) == ["etc/conf"]
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600 and secret.stat().st_nlink == 1

    def test_a_folder_with_foreign_files_is_not_removed(self, rootfs: Rootfs, root: Descriptor) -> None:
        rootfs.unpack(root)
        (rootfs.path / "etc/conf").unlink()
        (rootfs.path / "etc/conf").mkdir()
        (rootfs.path / "etc/conf/mine").write_text("mine")
        for check in (True, False):
            with pytest.raises(InvalidError, match="etc/conf is to be something else in the image, and is a folder with 'mine' in it"):
                rootfs.unpack(root, check)
        assert (rootfs.path / "etc/conf/mine").read_text() == "mine"


class TestUpgrade:
    def test_what_the_image_has_no_more_is_removed(self, rootfs: Rootfs, root: Descriptor, source: MemorySource) -> None:
        first = image(source, [*LOWER, folder("opt/app"), member("opt/app/lib/x", b"x"), member("srv/y", b"y"), symlink("old", "x")])
        rootfs.unpack(first)
        (rootfs.path / "srv/mine").write_text("mine")
        checked, done = rootfs.unpack(root, check=True), rootfs.unpack(root)
        assert told(checked) == told(done)
        removed = ["srv/y", "opt/app/lib/x", "opt/app/lib", "opt/app", "opt", "old", "etc/gone"]
        assert ["/".join(path) for path, _before in done.removed] == removed
        assert rootfs.state() == {**STATE, "srv": "0755 folder", "srv/mine": "0644 mine"}
        assert not rootfs.unpack(root).changed

    def test_it_fetches_the_new_layer_only_to_list_and_write_it(self, rootfs: Rootfs, source: MemorySource) -> None:
        rootfs.unpack(image(source, LOWER))
        plan = rootfs.unpack(image(source, LOWER, UPPER))
        assert plan.layers == {1}

    def test_a_folder_becomes_a_file_and_the_reverse(self, rootfs: Rootfs, source: MemorySource) -> None:
        first = image(source, [member("a/b/c", b"c"), member("x", b"x"), symlink("l", "a")])
        second = image(source, [member("a", b"file"), member("x/y", b"y"), member("l/m", b"m")])
        for root in (first, second, first):
            assert told(rootfs.unpack(root, check=True)) == told(rootfs.unpack(root))
            assert not rootfs.unpack(root).changed
        assert rootfs.state()["a/b/c"] == "0644 c" and rootfs.state()["l"] == "-> a"

    def test_a_folder_becomes_a_link_to_where_its_files_went(self, rootfs: Rootfs, source: MemorySource) -> None:
        rootfs.unpack(image(source, [member("lib/a", b"a")]))
        rootfs.unpack(image(source, [member("usr/lib/a", b"a"), symlink("lib", "usr/lib")]))
        assert rootfs.state() == {"lib": "-> usr/lib", "usr": "0755 folder", "usr/lib": "0755 folder", "usr/lib/a": "0644 a"}

    def test_what_somebody_replaced_with_something_else_stays(self, rootfs: Rootfs, source: MemorySource) -> None:
        rootfs.unpack(image(source, [member("a"), member("b")]))
        (rootfs.path / "a").unlink()
        (rootfs.path / "a").symlink_to("b")
        rootfs.unpack(image(source, [member("b")]))
        assert rootfs.state() == {"a": "-> b", "b": "0644 "}

    def test_nothing_is_removed_behind_a_link(self, rootfs: Rootfs, source: MemorySource, tmp_path: pathlib.Path) -> None:
        rootfs.unpack(image(source, [member("d/a"), member("b")]))
        (rootfs.path / "d").rename(tmp_path / "elsewhere")
        (rootfs.path / "d").symlink_to(tmp_path / "elsewhere")
        rootfs.unpack(image(source, [member("b")]))
        assert (tmp_path / "elsewhere/a").exists() and (rootfs.path / "d").is_symlink()

    def test_a_run_that_was_broken_off_is_known(self, rootfs: Rootfs, source: MemorySource, monkeypatch: pytest.MonkeyPatch) -> None:
        first, second = image(source, [member("a/1", b"1"), member("old", b"1")]), image(source, [member("b/2", b"2")])
        rootfs.unpack(first)
        with monkeypatch.context() as context:
            context.setattr(os, "rename", _full)
            with pytest.raises(OCIError):
                rootfs.unpack(second)
        (rootfs.path / "b/.lading-dead").write_text("litter")
        third = image(source, [member("c", b"3")])
        rootfs.unpack(third)
        assert rootfs.state() == {"c": "0644 3"}


_RENAME = os.rename


def _full(source: str, target: str, **folders: int) -> None:
    if target == "2":
        raise OSError(28, "No space left on device")
    _RENAME(source, target, **folders)


class TestAttributes:
    def test_special_bits(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, [member("a", b"", 0o6755), folder("d", 0o3777)])
        rootfs.policy = Policy(owner=(-1, -1), special_bits=False)
        rootfs.unpack(root)
        assert rootfs.state() == {"a": "0755 ", "d": "1777 folder"}
        rootfs.policy = POLICY
        assert list(told(rootfs.unpack(root))) == ["a", "d"]
        assert rootfs.state() == {"a": "6755 ", "d": "3777 folder"}

    @AS_ROOT
    def test_owners(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, [attributed(made, uid=12, gid=34) for made in (folder("d"), member("d/a", b"a", 0o4755), symlink("d/l", "a"))])
        rootfs.policy = KEEP
        rootfs.unpack(root)
        paths = [rootfs.path / name for name in ("d", "d/a", "d/l")]
        assert [(path.lstat().st_uid, path.lstat().st_gid) for path in paths] == [(12, 34)] * 3
        assert stat.S_IMODE(paths[1].stat().st_mode) == 0o4755
        for path in paths:
            os.chown(path, 1, 1, follow_symlinks=False)
        assert [before.partition(" 1:1")[1] for before, _after in told(rootfs.unpack(root)).values()] == [" 1:1"] * 3
        assert [(path.lstat().st_uid, path.lstat().st_gid) for path in paths] == [(12, 34)] * 3
        rootfs.policy = Policy(owner=OWN)
        rootfs.unpack(root)
        assert [(path.lstat().st_uid, path.lstat().st_gid) for path in paths] == [OWN] * 3

    def test_xattrs(self, rootfs: Rootfs, source: MemorySource, tmp_path: pathlib.Path) -> None:
        try:
            os.setxattr(tmp_path, "user.probe", b"1")
        except OSError:
            pytest.skip("no extended attributes here")
        noted = [attributed(made, pax_headers={"SCHILY.xattr.user.note": "v"}) for made in (folder("d"), member("d/a", b"a"))]
        root = image(source, noted)
        rootfs.policy = Policy(owner=(-1, -1), xattrs=False)
        rootfs.unpack(root)
        assert os.listxattr(rootfs.path / "d/a") == []
        rootfs.policy = POLICY
        assert list(told(rootfs.unpack(root))) == ["d", "d/a"]
        assert os.getxattr(rootfs.path / "d/a", "user.note") == os.getxattr(rootfs.path / "d", "user.note") == b"v"
        os.setxattr(rootfs.path / "d/a", "user.note", b"w")
        os.setxattr(rootfs.path / "d/a", "user.other", b"w")
        assert told(rootfs.unpack(root))["d/a"][0].startswith("file 0644 user.note=0x77 1 bytes")
        assert os.getxattr(rootfs.path / "d/a", "user.note") == b"v"

    def test_devices_are_left_out_unless_asked_for(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, [attributed(member("null", mode=0o666, kind=tarfile.CHRTYPE), devmajor=1, devminor=3), fifo("pipe")])
        plan = rootfs.unpack(root)
        assert [entry.name for entry in plan.skipped] == ["null", "pipe"] and rootfs.state() == {}
        assert not rootfs.unpack(root).changed

    def test_a_file_that_becomes_a_device_is_removed(self, rootfs: Rootfs, source: MemorySource) -> None:
        rootfs.unpack(image(source, [member("x", b"x")]))
        rootfs.unpack(image(source, [fifo("x")]))
        assert rootfs.state() == {}

    @AS_ROOT
    def test_devices(self, rootfs: Rootfs, source: MemorySource) -> None:
        null = attributed(member("null", mode=0o666, kind=tarfile.CHRTYPE), devmajor=1, devminor=3, uid=5)
        root = image(source, [null, fifo("pipe")])
        rootfs.policy = Policy(devices=True)
        try:
            rootfs.unpack(root)
        except OCIError:
            pytest.skip("no devices can be made here")
        found = (rootfs.path / "null").lstat()
        assert stat.S_ISCHR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o666
        assert (os.major(found.st_rdev), os.minor(found.st_rdev), found.st_uid) == (1, 3, 5)
        assert stat.S_ISFIFO((rootfs.path / "pipe").lstat().st_mode)
        assert not rootfs.unpack(root).changed
        (rootfs.path / "pipe").chmod(0o600)
        assert list(told(rootfs.unpack(root))) == ["pipe"]
        assert list(told(rootfs.unpack(image(source, [member("a")])))) == ["a", "pipe", "null"]


def as_nobody(work: t.Callable[[], None]) -> None:
    """``work`` in a child that is not root any more."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@AS_ROOT
def test_somebody_else_than_root(source: MemorySource, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = [folder("closed", 0o100), member("closed/secret", b"s", 0o044), folder("closed/d", 0o500), member("closed/d/x", b"x")]
    root = image(source, [*LOWER, *(attributed(made, uid=3, gid=4) for made in closed)], UPPER)
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, 65534, 65534)
        monkeypatch.setenv("XDG_CACHE_HOME", f"{home}/cache")

        def work() -> None:
            rootfs = Rootfs(pathlib.Path(home, "rootfs"), source, policy_of({}))
            rootfs.unpack(root)
            plain = {**STATE, "usr/bin/alias": "0755 tool", "usr/bin/tool": "0755 tool"}
            more = {"closed": "0700 folder", "closed/secret": "0444 s", "closed/d": "0700 folder", "closed/d/x": "0644 x"}
            assert rootfs.state() == {**plain, **more}
            assert not rootfs.unpack(root).changed
            (rootfs.path / "closed/d/x").unlink()
            (rootfs.path / "closed/d").chmod(0o500)
            (rootfs.path / "etc/conf").chmod(0)
            assert list(told(rootfs.unpack(root))) == ["closed/d", "closed/d/x", "etc/conf"]
            assert rootfs.state() == {**plain, **more}

        as_nobody(work)


class TestHostile:
    def test_nothing_goes_through_a_link_on_disk(self, rootfs: Rootfs, root: Descriptor, tmp_path: pathlib.Path) -> None:
        (tmp_path / "outside").mkdir()
        rootfs.path.mkdir()
        for name in ("etc", "usr"):
            (rootfs.path / name).symlink_to(tmp_path / "outside")
        rootfs.unpack(root)
        assert rootfs.state() == STATE and list((tmp_path / "outside").iterdir()) == []

    def test_a_link_of_the_image_is_never_followed_on_disk(self, rootfs: Rootfs, source: MemorySource, tmp_path: pathlib.Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "victim").write_text("victim")
        lower = [symlink("abs", str(outside)), symlink("rel", "../outside")]
        upper = [member("abs/victim", b"evil"), member("rel/victim", b"evil"), member("abs/.wh.other"), hard_link("h", "abs/victim")]
        rootfs.unpack(image(source, lower, upper))
        assert (outside / "victim").read_text() == "victim" and len(os.listdir(outside)) == 1
        inside = str(outside / "victim").lstrip("/")
        assert (rootfs.path / inside).read_text() == "evil" and (rootfs.path / "outside/victim").read_text() == "evil"

    def test_nothing_is_written_when_a_member_is_refused(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, LOWER, [member("../x")])
        with pytest.raises(InvalidError, match=r"layer 2 of 2: .*'../x' is not a plain relative path"):
            rootfs.unpack(root)
        assert not rootfs.path.exists()

    def test_a_diff_id_that_is_not_the_layers(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, LOWER, diff_ids=["sha256:" + "0" * 64])
        with pytest.raises(OCIError, match="the image's config says sha256:"):
            rootfs.unpack(root)
        assert not rootfs.path.exists()

    @pytest.mark.parametrize("cut", [100, 10])
    def test_a_layer_that_is_cut_or_changed(self, cut: int, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, LOWER)
        digest = max(source.contents, key=lambda one: len(source.contents[one]))
        source.contents[digest] = source.contents[digest][:-cut] + bytes(cut)
        with pytest.raises(MismatchError):
            rootfs.unpack(root)
        assert not rootfs.path.exists()

    def test_limits_are_those_of_all_layers(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, [member("a", bytes(6000))], [member("b", bytes(6000))])
        size = len(plain_tar(member("a", bytes(6000))))
        rootfs.limits = Limits(bytes=2 * size - 1)
        with pytest.raises(InvalidError, match="layer 2 of 2: .* more than the limit of bytes"):
            rootfs.unpack(root)
        rootfs.limits = Limits(entries=1)
        with pytest.raises(InvalidError, match="more than the limit of 1 entries"):
            rootfs.unpack(root)
        rootfs.limits = Limits(bytes=2 * size, entries=2)
        assert rootfs.unpack(root).changed

    def test_a_receipt_that_lies_about_content(self, rootfs: Rootfs, source: MemorySource) -> None:
        root = image(source, [member("a", b"right")])
        rootfs.unpack(root)
        (receipt,) = (rootfs.path.parent / "cache/lading-oci/rootfs").iterdir()
        good = next(entry.sha256 for entry in rootfs.unpack(root, check=True).wanted)
        receipt.write_text(receipt.read_text().replace(good, "0" * 64))
        with pytest.raises(MismatchError, match="a has another content in its layer: remove .* and run once more"):
            rootfs.unpack(root)
        assert rootfs.state() == {"a": "0644 right"}


def test_no_room_for_a_layer(rootfs: Rootfs, source: MemorySource) -> None:
    """The error is the destination's: the layer's temporary file has no name of its own."""
    root, before = image(source, [member("f", os.urandom(9000))]), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(
            StorageError, match=f"^destination {rootfs.path}: writing a temporary file for the layer sha256:.*: File too large"
        ):
            rootfs.unpack(root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not rootfs.path.exists()
    assert rootfs.unpack(root).changed


def test_an_error_of_extended_attributes_is_none_of_a_file_system_without_them(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> t.Callable[..., bytes]:
        def call(*_args: object) -> bytes:
            raise OSError(number, os.strerror(number))

        return call

    wanted = Attributes(mode=0o600, xattrs=(("user.name", b"value"),))
    with open(tmp_path / "file", "wb") as file:
        monkeypatch.setattr(os, "setxattr", fail(errno.ENOTSUP))
        give(file.fileno(), wanted)
        monkeypatch.setattr(os, "getxattr", fail(errno.ENOTSUP))
        assert xattrs_of(file.fileno(), ["user.name"]) is None
        monkeypatch.setattr(os, "getxattr", fail(errno.ENODATA))
        assert xattrs_of(file.fileno(), ["user.name"]) == ()
        monkeypatch.setattr(os, "setxattr", fail(errno.ENOSPC))
        monkeypatch.setattr(os, "getxattr", fail(errno.EIO))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            give(file.fileno(), wanted)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            xattrs_of(file.fileno(), ["user.name"])

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_pull with unpack=rootfs as Ansible runs it: each option has a test that fails when it is ignored."""

from __future__ import annotations

import json
import os
import pathlib
import stat
import threading
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content import codec
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs import report
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource, folder, member, symlink
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry.fake_registry import FakeRegistry, Handler
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.rootfs.images import attributed, fifo, image
from ansible_collections.lading.oci.tests.unit.plugins.modules.test_oci_pull import Run

LOWER = (folder("etc"), member("etc/conf", b"old"), member("etc/gone"), symlink("lib", "usr/lib"))
UPPER = (member("lib/tool", b"tool", 0o4755), member("etc/conf", b"new"), member("etc/.wh.gone"), fifo("run/pipe"))
HOST = Platform.of_host()
OTHER = Platform("linux", "s390x" if HOST.architecture != "s390x" else "amd64")


@pytest.fixture(autouse=True)
def _home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("XDG_") or name.endswith(("_proxy", "_PROXY")) or name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


@pytest.fixture(name="dest")
def _dest(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "dest"


def stored(folder_path: pathlib.Path, source: MemorySource, root: Descriptor, name: str = "v1") -> str:
    """The reference of the root in a layout there."""
    target = Layout(str(folder_path))
    apply_copy(plan_copy(source, root, target, [name]), source, target)
    return f"oci:{folder_path}:{name}"


@pytest.fixture(name="src")
def _src(tmp_path: pathlib.Path) -> str:
    source = MemorySource()
    return stored(tmp_path / "layout", source, image(source, LOWER, UPPER))


def for_platform(source: MemorySource, platform: Platform, name: str, stated: bool = True) -> Descriptor:
    desc = image(source, [member(name, b"x")], platform=str(platform))
    return Descriptor(desc.media_type, desc.digest, desc.size, platform=platform.to_json() if stated else None)


def test_check_run_again(run: Run, src: str, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    options = {"src": src, "dest": dest, "unpack": "rootfs"}
    checked = run.done(check=True, **options)
    assert not dest.exists() and not (tmp_path / "home").exists()
    done, again = run.done(**options), run.done(**options)
    assert checked["changed"] and done["changed"] and not again["changed"]
    for key in set(done) - {"invocation", "warnings"}:
        assert checked[key] == done[key], key
    assert again["changes"] == [] and again["changes_count"] == 0 and again["diff"]["before"] == again["diff"]["after"] == ""
    assert again["stats"]["bytes_transferred"] == 0 and again["stats"]["blobs_present"] == 2
    assert (dest / "usr/lib/tool").read_bytes() == b"tool" and os.readlink(dest / "lib") == "usr/lib"


def test_what_is_returned(run: Run, src: str, dest: pathlib.Path) -> None:
    result = run.done(src=src, dest=dest, unpack="rootfs")
    assert result["manifest_digest"] == result["digest"] and result["reference"].endswith(f"@{result['digest']}")
    assert result["media_type"] == mediatype.OCI_MANIFEST and result["platform"] == str(HOST)
    assert result["entries"] == {"files": 2, "folders": 4, "links": 1, "devices": 0}
    assert result["skipped_entries"] == ["run/pipe"]
    assert "1 devices and FIFOs of the image were left out: rootfs_options.devices makes them, as root" in str(result["warnings"])
    assert result["changes_count"] == len(result["changes"]) == 7
    assert result["changes"][2] == {"path": "lib", "before": "absent", "after": f"link{owner()} -> usr/lib"}
    assert f"lib: link{owner()} -> usr/lib\n" in result["diff"]["after"] and "lib: absent\n" in result["diff"]["before"]
    stats = result["stats"]
    assert (stats["blobs_transferred"], stats["manifests_transferred"], stats["requests"]) == (3, 1, {"source": {}, "destination": {}})
    assert "files" not in result and "skipped_layers" not in result


def owner() -> str:
    return " 0:0" if os.geteuid() == 0 else ""


def test_many_changes_are_cut(run: Run, src: str, dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_CHANGES", 3)
    result = run.done(src=src, dest=dest, unpack="rootfs")
    assert len(result["changes"]) == 3 and result["changes_count"] == 7
    assert result["diff"]["after"].endswith("\nand 4 more\n")
    monkeypatch.setattr(report, "MAX_CHANGES", 0)
    assert run.done(src=src, dest=dest, unpack="rootfs")["skipped_entries"] == []


def serve(registry: FakeRegistry, source: MemorySource, root: Descriptor) -> None:
    """As team/app:v1."""
    registry.state.blobs.update({str(digest): content for digest, content in source.contents.items()})
    for digest, content in source.contents.items():
        if b"schemaVersion" in content:
            registry.state.manifests["team/app", digest] = (json.loads(content)["mediaType"], content)
    registry.state.tags["team/app", "v1"] = root.digest


@pytest.mark.parametrize("concurrency", [1, 3])
def test_concurrency(concurrency: int, run: Run, dest: pathlib.Path) -> None:
    source, registry = MemorySource(), FakeRegistry()
    root = image(source, *([member(f"f{number}", str(number).encode())] for number in range(6)))
    serve(registry, source, root)
    config = next(digest for digest, content in source.contents.items() if b"diff_ids" in content)
    together, lock, active, most = threading.Barrier(concurrency), threading.Lock(), [0], [0]

    def counted(handler: Handler) -> None:
        with lock:
            active[0] += 1
            most[0] = max(most[0], active[0])
        together.wait(10)
        handler.respond()
        with lock:
            active[0] -= 1

    registry.fault("GET", f"/v2/team/app/blobs/(?!{config})", counted, times=6)
    options = {"src": f"{registry.host}/team/app:v1", "unpack": "rootfs", "src_registry": {"plain_http": True}}
    try:
        assert run.done(**options, dest=dest, concurrency=concurrency)["stats"]["blobs_transferred"] == 7
        assert most[0] == concurrency
        assert "concurrency is 0" in run.failed(**options, dest=dest, concurrency=0)
    finally:
        registry.close()


def test_a_registry_is_asked_once(run: Run, dest: pathlib.Path) -> None:
    source = MemorySource()
    root = source.index(for_platform(source, OTHER, "other"), for_platform(source, HOST, "mine"))
    registry = FakeRegistry()
    try:
        serve(registry, source, root)
        options = {"dest": dest, "unpack": "rootfs", "src_registry": {"plain_http": True}}
        done = run.done(src=f"{registry.host}/team/app:v1", **options)
        assert done["digest"] == root.digest != done["manifest_digest"]
        assert os.listdir(dest) == ["mine"]
        assert run.done(src=f"{registry.host}/team/app:v1", **options)["stats"]["requests"]["source"] == {"HEAD": 1}
        assert run.done(src=f"{registry.host}/team/app@{root.digest}", **options)["stats"]["requests"]["source"] == {}
        (dest / "mine").unlink()
        again = run.done(src=f"{registry.host}/team/app:v1", **options)
        assert again["stats"]["requests"]["source"] == {"HEAD": 1, "GET": 1} and (dest / "mine").exists()
    finally:
        registry.close()


class TestPlatform:
    @pytest.mark.parametrize("stated", [True, False])
    def test_of_an_index(self, stated: bool, run: Run, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = MemorySource()
        nested = source.index(for_platform(source, OTHER, "other", stated))
        src = stored(tmp_path / "layout", source, source.index(for_platform(source, HOST, "mine", stated), nested))
        for platform, name in ((None, "mine"), ("host", "mine"), (str(HOST), "mine"), (str(OTHER), "other")):
            result = run.done(src=src, dest=dest / name, unpack="rootfs", **({"platform": platform} if platform else {}))
            assert os.listdir(dest / name) == [name] and result["platform"] == str(HOST if name == "mine" else OTHER)

    def test_that_an_index_has_not(self, run: Run, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = MemorySource()
        src = stored(tmp_path / "layout", source, source.index(for_platform(source, OTHER, "other")))
        message = run.failed(src=src, dest=dest, unpack="rootfs")
        assert f"has nothing for {HOST} (it has {OTHER})" in message and not dest.exists()

    def test_of_a_single_image(self, run: Run, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = MemorySource()
        src = stored(tmp_path / "layout", source, for_platform(source, OTHER, "other"))
        assert f"is for {OTHER}, not for {HOST}" in run.failed(src=src, dest=dest, unpack="rootfs", platform="host")
        assert run.done(src=src, dest=dest, unpack="rootfs")["platform"] == str(OTHER)

    def test_not_a_platform(self, run: Run, src: str, dest: pathlib.Path) -> None:
        assert "not a platform: 'linux'" in run.failed(src=src, dest=dest, unpack="rootfs", platform="linux")


class TestOptions:
    def test_special_bits(self, run: Run, src: str, dest: pathlib.Path) -> None:
        run.done(src=src, dest=dest, unpack="rootfs", rootfs_options={"special_bits": False})
        assert stat.S_IMODE((dest / "usr/lib/tool").stat().st_mode) == 0o755
        run.done(src=src, dest=dest, unpack="rootfs", rootfs_options={"special_bits": True})
        assert stat.S_IMODE((dest / "usr/lib/tool").stat().st_mode) == 0o4755

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_owner(self, run: Run, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = MemorySource()
        src = stored(tmp_path / "layout", source, image(source, [attributed(member("a", mode=0o4755), uid=7, gid=8)]))
        run.done(src=src, dest=dest, unpack="rootfs")
        found = (dest / "a").stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (7, 8, 0o4755)
        run.done(src=src, dest=dest, unpack="rootfs", rootfs_options={"owner": "current"})
        found = (dest / "a").stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), os.getegid(), 0o755)
        run.done(src=src, dest=dest, unpack="rootfs", rootfs_options={"owner": "keep"})
        assert (dest / "a").stat().st_uid == 7

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_devices(self, run: Run, src: str, dest: pathlib.Path) -> None:
        result = run.done(src=src, dest=dest, unpack="rootfs", rootfs_options={"devices": True})
        assert (dest / "run/pipe").is_fifo() and result["entries"]["devices"] == 1 and result["skipped_entries"] == []

    def test_xattrs(self, run: Run, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = MemorySource()
        noted = attributed(member("a"), pax_headers={"SCHILY.xattr.user.note": "v"})
        src = stored(tmp_path / "layout", source, image(source, [noted]))
        try:
            os.setxattr(tmp_path, "user.probe", b"1")
        except OSError:
            pytest.skip("no extended attributes here")
        run.done(src=src, dest=dest, unpack="rootfs", rootfs_options={"xattrs": False})
        assert os.listxattr(dest / "a") == []
        assert run.done(src=src, dest=dest, unpack="rootfs", rootfs_options={"xattrs": True})["changed"]
        assert os.getxattr(dest / "a", "user.note") == b"v"

    @pytest.mark.parametrize(
        ("limit", "message"), [("bytes", "limit of bytes"), ("entries", "limit of 1 entries"), ("ratio", "inflates more than 1 times")]
    )
    def test_limits(self, limit: str, message: str, run: Run, src: str, dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(codec, "_FREE", 0)
        assert message in run.failed(src=src, dest=dest, unpack="rootfs", unpack_limits={limit: 1})
        assert not dest.exists()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("mode", "0644"),
            ("owner", "root"),
            ("group", "root"),
            ("attributes", "i"),
            ("untitled", "fail"),
            ("names", {"a/b": "c"}),
            ("include", ["*"]),
            ("exclude", ["*"]),
            ("media_types", ["a/b"]),
            ("config", "config.json"),
            ("include_subject", True),
            ("prune", True),
            ("backup", True),
        ],
    )
    def test_options_of_files_are_refused(self, name: str, value: t.Any, run: Run, src: str, dest: pathlib.Path) -> None:
        assert run.failed(src=src, dest=dest, unpack="rootfs", **{name: value}) == f"{name} is given, which does nothing with unpack=rootfs"

    def test_options_of_root_file_systems_are_refused(self, run: Run, src: str, dest: pathlib.Path) -> None:
        message = run.failed(src=src, dest=dest, rootfs_options={"devices": True})
        assert message == "rootfs_options is given, which does nothing with unpack=files"

    def test_what_needs_root(self, monkeypatch: pytest.MonkeyPatch, run: Run, src: str, dest: pathlib.Path) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        for options, told in (({"owner": "keep"}, "owner=keep"), ({"devices": True}, "devices=true")):
            message = run.failed(src=src, dest=dest, unpack="rootfs", rootfs_options=options)
            assert message == f"rootfs_options has {told}, which needs root: run the task with become"


class TestRefused:
    def test_an_artifact(self, run: Run, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = MemorySource()
        src = stored(tmp_path / "layout", source, source.artifact(source.file("a", b"x")))
        message = run.failed(src=src, dest=dest, unpack="rootfs")
        assert "is an artifact, which has no root file system: pull its files with unpack=files" in message

    def test_layers_of_another_kind(self, run: Run, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = MemorySource()
        config = source.add(
            b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' % (b"0" * 64), mediatype.OCI_CONFIG
        )
        src = stored(tmp_path / "layout", source, source.artifact(source.add(b"x"), config=config))
        assert "(text/plain, 1 bytes) is no layer of a root file system" in run.failed(src=src, dest=dest, unpack="rootfs")

    def test_a_layer_that_is_not_distributed(self, run: Run, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = MemorySource()
        found = image(source, [member("a")])
        content = source.contents[found.digest].replace(b"image.layer.v1.tar+gzip", b"image.layer.nondistributable.v1.tar+gzip")
        src = stored(tmp_path / "layout", source, source.add(content, found.media_type))
        message = run.failed(src=src, dest=dest, unpack="rootfs")
        assert "layer 1 of 1: " in message and "a layer that registries and copies leave out: put it into the source" in message
        assert not dest.exists()

    def test_a_config_that_has_another_number_of_layers(self, run: Run, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
        source = MemorySource()
        src = stored(tmp_path / "layout", source, image(source, [member("a")], diff_ids=["sha256:" + "0" * 64] * 2))
        assert "has 1 layers, and its config says 2" in run.failed(src=src, dest=dest, unpack="rootfs")

    def test_a_file_as_dest(self, run: Run, src: str, dest: pathlib.Path) -> None:
        dest.write_text("x")
        assert f"not a folder: {dest}" in run.failed(src=src, dest=dest, unpack="rootfs")


def test_what_a_run_that_was_killed_at_its_end_left_goes(run: Run, src: str, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    options = {"src": src, "dest": dest, "unpack": "rootfs"}
    assert run.done(**options)["changed"]
    blobs = [path.name for path in (tmp_path / "layout" / "blobs" / "sha256").iterdir()]
    for name in blobs:
        (tmp_path / f".lading-partial-sha256-{name}").write_bytes(b"some")
    assert not run.done(check=True, **options)["changed"]
    assert len(list(tmp_path.glob(".lading-partial-*"))) == len(blobs)
    assert not run.done(**options)["changed"]
    assert len(list(tmp_path.glob(".lading-partial-*"))) == len(blobs) - 2, "the layers of this image, and nothing of others"

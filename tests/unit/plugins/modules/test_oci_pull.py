# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_pull as Ansible runs it, from layouts and from a registry: each option has a test that fails when it is ignored."""

from __future__ import annotations

import grp
import json
import os
import pathlib
import pwd
import stat
import threading
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.modules import oci_pull
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import (
    MemorySource,
    folder,
    member,
    symlink,
    tar_gz,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry.fake_registry import FakeRegistry, Handler

Result = t.Dict[str, t.Any]
CONF = b"listen 80\n"
TREE = tar_gz(folder("assets"), member("assets/logo.svg", b"<svg/>"), member("assets/run", b"#!", 0o755), symlink("assets/up", "run"))


def artifact() -> t.Tuple[MemorySource, Descriptor]:
    source = MemorySource()
    return source, source.artifact(source.file("etc/site.conf", CONF), source.folder("assets", TREE))


@pytest.fixture(name="layout")
def _layout(tmp_path: pathlib.Path) -> pathlib.Path:
    source, root = artifact()
    target = Layout(str(tmp_path / "site"))
    apply_copy(plan_copy(source, root, target, ["v1"]), source, target)
    return tmp_path / "site"


@pytest.fixture(name="image")
def _image(tmp_path: pathlib.Path) -> pathlib.Path:
    source = MemorySource()
    root = source.artifact(source.add(b"layer", mediatype.OCI_LAYER), config=source.add(b"{}  ", mediatype.OCI_CONFIG))
    target = Archive(str(tmp_path / "image.tar"))
    apply_copy(plan_copy(source, root, target, ["v1"]), source, target)
    return tmp_path / "image.tar"


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[FakeRegistry]:
    """Holds the artifact as team/site:v1."""
    registry = FakeRegistry()
    source, root = artifact()
    registry.state.blobs.update({str(digest): content for digest, content in source.contents.items()})
    registry.state.manifests["team/site", root.digest] = (root.media_type, source.contents[root.digest])
    registry.state.tags["team/site", "v1"] = root.digest
    yield registry
    registry.close()


@pytest.fixture(name="dest")
def _dest(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "dest"


@pytest.fixture(autouse=True)
def _home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("XDG_") or name.endswith(("_proxy", "_PROXY")) or name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


class Run:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, check: bool = False, **options: t.Any) -> Result:
        arguments = {key: str(value) if isinstance(value, pathlib.Path) else value for key, value in options.items()}
        with patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}), pytest.raises(SystemExit):
            oci_pull.main()
        result = json.loads(self._capsys.readouterr().out)
        assert "Traceback" not in str(result)
        return result

    def done(self, check: bool = False, **options: t.Any) -> Result:
        result = self(check, **options)
        assert not result.get("failed"), result
        return result

    def failed(self, **options: t.Any) -> str:
        result = self(**options)
        assert result.get("failed"), result
        return result["msg"]


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


def mode_of(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_check_run_again(run: Run, layout: pathlib.Path, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    options = {"src": f"oci:{layout}:v1", "dest": dest}
    checked = run.done(check=True, **options)
    assert not dest.exists() and not (tmp_path / "home").exists()
    done = run.done(**options)
    again = run.done(**options)
    assert checked["changed"] and done["changed"] and not again["changed"]
    for key in ("stats", "diff", "files", "digest", "reference", "media_type", "skipped_layers"):
        assert checked[key] == done[key]
    assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
    assert again["stats"]["bytes_transferred"] == 0 and again["stats"]["blobs_present"] == 2
    assert (dest / "etc" / "site.conf").read_bytes() == CONF and os.readlink(dest / "assets" / "up") == "run"


def test_what_is_returned(run: Run, layout: pathlib.Path, dest: pathlib.Path) -> None:
    _source, root = artifact()
    conf, assets = Descriptor.of(CONF, ""), Descriptor.of(TREE, "")
    result = run.done(src=f"oci:{layout}:v1", dest=dest)
    assert (result["digest"], result["media_type"]) == (root.digest, mediatype.OCI_MANIFEST)
    assert result["reference"] == f"oci:{layout}@{root.digest}"
    expected = {
        "path": str(dest / "etc/site.conf"),
        "title": "etc/site.conf",
        "state": "file",
        "digest": conf.digest,
        "size": conf.size,
        "media_type": "text/plain",
        "changed": True,
    }
    assert result["files"][0] == expected
    assert result["files"][1]["state"] == "directory" and result["files"][1]["path"] == str(dest / "assets")
    assert result["stats"] == {
        "blobs_transferred": 2,
        "blobs_mounted": 0,
        "blobs_present": 0,
        "manifests_transferred": 1,
        "bytes_transferred": conf.size + assets.size + root.size,
        "bytes_mounted": 0,
        "bytes_present": 0,
        "requests": {"source": {}, "destination": {}},
    }
    assert result["diff"]["before"] == "etc/site.conf: absent\nassets/: absent\n"
    assert result["diff"]["after"] == f"etc/site.conf: {conf.digest}\nassets/: {assets.digest}\n"
    assert "msg" not in result and run.done(src=result["reference"], dest=dest)["digest"] == root.digest
    (dest / "etc/site.conf").write_bytes(b"mine")
    (dest / "assets/run").chmod(0o644)
    mended = run.done(src=f"oci:{layout}:v1", dest=dest)
    assert [file["changed"] for file in mended["files"]] == [True, True] and mended["stats"]["blobs_transferred"] == 1
    assert f"etc/site.conf: {Descriptor.of(b'mine', '').digest}\n" in mended["diff"]["before"]
    assert "assets/run: " in mended["diff"]["before"] and "mode 0644" in mended["diff"]["before"]


def test_src_ref(run: Run, layout: pathlib.Path, dest: pathlib.Path) -> None:
    other = layout.rename(layout.parent / "a:b")
    assert run.done(src=f"oci:{other}", src_ref="v1", dest=dest)["changed"]
    assert "no ref 'v2'" in run.failed(src=f"oci:{other}", src_ref="v2", dest=dest)


def test_dest_is_a_folder(run: Run, layout: pathlib.Path, dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reference in (f"oci:{dest}", f"oci-archive:{dest}.tar"):
        assert "lading.oci.oci_copy" in run.failed(src=f"oci:{layout}:v1", dest=reference)
    file = layout.parent / "file"
    file.write_bytes(b"")
    assert f"destination {file}" in run.failed(src=f"oci:{layout}:v1", dest=file)
    monkeypatch.chdir(layout.parent)
    monkeypatch.setenv("WHERE", "deep/er")
    run.done(src="oci:site:v1", dest="$WHERE/dest")
    assert (layout.parent / "deep/er/dest/etc/site.conf").read_bytes() == CONF


def test_untitled(run: Run, image: pathlib.Path, dest: pathlib.Path) -> None:
    layer = Descriptor.of(b"layer", mediatype.OCI_LAYER)
    for options in ({}, {"untitled": "skip"}):
        skipped = run.done(src=f"oci:{image}:v1", dest=dest, **options)
        assert not skipped["changed"] and skipped["skipped_layers"] == [layer.digest] and skipped["files"] == []
        assert "lading.oci.oci_copy" in skipped["msg"] and "untitled=digest" in skipped["msg"]
    assert layer.digest in run.failed(src=f"oci:{image}:v1", dest=dest, untitled="fail")
    named = run.done(src=f"oci:{image}:v1", dest=dest, untitled="digest")
    assert named["skipped_layers"] == [] and [file["title"] for file in named["files"]] == [f"sha256-{layer.digest.encoded}"]
    assert os.listdir(dest) == [f"sha256-{layer.digest.encoded}"]


def test_unpack_limits(run: Run, layout: pathlib.Path, dest: pathlib.Path) -> None:
    options = {"src": f"oci:{layout}:v1", "dest": dest}
    assert "limit of bytes" in run.failed(**options, unpack_limits={"bytes": 3000})
    assert "limit of 3 entries" in run.failed(**options, unpack_limits={"entries": 3})
    assert "ratio is 0" in run.failed(**options, unpack_limits={"ratio": 0})
    assert not dest.exists()
    assert run.done(**options, unpack_limits={"entries": 4})["changed"]


def test_the_ratio_limit(run: Run, dest: pathlib.Path, tmp_path: pathlib.Path) -> None:
    source = MemorySource()
    root = source.artifact(source.folder("d", tar_gz(member("d/zeros", bytes(300 * 1024 * 1024)))))
    target = Layout(str(tmp_path / "bomb"))
    apply_copy(plan_copy(source, root, target, ["v1"]), source, target)
    assert "decompression bomb" in run.failed(src=f"oci:{target.path}:v1", dest=dest)
    assert not dest.exists()
    assert run.done(src=f"oci:{target.path}:v1", dest=dest, unpack_limits={"ratio": 2000}, check=True)["changed"]
    assert run.done(src=f"oci:{target.path}:v1", dest=dest, unpack_limits={"ratio": 2000})["changed"]


@pytest.mark.parametrize("mode", ["0640", 0o640, "u=rw,g=r,o="])
def test_mode(run: Run, layout: pathlib.Path, dest: pathlib.Path, mode: t.Any) -> None:
    options = {"src": f"oci:{layout}:v1", "dest": dest, "mode": mode}
    run.done(**options)
    files = [dest / "etc/site.conf", dest / "assets/logo.svg", dest / "assets/run"]
    assert [mode_of(path) for path in files] == [0o640] * 3
    assert mode_of(dest / "assets") & 0o700 == 0o700, "a folder is no regular file"
    assert not run.done(**options)["changed"]
    files[1].chmod(0o600)
    for check in (True, False):
        drifted = run.done(check=check, **options)
        assert drifted["changed"] and [file["changed"] for file in drifted["files"]] == [False, True]
        assert "assets/logo.svg: mode 0600\n" in drifted["diff"]["before"]
        assert "assets/logo.svg: mode 0640\n" in drifted["diff"]["after"]
        assert drifted["stats"]["blobs_transferred"] == 0
        assert mode_of(files[1]) == (0o600 if check else 0o640)


def test_a_narrow_mode_is_there_before_the_name(run: Run, layout: pathlib.Path, dest: pathlib.Path) -> None:
    """With an unusable owner Ansible's own attributes fail, after the files were written."""
    message = run.failed(src=f"oci:{layout}:v1", dest=dest, mode="0600", owner="no-such-user-at-all")
    assert "no-such-user-at-all" in message
    assert mode_of(dest / "etc/site.conf") == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_and_group(run: Run, layout: pathlib.Path, dest: pathlib.Path) -> None:
    user, group = pwd.getpwuid(65534).pw_name, grp.getgrgid(65534).gr_name
    options = {"src": f"oci:{layout}:v1", "dest": dest, "owner": user, "group": group}
    run.done(**options)
    pulled = ["etc/site.conf", "assets", "assets/logo.svg", "assets/run", "assets/up"]
    assert {((dest / name).lstat().st_uid, (dest / name).lstat().st_gid) for name in pulled} == {(65534, 65534)}
    assert dest.stat().st_uid == 0 and not run.done(**options)["changed"]
    os.lchown(dest / "assets/up", 0, 0)
    assert run.done(check=True, **options)["changed"] and run.done(**options)["changed"]
    assert (dest / "assets/up").lstat().st_uid == 65534 and (dest / "assets/run").stat().st_uid == 65534


def test_a_title_with_a_dollar_is_taken_by_its_letters(
    run: Run, tmp_path: pathlib.Path, dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MemorySource()
    target = Layout(str(tmp_path / "layout"))
    root = source.artifact(source.file("$OUT", b"1"), source.file("~", b"2"))
    apply_copy(plan_copy(source, root, target, ["v1"]), source, target)
    outside = tmp_path / "outside"
    outside.write_bytes(b"")
    outside.chmod(0o644)
    monkeypatch.setenv("OUT", "../outside")
    run.done(src=f"oci:{target.path}:v1", dest=dest, mode="0600")
    assert sorted(os.listdir(dest)) == ["$OUT", "~"] and mode_of(outside) == 0o644


def test_the_second_run_is_one_head(run: Run, registry: FakeRegistry, dest: pathlib.Path) -> None:
    options = {"src": f"{registry.host}/team/site:v1", "src_registry": {"plain_http": True}, "dest": dest}
    first = run.done(**options)
    assert first["stats"]["requests"] == {"source": {"HEAD": 1, "GET": 3}, "destination": {}}
    registry.seen.clear()
    again = run.done(**options)
    assert not again["changed"] and again["stats"]["requests"] == {"source": {"HEAD": 1}, "destination": {}}
    assert registry.methods() == ["HEAD"]
    pinned = {**options, "src": first["reference"]}
    registry.seen.clear()
    assert run.done(**pinned)["stats"]["requests"]["source"] == {} and registry.seen == []
    (dest / "etc/site.conf").unlink()
    assert run.done(**pinned)["stats"]["requests"]["source"] == {"GET": 1}


def test_without_a_receipt_all_is_the_same(run: Run, registry: FakeRegistry, dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    options = {"src": f"{registry.host}/team/site:v1", "src_registry": {"plain_http": True}, "dest": dest}
    first = run.done(**options)
    assert first["changed"] and "XDG_CACHE_HOME" in str(first["warnings"][-1])
    again, checked = run.done(**options), run.done(check=True, **options)
    assert not again["changed"] and not checked["changed"] and again["stats"] == checked["stats"]
    assert again["stats"]["requests"]["source"] == {"HEAD": 1, "GET": 2}, "the manifest, and the folder to compare"


@pytest.mark.parametrize("concurrency", [1, 3])
def test_concurrency(run: Run, dest: pathlib.Path, registry: FakeRegistry, concurrency: int) -> None:
    source = MemorySource()
    root = source.artifact(*(source.file(f"f{number}", str(number).encode()) for number in range(6)))
    registry.state.blobs.update({str(digest): content for digest, content in source.contents.items()})
    registry.state.manifests["many", root.digest] = (root.media_type, source.contents[root.digest])
    together = threading.Barrier(concurrency)
    lock, active, most = threading.Lock(), [0], [0]

    def counted(handler: Handler) -> None:
        with lock:
            active[0] += 1
            most[0] = max(most[0], active[0])
        together.wait(10)
        handler.respond()
        with lock:
            active[0] -= 1

    registry.fault("GET", "/v2/many/blobs/", counted, times=6)
    options = {"src": f"{registry.host}/many@{root.digest}", "registries": [{"host": registry.host, "plain_http": True}]}
    assert run.done(**options, dest=dest, concurrency=concurrency)["stats"]["blobs_transferred"] == 6
    assert most[0] == concurrency
    assert "concurrency is 0" in run.failed(**options, dest=dest, concurrency=0)


def test_registry_options(run: Run, registry: FakeRegistry, layout: pathlib.Path, dest: pathlib.Path) -> None:
    registry.basic = "user:secret"
    options = {"src": f"{registry.host}/team/site:v1", "dest": dest}
    own = {"plain_http": True, "username": "user", "password": "secret"}
    message = run.failed(**options, src_registry={"plain_http": True, "retries": 0})
    assert message.startswith(f"source {registry.host}/team/site:v1")
    assert run.done(**options, src_registry=own)["changed"]
    by_host = [{"host": "elsewhere", "plain_http": False}, {"host": registry.host, **own}]
    assert not run.done(**options, registries=by_host)["changed"]
    assert "registry options are given" in run.failed(src=f"oci:{layout}:v1", dest=dest, src_registry=own)


def test_errors_name_the_side_and_the_place(run: Run, registry: FakeRegistry, layout: pathlib.Path, dest: pathlib.Path) -> None:
    options = {"src_registry": {"plain_http": True}, "dest": dest}
    assert run.failed(src=f"{registry.host}/team/site:v9", **options).startswith(f"source {registry.host}/team/site:v9: ")
    conf = str(Descriptor.of(CONF, "").digest)
    registry.state.blobs[conf] = b"other 80\nX"
    message = run.failed(src=f"{registry.host}/team/site:v1", **options)
    assert message.startswith(f"source {registry.host}/team/site:v1: etc/site.conf: content of {conf}")
    assert not (dest / "etc/site.conf").exists()
    dest.joinpath("etc").rmdir()
    dest.joinpath("etc").symlink_to("/tmp")
    assert run.failed(src=f"oci:{layout}:v1", dest=dest).startswith(f"destination {dest}: etc is a link")


def test_an_image_that_has_no_file(run: Run, image: pathlib.Path, dest: pathlib.Path, warned: t.List[str]) -> None:
    done = run.done(src=f"oci:{image}:v1", dest=dest)
    assert not done["changed"] and done["files"] == [] and not dest.exists()
    assert len(warned) == 1 and warned[0].startswith(f"source oci:{image}:v1: there is no file to pull. Skipped 1 ")
    assert "Unpack the image's root file system with unpack=rootfs. Or give them file names with names" in warned[0]
    assert warned[0].endswith(done["msg"])
    assert "unpack=rootfs" in run.failed(src=f"oci:{image}:v1", dest=dest, untitled="fail")
    assert run.done(src=f"oci:{image}:v1", dest=dest, untitled="digest")["changed"] and len(warned) == 1


def test_an_artifact_without_titles_is_no_image(run: Run, dest: pathlib.Path, warned: t.List[str], tmp_path: pathlib.Path) -> None:
    source = MemorySource()
    root = source.artifact(source.add(b"x", "application/vnd.example.v1"))
    target = Layout(str(tmp_path / "untitled"))
    apply_copy(plan_copy(source, root, target, ["v1"]), source, target)
    run.done(src=f"oci:{tmp_path}/untitled:v1", dest=dest)
    assert len(warned) == 1 and "Give them file names" in warned[0] and "rootfs" not in warned[0]


def test_a_reference_where_the_folder_is_meant(run: Run, layout: pathlib.Path) -> None:
    assert "dest is 'docker-archive:x.tar': a path is meant" in run.failed(src=f"oci:{layout}:v1", dest="docker-archive:x.tar")


def test_an_owner_that_cannot_be_given(run: Run, layout: pathlib.Path, dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible's own error says neither of which file nor what was wanted."""

    def refuse(*_arguments: t.Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "lchown", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = run.failed(src=f"oci:{layout}:v1", dest=dest, owner="1234")
    assert said.startswith(f"destination {dest}/") and "owner: 1234: chown failed (the task runs as user 1000: is become needed?)" in said

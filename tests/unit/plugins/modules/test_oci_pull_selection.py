# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_pull of a part of an artifact: each option has a test that fails when it is ignored."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource, folder, member, tar_gz
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry.fake_registry import FakeRegistry
from ansible_collections.lading.oci.tests.unit.plugins.modules.test_oci_pull import Result, Run

WASM = "application/wasm"
ARM = {"os": "linux", "architecture": "arm64"}


class Artifacts:
    """``root``: an index of ``arm`` for linux/arm64 and another for linux/s390x; ``signature`` is attached to the index."""

    def __init__(self) -> None:
        self.source = source = MemorySource()
        docs = source.folder("docs", tar_gz(folder("docs"), member("docs/a.md", b"a")))
        self.wasm = source.add(b"\0asm", WASM)
        files = (source.file("a.conf", b"a"), source.file("etc/b.conf", b"b"), docs, self.wasm)
        self.arm = source.artifact(*files, config=source.add(b'{"for":"arm"}', "application/vnd.example.config.v1+json"))
        other = source.artifact(source.file("a.conf", b"another"))
        self.root = source.index(_on(self.arm, ARM), _on(other, {"os": "linux", "architecture": "s390x"}))
        self.signature = source.artifact(source.file("signature", b"!"), subject=self.root.to_json())


def _on(desc: Descriptor, platform: t.Dict[str, str]) -> Descriptor:
    return Descriptor(desc.media_type, desc.digest, desc.size, platform=platform)


@pytest.fixture(name="artifacts")
def _artifacts() -> Artifacts:
    return Artifacts()


@pytest.fixture(name="layout")
def _layout(artifacts: Artifacts, tmp_path: pathlib.Path) -> str:
    """Has the names index, arm and signature."""
    target = Layout(str(tmp_path / "layout"))
    for name, root in (("index", artifacts.root), ("arm", artifacts.arm), ("signature", artifacts.signature)):
        apply_copy(plan_copy(artifacts.source, root, target, [name]), artifacts.source, target)
    return f"oci:{tmp_path}/layout"


@pytest.fixture(name="dest")
def _dest(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "dest"


@pytest.fixture(autouse=True)
def _home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


def files_of(dest: pathlib.Path) -> t.Dict[str, bytes]:
    return {str(path.relative_to(dest)): path.read_bytes() for path in sorted(dest.rglob("*")) if path.is_file()}


def pulled(run: Run, dest: pathlib.Path, **options: t.Any) -> Result:
    """The result of a run that check mode foretold, writing nothing, and that has nothing to do the second time."""
    checked = run.done(check=True, dest=dest, **options)
    assert not dest.exists()
    done = run.done(dest=dest, **options)
    for key in ("changed", "diff", "files", "stats", "digest", "skipped_layers", "reference"):
        assert checked[key] == done[key], key
    again = run.done(dest=dest, **options)
    assert not again["changed"] and again["stats"]["blobs_transferred"] == again["stats"]["manifests_transferred"] == 0
    return done


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["a.conf", "docs/a.md", "etc/b.conf"]),
        ({"include": ["*.conf"]}, ["a.conf"]),
        ({"include": ["**/*.conf"]}, ["a.conf", "etc/b.conf"]),
        ({"include": ["docs"]}, ["docs/a.md"]),
        ({"exclude": ["**/*.conf"]}, ["docs/a.md"]),
        ({"include": ["**/*.conf"], "exclude": ["a.*"]}, ["etc/b.conf"]),
        ({"media_types": ["text/plain"]}, ["a.conf", "etc/b.conf"]),
        ({"names": {WASM: "lib/x.wasm"}, "include": ["lib/*"]}, ["lib/x.wasm"]),
        ({"names": {WASM: "x.wasm"}, "media_types": [WASM]}, ["x.wasm"]),
        ({"config": "meta/c.json", "include": ["a.conf"]}, ["a.conf", "meta/c.json"]),
    ],
)
def test_what_is_pulled(run: Run, layout: str, dest: pathlib.Path, options: t.Dict[str, t.Any], expected: t.List[str]) -> None:
    result = pulled(run, dest, src=f"{layout}:arm", **options)
    assert sorted(files_of(dest)) == expected
    assert ("msg" in result) == (result["skipped_layers"] != [])
    assert "manifest_digest" not in result


def test_names_by_digest(run: Run, layout: str, dest: pathlib.Path, artifacts: Artifacts) -> None:
    names = {artifacts.wasm.digest: "this.wasm", WASM: "any.wasm"}
    result = pulled(run, dest, src=f"{layout}:arm", names=names, untitled="fail", include=["*.wasm"])
    assert files_of(dest) == {"this.wasm": b"\0asm"} and result["files"][0]["title"] == "this.wasm"


def test_platform(run: Run, layout: str, dest: pathlib.Path, artifacts: Artifacts) -> None:
    assert "'a.conf' stands for two contents" in run.failed(src=f"{layout}:index", dest=dest)
    result = pulled(run, dest, src=f"{layout}:index", platform="linux/arm64/v8", config="c.json")
    assert files_of(dest)["a.conf"] == b"a" and files_of(dest)["c.json"] == b'{"for":"arm"}'
    assert (result["digest"], result["manifest_digest"]) == (artifacts.root.digest, artifacts.arm.digest)
    assert result["reference"] == f"{layout}@{artifacts.root.digest}", "with platform it means the same again"
    assert not run.done(src=result["reference"], dest=dest, platform="linux/arm64", config="c.json")["changed"]
    assert pulled(run, dest.with_name("arm"), src=f"{layout}:arm", platform="host")["manifest_digest"] == artifacts.arm.digest


def test_include_subject(run: Run, layout: str, dest: pathlib.Path) -> None:
    options = {"src": f"{layout}:signature", "platform": "linux/s390x"}
    pulled(run, dest / "without", **options)
    pulled(run, dest / "with", **options, include_subject=True)
    assert files_of(dest) == {"without/signature": b"!", "with/signature": b"!", "with/a.conf": b"another"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": ["*.txt"]}, "there are: a.conf (text/plain), etc/b.conf (text/plain), docs ("),
        ({"media_types": [WASM]}, "give it one with names"),
        ({"include": ["/etc/*"]}, "the glob '/etc/*' can match no title"),
        ({"exclude": ["a/../b"]}, "the glob 'a/../b' can match no title"),
        ({"names": {WASM: "../x"}}, "the file name '../x' is not a plain relative path"),
        ({"names": {WASM: "a.conf"}}, "'a.conf' is for two contents"),
        ({"names": {"wasm": "x"}}, "'wasm' is neither the digest nor the media type of a layer"),
        ({"config": "/c"}, "the config's path '/c' is not a plain relative path"),
        ({"config": "a.conf/c"}, "lies below 'a.conf'"),
        ({"platform": "arm64"}, "not a platform: 'arm64'"),
    ],
)
def test_errors(run: Run, layout: str, dest: pathlib.Path, options: t.Dict[str, t.Any], message: str) -> None:
    assert message in run.failed(src=f"{layout}:arm", dest=dest, **options)
    assert not dest.exists()


def test_errors_of_an_index(run: Run, layout: str, dest: pathlib.Path) -> None:
    src = f"{layout}:index"
    assert "it has linux/arm64, linux/s390x" in run.failed(src=src, dest=dest, platform="linux/riscv64")
    assert "has 2 manifests: choose one with platform" in run.failed(src=src, dest=dest, config="c", include=["docs"])


def test_what_is_skipped_is_named(run: Run, layout: str, dest: pathlib.Path) -> None:
    message = run.done(src=f"{layout}:arm", dest=dest)["msg"]
    assert f"({WASM})" in message and "Give them file names with names" in message and "untitled=digest" in message


def test_a_config_that_was_changed_is_written_again(run: Run, layout: str, dest: pathlib.Path) -> None:
    options = {"src": f"{layout}:arm", "dest": dest, "config": "c.json"}
    run.done(**options)
    (dest / "c.json").write_bytes(b"mine")
    mended = run.done(**options)
    assert [file["title"] for file in mended["files"] if file["changed"]] == ["c.json"]
    assert (dest / "c.json").read_bytes() == b'{"for":"arm"}' and mended["stats"]["blobs_transferred"] == 1


def test_the_second_run_with_options_is_one_head(run: Run, dest: pathlib.Path, artifacts: Artifacts) -> None:
    registry = FakeRegistry()
    state, source = registry.state, artifacts.source
    state.blobs.update({str(digest): content for digest, content in source.contents.items()})
    for digest, content in source.contents.items():
        if b"schemaVersion" in content:
            media_type = artifacts.root.media_type if b'"manifests"' in content else artifacts.arm.media_type
            state.manifests["team/site", str(digest)] = (media_type, content)
    state.tags["team/site", "v1"] = artifacts.signature.digest
    options = {"src": f"{registry.host}/team/site:v1", "dest": dest, "src_registry": {"plain_http": True}, "names": {WASM: "x.wasm"}}
    wanted = {"include_subject": True, "platform": "linux/arm64", "config": "c.json", "include": ["*"]}
    first = run.done(**options, **wanted)
    again = run.done(**options, **wanted)
    registry.close()
    assert first["changed"] and sorted(os.listdir(dest)) == ["a.conf", "c.json", "docs", "signature", "x.wasm"]
    assert not again["changed"] and again["stats"]["requests"]["source"] == {"HEAD": 1}

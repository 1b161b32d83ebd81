# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_buildx_build as Ansible runs it, with a docker that is made up: what decides a result, where results stand, what fails."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx import inputs
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.modules import oci_buildx_build
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry.fake_registry import FakeRegistry
from ansible_collections.lading.oci.tests.unit.plugins.modules import fake_docker
from ansible_collections.lading.oci.tests.unit.plugins.modules.fake_docker import CLI, FakeDocker, options
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Run

Arguments = t.Dict[str, t.Any]
BASE_DIGEST = "sha256:" + "b" * 64
NEEDLE = "s3cret-in-a-file"


class Results:
    """What builds give: a tar with one image under the tag v1, for each text another."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def tar(self, text: str) -> pathlib.Path:
        images = Images(self._folder / text)
        root = images.image(tar_of(hello=text), tags=["v1"])
        target = Archive(str(self._folder / f"{text}.tar"))
        apply_copy(plan_copy(images.layout, root, target, ["v1"]), images.layout, target)
        return self._folder / f"{text}.tar"


@pytest.fixture(name="results")
def _results(tmp_path: pathlib.Path) -> Results:
    return Results(tmp_path / "results")


@pytest.fixture(name="docker")
def _docker(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, results: Results) -> FakeDocker:
    docker = fake_docker.install(monkeypatch, tmp_path)
    monkeypatch.setattr(inputs, "_ROUNDS", 2)  # slow on purpose elsewhere
    docker.result = results.tar("one")
    return docker


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], docker: FakeDocker) -> Run:
    return Run(oci_buildx_build.main, capsys)


@pytest.fixture(name="context")
def _context(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "context"
    (folder / "other").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM alpine\nCOPY a.txt /\n")
    (folder / "a.txt").write_text("a")
    (folder / "kept.log").write_text("x")
    (folder / ".dockerignore").write_text("*.log\n")
    return folder


@pytest.fixture(name="arguments")
def _arguments(context: pathlib.Path, tmp_path: pathlib.Path) -> Arguments:
    (tmp_path / "token").write_text(NEEDLE)
    return {
        "docker_cli": CLI,
        "context": str(context),
        "tags": ["hello:v1"],
        "outputs": [{"dest": str(tmp_path / "out" / "hello.tar")}],
        "args": {"VERSION": "1"},
        "secrets": [{"id": "token", "src": str(tmp_path / "token")}],
        "source_date_epoch": "0",
    }


def provenance(*uris: t.Tuple[str, str]) -> t.Dict[str, t.Any]:
    """BuildKit's metadata file of a build that used these images: package URL and digest."""
    materials = [{"uri": uri, "digest": {"sha256": digest[7:]}} for uri, digest in uris]
    return {"buildx.build.provenance": {"materials": materials}}


def test_check_run_run(run: Run, arguments: Arguments, docker: FakeDocker, tmp_path: pathlib.Path) -> None:
    planned = run.done(arguments, check=True)
    assert planned["changed"] and planned["reasons"] == ["no earlier build of these outputs is known"]
    assert not docker.called("build") and not (tmp_path / "out").exists()
    done = run.done(arguments)
    assert done["changed"] and done["diff"] == planned["diff"]
    given = options(docker.called("build")[0])
    assert given["build-arg"] == ["VERSION=1"] and given["progress"] == ["plain"]
    assert docker.environment["SOURCE_DATE_EPOCH"] == "0"
    root = Archive(str(tmp_path / "out" / "hello.tar")).resolve("v1")
    assert done["digest"] == root.digest and done["outputs"][0]["after"] == {"v1": root.digest}
    again = run.done(arguments)
    assert not again["changed"] and not again["built"] and not docker.called("build")
    assert again["diff"]["before"] == again["diff"]["after"] and again["digest"] == root.digest
    assert NEEDLE not in json.dumps([planned, done, again])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["hello.tar"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"args": {"VERSION": "2"}}, "argument VERSION: changed"),
        ({"args": {}}, "argument VERSION: removed"),
        ({"labels": {"a": "b"}}, "label: added"),
        ({"annotations": {"a": "b"}}, "annotation: added"),
        ({"target": "x"}, "target: added"),
        ({"platforms": ["linux/amd64", "linux/aarch64"]}, "platforms: added"),
        ({"network": "host"}, "network: added"),
        ({"provenance": "false"}, "provenance: added"),
        ({"source_date_epoch": "1"}, "source date epoch: changed"),
        ({"secrets": [{"id": "token", "value": "other"}]}, "secret token: changed"),
        ({"rebuild": "always"}, "rebuild is always"),
        ({"build_contexts": {"x": "docker-image://alpine"}}, "build context x: added"),
        ({"add_hosts": {"a": "10.0.0.1"}, "ssh": ["default"]}, "add-host: added"),
    ],
    ids=str,
)
def test_what_decides_the_result_builds(change: Arguments, reason: str, run: Run, arguments: Arguments, docker: FakeDocker) -> None:
    run.done(arguments)
    planned = run.done({**arguments, **change}, check=True)
    assert reason in planned["reasons"]
    done = run.done({**arguments, **change})
    # The same bytes again are no change, whatever the reason to build them.
    assert done["built"] and not done["changed"] and len(docker.called("build")) == 2


@pytest.mark.parametrize("change", [{"cache_from": ["type=local,src=/x"]}, {"no_cache": True}, {"no_cache_filter": ["x"]}], ids=str)
def test_what_does_not_decide_the_result_builds_nothing(change: Arguments, run: Run, arguments: Arguments) -> None:
    run.done(arguments)
    assert not run.done({**arguments, **change})["built"]


def test_files_of_the_context(run: Run, arguments: Arguments, context: pathlib.Path) -> None:
    run.done(arguments)
    (context / "kept.log").write_text("ignored")
    assert not run.done(arguments)["built"]
    (context / "a.txt").write_text("other")
    assert run.done(arguments)["reasons"] == ["context: modified a.txt"]
    (context / "Dockerfile").write_text("FROM scratch\n")
    assert run.done(arguments, check=True)["reasons"][-1] == "dockerfile: changed"


@pytest.mark.parametrize("tar", [True, False])
def test_a_lost_or_damaged_result_is_built_again(
    tar: bool, run: Run, arguments: Arguments, docker: FakeDocker, tmp_path: pathlib.Path
) -> None:
    place = tmp_path / "out" / "hello.tar"
    arguments = {**arguments, "outputs": [{"dest": str(place), "tar": tar}]}
    digest = run.done(arguments)["digest"]
    blob = digest.partition(":")[2]
    if tar:
        whole = place.read_bytes()
        at = whole.index(b'"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest')
        place.write_bytes(whole[:at] + b"'" + whole[at + 1 :])
    else:
        path = place / "blobs" / "sha256" / blob
        path.chmod(0o644)
        path.write_bytes(b"x" * path.stat().st_size)
    damaged = run.done(arguments)
    assert damaged["changed"] and "damaged" in damaged["reasons"][0] and damaged["digest"] == digest
    assert not run.done(arguments)["built"]
    place.rename(tmp_path / "moved")
    lost = run.done(arguments)
    assert lost["changed"] and lost["reasons"] == [f"the result is not there: {place}"]


def test_another_result_there(run: Run, arguments: Arguments, docker: FakeDocker, results: Results, tmp_path: pathlib.Path) -> None:
    first = run.done(arguments)
    (tmp_path / "out" / "hello.tar").write_bytes(results.tar("two").read_bytes())
    assert "is another than the last build's" in run.done(arguments, check=True)["reasons"][0]
    docker.result = results.tar("three")
    built = run.done(arguments)
    assert built["changed"] and built["digest"] not in (None, first["digest"])


def test_a_folder_keeps_its_other_refs(
    run: Run, arguments: Arguments, docker: FakeDocker, results: Results, tmp_path: pathlib.Path
) -> None:
    place = tmp_path / "layout"
    Images(place).image(tar_of(a="b"), tags=["kept"])
    arguments = {**arguments, "outputs": [{"dest": str(place), "tar": False}]}
    assert run.done(arguments)["changed"]
    assert Layout(str(place)).names() == ["kept", "v1"]
    docker.result = results.tar("two")
    assert run.done({**arguments, "rebuild": "always"})["changed"]
    assert not run.done({**arguments, "rebuild": "always"})["changed"]


@pytest.mark.parametrize(("tar", "says"), [(True, "is a folder: tar=false"), (False, "is not a folder: tar=true")])
def test_the_wrong_kind_of_place(tar: bool, says: str, run: Run, arguments: Arguments, tmp_path: pathlib.Path) -> None:
    place = tmp_path / "there"
    place.mkdir() if tar else place.write_text("a file")
    assert says in run.failed({**arguments, "outputs": [{"dest": str(place), "tar": tar}]})


def test_a_registry_is_looked_at_by_its_names(
    run: Run, arguments: Arguments, docker: FakeDocker, results: Results, tmp_path: pathlib.Path
) -> None:
    registry = FakeRegistry()
    images = Images(tmp_path / "pushed")
    root = images.image(tar_of(a="b"))

    def push() -> None:
        registry.state.manifests["team/hello", root.digest] = (root.media_type, images.layout.fetch_bytes(root))
        registry.state.tags["team/hello", "v1"] = root.digest

    docker.on_build = push
    name = f"{registry.host}/team/hello:v1"
    arguments = {
        **arguments,
        "outputs": [{"type": "registry", "tags": [name], "insecure": True}],
        "registries": [{"host": registry.host, "plain_http": True}],
    }
    done = run.done(arguments)
    assert done["changed"] and done["outputs"] == [{"type": "registry", "dest": None, "before": {name: None}, "after": {name: root.digest}}]
    assert "registry.insecure=true" in options(docker.called("build")[0])["output"][0]
    assert not run.done(arguments)["built"]
    del registry.state.tags["team/hello", "v1"]
    assert run.done(arguments, check=True)["reasons"] == [f"the result is not there: {name}"]
    registry.close()


def test_base_images(run: Run, arguments: Arguments, docker: FakeDocker, tmp_path: pathlib.Path) -> None:
    registry = FakeRegistry()
    image = Images(tmp_path / "bases")
    base = image.image(tar_of(a="b"))
    registry.state.manifests["library/alpine", base.digest] = (base.media_type, image.layout.fetch_bytes(base))
    registry.state.tags["library/alpine", "3"] = base.digest
    docker.metadata = provenance(("pkg:docker/alpine@3?platform=linux%2Famd64", base.digest), ("pkg:docker/x?digest=sha256:y", BASE_DIGEST))
    assert run.done(arguments)["base_images"] == {"alpine:3": base.digest}
    looking = {
        **arguments,
        "pull": "always",
        "base_mirrors": {"docker.io": registry.host},
        "registries": [{"host": registry.host, "plain_http": True}],
    }
    assert not run.done(looking)["built"]
    newer = image.image(tar_of(a="c"))
    registry.state.manifests["library/alpine", newer.digest] = (newer.media_type, image.layout.fetch_bytes(newer))
    registry.state.tags["library/alpine", "3"] = newer.digest
    (reason,) = run.done(looking, check=True)["reasons"]
    assert reason == f"base image alpine:3: {base.digest} is now {newer.digest}"
    docker.called("build")
    docker.metadata = provenance(("pkg:docker/alpine?digest=x", base.digest))
    pinned = run.done({**arguments, "pull": "never", "rebuild": "always"})
    assert options(docker.called("build")[0])["build-context"] == [f"alpine:3=docker-image://alpine@{base.digest}"]
    assert pinned["base_images"] == {"alpine:3": base.digest}
    registry.close()


def test_a_layout_as_build_context(run: Run, arguments: Arguments, tmp_path: pathlib.Path) -> None:
    images = Images(tmp_path / "layout")
    images.image(tar_of(a="b"), tags=["v1"])
    arguments = {**arguments, "build_contexts": {"base": f"oci-layout://{tmp_path}/layout:v1"}}
    run.done(arguments)
    assert not run.done(arguments)["built"]
    images.image(tar_of(a="c"), tags=["v1"])
    assert run.done(arguments)["reasons"] == ["build context base: changed"]
    missing = {**arguments, "build_contexts": {"base": f"oci-layout://{tmp_path}/none:v1"}}
    assert "build_contexts[base]" in run.failed(missing) and "is no folder" in run.failed(missing)


def test_a_folder_as_build_context(run: Run, arguments: Arguments, context: pathlib.Path) -> None:
    arguments = {**arguments, "build_contexts": {"more": str(context / "other")}}
    run.done(arguments)
    (context / "other" / "new").write_text("x")
    assert any("build context more" in reason for reason in run.done(arguments)["reasons"])


def test_a_remote_context_that_can_move_is_always_built(run: Run, arguments: Arguments) -> None:
    moving = {**arguments, "context": "https://git.example.com/x.git#main"}
    run.done(moving)
    assert "is not pinned to a commit" in run.done(moving)["reasons"][0]
    pinned = {**arguments, "context": "https://git.example.com/x.git#" + "a" * 40}
    run.done(pinned)
    assert not run.done(pinned)["built"]


def test_the_builder_decides_too(run: Run, arguments: Arguments, docker: FakeDocker) -> None:
    run.done(arguments)
    node = docker.builders[0]["Nodes"][0]
    node["Version"] = ""  # not running: what is known of it counts
    assert not run.done(arguments)["built"]
    node["Version"] = "v1.0"
    assert run.done(arguments)["reasons"] == ["builder: changed"]
    assert "there is no builder 'farm'" in run.failed({**arguments, "builder": "farm"})


def test_metadata_file(run: Run, arguments: Arguments, docker: FakeDocker, tmp_path: pathlib.Path) -> None:
    docker.metadata = {"containerimage.digest": "x"}
    run.done({**arguments, "metadata_file": str(tmp_path / "metadata.json")})
    assert json.loads((tmp_path / "metadata.json").read_text()) == docker.metadata
    wrong = {**arguments, "rebuild": "always", "metadata_file": str(tmp_path / "none" / "metadata.json")}
    assert "metadata_file: no such folder" in run.failed(wrong)


def test_warnings(run: Run, arguments: Arguments, docker: FakeDocker) -> None:
    short = base64.b64encode(b"old \x1b[31mway").decode()
    item = {"short": short, "url": "https://docs.example.com", "sourceInfo": {"filename": "Dockerfile"}, "range": [{"start": {"line": 2}}]}
    docker.metadata = {"buildx.build.warnings": [item, {"short": "not base64!"}]}
    warnings = str(run.done(arguments)["warnings"])
    assert "Dockerfile:2: old \\\\x1b[31mway (https://docs.example.com)" in warnings and "not base64!" in warnings


def test_a_failed_build_changes_nothing_and_says_why(run: Run, arguments: Arguments, docker: FakeDocker, tmp_path: pathlib.Path) -> None:
    run.done(arguments)
    before = (tmp_path / "out" / "hello.tar").read_bytes()
    log = (
        "#5 running\n------\n > [2/2] RUN false:\n------\nDockerfile:2\n--------------------\n   1 |     FROM alpine\n"
        f"   2 | >>> RUN false {NEEDLE}\n--------------------\nERROR: failed to build: failed to solve: exit code: 1\n"
    )
    docker.failure["build"] = (1, "", log)
    result = run({**arguments, "args": {"VERSION": "2"}})
    assert result["failed"] and result["msg"].startswith("the build failed at Dockerfile:2 (RUN false ***): exit code: 1")
    assert result["build_log"][0] == "------" and NEEDLE not in json.dumps(result["build_log"])
    assert (tmp_path / "out" / "hello.tar").read_bytes() == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["hello.tar"]


def test_a_record_that_cannot_be_kept(run: Run, arguments: Arguments, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    done = run.done(arguments)
    assert "could not be stored in" in str(done["warnings"]) and "XDG_CACHE_HOME" in str(done["warnings"])


@pytest.mark.parametrize("change", [{"salt": "zz"}, {"salt": "00"}, {"names": None}, {"version": 2}], ids=str)
def test_a_broken_record_is_none(change: Arguments, run: Run, arguments: Arguments, tmp_path: pathlib.Path) -> None:
    run.done(arguments)
    (file,) = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert run.done(arguments)["reasons"] == ["no earlier build of these outputs is known"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"outputs": []}, "outputs is empty"),
        ({"context": "/no/such"}, "context: no such folder: /no/such"),
        ({"context": "no/such"}, "a relative path starts at"),
        ({"dockerfile": "None"}, "dockerfile: no such file"),
        ({"outputs": [{"type": "oci"}]}, "an output of type oci needs dest"),
        ({"outputs": [{"dest": "oci:m2.tar"}]}, "outputs[0].dest is 'oci:m2.tar': a path is meant, without oci: and without a ref"),
        ({"outputs": [{"dest": "/x"}, {"dest": "/x"}]}, "two of them have the same dest"),
        ({"outputs": [{"dest": "/x", "insecure": True}]}, "insecure is for outputs of type registry"),
        ({"outputs": [{"type": "registry", "dest": "/x"}], "tags": []}, "a registry has no dest"),
        ({"outputs": [{"type": "registry"}], "tags": []}, "a registry needs tags"),
        ({"outputs": [{"type": "registry"}]}, "is no image name: not a fully qualified reference"),
        ({"tags": ["a@sha256:" + "0" * 64]}, "expected NAME:TAG"),
        ({"tags": ["A B"]}, "is no image name"),
        ({"outputs": [{"dest": "/x", "rewrite_timestamp": True}], "source_date_epoch": None}, "needs source_date_epoch"),
        ({"outputs": [{"dest": "/x", "attributes": {"compression": "gzip"}}]}, "has an option of its own"),
        ({"secrets": [{"id": "a b", "value": "needle"}]}, "expected letters, digits"),
        ({"secrets": [{"id": "a", "src": "/no/such"}]}, "secrets[0].src: no such file"),
        ({"secrets": [{"id": "a", "env": "LADING_NO_SUCH"}]}, "no variable LADING_NO_SUCH"),
        ({"build_contexts": {"x": "/no/such"}}, "build_contexts[x]: no such folder"),
        ({"platforms": ["linux"]}, "not a platform"),
        ({"source_date_epoch": "yesterday"}, "source_date_epoch is 'yesterday'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_input_says_so(change: Arguments, says: str, run: Run, arguments: Arguments, docker: FakeDocker) -> None:
    assert says in run.failed({**arguments, **change})
    assert not docker.called("build")


def test_secrets_of_the_environment(run: Run, arguments: Arguments, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "needle-of-the-environment")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    run.done({**arguments, "secrets": [{"id": "a", "env": "TOKEN"}], "source_date_epoch": None})
    (words,) = docker.called("build")
    assert "needle" not in " ".join(words) and docker.environment["LADING_BUILD_SECRET_0"] == "needle-of-the-environment"
    assert docker.environment["SOURCE_DATE_EPOCH"] == "7"


def test_attributes_of_an_output(run: Run, arguments: Arguments, docker: FakeDocker, tmp_path: pathlib.Path) -> None:
    output = {"dest": str(tmp_path / "x.tar"), "compression": "zstd", "compression_level": 3, "rewrite_timestamp": True}
    run.done({**arguments, "outputs": [{**output, "force_compression": True, "attributes": {"oci-artifact": "true"}}], "tags": []})
    (words,) = options(docker.called("build")[0])["output"]
    assert words.endswith("compression=zstd,compression-level=3,force-compression=true,rewrite-timestamp=true,oci-artifact=true")


TARGET: Arguments = {
    "context": ".",
    "dockerfile": "Dockerfile",
    "args": {"VERSION": "1"},
    "tags": ["app:v1"],
    "contexts": {"other": "other", "image": "docker-image://alpine"},
    "secret": [{"id": "token", "src": "../token"}, {"id": "env", "env": "HOME"}],
    "annotations": ["a=b"],
    "pull": True,
    "cache-from": [{"type": "local", "src": "/cache"}],
    "attest": [{"type": "provenance", "mode": "min"}, {"type": "sbom"}],
}


def bake(context: pathlib.Path, tmp_path: pathlib.Path, *names: str, **more: t.Any) -> Arguments:
    outputs = [{"bake_target": name, "dest": str(tmp_path / f"{name}.tar")} for name in names]
    return {"docker_cli": CLI, "bake": {"folder": str(context), **more}, "outputs": outputs}


def test_bake(run: Run, docker: FakeDocker, context: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Each target on its own: an input of one does not build the other."""
    (tmp_path / "token").write_text(NEEDLE)
    docker.targets = {"app": dict(TARGET), "tools": {"context": ".", "tags": ["tools:v1"], "no-cache": False}}
    arguments = bake(context, tmp_path, "app", "tools", files=["docker-bake.hcl"], vars={"N": 1}, set=["app.target=x"])
    done = run.done(arguments)
    assert set(done["targets"]) == {"app", "tools"} and done["changed"] and done["built"]
    (asked,) = docker.called("bake")
    assert asked[:4] == ["--print", "--file=docker-bake.hcl", "--set=app.target=x", "--set=*.output=type=cacheonly"]
    app = options(docker.called("build")[0])
    assert app["annotation"] == ["a=b"] and app["cache-from"] == ["src=/cache,type=local"] and app["pull"] == ["true"]
    assert (app["provenance"], app["sbom"]) == (["mode=min"], ["true"])
    assert app["build-context"] == [f"other={context}/other", "image=docker-image://alpine"]
    assert not run.done(arguments)["built"]
    docker.targets["app"]["args"] = {"VERSION": "2"}
    moved = run.done(arguments)
    assert moved["reasons"] == ["app: argument VERSION: changed"] and not moved["targets"]["tools"]["built"]
    # What the task gives stands over what the bake file says.
    (words,) = [options(call) for call in docker.called("build")]
    assert words["build-arg"] == ["VERSION=2"]
    given = run.done({**arguments, "args": {"VERSION": "3", "MORE": "x"}, "target": "own"})
    assert given["built"] and options(docker.called("build")[0])["build-arg"] == ["VERSION=3", "MORE=x"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"context": ".", "ulimits": ["x"]}, "has ulimits, which is not taken from bake files"),
        ({"context": ".", "contexts": {"x": "target:base"}}, "takes its context x from another target"),
        ({"context": ".", "attest": [{"type": "other"}]}, "an attestation of type 'other'"),
    ],
)
def test_targets_that_are_not_understood(
    target: Arguments, says: str, run: Run, docker: FakeDocker, context: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    docker.targets = {"app": target}
    assert says in run.failed(bake(context, tmp_path, "app"))


def test_bake_that_cannot_be(run: Run, docker: FakeDocker, context: pathlib.Path, tmp_path: pathlib.Path) -> None:
    docker.targets = {"app": dict(TARGET)}
    assert "'all' is a group, name its targets (app)" in run.failed(bake(context, tmp_path, "all"))
    assert "name the bake targets to build" in run.failed(bake(context, tmp_path))
    assert "needs bake_target" in run.failed({**bake(context, tmp_path), "outputs": [{"dest": "/x"}]})
    assert "bake.folder: no such folder" in run.failed(bake(tmp_path / "none", tmp_path, "app"))
    docker.failure["bake"] = (1, "", "ERROR: app: no such target\n")
    assert "cannot be read: ERROR: app: no such target" in run.failed(bake(context, tmp_path, "app"))


def test_a_damaged_index_of_a_folder_is_an_error(run: Run, arguments: Arguments, tmp_path: pathlib.Path) -> None:
    place = tmp_path / "layout"
    arguments = {**arguments, "outputs": [{"dest": str(place), "tar": False}]}
    run.done(arguments)
    (place / "index.json").write_text("{")
    assert "index.json is not valid JSON" in run.failed(arguments)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".lading-")]


def test_a_manifest_without_a_name_stands_under_its_digest(
    run: Run, arguments: Arguments, docker: FakeDocker, tmp_path: pathlib.Path
) -> None:
    images = Images(tmp_path / "nameless")
    root: Descriptor = images.image(tar_of(a="b"))
    target = Archive(str(tmp_path / "nameless.tar"))
    apply_copy(plan_copy(images.layout, root, target, []), images.layout, target)
    docker.result = tmp_path / "nameless.tar"
    done = run.done({**arguments, "tags": []})
    assert done["outputs"][0]["after"] == {root.digest: root.digest}

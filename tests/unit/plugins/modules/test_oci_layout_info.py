# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_layout_info as Ansible runs it: facts, and repairs from a layout, a tar and a registry."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.modules import oci_copy, oci_layout_info
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.layouts import add_blob, as_tar, blob, edit_index, flip, state
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Result, Run, without_settings

PLAIN = {"plain_http": True, "retries": 0}


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    return Run(oci_layout_info.main, capsys)


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "layout"


@pytest.fixture(name="images")
def _images(path: pathlib.Path) -> Images:
    images = Images(path)
    images.index(images.image(tar_of(a="1")), images.image(tar_of(a="2"), platform="linux/arm64"), tags=["v1"])
    return images


def layer_of(images: Images, position: int) -> Digest:
    image = images.layout.under(images.layout.resolve("v1"))[1 + position]
    return Digest(images.json(image)["layers"][0]["digest"])


def copied(path: pathlib.Path, dest: str, capsys: pytest.CaptureFixture[str], **more: t.Any) -> str:
    Run(oci_copy.main, capsys).done({"src": f"oci:{path}:v1", "dest": f"{dest}:v1", **more})
    return dest


def is_documented(result: Result, documented: Result) -> None:
    """Every key that is returned is in RETURN, with that type."""
    types = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict}
    for key, value in result.items():
        if key not in ("changed", "diff", "invocation", "msg", "failed", "warnings"):
            assert key in documented, key
            entry = documented[key]
            assert value is None or isinstance(value, types[entry["type"]]), (key, value)
            if "contains" in entry:
                for one in value if entry["type"] == "list" else [value]:
                    is_documented(one, entry["contains"])


@pytest.mark.parametrize("form", ["folder", "tar"])
@pytest.mark.parametrize("check", [False, True])
def test_facts_change_nothing(run: Run, images: Images, path: pathlib.Path, form: str, check: bool) -> None:
    add_blob(path, b"nobody wants it")
    place = path if form == "folder" else as_tar(path)
    before = state(place)
    told = run.done({"path": str(place), "verify": True}, check)
    assert told["exists"] and not told["changed"] and "diff" not in told and told["requests"] == {}
    assert [(ref["ref"], ref["platforms"]) for ref in told["refs"]] == [("v1", ["linux/amd64", "linux/arm64"])]
    assert told["dangling_size"] == 15 and len(told["blobs"]) == 8 and told["damaged"] == told["missing"] == told["invalid"] == []
    assert state(place) == before


def test_every_return_value_is_documented(run: Run, images: Images, path: pathlib.Path, tmp_path: pathlib.Path, capsys: t.Any) -> None:
    source = copied(path, f"oci:{tmp_path}/good", capsys)
    (path / "README").write_text("mine")
    images.index(images.layout.resolve("v1"), tags=["nested"])
    images.referrer(images.layout.resolve("v1"), "application/vnd.example.sbom")
    edit_index(path, lambda index: index["manifests"].append({"size": 1}))
    images.put(b'{"schemaVersion":2,"manifests":5}', "application/vnd.oci.image.index.v1+json", ["strange"])
    flip(path, layer_of(images, 0))
    blob(path, layer_of(images, 1)).unlink()
    add_blob(path, b"nobody wants it")
    documented = yaml.safe_load(oci_layout_info.RETURN)
    told = run.done({"path": str(path), "verify": True, "repair_from": [source]})
    found = [key for key in documented if told.get(key)]
    assert set(documented) - set(found) == {"unfinished", "unrepaired", "requests", "interrupted"}
    is_documented(told, documented)


def test_what_is_not_there_is_a_fact(run: Run, tmp_path: pathlib.Path) -> None:
    for name in ("none", "none.tar"):
        for check in (False, True):
            told = run.done({"path": str(tmp_path / name), "repair_from": [f"oci:{tmp_path}/x"]}, check)
            assert {key: told[key] for key in ("exists", "changed", "requests")} == {"exists": False, "changed": False, "requests": {}}
            assert "refs" not in told and not (tmp_path / name).exists()
    (tmp_path / "file").write_text("no tar")
    assert "file" in run.failed({"path": str(tmp_path / "file")})


@pytest.mark.parametrize("source", ["folder", "tar", "registry"])
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_check_run_again(
    run: Run, images: Images, registry: fake.FakeRegistry, path: pathlib.Path, tmp_path: pathlib.Path, form: str, source: str, capsys: t.Any
) -> None:
    places = {"folder": f"oci:{tmp_path}/good", "tar": f"oci-archive:{tmp_path}/good.tar", "registry": f"{registry.host}/team/app"}
    more = {"dest_registry": PLAIN} if source == "registry" else {}
    repair_from = [copied(path, places[source], capsys, **more)]
    damaged, missing = layer_of(images, 0), layer_of(images, 1)
    sizes = {digest: blob(path, digest).stat().st_size for digest in (damaged, missing)}
    flip(path, damaged)
    blob(path, missing).unlink()
    place = path if form == "folder" else as_tar(path)
    arguments = {"path": str(place), "verify": True, "repair_from": repair_from, "repair_registry": PLAIN}
    before = state(place)
    planned = run.done(arguments, check=True)
    assert planned["changed"] and state(place) == before
    done = run.done(arguments)
    keys = ("changed", "damaged", "missing", "repaired", "unrepaired", "diff")
    assert {key: done[key] for key in keys} == {key: planned[key] for key in keys}
    wanted = [(damaged, "damaged"), (missing, "missing")]
    assert sorted((one["digest"], one["was"]) for one in done["repaired"]) == sorted(wanted)
    assert {one["source"] for one in done["repaired"]} == set(repair_from) and done["unrepaired"] == []
    assert f"blob {damaged} (application/vnd.oci.image.layer.v1.tar+gzip, {sizes[damaged]} bytes): damaged\n" in done["diff"]["before"]
    assert f"blob {missing} (application/vnd.oci.image.layer.v1.tar+gzip, {sizes[missing]} bytes): intact\n" in done["diff"]["after"]
    if source == "registry":
        assert planned["requests"] == {"HEAD": 2} and done["requests"] == {"HEAD": 2, "GET": 2}
    after = state(place)
    registry.seen.clear()
    again = run.done(arguments)
    assert not again["changed"] and again["repaired"] == again["damaged"] == again["missing"] == [] and state(place) == after
    assert again["diff"]["before"] == again["diff"]["after"] == "" and not registry.seen


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_what_cannot_be_repaired_fails_after_the_rest(
    run: Run, images: Images, path: pathlib.Path, tmp_path: pathlib.Path, form: str, capsys: t.Any
) -> None:
    source = copied(path, f"oci:{tmp_path}/good", capsys)
    lost, damaged = layer_of(images, 0), layer_of(images, 1)
    flip(path, lost)
    flip(path, damaged)
    flip(tmp_path / "good", lost)
    place = path if form == "folder" else as_tar(path)
    arguments = {"path": str(place), "verify": True, "repair_from": [source, f"oci:{tmp_path}/none"]}
    for check in (True, False):
        told = run(arguments, check)
        assert told["failed"] and told["changed"] and [one["digest"] for one in told["repaired"]] == [damaged]
        assert (
            f"cannot repair {lost}, which is damaged: repair source oci:{tmp_path}/good: content of {lost} has another digest"
            in told["msg"]
        )
        (entry,) = told["unrepaired"]
        assert entry["digest"] == lost and f"repair source oci:{tmp_path}/none: no such folder" in entry["error"]
        is_documented(told, yaml.safe_load(oci_layout_info.RETURN))
    told = run(arguments)
    assert told["failed"] and not told["changed"] and told["repaired"] == []
    blob(tmp_path / "good", lost).write_bytes(b"nonsense")
    assert f"repair source oci:{tmp_path}/good: blob {lost} has 8 bytes" in run.failed(arguments)


def test_a_registry_that_lies(run: Run, images: Images, registry: fake.FakeRegistry, path: pathlib.Path, capsys: t.Any) -> None:
    """What comes is verified: nothing wrong gets a name, and the message says who had it wrong."""
    source = copied(path, f"{registry.host}/team/app", capsys, dest_registry=PLAIN)
    layer = layer_of(images, 0)
    right = blob(path, layer).read_bytes()
    registry.state.blobs[str(layer)] = right[:-1] + b"?"
    blob(path, layer).unlink()
    arguments = {"path": str(path), "verify": True, "repair_from": [source], "repair_registry": PLAIN}
    assert "another digest" in run.failed(arguments) and not blob(path, layer).exists()
    registry.state.blobs[str(layer)] = right
    assert run.done(arguments)["changed"] and blob(path, layer).read_bytes() == right


def test_a_registry_that_is_down(run: Run, images: Images, registry: fake.FakeRegistry, path: pathlib.Path, capsys: t.Any) -> None:
    source = copied(path, f"{registry.host}/team/app", capsys, dest_registry=PLAIN)
    flip(path, layer_of(images, 0))
    registry.fault("HEAD", "/blobs/", fake.error(503, "UNAVAILABLE"), 10)
    told = run({"path": str(path), "verify": True, "repair_from": [source], "repair_registry": PLAIN})
    assert told["failed"] and "503" in told["unrepaired"][0]["error"] and not told["changed"]


def test_a_manifest_comes_from_where_manifests_are(
    run: Run, images: Images, registry: fake.FakeRegistry, path: pathlib.Path, capsys: t.Any
) -> None:
    source = copied(path, f"{registry.host}/team/app", capsys, dest_registry=PLAIN)
    root = images.layout.resolve("v1")
    flip(path, root)
    registry.seen.clear()
    done = run.done({"path": str(path), "repair_from": [f"{source}:whatever"], "repair_registry": PLAIN})
    assert [one["digest"] for one in done["repaired"]] == [root.digest]
    assert [seen.path for seen in registry.seen] == [f"/v2/team/app/manifests/{root.digest}"]


def test_only_what_is_damaged(run: Run, images: Images, path: pathlib.Path, tmp_path: pathlib.Path, capsys: t.Any) -> None:
    source = copied(path, f"oci:{tmp_path}/good", capsys)
    blob(path, layer_of(images, 0)).unlink()
    told = run.done({"path": str(path), "repair_from": [source], "repair_missing": False})
    assert not told["changed"] and len(told["missing"]) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"concurrency": 0}, "concurrency is 0"),
        ({"repair_from": ["nowhere"]}, "not a fully qualified reference"),
    ],
)
def test_what_makes_no_sense(run: Run, images: Images, path: pathlib.Path, arguments: Result, says: str) -> None:
    assert says in run.failed({"path": str(path), **arguments})


def test_a_reference_where_a_path_is_meant(run: Run, images: Images, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "path is 'oci:" in run.failed({"path": f"oci:{path}:v1"})
    monkeypatch.chdir(path.parent)
    path.rename(path.parent / "oci:site")
    assert run.done({"path": "./oci:site"})["exists"]

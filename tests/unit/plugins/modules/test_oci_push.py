# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_push as Ansible runs it: files straight into a layout folder, a layout tar and a registry."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.module import open_layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.modules import oci_info, oci_layout_build, oci_push
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Result, Run, without_settings

PLAIN = {"plain_http": True, "retries": 0}
SITE = "application/vnd.example.site.v1"


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    return Run(oci_push.main, capsys)


@pytest.fixture(name="files")
def _files(tmp_path: pathlib.Path) -> t.List[Result]:
    (tmp_path / "site.conf").write_text("listen 80\n")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.css").write_text("a {}\n")
    return [{"src": str(tmp_path / "site.conf"), "media_type": "text/plain"}, {"src": str(tmp_path / "assets")}]


def document(path: pathlib.Path, tag: str = "v1") -> Result:
    store = open_layout(str(path))
    return t.cast(Result, json.loads(store.fetch_bytes(store.resolve(tag))))


@pytest.mark.parametrize("place", ["folder", "tar", "registry"])
def test_check_run_again(run: Run, files: t.List[Result], registry: fake.FakeRegistry, tmp_path: pathlib.Path, place: str) -> None:
    dest = {"folder": f"oci:{tmp_path}/out", "tar": f"oci:{tmp_path}/out.tar", "registry": f"{registry.host}/team/app"}[place]
    more = {"dest_registry": PLAIN} if place == "registry" else {}
    arguments = {"dest": f"{dest}:v1", "tags": ["latest"], "files": files, "artifact_type": SITE, **more}
    planned = run.done(arguments, check=True)
    assert planned["changed"] and not (tmp_path / "out").exists() and not registry.asked("POST")
    done = run.done(arguments)
    assert {key: done[key] for key in ("digest", "tags", "diff", "media_type")} == {
        key: planned[key] for key in ("digest", "tags", "diff", "media_type")
    }
    assert done["artifact_type"] == SITE and done["stats"]["blobs_transferred"] == 3 and done["stats"]["manifests_transferred"] == 1
    assert done["tags"] == {tag: {"before": None, "after": done["digest"]} for tag in ("v1", "latest")}
    for path in (tmp_path / "site.conf", tmp_path / "assets" / "a.css"):
        os.utime(path, (1, 1))
    again = run.done(arguments)
    assert not again["changed"] and again["digest"] == done["digest"] and again["diff"]["before"] == again["diff"]["after"]


def test_requests_of_a_run_with_nothing_to_do(run: Run, files: t.List[Result], registry: fake.FakeRegistry) -> None:
    arguments = {"dest": f"{registry.host}/team/app:v1", "dest_registry": PLAIN, "files": files[:1]}
    run.done(arguments)
    assert run.done(arguments)["stats"]["requests"]["destination"] == {"HEAD": 1}


def test_it_is_what_a_build_packs(run: Run, files: t.List[Result], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = {"files": files, "artifact_type": SITE, "annotations": {"a": "b"}, "created": "2026-11-23T20:51:00Z"}
    built = Run(oci_layout_build.main, capsys).done({"path": str(tmp_path / "built"), "tag": "v1", **same})
    assert run.done({"dest": f"oci:{tmp_path}/pushed:v1", **same})["digest"] == built["digest"]


def test_a_config_and_an_annotation_file(run: Run, files: t.List[Result], tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").write_text('{"a": 1}')
    notes = {"$manifest": {"m": "file", "n": "file"}, "$config": {"c": "file"}, "site.conf": {"t": "file"}}
    (tmp_path / "notes.json").write_text(json.dumps(notes))
    config = {"src": str(tmp_path / "config.json"), "media_type": "application/vnd.example.config.v1+json"}
    arguments = {"dest": f"oci:{tmp_path}/out:v1", "files": files[:1], "config": config, "annotations": {"m": "option"}}
    done = run.done({**arguments, "annotation_file": str(tmp_path / "notes.json")})
    found = document(tmp_path / "out")
    assert done["artifact_type"] == config["media_type"] and "artifactType" not in found
    assert found["config"]["mediaType"] == config["media_type"] and found["config"]["annotations"] == {"c": "file"}
    assert found["annotations"] == {"m": "option", "n": "file"}
    assert found["layers"][0]["annotations"] == {"t": "file", "org.opencontainers.image.title": "site.conf"}


def test_a_config_without_a_type(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "config").write_bytes(b"x")
    run.done({"dest": f"oci:{tmp_path}/out:v1", "config": {"src": str(tmp_path / "config")}, "artifact_type": SITE})
    found = document(tmp_path / "out")
    assert found["config"]["mediaType"] == "application/vnd.unknown.config.v1+json" and found["artifactType"] == SITE
    assert [layer["mediaType"] for layer in found["layers"]] == [mediatype.OCI_EMPTY]


def test_a_tag_that_must_not_move(run: Run, files: t.List[Result], tmp_path: pathlib.Path) -> None:
    arguments = {"dest": f"oci:{tmp_path}/out:v1", "files": files[:1], "force_tag": False}
    first = run.done(arguments)
    (tmp_path / "site.conf").write_text("another\n")
    assert "the tag v1 names" in run.failed(arguments)
    assert open_layout(str(tmp_path / "out")).resolve("v1").digest == first["digest"]


def test_a_digest_that_it_has_to_have(run: Run, files: t.List[Result], tmp_path: pathlib.Path) -> None:
    arguments = {"dest": f"oci:{tmp_path}/out", "files": files[:1]}
    digest = run.done(arguments, check=True)["digest"]
    assert run.done({**arguments, "dest": f"oci:{tmp_path}/out@{digest}"})["changed"]
    wrong = f"oci:{tmp_path}/other@sha256:{'a' * 64}"
    assert digest in run.failed({**arguments, "dest": wrong}) and not (tmp_path / "other").exists()


def test_what_oci_info_says_of_it(run: Run, files: t.List[Result], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.done({"dest": f"oci:{tmp_path}/out:v1", "files": files, "artifact_type": SITE})
    (found,) = Run(oci_info.main, capsys).done({"src": f"oci:{tmp_path}/out:v1"})["images"]
    assert found["artifact_type"] == SITE and len(found["layers"]) == 2 and "config" not in found


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"files": [{"src": "/none/at/all"}]}, "files[0].src: no such file or folder"),
        ({"artifact_type": "x"}, "artifact_type is not a media type"),
        ({"annotation_file": "/none/at/all"}, "annotation_file /none/at/all"),
        ({"created": "today"}, "created"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"config": {"src": "/none/at/all"}}, "config.src: no such file"),
    ],
)
def test_what_makes_no_sense(run: Run, tmp_path: pathlib.Path, arguments: Result, says: str) -> None:
    assert says in run.failed({"dest": f"oci:{tmp_path}/out:v1", **arguments}) and not (tmp_path / "out").exists()


def test_an_annotation_of_nothing(run: Run, files: t.List[Result], tmp_path: pathlib.Path) -> None:
    (tmp_path / "notes.json").write_text('{"site.cnf": {"a": "b"}}')
    arguments = {"dest": f"oci:{tmp_path}/out:v1", "files": files, "annotation_file": str(tmp_path / "notes.json")}
    assert "'site.cnf' is the title of no file" in run.failed(arguments)


def test_a_destination_without_a_tag(run: Run, files: t.List[Result], registry: fake.FakeRegistry, warned: t.List[str]) -> None:
    arguments = {"dest": f"{registry.host}/team/app", "dest_registry": PLAIN, "files": files}
    digest = run.done(arguments)["digest"]
    assert [f"{registry.host}/team/app has no tag: the manifest is reached by its digest only" in text for text in warned] == [True]
    run.done({**arguments, "tags": ["v1"]})
    run.done({**arguments, "dest": f"{registry.host}/team/app@{digest}"})
    assert len(warned) == 1

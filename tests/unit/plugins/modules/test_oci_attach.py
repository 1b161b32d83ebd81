# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_attach as Ansible runs it: artifacts attached to what a layout folder, a layout tar and a registry have."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.module import open_layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.referrers import fallback_tag, index_of
from ansible_collections.lading.oci.plugins.modules import oci_attach, oci_copy, oci_info
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Result, Run, without_settings

PLAIN = {"plain_http": True, "retries": 0}
SBOM, REPORT = "application/vnd.example.sbom", "application/vnd.example.report"


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    return Run(oci_attach.main, capsys)


@pytest.fixture(name="images")
def _images(tmp_path: pathlib.Path) -> Images:
    """v1 is an image, all an index of it and one for another platform."""
    images = Images(tmp_path / "source")
    one = images.image(tar_of(a="one"), tags=["v1"])
    images.index(one, images.image(tar_of(a="arm"), platform="linux/arm64"), tags=["all"])
    return images


@pytest.fixture(name="arguments", params=["folder", "tar", "registry"])
def _arguments(
    request: pytest.FixtureRequest, images: Images, registry: fake.FakeRegistry, tmp_path: pathlib.Path, capsys: t.Any, run: Run
) -> Result:
    """Of an SBOM for v1."""
    dest = {"folder": f"oci:{tmp_path}/dest", "tar": f"oci:{tmp_path}/dest.tar", "registry": f"{registry.host}/team/app"}[request.param]
    reach: Result = {"dest_registry": PLAIN} if request.param == "registry" else {}
    Run(oci_copy.main, capsys).done({"src": f"oci:{tmp_path}/source", "dest": dest, **reach, "all_tags": True})
    (tmp_path / "sbom.json").write_text("{}\n")
    registry.seen.clear()
    return {"dest": f"{dest}:v1", "artifact_type": SBOM, "files": [{"src": str(tmp_path / "sbom.json")}], **reach}


def attached(arguments: Result, capsys: pytest.CaptureFixture[str], ref: str = "v1", depth: int = 1) -> t.List[Result]:
    asked = {"src": arguments["dest"].rpartition(":")[0] + f":{ref}", "gather": ["referrers"], "depth": depth}
    reach = {"src_registry": PLAIN} if "dest_registry" in arguments else {}
    return t.cast("t.List[Result]", Run(oci_info.main, capsys).done({**asked, **reach})["images"][0]["referrers"])


def test_check_run_again(run: Run, arguments: Result, images: Images, capsys: pytest.CaptureFixture[str]) -> None:
    planned = run.done(arguments, check=True)
    assert planned["changed"] and attached(arguments, capsys) == []
    done = run.done(arguments)
    assert done["subject"] == images.layout.resolve("v1").digest and (done["digest"], done["diff"]) == (planned["digest"], planned["diff"])
    assert [(item["digest"], item["artifact_type"]) for item in attached(arguments, capsys)] == [(done["digest"], SBOM)]
    again = run.done(arguments)
    assert not again["changed"] and again["digest"] == done["digest"] and again["diff"]["before"] == again["diff"]["after"]


def test_each_kind_and_content_is_one_of_its_own(run: Run, arguments: Result, tmp_path: pathlib.Path, capsys: t.Any) -> None:
    run.done(arguments)
    assert run.done({**arguments, "artifact_type": REPORT})["changed"]
    assert run.done({**arguments, "annotations": {"a": "b"}})["changed"]
    (tmp_path / "sbom.json").write_text("{} \n")
    assert run.done(arguments)["changed"]
    assert len(attached(arguments, capsys)) == 4


def test_one_that_only_says_another_time_is_equal(run: Run, arguments: Result, capsys: pytest.CaptureFixture[str]) -> None:
    dated = run.done({**arguments, "created": "2026-11-23T20:51:00Z"})
    found = run.done(arguments)
    assert not found["changed"] and found["digest"] == dated["digest"]
    assert run.done({**arguments, "created": "2026-11-24T00:00:00Z"})["changed"] and len(attached(arguments, capsys)) == 2


def test_to_one_platform(run: Run, arguments: Result, images: Images, capsys: pytest.CaptureFixture[str]) -> None:
    to_all = {**arguments, "dest": arguments["dest"].replace(":v1", ":all")}
    done = run.done({**to_all, "platform": "linux/amd64"})
    assert done["subject"] == images.layout.resolve("v1").digest and attached(arguments, capsys, "all") == []
    assert run.done(to_all)["subject"] == images.layout.resolve("all").digest and len(attached(arguments, capsys, "all")) == 1


def test_what_is_attached_goes(run: Run, arguments: Result, capsys: pytest.CaptureFixture[str]) -> None:
    sbom = run.done(arguments)["digest"]
    report = run.done({**arguments, "artifact_type": REPORT})["digest"]
    nested = {**arguments, "dest": arguments["dest"].rpartition(":")[0] + f"@{sbom}", "artifact_type": REPORT}
    signature = run.done(nested)["digest"]
    absent = {key: value for key, value in arguments.items() if key != "files"}
    absent = {**absent, "state": "absent"}
    planned = run.done(absent, check=True)
    assert planned["changed"] and len(attached(arguments, capsys)) == 2
    done = run.done(absent)
    assert done["deleted"] == planned["deleted"] == [sbom, signature] and done["diff"] == planned["diff"]
    assert [item["digest"] for item in attached(arguments, capsys)] == [report]
    assert not run.done(absent)["changed"]
    by_digest = {key: value for key, value in absent.items() if key != "artifact_type"}
    assert not run.done({**by_digest, "digest": sbom})["changed"]
    assert run.done({**by_digest, "digest": report})["deleted"] == [report] and attached(arguments, capsys) == []


def test_the_list_that_regctl_keeps_in_a_layout(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    one = images.layout.resolve("v1")
    first = images.referrer(one, REPORT, listed=False)
    images.put(index_of([first]), mediatype.OCI_INDEX, [fallback_tag(one.digest)])
    (tmp_path / "sbom.json").write_text("{}\n")
    arguments = {"dest": f"oci:{tmp_path}/source:v1", "artifact_type": SBOM, "files": [{"src": str(tmp_path / "sbom.json")}]}
    done = run.done(arguments)
    layout = open_layout(str(tmp_path / "source"))
    listed = json.loads(layout.fetch_bytes(layout.resolve(fallback_tag(one.digest))))["manifests"]
    assert [entry["digest"] for entry in listed] == [first.digest, done["digest"]]
    assert not run.done(arguments)["changed"]


def test_what_is_not_there(run: Run, tmp_path: pathlib.Path) -> None:
    arguments = {"dest": f"oci:{tmp_path}/none:v1", "artifact_type": SBOM}
    planned = run.done(arguments, check=True)
    assert planned["changed"] and planned["digest"] is None and planned["subject"] is None
    assert "none" in run.failed(arguments)
    gone = run.done({**arguments, "state": "absent"})
    assert not gone["changed"] and gone["deleted"] == [] and gone["subject"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "artifact_type"),
        ({"artifact_type": "x"}, "artifact_type is not a media type"),
        ({"artifact_type": SBOM, "digest": "sha256:" + "a" * 64}, "it goes with state=absent only"),
        ({"state": "absent"}, "artifact_type, digest"),
        ({"state": "absent", "artifact_type": SBOM, "annotations": {"a": "b"}}, "annotations is of what is attached"),
        ({"state": "absent", "digest": "x"}, "not a digest"),
        ({"artifact_type": SBOM, "platform": "linux/s390x"}, "linux/s390x"),
        ({"artifact_type": SBOM, "dest": "oci:/none/at/all"}, "what is it to be attached to?"),
    ],
)
def test_what_makes_no_sense(run: Run, images: Images, tmp_path: pathlib.Path, arguments: Result, says: str) -> None:
    assert says in run.failed({"dest": f"oci:{tmp_path}/source:all", **arguments})

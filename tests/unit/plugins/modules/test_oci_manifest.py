# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_manifest as Ansible runs it: manifests stored as they are, and deleted, in a layout folder, a layout tar and a registry."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.module import open_layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.referrers import fallback_tag, index_of
from ansible_collections.lading.oci.plugins.modules import oci_copy, oci_info, oci_manifest
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Result, Run, without_settings

PLAIN = {"plain_http": True, "retries": 0}
SBOM, SIGNATURE = "application/vnd.example.sbom", "application/vnd.example.signature"


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    return Run(oci_manifest.main, capsys)


class Place:
    """A folder, a tar or a registry that has v1 and v2, an SBOM that is attached to v1, and a signature of the SBOM."""

    def __init__(self, kind: str, tmp_path: pathlib.Path, registry: fake.FakeRegistry, capsys: pytest.CaptureFixture[str]) -> None:
        self.images = Images(tmp_path / "source")
        self.one = self.images.image(tar_of(a="one"), tags=["v1"])
        self.two = self.images.image(tar_of(a="two"), tags=["v2"])
        self.sbom = self.images.referrer(self.one, SBOM)
        self.signature = self.images.referrer(self.sbom, SIGNATURE)
        dests = {"folder": f"oci:{tmp_path}/dest", "tar": f"oci:{tmp_path}/dest.tar", "registry": f"{registry.host}/team/app"}
        self.dest = dests[kind]
        self.reach: Result = {"dest_registry": PLAIN} if kind == "registry" else {}
        self._capsys = capsys
        Run(oci_copy.main, capsys).done(
            {"src": f"oci:{tmp_path}/source", "dest": self.dest, **self.reach, "all_tags": True, "referrers": True}
        )

    def info(self, ref: str, **more: t.Any) -> Result:
        reach = {"src_registry": PLAIN} if self.reach else {}
        asked = {"src": f"{self.dest}{ref}", "gather": ["referrers"], "depth": 2, **reach, **more}
        return t.cast(Result, Run(oci_info.main, self._capsys).done(asked)["images"][0])


@pytest.fixture(name="place", params=["folder", "tar", "registry"])
def _place(
    request: pytest.FixtureRequest, run: Run, tmp_path: pathlib.Path, registry: fake.FakeRegistry, capsys: pytest.CaptureFixture[str]
) -> Place:
    return Place(request.param, tmp_path, registry, capsys)


def test_store_what_was_read(run: Run, place: Place) -> None:
    text = place.info(":v1", gather=["raw"])["raw"]
    annotated = json.dumps({**json.loads(text), "annotations": {"a": "b"}}, indent=3)
    arguments = {"dest": f"{place.dest}:v3", "content": annotated, "tags": ["latest"], **place.reach}
    planned = run.done(arguments, check=True)
    assert planned["changed"] and not place.info(":v3")["exists"]
    done = run.done(arguments)
    assert (done["digest"], done["tags"], done["diff"]) == (planned["digest"], planned["tags"], planned["diff"])
    assert done["tags"] == {tag: {"before": None, "after": done["digest"]} for tag in ("v3", "latest")}
    assert place.info(":latest", gather=["raw"])["raw"] == annotated
    assert not run.done(arguments)["changed"]


def test_delete_with_all_tags(run: Run, place: Place) -> None:
    arguments = {"dest": f"{place.dest}:v2", "state": "absent", **place.reach}
    planned = run.done(arguments, check=True)
    assert planned["changed"] and place.info(":v2")["exists"]
    done = run.done(arguments)
    assert done["deleted"] == planned["deleted"] == [place.two.digest] and done["digest"] == place.two.digest
    assert done["tags"] == {"v2": {"before": place.two.digest, "after": None}} and done["diff"] == planned["diff"]
    assert not place.info(":v2")["exists"] and not place.info(f"@{place.two.digest}")["exists"] and place.info(":v1")["exists"]
    again = run.done(arguments)
    assert not again["changed"] and again["digest"] is None and again["deleted"] == []


def test_delete_with_what_is_attached(run: Run, place: Place) -> None:
    arguments = {"dest": f"{place.dest}:v1", "state": "absent", "referrers": True, **place.reach}
    done = run.done(arguments)
    assert done["deleted"] == [place.one.digest, place.sbom.digest, place.signature.digest]
    assert not any(place.info(f"@{digest}")["exists"] for digest in done["deleted"]) and place.info(":v2")["exists"]
    assert not run.done(arguments)["changed"]


def test_delete_one_that_is_attached(run: Run, place: Place) -> None:
    assert [item["digest"] for item in place.info(":v1")["referrers"]] == [place.sbom.digest]
    done = run.done({"dest": f"{place.dest}@{place.sbom.digest}", "state": "absent", **place.reach})
    assert done["deleted"] == [place.sbom.digest] and place.info(":v1")["referrers"] == []


def test_the_list_that_regctl_keeps_in_a_layout(run: Run, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = Images(tmp_path / "layout")
    one = images.image(tar_of(a="one"), tags=["v1"])
    sbom, signature = images.referrer(one, SBOM, listed=False), images.referrer(one, SIGNATURE, listed=False)
    images.put(index_of([sbom, signature]), mediatype.OCI_INDEX, [fallback_tag(one.digest)])
    asked = {"src": f"oci:{tmp_path}/layout:v1", "gather": ["referrers"]}
    assert run.done({"dest": f"oci:{tmp_path}/layout@{sbom.digest}", "state": "absent"})["changed"]
    (found,) = Run(oci_info.main, capsys).done(asked)["images"]
    assert [item["digest"] for item in found["referrers"]] == [signature.digest]


def test_part_of_an_index_that_stays(run: Run, tmp_path: pathlib.Path) -> None:
    images = Images(tmp_path / "layout")
    one = images.image(tar_of(a="one"), tags=["v1"])
    images.index(one, tags=["all"])
    arguments = {"dest": f"oci:{tmp_path}/layout:v1", "state": "absent"}
    for check in (True, False):
        assert "is part of an index that stays" in run.failed(arguments, check)
    assert open_layout(str(tmp_path / "layout")).resolve("v1").digest == one.digest


def test_a_registry_that_does_not_delete(run: Run, tmp_path: pathlib.Path, registry: fake.FakeRegistry, capsys: t.Any) -> None:
    place = Place("registry", tmp_path, registry, capsys)
    registry.fault("DELETE", "/manifests/", fake.error(405, "UNSUPPORTED"))
    said = run.failed({"dest": f"{place.dest}:v2", "state": "absent", **place.reach})
    assert "does not delete manifests, or is not set up to" in said and place.info(":v2")["exists"]


def test_what_it_names_has_to_be_there(run: Run, tmp_path: pathlib.Path) -> None:
    images = Images(tmp_path / "layout")
    text = images.layout.fetch_bytes(images.image(tar_of(a="one"), tags=["v1"])).decode()
    assert "which the manifest names" in run.failed({"dest": f"oci:{tmp_path}/other:v1", "content": text})
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "content, src"),
        ({"content": "x"}, "content"),
        ({"content": "{}"}, "is not an image manifest or index"),
        ({"src": "/none/at/all"}, "src /none/at/all"),
        ({"content": "{}", "referrers": True}, "referrers does not go with state=present"),
        ({"content": "{}", "state": "absent"}, "content does not go with state=absent"),
        ({"state": "absent", "dest": "oci:/none/at/all"}, "which of its manifests is to go?"),
        ({"content": '{"manifests": []}', "media_type": "a/b"}, "a/b is not an image manifest or index"),
    ],
)
def test_what_makes_no_sense(run: Run, tmp_path: pathlib.Path, arguments: Result, says: str) -> None:
    assert says in run.failed({"dest": f"oci:{tmp_path}/out:v1", **arguments}) and not (tmp_path / "out").exists()

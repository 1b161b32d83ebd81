# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_tag as Ansible runs it: on a layout folder, a layout tar and a registry, in check mode as in the run."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.modules import oci_copy, oci_info, oci_tag
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Result, Run, without_settings

PLAIN = {"plain_http": True, "retries": 0}


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    return Run(oci_tag.main, capsys)


@pytest.fixture(name="images")
def _images(tmp_path: pathlib.Path) -> Images:
    images = Images(tmp_path / "source")
    images.image(tar_of(a="one"), tags=["v1"])
    images.image(tar_of(a="two"), tags=["v2"])
    return images


@pytest.fixture(name="place", params=["folder", "tar", "registry"])
def _place(
    request: pytest.FixtureRequest, images: Images, registry: fake.FakeRegistry, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> Result:
    """The options that name a place which has v1 and v2, without a tag."""
    places = {
        "folder": {"dest": f"oci:{tmp_path}/dest"},
        "tar": {"dest": f"oci:{tmp_path}/dest.tar"},
        "registry": {"dest": f"{registry.host}/team/app", "dest_registry": PLAIN},
    }
    place: Result = places[request.param]
    Run(oci_copy.main, capsys).done({**place, "src": f"oci:{tmp_path}/source", "all_tags": True})
    registry.seen.clear()
    return place


def named(place: Result, capsys: pytest.CaptureFixture[str], tag: str) -> t.Optional[str]:
    asked = {"src": f"{place['dest']}:{tag}", "gather": [], **({"src_registry": PLAIN} if "dest_registry" in place else {})}
    return t.cast("t.Optional[str]", Run(oci_info.main, capsys).done(asked)["images"][0].get("digest"))


def test_check_run_again(run: Run, place: Result, images: Images, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (images.layout.resolve(tag).digest for tag in ("v1", "v2"))
    arguments = {**place, "dest": f"{place['dest']}:v2", "tags": ["v1", "stable", "v2"]}
    planned = run.done(arguments, check=True)
    assert planned["changed"] and (named(place, capsys, "v1"), named(place, capsys, "stable")) == (one, None)
    done = run.done(arguments)
    wanted = {"v1": {"before": one, "after": two}, "stable": {"before": None, "after": two}, "v2": {"before": two, "after": two}}
    assert done["tags"] == planned["tags"] == wanted and done["diff"] == planned["diff"]
    assert done["diff"]["before"] == f"v1: {one}\nstable: absent\nv2: {two}\n"
    assert done["digest"] == two and done["reference"] == f"{place['dest']}@{two}"
    assert {named(place, capsys, tag) for tag in ("v1", "stable", "v2")} == {two}
    again = run.done(arguments)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]


def test_by_digest(run: Run, place: Result, images: Images, capsys: pytest.CaptureFixture[str]) -> None:
    one = images.layout.resolve("v1").digest
    done = run.done({**place, "dest": f"{place['dest']}@{one}", "tags": ["pinned"]})
    assert done["changed"] and named(place, capsys, "pinned") == one


def test_a_tag_that_must_not_move(run: Run, place: Result, images: Images, capsys: pytest.CaptureFixture[str]) -> None:
    one = images.layout.resolve("v1").digest
    arguments = {**place, "dest": f"{place['dest']}:v2", "tags": ["new", "v1"], "force_tag": False}
    for check in (True, False):
        assert "the tag v1 names" in run.failed(arguments, check)
    assert named(place, capsys, "v1") == one and named(place, capsys, "new") is None


def test_what_is_not_there_cannot_be_named(run: Run, place: Result) -> None:
    assert "v9" in run.failed({**place, "dest": f"{place['dest']}:v9", "tags": ["v1"]})


def test_requests(
    run: Run, images: Images, registry: fake.FakeRegistry, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = {"dest": f"{registry.host}/team/app:v1", "dest_registry": PLAIN}
    Run(oci_copy.main, capsys).done({**place, "src": f"oci:{tmp_path}/source:v1"})
    assert run.done({**place, "tags": ["a", "b"]})["requests"] == {"HEAD": 3, "GET": 1, "PUT": 2}
    assert run.done({**place, "tags": ["a", "b"]})["requests"] == {"HEAD": 3}


@pytest.mark.parametrize("form", ["{}:v1", "{}"])
def test_removal_from_a_layout(run: Run, images: Images, tmp_path: pathlib.Path, form: str) -> None:
    one = images.layout.resolve("v1")
    arguments = {"dest": form.format(f"oci:{tmp_path}/source"), "tags": ["none", "v1"], "state": "absent"}
    planned = run.done(arguments, check=True)
    assert planned["changed"] and images.layout.resolve("v1")
    done = run.done(arguments)
    assert done["tags"]["v1"] == {"before": one.digest, "after": None} and done["tags"]["none"] == {"before": None, "after": None}
    assert done["diff"] == planned["diff"] and "v1: absent\n" in done["diff"]["after"]
    assert Layout(str(tmp_path / "source")).names() == ["v2"] and images.layout.exists(one)
    assert not run.done(arguments)["changed"]


def test_removal_from_a_tar(run: Run, images: Images, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run(oci_copy.main, capsys).done({"src": f"oci:{tmp_path}/source", "dest": f"oci:{tmp_path}/dest.tar", "all_tags": True})
    run.done({"dest": f"oci:{tmp_path}/dest.tar:v1", "state": "absent"})
    left = Archive(str(tmp_path / "dest.tar"))
    assert left.names() == ["v2"] and not left.exists(images.layout.resolve("v1"))


def test_only_tags_that_name_a_digest_are_removed(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    two = images.layout.resolve("v2").digest
    done = run.done({"dest": f"oci:{tmp_path}/source@{two}", "tags": ["v1", "v2"], "state": "absent"})
    assert done["changed"] and Layout(str(tmp_path / "source")).names() == ["v1"]
    assert done["tags"]["v1"]["after"] == images.layout.resolve("v1").digest


def test_removal_from_a_registry(run: Run, registry: fake.FakeRegistry, tmp_path: pathlib.Path, images: Images) -> None:
    registry.state.manifests["team/app", "sha256:" + "a" * 64] = ("application/vnd.oci.image.manifest.v1+json", b"{}")
    registry.state.tags["team/app", "v1"] = "sha256:" + "a" * 64
    arguments = {"dest": f"{registry.host}/team/app:v1", "dest_registry": PLAIN, "state": "absent"}
    assert run.done(arguments, check=True)["changed"] and registry.methods() == ["HEAD"]
    registry.fault("DELETE", "/manifests/v1$", fake.answer(202))
    assert run.done(arguments)["requests"] == {"HEAD": 1, "DELETE": 1}
    del registry.state.tags["team/app", "v1"]
    assert not run.done(arguments)["changed"]


def test_a_registry_that_deletes_no_tags(run: Run, registry: fake.FakeRegistry) -> None:
    registry.state.manifests["team/app", "sha256:" + "a" * 64] = ("application/vnd.oci.image.manifest.v1+json", b"{}")
    registry.state.tags["team/app", "v1"] = "sha256:" + "a" * 64
    registry.fault("DELETE", "/manifests/v1$", fake.error(405, "UNSUPPORTED"))
    said = run.failed({"dest": f"{registry.host}/team/app:v1", "dest_registry": PLAIN, "state": "absent"})
    assert "this registry does not delete single tags" in said and len(registry.asked("DELETE")) == 1


def test_a_layout_that_is_still_to_be_made(run: Run, tmp_path: pathlib.Path) -> None:
    arguments = {"dest": f"oci:{tmp_path}/none:v1", "tags": ["stable"]}
    planned = run.done(arguments, check=True)
    assert planned["changed"] and planned["digest"] is None and planned["tags"] == {"stable": {"before": None, "after": None}}
    assert "none" in run.failed(arguments)
    assert not run.done({**arguments, "state": "absent"})["changed"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "there is nothing to set"),
        ({"state": "absent"}, "there is nothing to remove"),
        ({"tags": ["a b"]}, "not a ref name"),
        ({"dest": "docker-archive:/a.tar:x", "tags": ["a"]}, "docker-archive: is for sources"),
        ({"dest": "localhost:1/a", "tags": ["a"]}, "no tag and no digest"),
        ({"tags": ["a"], "dest_registry": {}}, "this side is a layout"),
    ],
)
def test_what_makes_no_sense(run: Run, images: Images, tmp_path: pathlib.Path, arguments: Result, says: str) -> None:
    assert says in run.failed({"dest": f"oci:{tmp_path}/source", **arguments})

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""``manifests`` of oci_layout_build through the module: every option, check mode, what is asked over the network, what is refused."""

from __future__ import annotations

import json
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Incoming
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.verify import verify
from support import fail, run_module, succeed, tree_state

HTTP = {"plain_http": True}
BUILDKIT = pathlib.Path(__file__).parent / "fixtures" / "buildkit"
Result = t.Dict[str, t.Any]


@pytest.fixture(name="builds", scope="module")
def _builds(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Two separate builds: a tar for each architecture."""
    folder = tmp_path_factory.mktemp("builds")
    (folder / "tree").mkdir()
    (folder / "tree" / "run").write_text("#!/bin/sh\n")
    for name in ("amd64", "arm64"):
        image(folder, name)
    return folder


@pytest.fixture(name="images")
def _images(builds: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """The same, for one test alone."""
    return pathlib.Path(shutil.copytree(builds, tmp_path / "images"))


def image(folder: pathlib.Path, name: str, note: str = "") -> str:
    options = {"platform": f"linux/{name}", "layers": [{"src": str(folder / "tree")}], "annotations": {"note": note} if note else {}}
    return succeed("oci_layout_build", {"path": str(folder / f"{name}.tar"), "tag": "v1", **options})["digest"]


def index_of(path: pathlib.Path, tag: str = "v1") -> t.Dict[str, t.Any]:
    layout = Layout(str(path))
    root = layout.resolve(tag)
    verify(layout, root)
    return json.loads(layout.fetch_bytes(root))


def platforms(document: t.Dict[str, t.Any]) -> t.List[str]:
    return [entry["platform"]["architecture"] for entry in document["manifests"] if "platform" in entry]


def build(arguments: t.Dict[str, t.Any], folder: pathlib.Path) -> Result:
    """Check mode, the run, the run again: the first two say the same, the first and the last write nothing."""
    before = tree_state(folder)
    checked = succeed("oci_layout_build", arguments, check=True)
    assert tree_state(folder) == before
    done = succeed("oci_layout_build", arguments)
    assert done["changed"] and done["validated"] == ["rules", "schemas"]
    compared = ("changed", "digest", "diff", "tags", "validated", "reference", "media_type")
    assert {name: done[name] for name in compared} == {name: checked[name] for name in compared}
    after = tree_state(folder)
    again = succeed("oci_layout_build", arguments)
    assert (again["changed"], again["digest"], again["validated"]) == (False, done["digest"], [])
    assert tree_state(folder) == after
    return done


@pytest.mark.parametrize("suffix", ["", ".tar"], ids=["folder", "tar"])
def test_every_option(images: pathlib.Path, suffix: str) -> None:
    path, created = images / f"multi{suffix}", "2026-11-23T20:51:00Z"
    arguments = {
        "path": str(path),
        "tag": "v1",
        "artifact_type": "application/vnd.example.v1",
        "annotations": {"team": "a"},
        "created": created,
        "manifests": [
            {"src": f"oci-archive:{images}/amd64.tar:v1", "annotations": {"a": "b"}},
            {"src": f"oci:{images}/arm64.tar", "src_ref": "v1", "platform": "linux/arm64/v9"},
            {"src": f"oci:{BUILDKIT}/two-platforms:v1", "nested": True},
        ],
    }
    done = build(arguments, images)
    assert done["media_type"] == mediatype.OCI_INDEX
    succeed("oci_copy", {"src": f"oci:{path}:v1", "dest": f"oci:{images}/copied:v1"})
    document = index_of(images / "copied")
    assert document["artifactType"] == "application/vnd.example.v1"
    assert document["annotations"] == {"org.opencontainers.image.created": created, "team": "a"}
    amd64, arm64, nested = document["manifests"]
    assert amd64["annotations"] == {"a": "b"} and amd64["platform"] == {"architecture": "amd64", "os": "linux"}
    assert arm64["platform"] == {"architecture": "arm64", "os": "linux", "variant": "v9"}
    assert nested["mediaType"] == done["media_type"] and "platform" not in nested


def test_append_replaces_one_and_keeps_the_others(images: pathlib.Path) -> None:
    path = images / "multi"
    arguments = {"path": str(path), "tag": "v1", "manifests": [{"src": f"oci:{BUILDKIT}/two-platforms:v1"}]}
    build(arguments, images)
    before = index_of(path)
    assert platforms(before) == ["amd64", "arm64", "unknown", "unknown"]
    new = image(images, "arm64", note="new")
    changed = build({"path": str(path), "tag": "v1", "append": True, "manifests": [{"src": f"oci:{images}/arm64.tar:v1"}]}, images)
    after = index_of(path)
    assert f"\nentry linux/arm64: {before['manifests'][1]['digest']}\n" in changed["diff"]["before"]
    assert f"\nentry linux/arm64: {new}\n" in changed["diff"]["after"]
    assert platforms(after) == ["amd64", "arm64", "unknown"] and after["manifests"][1]["digest"] == new
    assert after["manifests"][::2] == before["manifests"][:3:2], "the other image and its attestation are as they were"
    removal = [{"platform": "linux/amd64", "state": "absent"}]
    build({"path": str(path), "tag": "v1", "append": True, "manifests": removal}, images)
    assert platforms(index_of(path)) == ["arm64"]
    build({"path": str(path), "tag": "v1", "manifests": [{"src": f"oci:{images}/amd64.tar:v1"}]}, images)
    assert platforms(index_of(path)) == ["amd64"], "without append there is only what was given"


def test_append_to_an_image_and_to_nothing(images: pathlib.Path) -> None:
    path = images / "amd64.tar"
    item = {"src": f"oci:{images}/arm64.tar:v1"}
    build({"path": str(path), "tag": "v1", "append": True, "manifests": [item]}, images)
    succeed("oci_copy", {"src": f"oci:{path}:v1", "dest": f"oci:{images}/copied:v1"})
    assert platforms(index_of(images / "copied")) == ["amd64", "arm64"]
    build({"path": str(images / "new"), "tag": "v1", "append": True, "manifests": [item]}, images)
    assert platforms(index_of(images / "new")) == ["arm64"]


def test_sources_in_the_same_layout(images: pathlib.Path) -> None:
    path = images / "all.tar"
    for name in ("amd64", "arm64"):
        succeed("oci_copy", {"src": f"oci:{images}/{name}.tar:v1", "dest": f"oci:{path}:{name}"})
    items = [{"src": f"oci:{path}:{name}"} for name in ("amd64", "arm64")]
    done = build({"path": str(path), "tag": "multi", "manifests": items}, images)
    assert done["stats"]["blobs_transferred"] == 0 and done["stats"]["manifests_transferred"] == 1


def test_one_platform_of_an_index(images: pathlib.Path) -> None:
    path = images / "multi"
    items = [{"src": f"oci:{BUILDKIT}/two-platforms:v1", "platform": "linux/amd64"}, {"src": f"oci:{images}/arm64.tar:v1"}]
    build({"path": str(path), "tag": "v1", "manifests": items}, images)
    assert platforms(index_of(path)) == ["amd64", "arm64", "unknown"]


def test_registries(images: pathlib.Path, registry: t.Any, repository: str) -> None:
    """Once in one repository, once in two; what is there already is asked for by one HEAD each."""
    sources = []
    for name in ("amd64", "arm64"):
        for dest in (f"{registry.host}/{repository}:{name}", f"{registry.host}/{repository}/{name}:v1"):
            succeed("oci_copy", {"src": f"oci:{images}/{name}.tar:v1", "dest": dest, "dest_registry": HTTP})
            sources.append(dest)
    for number, chosen in enumerate((sources[::2], sources[1::2])):
        path = images / f"multi{number}"
        arguments = {"path": str(path), "tag": "v1", "manifests": [{"src": src, "src_registry": HTTP} for src in chosen]}
        done = build(arguments, images)
        assert platforms(index_of(path)) == ["amd64", "arm64"]
        assert done["stats"]["requests"]["source"]["HEAD"] == 2 and done["stats"]["requests"]["source"]["GET"] >= 5
        again = succeed("oci_layout_build", arguments)
        assert again["stats"]["requests"] == {"source": {"HEAD": 2}, "destination": {}}
        by_default = [{"src": src} for src in chosen]
        registries = [{"host": registry.host, **HTTP}]
        assert not succeed("oci_layout_build", {**arguments, "manifests": by_default, "registries": registries})["changed"]


def test_a_registry_with_a_login(images: pathlib.Path, secure_registry: t.Any, repository: str) -> None:
    src = f"{secure_registry.host}/{repository}:v1"
    login = {"username": secure_registry.username, "password": secure_registry.password, "ca_path": str(secure_registry.ca_path)}
    succeed("oci_copy", {"src": f"oci:{images}/amd64.tar:v1", "dest": src, "dest_registry": login})
    arguments = {"path": str(images / "multi"), "tag": "v1"}
    anonymous = {"src": src, "src_registry": {"ca_path": login["ca_path"]}}
    assert "401" in fail("oci_layout_build", {**arguments, "manifests": [anonymous]})
    done = build({**arguments, "manifests": [{"src": src, "src_registry": login}]}, images)
    assert platforms(index_of(images / "multi")) == ["amd64"]
    assert secure_registry.password not in json.dumps(done)
    half = {"src": src, "src_registry": {"password": "x"}}
    assert "required together" in fail("oci_layout_build", {**arguments, "manifests": [half]})


def test_check_mode_before_the_sources_are_made(images: pathlib.Path) -> None:
    arguments = {"path": str(images / "multi"), "tag": "v1", "manifests": [{"src": f"oci:{images}/later.tar:v1"}]}
    checked = run_module("oci_layout_build", arguments, check=True)
    assert checked["changed"] and checked["digest"] is None and checked["validated"] == []
    assert any("later.tar" in str(warning) for warning in checked["warnings"])
    assert "later.tar" in fail("oci_layout_build", arguments)
    assert not (images / "multi").exists()


@pytest.mark.parametrize(
    "more, says",
    [
        ({"architecture": None}, "has an entry, sha256:"),
        ({"os.version": 5}, "breaks the OCI JSON schema at manifests.0.platform.os.version: 5 is not of type 'string'"),
    ],
    ids=["rules", "schemas"],
)
def test_a_broken_document_is_not_published(images: pathlib.Path, more: t.Dict[str, t.Any], says: str) -> None:
    """An index that somebody else wrote, with an entry whose platform is none."""
    source = images / "theirs"
    succeed("oci_copy", {"src": f"oci:{images}/amd64.tar:v1", "dest": f"oci:{source}:v1"})
    image_desc = Layout(str(source)).resolve("v1")
    entry = {**image_desc.to_json(), "platform": {"os": "linux", "architecture": "amd64", **more}}
    entry.pop("annotations", None)
    content = json.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [entry]})
    put(source, content.encode(), "broken")
    arguments = {"path": str(images / "new"), "tag": "v1", "manifests": [{"src": f"oci:{source}:broken"}]}
    for check in (True, False):
        assert says in fail("oci_layout_build", arguments, check=check)
    assert not (images / "new").exists()


def put(layout: pathlib.Path, content: bytes, tag: str) -> None:
    target = Layout(str(layout))
    root = Descriptor.of(content, mediatype.OCI_INDEX)
    with target.receiving(Incoming(root, (tag,), (root,))):
        target.tag(root, content, [tag])


@pytest.mark.parametrize(
    "given, says",
    [
        ({"layers": [{"src": "/etc"}]}, "manifests makes an index, layers an image or artifact"),
        ({"config": {"user": "a"}}, "manifests makes an index, config an image or artifact"),
        ({"files": [{"src": "/etc/hostname"}]}, "manifests makes an index, files an image or artifact"),
        ({"platform": "linux/amd64"}, "manifests makes an index, platform an image or artifact"),
        ({"manifests": [], "append": True}, "append keeps the other entries of an index: give manifests with it"),
        ({"manifests": [{"src": "AMD64", "nested": True, "platform": "linux/amd64"}]}, "manifests[0]: nested takes an index as a whole"),
        ({"manifests": [{"platform": "linux/amd64", "state": "absent"}]}, "manifests[0]: state=absent takes an entry from the index"),
        ({"manifests": [{"platform": "linux/amd64"}]}, "state is present but all of the following are missing: src"),
        ({"manifests": [{"src": "AMD64", "state": "absent"}]}, "state is absent but all of the following are missing: platform"),
        ({"manifests": [{"src": "AMD64", "platform": "amd64"}]}, "not a platform: 'amd64'"),
        ({"manifests": [{"src": "AMD64", "annotations": {"a": 1}}]}, "manifests[0].annotations: the value of 'a' is 1, not a string"),
        (
            {"manifests": [{"src": "AMD64"}, {"src": "ARM64", "platform": "linux/amd64"}]},
            "are both for linux/amd64, with different",
        ),
        ({"manifests": [{"src": "INDEX", "platform": "linux/s390x"}]}, "has nothing for linux/s390x (it has linux/amd64, linux/arm64)"),
        ({"manifests": [{"src": "oci:/nowhere:v1"}]}, "source oci:/nowhere"),
        ({"manifests": [{"src": "AMD64", "src_registry": {"plain_http": True}}]}, "registry options are given, but this side is a layout"),
        ({"artifact_type": "no type"}, "artifact_type is not a media type"),
    ],
)
def test_what_cannot_be_done_is_said(images: pathlib.Path, given: t.Dict[str, t.Any], says: str) -> None:
    text = json.dumps({"path": "NEW", "tag": "v1", "manifests": [{"src": "AMD64"}], **given})
    places = {"NEW": f"{images}/new", "AMD64": f"oci:{images}/amd64.tar:v1", "ARM64": f"oci:{images}/arm64.tar:v1"}
    for name, place in {**places, "INDEX": f"oci:{BUILDKIT}/two-platforms:v1"}.items():
        text = text.replace(f'"{name}"', json.dumps(place))
    assert says in fail("oci_layout_build", json.loads(text))
    assert not (images / "new").exists()


def test_an_error_names_both_sources(images: pathlib.Path) -> None:
    items = [{"src": f"oci:{images}/amd64.tar:v1"}, {"src": f"oci:{images}/arm64.tar:v1", "platform": "linux/amd64"}]
    message = fail("oci_layout_build", {"path": str(images / "new"), "tag": "v1", "manifests": items})
    assert f"manifests[0] (oci:{images}/amd64.tar:v1) and manifests[1] (oci:{images}/arm64.tar:v1) are both for linux/amd64" in message

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts, tags and facts beside the tools that people use for them: what one side does, the other side sees."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from support import Result, fail, peer, succeed

PLAIN = {"plain_http": True}
SITE, SBOM = "application/vnd.example.site.v1", "application/vnd.example.sbom"


@pytest.fixture(name="files")
def _files(tmp_path: pathlib.Path) -> t.List[Result]:
    (tmp_path / "site.conf").write_text("listen 80 & <more>\n")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.css").write_text("a {}\n")
    return [{"src": str(tmp_path / "site.conf"), "media_type": "text/plain"}, {"src": str(tmp_path / "assets")}]


@pytest.fixture(name="image")
def _image(tmp_path: pathlib.Path, registry: t.Any, repository: str) -> str:
    """An image with labels in the registry, its reference."""
    Images(tmp_path / "source").image(tar_of(hello="hello"), tags=["v1"])
    text = f"{registry.host}/{repository}:v1"
    succeed("oci_copy", {"src": f"oci:{tmp_path}/source:v1", "dest": text, "dest_registry": PLAIN})
    return text


def info(src: str, **more: t.Any) -> Result:
    reach = {} if src.startswith("oci") else {"src_registry": PLAIN}
    return t.cast(Result, succeed("oci_info", {"src": src, **reach, **more})["images"][0])


@pytest.mark.parametrize("kind", ["registry", "folder"])
def test_oras_pulls_what_was_pushed(
    kind: str, files: t.List[Result], tmp_path: pathlib.Path, registry: t.Any, repository: str, peers: t.Any
) -> None:
    oras = peers.require("oras")
    text = f"{registry.host}/{repository}:v1" if kind == "registry" else f"oci:{tmp_path}/layout:v1"
    reach = {"dest_registry": PLAIN} if kind == "registry" else {}
    done = succeed("oci_push", {"dest": text, "files": files, "artifact_type": SITE, **reach})
    place = ("--plain-http", text) if kind == "registry" else ("--oci-layout", text.partition(":")[2])
    peer(oras, "pull", *place, "--output", tmp_path / "pulled")
    assert (tmp_path / "pulled" / "site.conf").read_bytes() == (tmp_path / "site.conf").read_bytes()
    assert (tmp_path / "pulled" / "assets" / "a.css").read_text() == "a {}\n"
    assert json.loads(peer(oras, "manifest", "fetch", "--descriptor", *place))["digest"] == done["digest"]


def test_the_same_digest_as_oras_with_its_time(
    files: t.List[Result], tmp_path: pathlib.Path, registry: t.Any, repository: str, peers: t.Any
) -> None:
    """What oras pushes at a time, we push for that time."""
    host, created = registry.host, "2026-11-23T20:51:00Z"
    pushed = ("site.conf:text/plain", "--artifact-type", SITE, "--annotation", f"org.opencontainers.image.created={created}")
    peer(peers.require("oras"), "push", "--plain-http", f"{host}/{repository}:oras", *pushed, cwd=tmp_path)
    same = {"files": files[:1], "artifact_type": SITE, "created": created, "dest_registry": PLAIN}
    succeed("oci_push", {"dest": f"{host}/{repository}:ours", **same})
    assert info(f"{host}/{repository}:ours")["digest"] == info(f"{host}/{repository}:oras")["digest"]
    assert not succeed("oci_push", {"dest": f"{host}/{repository}:oras", **same})["changed"]


@pytest.mark.parametrize("api", ["tag", "api"])
def test_oras_finds_what_was_attached(
    api: str, files: t.List[Result], tmp_path: pathlib.Path, registry: t.Any, request: pytest.FixtureRequest, repository: str, peers: t.Any
) -> None:
    oras = peers.require("oras")
    host = (request.getfixturevalue("referrers_registry") if api == "api" else registry).host
    text = f"{host}/{repository}:v1"
    Images(tmp_path / "source").image(tar_of(hello="hello"), tags=["v1"])
    succeed("oci_copy", {"src": f"oci:{tmp_path}/source:v1", "dest": text, "dest_registry": PLAIN})
    arguments = {"dest": text, "dest_registry": PLAIN, "artifact_type": SBOM, "files": files[:1]}
    done = succeed("oci_attach", arguments)
    found = json.loads(peer(oras, "discover", "--plain-http", "--format", "json", text))["referrers"]
    assert [(item["digest"], item["artifactType"]) for item in found] == [(done["digest"], SBOM)]
    assert not succeed("oci_attach", arguments)["changed"]
    gone = {key: value for key, value in arguments.items() if key != "files"}
    assert succeed("oci_attach", {**gone, "state": "absent"})["deleted"] == [done["digest"]]
    assert not json.loads(peer(oras, "discover", "--plain-http", "--format", "json", text)).get("referrers")
    assert not succeed("oci_attach", {**gone, "state": "absent"})["changed"]


def test_what_oras_attached_is_attached(image: str, files: t.List[Result], tmp_path: pathlib.Path, peers: t.Any) -> None:
    """Although it wrote the time of the day into it."""
    peer(peers.require("oras"), "attach", "--plain-http", image, "--artifact-type", SBOM, "site.conf:text/plain", cwd=tmp_path)
    (listed,) = info(image, gather=["referrers"])["referrers"]
    assert listed["artifact_type"] == SBOM
    done = succeed("oci_attach", {"dest": image, "dest_registry": PLAIN, "artifact_type": SBOM, "files": files[:1]})
    assert not done["changed"] and done["digest"] == listed["digest"]


def test_tags_beside_crane_and_skopeo(image: str, peers: t.Any) -> None:
    crane, skopeo = peers.require("crane"), peers.require("skopeo")
    repository = image.rpartition(":")[0]
    done = succeed("oci_tag", {"dest": image, "dest_registry": PLAIN, "tags": ["stable", "v1.0"]})
    assert peer(crane, "digest", "--insecure", f"{repository}:stable").strip() == done["digest"]
    peer(crane, "tag", "--insecure", image, "by-crane")
    assert not succeed("oci_tag", {"dest": image, "dest_registry": PLAIN, "tags": ["by-crane"]})["changed"]
    tags = info(repository, gather=["tags"])["tags"]
    assert tags == json.loads(peer(skopeo, "list-tags", "--tls-verify=false", f"docker://{repository}"))["Tags"]
    assert sorted(tags) == sorted(peer(crane, "ls", "--insecure", repository).split())


def test_facts_beside_crane_and_skopeo(image: str, peers: t.Any) -> None:
    found = info(image, gather=["manifest", "config", "raw"])
    assert found["raw"] == peer(peers.require("crane"), "manifest", "--insecure", image).rstrip("\n")
    assert found["config"] == json.loads(peer(peers.require("crane"), "config", "--insecure", image))
    other = json.loads(peer(peers.require("skopeo"), "inspect", "--tls-verify=false", f"docker://{image}"))
    assert found["digest"] == other["Digest"] and [layer["digest"] for layer in found["layers"]] == other["Layers"]


def test_a_registrys_repositories(image: str, registry: t.Any, peers: t.Any) -> None:
    found = succeed("oci_info", {"catalog": [registry.host], "src_registry": PLAIN})["repositories"][registry.host]
    assert image.partition("/")[2].rpartition(":")[0] in found
    assert sorted(found) == sorted(peer(peers.require("crane"), "catalog", "--insecure", registry.host).split())


def test_a_manifest_that_is_deleted_is_gone(image: str, registry: t.Any) -> None:
    succeed("oci_tag", {"dest": image, "dest_registry": PLAIN, "tags": ["other"]})
    arguments = {"dest": image, "dest_registry": PLAIN, "state": "absent"}
    planned = succeed("oci_manifest", arguments, check=True)
    assert planned["changed"] and info(image, gather=[])["exists"]
    assert succeed("oci_manifest", arguments)["deleted"] == planned["deleted"]
    assert not info(image, gather=[])["exists"] and not info(image.replace(":v1", ":other"), gather=[])["exists"]
    assert not succeed("oci_manifest", arguments)["changed"]


def test_a_tag_that_goes_alone(tmp_path: pathlib.Path, referrers_registry: t.Any, registry: t.Any, image: str, repository: str) -> None:
    """Where the registry can; Debian's cannot, and the manifest is not deleted in its place."""
    text = f"{referrers_registry.host}/{repository}:v1"
    succeed("oci_copy", {"src": f"oci:{tmp_path}/source:v1", "dest": text, "dest_registry": PLAIN, "tags": ["other"]})
    assert succeed("oci_tag", {"dest": text, "dest_registry": PLAIN, "state": "absent"})["changed"]
    assert not info(text, gather=[])["exists"] and info(text.replace(":v1", ":other"), gather=[])["exists"]
    assert not succeed("oci_tag", {"dest": text, "dest_registry": PLAIN, "state": "absent"})["changed"]
    assert "does not delete single tags" in fail("oci_tag", {"dest": image, "dest_registry": PLAIN, "state": "absent"})
    assert info(image, gather=[])["exists"]

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same index by crane, by docker buildx and by us; what the other tools read of ours."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from support import peer, succeed

HTTP = {"plain_http": True}
BUILDKIT = pathlib.Path(__file__).parent / "fixtures" / "buildkit" / "two-platforms"
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")
Said = t.Set[t.Tuple[str, t.Tuple[t.Tuple[str, str], ...]]]


@pytest.fixture(name="tars")
def _tars(tmp_path: pathlib.Path) -> t.Dict[str, pathlib.Path]:
    """A layout tar of each platform, as builds on different machines leave them (skopeo#1136)."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "run").write_text("#!/bin/sh\n")
    tars = {platform: tmp_path / f"{platform.replace('/', '-')}.tar" for platform in PLATFORMS}
    for platform, path in tars.items():
        layers = [{"src": str(tmp_path / "tree"), "dest": platform}]
        succeed("oci_layout_build", {"path": str(path), "tag": "v1", "platform": platform, "layers": layers})
    return tars


def pushed(tars: t.Mapping[str, pathlib.Path], place: str) -> t.List[str]:
    names = []
    for platform, path in tars.items():
        names.append(f"{place}:{platform.replace('/', '-')}")
        succeed("oci_copy", {"src": f"oci:{path}:v1", "dest": names[-1], "dest_registry": HTTP})
    return names


def said(document: str) -> Said:
    """The digests of an index with their platforms."""
    return {(entry["digest"], tuple(sorted(entry.get("platform", {}).items()))) for entry in json.loads(document)["manifests"]}


def ours(path: pathlib.Path, sources: t.Iterable[str], **options: t.Any) -> t.Tuple[str, str]:
    """Digest and document of the index that we make."""
    items = [{"src": source, **({} if source.startswith("oci") else {"src_registry": HTTP})} for source in sources]
    done = succeed("oci_layout_build", {"path": str(path), "tag": "v1", "manifests": items, **options})
    layout = Layout(str(path))
    return done["digest"], layout.fetch_bytes(layout.resolve("v1")).decode()


def test_as_crane_index_append(
    tars: t.Dict[str, pathlib.Path], tmp_path: pathlib.Path, peers: t.Any, registry: t.Any, repository: str
) -> None:
    place, crane = f"{registry.host}/{repository}", peers.require("crane")
    names = pushed(tars, place)
    peer(crane, "index", "append", "--insecure", *(word for name in names for word in ("-m", name)), "-t", f"{place}:theirs")
    theirs = peer(crane, "manifest", "--insecure", f"{place}:theirs")
    _digest, by_registry = ours(tmp_path / "by-registry", names)
    _digest, by_archive = ours(tmp_path / "by-archive", [f"oci-archive:{path}:v1" for path in tars.values()])
    assert said(by_registry) == said(theirs) and by_archive == by_registry


def test_as_crane_appends_an_index(tmp_path: pathlib.Path, peers: t.Any, registry: t.Any, repository: str) -> None:
    """crane flattens it as well, with its attestations."""
    place, crane = f"{registry.host}/{repository}", peers.require("crane")
    succeed("oci_copy", {"src": f"oci:{BUILDKIT}:v1", "dest": f"{place}:v1", "dest_registry": HTTP})
    peer(crane, "index", "append", "--insecure", "-m", f"{place}:v1", "-t", f"{place}:theirs")
    theirs = peer(crane, "manifest", "--insecure", f"{place}:theirs")
    _digest, document = ours(tmp_path / "ours", [f"oci:{BUILDKIT}:v1"])
    assert said(document) == said(theirs) and len(said(document)) == 4


@pytest.mark.usefixtures("docker")
def test_as_buildx_imagetools_create(tars: t.Dict[str, pathlib.Path], tmp_path: pathlib.Path, registry: t.Any, repository: str) -> None:
    """First the whole, then one platform more with attestations: ``--append`` is our ``append``."""
    place = f"{registry.host}/{repository}"
    first, *others = pushed(tars, place)
    succeed("oci_copy", {"src": f"oci:{BUILDKIT}:v1", "dest": f"{place}:buildkit", "dest_registry": HTTP})
    imagetools = ("docker", "buildx", "imagetools", "create")
    peer(*imagetools, "-t", f"{place}:theirs", *others)
    _digest, document = ours(tmp_path / "ours", others)
    assert said(document) == said(raw(f"{place}:theirs"))
    peer(*imagetools, "-t", f"{place}:theirs", "--append", first)
    _digest, document = ours(tmp_path / "ours", [first], append=True)
    assert said(document) == said(raw(f"{place}:theirs"))
    peer(*imagetools, "-t", f"{place}:flat", f"{place}:buildkit", others[1])
    _digest, document = ours(tmp_path / "flat", [f"{place}:buildkit", others[1]])
    assert said(document) == said(raw(f"{place}:flat"))


def raw(name: str) -> str:
    return peer("docker", "buildx", "imagetools", "inspect", "--raw", name)


@pytest.mark.parametrize("suffix", ["", ".tar"], ids=["folder", "tar"])
def test_every_peer_reads_our_index(
    tars: t.Dict[str, pathlib.Path], suffix: str, tmp_path: pathlib.Path, peers: t.Any, registry: t.Any, repository: str
) -> None:
    path, dest = tmp_path / f"multi{suffix}", f"{registry.host}/{repository}:v1"
    items = [{"src": f"oci:{tar}:v1"} for tar in tars.values()]
    succeed("oci_layout_build", {"path": str(path), "tag": "v1", "manifests": items, "annotations": {"note": "a"}})
    digest = succeed("oci_copy", {"src": f"oci:{path}:v1", "dest": dest, "dest_registry": HTTP})["digest"]
    crane, oras, skopeo = (peers.require(name) for name in ("crane", "oras", "skopeo"))
    documents = [
        peer(skopeo, "inspect", "--raw", "--tls-verify=false", f"docker://{dest}"),
        peer(skopeo, "inspect", "--raw", f"{'oci-archive' if suffix else 'oci'}:{path}:v1"),
        peer(oras, "manifest", "fetch", "--plain-http", dest),
        peer(oras, "manifest", "fetch", "--oci-layout", f"{path}:v1"),
        peer(crane, "manifest", "--insecure", dest),
    ]
    assert len({document.strip() for document in documents}) == 1
    assert peer(crane, "digest", "--insecure", dest).strip() == digest
    peer(crane, "validate", "--insecure", "--remote", dest)
    for platform, tar in tars.items():
        child = json.loads(peer(skopeo, "inspect", f"oci-archive:{tar}:v1"))["Digest"]
        assert peer(crane, "digest", "--insecure", "--platform", platform, dest).strip() == child
        described = peer(oras, "manifest", "fetch", "--plain-http", "--descriptor", "--platform", platform, dest)
        assert json.loads(described)["digest"] == child


def test_attestations_arrive(tmp_path: pathlib.Path, peers: t.Any, registry: t.Any, repository: str) -> None:
    dest = f"{registry.host}/{repository}:v1"
    items = [{"src": f"oci:{BUILDKIT}:v1", "platform": "linux/arm64"}]
    succeed("oci_layout_build", {"path": str(tmp_path / "one"), "tag": "v1", "manifests": items})
    succeed("oci_copy", {"src": f"oci:{tmp_path}/one:v1", "dest": dest, "dest_registry": HTTP})
    image, attestation = json.loads(peer(peers.require("oras"), "manifest", "fetch", "--plain-http", dest))["manifests"]
    assert attestation["annotations"]["vnd.docker.reference.digest"] == image["digest"]
    about = json.loads(peer(peers.require("crane"), "manifest", "--insecure", f"{dest.rpartition(':')[0]}@{attestation['digest']}"))
    assert about["layers"][0]["mediaType"] == "application/vnd.in-toto+json"

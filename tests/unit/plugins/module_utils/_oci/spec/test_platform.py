# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which entry of an index fits a platform; names of layers in both families of media types."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform, best, candidates, nothing_for

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
# Versions of Windows, in parentheses, are not compared.
VECTORS = [v for v in json.loads((FIXTURES / "containerd-platforms.json").read_text())["groups"]["only"] if "(" not in v["platform"]]


def entry(platform: str, **annotations: str) -> Descriptor:
    os, architecture, *variant = platform.split("/")
    fields = {"os": os, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
    desc = Descriptor.of(platform.encode(), mediatype.OCI_MANIFEST, annotations)
    return Descriptor(desc.media_type, desc.digest, desc.size, annotations, platform=fields)


def shown(platform: str) -> t.Tuple[str, str, str]:
    parsed = Platform.parse(platform)
    return parsed.os, parsed.architecture, parsed.variant


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["platform"])
def test_containerds_vectors(vector: t.Dict[str, t.Any]) -> None:
    """Within one architecture: another one's programs run on some hosts, but nobody who names a platform means them."""
    wanted = vector["platform"]
    for matches, platforms in vector["matches"].items():
        for platform in platforms:
            if "(" in platform or shown(platform)[1] != shown(wanted)[1]:
                continue
            if shown(wanted)[1] == "arm64" and shown(wanted)[2] and shown(platform)[2] not in ("", shown(wanted)[2]):
                continue  # of arm64's variants only the very one, and the plain one, are taken
            assert (best([entry(platform)], Platform.parse(wanted)) is not None) == (matches == "True"), platform


@pytest.mark.parametrize(
    "wanted, offered, chosen",
    [
        ("linux/arm", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], "linux/arm/v5"),
        ("linux/arm64", ["linux/arm64/v8", "linux/arm/v7"], "linux/arm64/v8"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], "linux/amd64/v2"),
        ("linux/amd64", ["linux/386", "windows/amd64", "linux/amd64"], "linux/amd64"),
        ("linux/x86_64", ["linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/386", "linux/arm64"], None),
        ("linux/riscv64", ["linux/riscv64"], "linux/riscv64"),
    ],
)
def test_the_best(wanted: str, offered: t.List[str], chosen: t.Optional[str]) -> None:
    found = best([entry(platform) for platform in offered], Platform.parse(wanted))
    assert (found.digest if found else None) == (entry(chosen).digest if chosen else None)


def test_attestations_are_no_images() -> None:
    attestation = entry("linux/amd64", **{"vnd.docker.reference.type": "attestation-manifest"})
    unknown = entry("unknown/unknown")
    assert best([attestation, unknown], Platform.parse("linux/amd64")) is None
    assert best([unknown], Platform("unknown", "unknown")) is None
    message = str(nothing_for(Platform.parse("linux/arm64"), [attestation, entry("linux/amd64")], "the index"))
    assert message == "the index has nothing for linux/arm64 (it has linux/amd64)"


def test_what_is_no_platform() -> None:
    for document in ({}, {"os": "linux"}, {"os": 1, "architecture": "amd64"}, {"os": "li nux", "architecture": "amd64"}):
        assert Platform.from_json(document) is None
    assert candidates(Platform.of_host())[0].os == "linux"


@pytest.mark.parametrize(
    "oci, docker",
    [
        (mediatype.OCI_MANIFEST, mediatype.DOCKER_MANIFEST),
        (mediatype.OCI_INDEX, mediatype.DOCKER_LIST),
        (mediatype.OCI_CONFIG, mediatype.DOCKER_CONFIG),
        (mediatype.OCI_LAYER, "application/vnd.docker.image.rootfs.diff.tar"),
        (mediatype.OCI_LAYER_GZIP, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        (mediatype.OCI_LAYER_ZSTD, "application/vnd.docker.image.rootfs.diff.tar.zstd"),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ),
        ("application/vnd.in-toto+json", "application/vnd.in-toto+json"),
    ],
)
def test_both_families(oci: str, docker: str) -> None:
    assert mediatype.converted(oci, docker=True) == mediatype.converted(docker, docker=True) == docker
    assert mediatype.converted(docker, docker=False) == mediatype.converted(oci, docker=False) == oci
    layer = mediatype.parse_layer(oci)
    assert layer is None or str(layer) == oci


@pytest.mark.parametrize(
    "machine, image",
    [("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("armv7l", "linux/arm/v7"), ("armv6l", "linux/arm/v6"), ("i686", "linux/386")],
)
def test_the_host_is_named_as_images_are(machine: str, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert best([entry("linux/s390x"), entry(image)], Platform.of_host()) == entry(image)

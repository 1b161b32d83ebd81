# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which manifest of an index is chosen for a platform."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.platforms import parse_platform, select_manifest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import REFERENCE_TYPE, Platform
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource, member
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.rootfs.images import image

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture(name="source")
def _source() -> MemorySource:
    return MemorySource()


def of(source: MemorySource, platform: Platform, stated: bool = True, **annotations: str) -> Descriptor:
    desc = image(source, [member(str(platform).replace("/", "-"))], platform=str(platform))
    return replace(desc, platform=platform.to_json() if stated else None, annotations=annotations)


def test_a_single_image_is_itself(source: MemorySource) -> None:
    root = of(source, ARM64)
    assert select_manifest(source, root, AMD64, given=False) is root and source.opened == []
    assert select_manifest(source, root, ARM64) is root
    with pytest.raises(InvalidError, match="is an image for linux/arm64, not for linux/amd64"):
        select_manifest(source, root, AMD64)


def test_the_one_that_fits(source: MemorySource) -> None:
    amd64, arm64 = of(source, AMD64), of(source, ARM64)
    root = source.index(amd64, arm64)
    assert select_manifest(source, root, ARM64) == arm64 and select_manifest(source, root, AMD64) == amd64
    assert source.opened == [root.digest] * 2, "stated platforms need no config"


def test_in_an_index_of_an_index(source: MemorySource) -> None:
    arm64 = of(source, ARM64)
    assert select_manifest(source, source.index(of(source, AMD64), source.index(arm64)), ARM64) == arm64


def test_without_stated_platforms_configs_tell(source: MemorySource) -> None:
    artifact = source.artifact(source.file("a", b"a"))
    root = source.index(artifact, of(source, AMD64, stated=False), of(source, ARM64, stated=False))
    assert select_manifest(source, root, ARM64) == of(source, ARM64)


def test_a_stated_platform_goes_before_a_config(source: MemorySource) -> None:
    stated = replace(of(source, ARM64), platform=AMD64.to_json())
    assert select_manifest(source, source.index(of(source, AMD64, stated=False), stated), AMD64).digest == stated.digest


def test_attestations_are_no_images(source: MemorySource) -> None:
    attestation = of(source, AMD64, **{REFERENCE_TYPE: "attestation-manifest"})
    with pytest.raises(NotFoundError, match="has nothing for linux/amd64 \\(it has linux/arm64\\)"):
        select_manifest(source, source.index(attestation, of(source, ARM64)), AMD64)


def test_documents_may_come_from_elsewhere(source: MemorySource) -> None:
    read: t.List[Descriptor] = []
    root = source.index(of(source, AMD64))
    select_manifest(source, root, AMD64, read=lambda desc: read.append(desc) or source.contents[desc.digest])
    assert read == [root] and source.opened == []


def test_words_for_platforms() -> None:
    assert parse_platform("host") == Platform.of_host() and parse_platform("linux/aarch64") == ARM64
    with pytest.raises(InvalidError, match="not a platform"):
        parse_platform("hosts")

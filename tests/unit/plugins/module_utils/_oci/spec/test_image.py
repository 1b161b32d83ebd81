# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The config of an image, and whether it fits its manifest."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest, mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.image import check_layers, has_config, parse_config

LAYER = Descriptor.of(b"layer", mediatype.OCI_LAYER)


def image(config_type: str, layers: int) -> manifest.Manifest:
    document = {
        "schemaVersion": 2,
        "config": Descriptor.of(b"{}", config_type).to_json(),
        "layers": [LAYER.to_json()] * layers,
    }
    content = json.dumps(document).encode()
    return manifest.parse(Descriptor.of(content, mediatype.OCI_MANIFEST), content)


def config(diff_ids: t.Any) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


def test_images_have_a_config_and_artifacts_and_indexes_have_none() -> None:
    index = b'{"schemaVersion":2,"manifests":[]}'
    assert has_config(image(mediatype.OCI_CONFIG, 0)) is True
    assert has_config(image("application/vnd.example.config+json", 0)) is False
    assert has_config(manifest.parse(Descriptor.of(index, mediatype.OCI_INDEX), index)) is False


@pytest.mark.parametrize("diff_ids", [{}, "", {str(LAYER.digest): 1}, str(LAYER.digest), 7])
def test_diff_ids_are_a_list(diff_ids: t.Any) -> None:
    with pytest.raises(InvalidError, match="the config has rootfs.diff_ids that are not a list"):
        parse_config(config(diff_ids), "the config")


@pytest.mark.parametrize(("diff_ids", "layers"), [(0, 1), (1, 0), (2, 1), (1, 2)])
def test_there_is_a_diff_id_for_each_layer(diff_ids: int, layers: int) -> None:
    found = parse_config(config([LAYER.digest] * diff_ids), "the config")
    with pytest.raises(InvalidError, match=f"the image has {layers} layers, and its config says {diff_ids}"):
        check_layers(found, image(mediatype.OCI_CONFIG, layers), "the image")
    check_layers(found, image(mediatype.OCI_CONFIG, diff_ids), "the image")


def test_no_diff_ids_are_none_of_them() -> None:
    assert parse_config(config(None), "the config").diff_ids == ()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON documents: manifests, indexes, configs, index.json, and the schemas."""

from __future__ import annotations

import json

from ansible_collections.lading.oci.plugins.module_utils._oci.content.names import LayoutIndex, check_oci_layout
from ansible_collections.lading.oci.plugins.module_utils._oci.runtime import merged
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import (
    image,
    manifest,
    mediatype,
    platform,
    referrers,
    schema,
    strictjson,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError

from .common import allowed


def one_input(data: bytes) -> None:
    try:
        document = strictjson.loads(data, "the document")
    except OCIError:
        return
    assert document == json.loads(data)
    assert strictjson.loads(strictjson.dumps(document), "the copy", limit=len(data) * 8 + 64) == document
    with allowed():
        assert Descriptor.parse(Descriptor.parse(document).to_json()) == Descriptor.parse(document)
    with allowed():
        check_oci_layout(data)
    with allowed():
        manifest.sniff_media_type(data, "x")
    for media_type in mediatype.ACCEPTED_MANIFESTS:
        with allowed():
            _manifest(Descriptor.of(data, media_type), data)
    for media_type in (mediatype.OCI_MANIFEST, mediatype.OCI_INDEX, mediatype.OCI_CONFIG):
        with allowed():
            schema.validate(media_type, data, "x")
    with allowed():
        _config(data)
    with allowed():
        _index(LayoutIndex.parse(data))


def _manifest(desc: Descriptor, data: bytes) -> None:
    found = manifest.parse(desc, data)
    assert set(manifest.successors(desc, data)) == {*found.layers, *found.manifests, *([found.config] if found.config else [])}
    listed = referrers.listed_as(desc, found)
    content = referrers.index_of([listed])
    assert manifest.parse(Descriptor.of(content, mediatype.OCI_INDEX), content).manifests == (listed,)
    platform.best(found.manifests, platform.Platform("linux", "amd64"))
    str(platform.nothing_for(platform.Platform("linux", "arm", "v7"), found.manifests, "x"))


def _config(data: bytes) -> None:
    config = image.parse_config(data, "the config")
    assert isinstance(config.history, list)
    merged(config.runtime, {"Env": {"A": "b"}, "Labels": {"a": None}, "ExposedPorts": ["80/tcp"], "Volumes": ["/x"], "Entrypoint": ["x"]})


def _index(index: LayoutIndex) -> None:
    root = Descriptor.of(b"{}", mediatype.OCI_MANIFEST)
    assert LayoutIndex.parse(index.to_bytes()).entries == index.entries
    index.descriptors()
    for name in [*index.names[:4], "v1"]:
        with allowed():
            index.find(name)
    with allowed():
        index.only()
    with allowed():
        index.at(0)
    with allowed():
        assert index.tagged(root, ["v1"]).find("v1") == root
    index.untagged("v1")

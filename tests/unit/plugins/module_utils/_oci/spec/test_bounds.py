# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the bounds of documents are: what is just within is taken, one more is refused."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import graph, manifest, mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import BuildError, InvalidError, printable
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.referrers import fallback_tag, listed_as
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.semver import Version


def node(number: int) -> Descriptor:
    return Descriptor(mediatype.OCI_INDEX, Digest(f"sha256:{number:064x}"), 1)


def test_a_size_is_one_of_int64() -> None:
    document = node(1).to_json()
    assert Descriptor.parse({**document, "size": 2**63 - 1}).size == 2**63 - 1
    with pytest.raises(InvalidError, match="no valid size"):
        Descriptor.parse({**document, "size": 2**63})


def test_a_graph_has_32_levels_below_its_root() -> None:
    def chain(levels: int) -> t.List[Descriptor]:
        return graph.post_order(node(0), lambda desc: [node(int(desc.digest.encoded, 16) + 1)] if desc != node(levels) else [])

    assert chain(32) == [node(number) for number in range(32, -1, -1)]
    with pytest.raises(InvalidError, match="deeper than 32 levels"):
        chain(33)


def test_a_graph_has_100000_nodes() -> None:
    below = [node(number) for number in range(1, 100_001)]
    assert len(graph.post_order(node(0), lambda desc: below[:99_999] if desc == node(0) else [])) == 100_000
    with pytest.raises(InvalidError, match="more than 100000 nodes"):
        graph.post_order(node(0), lambda desc: below if desc == node(0) else [])


def test_a_message_has_4096_characters() -> None:
    assert printable("a" * 4096) == "a" * 4096
    assert printable("a" * 4097) == "a" * 4096 + "..."
    assert (printable("abc", 3), printable("abcd", 3)) == ("abc", "abc...")


def test_the_log_of_a_build_is_printable() -> None:
    error = BuildError("it failed", ["one", "\x1b[2J"])
    assert str(error) == "it failed" and error.log == ["one", "\\x1b[2J"]


def test_depth_is_not_length() -> None:
    assert strictjson.loads(b"[" + b"[]," * 1000 + b"{}]", "it") == [*([[]] * 1000), {}]
    assert strictjson.loads(b"[" * 64 + b"]" * 64, "it")
    for deep in (b"[" * 65 + b"]" * 65, b'{"a":' * 65, b"[" * 65):
        with pytest.raises(InvalidError, match="nested deeper than 64 levels"):
            strictjson.loads(deep, "it")


def test_what_is_written_is_utf8_and_json() -> None:
    assert strictjson.dumps({"name": "é"}) == '{"name":"é"}'.encode()
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            strictjson.dumps({"number": number})


def test_a_document_of_an_unknown_media_type_is_no_manifest() -> None:
    content = b'{"schemaVersion":2,"mediaType":"text/plain"}'
    with pytest.raises(InvalidError, match="text/plain is not an image manifest or index"):
        manifest.parse(Descriptor.of(content, "text/plain"), content)


def test_layers_that_must_not_be_distributed() -> None:
    for media_type in (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ):
        assert mediatype.is_nondistributable(media_type) is True
    assert mediatype.is_nondistributable(mediatype.OCI_LAYER) is False


def test_a_fallback_tag_is_cut_at_64_characters_of_the_digest() -> None:
    assert fallback_tag(Digest("sha256:" + "a" * 63 + "b")) == "sha256-" + "a" * 63 + "b"
    assert fallback_tag(Digest("sha512:" + "a" * 63 + "b" * 65)) == "sha512-" + "a" * 63 + "b"


def test_an_index_is_listed_without_a_config() -> None:
    content = b'{"schemaVersion":2,"manifests":[],"annotations":{"a":"b"}}'
    desc = Descriptor.of(content, mediatype.OCI_INDEX)
    listed = listed_as(desc, manifest.parse(desc, content))
    assert (listed, listed.artifact_type, listed.annotations) == (desc, "", {"a": "b"})


def test_an_image_is_listed_by_its_config() -> None:
    config = Descriptor.of(b"{}", "application/vnd.example.config+json")
    content = strictjson.dumps({"schemaVersion": 2, "config": config.to_json(), "layers": []})
    desc = Descriptor.of(content, mediatype.OCI_MANIFEST)
    assert listed_as(desc, manifest.parse(desc, content)).artifact_type == config.media_type


def test_parts_of_a_version_that_are_left_out_are_0() -> None:
    assert (Version.parse("1"), Version.parse("1.2")) == (Version(1, 0, 0), Version(1, 2, 0))

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tars that are a layout and an archive of docker save at once; places of manifests in layouts."""

from __future__ import annotations

import gzip
import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.names import CONTAINERD_NAME, OCI_LAYOUT
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source
from ansible_collections.lading.oci.plugins.module_utils._oci.content.tar_source import TarSource
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest, mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import REF_NAME, Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.saved import (
    config_of,
    layer_tar,
    link,
    saved_image,
    write_saved,
    write_tar,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import store

LAYER = layer_tar("one")
PACKED = gzip.compress(LAYER)
OTHER = Descriptor.of(b"an image of another platform", mediatype.OCI_MANIFEST)


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "saved.tar"


def blob_name(content: bytes) -> str:
    return f"blobs/sha256/{Descriptor.of(content, mediatype.OCI_LAYER).digest.encoded}"


def index_json(*entries: t.Tuple[Descriptor, str]) -> bytes:
    manifests = [
        {**desc.to_json(), "annotations": {REF_NAME: name.rpartition(":")[2], CONTAINERD_NAME: name} if name else {}}
        for desc, name in entries
    ]
    return strictjson.dumps({"schemaVersion": 2, "manifests": manifests or None})


class Containerd:
    """What Docker with containerd's store saves: the image as the registry has it, under an index of two platforms, one of them absent."""

    config = config_of(LAYER)
    document = {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_MANIFEST,
        "config": Descriptor.of(config, mediatype.OCI_CONFIG).to_json(),
        "layers": [Descriptor.of(PACKED, mediatype.OCI_LAYER_GZIP).to_json()],
        "annotations": {"a": "manifest of its own"},
    }
    image = strictjson.dumps(document)
    desc = Descriptor.of(image, mediatype.OCI_MANIFEST)
    index = strictjson.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [OTHER.to_json(), desc.to_json()]})
    root = Descriptor.of(index, mediatype.OCI_INDEX)

    def write(self, path: pathlib.Path, named: Descriptor, without: t.Sequence[bytes] = ()) -> TarSource:
        blobs = [content for content in (self.config, self.image, self.index, PACKED) if content not in without]
        saved = {"Config": blob_name(self.config), "RepoTags": ["alpine:3"], "Layers": [blob_name(PACKED)]}
        files = {blob_name(content): content for content in blobs}
        files["index.json"] = index_json((named, "docker.io/library/alpine:3"))
        return TarSource(str(write_saved(path, (saved, {**files, "oci-layout": OCI_LAYOUT}))))


@pytest.mark.parametrize("name", [None, "3", "alpine:3", "docker.io/library/alpine:3", "@0"])
def test_a_whole_layout_is_preferred(path: pathlib.Path, name: t.Optional[str]) -> None:
    source = Containerd().write(path, Containerd.desc)
    assert source.resolve(name) == Containerd.desc
    assert TarSource(str(path), docker=True).resolve(name) != Containerd.desc, "docker-archive: is by manifest.json alone"


@pytest.mark.parametrize("name", [None, "3", "alpine:3"])
def test_of_an_incomplete_index_the_image_that_is_there_is_taken(path: pathlib.Path, name: t.Optional[str]) -> None:
    source = Containerd().write(path, Containerd.root)
    assert source.resolve(name) == Containerd.desc
    assert source.fetch_bytes(Descriptor.of(PACKED, mediatype.OCI_LAYER_GZIP)) == PACKED


def test_by_its_digest_an_incomplete_index_is_itself(path: pathlib.Path) -> None:
    assert Containerd().write(path, Containerd.root).resolve(Containerd.root.digest) == Containerd.root


def test_without_its_manifest_the_image_is_made_of_what_is_there(path: pathlib.Path) -> None:
    source = Containerd().write(path, Containerd.root, without=[Containerd.image])
    root = source.resolve("alpine:3")
    made = manifest.parse(root, source.fetch_bytes(root))
    assert root != Containerd.desc and made.layers == (Descriptor.of(PACKED, mediatype.OCI_LAYER_GZIP),)
    assert source.fetch_bytes(made.layers[0]) == PACKED


@pytest.mark.parametrize("manifests", [b"null", b"[]"])
@pytest.mark.parametrize("name", [None, "a:1", "@0"])
def test_an_empty_index_leaves_it_to_manifest_json(path: pathlib.Path, manifests: bytes, name: t.Optional[str]) -> None:
    """Docker 25 and later, with its own store, of an image that has no name or was built there."""
    index = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":' + manifests + b"}"
    entry, files = saved_image(LAYER, tags=["a:1"])
    write_saved(path, (entry, {**files, "index.json": index, "oci-layout": OCI_LAYOUT}))
    source = TarSource(str(path))
    root = source.resolve(name)
    assert root == TarSource(str(path), docker=True).resolve(None)
    assert source.names() == ["docker.io/library/a:1"]
    assert source.fetch_bytes(Descriptor.of(LAYER, mediatype.OCI_LAYER)) == LAYER


def test_an_image_that_only_manifest_json_has_counts(path: pathlib.Path) -> None:
    whole = Containerd()
    entry, files = saved_image(layer_tar("unnamed"))
    saved = {"Config": blob_name(whole.config), "RepoTags": ["alpine:3"], "Layers": [blob_name(PACKED)]}
    blobs = {blob_name(content): content for content in (whole.config, whole.image, PACKED)}
    index = index_json((whole.desc, "docker.io/library/alpine:3"))
    write_saved(path, (saved, blobs), (entry, files), index_json=index, **{"oci-layout": OCI_LAYOUT})
    with pytest.raises(InvalidError, match="stands for 2 images"):
        TarSource(str(path)).resolve(None)
    assert TarSource(str(path)).resolve("alpine:3") == whole.desc
    assert TarSource(str(path)).resolve("@1") == TarSource(str(path), docker=True).resolve("@1")


def test_content_of_either_side_exists(path: pathlib.Path) -> None:
    source = Containerd().write(path, Containerd.root, without=[Containerd.image])
    made = manifest.parse(source.resolve("alpine:3"), source.fetch_bytes(source.resolve("alpine:3")))
    for desc in (Containerd.root, source.resolve("alpine:3"), *made.layers):
        assert source.exists(desc) is True
    assert source.exists(OTHER) is False


def test_links_are_for_docker_save_only(path: pathlib.Path) -> None:
    entry, files = saved_image(LAYER)
    real = entry["Layers"][0]
    linked = blob_name(LAYER)
    entry["Layers"] = [linked]
    write_saved(path, (entry, {**files, linked: link(f"../../{real}")}))
    source = TarSource(str(path))
    assert source.fetch_bytes(Descriptor.of(LAYER, mediatype.OCI_LAYER)) == LAYER
    write_saved(path, (entry, {**files, linked: link(f"../../{real}"), "index.json": index_json(), "oci-layout": OCI_LAYOUT}))
    with pytest.raises(InvalidError, match="as a link or device, not as a file"):
        TarSource(str(path)).resolve(None)


def test_a_manifest_json_of_something_else_does_not_count(path: pathlib.Path) -> None:
    """image-layout.md allows any file beside the layout's own."""
    whole = Containerd()
    files = {blob_name(content): content for content in (whole.config, whole.image, PACKED)}
    files.update({"manifest.json": b'{"name": "of a web app"}', "index.json": index_json((whole.desc, "a:v1")), "oci-layout": OCI_LAYOUT})
    write_tar(path, list(files.items()))
    assert TarSource(str(path)).resolve("v1") == whole.desc
    write_tar(path, list({**files, "index.json": index_json()}.items()))
    with pytest.raises(InvalidError, match="manifest.json is not a list of images"):
        TarSource(str(path)).resolve(None)


@pytest.mark.parametrize("kind", ["folder", "tar", "source"])
def test_places_in_a_layout(tmp_path: pathlib.Path, kind: str) -> None:
    path = str(tmp_path / "layout")
    target: t.Union[Layout, Archive] = Layout(path) if kind == "folder" else Archive(path)
    roots = [store(target, [name], name.encode()) for name in ("a", "b")]
    source: Source = TarSource(path) if kind == "source" else type(target)(path)
    assert [source.resolve("@0"), source.resolve("@1"), source.resolve("@01")] == [roots[0], roots[1], roots[1]]
    with pytest.raises(NotFoundError, match="no entry @2 in the layout: it has 2, counted from @0"):
        source.resolve("@2")
    with pytest.raises(InvalidError, match="not a ref name"):
        store(target, ["@0"], b"c")


def test_a_place_that_is_no_manifest(tmp_path: pathlib.Path) -> None:
    store(Layout(str(tmp_path)), ["a"], b"a")
    index = json.loads((tmp_path / "index.json").read_text())
    index["manifests"].append({**Descriptor.of(b"x", "application/xml").to_json()})
    index["manifests"].append({"mediaType": "application/xml"})
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(InvalidError, match="is application/xml, not an image manifest or index"):
        Layout(str(tmp_path)).resolve("@1")
    with pytest.raises(InvalidError, match="the entry @2 of index.json has no valid size"):
        Layout(str(tmp_path)).resolve("@2")

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every Target keeps, whatever it writes to: one class of tests, run on Layout, Archive and Repository."""

from __future__ import annotations

import io
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Incoming, Target, VerifyingReader, bytes_opener
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import MismatchError, NotFoundError

BLOB = b"some layer" * 1000


def image(*layers: bytes, **annotations: str) -> t.Tuple[Descriptor, bytes, t.List[t.Tuple[Descriptor, bytes]]]:
    """An image manifest over the layers: its descriptor, its bytes, and its blobs."""
    config = strictjson.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
    blobs = [(Descriptor.of(config, mediatype.OCI_CONFIG), config)]
    blobs += [(Descriptor.of(layer, mediatype.OCI_LAYER), layer) for layer in layers]
    document = {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_MANIFEST,
        "config": blobs[0][0].to_json(),
        "layers": [desc.to_json() for desc, _content in blobs[1:]],
        "annotations": annotations,
    }
    content = strictjson.dumps(document)
    return Descriptor.of(content, mediatype.OCI_MANIFEST), content, blobs


def store(target: Target, references: t.Sequence[str], *layers: bytes, **annotations: str) -> Descriptor:
    """Write an image under the references, as a copy does."""
    root, content, blobs = image(*layers, **annotations)
    descs = [desc for desc, _content in blobs]
    missing = [desc for desc in [*descs, root] if not target.exists(desc)]
    kept = [desc for desc in descs if desc not in missing]
    with target.receiving(Incoming(root, tuple(references), tuple(missing), tuple(kept))):
        for desc, blob in blobs:
            if desc in missing:
                target.push(desc, bytes_opener(desc, blob))
        target.tag(root, content, references)
    return root


class TargetContract:
    """Subclasses give ``target()``: a new object over one and the same store, empty at first."""

    def target(self) -> Target:
        raise NotImplementedError

    def test_what_was_stored_is_read_back(self) -> None:
        root = store(self.target(), ["v1"], BLOB)
        reader = self.target()
        assert reader.resolve("v1") == root
        assert reader.resolve(root.digest) == root
        layer = Descriptor.of(BLOB, mediatype.OCI_LAYER)
        assert reader.exists(layer)
        assert reader.fetch_bytes(layer) == BLOB
        with reader.fetch(layer) as stream:
            assert stream.read(4) == BLOB[:4]

    def test_absent_names_and_content(self) -> None:
        store(self.target(), ["v1"], BLOB)
        absent = Descriptor.of(b"absent", mediatype.OCI_LAYER)
        assert self.target().lookup("v2") is None
        assert not self.target().exists(absent)
        with pytest.raises(NotFoundError):
            self.target().resolve("v2")
        with pytest.raises(NotFoundError):
            self.target().fetch_bytes(absent)

    def test_an_empty_store_has_nothing(self) -> None:
        assert self.target().lookup("v1") is None
        assert not self.target().exists(Descriptor.of(BLOB, mediatype.OCI_LAYER))

    def test_several_names_at_once(self) -> None:
        root = store(self.target(), ["v1", "latest"], BLOB)
        assert self.target().resolve("v1") == self.target().resolve("latest") == root

    def test_a_name_moves(self) -> None:
        first = store(self.target(), ["v1", "old"], BLOB)
        second = store(self.target(), ["v1"], BLOB, b"another layer")
        assert self.target().resolve("v1") == second
        assert self.target().resolve("old") == first
        assert self.target().fetch_bytes(Descriptor.of(b"another layer", mediatype.OCI_LAYER)) == b"another layer"

    def test_without_a_name_the_digest_reaches_it(self) -> None:
        root = store(self.target(), [], BLOB)
        assert self.target().resolve(root.digest) == root

    def test_what_is_deleted_goes_with_all_its_names(self) -> None:
        root = store(self.target(), ["v1", "v2"], BLOB)
        other = store(self.target(), ["v3"], b"another")
        self.target().delete(root)
        assert self.target().lookup("v1") is None and self.target().lookup("v2") is None and self.target().lookup(root.digest) is None
        assert self.target().resolve("v3") == other
        self.target().delete(root)

    def test_storing_again_is_no_error(self) -> None:
        assert store(self.target(), ["v1"], BLOB) == store(self.target(), ["v1"], BLOB)

    def test_an_empty_blob_is_legal(self) -> None:
        store(self.target(), ["v1"], b"")
        assert self.target().fetch_bytes(Descriptor.of(b"", mediatype.OCI_LAYER)) == b""

    @pytest.mark.parametrize("content", [b"wrong bytes!", b"short", b"longer than it ought to be"], ids=["digest", "short", "long"])
    def test_wrong_content_is_refused_and_not_stored(self, content: bytes) -> None:
        store(self.target(), ["v1"], BLOB)
        desc = Descriptor.of(b"right bytes!", mediatype.OCI_LAYER)
        root, manifest, _blobs = image(b"right bytes!")
        with pytest.raises(MismatchError):
            target = self.target()
            with target.receiving(Incoming(root, ("v1",), (desc, root))):
                target.push(desc, lambda: VerifyingReader(desc, io.BytesIO(content)))
                target.tag(root, manifest, ["v1"])
        assert not self.target().exists(desc)
        assert self.target().resolve("v1") == image(BLOB)[0]

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.names import CONTAINERD_NAME, LayoutIndex
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Incoming
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import REF_NAME, Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import BLOB, store

A = Descriptor.of(b"a", mediatype.OCI_MANIFEST)
B = Descriptor.of(b"b", mediatype.OCI_INDEX)


def entry(desc: Descriptor, ref: t.Optional[str] = None, image: t.Optional[str] = None) -> t.Dict[str, t.Any]:
    annotations = {key: value for key, value in ((REF_NAME, ref), (CONTAINERD_NAME, image)) if value}
    return {**desc.to_json(), "annotations": annotations}


def index(*entries: t.Dict[str, t.Any]) -> LayoutIndex:
    return LayoutIndex.parse(json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode())


def test_null_manifests_are_none() -> None:
    found = LayoutIndex.parse(b'{"schemaVersion":2,"manifests":null}')
    assert found.entries == [] and found.find("v1") is None
    with pytest.raises(NotFoundError, match="empty"):
        found.only()


@pytest.mark.parametrize(
    "document",
    [
        {"schemaVersion": 1, "manifests": []},
        {"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, "manifests": []},
        {"schemaVersion": 2, "manifests": [], "layers": []},
        {"schemaVersion": 2, "manifests": {}},
        {"schemaVersion": 2, "manifests": ["v1"]},
    ],
)
def test_documents_that_are_no_index(document: t.Dict[str, t.Any]) -> None:
    with pytest.raises(InvalidError):
        LayoutIndex.parse(json.dumps(document).encode())


def test_the_same_name_with_one_digest_is_fine() -> None:
    found = index(entry(A, "1", "docker.io/library/a:1"), entry(A, "1", "docker.io/library/b:1")).find("1")
    assert found == A


def test_the_same_name_with_two_digests_names_both() -> None:
    with pytest.raises(InvalidError) as caught:
        index(entry(A, "v1"), entry(B, "v1")).find("v1")
    assert A.digest in str(caught.value) and B.digest in str(caught.value)


def test_an_image_name_tells_equal_tags_apart() -> None:
    both = index(entry(A, "1", "docker.io/library/a:1"), entry(B, "1", "docker.io/library/b:1"))
    assert both.find("docker.io/library/b:1") == B


@pytest.mark.parametrize("reference", ["foo/bar:1.0", "1.0", "2", "other:2", "foo/bar:1.0,other:2"])
def test_names_of_older_buildkit(reference: str) -> None:
    assert index(entry(B, "v1"), entry(A, "foo/bar:1.0,other:2")).find(reference) == A


def test_an_exact_name_beats_the_tag_of_a_full_one() -> None:
    assert index(entry(A, "example.com/app:v1"), entry(B, "v1")).find("v1") == B


def test_no_tag_is_taken_from_a_port() -> None:
    assert index(entry(A, "localhost:5000/app")).find("5000/app") is None


def test_the_only_manifest_needs_no_name() -> None:
    assert index(entry(A, "v1"), entry(A, "v2")).only() == A
    with pytest.raises(InvalidError, match="v1, v2"):
        index(entry(A, "v1"), entry(B, "v2")).only()


def test_a_digest_that_is_none() -> None:
    """Found by fuzzing: it was a key of a set, whatever it was."""
    for digest in ({}, [], None, 1):
        with pytest.raises(InvalidError, match="not a digest"):
            index({**entry(A), "digest": digest}).only()


def test_names_are_sorted_in() -> None:
    one = LayoutIndex().tagged(A, ["b"]).tagged(B, ["a"]).tagged(A, ["c"])
    other = LayoutIndex().tagged(A, ["c", "b"]).tagged(B, ["a"])
    assert one.names == ["a", "b", "c"]
    assert one.to_bytes() == other.to_bytes()


def test_retagging_replaces_every_entry_of_that_name() -> None:
    moved = index(entry(A, "v1", "docker.io/library/a:v1"), entry(A, "v1"), entry(A, "v2")).tagged(B, ["v1"])
    assert moved.find("v1") == B and moved.find("v2") == A and len(moved.entries) == 2


def test_tagging_what_is_tagged_is_the_same_object() -> None:
    found = index(entry(A, "v1"))
    assert found.tagged(A, ["v1"]) is found
    assert found.tagged(A, []) is found
    assert found.untagged("v2") is found


@pytest.mark.parametrize("reference", ["a,b", "-x", "x/", "a//b", "sha256:" + "0" * 64, "", "x\ny"])
def test_names_that_must_not_be_written(reference: str) -> None:
    with pytest.raises(InvalidError):
        LayoutIndex().tagged(A, [reference])


@pytest.mark.parametrize(("count", "more"), [(10, ""), (11, " and 1 more"), (13, " and 3 more")])
def test_ten_names_are_shown_and_the_others_counted(count: int, more: str) -> None:
    names = [f"n{number:02}" for number in range(count)]
    shown = str(index(*(entry(A, name) for name in names)).not_found("absent"))
    assert shown.endswith(f"(it has {', '.join(names[:10])}{more})")


def test_what_many_indexes_list_is_read_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 levels that list the next one twice each: 4096 ways to the last."""
    layout = Layout(str(tmp_path / "layout"))
    last = store(layout, ["v1"], BLOB)
    below = last
    for _level in range(12):
        manifests = [below.to_json(), {**below.to_json(), "annotations": {"a": "b"}}]
        content = strictjson.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": manifests})
        below = Descriptor.of(content, mediatype.OCI_INDEX)
        with layout.receiving(Incoming(below, ("deep",), (below,))):
            layout.tag(below, content, ["deep"])
    layout.untag("v1")
    read: t.List[Descriptor] = []
    fetch = Layout.fetch_bytes
    monkeypatch.setattr(Layout, "fetch_bytes", lambda self, desc: read.append(desc) or fetch(self, desc))  # type: ignore[func-returns-value]
    found = [desc.digest for desc in Layout(str(tmp_path / "layout")).under(below)]
    assert len(found) == len(set(found)) == 12 + 3, "the indexes, the manifest, its config and its layer"
    assert len(read) == 13

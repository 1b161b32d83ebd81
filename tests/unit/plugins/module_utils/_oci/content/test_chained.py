# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.chained import Chained
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import MismatchError, NotFoundError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import BLOB, store

LAYER = Descriptor.of(BLOB, mediatype.OCI_LAYER)


def test_content_is_the_firsts_that_has_it(tmp_path: pathlib.Path) -> None:
    first, second = MemorySource(), MemorySource()
    layout = Layout(str(tmp_path / "layout"))
    store(layout, ["v1"], BLOB)
    mine, theirs, both = first.add(b"mine"), second.add(b"theirs"), first.add(b"both")
    second.add(b"both")
    chained = Chained([Layout(str(tmp_path / "absent")), first, layout, second])
    assert [chained.fetch_bytes(desc) for desc in (mine, theirs, both, LAYER)] == [b"mine", b"theirs", b"both", BLOB]
    assert both.digest in first.opened and both.digest not in second.opened
    assert all(map(chained.exists, (mine, theirs, both, LAYER)))
    assert chained._open(theirs).read(10) == b"theirs"


def test_what_none_has(tmp_path: pathlib.Path) -> None:
    absent = Descriptor.of(b"absent", mediatype.OCI_LAYER)
    layout = Layout(str(tmp_path / "layout"))
    store(layout, ["v1"], BLOB)
    layout.location = "source it"
    chained = Chained([MemorySource(), layout])
    assert not chained.exists(absent) and not Chained([]).exists(absent)
    with pytest.raises(NotFoundError, match="^source it: "):
        chained.fetch(absent)
    with pytest.raises(NotFoundError, match=absent.digest):
        Chained([]).fetch(absent)


def test_a_damaged_blob_in_one_store_is_read_from_the_next(tmp_path: pathlib.Path) -> None:
    layout, whole = Layout(str(tmp_path / "layout")), Layout(str(tmp_path / "whole"))
    store(layout, ["v1"], BLOB)
    store(whole, ["v1"], BLOB)
    blob = tmp_path / "layout" / "blobs" / "sha256" / LAYER.digest.encoded
    blob.chmod(0o644)
    blob.write_bytes(BLOB[:-1])
    assert Chained([layout, whole]).fetch_bytes(LAYER) == BLOB


def test_the_error_while_reading_names_the_store(tmp_path: pathlib.Path) -> None:
    layout = Layout(str(tmp_path / "layout"))
    store(layout, ["v1"], BLOB)
    blob = tmp_path / "layout" / "blobs" / "sha256" / LAYER.digest.encoded
    blob.chmod(0o644)
    blob.write_bytes(b"x" * len(BLOB))
    layout.location = "source it"
    with pytest.raises(MismatchError, match="^source it: "):
        Chained([MemorySource(), layout]).fetch_bytes(LAYER)


def test_reading_goes_on_in_the_store_that_has_it(tmp_path: pathlib.Path) -> None:
    layout = Layout(str(tmp_path / "layout"))
    store(layout, ["v1"], BLOB)
    assert Chained([MemorySource(), layout])._open_at(LAYER, 7).read(10) == BLOB[7:17]

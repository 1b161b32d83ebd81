# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""New content over a store: what was added, what is the base's, and what nobody has."""

from __future__ import annotations

from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Overlay, Spool
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource


def test_what_was_added_is_there_beside_the_base() -> None:
    base = MemorySource()
    below = base.add(b"below")
    added, absent = Descriptor.of(b"added", "text/plain"), Descriptor.of(b"absent", "text/plain")
    overlay = Overlay(base)
    overlay.add_bytes(added, b"added")
    assert [overlay.exists(desc) for desc in (added, below, absent)] == [True, True, False]
    assert [overlay.made(desc) for desc in (added, below, absent)] == [True, False, False]
    assert [overlay.fetch_bytes(desc) for desc in (added, below)] == [b"added", b"below"]
    assert base.opened == [below.digest]
    assert [overlay._open_at(desc, 2).read(9) for desc in (added, below)] == [b"ded", b"low"]


def test_a_spool_that_keeps_nothing_takes_everything() -> None:
    with Spool(None).open() as file:
        assert file.writable() and file.write(b"content") == 7

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Eight processes write eight refs into one layout at the same time: none is lost, and readers always see a whole layout."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import store

WRITERS, ROUNDS = 8, 10
Store = t.Union[Layout, Archive]


def write(kind: t.Type[Store], path: str, source: str, name: str) -> t.Optional[str]:
    """One writer, as a process of its own; the words of its error."""
    layout, target = Layout(source), kind(path)
    try:
        apply_copy(plan_copy(layout, layout.resolve(name), target, [name]), layout, target)
    except OCIError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind, suffix", [(Layout, ""), (Archive, ".tar")], ids=["folder", "tar"])
def test_no_ref_is_lost(kind: t.Type[Store], suffix: str, tmp_path: pathlib.Path) -> None:
    source, names = str(tmp_path / "source"), [f"r{number}" for number in range(WRITERS)]
    for name in names:
        store(Layout(source), [name], name.encode() * 1000, b"shared" * 1000)
    with multiprocessing.get_context("fork").Pool(WRITERS) as pool:
        for number in range(ROUNDS):
            path = str(tmp_path / f"target{number}{suffix}")
            errors = pool.starmap(write, [(kind, path, source, name) for name in names], chunksize=1)
            assert errors == [None] * WRITERS
            target = kind(path)
            assert target.index.names == names
            for desc in target._reachable(target.index.descriptors()):
                target.fetch_bytes(desc)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".lading-")]

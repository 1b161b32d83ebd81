# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The good ways: a harness in which nothing succeeds would call everything refused."""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

import clients
import pytest
import tally as tallies
from clients import ARCHIVE, LAYOUT, REGISTRY, Place

PAIRS = [(LAYOUT, REGISTRY), (ARCHIVE, REGISTRY), (REGISTRY, LAYOUT), (REGISTRY, ARCHIVE), (LAYOUT, LAYOUT), (REGISTRY, REGISTRY)]


@pytest.fixture(name="artifact")
def _artifact(tmp_path: pathlib.Path, registry: t.Any) -> t.Dict[str, Place]:
    """The same artifact as a folder, a tar and in a registry."""
    (tmp_path / "a.txt").write_text("content")
    builder = clients.Ours(tmp_path / "builder")
    host = f"{registry.host}/controls/{tmp_path.name.lower().replace('_', '-')}"
    places = {
        LAYOUT: Place(LAYOUT, str(tmp_path / "layout")),
        ARCHIVE: Place(ARCHIVE, str(tmp_path / "layout.tar")),
        REGISTRY: Place(REGISTRY, host),
    }
    done = builder.module(
        "oci_layout_build",
        {
            "path": places[LAYOUT].name,
            "tag": "v1",
            "artifact_type": "application/vnd.lading.test",
            "files": [{"src": str(tmp_path / "a.txt")}],
        },
    )
    assert done.succeeded, done.output
    for kind in (ARCHIVE, REGISTRY):
        done = builder.copy(places[LAYOUT], places[kind])
        assert done.succeeded, done.output
    return places


@pytest.mark.parametrize("source, destination", PAIRS)
def test_copy(
    source: str, destination: str, client_class: t.Type[clients.Client], artifact: t.Dict[str, Place], tmp_path: pathlib.Path
) -> None:
    place = artifact[destination]
    name = (
        place.name + "/other"
        if destination == REGISTRY
        else str(pathlib.Path(place.name).with_name("other" + pathlib.Path(place.name).suffix))
    )
    new = Place(destination, name)
    done = client_class(tmp_path / "client").copy(artifact[source], new)
    if done is not None:
        assert done.succeeded, done.output


@pytest.mark.parametrize("source", [LAYOUT, ARCHIVE, REGISTRY])
def test_pull(source: str, client_class: t.Type[clients.Client], artifact: t.Dict[str, Place], tmp_path: pathlib.Path) -> None:
    done = client_class(tmp_path / "client").pull(artifact[source], str(tmp_path / "out"))
    if done is not None:
        assert done.succeeded, done.output
        assert [path.read_text() for path in (tmp_path / "out").rglob("a.txt")] == ["content"]


def test_a_run_that_hangs_is_ended(tmp_path: pathlib.Path) -> None:
    done = clients.run(["sleep", "60"], 0.5, {"PATH": "/usr/bin:/bin"})
    assert done.timed_out and not done.succeeded and done.seconds < 10


def test_counts_add_up(tmp_path: pathlib.Path) -> None:
    counts = tallies.Tally(tmp_path / "counts")
    counts.add(tallies.FAULTS, True, "one")
    counts.add(tallies.FAULTS, False, "two", why="it did not")
    counts.inapplicable(tallies.FAULTS, "three", "lading.oci")
    assert tallies.table(tallies.read(counts.path)) == ["lading.oci: 2 faults injected, 1 survived, 1 not applicable"]
    assert [json.loads(line)["case"] for line in counts.path.read_text().splitlines()] == ["one", "two", "three"]


def test_the_peak_of_memory_is_the_programs_own(tmp_path: pathlib.Path) -> None:
    ours = bytearray(300 * 1024 * 1024)
    done = clients.run([sys.executable, "-c", "import time; x = bytearray(b'x' * 64 * 1024 * 1024); time.sleep(0.2)"], 60, {})
    assert done.succeeded and 64 < done.peak_mib < 250 and len(ours) > 0

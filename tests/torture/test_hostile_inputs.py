# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hostile artifacts and images, pulled and unpacked: rows 1 to 14, 16 and 17 of the table of threats."""

from __future__ import annotations

import pathlib
import typing as t

import clients
import pytest
import tally as tallies
from hostile import documents, good, layouts, members, tars, titles
from hostile.bench import Bench
from hostile.case import Case, Stage

CASES = [*titles.CASES, *members.CASES, *layouts.CASES, *documents.CASES, *tars.CASES, *good.CASES]


def test_names_are_told_apart() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) and len(names) > 400


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_input(
    case: Case,
    client_class: t.Type[clients.Client],
    registry: t.Any,
    report: t.Callable[..., None],
    tally: tallies.Tally,
    tmp_path: pathlib.Path,
) -> None:
    """Threat rows 1 to 30 and 64, each by the number in the name of its cases."""
    stage = Stage(Bench(tmp_path), registry.host)
    problems = stage.play(case, client_class(tmp_path / "home", limit=60))
    if problems is None:
        tally.inapplicable(tallies.INPUTS, case.name, client_class.name)
        return
    report(tallies.INPUTS, problems, case.name)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/threats.md names a test for every row, and every test that it names is there."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = range(1, 74)
_ROW = re.compile(r"^\| (\d+) \|.*\|(.*)\|$", re.MULTILINE)
_TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
_DEFINITION = re.compile(r"^\s*def (test_\w+)", re.MULTILINE)


def definitions() -> set[tuple[str, str]]:
    return {(file.name, name) for file in (ROOT / "tests").rglob("test_*.py") for name in _DEFINITION.findall(file.read_text())}


def test_every_row_has_tests_that_are_there() -> None:
    there, rows = definitions(), _ROW.findall((ROOT / "docs" / "threats.md").read_text())
    assert [int(number) for number, _tests in rows] == list(ROWS)
    for number, cell in rows:
        named = _TEST.findall(cell)
        assert named, f"row {number} names no test"
        assert not set(named) - there, f"row {number} names tests that are not there: {sorted(set(named) - there)}"

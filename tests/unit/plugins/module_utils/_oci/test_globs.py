# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.globs import Glob, any_matches, globs
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError


@pytest.mark.parametrize(
    ("pattern", "title", "expected"),
    [
        ("a", "a", True),
        ("a", "A", False),
        ("a", "x/a", False),
        ("*", "a.txt", True),
        ("*", ".hidden", True),
        ("*", "x/a", False),
        ("*.txt", "a.txt", True),
        ("x/*.txt", "x/a.txt", True),
        ("x/*.txt", "x/y/a.txt", False),
        ("?", "ab", False),
        ("[ab].c", "b.c", True),
        ("[!ab].c", "b.c", False),
        ("**", "x/y/z", True),
        ("**/*.txt", "a.txt", True),
        ("**/*.txt", "x/y/a.txt", True),
        ("x/**", "x/y/z", True),
        ("x/**", "x", True),
        ("x/**", "xy/z", False),
        ("x/**/z", "x/z", True),
        ("x/**/z", "x/1/2/z", True),
        ("x/**/z", "x/1/2/y", False),
        ("**/y/**/z", "1/y/2/z", True),
        ("a**", "ab", True),
        ("a**", "a/b", False),
        ("nothing/**", "x", False),
    ],
)
def test_whole_titles(pattern: str, title: str, expected: bool) -> None:
    assert Glob(pattern).matches(tuple(title.split("/"))) is expected


@pytest.mark.parametrize("pattern", ["", "/a", "a/", "a//b", "../a", "./a"])
def test_what_can_match_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidError, match="can match no title"):
        globs(["a", pattern])


def test_any_of_them() -> None:
    assert any_matches(globs(["a", "b"]), ("b",)) and not any_matches(globs([]), ("b",))


def test_a_hostile_title_takes_no_time() -> None:
    started = time.monotonic()
    assert not Glob("/".join(["**", "a"] * 12 + ["b"])).matches(("a",) * 2000)
    assert time.monotonic() - started < 5

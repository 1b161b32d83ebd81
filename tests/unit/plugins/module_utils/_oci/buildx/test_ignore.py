# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.ignore import IgnorePatterns
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError

# pattern lines, path, whether it is left out
CASES = [
    ("", "a", False),
    ("*.log", "a.log", True),
    ("*.log", "sub/a.log", False),
    ("**/*.log", "sub/deep/a.log", True),
    ("**/*.log", "a.log", True),
    ("/a", "a", True),
    ("a/", "a/b/c", True),
    ("a", "ab", False),
    ("a?c", "abc", True),
    ("a?c", "a/c", False),
    ("[a-c]x", "bx", True),
    ("[^a]x", "ax", False),
    ("\\*", "*", True),
    ("\\*", "a", False),
    ("# no", "# no", False),
    ("a\n!a/keep", "a/keep", False),
    ("a\n!a/keep", "a/other", True),
    ("*\n!src", "src/main.c", False),
    ("*\n!src", "docs/x", True),
    ("!a\na", "a", True),
    ("a/**", "a/b", True),
    ("a/**", "a", False),
    ("a/../b", "b", True),
    ("  spaced  ", "spaced", True),
    (".", "a", False),
    ("**", "a/b", True),
    ("a.b", "axb", False),
    ("(x)", "(x)", True),
]


@pytest.mark.parametrize(("lines", "path", "left_out"), CASES)
def test_what_is_left_out(lines: str, path: str, left_out: bool) -> None:
    assert IgnorePatterns.parse(lines.encode()).ignores(path) is left_out


def test_a_byte_order_mark_is_no_part_of_the_first_pattern() -> None:
    assert IgnorePatterns.parse(b"\xef\xbb\xbfa\n").ignores("a")


@pytest.mark.parametrize("line", ["[a", "!", "a[\\"])
def test_a_bad_pattern_is_named(line: str) -> None:
    with pytest.raises(InvalidError) as caught:
        IgnorePatterns.parse(f"fine\n{line}\n".encode())
    assert "line 2" in str(caught.value)


def test_many_wildcards_take_no_long_time() -> None:
    patterns = IgnorePatterns.parse(b"*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b\n")
    assert not patterns.ignores("a" * 2000)


@pytest.mark.parametrize(("lines", "skips"), [("a", True), ("a\n!a/x", False), ("a\n!b", True), ("a\n!**/x", False)])
def test_a_left_out_folder_without_exceptions_is_not_walked(lines: str, skips: bool) -> None:
    assert IgnorePatterns.parse(lines.encode()).skips_below("a") is skips

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions in tags, their order, and ranges of them."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.semver import Range, Version
from ansible_collections.lading.oci.plugins.module_utils._oci.tag_selection import parse_filter

RANGES = [
    (">=1.2 <2", "1.2 1.2.0 1.9.9 v1.5", "1.1.9 2.0.0 2.0.0-rc1 1.5.0-alpha"),
    (">= 1.2, < 2", "1.3.0", "2.0.0"),
    ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0 2.0.0-rc.1"),
    ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
    ("^0.0.3", "0.0.3", "0.0.4 0.1.0"),
    ("^0", "0.0.0 0.9.1", "1.0.0"),
    ("~1.2", "1.2.0 1.2.9", "1.3.0"),
    ("~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"),
    ("~1", "1.0.0 1.9.0", "2.0.0"),
    ("1.x", "1.0.0 1.9.9", "2.0.0 0.9.9"),
    ("*", "0.0.1 9.9.9", "1.0.0-rc1"),
    ("1.2 - 1.4", "1.2.0 1.4.9", "1.5.0 1.1.0"),
    ("1.2.3 - 1.4.0", "1.2.3 1.4.0", "1.4.1"),
    (">1.2", "1.3.0", "1.2.0 1.2.9"),
    (">1.2.3", "1.2.4", "1.2.3"),
    ("<=1.2", "1.2.9 0.1.0", "1.3.0"),
    ("<=1.2.3", "1.2.3 1.2.2", "1.2.4"),
    ("1.2.3", "1.2.3", "1.2.4 1.2.2 1.2.3-rc1"),
    ("=1.2.3-rc.1", "1.2.3-rc.1", "1.2.3 1.2.3-rc.2"),
    (">=1.2.3-rc.1", "1.2.3-rc.1 1.2.3-rc.2 1.2.3 1.3.0", "1.2.3-beta 1.3.0-rc.1"),
    ("1.x || >=3", "1.1.0 3.0.0 4.0.0", "2.0.0"),
]


def version(text: str) -> Version:
    found = Version.parse(text)
    assert found is not None, text
    return found


@pytest.mark.parametrize("text, inside, outside", RANGES)
def test_ranges(text: str, inside: str, outside: str) -> None:
    found = Range(text)
    assert [one for one in inside.split() if version(one) not in found] == []
    assert [one for one in outside.split() if version(one) in found] == []


def test_order() -> None:
    """semver.org 2.0.0, "Precedence"."""
    texts = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1 1.1.0 2.0.0"
    versions = [version(text) for text in texts.split()]
    assert sorted(versions, reverse=True)[::-1] == versions


@pytest.mark.parametrize("text", ["latest", "1.2.3.4", "01.2.3", "1.2.3-", "v", "", "1.2.3\n", "\u0661.2.3"])
def test_no_versions(text: str) -> None:
    assert Version.parse(text) is None


@pytest.mark.parametrize("text", ["", ">=", "latest", "1.2 ||", ">=1.2 <two", ">*"])
def test_no_ranges(text: str) -> None:
    with pytest.raises(InvalidError, match="not a range of versions"):
        Range(text)


@pytest.mark.parametrize(
    "text, tags",
    [
        (None, ["v1.0", "v1.2.0", "v1.2.0-rc1", "latest"]),
        ("semver:>=1.1", ["v1.2.0"]),
        (r"v1\..*", ["v1.0", "v1.2.0", "v1.2.0-rc1"]),
        ("v1", []),
    ],
)
def test_filters(text: t.Optional[str], tags: t.List[str]) -> None:
    matches = parse_filter(text)
    assert [tag for tag in ("v1.0", "v1.2.0", "v1.2.0-rc1", "latest", "sha256-" + "a" * 64) if matches(tag)] == tags


def test_no_filter() -> None:
    with pytest.raises(InvalidError, match="not a regular expression"):
        parse_filter("(")

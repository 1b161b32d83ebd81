# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter oci_platform: names of platforms as images have them."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.lading.oci.plugins.filter.oci_platform import FilterModule

oci_platform = FilterModule().filters()["oci_platform"]


@pytest.mark.parametrize(
    ("arguments", "platform"),
    [
        (("x86_64",), "linux/amd64"),
        (("aarch64",), "linux/arm64"),
        (("armv7l",), "linux/arm/v7"),
        (("ppc64le",), "linux/ppc64le"),
        (("linux/x86_64",), "linux/amd64"),
        (("linux/arm64/v8",), "linux/arm64"),
        (("arm64", "Darwin"), "darwin/arm64"),
        (("linux/arm64", "windows"), "linux/arm64"),
    ],
)
def test_platforms(arguments: t.Tuple[str, ...], platform: str) -> None:
    assert oci_platform(*arguments) == platform and oci_platform(*arguments).__class__ is str


@pytest.mark.parametrize("arguments", [("",), ("linux/",), ("a b",), (None,), (5,), ("x86_64", None), ("x86_64", "a/b/c"), ("x86_64\n",)])
def test_what_is_none(arguments: t.Tuple[t.Any, ...]) -> None:
    with pytest.raises(AnsibleFilterError, match="not a platform"):
        oci_platform(*arguments)

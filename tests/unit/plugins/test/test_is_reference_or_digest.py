# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tests ``is oci_reference`` and ``is oci_digest``."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.lading.oci.plugins.test import oci_digest, oci_reference

DIGEST = "sha256:" + "0" * 64
is_reference = oci_reference.TestModule().tests()["oci_reference"]
is_digest = oci_digest.TestModule().tests()["oci_digest"]


@pytest.mark.parametrize("text", ["localhost/app", f"registry.example.com:5000/team/app:v1@{DIGEST}", "docker://ghcr.io/a/b:1", "oci:a:v1"])
def test_references(text: str) -> None:
    assert is_reference(text) is True


@pytest.mark.parametrize("value", ["alpine:3", "", "localhost/App", "localhost/app:", "dir:/a", "oci:", "localhost/a\n", None, 5, [], {}])
def test_what_is_no_reference(value: t.Any) -> None:
    assert is_reference(value) is False


@pytest.mark.parametrize("text", [DIGEST, "sha512:" + "af" * 64])
def test_digests(text: str) -> None:
    assert is_digest(text) is True


@pytest.mark.parametrize(
    "value",
    ["", "sha256:", DIGEST[:-1], DIGEST + "0", DIGEST + "\n", DIGEST.upper(), "sha256:" + "A" * 64, "md5:" + "0" * 32, None, 5, [DIGEST]],
)
def test_what_is_no_digest(value: t.Any) -> None:
    assert is_digest(value) is False

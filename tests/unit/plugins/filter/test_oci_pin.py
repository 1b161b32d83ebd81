# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter oci_pin: references with digests."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.lading.oci.plugins.filter.oci_pin import FilterModule

DIGEST, OTHER = "sha256:" + "0" * 64, "sha512:" + "1" * 128
oci_pin = FilterModule().filters()["oci_pin"]


@pytest.mark.parametrize(
    ("text", "pinned", "with_tag"),
    [
        ("localhost:5000/app:v1", "localhost:5000/app", "localhost:5000/app:v1"),
        ("localhost:5000/app", "localhost:5000/app", "localhost:5000/app"),
        (f"localhost:5000/app:v1@{OTHER}", "localhost:5000/app", "localhost:5000/app:v1"),
        ("docker.io/alpine:3", "docker.io/library/alpine", "docker.io/library/alpine:3"),
        ("oci:layout", "oci:layout", "oci:layout"),
        (f"oci-archive:a.tar@{OTHER}", "oci-archive:a.tar", "oci-archive:a.tar"),
    ],
)
def test_pinned(text: str, pinned: str, with_tag: str) -> None:
    assert oci_pin(text, DIGEST) == f"{pinned}@{DIGEST}" and oci_pin(text, DIGEST).__class__ is str
    assert oci_pin(text, DIGEST, keep_tag=True) == f"{with_tag}@{DIGEST}"
    assert oci_pin(oci_pin(text, DIGEST), DIGEST) == oci_pin(text, DIGEST)


@pytest.mark.parametrize("text", ["oci:layout:v1", "oci-archive:a.tar:v1", "docker-archive:a.tar:app:v1"])
def test_a_layout_has_one_of_both(text: str) -> None:
    path = ":".join(text.split(":")[:2])
    assert oci_pin(text, DIGEST) == f"{path}@{DIGEST}"
    with pytest.raises(AnsibleFilterError, match="a ref or a digest"):
        oci_pin(text, DIGEST, keep_tag=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("alpine", DIGEST), "not a fully qualified reference"),
        (("localhost/app", "sha256:0"), "not a digest that can be verified"),
        (("localhost/app", "v1"), "not a digest that can be verified: 'v1'"),
        (("localhost/app", None), "not a digest that can be verified: 'None'"),
        ((None, DIGEST), "not a reference: None"),
        (("localhost/app:v1", DIGEST, "no"), "keep_tag is true or false, not 'no'"),
    ],
)
def test_what_makes_no_sense(arguments: t.Tuple[t.Any, ...], says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says):
        oci_pin(*arguments)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts that people and registries write: references, digests, tags, titles, platforms, versions, times."""

from __future__ import annotations

from ansible_collections.lading.oci.plugins.module_utils._oci.globs import Glob
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import platform, reference, semver, timestamp
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.titles import check_link, parse_member, parse_title

from .common import allowed


def one_input(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with allowed():
        found = reference.parse(text)
        if isinstance(found, reference.RegistryReference):
            assert reference.parse(str(found)) == found
    with allowed():
        reference.parse("oci:/x", text)
    with allowed():
        assert reference.image_name(reference.image_name(text)) == reference.image_name(text)
    for check in (reference.check_tag, reference.check_ref_name):
        with allowed():
            assert "/../" not in check(text) and "\n" not in check(text)
    reference.position_of(text)
    with allowed():
        assert str(platform.Platform.parse(str(platform.Platform.parse(text)))) == str(platform.Platform.parse(text))
    with allowed():
        digest = Digest(text)
        assert set(digest.encoded) <= set("0123456789abcdef")
    with allowed():
        assert timestamp.Timestamp.parse(str(timestamp.Timestamp.parse(text, "x")), "x") == timestamp.Timestamp.parse(text, "x")
    _paths(text)
    _versions(text)


def _paths(text: str) -> None:
    for parse in (parse_title, lambda name: parse_member(name, ("top",))):
        with allowed():
            parts = parse(text)
            assert all(part not in ("", ".", "..") and "/" not in part and "\0" not in part for part in parts)
    with allowed():
        check_link(text, ("a",), "x")
    with allowed():
        Glob(text).matches(("a", "b.txt"))


def _versions(text: str) -> None:
    first, _sep, second = text.partition("\n")
    version = semver.Version.parse(first)
    with allowed():
        wanted = semver.Range(second or first)
        if version is not None:
            version in wanted  # noqa: B015

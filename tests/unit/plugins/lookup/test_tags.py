# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""lookup('lading.oci.tags'): the tags of repositories and the refs of layouts."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.lookup.tags import LookupModule
from ansible_collections.lading.oci.tests.unit.plugins.lookup.lookup_runs import Look
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import without_settings

PLAIN = {"plain_http": True, "retries": 0}
DIGEST = "sha256:" + "0" * 64


@pytest.fixture(name="look")
def _look(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    without_settings(monkeypatch, tmp_path / "home")
    return Look(LookupModule, tmp_path)


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[fake.FakeRegistry]:
    registry = fake.FakeRegistry()
    for tag in ("1.0", "1.2", "2.0", "latest", f"sha256-{'0' * 64}"):
        registry.state.tags["team/app", tag] = DIGEST
    registry.state.tags["team/web", "v1"] = DIGEST
    yield registry
    registry.close()


def test_tags_of_a_registry(look: Look, registry: fake.FakeRegistry) -> None:
    registry.page_size = 2
    found = look(f"{registry.host}/team/app", f"{registry.host}/team/web", **PLAIN)
    assert found == ["1.0", "1.2", "2.0", "latest", "v1"] and {type(tag) for tag in found} == {str}


def test_some_of_them(look: Look, registry: fake.FakeRegistry) -> None:
    text = f"{registry.host}/team/app"
    assert look(text, tags_matching="semver:1.x", **PLAIN) == ["1.0", "1.2"]
    assert look(text, tags_matching="1|lat.*", **PLAIN) == ["latest"]
    assert look(text, tags_matching="nothing", default=["none"], **PLAIN) == []
    assert "tags_matching is '(', which is not a regular expression" in look.failed(text, tags_matching="(")


def test_refs_of_a_layout(look: Look, tmp_path: pathlib.Path) -> None:
    images = Images(tmp_path / "layout")
    for tag in ("v1", "v2"):
        images.image(tar_of(a=tag), tags=[tag])
    assert look("oci:layout") == ["v1", "v2"]
    assert look(f"oci:{tmp_path}/layout", tags_matching="v1") == ["v1"]


def test_what_is_not_there(look: Look, registry: fake.FakeRegistry) -> None:
    missing = [f"{registry.host}/none", "oci:nowhere"]
    for text in missing:
        assert "image " in look.failed(text, **PLAIN)
    assert look(*missing, default=[], **PLAIN) == []
    assert look(missing[0], f"{registry.host}/team/web", default=["v0"], **PLAIN) == ["v0", "v1"]


@pytest.mark.parametrize("text", ["registry.example.com/app:v1", f"registry.example.com/app@{DIGEST}", "oci:layout:v1"])
def test_what_is_no_repository(look: Look, text: str) -> None:
    said = look.failed(text)
    assert "it has a tag, ref or digest" in said and text.rpartition("/")[2].partition(":")[0] in said

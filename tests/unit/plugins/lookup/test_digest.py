# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""lookup('lading.oci.digest'): what a tag or ref names, and what that costs."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.lookup.digest import LookupModule
from ansible_collections.lading.oci.tests.unit.plugins.lookup.lookup_runs import Look
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import without_settings

PLAIN = {"plain_http": True, "retries": 0}


@pytest.fixture(name="look")
def _look(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    without_settings(monkeypatch, tmp_path / "home")
    return Look(LookupModule, tmp_path)


@pytest.fixture(name="images")
def _images(tmp_path: pathlib.Path) -> Images:
    """v1 is an image, all an index of it and one for another platform."""
    images = Images(tmp_path / "source")
    one = images.image(tar_of(a="one"), tags=["v1"])
    images.index(one, images.image(tar_of(a="arm"), platform="linux/arm64"), tags=["all"])
    return images


@pytest.fixture(name="registry")
def _registry(images: Images) -> t.Iterator[fake.FakeRegistry]:
    """The documents of both, under their tags."""
    registry = fake.FakeRegistry()
    for tag in ("v1", "all"):
        root = images.layout.resolve(tag)
        for desc in (root, *(images.layout.resolve(entry["digest"]) for entry in images.json(root).get("manifests", []))):
            registry.state.manifests["team/app", desc.digest] = (desc.media_type, images.layout.fetch_bytes(desc))
        registry.state.tags["team/app", tag] = root.digest
    yield registry
    registry.close()


def digest_of(images: Images, tag: str) -> str:
    return str(images.layout.resolve(tag).digest)


def test_tags_of_a_registry(look: Look, images: Images, registry: fake.FakeRegistry) -> None:
    text = f"{registry.host}/team/app"
    found = look(f"{text}:v1", [f"{text}:all", f"{text}@{digest_of(images, 'v1')}"], **PLAIN)
    assert found == [digest_of(images, tag) for tag in ("v1", "all", "v1")]
    assert registry.methods() == ["HEAD"] * 3
    assert {type(digest) for digest in found} == {str}, "Ansible keeps no classes of others in its variables"


def test_refs_of_a_layout(look: Look, images: Images, tmp_path: pathlib.Path) -> None:
    assert look(f"oci:{tmp_path}/source:v1", "oci:source:all", "oci:./source:@0") == [
        digest_of(images, "v1"),
        digest_of(images, "all"),
        str(images.layout.resolve("@0").digest),
    ]


def test_a_layout_in_the_home_folder(look: Look, tmp_path: pathlib.Path) -> None:
    images = Images(tmp_path / "home" / "layout")
    images.image(tar_of(a="home"), tags=["v1"])
    assert look("oci:~/layout:v1") == [digest_of(images, "v1")]


def test_one_platform_of_an_index(look: Look, images: Images, registry: fake.FakeRegistry) -> None:
    arm = images.json(images.layout.resolve("all"))["manifests"][1]["digest"]
    for text in (f"{registry.host}/team/app:all", "oci:source:all"):
        assert look(text, platform="linux/aarch64", **PLAIN) == [arm]
        assert look(text, platform="linux/s390x", default="", **PLAIN) == [""]
    assert "has nothing for linux/s390x (it has linux/amd64, linux/arm64)" in look.failed("oci:source:all", platform="linux/s390x")
    assert "is an image for linux/amd64, not for linux/arm64" in look.failed("oci:source:v1", platform="linux/arm64", default="")


def test_what_is_not_there(look: Look, images: Images, registry: fake.FakeRegistry) -> None:
    missing = ["oci:source:v9", "oci:nowhere:v1", "oci-archive:nowhere.tar:v1", f"{registry.host}/team/app:v9", f"{registry.host}/none:v1"]
    for text in missing:
        assert "image " in look.failed(text, **PLAIN)
    assert look("oci:source:v1", *missing, default="none", **PLAIN) == [digest_of(images, "v1"), *["none"] * len(missing)]
    assert look("oci:nowhere:v1", default=None) == [None]


def test_who_refuses_or_fails_says_nothing_of_what_is_there(look: Look, registry: fake.FakeRegistry) -> None:
    text = f"{registry.host}/team/app:v1"
    registry.fault("HEAD", "/manifests/v1", fake.answer(503), times=1)
    assert "503" in look.failed(text, default="", **PLAIN)
    registry.basic = "someone:password"
    assert "401" in look.failed(text, default="", **PLAIN)


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("alpine:3", "not a fully qualified reference"),
        ("registry.example.com/app", "needs a tag or digest"),
        ("oci:", "no path"),
        (5, "not a reference: 5"),
        ({"a": "b"}, "not a reference: {'a': 'b'}"),
        ("a\nb", "not a reference"),
    ],
)
def test_what_is_no_reference(look: Look, term: t.Any, says: str) -> None:
    assert says in look.failed(term)


def test_no_terms(look: Look) -> None:
    assert look() == look([]) == []


@pytest.mark.parametrize("platform", ["linux", "linux/a b"])
def test_what_is_no_platform(look: Look, platform: str) -> None:
    assert "not a platform" in look.failed("oci:source:v1", platform=platform)

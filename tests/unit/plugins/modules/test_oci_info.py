# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_info as Ansible runs it: the facts of images and artifacts, and which requests they cost."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.modules import oci_copy, oci_info
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Result, Run, without_settings

PLAIN = {"plain_http": True}
SBOM, SIGNATURE = "application/vnd.example.sbom", "application/vnd.example.signature"


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    return Run(oci_info.main, capsys)


@pytest.fixture(name="images")
def _images(tmp_path: pathlib.Path) -> Images:
    """v1 is an image, all an index of it and one for another platform, with an attestation."""
    images = Images(tmp_path / "source")
    one = images.image(tar_of(a="one"), tags=["v1"], annotations={"org.example.team": "blue"})
    images.index(one, images.image(tar_of(a="arm"), platform="linux/arm64"), images.attestation(one), tags=["all"])
    return images


def one(result: Result) -> Result:
    assert not result["changed"]
    (found,) = result["images"]
    return t.cast(Result, found)


def test_an_image_in_a_layout(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    text = f"oci:{tmp_path}/source:v1"
    found = one(run.done({"src": text}))
    root = images.layout.resolve("v1")
    document = images.json(root)
    assert found["src"] == text and found["exists"]
    assert (found["digest"], found["media_type"], found["size"]) == (root.digest, root.media_type, root.size)
    assert found["pinned"] == f"oci:{tmp_path}/source@{root.digest}" and one(run.done({"src": found["pinned"]}))["digest"] == root.digest
    assert found["annotations"] == {"org.example.team": "blue"} and found["artifact_type"] == "" and found["subject"] is None
    assert found["manifest_digest"] == root.digest and found["manifests"] == []
    assert [layer["digest"] for layer in found["layers"]] == [layer["digest"] for layer in document["layers"]]
    assert found["content_size"] == document["config"]["size"] + sum(layer["size"] for layer in document["layers"])
    assert found["config"]["config"] == {"Env": ["A=b"]} and found["labels"] == {} and found["platform"] == "linux/amd64"


def test_an_index_and_one_of_its_images(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    text = f"oci:{tmp_path}/source:all"
    whole = one(run.done({"src": text}))
    assert [entry["platform"] for entry in whole["manifests"]] == ["linux/amd64", "linux/arm64", None]
    assert "layers" not in whole and "config" not in whole
    arm = one(run.done({"src": text, "platform": "linux/arm64"}))
    assert arm["digest"] == whole["digest"] and arm["manifest_digest"] == whole["manifests"][1]["digest"]
    assert arm["platform"] == "linux/arm64" and len(arm["layers"]) == 1
    none = one(run.done({"src": text, "platform": "linux/s390x"}))
    assert none["exists"] and none["manifest_digest"] is None and "layers" not in none


def test_labels(run: Run, tmp_path: pathlib.Path) -> None:
    images = Images(tmp_path / "source")
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"a": "b"}}, "rootfs": {"type": "layers", "diff_ids": []}}
    document = {"config": images.put(json.dumps(config).encode(), mediatype.OCI_CONFIG).to_json(), "layers": []}
    images.document(document, mediatype.OCI_MANIFEST, ["v1"])
    assert one(run.done({"src": f"oci:{tmp_path}/source:v1"}))["labels"] == {"a": "b"}


def test_an_artifact_has_no_config_to_tell(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    attached = images.referrer(images.layout.resolve("v1"), SBOM)
    found = one(run.done({"src": f"oci:{tmp_path}/source@{attached.digest}"}))
    assert found["artifact_type"] == SBOM and found["subject"] == images.layout.resolve("v1").digest
    assert "config" not in found and len(found["layers"]) == 1


def test_what_is_not_there_is_a_fact(run: Run, images: Images, registry: fake.FakeRegistry, tmp_path: pathlib.Path) -> None:
    missing = [f"oci:{tmp_path}/source:v9", f"oci:{tmp_path}/none:v1", f"oci:{tmp_path}/none.tar", f"{registry.host}/team/app:v1"]
    found = run.done({"src": missing, "src_registry": PLAIN, "gather": ["manifest", "tags"]})["images"]
    assert [(image["src"], image["exists"]) for image in found] == [(text, False) for text in missing]
    assert [image["tags"] for image in found] == [["all", "v1"], [], [], []]


def test_a_registry_that_refuses_is_no_fact(run: Run, registry: fake.FakeRegistry) -> None:
    registry.basic = "user:password"
    said = run.failed({"src": f"{registry.host}/team/app:v1", "src_registry": {**PLAIN, "retries": 0}})
    assert f"image {registry.host}/team/app:v1" in said and "401" in said


def pushed(capsys: pytest.CaptureFixture[str], images: Images, registry: fake.FakeRegistry, tag: str) -> str:
    text = f"{registry.host}/team/app:{tag}"
    Run(oci_copy.main, capsys).done({"src": f"oci:{images.layout.path}:{tag}", "dest": text, "dest_registry": PLAIN})
    registry.seen.clear()
    return text


def test_requests(run: Run, images: Images, registry: fake.FakeRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    text = pushed(capsys, images, registry, "v1")
    digest_only = run.done({"src": [text, text], "src_registry": PLAIN, "gather": []})
    assert digest_only["requests"] == {"HEAD": 2} and registry.methods() == ["HEAD", "HEAD"]
    assert {image["digest"] for image in digest_only["images"]} == {images.layout.resolve("v1").digest}
    whole = run.done({"src": text, "src_registry": PLAIN, "platform": "linux/arm64"})
    assert whole["requests"] == {"HEAD": 1, "GET": 2} and one(whole)["platform"] == "linux/amd64"
    chosen = run.done({"src": pushed(capsys, images, registry, "all"), "src_registry": PLAIN, "platform": "linux/arm64"})
    assert chosen["requests"] == {"HEAD": 1, "GET": 3} and one(chosen)["platform"] == "linux/arm64"


def test_referrers(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    root = images.layout.resolve("v1")
    sbom = images.referrer(root, SBOM, annotations={"by": "us"})
    signature = images.referrer(sbom, SIGNATURE)
    other = images.referrer(root, SIGNATURE)
    src = {"src": f"oci:{tmp_path}/source:v1", "gather": ["referrers"]}
    flat = one(run.done(src))["referrers"]
    assert [item["digest"] for item in flat] == sorted([sbom.digest, other.digest]) and all("referrers" not in item for item in flat)
    (deep,) = one(run.done({**src, "depth": 2, "artifact_types": [SBOM]}))["referrers"]
    assert deep["artifact_type"] == SBOM and deep["annotations"] == {"by": "us"} and deep["size"] == sbom.size
    assert [item["digest"] for item in deep["referrers"]] == [signature.digest]


def test_tags(run: Run, images: Images, registry: fake.FakeRegistry, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.layout.tag(images.layout.resolve("v1"), images.layout.fetch_bytes(images.layout.resolve("v1")), ["v2.0"])
    found = one(run.done({"src": f"oci:{tmp_path}/source", "gather": ["tags"]}))
    assert found == {"src": f"oci:{tmp_path}/source", "exists": True, "tags": ["all", "v1", "v2.0"]}
    pushed(capsys, images, registry, "v1")
    chosen = {"src": f"{registry.host}/team/app", "src_registry": PLAIN, "gather": ["tags"], "tags_matching": "semver:1.x"}
    assert one(run.done(chosen))["tags"] == ["v1"] and registry.methods() == ["GET"]
    said = run.failed({"src": f"{registry.host}/team/app", "src_registry": PLAIN})
    assert "no tag and no digest" in said and "gather: [tags]" in said


def catalog(*names: str) -> fake.Action:
    return fake.answer(200, {"Content-Type": "application/json"}, json.dumps({"repositories": names}).encode())


def test_the_repositories_of_a_registry(run: Run, registry: fake.FakeRegistry) -> None:
    def more(handler: t.Any) -> None:
        handler.answer(200, {"Link": '</v2/_catalog?last=a>; rel="next"'}, b'{"repositories": ["a"]}')

    registry.fault("GET", "/v2/_catalog$", more)
    registry.fault("GET", "/v2/_catalog.last=a", catalog("team/b"))
    found = run.done({"catalog": [registry.host], "src_registry": PLAIN})
    assert found["repositories"] == {registry.host: ["a", "team/b"]} and found["requests"] == {"GET": 2} and found["images"] == []


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_registry_without_a_catalog(run: Run, registry: fake.FakeRegistry, status: int) -> None:
    registry.fault("GET", "/v2/_catalog", fake.error(status, "UNSUPPORTED"))
    said = run.failed({"catalog": [registry.host], "src_registry": {**PLAIN, "retries": 0}})
    assert "this registry does not list its repositories" in said


def test_a_catalog_of_what_are_no_names(run: Run, registry: fake.FakeRegistry) -> None:
    registry.fault("GET", "/v2/_catalog", catalog("../etc"))
    assert "not a repository" in run.failed({"catalog": [registry.host], "src_registry": PLAIN})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "nothing to tell of"),
        ({"src": "oci:/none", "depth": 0}, "depth is 0"),
        ({"src": "oci:/none", "tags_matching": "v1"}, "needs tags in gather"),
        ({"src": "oci:/none", "platform": "linux"}, "not a platform"),
        ({"src": "none:v1"}, "not a fully qualified reference"),
        ({"catalog": "a b"}, "not a registry host"),
    ],
)
def test_what_makes_no_sense(run: Run, arguments: Result, says: str) -> None:
    assert says in run.failed(arguments)

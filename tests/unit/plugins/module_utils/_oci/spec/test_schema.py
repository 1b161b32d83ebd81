# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The schemas are the specification's, and they and our own rules together judge as its own validator does."""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest, mediatype, schema, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.validation import check_config

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures"
ORIGINAL = FIXTURES / "image-spec-schema"
CASES = json.loads((FIXTURES / "image-spec-validation.json").read_text())
# Layers SHOULD not be empty (manifest.md); digests that cannot be verified are refused by us.
OTHERWISE = ("expected failure: empty layer, expected at least one", "expected pass: test bounds of algorithm field in digest.")
NOT_COMPARED = ("id", "$schema", "media")


def inlined(node: t.Any, file: str) -> t.Any:
    """The original with every $ref replaced by what it names, without what is no rule."""
    if isinstance(node, list):
        return [inlined(item, file) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name, _hash, path = node["$ref"].partition("#")
        target = json.loads((ORIGINAL / (name or file)).read_text())
        for part in filter(None, path.split("/")):
            target = target[part]
        return inlined(target, name or file)
    described = isinstance(node.get("description"), str)
    return {
        key: inlined(value, file) for key, value in node.items() if key not in NOT_COMPARED and not (key == "description" and described)
    }


@pytest.mark.parametrize(
    "ours, file",
    [
        (schema.INDEX, "image-index-schema.json"),
        (schema.MANIFEST, "image-manifest-schema.json"),
        (schema.CONFIG, "config-schema.json"),
    ],
    ids=["index", "manifest", "config"],
)
def test_it_is_the_specifications(ours: schema.Schema, file: str) -> None:
    assert ours == inlined(json.loads((ORIGINAL / file).read_text()), file)


def refused(check: t.Callable[[], object]) -> bool:
    try:
        check()
    except InvalidError:
        return True
    return False


def refused_by_rules(media_type: str, content: bytes) -> bool:
    if media_type == mediatype.OCI_CONFIG:
        return refused(lambda: check_config(content, "it"))
    return refused(lambda: manifest.parse(Descriptor.of(content, media_type), content))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["says"])
def test_the_specifications_own_cases(case: t.Dict[str, t.Any]) -> None:
    pytest.importorskip("jsonschema")
    media_type, content = case["media_type"], case["document"].encode()
    by_schema = refused(lambda: schema.validate(media_type, content, "it"))
    by_rules = refused_by_rules(media_type, content)
    assert (by_schema or by_rules) == (case["fail"] != (case["says"] in OTHERWISE))


@pytest.mark.parametrize(
    "kind, media_type, field",
    [
        ("config", mediatype.OCI_CONFIG, b"rootfs"),
        ("manifest", mediatype.OCI_MANIFEST, b"schemaVersion"),
        ("image-index", mediatype.OCI_INDEX, b"schemaVersion"),
    ],
)
def test_the_specifications_examples(kind: str, media_type: str, field: bytes) -> None:
    pytest.importorskip("jsonschema")
    # manifest.md has examples of descriptors too.
    texts = [text for text in map(pathlib.Path.read_bytes, FIXTURES.glob(f"md-examples/{kind}-*.json")) if field in text]
    assert texts and all(schema.validate(media_type, text, "it") for text in texts)


def test_what_buildkit_writes_passes() -> None:
    pytest.importorskip("jsonschema")
    seen = 0
    for name, media_type in (("manifest.json", mediatype.OCI_MANIFEST), ("config.json", mediatype.OCI_CONFIG)):
        for file in FIXTURES.glob(f"buildkit-exporter/**/{name}"):
            seen += schema.validate(media_type, file.read_bytes(), str(file))
    assert seen > 10


CONFIG = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
EMPTY = Descriptor.of(b"{}", mediatype.OCI_EMPTY).to_json()


@pytest.mark.parametrize(
    "media_type, document",
    [
        (mediatype.OCI_CONFIG, {**CONFIG, "author": None, "config": {"User": None, "Env": None}, "history": None}),
        (mediatype.OCI_CONFIG, {**CONFIG, "rootfs": {"type": "layers", "diff_ids": None}}),
        (mediatype.OCI_MANIFEST, {"schemaVersion": 2, "config": EMPTY, "layers": []}),
        (mediatype.OCI_MANIFEST, {"schemaVersion": 2, "config": EMPTY, "layers": None, "annotations": None}),
        (mediatype.OCI_INDEX, {"schemaVersion": 2, "manifests": None, "subject": None}),
    ],
)
def test_what_the_schema_alone_refuses_wrongly(media_type: str, document: t.Dict[str, t.Any]) -> None:
    pytest.importorskip("jsonschema")
    assert schema.validate(media_type, strictjson.dumps(document), "it")


def test_the_error_says_what_and_where() -> None:
    pytest.importorskip("jsonschema")
    content = strictjson.dumps({**CONFIG, "history": [{"created_by": 5}]})
    with pytest.raises(InvalidError, match=r"^the config breaks the OCI JSON schema at history\.0\.created_by: 5 is not of type 'string'$"):
        schema.validate(mediatype.OCI_CONFIG, content, "the config")
    with pytest.raises(InvalidError, match="at its top: 'os' is a required property"):
        schema.validate(mediatype.OCI_CONFIG, strictjson.dumps({**CONFIG, "os": None}), "the config")


def test_without_jsonschema_or_a_schema_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert schema.validate(mediatype.DOCKER_MANIFEST, b"{}", "it") is False
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert schema.validate(mediatype.OCI_CONFIG, b"{}", "it") is False

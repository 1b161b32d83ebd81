# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was built is checked before it is published, with jsonschema and without."""

from __future__ import annotations

import sys
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Overlay
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.validation import RULES, SCHEMAS, validate
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource

CONFIG = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
EMPTY = Descriptor.of(b"{}", mediatype.OCI_EMPTY)


class Built(Overlay):
    def __init__(self) -> None:
        self.base = MemorySource()
        super().__init__(self.base)

    def put(self, media_type: str, document: t.Dict[str, t.Any]) -> Descriptor:
        content = strictjson.dumps(document)
        desc = Descriptor.of(content, media_type)
        self.add_bytes(desc, content)
        return desc

    def manifest(self, config: Descriptor, **more: t.Any) -> Descriptor:
        return self.put(mediatype.OCI_MANIFEST, {"schemaVersion": 2, "config": config.to_json(), "layers": [], **more})


@pytest.fixture(name="built")
def _built() -> Built:
    return Built()


def test_it_says_what_was_done(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jsonschema")
    config = built.put(mediatype.OCI_CONFIG, CONFIG)
    made = [config, built.manifest(config)]
    assert validate(built, made) == [RULES, SCHEMAS]
    assert validate(built, [EMPTY, Descriptor.of(b"layer", mediatype.OCI_LAYER)]) == []
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert validate(built, made) == [RULES]


def test_what_was_copied_is_not_judged(built: Built) -> None:
    assert validate(built, [built.base.document(mediatype.OCI_INDEX, {"manifests": 5})]) == []


@pytest.mark.parametrize("with_jsonschema", [True, False], ids=["schemas", "rules"])
@pytest.mark.parametrize(
    "media_type, document, says",
    [
        (mediatype.OCI_CONFIG, {**CONFIG, "rootfs": {"type": "layers", "diff_ids": ["x"]}}, "not a digest"),
        (mediatype.OCI_CONFIG, {**CONFIG, "os": None}, "says no os and architecture"),
        (mediatype.OCI_CONFIG, {**CONFIG, "config": {"Env": ["a"]}}, "Env that is not a list of NAME=VALUE"),
        (mediatype.OCI_CONFIG, {**CONFIG, "config": {"Env": ["=a"]}}, "Env that is not a list of NAME=VALUE"),
        (mediatype.OCI_MANIFEST, {"schemaVersion": 2, "config": EMPTY.to_json(), "layers": []}, "empty config and no artifactType"),
        (mediatype.OCI_MANIFEST, {"schemaVersion": 2, "layers": []}, "is not a JSON object"),
        (mediatype.OCI_INDEX, {"schemaVersion": 2, "manifests": [{**EMPTY.to_json(), "platform": {"os": "x"}}]}, "platform says no os and"),
        (mediatype.OCI_INDEX, {"schemaVersion": 2, "manifests": [{**EMPTY.to_json(), "size": -1}]}, "no valid size"),
    ],
)
def test_the_rules(
    built: Built, media_type: str, document: t.Dict[str, t.Any], says: str, with_jsonschema: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_jsonschema:
        monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(InvalidError, match=says):
        validate(built, [built.put(media_type, document)])


def test_as_many_layers_as_the_config_says(built: Built) -> None:
    config = built.put(mediatype.OCI_CONFIG, {**CONFIG, "rootfs": {"type": "layers", "diff_ids": [str(EMPTY.digest)]}})
    with pytest.raises(InvalidError, match="has 0 layers, and its config says 1"):
        validate(built, [built.manifest(config)])


def test_the_schemas_see_more(built: Built) -> None:
    pytest.importorskip("jsonschema")
    with pytest.raises(InvalidError, match=r"breaks the OCI JSON schema at config\.User: 5 is not of type 'string'"):
        validate(built, [built.put(mediatype.OCI_CONFIG, {**CONFIG, "config": {"User": 5}})])

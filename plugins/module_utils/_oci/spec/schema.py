# Copyright 2016-2025 The Linux Foundation and the Open Container Initiative contributors
# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: Apache-2.0
# This module util is **PRIVATE** to the collection: it can change in any release.
#
# The schemas are those of https://github.com/opencontainers/image-spec, release v1.1.1, commit
# 147f9c13cedb47a0c4d9a11a222961073d585877, files schema/*.json, licensed under the Apache License, Version 2.0
# (LICENSES/Apache-2.0.txt). Changed: written as Python, every "$ref" put in place, "id", "description" and "media" left out.

"""The OCI JSON schemas (image-spec schema/), and the validation of a document against them where jsonschema is installed."""

from __future__ import annotations

import typing as t

from . import mediatype, strictjson
from .errors import InvalidError

Schema = t.Dict[str, t.Any]

_STRING: Schema = {"type": "string"}
_STRINGS: Schema = {"type": "array", "items": _STRING}
_DATE: Schema = {"type": "string", "format": "date-time"}
_NULL: Schema = {"type": "null"}
_INT64: Schema = {"type": "integer", "minimum": -9223372036854776000, "maximum": 9223372036854776000}
_STRING_MAP: Schema = {"type": "object", "patternProperties": {".{1,}": _STRING}}
_OBJECT_MAP: Schema = {"type": "object", "patternProperties": {".{1,}": {"type": "object"}}}
_MEDIA_TYPE: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$",
}
_DIGEST: Schema = {"type": "string", "pattern": "^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"}
_URLS: Schema = {"type": "array", "items": {"type": "string", "format": "uri"}}
_VERSION: Schema = {"type": "integer", "minimum": 2, "maximum": 2}

_DESCRIPTOR: Schema = {
    "type": "object",
    "properties": {
        "mediaType": _MEDIA_TYPE,
        "size": _INT64,
        "digest": _DIGEST,
        "urls": _URLS,
        "data": _STRING,
        "artifactType": _MEDIA_TYPE,
        "annotations": _STRING_MAP,
    },
    "required": ["mediaType", "size", "digest"],
}

_PLATFORM: Schema = {
    "type": "object",
    "required": ["architecture", "os"],
    "properties": {"architecture": _STRING, "os": _STRING, "os.version": _STRING, "os.features": _STRINGS, "variant": _STRING},
}

INDEX: Schema = {
    "type": "object",
    "properties": {
        "schemaVersion": _VERSION,
        "mediaType": _MEDIA_TYPE,
        "artifactType": _MEDIA_TYPE,
        "subject": _DESCRIPTOR,
        "manifests": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["mediaType", "size", "digest"],
                "properties": {
                    "mediaType": _MEDIA_TYPE,
                    "size": _INT64,
                    "digest": _DIGEST,
                    "urls": _URLS,
                    "platform": _PLATFORM,
                    "annotations": _STRING_MAP,
                },
            },
        },
        "annotations": _STRING_MAP,
    },
    "required": ["schemaVersion", "manifests"],
}

MANIFEST: Schema = {
    "type": "object",
    "properties": {
        "schemaVersion": _VERSION,
        "mediaType": _MEDIA_TYPE,
        "artifactType": _MEDIA_TYPE,
        "config": _DESCRIPTOR,
        "subject": _DESCRIPTOR,
        "layers": {"type": "array", "minItems": 1, "items": _DESCRIPTOR},
        "annotations": _STRING_MAP,
    },
    "required": ["schemaVersion", "config", "layers"],
}

CONFIG: Schema = {
    "type": "object",
    "properties": {
        "created": _DATE,
        "author": _STRING,
        "architecture": _STRING,
        "variant": _STRING,
        "os": _STRING,
        "os.version": _STRING,
        "os.features": _STRINGS,
        "config": {
            "type": "object",
            "properties": {
                "User": _STRING,
                "ExposedPorts": _OBJECT_MAP,
                "Env": _STRINGS,
                "Entrypoint": {"oneOf": [_STRINGS, _NULL]},
                "Cmd": {"oneOf": [_STRINGS, _NULL]},
                "Volumes": {"oneOf": [_OBJECT_MAP, _NULL]},
                "WorkingDir": _STRING,
                "Labels": {"oneOf": [_STRING_MAP, _NULL]},
                "StopSignal": _STRING,
                "ArgsEscaped": {"type": "boolean"},
            },
        },
        "rootfs": {
            "type": "object",
            "properties": {"diff_ids": _STRINGS, "type": {"type": "string", "enum": ["layers"]}},
            "required": ["diff_ids", "type"],
        },
        "history": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "created": _DATE,
                    "author": _STRING,
                    "created_by": _STRING,
                    "comment": _STRING,
                    "empty_layer": {"type": "boolean"},
                },
            },
        },
    },
    "required": ["architecture", "os", "rootfs"],
}

_SCHEMAS = {mediatype.OCI_INDEX: INDEX, mediatype.OCI_MANIFEST: MANIFEST, mediatype.OCI_CONFIG: CONFIG}
# Lists that Go writes as null when they are empty; every other null is a field that is not there (config.md, "Properties").
_LISTS = ("manifests", "layers", "diff_ids", "history")
_MAX_SHOWN = 300


def validate(media_type: str, content: bytes, what: str) -> bool:
    """Validate the document against the schema of its type; ``what`` names it in the InvalidError.

    True when that was done, False when it could not be: jsonschema is not installed, or there is no schema for that type. Null in
    place of an optional field and an image without layers pass: the specification allows both, its schemas do not.
    """
    schema = _SCHEMAS.get(media_type)
    if schema is None:
        return False
    try:
        from jsonschema import Draft4Validator
    except ImportError:
        return False
    document = _without_nulls(strictjson.load_object(content, what))
    for error in Draft4Validator(schema).iter_errors(document):
        place = [str(part) for part in error.absolute_path]
        if (place, error.validator) != (["layers"], "minItems"):
            raise InvalidError(f"{what} breaks the OCI JSON schema at {'.'.join(place) or 'its top'}: {error.message[:_MAX_SHOWN]}")
    return True


def _without_nulls(value: t.Any) -> t.Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    filled = {name: [] if item is None and name in _LISTS else item for name, item in value.items()}
    return {name: _without_nulls(item) for name, item in filled.items() if item is not None}

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Documents checked by the rules of the specification, and by its JSON schemas: what a build has written, before it is published."""

from __future__ import annotations

import typing as t

from .content.overlay import Overlay
from .spec import image, manifest, mediatype, schema
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError
from .spec.platform import Platform

RULES = "rules"
SCHEMAS = "schemas"


def validate(overlay: Overlay, missing: t.Iterable[Descriptor]) -> t.List[str]:
    """Check those of the ``missing`` documents (manifests, indexes, images' configs) that ``overlay`` has made, not what was copied.

    Says what was done: [] when there was none, else RULES, and SCHEMAS when jsonschema is there. Raises InvalidError.
    """
    documents = [desc for desc in missing if overlay.made(desc) and _is_document(desc)]
    by_schema = [_validated(overlay, desc) for desc in documents]
    return [RULES] * bool(documents) + [SCHEMAS] * any(by_schema)


def _is_document(desc: Descriptor) -> bool:
    return mediatype.is_manifest(desc.media_type) or desc.media_type in mediatype.IMAGE_CONFIGS


def _validated(overlay: Overlay, desc: Descriptor) -> bool:
    """True when there was a schema."""
    content = overlay.fetch_bytes(desc)
    what = f"what was built, {desc.media_type},"
    if mediatype.is_manifest(desc.media_type):
        document = manifest.parse(desc, content)
        check_manifest(document, overlay.fetch_bytes(document.config) if document.config and image.has_config(document) else None, what)
    else:
        check_config(content, what)
    return schema.validate(desc.media_type, content, what)


def check_manifest(document: manifest.Manifest, config: t.Optional[bytes], what: str) -> None:
    """What neither parsing nor the schema sees. ``config``: the bytes of an image's; None where there are none. Raises InvalidError."""
    for entry in document.manifests:
        if entry.platform is not None and not _states(entry.platform):
            raise InvalidError(f"{what} has an entry, {entry.digest}, whose platform says no os and architecture")
    if config is not None:
        image.check_layers(image.parse_config(config, f"the config of {what}"), document, what)
    elif document.config is not None and document.config.media_type == mediatype.OCI_EMPTY and not document.artifact_type:
        raise InvalidError(f"{what} has an empty config and no artifactType")


def check_config(content: bytes, what: str) -> None:
    """What the schema does not see of an image's config, or sees only where jsonschema is. Raises InvalidError."""
    config = image.parse_config(content, what)
    if not _states(config.document):
        raise InvalidError(f"{what} says no os and architecture")
    environment = config.runtime.get("Env", [])
    if not isinstance(environment, list) or not all(isinstance(value, str) and "=" in value[1:] for value in environment):
        raise InvalidError(f"{what} has an Env that is not a list of NAME=VALUE")


def _states(document: t.Mapping[str, t.Any]) -> bool:
    return Platform.from_json(document) is not None

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Lists of what is attached to a manifest (distribution-spec "Listing Referrers", "Referrers Tag Schema")."""

from __future__ import annotations

import re
import typing as t

from . import mediatype, strictjson
from .descriptor import Descriptor
from .digest import Digest
from .manifest import Manifest

_FALLBACK = re.compile(r"sha256-[0-9a-f]{64}|sha512-[0-9a-f]{64}", re.ASCII)


def fallback_tag(subject: Digest) -> str:
    """The tag under which a registry without the Referrers API, or a layout, has the index of what is attached to ``subject``."""
    return f"{subject.algorithm[:32]}-{subject.encoded[:64]}"


def is_fallback_tag(tag: str) -> bool:
    return _FALLBACK.fullmatch(tag) is not None


def listed_as(desc: Descriptor, document: Manifest) -> Descriptor:
    """The entry that a list of referrers has for a manifest: its artifact type, or its config's media type, and its annotations."""
    artifact_type = document.artifact_type or (document.config.media_type if document.config is not None else "")
    return Descriptor(desc.media_type, desc.digest, desc.size, document.annotations, artifact_type)


def index_of(referrers: t.Sequence[Descriptor]) -> bytes:
    """The index that a fallback tag names."""
    entries = [desc.to_json() for desc in referrers]
    return strictjson.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries})

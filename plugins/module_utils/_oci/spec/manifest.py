# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Manifests and indexes: read once, never re-serialised (image-spec manifest.md, image-index.md)."""

from __future__ import annotations

import typing as t
from types import MappingProxyType

from . import mediatype, strictjson
from .descriptor import Descriptor, parse_annotations
from .errors import InvalidError

# A reader that ignores case (Go's encoding/json) would see these where a strict one does not: CVE-2021-41190's cousin.
_ESSENTIAL = ("schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "artifactType", "fsLayers")
_BY_LOWER = {name.lower(): name for name in _ESSENTIAL}


class Manifest(t.NamedTuple):
    """One image manifest (``config`` and ``layers``) or one index (``manifests``); ``artifact_type`` is '' when absent."""

    media_type: str
    config: t.Optional[Descriptor] = None
    layers: t.Tuple[Descriptor, ...] = ()
    manifests: t.Tuple[Descriptor, ...] = ()
    subject: t.Optional[Descriptor] = None
    artifact_type: str = ""
    annotations: t.Mapping[str, str] = MappingProxyType({})


def parse(desc: Descriptor, content: bytes) -> Manifest:
    """Parse the manifest that ``desc`` describes. Raises InvalidError when the document is not exactly one thing.

    The media type of the descriptor and of the document must agree, and only the fields of that type may be present
    (type confusion, CVE-2021-41190).
    """
    what = f"manifest {desc.digest}"
    document = strictjson.load_object(content, what)
    _check_shape(desc.media_type, document, what)
    subject = document.get("subject")
    is_index = mediatype.is_index(desc.media_type)
    return Manifest(
        media_type=desc.media_type,
        config=None if is_index else Descriptor.parse(document.get("config"), f"config of {what}"),
        layers=() if is_index else _descriptors(document.get("layers"), f"layers of {what}"),
        manifests=_descriptors(document.get("manifests"), f"manifests of {what}") if is_index else (),
        subject=Descriptor.parse(subject, f"subject of {what}") if subject is not None else None,
        artifact_type=document.get("artifactType") or "",
        annotations=parse_annotations(document.get("annotations"), what),
    )


def successors(desc: Descriptor, content: bytes) -> t.List[Descriptor]:
    """What a copy of ``desc`` must bring along, in the document's order; [] for content that is not a manifest.

    ``subject`` is a weak link and never a successor (manifest.md).
    """
    if not mediatype.is_manifest(desc.media_type):
        return []
    manifest = parse(desc, content)
    config = [manifest.config] if manifest.config else []
    return [*config, *manifest.layers, *manifest.manifests]


def sniff_media_type(content: bytes, what: str) -> str:
    """The media type of a manifest of which only the bytes are known (oci-rules 2.3): its own, else by its shape."""
    document = strictjson.load_object(content, what)
    media_type = document.get("mediaType")
    if isinstance(media_type, str) and mediatype.is_manifest(media_type):
        return media_type
    if media_type is None and "manifests" in document:
        return mediatype.OCI_INDEX
    if media_type is None and "config" in document:
        return mediatype.OCI_MANIFEST
    raise InvalidError(f"{what} is not an image manifest or index")


def _check_shape(media_type: str, document: t.Dict[str, t.Any], what: str) -> None:
    for name in document:
        essential = _BY_LOWER.get(name.lower())
        if essential is not None and essential != name:
            raise InvalidError(f"{what} has a field {name!r} that some readers take for {essential!r}")
    if "fsLayers" in document or media_type in mediatype.SCHEMA1_MANIFESTS:
        raise InvalidError(f"{what} is a Docker schema 1 manifest, which is not supported")
    if not mediatype.is_manifest(media_type):
        raise InvalidError(f"{what}: {media_type} is not an image manifest or index")
    version = document.get("schemaVersion")
    if version != 2 or isinstance(version, (bool, float)):
        raise InvalidError(f"{what} has schemaVersion {version!r}, expected 2")
    own = document.get("mediaType")
    if own is not None and own != media_type:
        raise InvalidError(f"{what} says mediaType {own!r}, its descriptor says {media_type!r}")
    if own is None and media_type in (mediatype.DOCKER_MANIFEST, mediatype.DOCKER_LIST):
        raise InvalidError(f"{what} has no mediaType, which Docker manifests must have")
    foreign = ("config", "layers") if mediatype.is_index(media_type) else ("manifests",)
    for name in foreign:
        if name in document:
            raise InvalidError(f"{what} is ambiguous: {media_type} must not have {name!r}")
    artifact_type = document.get("artifactType")
    if artifact_type not in (None, "") and not mediatype.is_valid(artifact_type):
        raise InvalidError(f"{what} has no valid artifactType: {artifact_type!r}")


def _descriptors(document: t.Any, what: str) -> t.Tuple[Descriptor, ...]:
    # Go writes a nil slice as null: BuildKit and zot really do.
    if document is None:
        return ()
    if not isinstance(document, list):
        raise InvalidError(f"{what} is not a list")
    return tuple(Descriptor.parse(item, f"{what}[{number}]") for number, item in enumerate(document))

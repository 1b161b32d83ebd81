# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Layers that need not be made again, because an image of the destination has them: known by what they hold, not by their bytes."""

from __future__ import annotations

import typing as t

from .content.compression import GZIP
from .content.store import Fetcher, Source
from .spec import mediatype
from .spec.descriptor import CONTENT_DIGEST, Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, MismatchError, NotFoundError
from .spec.image import check_layers, has_config, parse_config
from .spec.manifest import Manifest, parse
from .spec.platform import is_attestation

# The digest of the uncompressed tar, and the compression.
Key = t.Tuple[Digest, str]
Known = t.Mapping[Key, Descriptor]
_UNREADABLE = (InvalidError, MismatchError, NotFoundError)


def known_layers(store: Source, reference: str) -> t.Dict[Key, Descriptor]:
    """Those of what ``reference`` names now that are really there.

    {} when it names nothing, or nothing that can be read: then all is made anew, which is right too.
    """
    try:
        root = store.lookup(reference)
    except _UNREADABLE:
        return {}
    return {key: desc for key, desc in layers_under(store, [root]).items() if store.exists(desc)}


def layers_under(store: Fetcher, roots: t.Iterable[t.Optional[Descriptor]]) -> t.Dict[Key, Descriptor]:
    """Those that the images and artifacts under ``roots`` say they have; what cannot be read has none."""
    found: t.Dict[Key, Descriptor] = {}
    for root in roots:
        if root is not None:
            try:
                found.update(_layers(store, root))
            except _UNREADABLE:
                continue
    return found


def _layers(store: Fetcher, desc: Descriptor) -> t.Iterator[t.Tuple[Key, Descriptor]]:
    document = parse(desc, store.fetch_bytes(desc))
    for child in document.manifests:
        if mediatype.is_manifest(child.media_type) and not is_attestation(child):
            yield from _layers(store, child)
    for layer in document.layers:
        # The folders of an artifact: gzip, whatever their media types.
        if CONTENT_DIGEST in layer.annotations:
            yield (Digest(layer.annotations[CONTENT_DIGEST]), GZIP), layer
    yield from _image_layers(store, document)


def _image_layers(store: Fetcher, document: Manifest) -> t.Iterator[t.Tuple[Key, Descriptor]]:
    if document.config is None or not has_config(document):
        return
    config = parse_config(store.fetch_bytes(document.config), "the image's config")
    check_layers(config, document, "the image")
    for diff_id, layer in zip(config.diff_ids, document.layers):
        kind = mediatype.parse_layer(layer.media_type)
        if kind is not None:
            yield (diff_id, kind.compression), Descriptor(layer.media_type, layer.digest, layer.size)

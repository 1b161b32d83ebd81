# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Some platforms of an index: an index of its own, because registries refuse one whose children are not there (skopeo#2882)."""

from __future__ import annotations

import typing as t

from .content.overlay import Overlay
from .platforms import Images, select_manifest
from .spec import mediatype, strictjson
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import located
from .spec.manifest import parse
from .spec.platform import REFERENCE_DIGEST, Platform, is_attestation


def for_platforms(overlay: Overlay, root: Descriptor, platforms: t.Sequence[Platform]) -> Descriptor:
    """The root for these platforms. One: that manifest itself. Several: the index with what fits each best, and its attestations.

    An index that loses nothing is itself. New indexes are added to ``overlay``: the same documents give the same digests.
    Raises NotFoundError for a platform that is not there, InvalidError for a single image of another platform.
    """
    if len(platforms) == 1 or not mediatype.is_index(root.media_type):
        for platform in platforms:
            root = select_manifest(overlay, root, platform)
        return root
    with located(overlay.location):
        images = Images(overlay.fetch_bytes, root)
        kept = {images.choose(platform, f"the index {root.digest}").digest for platform in platforms}
        return _reduced(overlay, root, kept)


def _reduced(overlay: Overlay, index: Descriptor, kept: t.Set[Digest]) -> Descriptor:
    """The index without the images that are not in ``kept``, without the attestations of those, and without indexes left empty."""
    content = overlay.fetch_bytes(index)
    entries = parse(index, content).manifests
    document = strictjson.load_object(content, f"the index {index.digest}")
    reduced = [(raw, desc, _child(overlay, desc, kept)) for raw, desc in zip(document["manifests"] or [], entries)]
    if all(child == desc for _raw, desc, child in reduced):
        return index
    document["manifests"] = [_renamed(raw, child) for raw, _desc, child in reduced if child is not None]
    content = strictjson.dumps(document)
    desc = Descriptor.of(content, index.media_type)
    overlay.add_bytes(desc, content)
    return desc


def _child(overlay: Overlay, desc: Descriptor, kept: t.Set[Digest]) -> t.Optional[Descriptor]:
    if is_attestation(desc):
        return desc if desc.annotations.get(REFERENCE_DIGEST) in kept else None
    if mediatype.is_index(desc.media_type):
        inner = _reduced(overlay, desc, kept)
        return inner if parse(inner, overlay.fetch_bytes(inner)).manifests else None
    return desc if desc.digest in kept else None


def _renamed(raw: t.Dict[str, t.Any], child: Descriptor) -> t.Dict[str, t.Any]:
    """The entry as it was read, naming ``child``."""
    changed = {**raw, "digest": str(child.digest), "size": child.size}
    if changed != raw:
        changed.pop("data", None)
    return changed

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Which manifest of an index is for a platform; an index may hold others, and entries that do not state theirs."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .content.store import Fetcher
from .spec import image, manifest, mediatype
from .spec.descriptor import Descriptor
from .spec.errors import located
from .spec.graph import post_order
from .spec.platform import Platform, best, is_attestation, nothing_for

# The bytes of a document, verified.
Read = t.Callable[[Descriptor], bytes]
HOST = "host"


def parse_platform(text: str) -> Platform:
    """As Platform.parse; ``host`` is Linux on this machine's kind of processor."""
    return Platform.of_host() if text == HOST else Platform.parse(text)


def select_manifest(source: Fetcher, root: Descriptor, platform: Platform, read: t.Optional[Read] = None) -> Descriptor:
    """The image manifest under ``root`` that fits ``platform`` best: ``root`` itself when it is one, whatever it is for.

    ``read`` gets documents (for a cache of them). Raises NotFoundError when the index has nothing for the platform.
    """
    if not mediatype.is_index(root.media_type):
        return root
    reading = read or source.fetch_bytes
    with located(source.location):
        entries = _entries(root, reading)
        chosen = best(entries, platform)
        if chosen is None:
            entries = [_with_platform(desc, reading) for desc in entries]
            chosen = best(entries, platform)
        if chosen is None:
            raise nothing_for(platform, entries, f"the index {root.digest}")
    return chosen


def _entries(root: Descriptor, read: Read) -> t.List[Descriptor]:
    """The manifests of an index and of those in it, in their order."""
    found: t.List[Descriptor] = []

    def children(desc: Descriptor) -> t.List[Descriptor]:
        if not mediatype.is_index(desc.media_type):
            return []
        listed = list(manifest.parse(desc, read(desc)).manifests)
        found.extend(child for child in listed if mediatype.is_image(child.media_type))
        return listed

    post_order(root, children)
    return found


def _with_platform(desc: Descriptor, read: Read) -> Descriptor:
    """An entry that does not say what it is for, with what its config says (as containerd does)."""
    if desc.platform is not None or is_attestation(desc):
        return desc
    stated = platform_of_image(desc, read)
    return replace(desc, platform=stated.to_json()) if stated is not None else desc


def platform_of_image(desc: Descriptor, read: Read) -> t.Optional[Platform]:
    """What the config of an image manifest says; None for an artifact."""
    document = manifest.parse(desc, read(desc))
    if document.config is None or not image.has_config(document):
        return None
    return image.parse_config(read(document.config), f"config {document.config.digest}").platform

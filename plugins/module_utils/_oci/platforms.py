# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Which manifests under a root are for which platform; an index may hold others, and entries that do not state theirs."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .content.store import Fetcher
from .spec import mediatype
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError, located
from .spec.graph import post_order
from .spec.image import has_config, parse_config
from .spec.manifest import parse
from .spec.platform import Platform, best, is_attestation, nothing_for, platform_of

# The bytes of a document, verified.
Read = t.Callable[[Descriptor], bytes]
HOST = "host"


def parse_platform(text: str) -> Platform:
    """``os/architecture[/variant]``, or ``host`` for Linux on this machine's processor. Raises InvalidError."""
    return Platform.of_host() if text == HOST else Platform.parse(text)


class Images:
    """Every manifest below the indexes under a root that is no attestation."""

    def __init__(self, read: Read, root: Descriptor) -> None:
        self._read = read
        self._leaves: t.List[Descriptor] = []
        post_order(root, self._children)

    def _children(self, desc: Descriptor) -> t.Sequence[Descriptor]:
        if mediatype.is_index(desc.media_type):
            return [child for child in parse(desc, self._read(desc)).manifests if not is_attestation(child)]
        if mediatype.is_image(desc.media_type):
            self._leaves.append(desc)
        return ()

    def choose(self, wanted: Platform, what: str) -> Descriptor:
        """The manifest that fits best. Configs are only read when no entry that states its platform fits (as containerd does).

        Raises NotFoundError, which says what there is.
        """
        found = best(self._leaves, wanted)
        if found is None:
            self._leaves = [self._stating(desc) for desc in self._leaves]
            found = best(self._leaves, wanted)
        if found is None:
            raise nothing_for(wanted, self._leaves, what)
        return found

    def _stating(self, desc: Descriptor) -> Descriptor:
        """With the config's platform where the descriptor has none (image-index.md: it is optional)."""
        stated = image_platform(desc, self._read) if platform_of(desc) is None else None
        return replace(desc, platform=stated.to_json()) if stated is not None else desc


def image_platform(desc: Descriptor, read: Read) -> t.Optional[Platform]:
    """The platform that an image's config has; None for an artifact, which has no such config."""
    document = parse(desc, read(desc))
    if document.config is None or not has_config(document):
        return None
    return parse_config(read(document.config), f"the config of {desc.digest}").platform


def select_manifest(source: Fetcher, root: Descriptor, platform: Platform, given: bool = True, read: t.Optional[Read] = None) -> Descriptor:
    """The manifest under ``root`` for the platform. ``given``: whether somebody asked for it, so that an image for another is wrong.

    ``read`` gets documents (for a cache of them). Raises NotFoundError when an index has nothing for it, InvalidError when a single
    image is for another one.
    """
    reading = read or source.fetch_bytes
    with located(source.location):
        if mediatype.is_index(root.media_type):
            return Images(reading, root).choose(platform, f"the index {root.digest}")
        own = image_platform(root, reading) if given else None
        if own is not None and best([replace(root, platform=own.to_json())], platform) is None:
            raise InvalidError(f"{root.digest} is an image for {own}, not for {platform}")
    return root

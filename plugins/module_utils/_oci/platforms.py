# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Which manifests under a root are for which platform."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .content.store import Fetcher
from .spec import mediatype
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError, located
from .spec.graph import post_order
from .spec.image import has_config, parse_config
from .spec.manifest import parse
from .spec.platform import Platform, best, is_attestation, nothing_for, platform_of

HOST = "host"


def parse_platform(text: str) -> Platform:
    """``os/architecture[/variant]``, or ``host`` for Linux on this machine's processor. Raises InvalidError."""
    return Platform.of_host() if text == HOST else Platform.parse(text)


@dataclass(frozen=True)
class Images:
    """``leaves``: every manifest below the indexes that is no attestation, with the platform that it states or its config has."""

    leaves: t.Tuple[Descriptor, ...]

    @classmethod
    def under(cls, src: Fetcher, root: Descriptor) -> Images:
        leaves: t.List[Descriptor] = []

        def children(desc: Descriptor) -> t.Sequence[Descriptor]:
            if mediatype.is_index(desc.media_type):
                return [child for child in parse(desc, src.fetch_bytes(desc)).manifests if not is_attestation(child)]
            if mediatype.is_image(desc.media_type):
                leaves.append(desc)
            return ()

        with located(src.location):
            post_order(root, children)
        return cls(tuple(_stated(src, desc) for desc in leaves))

    def choose(self, wanted: Platform, what: str) -> Descriptor:
        """The manifest that fits best. Raises NotFoundError, which says what there is."""
        found = best(self.leaves, wanted)
        if found is None:
            raise nothing_for(wanted, self.leaves, what)
        return found


def _stated(src: Fetcher, desc: Descriptor) -> Descriptor:
    """With the config's platform where the descriptor has none (image-index.md: it is optional)."""
    if platform_of(desc) is not None:
        return desc
    stated = image_platform(src, desc)
    return replace(desc, platform=stated.to_json()) if stated is not None else desc


def image_platform(src: Fetcher, desc: Descriptor) -> t.Optional[Platform]:
    """The platform that an image's config has; None for an artifact, which has no such config."""
    document = parse(desc, src.fetch_bytes(desc))
    if document.config is None or not has_config(document):
        return None
    return parse_config(src.fetch_bytes(document.config), f"the config of {desc.digest}").platform


def select_manifest(source: Fetcher, root: Descriptor, platform: Platform, given: bool = True) -> Descriptor:
    """The manifest under ``root`` for the platform. ``given``: whether somebody asked for it, so that an image for another is wrong.

    Raises NotFoundError when an index has nothing for it, InvalidError when a single image is for another one.
    """
    if mediatype.is_index(root.media_type):
        with located(source.location):
            chosen = Images.under(source, root).choose(platform, f"the index {root.digest}")
        return replace(chosen, platform=None)
    own = image_platform(source, root) if given else None
    if own is not None and best([replace(root, platform=own.to_json())], platform) is None:
        with located(source.location):
            raise InvalidError(f"{root.digest} is an image for {own}, not for {platform}")
    return root

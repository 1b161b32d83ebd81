# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The image whose layers are unpacked: which manifest it is, and what its config says of the layers."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..content.store import Fetcher
from ..documents import Documents
from ..platforms import select_manifest
from ..spec import image, manifest, mediatype
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import InvalidError, NotFoundError, located
from ..spec.platform import Platform, candidates


@dataclass(frozen=True)
class Image:
    """``manifest``: the one under ``root`` that is unpacked. ``layers``: the lowest first, each with a diff_id."""

    root: Descriptor
    manifest: Descriptor
    platform: t.Optional[Platform]
    layers: t.Tuple[Descriptor, ...]
    diff_ids: t.Tuple[Digest, ...]


def read_image(src: Fetcher, root: Descriptor, documents: Documents, platform: t.Optional[Platform] = None) -> Image:
    """The image under ``root`` for ``platform``; without one for this machine, where ``root`` leaves a choice.

    Raises NotFoundError when there is none, InvalidError for an artifact and for layers that are no root file system.
    """
    chosen = select_manifest(src, root, platform or Platform.of_host(), given=False, read=documents.read)
    with located(src.location):
        document = manifest.parse(chosen, documents.read(chosen))
        config_desc = document.config
        if config_desc is None or not image.has_config(document):
            raise InvalidError(f"{chosen.digest} is an artifact, which has no root file system: pull its files with unpack=files")
        config = image.parse_config(documents.read(config_desc), f"config {config_desc.digest}")
        image.check_layers(config, document, f"image {chosen.digest}")
        if platform is not None and config.platform not in candidates(platform):
            raise NotFoundError(f"image {chosen.digest} is for {config.platform or 'no platform'}, not for {platform}")
        _check_types(document.layers)
    return Image(root, chosen, config.platform, document.layers, config.diff_ids)


def _check_types(layers: t.Sequence[Descriptor]) -> None:
    for desc in layers:
        if mediatype.parse_layer(desc.media_type) is None:
            raise InvalidError(f"the layer {desc} is no layer of a root file system: pull it as a file with unpack=files")

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The config of an image: how its layers become a root file system (image-spec config.md)."""

from __future__ import annotations

import typing as t

from . import mediatype, strictjson
from .digest import Digest
from .errors import InvalidError
from .manifest import Manifest
from .platform import Platform


class ImageConfig(t.NamedTuple):
    """``document`` as it was read; ``diff_ids``: digests of the layers' uncompressed tars, the lowest first."""

    document: t.Mapping[str, t.Any]
    diff_ids: t.Tuple[Digest, ...]
    platform: t.Optional[Platform]

    @property
    def history(self) -> t.List[t.Dict[str, t.Any]]:
        """[] when there is none, or none that can be used."""
        found = self.document.get("history")
        return list(found) if isinstance(found, list) and all(isinstance(item, dict) for item in found) else []

    @property
    def runtime(self) -> t.Dict[str, t.Any]:
        """The fields of ``config`` (Env, Cmd, ...) that are not null."""
        found = self.document.get("config")
        return {name: value for name, value in found.items() if value is not None} if isinstance(found, dict) else {}


def has_config(manifest: Manifest) -> bool:
    """Whether the manifest is an image that can run, not an artifact."""
    return manifest.config is not None and manifest.config.media_type in mediatype.IMAGE_CONFIGS


def parse_config(content: bytes, what: str) -> ImageConfig:
    """Raises InvalidError for what is not an image's config; ``what`` names it."""
    document = strictjson.load_object(content, what)
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise InvalidError(f"{what} has no rootfs of the type 'layers'")
    diff_ids = rootfs.get("diff_ids")
    if diff_ids is None:
        diff_ids = []  # as Go writes a nil slice
    if not isinstance(diff_ids, list):
        raise InvalidError(f"{what} has rootfs.diff_ids that are not a list")
    return ImageConfig(document, tuple(Digest(diff_id) for diff_id in diff_ids), Platform.from_json(document))


def check_layers(config: ImageConfig, manifest: Manifest, what: str) -> None:
    """Raises InvalidError unless there is one diff_id for each layer (config.md, "rootfs")."""
    if len(config.diff_ids) != len(manifest.layers):
        raise InvalidError(f"{what} has {len(manifest.layers)} layers, and its config says {len(config.diff_ids)}")

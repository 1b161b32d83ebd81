# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Media types (image-spec media-types.md; Docker's image manifest v2 schema 2)."""

from __future__ import annotations

import re
import typing as t

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

# What a manifest request accepts: with less, a registry may answer another document than the tag's (oci-rules: distribution manifest-v2-2).
ACCEPTED_MANIFESTS = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST)
SCHEMA1_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
# The deprecated types that registries are not meant to hold (layer.md, "Non-Distributable Layers").
_NONDISTRIBUTABLE = (
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)
# What a config has to be called for the layers to be a root file system.
IMAGE_CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
_OCI_LAYERS = (OCI_LAYER, _NONDISTRIBUTABLE[0])
_DOCKER_LAYERS = ("application/vnd.docker.image.rootfs.diff.tar", _NONDISTRIBUTABLE[1])
_OCI_SUFFIXES = {"": "none", "+gzip": "gzip", "+zstd": "zstd"}
_DOCKER_SUFFIXES = {"": "none", ".gzip": "gzip", ".zstd": "zstd"}
# OCI and Docker names of the same documents (image-spec media-types.md, "Compatibility Matrix").
_DOCUMENTS = ((OCI_MANIFEST, DOCKER_MANIFEST), (OCI_INDEX, DOCKER_LIST), (OCI_CONFIG, DOCKER_CONFIG))
_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}", re.ASCII)


def is_valid(media_type: object) -> bool:
    """RFC 6838 type name without parameters (image-spec descriptor.md)."""
    return isinstance(media_type, str) and _VALID.fullmatch(media_type) is not None


def is_image(media_type: str) -> bool:
    """An image manifest: config and layers."""
    return media_type in (OCI_MANIFEST, DOCKER_MANIFEST)


def is_index(media_type: str) -> bool:
    """An image index or Docker manifest list."""
    return media_type in (OCI_INDEX, DOCKER_LIST)


def is_manifest(media_type: str) -> bool:
    """A document that lives under /manifests/ in a registry and has successors."""
    return is_image(media_type) or is_index(media_type)


def is_nondistributable(media_type: str) -> bool:
    return media_type.startswith(_NONDISTRIBUTABLE)


class Layer(t.NamedTuple):
    """What a layer's media type says: ``compression`` is ``none``, ``gzip`` or ``zstd``."""

    docker: bool
    distributable: bool
    compression: str

    def __str__(self) -> str:
        bases, suffixes = (_DOCKER_LAYERS, _DOCKER_SUFFIXES) if self.docker else (_OCI_LAYERS, _OCI_SUFFIXES)
        suffix = next(suffix for suffix, compression in suffixes.items() if compression == self.compression)
        return bases[0 if self.distributable else 1] + suffix


def parse_layer(media_type: str) -> t.Optional[Layer]:
    """The layer of a root file system that this is the type of; None for anything else."""
    for docker, bases, suffixes in ((False, _OCI_LAYERS, _OCI_SUFFIXES), (True, _DOCKER_LAYERS, _DOCKER_SUFFIXES)):
        for base in bases:
            if media_type.startswith(base) and media_type[len(base) :] in suffixes:
                return Layer(docker, base == bases[0], suffixes[media_type[len(base) :]])
    return None


def converted(media_type: str, docker: bool) -> str:
    """The Docker or OCI name of a manifest, index, config or layer; any other type is the same in both."""
    layer = parse_layer(media_type)
    if layer is not None:
        return str(layer._replace(docker=docker))
    return next((pair[docker] for pair in _DOCUMENTS if media_type in pair), media_type)

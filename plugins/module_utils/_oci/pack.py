# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Images and artifacts over new and reused content (image-spec manifest.md, config.md; oras's conventions for files).

Everything new goes into an Overlay; a copy of the root from there is what writes it.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .content.overlay import Overlay, Spool
from .content.store import Source
from .given import GivenTar
from .layer import Tree, compress, content_digest, file_digest, open_regular
from .spec import manifest, mediatype, strictjson
from .spec.descriptor import EMPTY, EMPTY_CONTENT, TITLE, Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, MismatchError, NotFoundError
from .spec.platform import Platform

CREATED = "org.opencontainers.image.created"
UNPACK = "io.deis.oras.content.unpack"
CONTENT_DIGEST = "io.deis.oras.content.digest"
UNKNOWN_ARTIFACT = "application/vnd.unknown.artifact.v1"
_CREATED_BY = "lading.oci.oci_layout_build"
_CONFIG_TYPES = (mediatype.OCI_CONFIG, "application/vnd.docker.container.image.v1+json")

LayerSource = t.Union[Tree, GivenTar]
# Layers that need not be made again, by the digest of their uncompressed tar.
Known = t.Mapping[Digest, Descriptor]


@dataclass(frozen=True)
class File:
    """One file or folder of an artifact; ``media_type`` None is oras's for files or folders."""

    source: t.Union[str, Tree]
    title: str
    media_type: t.Optional[str] = None
    annotations: t.Mapping[str, str] = field(default_factory=dict)


class Packer:
    """Packs into ``overlay``; large content goes to ``spool``; ``known`` layers are taken over as they are."""

    def __init__(self, overlay: Overlay, spool: Spool, known: Known) -> None:
        self._overlay = overlay
        self._spool = spool
        self._known = known

    def image(
        self,
        layers: t.Sequence[LayerSource],
        platform: Platform,
        config: t.Mapping[str, t.Any],
        annotations: t.Mapping[str, str],
        created: t.Optional[str],
    ) -> Descriptor:
        """An image manifest. ``config`` has the names of config.md ("Cmd", "Env", ...); ``created`` is RFC 3339."""
        packed = [self._layer(layer) for layer in layers]
        dated = {"created": created} if created else {}
        document: t.Dict[str, t.Any] = {**dated, **platform.to_json()}
        if config:
            document["config"] = dict(config)
        document["rootfs"] = {"type": "layers", "diff_ids": [diff_id for _desc, diff_id in packed]}
        document["history"] = [{**dated, "created_by": _CREATED_BY} for _layer in packed]
        config_desc = self._document(document, mediatype.OCI_CONFIG)
        return self._manifest(config_desc, [desc for desc, _diff_id in packed], annotations)

    def artifact(
        self, artifact_type: str, files: t.Sequence[File], annotations: t.Mapping[str, str], created: t.Optional[str]
    ) -> Descriptor:
        """An artifact manifest as ``oras push`` makes it, but for the time of the day (manifest.md, "Guidelines for Artifact Usage")."""
        _check_titles(files)
        self._overlay.add_bytes(EMPTY, EMPTY_CONTENT)
        layers = [self._file(file) for file in files] or [EMPTY]
        dated = {CREATED: created} if created else {}
        return self._manifest(EMPTY, layers, {**dated, **annotations}, artifact_type)

    def _layer(self, source: LayerSource) -> t.Tuple[Descriptor, Digest]:
        """Descriptor and diff_id of a layer."""
        if isinstance(source, GivenTar) and source.is_gzip:
            measured = source.measure()
            desc = Descriptor(mediatype.OCI_LAYER_GZIP, measured.digest, measured.size)
            self._overlay.add(desc, lambda: open_regular(source.path))
            return desc, measured.content_digest
        return self._compressed(source, mediatype.OCI_LAYER_GZIP)

    def _compressed(self, source: LayerSource, media_type: str) -> t.Tuple[Descriptor, Digest]:
        """Compression is what costs, and what another zlib does differently: what is known by its content is not compressed again."""
        if self._known:
            diff_id = content_digest(source.write_tar)
            if diff_id in self._known:
                return self._known[diff_id], diff_id
        file = self._spool.open()
        done = compress(source.write_tar, file)
        desc = Descriptor(media_type, done.digest, done.size)
        self._overlay.add_spooled(desc, file)
        return desc, done.content_digest

    def _file(self, file: File) -> Descriptor:
        titled = {**file.annotations, TITLE: file.title}
        if isinstance(file.source, Tree):
            media_type = file.media_type or mediatype.OCI_LAYER_GZIP
            desc, unpacked = self._compressed(file.source, media_type)
            unpack = {**titled, UNPACK: "true", CONTENT_DIGEST: unpacked}
            return Descriptor(media_type, desc.digest, desc.size, unpack)
        path = file.source
        digest, size = file_digest(path)
        desc = Descriptor(file.media_type or mediatype.OCI_LAYER, digest, size, titled)
        self._overlay.add(desc, lambda: open_regular(path))
        return desc

    def _document(self, document: t.Mapping[str, t.Any], media_type: str) -> Descriptor:
        content = strictjson.dumps(document)
        desc = Descriptor.of(content, media_type)
        self._overlay.add_bytes(desc, content)
        return desc

    def _manifest(
        self, config: Descriptor, layers: t.Sequence[Descriptor], annotations: t.Mapping[str, str], artifact_type: str = ""
    ) -> Descriptor:
        """Fields in the order that Go writes them: the same content then has the digest that oras gives it."""
        document: t.Dict[str, t.Any] = {"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST}
        if artifact_type:
            document["artifactType"] = artifact_type
        document["config"] = config.to_json()
        document["layers"] = [layer.to_json() for layer in layers]
        if annotations:
            document["annotations"] = dict(sorted(annotations.items()))
        return self._document(document, mediatype.OCI_MANIFEST)


def _check_titles(files: t.Sequence[File]) -> None:
    seen: t.Set[str] = set()
    for file in files:
        if file.title in seen:
            raise InvalidError(f"two files have the title {file.title!r}: give one of them another title")
        seen.add(file.title)


def known_layers(store: Source, reference: str) -> t.Dict[Digest, Descriptor]:
    """The layers of what ``reference`` names now, by the digests of their uncompressed tars.

    {} when it names nothing, or nothing that can be read: then all is made anew, which is right too.
    """
    try:
        root = store.lookup(reference)
        if root is None or not mediatype.is_image(root.media_type):
            return {}
        document = manifest.parse(root, store.fetch_bytes(root))
        found = {**_unpackable(document), **_image_layers(store, document)}
        return {digest: desc for digest, desc in found.items() if store.exists(desc)}
    except (InvalidError, MismatchError, NotFoundError):
        return {}


def _unpackable(document: manifest.Manifest) -> t.Dict[Digest, Descriptor]:
    marked = [layer for layer in document.layers if CONTENT_DIGEST in layer.annotations]
    return {Digest(layer.annotations[CONTENT_DIGEST]): _bare(layer) for layer in marked}


def _image_layers(store: Source, document: manifest.Manifest) -> t.Dict[Digest, Descriptor]:
    if document.config is None or document.config.media_type not in _CONFIG_TYPES:
        return {}
    config = strictjson.load_object(store.fetch_bytes(document.config), "the image's config")
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or len(diff_ids) != len(document.layers):
        return {}
    return {Digest(diff_id): _bare(layer) for diff_id, layer in zip(diff_ids, document.layers)}


def _bare(layer: Descriptor) -> Descriptor:
    return Descriptor(layer.media_type, layer.digest, layer.size)

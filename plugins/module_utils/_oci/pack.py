# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Images and artifacts over new and reused content (image-spec manifest.md, config.md; oras's conventions for files).

Everything new goes into an Overlay; a copy of the root from there is what writes it.
"""

from __future__ import annotations

import typing as t

from .content import compression as codec
from .content.overlay import Overlay
from .given import GivenTar
from .layer import Tree, file_digest, open_regular
from .layer_maker import LayerMaker
from .spec import image, manifest, mediatype, strictjson
from .spec.descriptor import CONTENT_DIGEST, CREATED, EMPTY, EMPTY_CONTENT, TITLE, UNPACK, Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError
from .whiteout import Whiteouts

if t.TYPE_CHECKING:
    from .artifact_files import Artifact, File
    from .base import Base

_CREATED_BY = "lading.oci.oci_layout_build"
_LAYER_TYPES = {codec.NONE: mediatype.OCI_LAYER, codec.GZIP: mediatype.OCI_LAYER_GZIP, codec.ZSTD: mediatype.OCI_LAYER_ZSTD}


class Layer(t.NamedTuple):
    """One layer of an image. ``compression`` None: gzip, or a tar that is gzip or zstd as it is; ``level`` None: the codec's default."""

    source: t.Union[Tree, GivenTar, Whiteouts]
    compression: t.Optional[str] = None
    level: t.Optional[int] = None


class Packer:
    """Packs into ``overlay``; layers are of ``maker``, which has the same overlay."""

    def __init__(self, overlay: Overlay, maker: LayerMaker) -> None:
        self._overlay = overlay
        self._maker = maker

    def image(
        self,
        base: Base,
        layers: t.Sequence[Layer],
        config: t.Mapping[str, t.Any],
        annotations: t.Mapping[str, str],
        created: t.Optional[str],
    ) -> Descriptor:
        """An image manifest of the layers over those of ``base``. ``config`` is check_config's; ``created`` is RFC 3339.

        Of the base's own layers nothing is read. What its config says and nothing here changes is kept, but for the time.
        """
        packed = [self._layer(layer) for layer in layers]
        document = _config_document(base, [diff_id for _desc, diff_id in packed], config, created)
        config_desc = self._document(document, mediatype.OCI_CONFIG)
        root = self._manifest(config_desc, [*base.layers, *(desc.to_json() for desc, _diff_id in packed)], annotations)
        self._check(root)
        return root

    def artifact(self, artifact: Artifact) -> Descriptor:
        """An artifact manifest as ``oras push`` makes it, but for the time of the day (manifest.md, "Guidelines for Artifact Usage")."""
        _check_titles(artifact.files)
        if artifact.config is None or not artifact.files:
            self._overlay.add_bytes(EMPTY, EMPTY_CONTENT)
        config = self._plain(artifact.config, {}) if artifact.config is not None else EMPTY
        layers = [self._file(file) for file in artifact.files] or [EMPTY]
        dated = {CREATED: artifact.created} if artifact.created else {}
        annotations = {**dated, **artifact.annotations}
        return self._manifest(config, [layer.to_json() for layer in layers], annotations, artifact.artifact_type, artifact.subject)

    def _layer(self, layer: Layer) -> t.Tuple[Descriptor, Digest]:
        """Descriptor and diff_id of a layer."""
        source = layer.source
        if isinstance(source, GivenTar) and layer.compression is None and layer.level is None:
            found = source.codec
            if found in (codec.GZIP, codec.ZSTD):
                measured = source.measure()
                desc = Descriptor(_LAYER_TYPES[found], measured.digest, measured.size)
                self._overlay.add(desc, lambda: open_regular(source.path))
                return desc, measured.content_digest
        wanted = layer.compression or codec.GZIP
        return self._compressed(source, _LAYER_TYPES[wanted], wanted, layer.level)

    def _compressed(
        self, source: t.Union[Tree, GivenTar, Whiteouts], media_type: str, wanted: str = codec.GZIP, level: t.Optional[int] = None
    ) -> t.Tuple[Descriptor, Digest]:
        done = self._maker.make(source, wanted, level)
        return Descriptor(media_type, done.digest, done.size), done.content_digest

    def _file(self, file: File) -> Descriptor:
        titled = {**file.annotations, TITLE: file.title}
        if isinstance(file.source, Tree):
            media_type = file.media_type or mediatype.OCI_LAYER_GZIP
            desc, unpacked = self._compressed(file.source, media_type)
            unpack = {**titled, UNPACK: "true", CONTENT_DIGEST: unpacked}
            return Descriptor(media_type, desc.digest, desc.size, unpack)
        return self._plain(file, titled)

    def _plain(self, file: File, annotations: t.Mapping[str, str]) -> Descriptor:
        """The bytes of a file as they are."""
        path = t.cast(str, file.source)
        digest, size = file_digest(path)
        desc = Descriptor(file.media_type or mediatype.OCI_LAYER, digest, size, {**file.annotations, **annotations})
        self._overlay.add(desc, lambda: open_regular(path))
        return desc

    def _document(self, document: t.Mapping[str, t.Any], media_type: str) -> Descriptor:
        content = strictjson.dumps(document)
        desc = Descriptor.of(content, media_type)
        self._overlay.add_bytes(desc, content)
        return desc

    def _manifest(
        self,
        config: Descriptor,
        layers: t.Sequence[t.Mapping[str, t.Any]],
        annotations: t.Mapping[str, str],
        artifact_type: str = "",
        subject: t.Optional[Descriptor] = None,
    ) -> Descriptor:
        """Fields in the order that Go writes them: the same content then has the digest that oras gives it."""
        document: t.Dict[str, t.Any] = {"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST}
        if artifact_type:
            document["artifactType"] = artifact_type
        document["config"] = config.to_json()
        document["layers"] = list(layers)
        if subject is not None:
            document["subject"] = Descriptor(subject.media_type, subject.digest, subject.size).to_json()
        if annotations:
            document["annotations"] = dict(sorted(annotations.items()))
        return self._document(document, mediatype.OCI_MANIFEST)

    def _check(self, root: Descriptor) -> None:
        """Raises InvalidError for an image that would contradict itself: what cannot be read back is not published."""
        document = manifest.parse(root, self._overlay.fetch_bytes(root))
        what = f"the image {root.digest}"
        config = image.parse_config(self._overlay.fetch_bytes(t.cast(Descriptor, document.config)), f"the config of {what}")
        image.check_layers(config, document, what)


def _config_document(
    base: Base, diff_ids: t.Sequence[Digest], given: t.Mapping[str, t.Any], created: t.Optional[str]
) -> t.Dict[str, t.Any]:
    """The config of the base, with the layers and fields that come to it (config.md); fields that are not known stay as they are."""
    inherited = base.config.document
    dated = {"created": created} if created else {}
    # The base's time is not that of what is built on it.
    document = {**dated, **{name: value for name, value in inherited.items() if name not in ("created", "config", "rootfs", "history")}}
    from .runtime import merged  # artifacts need none of it, and each run compiles what it imports

    runtime = merged(base.config.runtime, dict(given))
    if runtime:
        document["config"] = runtime
    own = {"type": "layers", "diff_ids": [*base.config.diff_ids, *diff_ids]}
    document["rootfs"] = {**inherited.get("rootfs", {}), **own}
    made = {**dated, "created_by": _CREATED_BY}
    # As docker build and umoci: a change of the config alone is a step that made no layer.
    configured = [{**made, "empty_layer": True}] if given and base.digest else []
    document["history"] = [*base.history, *([made] * len(diff_ids)), *configured]
    return document


def _check_titles(files: t.Sequence[File]) -> None:
    seen: t.Set[str] = set()
    for file in files:
        if file.title in seen:
            raise InvalidError(f"two files have the title {file.title!r}: give one of them another title")
        seen.add(file.title)

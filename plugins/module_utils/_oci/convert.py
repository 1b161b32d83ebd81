# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Images in the other family of media types, or with layers compressed otherwise: new manifests over the same root file systems.

Configs keep their bytes, so images keep their IDs and diff_ids. Every digest above a changed one changes.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .content.codec import Deflater, plain
from .content.overlay import Overlay, Spool
from .content.store import CHUNK
from .conversion import Conversion
from .known import Known
from .layer import Digesting
from .spec import mediatype, strictjson
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, MismatchError
from .spec.image import check_layers, has_config, parse_config
from .spec.manifest import Manifest, parse
from .spec.platform import REFERENCE_DIGEST, is_attestation
from .spec.progress import PROGRESS

# What Docker's documents have no field for.
_OCI_ONLY = ("annotations", "artifactType", "subject")
# Annotations that speak of a layer's compressed bytes (eStargz, zstd:chunked).
_OF_THE_BYTES = ("containerd.io/snapshot/stargz/", "io.containers.estargz.", "io.github.containers.zstd-chunked.")


class Converter:
    """Converts what ``overlay`` has, into it. ``stored``: layers of the destination that need not be made again.

    ``reused``: those of them that were taken. ``dropped``: attestations of images whose digests have changed; they speak of the old ones.
    """

    def __init__(self, overlay: Overlay, spool: Spool, wanted: Conversion, stored: Known) -> None:
        self._overlay = overlay
        self._spool = spool
        self._wanted = wanted
        self._stored = stored
        self._made: t.Dict[Digest, Descriptor] = {}
        self.reused: t.Set[Digest] = set()
        self.dropped: t.List[Descriptor] = []

    def convert(self, root: Descriptor) -> Descriptor:
        """The root of what ``root`` becomes; ``root`` itself when there is nothing to convert.

        Raises InvalidError for what the wanted form cannot hold, MismatchError for a layer that is not what its image's config says.
        """
        if root.digest not in self._made:
            is_index = mediatype.is_index(root.media_type)
            self._made[root.digest] = self._index(root) if is_index else self._image(root)
        return self._made[root.digest]

    def _index(self, index: Descriptor) -> Descriptor:
        content = self._overlay.fetch_bytes(index)
        entries = parse(index, content).manifests
        document = strictjson.load_object(content, f"the index {index.digest}")
        made = {desc.digest: self.convert(desc) for desc in entries if not is_attestation(desc) and mediatype.is_manifest(desc.media_type)}
        changed = {digest for digest, desc in made.items() if desc.digest != digest}
        raws, document["manifests"] = document["manifests"] or [], []
        for raw, desc in zip(raws, entries):
            if is_attestation(desc) and (desc.annotations.get(REFERENCE_DIGEST) in changed or self._wanted.docker):
                self.dropped.append(desc)
            else:
                document["manifests"].append(self._entry(raw, made.get(desc.digest, desc)))
        return self._document(index, document)

    def _entry(self, raw: t.Dict[str, t.Any], desc: Descriptor) -> t.Dict[str, t.Any]:
        """The entry of an index, as it was read, for what it has become."""
        if raw.get("digest") == desc.digest and not self._wanted.docker:
            return raw
        entry = {**raw, "mediaType": desc.media_type, "digest": str(desc.digest), "size": desc.size}
        entry.pop("data", None)
        return _without(entry, _OCI_ONLY) if self._wanted.docker else entry

    def _image(self, desc: Descriptor) -> Descriptor:
        content = self._overlay.fetch_bytes(desc)
        image = parse(desc, content)
        if not has_config(image):
            if self._wanted.docker:
                raise InvalidError(f"{desc.digest} is an artifact, which cannot be had in Docker's format")
            return desc
        if self._wanted.docker and image.subject is not None:
            raise InvalidError(f"{desc.digest} has a subject, which Docker's format has no place for")
        layers = self._layers(desc, image)
        document = strictjson.load_object(content, f"the manifest {desc.digest}")
        config = t.cast(Descriptor, image.config)
        document["config"] = self._part(document["config"], self._typed(config))
        document["layers"] = [self._part(raw, layer) for raw, layer in zip(document["layers"] or [], layers)]
        return self._document(desc, document)

    def _part(self, raw: t.Dict[str, t.Any], desc: Descriptor) -> t.Dict[str, t.Any]:
        part = {**raw, "mediaType": desc.media_type, "digest": str(desc.digest), "size": desc.size}
        if part["digest"] != raw["digest"]:
            part = _without(part, ("data", "annotations"))
            kept = {name: value for name, value in (raw.get("annotations") or {}).items() if not name.startswith(_OF_THE_BYTES)}
            part.update({"annotations": kept} if kept else {})
        return _without(part, (*_OCI_ONLY, "data")) if self._wanted.docker else part

    def _typed(self, desc: Descriptor) -> Descriptor:
        if self._wanted.docker is None:
            return desc
        return replace(desc, media_type=mediatype.converted(desc.media_type, self._wanted.docker))

    def _document(self, old: Descriptor, document: t.Dict[str, t.Any]) -> Descriptor:
        """The new document; the old one when that says the same: its bytes stay."""
        media_type = self._typed(old).media_type
        if self._wanted.docker:
            document = _without(document, _OCI_ONLY)
        if media_type != old.media_type:
            document = {"schemaVersion": 2, "mediaType": media_type, **_without(document, ("schemaVersion", "mediaType"))}
        if document == strictjson.load_object(self._overlay.fetch_bytes(old), "the document"):
            return old
        content = strictjson.dumps(document)
        desc = replace(old, media_type=media_type, digest=Digest.of(content), size=len(content), data=None)
        self._overlay.add_bytes(desc, content)
        return desc

    def _layers(self, desc: Descriptor, image: Manifest) -> t.List[Descriptor]:
        if self._wanted.compression is None:
            layers = [self._typed(layer) for layer in image.layers]
        else:
            what = f"the image {desc.digest}"
            config = parse_config(self._overlay.fetch_bytes(t.cast(Descriptor, image.config)), f"the config of {what}")
            check_layers(config, image, what)
            layers = [self._compressed(self._typed(layer), diff_id) for layer, diff_id in zip(image.layers, config.diff_ids)]
        for layer in layers:
            kind = mediatype.parse_layer(layer.media_type)
            if kind is not None and kind.docker and kind.compression == "zstd":
                raise InvalidError(
                    f"the layer {layer.digest} would be zstd, which Docker's format does not have: give compression gzip, or format oci"
                )
        return layers

    def _compressed(self, desc: Descriptor, diff_id: Digest) -> Descriptor:
        kind = mediatype.parse_layer(desc.media_type)
        wanted = t.cast(str, self._wanted.compression)
        if kind is None or kind.compression == wanted or not kind.distributable:
            return desc
        media_type = str(kind._replace(compression=wanted))
        known = self._stored.get((diff_id, wanted))
        if known is not None:
            self.reused.add(known.digest)
        else:
            known = self._made.get(diff_id) or self._compress(desc, diff_id, media_type)
            self._made[diff_id] = known
        return Descriptor(media_type, known.digest, known.size, desc.annotations)

    def _compress(self, desc: Descriptor, diff_id: Digest, media_type: str) -> Descriptor:
        file = self._spool.open()
        blob = Digesting(file)
        deflater = Deflater(blob, t.cast(str, self._wanted.compression), self._wanted.level)
        content = Digesting(deflater)
        PROGRESS.expect([desc])
        with self._overlay.fetch(desc) as reader:
            stream = plain(reader, f"the layer {desc.digest}")
            for chunk in iter(lambda: stream.read(CHUNK), b""):
                content.write(chunk)
            for _rest in reader.pieces():  # what follows the compressed content belongs to the blob's digest
                pass
        deflater.finish()
        if content.digest != diff_id:
            raise MismatchError(f"the layer {desc.digest} unpacks to {content.digest}, its image's config says {diff_id}")
        made = Descriptor(media_type, blob.digest, blob.size)
        self._overlay.add_spooled(made, file)
        return made


def _without(document: t.Mapping[str, t.Any], names: t.Sequence[str]) -> t.Dict[str, t.Any]:
    return {name: value for name, value in document.items() if name not in names}

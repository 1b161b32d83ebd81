# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What ``docker save`` writes, read: manifest.json beside a layout or alone (moby's image spec v1.2; oci-rules 1.3).

Such an image has no manifest with a digest. One is made here, always the same from the same archive: the config as it is, the layers as
they are, most often not compressed, and then their digests are the config's diff_ids.
"""

from __future__ import annotations

import io
import re
import typing as t
from dataclasses import dataclass

from ..spec import mediatype, strictjson
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest, looks_like_digest
from ..spec.errors import InvalidError, MismatchError, NotFoundError
from ..spec.graph import post_order
from ..spec.image import parse_config
from ..spec.manifest import successors
from ..spec.reference import full_image_name
from .archive import Archive
from .archive_file import DOCKER_MANIFEST, ArchiveFile
from .codec import GZIP, MAGIC_SIZE, NONE, ZSTD, sniff
from .slices import Slice
from .store import CHUNK, RawReader, Source

_HEX_NAME = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?", re.ASCII)
_POSITION = re.compile(r"@([0-9]{1,6})", re.ASCII)
_LAYER_TYPES = {NONE: mediatype.OCI_LAYER, GZIP: mediatype.OCI_LAYER_GZIP, ZSTD: mediatype.OCI_LAYER_ZSTD}
_MAX_IMAGES = 10_000
# Opens content from its start.
_Opener = t.Callable[[], RawReader]


@dataclass(frozen=True)
class _Saved:
    """One entry of manifest.json."""

    config: str
    tags: t.Tuple[str, ...]
    layers: t.Tuple[str, ...]


class SavedImages(Source):
    """The tar at ``path``: a layout, or what ``docker save`` wrote, which may be both.

    The layout comes first, when it has the ref and all its content; ``docker_only``: it is not looked at.
    """

    def __init__(self, path: str, docker_only: bool = False) -> None:
        self._layout = Archive(path)
        self._docker_only = docker_only
        self._images: t.Optional[t.List[_Saved]] = None
        self._made: t.Dict[Digest, _Opener] = {}

    @property
    def _file(self) -> ArchiveFile:
        return self._layout.opened()

    def _exists(self, desc: Descriptor) -> bool:
        return desc.digest in self._made or self._layout._exists(desc)

    def _open(self, desc: Descriptor) -> RawReader:
        made = self._made.get(desc.digest)
        return made() if made is not None else self._layout._open(desc)

    def _names(self) -> t.List[str]:
        if not self._has_docker_manifest:
            return self._layout._names()
        if not self._docker_only and self._layout_names():
            return self._layout_names()
        return list(dict.fromkeys(tag for image in self._read_images() for tag in image.tags))

    def _referrers(self, subject: Descriptor) -> t.List[Descriptor]:
        return [] if subject.digest in self._made else self._layout._referrers(subject)

    def _resolve(self, reference: t.Optional[str]) -> Descriptor:
        if not self._has_docker_manifest:
            if self._docker_only:
                raise self._no_docker_manifest()
            return self._layout._resolve(reference)
        if not self._docker_only:
            found = self._in_layout(reference)
            if found is not None:
                return found
        return self._manifest_of(reference)

    @property
    def _has_docker_manifest(self) -> bool:
        return DOCKER_MANIFEST in self._file.members

    def _no_docker_manifest(self) -> InvalidError:
        if "repositories" in self._file.members:
            return InvalidError("the tar was saved by a Docker older than 1.10, which is not supported: save it again with a newer one")
        return InvalidError(f"the tar has no {DOCKER_MANIFEST}: it was not written by docker save")

    def _layout_names(self) -> t.List[str]:
        try:
            return self._layout._names()
        except (InvalidError, NotFoundError):
            return []

    def _in_layout(self, reference: t.Optional[str]) -> t.Optional[Descriptor]:
        """What the layout's index names, when everything below it is there: docker save may write an empty one, or leave layers out."""
        try:
            found = self._layout._resolve(reference)
            complete = all(self._layout._exists(desc) for desc in self._graph(found))
        except (InvalidError, MismatchError, NotFoundError):
            return None
        return found if complete else None

    def _graph(self, root: Descriptor) -> t.List[Descriptor]:
        def children(desc: Descriptor) -> t.Sequence[Descriptor]:
            return successors(desc, self._layout.fetch_bytes(desc)) if mediatype.is_manifest(desc.media_type) else ()

        nodes = post_order(root, children)
        return [desc for desc in nodes if not mediatype.is_nondistributable(desc.media_type)]

    def _manifest_of(self, reference: t.Optional[str]) -> Descriptor:
        images = self._read_images()
        if reference is not None and looks_like_digest(reference):
            for image in images:
                desc = self._make(image)
                if desc.digest == reference:
                    return desc
            raise NotFoundError(f"no image {reference} in the archive")
        chosen = _chosen(images, reference)
        if len(set(chosen)) > 1:
            raise InvalidError(f"the name {reference!r} stands for {len(chosen)} images: say which is meant by its position, as @0")
        return self._make(chosen[0])

    def _read_images(self) -> t.List[_Saved]:
        if self._images is None:
            content = self._file.slice(DOCKER_MANIFEST).read(strictjson.MAX_DOCUMENT + 1)
            document = strictjson.loads(content, DOCKER_MANIFEST)
            if not isinstance(document, list) or not document or len(document) > _MAX_IMAGES:
                raise InvalidError(f"{DOCKER_MANIFEST} is not a list of 1 to {_MAX_IMAGES} images")
            self._images = [_saved(entry, f"{DOCKER_MANIFEST}[{number}]") for number, entry in enumerate(document)]
        return self._images

    def _make(self, image: _Saved) -> Descriptor:
        """The manifest of the image; from then on it and its content can be read here."""
        content = self._document(image.config)
        name = _HEX_NAME.fullmatch(image.config)
        config = Descriptor.of(content, mediatype.OCI_CONFIG)
        if name is not None and name.group(1) != config.digest.encoded:
            raise MismatchError(f"the config {image.config} has another digest: {config.digest}")
        diff_ids = parse_config(content, f"the config {image.config}").diff_ids
        if len(diff_ids) != len(image.layers):
            raise InvalidError(f"the config {image.config} says {len(diff_ids)} layers, {DOCKER_MANIFEST} says {len(image.layers)}")
        layers = [self._layer(path, diff_id) for path, diff_id in zip(image.layers, diff_ids)]
        document = {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        manifest = strictjson.dumps(document)
        desc = Descriptor.of(manifest, mediatype.OCI_MANIFEST)
        self._made[config.digest] = lambda: io.BytesIO(content)
        self._made[desc.digest] = lambda: io.BytesIO(manifest)
        return desc

    def _document(self, path: str) -> bytes:
        content = self._slice(path).read(strictjson.MAX_DOCUMENT + 1)
        if len(content) > strictjson.MAX_DOCUMENT:
            raise InvalidError(f"the config {path} has more than the limit of {strictjson.MAX_DOCUMENT} bytes")
        return content

    def _slice(self, path: str) -> Slice:
        return self._file.slice(self._file.followed(path))

    def _layer(self, path: str, diff_id: Digest) -> Descriptor:
        name = self._file.followed(path)
        codec = sniff(self._file.slice(name).read(MAGIC_SIZE))
        if codec not in _LAYER_TYPES:
            raise InvalidError(f"the layer {path} is compressed with {codec}, which layers cannot be")
        digest = diff_id if codec == NONE else self._digest(name)
        desc = Descriptor(_LAYER_TYPES[codec], digest, self._file.members[name].size)
        self._made[digest] = lambda: self._file.slice(name)
        return desc

    def _digest(self, name: str) -> Digest:
        running, content = Digest.of(b"").hasher(), self._file.slice(name)
        for chunk in iter(lambda: content.read(CHUNK), b""):
            running.update(chunk)
        return Digest.from_hash(running)


def _chosen(images: t.Sequence[_Saved], reference: t.Optional[str]) -> t.List[_Saved]:
    """The images that a name, or a position, stands for; at least one."""
    known = ", ".join([tag for image in images for tag in image.tags][:10]) or "no names"
    if reference is None:
        if len(images) > 1:
            raise InvalidError(f"the archive has {len(images)} images: say which is meant, by name or as @0 (it has {known})")
        return [images[0]]
    position = _POSITION.fullmatch(reference)
    if position is not None:
        if int(position.group(1)) >= len(images):
            raise NotFoundError(f"no image {reference} in the archive, which has {len(images)}")
        return [images[int(position.group(1))]]
    full = full_image_name(reference)
    found = [image for image in images if reference in image.tags]
    found = found or [image for image in images if full is not None and full in map(full_image_name, image.tags)]
    found = found or [image for image in images if reference in [tag.rpartition(":")[2] for tag in image.tags]]
    if not found:
        raise NotFoundError(f"no image {reference!r} in the archive (it has {known})")
    return found


def _saved(entry: t.Any, what: str) -> _Saved:
    if not isinstance(entry, dict):
        raise InvalidError(f"{what} is not an object")
    config, tags, layers = entry.get("Config"), entry.get("RepoTags"), entry.get("Layers")
    if not isinstance(config, str):
        raise InvalidError(f"{what} has no Config")
    for name, value in (("RepoTags", tags), ("Layers", layers)):
        if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise InvalidError(f"{what} has {name} that are not a list of strings")
    return _Saved(config, tuple(tags or ()), tuple(layers or ()))

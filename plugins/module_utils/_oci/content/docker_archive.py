# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What ``docker save`` writes: manifest.json, and the files of configs and layers that it names (moby, image/tarexport).

Such a tar has no image manifests. They are made here, from the configs and layers as they are: the same tar always gives the same digests.
"""

from __future__ import annotations

import io
import re
import typing as t
from dataclasses import dataclass

from ..spec import manifest, mediatype, strictjson
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest, looks_like_digest
from ..spec.errors import InvalidError, MismatchError, NotFoundError, located
from ..spec.image import parse_config
from ..spec.reference import image_name, position_of
from ..spec.strictjson import MAX_DOCUMENT
from .archive_file import DOCKER_MANIFEST, ArchiveFile, Member
from .codec import MAGIC_SIZE, sniff
from .compression import GZIP, NONE, ZSTD
from .slices import Slice
from .store import CHUNK, RawReader, Source

_LAYER_TYPES = {NONE: mediatype.OCI_LAYER, GZIP: mediatype.OCI_LAYER_GZIP, ZSTD: mediatype.OCI_LAYER_ZSTD}
# Names that promise a digest: <hex>.json of Docker, sha256:<hex> of crane, blobs/sha256/<hex> of a layout.
_CONFIG_NAMES = re.compile(r"(?:sha256:|blobs/sha256/)?([0-9a-f]{64})(?:\.json)?", re.ASCII)
_BLOB_NAMES = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)", re.ASCII)


@dataclass(frozen=True)
class Saved:
    """One entry of manifest.json: names of files in the tar; ``tags`` are full image names."""

    config: str
    tags: t.Tuple[str, ...]
    layers: t.Tuple[str, ...]


class DockerArchive(Source):
    """An open tar of ``docker save``, to read. Raises InvalidError for a manifest.json that is not one."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file
        self.images = parse_saved(_document(file))
        self._content: t.Dict[Digest, t.Union[Member, bytes]] = {}
        self._roots: t.Dict[int, Descriptor] = {}

    def config_of(self, root: Descriptor) -> Descriptor:
        """The config of an image that was resolved."""
        # Made here, so it has one.
        return t.cast(Descriptor, manifest.parse(root, self.fetch_bytes(root)).config)

    def _names(self) -> t.List[str]:
        return list(dict.fromkeys(tag for image in self.images for tag in image.tags))

    def _resolve(self, reference: t.Optional[str]) -> Descriptor:
        if reference is None:
            return self._only(range(len(self.images)), "the archive")
        if looks_like_digest(reference):
            return self._with_digest(Digest(reference))
        position = position_of(reference)
        if position is not None:
            return self._at(position)
        return self._only(self._named(reference), f"the name {reference!r}")

    def _at(self, position: int) -> Descriptor:
        if position >= len(self.images):
            raise NotFoundError(f"no image @{position} in the archive: it has {len(self.images)}, counted from @0")
        return self._root(position)

    def _named(self, reference: str) -> t.List[int]:
        """The images of that name; where none has it as its full name, those of that tag, as in layouts."""
        exact = [number for number, image in enumerate(self.images) if full_name(reference) in image.tags]
        tagged = [number for number, image in enumerate(self.images) if reference in map(_tag_of, image.tags)]
        if not exact and not tagged:
            names = self._names()
            known = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            raise NotFoundError(f"no image {reference!r} in the archive ({f'it has {known}' if names else 'its images have no names'})")
        return exact or tagged

    def _only(self, numbers: t.Sequence[int], what: str) -> Descriptor:
        if not numbers:
            raise NotFoundError(f"{what} is empty")
        if len({(self.images[number].config, self.images[number].layers) for number in numbers}) > 1:
            names = ", ".join([f"@{number} {' '.join(self.images[number].tags)}".strip() for number in numbers][:10])
            raise InvalidError(f"{what} stands for {len(numbers)} images: say which one is meant ({names})")
        return self._root(numbers[0])

    def _with_digest(self, digest: Digest) -> Descriptor:
        for number in range(len(self.images)):
            if self._root(number).digest == digest:
                return self._root(number)
        raise NotFoundError(f"no image {digest} in the archive")

    def _root(self, number: int) -> Descriptor:
        if number not in self._roots:
            with located(None if self.location is None else f"{self.location}, image @{number}"):
                self._roots[number] = self._read(self.images[number])
        return self._roots[number]

    def _read(self, image: Saved) -> Descriptor:
        """The manifest of an image, from what it is made of; both are then known by their digests."""
        content = self._config_bytes(image.config)
        config = Descriptor.of(content, mediatype.OCI_CONFIG)
        diff_ids = parse_config(content, f"the config {image.config}").diff_ids
        if len(diff_ids) != len(image.layers):
            raise InvalidError(f"manifest.json has {len(image.layers)} layers for {image.config}, which says {len(diff_ids)}")
        layers = [self._layer(name, diff_id) for name, diff_id in zip(image.layers, diff_ids)]
        document = {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        whole = strictjson.dumps(document)
        root = Descriptor.of(whole, mediatype.OCI_MANIFEST)
        self._content.update({config.digest: content, root.digest: whole})
        return root

    def _config_bytes(self, name: str) -> bytes:
        member = self._file.followed(name)
        if member.size > MAX_DOCUMENT:
            raise InvalidError(f"the config {name} has {member.size} bytes, more than the limit of {MAX_DOCUMENT} for a document")
        content = self._file.content(member).read(MAX_DOCUMENT)
        promised = _CONFIG_NAMES.fullmatch(name)
        if promised and Digest.of(content).encoded != promised.group(1):
            raise MismatchError(f"the config {name} has another digest than its name says: {Digest.of(content)}")
        return content

    def _layer(self, name: str, diff_id: Digest) -> Descriptor:
        """A layer as it is in the tar. A plain one has the digest that the config says; reading it will tell whether that is true."""
        member = self._file.followed(name)
        compression = sniff(self._file.content(member).read(MAGIC_SIZE))
        media_type = _LAYER_TYPES.get(compression)
        if media_type is None:
            raise InvalidError(f"the layer {name} is compressed with {compression}, for which images have no media type")
        digest = diff_id if compression == NONE else _digest_in(member.name) or _hashed(self._file.content(member))
        self._content[digest] = member
        return Descriptor(media_type, digest, member.size)

    def _find(self, digest: Digest) -> t.Union[Member, bytes, None]:
        if digest not in self._content:
            for number in range(len(self.images)):
                self._root(number)
        return self._content.get(digest)

    def _exists(self, desc: Descriptor) -> bool:
        found = self._find(desc.digest)
        size = found.size if isinstance(found, Member) else len(found or b"")
        return found is not None and size == desc.size

    def _open(self, desc: Descriptor) -> RawReader:
        found = self._find(desc.digest)
        if found is None:
            raise NotFoundError(f"no content {desc.digest} in the archive")
        return self._file.content(found) if isinstance(found, Member) else io.BytesIO(found)


def parse_saved(content: bytes) -> t.List[Saved]:
    """manifest.json. Raises InvalidError."""
    document = strictjson.loads(content, DOCKER_MANIFEST)
    if not isinstance(document, list):
        raise InvalidError(f"{DOCKER_MANIFEST} is not a list of images")
    return [_saved(item, f"{DOCKER_MANIFEST}[{number}]") for number, item in enumerate(document)]


def _saved(item: t.Any, what: str) -> Saved:
    if not isinstance(item, dict) or not isinstance(item.get("Config"), str):
        raise InvalidError(f"{what} is not an image: it has no Config")
    try:
        tags = tuple(map(image_name, _texts(item, "RepoTags", what)))
    except InvalidError as error:
        raise InvalidError(f"{what} has RepoTags that are not names of images: {error.message}") from error
    return Saved(item["Config"], tags, tuple(_texts(item, "Layers", what)))


def _texts(item: t.Mapping[str, t.Any], key: str, what: str) -> t.List[str]:
    """A list of strings, which Go writes as null when it is empty."""
    found = item.get(key)
    if found is not None and not (isinstance(found, list) and all(isinstance(text, str) for text in found)):
        raise InvalidError(f"{what} has {key} that are not a list of strings")
    return found or []


def _document(file: ArchiveFile) -> bytes:
    if DOCKER_MANIFEST in file.members:
        return file.slice(DOCKER_MANIFEST).read(MAX_DOCUMENT + 1)
    if "repositories" in file.members:
        raise InvalidError(
            f"the tar is of a Docker before 1.10 (it has repositories and no {DOCKER_MANIFEST}): load it into a newer one and save it there"
        )
    raise file.lacking(DOCKER_MANIFEST, "one of docker save", " (a layout tar is oci:PATH or oci-archive:PATH)")


def full_name(reference: str) -> str:
    """The full name of an image that is named as Docker does; as it is what is no such name."""
    try:
        return image_name(reference)
    except InvalidError:
        return reference


def _tag_of(name: str) -> str:
    return name.rpartition(":")[2]


def _digest_in(name: str) -> t.Optional[Digest]:
    """The digest that the name of a layout's blob says; as with any blob, reading it will tell whether that is true."""
    found = _BLOB_NAMES.fullmatch(name)
    return Digest(":".join(found.groups())) if found else None


def _hashed(content: Slice) -> Digest:
    running = Digest.of(b"").hasher()
    for chunk in iter(lambda: content.read(CHUNK), b""):
        running.update(chunk)
    return Digest.from_hash(running)

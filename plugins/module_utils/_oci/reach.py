# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What the names of a layout reach, whatever is missing, damaged or strange below them.

A copy refuses what it cannot understand. Here that would not be safe: what nothing reaches may be removed. So whatever a document of an
unknown kind may name, by digest, counts as reached.
"""

from __future__ import annotations

import errno
import typing as t

from .content.inventory import Inventory
from .content.names import IndexedStore, LayoutIndex
from .spec import manifest, mediatype, strictjson
from .spec.descriptor import Descriptor
from .spec.digest import Digest, is_digest
from .spec.errors import InvalidError, MismatchError, NotFoundError, StorageError
from .spec.graph import MAX_DEPTH, MAX_NODES
from .spec.strictjson import MAX_DOCUMENT

INDEX, SAVED = "index.json", "manifest.json"
UNKNOWN = "application/octet-stream"


class Edge(t.NamedTuple):
    """``by``, a digest or a file of the layout, names ``desc``. ``entry``: as an index does, where manifests of any kind may be."""

    by: str
    desc: Descriptor
    entry: bool = False


class Documents(t.Protocol):
    """What a walk reads from."""

    def size_of(self, digest: Digest) -> t.Optional[int]:
        """Bytes of the blob as it is stored; None when it is not."""

    def read(self, desc: Descriptor) -> t.Optional[bytes]:
        """Content with that digest, whatever size ``desc`` says; None when it is nowhere. Raises MismatchError, InvalidError."""


class StoredDocuments:
    """Those of a layout."""

    def __init__(self, store: IndexedStore, inventory: Inventory) -> None:
        self._store = store
        self._blobs = inventory.blobs

    def size_of(self, digest: Digest) -> t.Optional[int]:
        stored = self._blobs.get(digest)
        return None if stored is None else stored.size

    def read(self, desc: Descriptor) -> t.Optional[bytes]:
        size = self.size_of(desc.digest)
        if size is None:
            return desc.data
        try:
            return self._store.fetch_bytes(Descriptor(desc.media_type, desc.digest, size))
        except NotFoundError:
            return None
        except StorageError as error:
            raise as_damage(error) from error


def as_damage(error: StorageError) -> t.Union[StorageError, MismatchError]:
    """What a disk cannot read any more is as lost as what is wrong; a permission that lacks is another matter."""
    broken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO
    return MismatchError(error.message) if broken else error


class Reach:
    """``edges``: who names what, by the digest of what is named. ``manifests``: those that could be parsed. ``unread``: documents that are
    there and cannot be read, so that nobody knows what they name; ``strange``: those that break the rules; both with what is wrong.
    ``sound``: documents that were read and have their digest."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self.edges: t.Dict[Digest, t.List[Edge]] = {}
        self.manifests: t.Dict[Digest, manifest.Manifest] = {}
        self.unread: t.Dict[Digest, str] = {}
        self.strange: t.Dict[Digest, str] = {}
        self.sound: t.Set[Digest] = set()
        self._opened: t.Set[t.Tuple[Digest, bool]] = set()
        self._absent = 0

    def __contains__(self, digest: Digest) -> bool:
        return digest in self.edges

    def desc(self, digest: Digest) -> Descriptor:
        """As it is named; where several do so differently, as a manifest if it is one for any of them."""
        descs = [edge.desc for edge in self.edges[digest]]
        return next((desc for desc in descs if mediatype.is_manifest(desc.media_type)), descs[0])

    def add(self, roots: t.Iterable[Descriptor], by: str = INDEX) -> None:
        """Everything below ``roots``, which ``by`` names. Raises InvalidError for a graph too deep or too large."""
        level = [Edge(by, root, by == INDEX) for root in roots]
        for _depth in range(MAX_DEPTH):
            following: t.List[Edge] = []
            for edge in level:
                self._note(edge)
                following.extend(self._below(edge))
            level = following
        if level:
            raise InvalidError(f"the layout's indexes are nested deeper than {MAX_DEPTH} levels")

    def add_named_in(self, value: t.Any, by: str) -> None:
        """Whatever blob a JSON value names by digest, in whatever way, and everything below."""
        self.add(self._named_in(value), by)

    def add_stored(self, digests: t.Iterable[Digest], by: str) -> None:
        """Blobs of which nothing but the digest is known, and everything below those that are manifests."""
        self.add([self._sniffed(digest) for digest in digests], by)

    def _note(self, edge: Edge) -> None:
        digest = edge.desc.digest
        if digest not in self.edges and self._documents.size_of(digest) is None:
            # What is stored has its bound on the disk; what is only named costs whoever names it next to nothing.
            self._absent += 1
            if self._absent > MAX_NODES:
                raise InvalidError(f"the layout's manifests name more than {MAX_NODES} blobs that are not there")
        self.edges.setdefault(digest, []).append(edge)

    def _below(self, edge: Edge) -> t.List[Edge]:
        desc, known = edge.desc, mediatype.is_manifest(edge.desc.media_type)
        if not (known or edge.entry) or (desc.digest, known) in self._opened:
            return []
        self._opened.add((desc.digest, known))
        if not known and (self._documents.size_of(desc.digest) or 0) > MAX_DOCUMENT:
            return []
        content = self._read(desc)
        if content is None:
            return []
        children = self._children(desc, content) if known else self._named_in(_json_of(content))
        return [Edge(desc.digest, child, mediatype.is_index(desc.media_type)) for child in children]

    def _read(self, desc: Descriptor) -> t.Optional[bytes]:
        try:
            content = self._documents.read(desc)
        except (MismatchError, InvalidError) as error:
            self.unread[desc.digest] = error.message
            return None
        if content is not None:
            self.sound.add(desc.digest)
        return content

    def _children(self, desc: Descriptor, content: bytes) -> t.List[Descriptor]:
        try:
            document = manifest.parse(desc, content)
        except (InvalidError, MismatchError) as error:
            self.strange[desc.digest] = error.message
            return self._named_in(_json_of(content))
        self.manifests[desc.digest] = document
        return [*([document.config] if document.config else []), *document.layers, *document.manifests]

    def _named_in(self, value: t.Any) -> t.List[Descriptor]:
        found = dict.fromkeys(text for text in _strings(value) if is_digest(text))
        return [self._sniffed(Digest(text)) for text in found if self._documents.size_of(Digest(text)) is not None]

    def _sniffed(self, digest: Digest) -> Descriptor:
        """A blob as what its content says it is."""
        size = self._documents.size_of(digest) or 0
        desc = Descriptor(UNKNOWN, digest, size)
        if size > MAX_DOCUMENT:
            return desc
        try:
            content = self._documents.read(desc) or b""
            # The config of an image looks like a manifest too, but for that.
            is_manifest = strictjson.load_object(content, "it").get("schemaVersion") == 2
            return Descriptor(manifest.sniff_media_type(content, "it"), digest, size) if is_manifest else desc
        except (InvalidError, MismatchError):
            return desc


def reach_of(store: IndexedStore, inventory: Inventory, documents: t.Optional[Documents] = None) -> Reach:
    """What the layout's names reach, read from ``documents``, its own where there are none."""
    reach = Reach(documents or StoredDocuments(store, inventory))
    add_entries(reach, store.index, range(len(store.index.entries)))
    add_saved(reach, inventory)
    return reach


def add_entries(reach: Reach, index: LayoutIndex, positions: t.Iterable[int]) -> None:
    """What those entries of index.json name; what one that is no valid descriptor may name, as well."""
    valid, wanted = entries_of(index), list(positions)
    reach.add(valid[position] for position in wanted if position in valid)
    for position in wanted:
        if position not in valid:
            reach.add_named_in(index.entries[position], INDEX)


def add_saved(reach: Reach, inventory: Inventory) -> None:
    """What docker save's manifest.json names."""
    reach.add_stored(sorted(inventory.saved & set(inventory.blobs)), SAVED)


def entries_of(index: LayoutIndex) -> t.Dict[int, Descriptor]:
    """The entries of index.json that are valid descriptors, by position."""
    return {position: found for position, found in enumerate(map(_parsed, index.entries)) if isinstance(found, Descriptor)}


def invalid_entries(index: LayoutIndex) -> t.Dict[int, str]:
    """The others, with what is wrong."""
    return {position: found for position, found in enumerate(map(_parsed, index.entries)) if isinstance(found, str)}


def _parsed(entry: t.Any) -> t.Union[Descriptor, str]:
    try:
        return Descriptor.parse(entry, "it")
    except (InvalidError, MismatchError) as error:
        return error.message


def _json_of(content: bytes) -> t.Any:
    """None for what is no JSON that we would read."""
    try:
        return strictjson.loads(content, "it")
    except InvalidError:
        return None


def _strings(value: t.Any) -> t.Iterator[str]:
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)

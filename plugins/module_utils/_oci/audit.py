# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What is in a layout, and what is wrong with it: facts, whatever is found."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from .content.inventory import Inventory, inventory_of
from .content.names import CONTAINERD_NAME, IndexedStore
from .reach import INDEX, UNKNOWN, Documents, Reach, StoredDocuments, as_damage, entries_of, invalid_entries, reach_of
from .spec import image, mediatype
from .spec.descriptor import REF_NAME, Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, MismatchError, NotFoundError, StorageError, located, storage_errors
from .spec.graph import post_order
from .spec.manifest import Manifest
from .spec.platform import Platform, is_attestation, platform_of
from .spec.progress import PROGRESS
from .spec.referrers import listed_as
from .verify import read_whole

Facts = t.Dict[str, t.Any]
_WHAT = "the document"


class Invalid(t.NamedTuple):
    """``document``: the digest of one whose content is what it ought to be, and breaks the rules; or index.json."""

    document: str
    error: str


class Checked(t.NamedTuple):
    """``wrong``: what is wrong with each blob that was hashed, None for nothing. ``by``: what documents were checked by."""

    wrong: t.Mapping[Digest, t.Optional[str]]
    invalid: t.Tuple[Invalid, ...]
    by: t.Tuple[str, ...]


NOTHING = Checked({}, (), ())


class Audit:
    """A layout as it is. ``reach`` may have been walked with more than is stored (repair.py)."""

    def __init__(self, store: IndexedStore, inventory: Inventory, reach: Reach, checked: Checked = NOTHING) -> None:
        self.store = store
        self.inventory = inventory
        self.reach = reach
        self.checked = checked
        self.damaged: t.Dict[Digest, str] = {digest: error for digest, error in checked.wrong.items() if error is not None}
        self.invalid: t.List[Invalid] = [
            *(Invalid(INDEX, f"the entry @{position}: {error}") for position, error in invalid_entries(store.index).items()),
            *checked.invalid,
        ]
        self._look_at_documents()
        self._look_at_sizes()
        self.invalid = list(dict.fromkeys(self.invalid))

    def _look_at_documents(self) -> None:
        for digest, error in self.reach.unread.items():
            self.damaged.setdefault(digest, error)
        self.invalid += [Invalid(digest, error) for digest, error in self.reach.strange.items()]

    def _look_at_sizes(self) -> None:
        """Without its digest nobody can tell whether a blob or what names it has the wrong size."""
        sound = self.reach.sound | {digest for digest, error in self.checked.wrong.items() if error is None}
        for digest, edges in self.reach.edges.items():
            stored = self.inventory.blobs.get(digest)
            for edge in edges:
                if stored is None or edge.desc.size == stored.size:
                    continue
                if digest in sound:
                    self.invalid.append(Invalid(edge.by, f"says that {digest} has {edge.desc.size} bytes, and it has {stored.size}"))
                else:
                    self.damaged.setdefault(digest, f"it has {stored.size} bytes, and {edge.by} says {edge.desc.size}")

    @property
    def missing(self) -> t.List[Digest]:
        """What is named and not stored, in the order in which it is come upon; without the layers that nobody hands on."""
        absent = [digest for digest in self.reach.edges if digest not in self.inventory.blobs]
        return [digest for digest in absent if not mediatype.is_nondistributable(self.reach.desc(digest).media_type)]

    @property
    def dangling(self) -> t.List[Digest]:
        return [digest for digest in sorted(self.inventory.blobs) if digest not in self.reach]

    def facts(self) -> Facts:
        blobs, dangling = self.inventory.blobs, self.dangling
        return {
            "refs": [self._ref(desc) for desc in entries_of(self.store.index).values()],
            "blobs": [self._blob(digest) for digest in sorted(blobs)],
            "size": self.inventory.size,
            "dangling": dangling,
            "dangling_size": sum(blobs[digest].size for digest in dangling),
            "missing": [{**self.named(digest), "named_by": self._named_by(digest)} for digest in self.missing],
            "damaged": [{**self.named(digest), "error": error, "reached": digest in self.reach} for digest, error in self.damaged.items()],
            "invalid": [invalid._asdict() for invalid in self.invalid],
            "foreign": self.inventory.foreign,
            "unfinished": self.inventory.unfinished,
            "nested_indexes": list(self._nested()),
            "referrers": self._referrers(),
            "validated": list(self.checked.by),
        }

    def named(self, digest: Digest) -> Facts:
        """A blob as what names it says; of what nothing names only the digest and the size are known."""
        if digest in self.reach:
            desc = self.reach.desc(digest)
            return {"digest": digest, "media_type": desc.media_type, "size": desc.size}
        return {"digest": digest, "media_type": None, "size": self.inventory.blobs[digest].size}

    def _blob(self, digest: Digest) -> Facts:
        reached = digest in self.reach
        media_type = self.reach.desc(digest).media_type if reached else None
        return {"digest": digest, "media_type": media_type, "size": self.inventory.blobs[digest].size, "reached": reached}

    def _named_by(self, digest: Digest) -> t.List[str]:
        return list(dict.fromkeys(edge.by for edge in self.reach.edges[digest]))

    def _ref(self, desc: Descriptor) -> Facts:
        document = self.reach.manifests.get(desc.digest)
        return {
            "ref": desc.annotations.get(REF_NAME),
            "image_name": desc.annotations.get(CONTAINERD_NAME),
            "digest": desc.digest,
            "media_type": desc.media_type,
            "size": desc.size,
            "artifact_type": listed_as(desc, document).artifact_type if document and not image.has_config(document) else "",
            "platforms": self._platforms(desc),
            "exists": desc.digest in self.inventory.blobs,
        }

    def _platforms(self, root: Descriptor) -> t.List[str]:
        """Of every image under ``root``: as its entry states it, else as its config does."""
        manifests = self.reach.manifests

        def children(desc: Descriptor) -> t.Sequence[Descriptor]:
            document = manifests.get(desc.digest)
            return [entry for entry in document.manifests if not is_attestation(entry)] if document else ()

        found: t.Dict[str, None] = {}
        for desc in post_order(root, children):
            if mediatype.is_image(desc.media_type):
                platform = platform_of(desc) or self._platform_in_config(manifests.get(desc.digest))
                found.update({str(platform): None} if platform else {})
        return list(found)

    def _platform_in_config(self, document: t.Optional[Manifest]) -> t.Optional[Platform]:
        if document is None or document.config is None or not image.has_config(document) or document.config.digest in self.damaged:
            return None
        content = _content(self._documents, document.config)
        try:
            return image.parse_config(content, _WHAT).platform if content is not None else None
        except InvalidError:
            return None

    @property
    def _documents(self) -> Documents:
        return StoredDocuments(self.store, self.inventory)

    def _nested(self) -> t.Iterator[Facts]:
        for digest, document in self.reach.manifests.items():
            for entry in document.manifests:
                if mediatype.is_index(entry.media_type):
                    yield {"digest": entry.digest, "within": digest}

    def _referrers(self) -> t.Dict[str, t.List[Facts]]:
        """By the digest of the subject, which need not be here."""
        found: t.Dict[str, t.List[Facts]] = {}
        for digest, document in sorted(self.reach.manifests.items()):
            if document.subject is not None:
                desc = listed_as(self.reach.desc(digest), document)
                facts = {"digest": digest, "media_type": desc.media_type, "size": desc.size, "artifact_type": desc.artifact_type}
                found.setdefault(document.subject.digest, []).append(facts)
        return dict(sorted(found.items()))


def audit(store: IndexedStore) -> Audit:
    """By what documents and sizes tell. Raises NotFoundError when there is no layout, InvalidError for what is none."""
    with located(store.location), storage_errors("looking through the layout"):
        inventory = inventory_of(store)
        return Audit(store, inventory, reach_of(store, inventory))


def verified(seen: Audit, concurrency: int) -> Audit:
    """The same with every blob hashed, and every document checked by the rules and the schemas."""
    wrong = _hashed(seen.store, seen.inventory, concurrency)
    return Audit(seen.store, seen.inventory, seen.reach, _checked(seen, wrong))


def _hashed(store: IndexedStore, inventory: Inventory, concurrency: int) -> t.Dict[Digest, t.Optional[str]]:
    descs = [Descriptor(UNKNOWN, digest, stored.size) for digest, stored in inventory.blobs.items()]
    PROGRESS.expect(descs)
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        return dict(zip(inventory.blobs, pool.map(lambda desc: _wrong_with(store, desc), descs)))


def _wrong_with(store: IndexedStore, desc: Descriptor) -> t.Optional[str]:
    try:
        read_whole(store, desc)
    except (MismatchError, InvalidError, NotFoundError) as error:
        return error.message
    except StorageError as error:
        damage = as_damage(error)
        if damage is error:
            raise
        return damage.message
    return None


def _checked(seen: Audit, wrong: t.Mapping[Digest, t.Optional[str]]) -> Checked:
    """Of documents that are what their digests say; the others are damaged already."""
    from .validation import RULES, SCHEMAS

    judge = _Judge(StoredDocuments(seen.store, seen.inventory), wrong)
    sound = [digest for digest in seen.reach.manifests if wrong.get(digest, "") is None]
    found = [(digest, judge.error(seen.reach.desc(digest), seen.reach.manifests[digest])) for digest in sound]
    by = [RULES] * bool(sound) + [SCHEMAS] * judge.used_schemas
    return Checked(wrong, tuple(Invalid(digest, error) for digest, error in found if error is not None), tuple(by))


class _Judge:
    """``used_schemas``: whether any schema could be used."""

    def __init__(self, documents: Documents, wrong: t.Mapping[Digest, t.Optional[str]]) -> None:
        self._documents = documents
        self._wrong = wrong
        self.used_schemas = False

    def error(self, desc: Descriptor, document: Manifest) -> t.Optional[str]:
        """What breaks the rules in a manifest or index, or in the config of an image."""
        from .validation import check_manifest

        try:
            config = self._config_of(document)
            check_manifest(document, config, _WHAT)
            self._by_schema(desc, self._documents.read(desc), _WHAT)
            if config is not None:
                self._check_config(document, config)
        except (InvalidError, MismatchError) as error:
            return error.message
        return None

    def _config_of(self, document: Manifest) -> t.Optional[bytes]:
        config = document.config
        if config is None or not image.has_config(document) or self._wrong.get(config.digest, "") is not None:
            return None
        return self._documents.read(config)

    def _check_config(self, document: Manifest, content: bytes) -> None:
        from .validation import check_config

        config, what = t.cast(Descriptor, document.config), f"the config of {_WHAT}"
        if all(mediatype.parse_layer(layer.media_type) for layer in document.layers):
            # Signatures and attestations have an image's config for form's sake, which states no platform.
            check_config(content, what)
        self._by_schema(config, content, what)

    def _by_schema(self, desc: Descriptor, content: t.Optional[bytes], what: str) -> None:
        from .spec import schema

        if content is not None and schema.validate(desc.media_type, content, what):
            self.used_schemas = True


def _content(documents: Documents, desc: Descriptor) -> t.Optional[bytes]:
    try:
        return documents.read(desc)
    except (InvalidError, MismatchError):
        return None

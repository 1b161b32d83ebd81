# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""index.json of a layout: which names it gives to what (image-spec image-layout.md; how real tools write names: oci-rules 1.2, 1.3)."""

from __future__ import annotations

import typing as t

from ..spec import manifest, mediatype, strictjson
from ..spec.descriptor import REF_NAME, Descriptor
from ..spec.digest import Digest, looks_like_digest
from ..spec.errors import InvalidError, MismatchError, MovedError, NotFoundError, located, storage_errors
from ..spec.graph import MAX_DEPTH, MAX_NODES
from ..spec.reference import check_ref_name, position_of
from ..spec.referrers import fallback_tag, listed_as
from .store import Target

CONTAINERD_NAME = "io.containerd.image.name"
LAYOUT_VERSION = "1.0.0"
OCI_LAYOUT = strictjson.dumps({"imageLayoutVersion": LAYOUT_VERSION})

RawEntry = t.Dict[str, t.Any]


def check_oci_layout(content: bytes) -> None:
    """The oci-layout file (image-layout.md, "oci-layout file"): only version 1.0.0 exists."""
    version = strictjson.load_object(content, "oci-layout").get("imageLayoutVersion")
    if version != LAYOUT_VERSION:
        raise InvalidError(f"oci-layout says imageLayoutVersion {version!r}, expected {LAYOUT_VERSION!r}")


class LayoutIndex:
    """The parsed index.json. Entries stay as they were read: foreign ones, unknown fields and their order are kept."""

    def __init__(self, document: t.Optional[t.Dict[str, t.Any]] = None) -> None:
        empty: t.Dict[str, t.Any] = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": []}
        self._document = document if document is not None else empty

    @classmethod
    def parse(cls, content: bytes) -> LayoutIndex:
        """Raises InvalidError. ``manifests: null`` is an empty list: zot and docker save write it."""
        document = strictjson.load_object(content, "index.json")
        if document.get("schemaVersion") != 2 or document.get("mediaType") not in (None, mediatype.OCI_INDEX):
            raise InvalidError("index.json is not an OCI image index of schemaVersion 2")
        if "config" in document or "layers" in document:
            raise InvalidError("index.json is ambiguous: an index must not have 'config' or 'layers'")
        entries = document.get("manifests")
        if entries is not None and not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
            raise InvalidError("index.json has manifests that are not a list of descriptors")
        return cls(document)

    def to_bytes(self) -> bytes:
        return strictjson.dumps({**self._document, "manifests": self.entries})

    @property
    def entries(self) -> t.List[RawEntry]:
        return self._document.get("manifests") or []

    @property
    def names(self) -> t.List[str]:
        """Every ref.name, once, in order."""
        return list(dict.fromkeys(name for name in map(_ref_name, self.entries) if name))

    def find(self, reference: str) -> t.Optional[Descriptor]:
        """The descriptor that a ref names: its exact ref.name first, then BuildKit's full and comma-joined names; None when none does.

        The same name with one digest is fine (BuildKit writes that for two image names with one tag). Raises InvalidError for
        the same name with two digests: which one is meant cannot be known.
        """
        for names_of in (_exact_names, _full_names, _tags_of_full_names):
            matching = [entry for entry in self.entries if reference in names_of(entry)]
            if matching:
                return self._one(matching, f"the ref {reference!r}")
        return None

    def only(self) -> Descriptor:
        """The one manifest of an index that has just one. Raises NotFoundError, InvalidError."""
        if not self.entries:
            raise NotFoundError("the layout is empty")
        digests = {str(entry.get("digest")) for entry in self.entries}
        if len(digests) > 1:
            raise InvalidError(f"the layout has {len(digests)} manifests: say which ref is meant, as oci:PATH:REF ({self._known_names()})")
        return self._one(self.entries, "the layout")

    def at(self, position: int) -> Descriptor:
        """The entry at ``position``, from 0."""
        if position >= len(self.entries):
            raise NotFoundError(f"no entry @{position} in the layout: it has {len(self.entries)}, counted from @0")
        return Descriptor.parse(self.entries[position], f"the entry @{position} of index.json")

    def _one(self, matching: t.List[RawEntry], what: str) -> Descriptor:
        digests = list(dict.fromkeys(str(entry.get("digest")) for entry in matching))
        if len(digests) > 1:
            raise InvalidError(f"{what} is ambiguous, it names {' and '.join(digests[:4])}: give the digest or the full image name")
        return Descriptor.parse(matching[0], f"the entry of {what} in index.json")

    def with_digest(self, digest: Digest) -> t.Optional[Descriptor]:
        for entry in self.entries:
            if entry.get("digest") == digest:
                return Descriptor.parse(entry, "an entry of index.json")
        return None

    def check_unmoved(self, expected: t.Mapping[str, t.Optional[Digest]]) -> None:
        """Raises MovedError when a ref does not name what is expected of it."""
        for reference, digest in expected.items():
            desc = self.find(reference)
            found = desc.digest if desc is not None else None
            if found != digest:
                was, now = digest or "nothing", found or "nothing"
                raise MovedError(f"the ref {reference!r} named {was} when this was planned, and names {now} now: run again")

    def not_found(self, reference: str) -> NotFoundError:
        return NotFoundError(f"no ref {reference!r} in the layout ({self._known_names()})")

    def _known_names(self) -> str:
        names = self.names
        if not names:
            return "it has no refs"
        return "it has " + ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")

    def descriptors(self) -> t.List[Descriptor]:
        """The entries that are valid descriptors: what the layout keeps reachable."""
        found = []
        for entry in self.entries:
            try:
                found.append(Descriptor.parse(entry))
            except InvalidError:
                # Unknown entries must not be an error (image-layout.md); an algorithm that we cannot verify names no blob of ours.
                continue
        return found

    def tagged(self, root: Descriptor, references: t.Sequence[str]) -> LayoutIndex:
        """This index with each reference naming ``root``, and nothing else moved; ``root`` untagged when there are no references."""
        entries = list(self.entries)
        if not references and self.with_digest(root.digest) is None:
            entries.append(_entry(root, None))
        for reference in references:
            entries = _with_reference(entries, root, check_ref_name(reference))
        return self._replaced(entries)

    def untagged(self, *references: str) -> LayoutIndex:
        """This index without the entries of those exact ref.names."""
        return self._replaced([entry for entry in self.entries if _ref_name(entry) not in references])

    def without(self, digests: t.Container[object]) -> LayoutIndex:
        """This index without the entries of those digests, whatever their names."""
        return self._replaced([entry for entry in self.entries if entry.get("digest") not in digests])

    def without_entries(self, positions: t.Container[int]) -> LayoutIndex:
        """This index without the entries at those positions, from 0."""
        return self._replaced([entry for position, entry in enumerate(self.entries) if position not in positions])

    def _replaced(self, entries: t.List[RawEntry]) -> LayoutIndex:
        if entries == self.entries:
            return self
        return LayoutIndex({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, **self._document, "manifests": entries})


def _with_reference(entries: t.List[RawEntry], root: Descriptor, reference: str) -> t.List[RawEntry]:
    """``reference`` moved to ``root``: sorted in among names, so that the order of tagging does not show in the bytes."""
    same = [entry for entry in entries if _ref_name(entry) == reference]
    if same and all(entry.get("digest") == root.digest for entry in same):
        return entries
    others = [entry for entry in entries if _ref_name(entry) != reference]
    place = next((n for n, entry in enumerate(others) if (_ref_name(entry) or "") > reference), len(others))
    return [*others[:place], _entry(root, reference), *others[place:]]


def _entry(root: Descriptor, reference: t.Optional[str]) -> RawEntry:
    plain = Descriptor(root.media_type, root.digest, root.size, artifact_type=root.artifact_type, platform=root.platform)
    document = plain.to_json()
    if reference is not None:
        document["annotations"] = {REF_NAME: reference}
    return document


def _annotation(entry: RawEntry, key: str) -> t.Optional[str]:
    annotations = entry.get("annotations")
    value = annotations.get(key) if isinstance(annotations, dict) else None
    return value if isinstance(value, str) else None


def _ref_name(entry: RawEntry) -> t.Optional[str]:
    return _annotation(entry, REF_NAME)


def _exact_names(entry: RawEntry) -> t.List[str]:
    return [name for name in (_ref_name(entry),) if name]


def _full_names(entry: RawEntry) -> t.List[str]:
    """containerd's image name; older BuildKit wrote full names, comma-joined, into ref.name (buildkit#5572, #4615)."""
    image_name = _annotation(entry, CONTAINERD_NAME)
    return [*(_ref_name(entry) or "").split(","), *([image_name] if image_name else [])]


def _tags_of_full_names(entry: RawEntry) -> t.List[str]:
    return [tag for name in _full_names(entry) for _path, colon, tag in (name.rpartition(":"),) if colon and "/" not in tag]


class IndexedStore(Target):
    """A target whose names are in an index.json: what a layout folder and a layout tar have in common."""

    is_tar = False
    # What is attached to what, of the index that it was read with.
    _attached: t.Optional[t.Tuple[LayoutIndex, t.Dict[Digest, t.List[Descriptor]]]] = None

    @property
    def index(self) -> LayoutIndex:
        """index.json as it was at the first look. Raises NotFoundError when there is no layout."""
        raise NotImplementedError

    def digest_of_name(self, name: str) -> t.Optional[str]:
        """The digest of the first entry with exactly this ref.name; None when there is none, or no layout."""
        with located(self.location), storage_errors("reading index.json"):
            try:
                entries = self.index.entries
            except NotFoundError:
                return None
        return next((str(entry.get("digest")) for entry in entries if _ref_name(entry) == name), None)

    def under(self, *roots: Descriptor) -> t.List[Descriptor]:
        """The roots and everything below them, each digest once, as far as the manifests that are stored here tell.

        Of some only the descriptor may be here.
        """
        return list(self._reachable(roots))

    def _names(self) -> t.List[str]:
        return self.index.names

    def _referrers(self, subject: Descriptor) -> t.List[Descriptor]:
        """By both conventions: manifests anywhere in the layout whose subject it is (oras), an index under the fallback tag (regctl)."""
        try:
            index = self.index
        except NotFoundError:
            return []
        if self._attached is None or self._attached[0] is not index:
            self._attached = (index, self._read_attached())
        found = {desc.digest: desc for desc in self._attached[1].get(subject.digest, ())}
        listed = index.find(fallback_tag(subject.digest))
        if listed is not None and mediatype.is_index(listed.media_type) and self._exists(listed):
            for desc in manifest.parse(listed, self.fetch_bytes(listed)).manifests:
                if self._exists(desc):
                    found.setdefault(desc.digest, desc)
        return list(found.values())

    def _read_attached(self) -> t.Dict[Digest, t.List[Descriptor]]:
        """Every manifest of the layout that has a subject, by that subject's digest."""
        attached: t.Dict[Digest, t.List[Descriptor]] = {}
        for desc in self._reachable(self.index.descriptors()):
            if mediatype.is_manifest(desc.media_type) and self._exists(desc):
                document = manifest.parse(desc, self.fetch_bytes(desc))
                if document.subject is not None:
                    attached.setdefault(document.subject.digest, []).append(listed_as(desc, document))
        return attached

    def _resolve(self, reference: t.Optional[str]) -> Descriptor:
        if reference is None:
            return self.index.only()
        if looks_like_digest(reference):
            return self._resolve_digest(Digest(reference))
        position = position_of(reference)
        if position is not None:
            return self.index.at(position)
        found = self.index.find(reference)
        if found is None:
            raise self.index.not_found(reference)
        return found

    def _resolve_digest(self, digest: Digest) -> Descriptor:
        """An entry of index.json, or a manifest in one of its nested indexes."""
        found = self.index.with_digest(digest)
        if found is not None:
            return found
        for desc in self._reachable(self.index.descriptors()):
            if desc.digest == digest:
                return desc
        raise NotFoundError(f"no manifest {digest} in the layout")

    def _successors(self, desc: Descriptor, passing: bool) -> t.List[Descriptor]:
        try:
            return manifest.successors(desc, self.fetch_bytes(desc))
        except (InvalidError, MismatchError):
            if passing:
                return []
            raise

    def _reachable(self, roots: t.Iterable[Descriptor], passing: bool = False) -> t.Iterator[Descriptor]:
        """Everything under ``roots`` that is stored here, each digest once; what is absent is passed over (a sparse layout is valid).

        ``passing``: so is what is below a damaged manifest.
        """
        seen: t.Set[Digest] = set()
        level = list(roots)
        for _depth in range(MAX_DEPTH):
            following: t.List[Descriptor] = []
            for desc in level:
                if desc.digest in seen:
                    continue
                seen.add(desc.digest)
                if len(seen) > MAX_NODES:
                    raise InvalidError(f"the layout's indexes have more than {MAX_NODES} nodes")
                yield desc
                if mediatype.is_manifest(desc.media_type) and self._exists(desc):
                    following.extend(self._successors(desc, passing))
            level = following
        if level:
            raise InvalidError(f"the layout's indexes are nested deeper than {MAX_DEPTH} levels")

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""An index out of images and indexes of other stores; their content keeps its digests."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .content.overlay import Overlay
from .content.store import Fetcher
from .index_entries import KEPT, Entries, Entry, with_attestations
from .spec import image, manifest, mediatype, strictjson
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError, located
from .spec.platform import Platform, best, nothing_for, platform_of

_FIELDS = ("schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations")
_HEAD = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX}


@dataclass(frozen=True)
class Addition:
    """One of ``manifests``. ``root``: what its source names. ``platform``: of an image what is written in place of what its config
    says, of an index the one image that is taken. ``nested``: an index becomes one entry."""

    number: int
    what: str
    root: Descriptor
    platform: t.Optional[Platform] = None
    annotations: t.Mapping[str, str] = field(default_factory=dict)
    nested: bool = False


@dataclass(frozen=True)
class Removal:
    """One of ``manifests`` that is to go."""

    platform: Platform


class IndexBuilder:
    """Builds into ``overlay``; ``content`` has what was built, and all that the index is made of."""

    def __init__(self, overlay: Overlay, content: Fetcher) -> None:
        self._overlay = overlay
        self._content = content

    def build(
        self,
        changes: t.Sequence[t.Union[Addition, Removal]],
        annotations: t.Mapping[str, str],
        artifact_type: str = "",
        current: t.Optional[Descriptor] = None,
    ) -> Descriptor:
        """The index with the changes applied to ``current``, an index or an image that becomes its first entry; None is no entries.

        The same as ``current``, byte for byte, when nothing differs. Raises InvalidError, NotFoundError.
        """
        old = self._document_of(current) if current is not None else {}
        entries = Entries(self._entries_of(current, old) if current is not None else ())
        for change in changes:
            if isinstance(change, Removal):
                entries.remove(change.platform)
            else:
                with located(change.what):
                    group = self._added(change)
                entries.add(group)
        if not entries.documents:
            raise InvalidError("no entry would be in the index: state=absent of the module removes the ref")
        new = _document({**old, **_HEAD}, entries.documents, annotations, artifact_type)
        if current is not None and current.media_type == mediatype.OCI_INDEX and new == {**_HEAD, **old}:
            return current
        content = strictjson.dumps(new)
        desc = Descriptor.of(content, mediatype.OCI_INDEX)
        self._overlay.add_bytes(desc, content)
        return desc

    def _document_of(self, current: Descriptor) -> t.Dict[str, t.Any]:
        """The index as it is written now, {} for an image."""
        if not mediatype.is_index(current.media_type):
            return {}
        return strictjson.load_object(self._content.fetch_bytes(current), f"index {current.digest}")

    def _entries_of(self, current: Descriptor, document: t.Mapping[str, t.Any]) -> t.List[Entry]:
        if not mediatype.is_index(current.media_type):
            return [Entry(*self._single(Addition(KEPT, "what the tag names now", current)))]
        return self._listed(current, document)

    def _listed(self, index: Descriptor, document: t.Mapping[str, t.Any], number: int = KEPT, what: str = "") -> t.List[Entry]:
        """The entries of an index, as they are written there."""
        parsed = manifest.parse(index, self._content.fetch_bytes(index))
        return [Entry(raw, desc, number, what) for raw, desc in zip(document.get("manifests") or [], parsed.manifests)]

    def _added(self, addition: Addition) -> t.List[Entry]:
        if not mediatype.is_index(addition.root.media_type) or addition.nested:
            return [Entry(*self._single(addition), addition.number, addition.what)]
        entries = self._listed(addition.root, self._document_of(addition.root), addition.number, addition.what)
        if addition.platform is not None:
            found = best([entry.desc for entry in entries], addition.platform)
            if found is None:
                raise nothing_for(addition.platform, [entry.desc for entry in entries], "the index")
            entries = with_attestations(entries, found)
        return [_annotated(entry, addition.annotations) for entry in entries]

    def _single(self, addition: Addition) -> t.Tuple[t.Dict[str, t.Any], Descriptor]:
        """The entry of an image, of an artifact or of an index as one; without the annotations that its name has at its source."""
        root = addition.root
        document = manifest.parse(root, self._content.fetch_bytes(root))
        config = document.config
        platform = addition.platform.to_json() if addition.platform is not None else None
        artifact_type = document.artifact_type
        if config is not None and image.has_config(document):
            stated = strictjson.load_object(self._content.fetch_bytes(config), f"config {config.digest}")
            platform = platform or _platform_of_config(stated)
        elif config is not None and config.media_type != mediatype.OCI_EMPTY:
            artifact_type = artifact_type or config.media_type
        desc = Descriptor(root.media_type, root.digest, root.size, addition.annotations, artifact_type, platform)
        return desc.to_json(), desc


def listing(content: Fetcher, root: t.Optional[Descriptor]) -> str:
    """The entries of an index, a line each, to be compared by a reader; '' for what is none."""
    if root is None or not mediatype.is_index(root.media_type):
        return ""
    entries = manifest.parse(root, content.fetch_bytes(root)).manifests
    return "".join(f"entry {platform_of(desc) or desc.artifact_type or desc.media_type}: {desc.digest}\n" for desc in entries)


def _platform_of_config(config: t.Mapping[str, t.Any]) -> t.Optional[t.Dict[str, t.Any]]:
    """The platform as an index states it (image-index.md), in the order of Go's struct; None when the config says none."""
    found = Platform.from_json(config)
    if found is None or found == Platform("unknown", "unknown"):
        return None
    stated: t.Dict[str, t.Any] = {"architecture": found.architecture, "os": found.os}
    features = config.get("os.features")
    if config.get("os.version") and isinstance(config["os.version"], str):
        stated["os.version"] = config["os.version"]
    if features and isinstance(features, list) and all(isinstance(feature, str) for feature in features):
        stated["os.features"] = features
    # As it is written: v8 of arm64 is implied, but other tools write it, and the entry is to be equal.
    variant = config.get("variant")
    variant = variant if variant and isinstance(variant, str) else found.variant
    return {**stated, "variant": variant} if variant else stated


def _annotated(entry: Entry, annotations: t.Mapping[str, str]) -> Entry:
    """An image with more annotations; not what has no platform, the attestations among them."""
    if not annotations or entry.key is None:
        return entry
    document = {**entry.document, "annotations": {**entry.desc.annotations, **annotations}}
    return Entry(document, Descriptor.parse(document), entry.item, entry.what)


def _document(
    old: t.Mapping[str, t.Any], entries: t.Sequence[t.Mapping[str, t.Any]], annotations: t.Mapping[str, str], artifact_type: str
) -> t.Dict[str, t.Any]:
    """Fields in the order that Go writes them; those of ``old`` that we do not know at the end."""
    new = {**old, "manifests": list(entries)}
    if artifact_type:
        new["artifactType"] = artifact_type
    if annotations:
        new["annotations"] = dict(sorted({**(old.get("annotations") or {}), **annotations}.items()))
    return {name: new[name] for name in [*_FIELDS, *new] if name in new}

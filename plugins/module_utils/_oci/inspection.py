# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What there is to know of an image or artifact where it is: documents are read, layers never."""

from __future__ import annotations

import functools
import typing as t

from .content.store import Source
from .platforms import Read, select_manifest
from .spec import manifest, mediatype, strictjson
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError, NotFoundError, located
from .spec.graph import MAX_NODES
from .spec.image import has_config
from .spec.manifest import Manifest
from .spec.platform import Platform, is_attestation, platform_of
from .subjects import typed_referrers

if t.TYPE_CHECKING:
    from .tag_selection import Matches

Facts = t.Dict[str, t.Any]

GATHERED = MANIFEST, CONFIG, RAW, REFERRERS, TAGS = ("manifest", "config", "raw", "referrers", "tags")


class Asked(t.NamedTuple):
    """What is to be told of each: ``gather`` of the five above. ``platform``: which image of an index. ``depth``: levels of referrers.
    ``artifact_types``: of those that are attached to the image itself, all when empty."""

    gather: t.FrozenSet[str] = frozenset((MANIFEST, CONFIG))
    platform: t.Optional[Platform] = None
    depth: int = 1
    artifact_types: t.FrozenSet[str] = frozenset()
    tags: t.Optional[Matches] = None


def inspect(source: Source, name: str, target: t.Optional[str], asked: Asked) -> Facts:
    """The facts of what ``target`` names in ``source``; ``name`` is the source's. What is not there is a fact too.

    Raises InvalidError, MismatchError for documents that are not what they ought to be, RegistryError, TransportError.
    """
    root = _found(source, target)
    facts: Facts = {"exists": root is not None}
    if root is not None:
        facts.update(digest=root.digest, media_type=root.media_type, size=root.size, pinned=f"{name}@{root.digest}")
        if asked.gather & {MANIFEST, CONFIG} or asked.platform is not None:
            facts.update(_of_manifest(source, root, asked))
        if RAW in asked.gather:
            facts["raw"] = source.fetch_bytes(root).decode()
        if REFERRERS in asked.gather:
            facts["referrers"] = Referrers(source, asked.artifact_types).tree(root, asked.depth)
    if TAGS in asked.gather:
        facts["tags"] = inspect_names(source, asked)["tags"]
    return facts


def inspect_names(source: Source, asked: Asked) -> Facts:
    """Whether there is such a repository or layout, and its tags or refs."""
    try:
        names = source.names()
    except NotFoundError:
        return {"exists": False, "tags": []}
    return {"exists": True, "tags": [name for name in names if asked.tags is None or asked.tags(name)]}


def _found(source: Source, target: t.Optional[str]) -> t.Optional[Descriptor]:
    """A tag or digest that is not there, or a repository or layout: None."""
    try:
        return source.resolve(target)
    except NotFoundError:
        return None


def _of_manifest(source: Source, root: Descriptor, asked: Asked) -> Facts:
    read = functools.lru_cache(maxsize=None)(source.fetch_bytes)
    document = manifest.parse(root, read(root))
    facts: Facts = {
        "annotations": dict(document.annotations),
        "artifact_type": _artifact_type(document),
        "subject": document.subject.digest if document.subject is not None else None,
        "manifests": [_entry(desc) for desc in document.manifests],
    }
    chosen = _chosen(source, root, asked.platform, read)
    facts["manifest_digest"] = chosen.digest if chosen is not None else None
    if chosen is not None:
        own = document if chosen.digest == root.digest else manifest.parse(chosen, read(chosen))
        facts.update(_of_image(source, chosen, own, CONFIG in asked.gather))
    return facts


def _chosen(source: Source, root: Descriptor, platform: t.Optional[Platform], read: Read) -> t.Optional[Descriptor]:
    """The manifest that layers and config are told of; None for an index of which nobody has said which, or that has none for it."""
    if not mediatype.is_index(root.media_type):
        return root
    if platform is None:
        return None
    try:
        return select_manifest(source, root, platform, read=read)
    except NotFoundError:
        return None


def _of_image(source: Source, desc: Descriptor, document: Manifest, wants_config: bool) -> Facts:
    config = document.config
    facts: Facts = {
        "layers": [_layer(layer) for layer in document.layers],
        "content_size": sum(part.size for part in [*document.layers, *([config] if config else [])]),
    }
    if wants_config and config is not None and has_config(document):
        with located(source.location):
            facts["config"] = strictjson.load_object(source.fetch_bytes(config), f"the config of {desc.digest}")
        facts["labels"] = labels_of(facts["config"])
        platform = Platform.from_json(facts["config"])
        facts["platform"] = str(platform) if platform else None
    return facts


def labels_of(config: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The labels in the document of a config; {} when there are none, or none that can be used."""
    runtime = config.get("config")
    labels = runtime.get("Labels") if isinstance(runtime, dict) else None
    return dict(labels) if isinstance(labels, dict) else {}


def _artifact_type(document: Manifest) -> str:
    """As registries list it (distribution-spec "Listing Referrers"); '' for an image, whose config says what it is."""
    if document.artifact_type or document.config is None or has_config(document):
        return document.artifact_type
    return document.config.media_type


def _entry(desc: Descriptor) -> Facts:
    platform = platform_of(desc)
    return {
        "digest": desc.digest,
        "media_type": desc.media_type,
        "size": desc.size,
        "platform": str(platform) if platform and not is_attestation(desc) else None,
        "artifact_type": desc.artifact_type,
        "annotations": dict(desc.annotations),
    }


def _layer(desc: Descriptor) -> Facts:
    return {"digest": desc.digest, "media_type": desc.media_type, "size": desc.size, "annotations": dict(desc.annotations)}


class Referrers:
    """What is attached to a manifest, and to that in turn. ``artifact_types``: those of the first level, all when empty."""

    def __init__(self, source: Source, artifact_types: t.FrozenSet[str] = frozenset()) -> None:
        self._source = source
        self._artifact_types = artifact_types
        self._count = 0

    def tree(self, subject: Descriptor, depth: int, level: int = 1) -> t.List[Facts]:
        """Each with its own ``referrers``, as far as ``depth`` levels. Raises InvalidError for more than can be meant."""
        listed = typed_referrers(self._source, subject)
        wanted = [desc for desc in listed if level > 1 or not self._artifact_types or desc.artifact_type in self._artifact_types]
        self._count += len(wanted)
        if self._count > MAX_NODES:
            raise InvalidError(f"more than {MAX_NODES} manifests are attached to each other (at {subject.digest})")
        return [self._facts(desc, depth, level) for desc in wanted]

    def _facts(self, desc: Descriptor, depth: int, level: int) -> Facts:
        facts = {**_layer(desc), "artifact_type": desc.artifact_type}
        return {**facts, "referrers": self.tree(desc, depth, level + 1)} if level < depth else facts

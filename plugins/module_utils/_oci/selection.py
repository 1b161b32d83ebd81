# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Which files an artifact holds: the graph below a root, and the titles in it, all judged before the first write."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field

from .content.store import Fetcher
from .documents import Documents
from .globs import any_matches, globs
from .listing import is_folder
from .receipt import Receipt
from .spec import manifest, mediatype
from .spec.descriptor import TITLE, Descriptor
from .spec.digest import Digest, looks_like_digest
from .spec.errors import InvalidError, OCIError, located
from .spec.graph import MAX_NODES, post_order
from .titles import Parts, check_apart, parse_title

if t.TYPE_CHECKING:
    from .spec.platform import Platform

UNTITLED = ("skip", "fail", "digest")


class Item(t.NamedTuple):
    """One file, or one folder that is unpacked, to stand at ``parts`` below the destination."""

    parts: Parts
    desc: Descriptor
    folder: bool

    @property
    def title(self) -> str:
        return "/".join(self.parts)


@contextlib.contextmanager
def reading(src: Fetcher, title: str) -> t.Iterator[None]:
    """Let an error of the source, which knows digests only, say which of the files it is about."""
    try:
        yield
    except OCIError as error:
        if error.location in (None, src.location):
            error.location = src.location
            error.message = f"{title}: {error.message}"
        raise


@dataclass(frozen=True)
class Wanted:
    """What of an artifact is asked for. ``untitled`` is one of UNTITLED; ``names``: file names of untitled layers, by digest or
    media type; ``config``: the file name that the config is to get; ``subject``: whether what it is attached to is wanted too.

    ``include`` and ``media_types`` select when they are not empty; ``exclude`` takes away again.
    """

    untitled: str = "skip"
    include: t.Sequence[str] = ()
    exclude: t.Sequence[str] = ()
    media_types: t.Sequence[str] = ()
    names: t.Mapping[str, t.Any] = field(default_factory=dict)
    config: t.Optional[str] = None
    subject: bool = False
    platform: t.Optional[Platform] = None


@dataclass(frozen=True)
class Selection:
    """What is to be pulled. ``root``: what was asked for; ``pulled``: the manifest of an index that the platform chose, else the
    root. ``skipped``: layers without a title; ``others``: titles that the artifact has and that were not selected.
    ``manifests``: bytes by digest; ``read``: the documents that were read from the source. ``image``: whether an image is among them."""

    root: Descriptor
    pulled: Descriptor
    items: t.Tuple[Item, ...] = ()
    skipped: t.Tuple[Descriptor, ...] = ()
    others: t.FrozenSet[Parts] = frozenset()
    manifests: t.Mapping[Digest, bytes] = field(default_factory=dict, repr=False)
    read: t.Tuple[Descriptor, ...] = ()
    image: bool = False


def select(src: Fetcher, root: Descriptor, receipt: Receipt, wanted: Wanted = Wanted()) -> Selection:
    """Walk the graph under ``root``: all children of an index unless a platform chooses one; a subject only when it is wanted.

    Raises InvalidError for a title that is not a plain relative path, for titles that cannot stand beside each other, and when
    what is wanted matches nothing.
    """
    chosen = _Chosen(wanted)
    documents = Documents(src, receipt.manifest)
    with located(src.location):
        pulled = _chosen_by(wanted.platform, src, root, documents)
        walk = _Walk(src, documents, wanted)
        post_order(pulled, walk.children)
        if chosen.config is not None:
            chosen.add(Item(chosen.config, _only_config(documents, pulled), False))
        for desc, is_config in walk.leaves:
            chosen.look_at(desc, is_config)
        items = chosen.checked()
    skipped, others = tuple(chosen.skipped.values()), frozenset(chosen.others) - {item.parts for item in items}
    return Selection(root, pulled, items, skipped, others, documents.contents, tuple(documents.fetched), chosen.is_image)


class _Walk:
    """``leaves``: each descriptor that is no manifest, and whether it is a config; one digest may have several titles."""

    def __init__(self, src: Fetcher, documents: Documents, wanted: Wanted) -> None:
        self._src = src
        self._documents = documents
        self._wanted = wanted
        self.leaves: t.List[t.Tuple[Descriptor, bool]] = []

    def children(self, desc: Descriptor) -> t.Sequence[Descriptor]:
        if not mediatype.is_manifest(desc.media_type):
            return ()
        document = manifest.parse(desc, self._documents.read(desc))
        self.leaves += [(document.config, True)] if document.config is not None else []
        successors = [*document.layers, *document.manifests]
        self.leaves += [(child, False) for child in successors if not mediatype.is_manifest(child.media_type)]
        if len(self.leaves) > MAX_NODES:
            raise InvalidError(f"the graph has more than {MAX_NODES} layers")
        return [*successors, *self._subjects(document)]

    def _subjects(self, document: manifest.Manifest) -> t.List[Descriptor]:
        """What a manifest is attached to, when it is wanted. A platform chooses there as well: many a subject is an index."""
        if not self._wanted.subject or document.subject is None:
            return []
        return [_chosen_by(self._wanted.platform, self._src, document.subject, self._documents)]


def _chosen_by(platform: t.Optional[Platform], src: Fetcher, root: Descriptor, documents: Documents) -> Descriptor:
    """What of an index the platform chooses; without one all of it."""
    if platform is None:
        return root
    from .platforms import select_manifest  # each run compiles what it imports

    return select_manifest(src, root, platform, read=documents.read)


def _only_config(documents: Documents, root: Descriptor) -> Descriptor:
    """The config of the one manifest under ``root``; an attestation beside it is none. Raises InvalidError when there are several."""
    from .spec.platform import is_attestation

    found: t.List[Descriptor] = []

    def children(desc: Descriptor) -> t.Sequence[Descriptor]:
        if mediatype.is_index(desc.media_type):
            return [child for child in manifest.parse(desc, documents.read(desc)).manifests if not is_attestation(child)]
        found.extend([desc] if mediatype.is_image(desc.media_type) else [])
        return ()

    post_order(root, children)
    config = manifest.parse(found[0], documents.read(found[0])).config if len(found) == 1 else None
    if config is None:
        raise InvalidError(f"config asks for one config, and {root.digest} has {len(found)} manifests: choose one with platform")
    return config


class _Chosen:
    """Sorts leaves by what is wanted. ``config``: where the config is to stand; ``others``: titles of layers that were not selected."""

    def __init__(self, wanted: Wanted) -> None:
        self._untitled = wanted.untitled
        self._include, self._exclude = globs(wanted.include), globs(wanted.exclude)
        self._media_types = frozenset(wanted.media_types)
        self.config = parse_title(wanted.config, "the config's path") if wanted.config is not None else None
        self._names = {key: _file_name(key, name) for key, name in wanted.names.items()}
        self._items: t.Dict[Parts, Item] = {}
        self._matches = 0
        self._passed_over: t.List[str] = []
        self.others: t.Set[Parts] = set()
        self.skipped: t.Dict[Digest, Descriptor] = {}
        self.is_image = False

    def look_at(self, desc: Descriptor, is_config: bool) -> None:
        self.is_image |= is_config and desc.media_type in mediatype.IMAGE_CONFIGS
        title = desc.annotations.get(TITLE)
        if not title and (is_config or desc.media_type == mediatype.OCI_EMPTY):
            return
        parts = parse_title(title) if title else self._given_name(desc)
        if self._media_types and desc.media_type not in self._media_types:
            self._pass_over(desc, parts)
        elif parts is None:
            self._leave_out(desc)
        elif (self._include and not any_matches(self._include, parts)) or any_matches(self._exclude, parts):
            self._pass_over(desc, parts)
        else:
            self._matches += 1
            self.add(Item(parts, desc, is_folder(desc) if title else False), named=not title)

    def add(self, item: Item, named: bool = False) -> None:
        """Raises InvalidError for a second content of one name; ``named``: the name comes from ``names``."""
        present = self._items.setdefault(item.parts, item)
        if (present.desc.digest, present.folder) == (item.desc.digest, item.folder):
            return
        if item.parts == self.config:
            raise InvalidError(
                f"config is to be written to {item.title!r}, which is the name of a file as well: choose another path for it"
            )
        if named:
            raise InvalidError(
                f"the file name {item.title!r} is for two contents, {present.desc.digest} and {item.desc.digest}: "
                "give untitled layers their names by digest"
            )
        raise InvalidError(
            f"the title {item.title!r} stands for two contents, {present.desc.digest} and {item.desc.digest}: "
            "if they are of different platforms, choose one with platform, or pull one of the manifests by its digest"
        )

    def checked(self) -> t.Tuple[Item, ...]:
        """The items. Raises InvalidError when they are in each other's way, and when filters let nothing through."""
        if (self._include or self._media_types) and not self._matches:
            there = ", ".join(dict.fromkeys(self._passed_over)) or "no layers at all"
            hint = "; a layer without a title needs a file name first: give it one with names" if self.skipped else ""
            raise InvalidError(f"no layer matches include, exclude and media_types; there are: {there}{hint}")
        check_apart(self._items.keys(), self._items, "the title")
        return tuple(self._items.values())

    def _given_name(self, desc: Descriptor) -> t.Optional[Parts]:
        name = self._names.get(desc.digest) or self._names.get(desc.media_type)
        if name is None and self._untitled == "digest":
            return (f"{desc.digest.algorithm}-{desc.digest.encoded}",)
        return name

    def _leave_out(self, desc: Descriptor) -> None:
        if self._untitled == "fail":
            image = "; unpack=rootfs unpacks an image" if self.is_image else ""
            raise InvalidError(f"the layer {desc} has no title (annotation {TITLE}), so it is no file to pull (untitled=fail{image})")
        self.skipped[desc.digest] = desc
        self._describe(desc)

    def _pass_over(self, desc: Descriptor, parts: t.Optional[Parts]) -> None:
        self._describe(desc, parts)
        self.others.update([parts] if parts else [])

    def _describe(self, desc: Descriptor, parts: t.Optional[Parts] = None) -> None:
        self._passed_over.append(f"{'/'.join(parts) if parts else desc.digest} ({desc.media_type})")


def _file_name(key: str, name: t.Any) -> Parts:
    """The file name that ``names`` gives to layers with this digest or media type. Raises InvalidError for a bad one of either."""
    if looks_like_digest(key):
        Digest(key)
    elif not mediatype.is_valid(key):
        raise InvalidError(f"names: {key!r} is neither the digest nor the media type of a layer")
    if not isinstance(name, str):
        raise InvalidError(f"names: the file name for {key} is {name!r}, it must be a string")
    return parse_title(name, "the file name")

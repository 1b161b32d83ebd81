# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Which files an artifact holds: the graph below a root, and the titles in it, all judged before the first write."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field

from .content.store import Fetcher
from .listing import is_folder
from .receipt import Receipt
from .spec import manifest, mediatype
from .spec.descriptor import TITLE, Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, OCIError, located
from .spec.graph import MAX_NODES, post_order
from .titles import Parts, check_apart, parse_title

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
class Selection:
    """What is to be pulled. ``skipped``: layers without a title. ``manifests``: bytes by digest; ``read``: those of them that
    were read from the source."""

    root: Descriptor
    items: t.Tuple[Item, ...] = ()
    skipped: t.Tuple[Descriptor, ...] = ()
    manifests: t.Mapping[Digest, bytes] = field(default_factory=dict, repr=False)
    read: t.Tuple[Descriptor, ...] = ()


def select(src: Fetcher, root: Descriptor, receipt: Receipt, untitled: str = "skip") -> Selection:
    """Walk the graph under ``root``: all children of an index, never a subject. ``untitled`` is one of UNTITLED.

    Raises InvalidError for a title that is not a plain relative path, and for titles that cannot stand beside each other.
    """
    walk = _Walk(src, receipt)
    with located(src.location):
        post_order(root, walk.children)
        items, skipped = _sorted_out(walk.leaves, untitled)
    return Selection(root, tuple(items), tuple(skipped), walk.manifests, tuple(walk.read))


class _Walk:
    """``leaves``: each descriptor that is no manifest, and whether it is a config; one digest may have several titles."""

    def __init__(self, src: Fetcher, receipt: Receipt) -> None:
        self._src = src
        self._receipt = receipt
        self.leaves: t.List[t.Tuple[Descriptor, bool]] = []
        self.manifests: t.Dict[Digest, bytes] = {}
        self.read: t.List[Descriptor] = []

    def children(self, desc: Descriptor) -> t.Sequence[Descriptor]:
        if not mediatype.is_manifest(desc.media_type):
            return ()
        content = self._receipt.manifest(desc)
        if content is None:
            content = self._src.fetch_bytes(desc)
            self.read.append(desc)
        self.manifests[desc.digest] = content
        document = manifest.parse(desc, content)
        self.leaves += [(document.config, True)] if document.config is not None else []
        successors = [*document.layers, *document.manifests]
        self.leaves += [(child, False) for child in successors if not mediatype.is_manifest(child.media_type)]
        if len(self.leaves) > MAX_NODES:
            raise InvalidError(f"the graph has more than {MAX_NODES} layers")
        return successors


def _sorted_out(leaves: t.Iterable[t.Tuple[Descriptor, bool]], untitled: str) -> t.Tuple[t.List[Item], t.List[Descriptor]]:
    items: t.Dict[Parts, Item] = {}
    skipped: t.Dict[Digest, Descriptor] = {}
    for desc, is_config in leaves:
        title = desc.annotations.get(TITLE)
        if title:
            _add(Item(parse_title(title), desc, is_folder(desc)), items)
        elif is_config or desc.media_type == mediatype.OCI_EMPTY:
            continue
        elif untitled == "digest":
            _add(Item((f"{desc.digest.algorithm}-{desc.digest.encoded}",), desc, False), items)
        elif untitled == "fail":
            raise InvalidError(f"the layer {desc} has no title (annotation {TITLE}), so it is no file to pull (untitled=fail)")
        else:
            skipped[desc.digest] = desc
    check_apart(items.keys(), items, "the title")
    return list(items.values()), list(skipped.values())


def _add(item: Item, items: t.Dict[Parts, Item]) -> None:
    present = items.setdefault(item.parts, item)
    if (present.desc.digest, present.folder) != (item.desc.digest, item.folder):
        raise InvalidError(
            f"the title {item.title!r} stands for two contents, {present.desc.digest} and {item.desc.digest}: "
            "if they are of different platforms, pull one of the manifests by its digest"
        )

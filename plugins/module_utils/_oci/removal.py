# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Manifests that go, with what is attached to them (distribution-spec "Deleting Manifests")."""

from __future__ import annotations

import typing as t

from .content.names import IndexedStore
from .content.overlay import Overlay
from .content.store import Target
from .copy import CopyPlan, apply_copy, plan_copy
from .spec import mediatype
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, NotFoundError, located
from .spec.graph import MAX_NODES
from .spec.manifest import parse
from .spec.referrers import fallback_tag, index_of


class Removal(t.NamedTuple):
    """``gone``: what is there and goes. ``names``: the refs of a layout that go along, with their digests; a registry is not asked for
    its own. ``lists``: the indexes under fallback tags of a layout as they are without it."""

    gone: t.Tuple[Descriptor, ...]
    names: t.Mapping[str, Digest]
    lists: t.Tuple[t.Tuple[CopyPlan, Overlay], ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.gone)

    def apply(self, target: Target) -> None:
        """Lists first: what they name is still there while anybody reads them."""
        for plan, content in self.lists:
            apply_copy(plan, content, target)
        # What is attached to something goes before it, as registries may forget it with that.
        target.delete(*reversed(self.gone))


def plan_removal(target: Target, roots: t.Sequence[Descriptor], referrers: bool = False) -> Removal:
    """``referrers``: what is attached to the roots goes too, and what is attached to that. Raises InvalidError for what an index has that
    stays in a layout."""
    gone = _with_referrers(target, roots) if referrers else list({desc.digest: desc for desc in roots}.values())
    if not gone or not isinstance(target, IndexedStore):
        return Removal(tuple(gone), {})
    digests = {desc.digest for desc in gone}
    lists = list(_lists_without(target, gone))
    names = {name: desc.digest for name in target.index.names for desc in (target.index.find(name),) if desc and desc.digest in digests}
    _check_apart(target, digests, {name for plan, _content in lists for name in plan.current})
    return Removal(tuple(gone), names, tuple(lists))


def _with_referrers(target: Target, roots: t.Sequence[Descriptor]) -> t.List[Descriptor]:
    """Each before what is attached to it."""
    found: t.Dict[Digest, Descriptor] = {}
    pending = list(roots)
    while pending:
        desc = pending.pop(0)
        if desc.digest in found:
            continue
        found[desc.digest] = desc
        if len(found) > MAX_NODES:
            raise InvalidError(f"more than {MAX_NODES} manifests are attached to each other (at {desc.digest})")
        pending += target.referrers(desc)
    return list(found.values())


def _lists_without(target: IndexedStore, gone: t.Sequence[Descriptor]) -> t.Iterator[t.Tuple[CopyPlan, Overlay]]:
    """The indexes under the fallback tags of their subjects, as regctl keeps them in layouts."""
    digests = {desc.digest for desc in gone}
    for tag in dict.fromkeys(filter(None, (_list_of(target, desc) for desc in gone))):
        listing = target.lookup(tag)
        if listing is None or not mediatype.is_index(listing.media_type):
            continue
        entries = parse(listing, target.fetch_bytes(listing)).manifests
        left = [entry for entry in entries if entry.digest not in digests]
        if len(left) < len(entries):
            overlay, content = Overlay(target), index_of(left)
            desc = Descriptor.of(content, mediatype.OCI_INDEX)
            overlay.add_bytes(desc, content)
            yield plan_copy(overlay, desc, target, [tag]), overlay


def _list_of(target: IndexedStore, desc: Descriptor) -> t.Optional[str]:
    try:
        subject = parse(desc, target.fetch_bytes(desc)).subject
    except NotFoundError:
        return None
    return fallback_tag(subject.digest) if subject is not None else None


def _check_apart(target: IndexedStore, digests: t.AbstractSet[Digest], rewritten: t.AbstractSet[str]) -> None:
    """Raises InvalidError for what stays reachable: its entry would go, and it would not."""
    index = target.index.without(digests).untagged(*rewritten)
    left = sorted(digests & {desc.digest for desc in target.under(*index.descriptors())})
    if left:
        with located(target.location):
            raise InvalidError(f"{left[0]} is part of an index that stays: take it out of that first (oci_layout_build with append)")

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What nothing in a layout needs any more: found (pure reads), then removed while nobody writes."""

from __future__ import annotations

import collections
import time
import typing as t

from .content.discard import Discarded, discard
from .content.inventory import Inventory, inventory_of
from .content.names import CONTAINERD_NAME, IndexedStore, LayoutIndex
from .reach import Reach, StoredDocuments, add_entries, add_saved, entries_of
from .results import diff_of
from .spec.descriptor import REF_NAME, Descriptor
from .spec.digest import Digest
from .spec.errors import MismatchError, located, storage_errors
from .spec.manifest import Manifest

if t.TYPE_CHECKING:
    from .content.archive import Archive

YOUNG = "its age"


class Wanted(t.NamedTuple):
    """``keep_younger``: seconds for which a blob of a folder stays, whatever names it: other tools name content after they have stored it,
    and hold no lock of ours. ``keep_untagged``: whether entries of index.json without a name keep what they name, all of them."""

    keep_younger: int
    keep_untagged: bool = True


class Plan(t.NamedTuple):
    """``blobs`` go, with their sizes. ``entries`` go from index.json: position and descriptor. ``young``: blobs that nothing but their age
    keeps. ``left``: bytes that stay."""

    index: LayoutIndex
    blobs: t.Mapping[Digest, int]
    entries: t.Mapping[int, Descriptor]
    young: t.Mapping[Digest, int]
    left: int

    @property
    def changed(self) -> bool:
        return bool(self.blobs or self.entries)


def plan_prune(store: IndexedStore, wanted: Wanted) -> Plan:
    """Raises NotFoundError when there is no layout, and MismatchError for a manifest that cannot be read: what it needs cannot be known."""
    with located(store.location), storage_errors("looking through the layout"):
        plan = _Search(store, wanted, store.index).plan()
        if plan.changed and store.is_tar:
            t.cast("Archive", store).check_writable()
        return plan


class _Search:
    """What stays, of a layout with this index; the rest goes."""

    def __init__(self, store: IndexedStore, wanted: Wanted, index: LayoutIndex) -> None:
        self._index = index
        self._entries = entries_of(index)
        self._wanted = wanted
        self._inventory = inventory_of(store)
        self._documents = StoredDocuments(store, self._inventory)
        # A tar is locked while it is written, and has nothing on its way.
        self._fresh: t.Set[Digest] = set() if store.is_tar else _younger(self._inventory, wanted.keep_younger)
        self._reach = Reach(self._documents)

    def plan(self) -> Plan:
        kept = self._keep_entries()
        add_saved(self._reach, self._inventory)
        self._check_all_read()
        named = set(self._reach.edges)
        self._reach.add_stored(sorted(self._fresh - named), YOUNG)
        blobs = {digest: stored.size for digest, stored in sorted(self._inventory.blobs.items())}
        going = {digest: size for digest, size in blobs.items() if digest not in self._reach}
        return Plan(
            index=self._index,
            blobs=going,
            entries={position: desc for position, desc in self._entries.items() if position not in kept},
            young={digest: size for digest, size in blobs.items() if digest in self._reach and digest not in named},
            left=self._inventory.size - sum(going.values()),
        )

    def _check_all_read(self) -> None:
        for digest, error in self._reach.unread.items():
            raise MismatchError(
                f"{digest} cannot be read, so nobody knows what it needs, and nothing is removed: {error} "
                "(oci_layout_info repairs it with repair_from, oci_tag removes its refs)"
            )

    def _keep_entries(self) -> t.Set[int]:
        """The positions in index.json that stay; what they name is reached then.

        Without ``keep_untagged`` an entry that has no name stays when it is young, when a named one reaches it anyway, and when it is
        attached to something that stays. One that is no valid descriptor always does.
        """
        kept = {position for position in range(len(self._index.entries)) if self._is_kept(self._entries.get(position))}
        add_entries(self._reach, self._index, sorted(kept))
        pending = {position: desc for position, desc in self._entries.items() if position not in kept}
        probe = Reach(self._documents)
        probe.add(pending.values())
        while True:
            staying = {position for position, desc in pending.items() if self._is_needed(desc, probe)}
            if not staying:
                return kept
            add_entries(self._reach, self._index, sorted(staying))
            kept |= staying
            pending = {position: desc for position, desc in pending.items() if position not in staying}

    def _is_kept(self, desc: t.Optional[Descriptor]) -> bool:
        if self._wanted.keep_untagged or desc is None or desc.digest in self._fresh:
            return True
        return bool(desc.annotations.get(REF_NAME) or desc.annotations.get(CONTAINERD_NAME))

    def _is_needed(self, desc: Descriptor, probe: Reach) -> bool:
        """Also when nobody can tell what it is attached to."""
        document = probe.manifests.get(desc.digest)
        attached = document is not None and document.subject is not None and document.subject.digest in self._reach
        return attached or desc.digest in self._reach or desc.digest in probe.unread or desc.digest in probe.strange


def _younger(inventory: Inventory, seconds: int) -> t.Set[Digest]:
    since = time.time() - seconds
    return {digest for digest, stored in inventory.blobs.items() if seconds and stored.touched > since}


def apply_prune(store: IndexedStore, wanted: Wanted) -> Plan:
    """Look again while nobody writes, and remove what nothing needs then; returns what was removed."""
    done: t.List[Plan] = []

    def choose(index: LayoutIndex) -> Discarded:
        plan = _Search(store, wanted, index).plan()
        done.append(plan)
        return Discarded(index.without_entries(plan.entries), tuple(_parents_first(store, plan)))

    discard(store, choose)
    return done[0]


def _parents_first(store: IndexedStore, plan: Plan) -> t.List[Digest]:
    """A kill between two of them leaves no manifest whose content has gone before it: other tools skip what is below one that is there."""
    going = Reach(StoredDocuments(store, inventory_of(store)))
    going.add_stored(plan.blobs, "nothing")
    below = {digest: _named_by(document) & set(plan.blobs) for digest, document in going.manifests.items()}
    waiting = collections.Counter(child for children in below.values() for child in children)
    order = [digest for digest in plan.blobs if not waiting[digest]]
    for digest in order:
        for child in sorted(below.get(digest, ())):
            waiting[child] -= 1
            if not waiting[child]:
                order.append(child)
    return order


def _named_by(document: Manifest) -> t.Set[Digest]:
    return {desc.digest for desc in [*([document.config] if document.config else []), *document.layers, *document.manifests]}


def prune_result(plan: Plan, name: str) -> t.Dict[str, t.Any]:
    """What the module returns of it, the same in check mode."""
    entries = [f"entry {desc}" for desc in plan.entries.values()]
    blobs = [f"blob {digest} ({size} bytes)" for digest, size in plan.blobs.items()]
    return {
        "changed": plan.changed,
        "removed": [{"digest": digest, "size": size} for digest, size in plan.blobs.items()],
        "removed_size": sum(plan.blobs.values()),
        "removed_entries": [
            {"digest": desc.digest, "media_type": desc.media_type, "artifact_type": desc.artifact_type} for desc in plan.entries.values()
        ],
        "kept_young": [{"digest": digest, "size": size} for digest, size in plan.young.items()],
        "kept_young_size": sum(plan.young.values()),
        "size": plan.left,
        "diff": diff_of(name, [*entries, *blobs], []),
    }

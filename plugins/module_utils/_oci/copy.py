# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Copy a graph between any two stores: plan (pure reads), then apply what was planned.

An existing manifest needs no descent: every writer stores successors before what points at them. So a run that finds its names in
place is one look at each name.
"""

from __future__ import annotations

import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .content.store import Fetcher, Incoming, Opener, Source, Target, VerifyingReader, bytes_opener
from .spec import manifest, mediatype
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import CancelledError
from .spec.graph import post_order

DEFAULT_CONCURRENCY = 4
Item = t.TypeVar("Item")


@dataclass(frozen=True)
class CopyPlan:
    """What a copy does. Check mode returns it, the run applies it.

    ``current``: what each reference names now, None when nothing. ``missing``: what has to be transferred, successors first, the
    root among them. ``mounted``: those of it that the destination can take over from the source without a transfer. ``present``:
    what was looked at and is there. ``skipped``: non-distributable layers, which are not copied. ``manifests``: bytes by digest.
    """

    root: Descriptor
    current: t.Mapping[str, t.Optional[Descriptor]]
    missing: t.Tuple[Descriptor, ...] = ()
    mounted: t.FrozenSet[Digest] = frozenset()
    present: t.Tuple[Descriptor, ...] = ()
    skipped: t.Tuple[Descriptor, ...] = ()
    manifests: t.Mapping[Digest, bytes] = field(default_factory=dict, repr=False)

    @property
    def moving(self) -> t.Tuple[str, ...]:
        """The references that do not name the root yet."""
        return tuple(reference for reference, desc in self.current.items() if desc is None or desc.digest != self.root.digest)

    @property
    def changed(self) -> bool:
        return bool(self.missing or self.moving)


@dataclass
class Outcome:
    """What a run did: the digests that were mounted, of those that the plan calls missing."""

    mounted: t.Set[Digest] = field(default_factory=set)


def plan_copy(src: Fetcher, root: Descriptor, dst: Target, references: t.Sequence[str], concurrency: int = DEFAULT_CONCURRENCY) -> CopyPlan:
    """Compare ``dst`` with the graph under ``root``; ``references`` are the names that it is to have there (none: by digest only).

    Raises InvalidError for a graph that is too deep or too large, and whatever the stores raise.
    """
    current = {reference: dst.lookup(reference) for reference in dict.fromkeys(references)}
    if current and all(desc is not None and desc.digest == root.digest for desc in current.values()):
        return CopyPlan(root, current, present=(root,))
    named = any(desc is not None and desc.digest == root.digest for desc in current.values())
    walk = _Walk(src, dst, root, {root.digest} if named else set())
    stored = _stored_blobs(dst, walk.blobs, concurrency)
    missing = tuple(desc for desc in walk.order if desc.digest not in stored and desc.digest not in walk.pruned)
    # A root that is stored still has to be named, and a registry is told a name by the root's bytes.
    if not missing and root.digest not in walk.manifests and current:
        walk.manifests[root.digest] = src.fetch_bytes(root)
    return CopyPlan(
        root=root,
        current=current,
        missing=missing,
        mounted=_mountable(src, dst, missing),
        present=tuple(desc for desc in walk.order if desc.digest in stored or desc.digest in walk.pruned),
        skipped=tuple(walk.skipped),
        manifests=walk.manifests,
    )


class _Walk:
    """The graph in post-order, each digest once, not below manifests that the destination has."""

    def __init__(self, src: Fetcher, dst: Target, root: Descriptor, known: t.Set[Digest]) -> None:
        self._src = src
        self._dst = dst
        self._known = known
        self.pruned: t.Set[Digest] = set()
        self.manifests: t.Dict[Digest, bytes] = {}
        nodes = post_order(root, self._children)
        self.order = [desc for desc in nodes if not mediatype.is_nondistributable(desc.media_type)]
        self.blobs = [desc for desc in self.order if not mediatype.is_manifest(desc.media_type)]
        self.skipped = [desc for desc in nodes if mediatype.is_nondistributable(desc.media_type)]

    def _children(self, desc: Descriptor) -> t.Sequence[Descriptor]:
        if not mediatype.is_manifest(desc.media_type):
            return ()
        if desc.digest in self._known or self._dst.exists(desc):
            self.pruned.add(desc.digest)
            return ()
        content = self._src.fetch_bytes(desc)
        self.manifests[desc.digest] = content
        return manifest.successors(desc, content)


def _stored_blobs(dst: Target, blobs: t.Sequence[Descriptor], concurrency: int) -> t.Set[Digest]:
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        return {desc.digest for desc, stored in zip(blobs, pool.map(dst.exists, blobs)) if stored}


def _mountable(src: Fetcher, dst: Target, missing: t.Iterable[Descriptor]) -> t.FrozenSet[Digest]:
    if not dst.mountable(src):
        return frozenset()
    return frozenset(desc.digest for desc in missing if not mediatype.is_manifest(desc.media_type))


def apply_copy(plan: CopyPlan, src: Fetcher, dst: Target, concurrency: int = DEFAULT_CONCURRENCY) -> Outcome:
    """Do what the plan says: blobs in parallel, then manifests, successors first, then the root and its names."""
    outcome = Outcome()
    if not plan.changed:
        return outcome
    blobs = [desc for desc in plan.missing if not mediatype.is_manifest(desc.media_type)]
    manifests = [desc for desc in plan.missing if mediatype.is_manifest(desc.media_type) and desc.digest != plan.root.digest]
    with dst.receiving(Incoming(plan.root, tuple(plan.current), plan.missing, plan.present)):
        _transfer_all(plan, blobs, src, dst, concurrency, outcome)
        for desc in manifests:
            dst.push(desc, bytes_opener(desc, plan.manifests[desc.digest]))
        dst.tag(plan.root, _root_bytes(plan, src), plan.moving)
    return outcome


def _root_bytes(plan: CopyPlan, src: Fetcher) -> bytes:
    content = plan.manifests.get(plan.root.digest)
    return content if content is not None else src.fetch_bytes(plan.root)


def _transfer_all(plan: CopyPlan, blobs: t.Sequence[Descriptor], src: Fetcher, dst: Target, concurrency: int, outcome: Outcome) -> None:
    stop = threading.Event()

    def transfer(desc: Descriptor) -> None:
        if stop.is_set():
            return
        try:
            if desc.digest in plan.mounted and dst.mount(desc, src):
                outcome.mounted.add(desc.digest)
            else:
                dst.push(desc, _stoppable(src, desc, stop))
        except BaseException:
            stop.set()
            raise

    run_all(transfer, blobs, concurrency, stop)


def run_all(work: t.Callable[[Item], None], items: t.Sequence[Item], concurrency: int, stop: threading.Event) -> None:
    """``work`` on each item, in parallel; the first real error ends the rest (``stop``) and is raised."""
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            errors = [future.exception() for future in futures]
        except BaseException:
            stop.set()
            raise
    failures = [error for error in errors if error is not None]
    for error in failures:
        if not isinstance(error, CancelledError):
            raise error
    for error in failures:
        raise error


def _stoppable(src: Fetcher, desc: Descriptor, stop: threading.Event) -> Opener:
    def opener() -> VerifyingReader:
        reader = src.fetch(desc)
        reader.stop = stop
        return reader

    return opener


@dataclass(frozen=True)
class Stats:
    """Counts of blobs and manifests, and bytes of both together."""

    blobs_transferred: int = 0
    blobs_mounted: int = 0
    blobs_present: int = 0
    manifests_transferred: int = 0
    bytes_transferred: int = 0
    bytes_mounted: int = 0
    bytes_present: int = 0


def stats_of(plan: CopyPlan, outcome: t.Optional[Outcome] = None) -> Stats:
    """What the run did; without an outcome, what it would do."""
    mounted = plan.mounted if outcome is None else outcome.mounted
    moved = [desc for desc in plan.missing if desc.digest not in mounted]
    return Stats(
        blobs_transferred=_count_blobs(moved),
        blobs_mounted=len(mounted),
        blobs_present=_count_blobs(plan.present),
        manifests_transferred=len(moved) - _count_blobs(moved),
        bytes_transferred=sum(desc.size for desc in moved),
        bytes_mounted=sum(desc.size for desc in plan.missing if desc.digest in mounted),
        bytes_present=sum(desc.size for desc in plan.present),
    )


def _count_blobs(descs: t.Iterable[Descriptor]) -> int:
    return sum(1 for desc in descs if not mediatype.is_manifest(desc.media_type))


def requests_of(src: t.Optional[Source], dst: t.Optional[Target]) -> t.Dict[str, t.Dict[str, int]]:
    """HTTP requests by side and verb."""
    return {
        "source": dict(src.requests) if src is not None else {},
        "destination": dict(dst.requests) if dst is not None else {},
    }

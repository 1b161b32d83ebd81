# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Copy a graph between any two stores: plan (pure reads), then apply what was planned.

An existing manifest needs no descent: every writer stores successors before what points at them. So a run that finds its names in
place is one look at each name.
"""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from .content.store import Fetcher, Source, Target
from .spec import manifest, mediatype
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, MismatchError, NotFoundError, located
from .spec.graph import post_order
from .stats import Stats
from .verify import read_whole

DEFAULT_CONCURRENCY = 8
_FIRST_LOOKS = 16


@dataclass(frozen=True)
class CopyPlan:
    """What a copy does. Check mode returns it, the run applies it.

    ``current``: what each reference names now, None when nothing. ``missing``: what has to be transferred, successors first, the
    root among them. ``mounted``: those of it that the destination can take over from the source without a transfer. ``present``:
    what was looked at and is there. ``skipped``: non-distributable layers, which are not copied. ``damaged``: those of ``missing``
    that are there, and are not what they ought to be. ``unlisted``: the root is there, and not in its subject's list of referrers.
    ``manifests``: bytes by digest.
    """

    root: Descriptor
    current: t.Mapping[str, t.Optional[Descriptor]]
    missing: t.Tuple[Descriptor, ...] = ()
    mounted: t.FrozenSet[Digest] = frozenset()
    present: t.Tuple[Descriptor, ...] = ()
    skipped: t.Tuple[Descriptor, ...] = ()
    damaged: t.FrozenSet[Digest] = frozenset()
    unlisted: bool = False
    manifests: t.Mapping[Digest, bytes] = field(default_factory=dict, repr=False)

    @property
    def moving(self) -> t.Tuple[str, ...]:
        """The references that do not name the root yet."""
        return tuple(reference for reference, desc in self.current.items() if desc is None or desc.digest != self.root.digest)

    @property
    def changed(self) -> bool:
        return bool(self.missing or self.moving or self.unlisted)


@dataclass
class Outcome:
    """What a run did: the digests that were mounted, of those that the plan calls missing."""

    mounted: t.Set[Digest] = field(default_factory=set)


class CopyOptions(t.NamedTuple):
    """``concurrency``: blobs looked up and transferred at a time. ``nondistributable``: whether such layers are copied too.
    ``deep``: everything at the destination is read and hashed, down to the last blob; what is damaged or lost is missing.
    ``hardlinks``: whether two layouts on one file system may have a blob's file in common."""

    concurrency: int = DEFAULT_CONCURRENCY
    nondistributable: bool = False
    deep: bool = False
    hardlinks: bool = False


class Planner:
    """Plans copies into one destination, one after the other: what an expected one brings is there for the later ones.

    Raises InvalidError for a graph that is too deep or too large, and whatever the stores raise.
    """

    def __init__(self, dst: Target, options: CopyOptions = CopyOptions()) -> None:
        self.dst = dst
        self.options = options
        # What is there and is not what it ought to be; a deep look tells.
        self.damaged: t.Set[Digest] = set()
        # What is on disk here is looked at each time: others may have damaged it, and a look costs no request.
        self.looks_below = options.deep or not dst.remote
        self._coming: t.Set[Digest] = set()
        self._stored: t.Dict[Digest, bool] = {}
        self._new: t.Optional[bool] = None
        self._looked_up = 0  # blobs: manifests are stored last, so that they are missing says nothing

    def plan(self, src: Fetcher, root: Descriptor, current: t.Mapping[str, t.Optional[Descriptor]], listed: bool = True) -> CopyPlan:
        """Compare the destination with the graph under ``root``; ``current``: what the names that it is to have name there now.

        ``listed``: whether the root is where its subject's referrers are listed; True for a root that has no subject.
        """
        names_right = bool(current) and all(_is(desc, root) for desc in current.values())
        if names_right and listed and not self.looks_below:
            return CopyPlan(root, current, present=(root,))
        walk = _Walk(self, src, root, any(_is(desc, root) for desc in current.values()))
        plan = walk.plan(current)
        relist = not listed and root.digest not in {desc.digest for desc in plan.missing}
        return replace(plan, unlisted=relist)

    def expect(self, plan: CopyPlan) -> CopyPlan:
        """Count on what the plan brings; it will be applied together with the later ones."""
        self._coming.update(desc.digest for desc in plan.missing)
        return plan

    def is_coming(self, desc: Descriptor) -> bool:
        return desc.digest in self._coming

    def stored(self, descs: t.Sequence[Descriptor], vouched: t.AbstractSet[Digest] = frozenset()) -> t.Set[Digest]:
        """Those of the blobs that are there, or will be by an expected plan. Each is looked up once.

        ``vouched``: those that manifests name which are there. Others on a disk are hashed before something new names them.
        """
        unknown = [desc for desc in descs if desc.digest not in self._stored and not self.is_coming(desc)]

        def look(desc: Descriptor) -> bool:
            if not self.looks_below:
                return self.dst.exists(desc)
            trusted = not self.options.deep and desc.digest in vouched
            return (trusted and self.dst.exists(desc)) or self._intact(desc)

        first = max(_FIRST_LOOKS, self.options.concurrency)
        with ThreadPoolExecutor(max_workers=self.options.concurrency) as pool:
            for some in (unknown[:first], unknown[first:]):
                if some and self._is_new(first):
                    self._stored.update({desc.digest: False for desc in some})
                else:
                    self._stored.update({desc.digest: there for desc, there in zip(some, pool.map(look, some))})
                    self._looked_up += len(some)
        return {desc.digest for desc in descs if self.is_coming(desc) or self._stored[desc.digest]}

    def _is_new(self, first: int) -> bool:
        """Whether the store says that it has never had anything: asked once, when ``first`` blobs have been looked up and none was there.

        A copy that was broken off has left at least one of the blobs that it began with, and those are looked up first.
        """
        if self._new is None and self._looked_up >= first:
            self._new = not any(self._stored.values()) and self.dst.is_new()
        return bool(self._new)

    def has_manifest(self, desc: Descriptor) -> bool:
        if desc.digest not in self._stored:
            self._stored[desc.digest] = self._intact(desc) if self.looks_below else self.dst.exists(desc)
        return self._stored[desc.digest]

    def _intact(self, desc: Descriptor) -> bool:
        try:
            read_whole(self.dst, desc)
        except NotFoundError:
            return False
        except (InvalidError, MismatchError):
            self.damaged.add(desc.digest)
            return False
        return True


def _is(desc: t.Optional[Descriptor], root: Descriptor) -> bool:
    return desc is not None and desc.digest == root.digest


def plan_copy(src: Fetcher, root: Descriptor, dst: Target, references: t.Sequence[str], concurrency: int = DEFAULT_CONCURRENCY) -> CopyPlan:
    """The plan of one copy: ``references`` are the names that ``root`` is to have in ``dst`` (none: by digest only)."""
    return Planner(dst, CopyOptions(concurrency)).plan(src, root, look_up(dst, references))


def look_up(dst: Source, references: t.Iterable[str], concurrency: int = DEFAULT_CONCURRENCY) -> t.Dict[str, t.Optional[Descriptor]]:
    """What each name names now, None when nothing; in the given order."""
    names = list(dict.fromkeys(references))
    if len(names) < 2:
        return {name: dst.lookup(name) for name in names}
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        return dict(zip(names, pool.map(dst.lookup, names)))


class _Walk:
    """The graph in post-order, each digest once; below manifests that the destination has only where looking costs no request."""

    def __init__(self, planner: Planner, src: Fetcher, root: Descriptor, named: bool) -> None:
        self._planner = planner
        self._src = src
        self._root = root
        self._named = named
        self._pruned: t.Set[Digest] = set()
        self._absent: t.Set[Digest] = set()
        self._vouched: t.Set[Digest] = set()
        self._manifests: t.Dict[Digest, bytes] = {}
        nodes = post_order(root, self._children)
        everything = planner.options.nondistributable
        self._skipped = [desc for desc in nodes if not everything and mediatype.is_nondistributable(desc.media_type)]
        self._order = [desc for desc in nodes if everything or not mediatype.is_nondistributable(desc.media_type)]

    def _children(self, desc: Descriptor) -> t.Sequence[Descriptor]:
        if not mediatype.is_manifest(desc.media_type):
            return ()
        planner = self._planner
        if planner.is_coming(desc):
            self._pruned.add(desc.digest)
            return ()
        known = self._named and not planner.looks_below and desc.digest == self._root.digest
        stored = known or planner.has_manifest(desc)
        if stored:
            self._pruned.add(desc.digest)
            if not planner.looks_below:
                return ()
        elif self._left_alone(desc):
            self._absent.add(desc.digest)
            return ()
        holder = planner.dst if stored else self._src
        content = holder.fetch_bytes(desc)
        self._manifests[desc.digest] = content
        with located(holder.location):
            children = manifest.successors(desc, content)
        if stored:
            self._vouched.update(child.digest for child in children)
        return children

    def _left_alone(self, desc: Descriptor) -> bool:
        """Whether it is missing under a manifest that is there, and from the source too: a layout may hold some platforms only."""
        return not self._planner.options.deep and desc.digest in self._vouched and not self._src.exists(desc)

    def plan(self, current: t.Mapping[str, t.Optional[Descriptor]]) -> CopyPlan:
        blobs = [desc for desc in self._order if not mediatype.is_manifest(desc.media_type)]
        stored = self._planner.stored(blobs, self._vouched) | self._pruned
        settled = stored | self._absent
        missing = tuple(desc for desc in self._order if desc.digest not in settled and not self._left_alone(desc))
        # A root that is stored still has to be named, and a registry is told a name by the root's bytes.
        if not missing and self._root.digest not in self._manifests and not self._planner.is_coming(self._root):
            self._manifests[self._root.digest] = self._src.fetch_bytes(self._root)
        return CopyPlan(
            root=self._root,
            current=current,
            missing=missing,
            mounted=_mountable(self._src, self._planner, missing),
            present=tuple(desc for desc in self._order if desc.digest in stored),
            skipped=tuple(self._skipped),
            damaged=frozenset(desc.digest for desc in missing if desc.digest in self._planner.damaged),
            manifests=self._manifests,
        )


def _mountable(src: Fetcher, planner: Planner, missing: t.Iterable[Descriptor]) -> t.FrozenSet[Digest]:
    dst = planner.dst
    if not dst.remote and not planner.options.hardlinks:
        return frozenset()
    blobs = [desc for desc in missing if not mediatype.is_manifest(desc.media_type)]
    return frozenset(desc.digest for desc in blobs if dst.mountable(desc, src.origin(desc)))


def apply_copy(plan: CopyPlan, src: Fetcher, dst: Target, concurrency: int = DEFAULT_CONCURRENCY, unmoved: bool = False) -> Outcome:
    """Do what the plan says: blobs in parallel, then manifests, successors first, then the root and its names.

    ``unmoved``: what is copied was made of what the names name, so a layout raises MovedError when they do not name that any more.
    """
    return apply_copies([(plan, src)], dst, concurrency, unmoved)


def apply_copies(
    plans: t.Sequence[t.Tuple[CopyPlan, Fetcher]], dst: Target, concurrency: int = DEFAULT_CONCURRENCY, unmoved: bool = False
) -> Outcome:
    """As ``apply_copy``, of several plans that one Planner made, each with its source: all blobs, then manifests and names."""
    from .transfer import apply_all  # only what has changed needs it, and each run compiles what it imports

    return apply_all(plans, dst, concurrency, unmoved)


def stats_of(plan: t.Union[CopyPlan, t.Sequence[CopyPlan]], outcome: t.Optional[Outcome] = None) -> Stats:
    """What the run did, with one plan or several of one Planner; without an outcome, what it would do."""
    plans = [plan] if isinstance(plan, CopyPlan) else plan
    missing = [desc for one in plans for desc in one.missing]
    all_mounted = {digest for one in plans for digest in one.mounted} if outcome is None else outcome.mounted
    mounted = [desc for desc in missing if desc.digest in all_mounted]
    moved = [desc for desc in missing if desc.digest not in all_mounted]
    coming = {desc.digest for desc in missing}
    present = {desc.digest: desc for one in plans for desc in one.present if desc.digest not in coming}.values()
    return Stats(
        blobs_transferred=_count_blobs(moved),
        blobs_mounted=len(mounted),
        blobs_present=_count_blobs(present),
        manifests_transferred=len(moved) - _count_blobs(moved),
        bytes_transferred=sum(desc.size for desc in moved),
        bytes_mounted=sum(desc.size for desc in mounted),
        bytes_present=sum(desc.size for desc in present),
    )


def _count_blobs(descs: t.Iterable[Descriptor]) -> int:
    return sum(1 for desc in descs if not mediatype.is_manifest(desc.media_type))

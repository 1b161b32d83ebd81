# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""One copy task: from roots at the source to what they become (some platforms, another format), to plans, to the run.

What few tasks need is imported where they need it: Ansible sends source code, which each run compiles as far as it imports it.
"""

from __future__ import annotations

import contextlib
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .content.store import Fetcher, Source, Target
from .conversion import Conversion
from .copy import CopyOptions, CopyPlan, Outcome, Planner, apply_copies, look_up
from .spec import manifest
from .spec.descriptor import Descriptor
from .spec.digest import looks_like_digest
from .spec.errors import InvalidError, MismatchError, NotFoundError, located
from .verify import read_whole

if t.TYPE_CHECKING:
    from .attached import Attached, AttachedPlanner
    from .content.overlay import Overlay, Spool
    from .spec.platform import Platform
    from .tag_selection import Matches


class Wanted(t.NamedTuple):
    """What a task asks for, beside source and destination; ``force_tag``: whether a tag may be moved that names something else."""

    options: CopyOptions = CopyOptions()
    platforms: t.Tuple[Platform, ...] = ()
    conversion: Conversion = Conversion()
    referrers: bool = False
    artifact_types: t.Tuple[str, ...] = ()
    digest_tags: bool = False
    force_tag: bool = True

    def check(self) -> None:
        """Raises InvalidError for options that cannot go together."""
        if self.referrers and self.conversion:
            raise InvalidError("referrers belong to the digest that they are attached to, and format and compression change it")
        if self.artifact_types and not self.referrers:
            raise InvalidError("artifact_types chooses among referrers: it needs referrers=true")


class Derived(t.NamedTuple):
    """What a root becomes, and where its content is; ``dropped``: what cannot come along. ``reused``: digests of layers that are
    taken from the destination."""

    root: Descriptor
    content: Fetcher
    dropped: t.Tuple[Descriptor, ...] = ()
    reused: t.AbstractSet[str] = frozenset()


class Item(t.NamedTuple):
    """One root of the source on its way; ``name``: its tag, where many are copied."""

    source_root: Descriptor
    derived: Derived
    plan: CopyPlan
    attached: t.Tuple[Attached, ...] = ()
    name: t.Optional[str] = None

    @property
    def plans(self) -> t.List[CopyPlan]:
        return [self.plan, *(attached.plan for attached in self.attached)]

    @property
    def changed(self) -> bool:
        return any(plan.changed for plan in self.plans)

    @property
    def dropped(self) -> t.Tuple[Descriptor, ...]:
        return self.derived.dropped


@dataclass
class CopyTask:
    """``add`` plans (pure reads), ``apply`` does what was planned. ``spool``: where layers that are compressed anew are kept."""

    source: Source
    target: Target
    wanted: Wanted
    spool: t.Optional[Spool] = None
    items: t.List[Item] = field(default_factory=list)
    pruned: t.Dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wanted.check()
        self._planner = Planner(self.target, self.wanted.options)
        self._attached: t.Optional[AttachedPlanner] = None

    def resolve(self, names: t.Sequence[str]) -> t.List[Descriptor]:
        """The roots that the tags name at the source."""
        with ThreadPoolExecutor(max_workers=self.wanted.options.concurrency) as pool:
            return list(pool.map(self.source.resolve, names))

    def root(self, reference: t.Optional[str]) -> Descriptor:
        """What ``reference`` names at the source. What a digest names, and the destination has on disk, need not be asked for."""
        if self.source.remote and not self.target.remote and reference is not None and looks_like_digest(reference):
            with contextlib.suppress(NotFoundError, InvalidError, MismatchError):
                held = self.target.resolve(reference)
                # Read, not believed: what index.json says of it may be wrong, and the source is asked then.
                media_type = manifest.sniff_media_type(self.target.fetch_bytes(held), reference)
                return Descriptor(media_type, held.digest, held.size)
        return self.source.resolve(reference)

    def look_up(self, names: t.Iterable[str]) -> t.Dict[str, t.Optional[Descriptor]]:
        """What the tags name at the destination."""
        return look_up(self.target, names, self.wanted.options.concurrency)

    def add(self, root: Descriptor, current: t.Mapping[str, t.Optional[Descriptor]], name: t.Optional[str] = None) -> Item:
        """Plan one root. Raises InvalidError when a tag would have to move and must not."""
        derived = self._derived(root, current)
        plan = self._planner.plan(derived.content, derived.root, current)
        if any(desc.digest in derived.reused for desc in plan.missing):
            # What an image at the destination claims to have is not there: then it has to be made.
            derived = self._derived(root, {})
            plan = self._planner.plan(derived.content, derived.root, current)
        if not self.wanted.force_tag:
            from .tagging import refuse_moves

            refuse_moves(plan, self.target)
        self._planner.expect(plan)
        item = Item(root, derived, plan, self._attached_to(derived), name)
        self.items.append(item)
        return item

    def _attached_to(self, derived: Derived) -> t.Tuple[Attached, ...]:
        if not self.wanted.referrers and not self.wanted.digest_tags:
            return ()
        if self._attached is None:
            from .attached import AttachedPlanner

            self._attached = AttachedPlanner(self.source, self._planner, self.wanted.artifact_types)
        attached: t.List[Attached] = []
        if self.wanted.referrers:
            attached += self._attached.referrers(derived.content, derived.root)
        if self.wanted.digest_tags:
            attached += self._attached.digest_tags(derived.content, derived.root)
        return tuple(attached)

    def _derived(self, root: Descriptor, current: t.Mapping[str, t.Optional[Descriptor]]) -> Derived:
        wanted = self.wanted
        if not wanted.platforms and not wanted.conversion:
            return Derived(root, self.source)
        overlay = self._overlay()
        new = self._subset(overlay, root)
        return self._converted(overlay, new, current) if wanted.conversion else Derived(new, overlay)

    def _subset(self, overlay: Overlay, root: Descriptor) -> Descriptor:
        if not self.wanted.platforms:
            return root
        from .subset import for_platforms

        return for_platforms(overlay, root, self.wanted.platforms)

    def _converted(self, overlay: Overlay, new: Descriptor, current: t.Mapping[str, t.Optional[Descriptor]]) -> Derived:
        from .convert import Converter
        from .known import layers_under

        wanted = self.wanted
        stored = layers_under(self.target, current.values()) if wanted.conversion.compression else {}
        converter = Converter(overlay, t.cast("Spool", self.spool), wanted.conversion, stored)
        with located(self.source.location):
            new = converter.convert(new)
        return Derived(new, overlay, tuple(converter.dropped), frozenset(map(str, converter.reused)))

    def _overlay(self) -> Overlay:
        from .content.overlay import Overlay

        overlay = Overlay(self.source)
        overlay.location = self.source.location
        return overlay

    def prune(self, matches: Matches) -> None:
        """Plan the removal of the destination's tags that match and that no item has."""
        try:
            names = self.target.names()
        except NotFoundError:
            return
        kept = {tag for item in self.items for plan in item.plans for tag in plan.current}
        going = [tag for tag in names if tag not in kept and matches(tag)]
        self.pruned = {tag: str(desc.digest) for tag, desc in self.look_up(going).items() if desc is not None}

    @property
    def changed(self) -> bool:
        return any(item.changed for item in self.items) or bool(self.pruned)

    def apply(self) -> Outcome:
        """Everything that was planned, in one go; what is pruned goes last."""
        plans = [(item.plan, item.derived.content) for item in self.items]
        plans += [(attached.plan, attached.content) for item in self.items for attached in item.attached]
        outcome = apply_copies(plans, self.target, self.wanted.options.concurrency)
        for plan, _content in plans:
            self._check_repaired(plan)
        if self.pruned:
            self.target.untag(*self.pruned)
        return outcome

    def _check_repaired(self, plan: CopyPlan) -> None:
        """Registries may keep what they have under a digest, whatever it is."""
        for desc in plan.missing:
            if desc.digest in plan.damaged:
                try:
                    read_whole(self.target, desc)
                except (InvalidError, MismatchError) as error:
                    raise MismatchError(
                        f"{error.message}; it was sent again, and the store keeps what it has: delete {desc.digest} there, and run again"
                    ) from error

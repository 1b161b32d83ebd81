# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What is attached to an image travels with it: signatures, SBOMs, attestations, and what is attached to those (distribution-spec
"Listing Referrers"; cosign's tags that are named after digests)."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .content.names import IndexedStore
from .content.overlay import Overlay
from .content.store import Fetcher, Source
from .copy import CopyPlan, Planner
from .spec import mediatype
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError
from .spec.graph import MAX_NODES
from .spec.manifest import parse
from .spec.referrers import fallback_tag, index_of
from .subjects import manifests_under, typed_referrers


@dataclass(frozen=True)
class Attached:
    """The copy of one thing that is attached to ``subject``; ``content`` is where its content comes from."""

    subject: Descriptor
    referrer: Descriptor
    plan: CopyPlan
    content: Fetcher


class ReferrerPlanner:
    """Plans what is attached to one manifest; ``content`` is where it comes from."""

    def __init__(self, content: Fetcher, planner: Planner) -> None:
        self._content = content
        self._planner = planner

    def plans(self, subject: Descriptor, referrers: t.Sequence[Descriptor]) -> t.List[Attached]:
        """One for each, and one for a list that has to name them."""
        dst = self._planner.dst
        listed = {desc.digest for desc in dst.referrers(subject)}
        plans = [self._plan(subject, desc, desc.digest in listed) for desc in referrers]
        if isinstance(dst, IndexedStore):
            plans += self._listing(dst, subject, referrers)
        return plans

    def _plan(self, subject: Descriptor, referrer: Descriptor, listed: bool) -> Attached:
        root = Descriptor(referrer.media_type, referrer.digest, referrer.size, artifact_type=referrer.artifact_type)
        if listed and not self._planner.options.deep:
            plan = CopyPlan(root, {}, present=(root,))
        else:
            plan = self._planner.expect(self._planner.plan(self._content, root, {}, listed))
        return Attached(subject, referrer, plan, self._content)

    def _listing(self, dst: IndexedStore, subject: Descriptor, referrers: t.Sequence[Descriptor]) -> t.List[Attached]:
        """Where a layout lists the subject's referrers under the fallback tag, as regctl does, there as well."""
        name = fallback_tag(subject.digest)
        listing = dst.lookup(name)
        if listing is None or not mediatype.is_index(listing.media_type):
            return []
        entries = parse(listing, dst.fetch_bytes(listing)).manifests
        new = [desc for desc in referrers if desc.digest not in {entry.digest for entry in entries}]
        if not new:
            return []
        overlay, content = Overlay(self._content), index_of([*entries, *new])
        desc = Descriptor.of(content, mediatype.OCI_INDEX)
        overlay.add_bytes(desc, content)
        plan = self._planner.expect(self._planner.plan(overlay, desc, {name: listing}))
        return [Attached(subject, desc, plan, overlay)]


class AttachedPlanner:
    """Plans what goes along with each root, once however many roots it is under.

    ``artifact_types``: those of what is attached to an image that is to travel, all when empty; what is attached to that travels as well.
    """

    def __init__(self, source: Source, planner: Planner, artifact_types: t.Sequence[str]) -> None:
        self._source = source
        self._planner = planner
        self._referrers = ReferrerPlanner(source, planner)
        self._artifact_types = frozenset(artifact_types)
        self._seen: t.Set[Digest] = set()
        self._tags: t.Optional[t.List[str]] = None

    def referrers(self, content: Fetcher, root: Descriptor) -> t.List[Attached]:
        """The referrers of every manifest under ``root``, and theirs."""
        found: t.List[Attached] = []
        pending = [(subject, self._artifact_types) for subject in manifests_under(content, root)]
        while pending:
            subject, wanted = pending.pop(0)
            if subject.digest in self._seen:
                continue
            self._seen.add(subject.digest)
            if len(self._seen) > MAX_NODES:
                raise InvalidError(f"more than {MAX_NODES} manifests are attached to each other (at {subject.digest})")
            referrers = [desc for desc in typed_referrers(self._source, subject) if not wanted or desc.artifact_type in wanted]
            if referrers:
                found += self._referrers.plans(subject, referrers)
                below = [desc for referrer in referrers for desc in manifests_under(self._source, referrer)]
                pending += [(desc, frozenset()) for desc in below]
        return found

    def digest_tags(self, content: Fetcher, root: Descriptor) -> t.List[Attached]:
        """What stands under tags that begin with the digest of a manifest under ``root``, as ``sha256-<hex>.sig``."""
        if self._tags is None:
            self._tags = self._source.names()
        found = []
        for subject in manifests_under(content, root):
            prefix = f"{subject.digest.algorithm}-{subject.digest.encoded}."
            for tag in self._tags:
                if tag.startswith(prefix):
                    desc = self._source.resolve(tag)
                    plan = self._planner.plan(self._source, desc, {tag: self._planner.dst.lookup(tag)})
                    found.append(Attached(subject, desc, self._planner.expect(plan), self._source))
        return found

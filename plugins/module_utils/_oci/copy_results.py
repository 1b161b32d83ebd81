# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What a copy task returns, of one tag or of many."""

from __future__ import annotations

import typing as t

from .copy import Outcome, stats_of
from .results import Result, before_of, content_of, diff_of, names_of, tags_of
from .stats import requests_of

if t.TYPE_CHECKING:
    from .content.store import Source, Target
    from .copy_task import Item


def items_result(
    items: t.Sequence[Item], pruned: t.Mapping[str, str], outcome: t.Optional[Outcome], name: str, src: Source, dst: Target
) -> Result:
    """Of the copies of one task, of one tag or of many; ``pruned``: what is removed at the destination, with the digests."""
    plans = [plan for item in items for plan in item.plans]
    before = [line for item in items for line in before_of(item.plan)] + [f"{tag}: {digest}" for tag, digest in pruned.items()]
    after = [line for item in items for line in _after(item)] + [f"{tag}: absent" for tag in pruned]
    return {
        "changed": any(plan.changed for plan in plans) or bool(pruned),
        "tags": {
            **{tag: names for item in items for tag, names in tags_of(item.plan).items()},
            **{tag: {"before": digest, "after": None} for tag, digest in pruned.items()},
        },
        "skipped_layers": list(dict.fromkeys(desc.digest for plan in plans for desc in plan.skipped)),
        "dropped": list(dict.fromkeys(desc.digest for item in items for desc in item.dropped)),
        "referrers": [_referrer(attached) for item in items for attached in item.attached],
        "stats": {**vars(stats_of(plans, outcome)), "requests": requests_of(src, dst)},
        "diff": diff_of(name, before, after),
    }


def root_result(item: Item, name: str) -> Result:
    """What only the copy of one manifest has."""
    root = item.plan.root
    return {
        "digest": root.digest,
        "source_digest": item.source_root.digest,
        "reference": f"{name}@{root.digest}",
        "media_type": root.media_type,
    }


def item_result(item: Item, outcome: t.Optional[Outcome], name: str) -> Result:
    """One of many."""
    return {
        **root_result(item, name),
        "tag": item.name,
        "changed": item.changed,
        "before": next((desc.digest for desc in item.plan.current.values() if desc), None),
        "stats": vars(stats_of(item.plans, outcome)),
    }


def _referrer(attached: t.Any) -> Result:
    return {
        "digest": attached.referrer.digest,
        "artifact_type": attached.referrer.artifact_type,
        "subject": attached.subject.digest,
        "changed": attached.plan.changed,
    }


def _after(item: Item) -> t.List[str]:
    lines = names_of(item.plan)
    if item.plan.changed and item.plan.root.digest != item.source_root.digest:
        lines.append(f"{item.plan.root.digest} is made of {item.source_root.digest}")
        lines += [f"without {desc}" for desc in item.dropped]
    lines += content_of(item.plan)
    for attached in item.attached:
        if attached.plan.changed:
            lines += [*names_of(attached.plan), *content_of(attached.plan)]
            lines.append(f"referrer {attached.referrer.digest} ({attached.referrer.artifact_type}) of {attached.subject.digest}")
    return lines

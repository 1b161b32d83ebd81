# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What modules return of copies: of the run with its outcome, of check mode without, in the same words."""

from __future__ import annotations

import typing as t

from .copy import CopyPlan, Outcome, stats_of
from .spec import mediatype, reference
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError, located
from .stats import Stats, requests_of

if t.TYPE_CHECKING:
    from .attaching import Attachment
    from .content.archive import Archive
    from .content.layout import Layout
    from .content.store import Source, Target
    from .copy_task import Item
    from .removal import Removal

Result = t.Dict[str, t.Any]


def copy_result(plan: CopyPlan, outcome: t.Optional[Outcome], name: str, src: t.Optional[Source], dst: Target) -> Result:
    """Of one copy. ``name`` is the destination's."""
    return {
        "changed": plan.changed,
        "digest": plan.root.digest,
        "reference": f"{name}@{plan.root.digest}",
        "media_type": plan.root.media_type,
        "tags": _tags(plan),
        "stats": {**vars(stats_of(plan, outcome)), "requests": requests_of(src, dst)},
        "diff": diff_of(name, _before(plan), [*_names(plan), *_content(plan)]),
    }


def items_result(
    items: t.Sequence[Item], pruned: t.Mapping[str, str], outcome: t.Optional[Outcome], name: str, src: Source, dst: Target
) -> Result:
    """Of the copies of one task, of one tag or of many; ``pruned``: what is removed at the destination, with the digests."""
    plans = [plan for item in items for plan in item.plans]
    before = [line for item in items for line in _before(item.plan)] + [f"{tag}: {digest}" for tag, digest in pruned.items()]
    after = [line for item in items for line in _after(item)] + [f"{tag}: absent" for tag in pruned]
    return {
        "changed": any(plan.changed for plan in plans) or bool(pruned),
        "tags": {
            **{tag: names for item in items for tag, names in _tags(item.plan).items()},
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


def unmade_result(dest: reference.Reference, more: t.Sequence[str], src: Source, dst: Target) -> Result:
    """What check mode returns of a copy whose source is still to be made: all that is known is what the tags name now."""
    names = [tag for tag in dict.fromkeys([dest.tag, *more]) if tag]
    current = {tag: dst.lookup(tag) for tag in names}
    digests = {tag: str(desc.digest) if desc else None for tag, desc in current.items()}
    return {
        "changed": True,
        "digest": None,
        "reference": dest.name,
        "media_type": None,
        "tags": {tag: {"before": digest, "after": None} for tag, digest in digests.items()},
        "stats": {**vars(Stats()), "requests": requests_of(src, dst)},
        "diff": diff_of(
            dest.name,
            [f"{tag}: {digest or 'absent'}" for tag, digest in digests.items()],
            [f"{tag}: still to be made" for tag in names],
        ),
    }


def untag_result(target: t.Union[Layout, Archive], tag: str, name: str) -> Result:
    """What a module returns of the removal of a ref, in check mode and in the run."""
    reference.check_ref_name(tag)
    digest = target.digest_of_name(tag)
    return {**untags_result({tag: digest}, [tag] if digest is not None else [], name), "digest": digest}


def untags_result(current: t.Mapping[str, t.Optional[str]], going: t.Sequence[str], name: str) -> Result:
    """What a module returns of the removal of names. ``current``: the digest of each, None for none; ``name`` is the destination's."""
    after = {tag: None if tag in going else digest for tag, digest in current.items()}
    return {
        "changed": bool(going),
        "tags": {tag: {"before": digest, "after": after[tag]} for tag, digest in current.items()},
        "diff": diff_of(name, *([f"{tag}: {digest or 'absent'}" for tag, digest in state.items()] for state in (current, after))),
    }


def attachment_result(attachment: Attachment, subject: Descriptor, name: str) -> Result:
    """What a module returns of what it attaches. ``name`` is the destination's."""
    referrer = attachment.referrer
    line = f"referrer {referrer.digest} ({referrer.artifact_type}) of {subject.digest}"
    content = [text for attached in attachment.plans for text in _content(attached.plan)]
    return {
        "changed": attachment.changed,
        "digest": referrer.digest,
        "reference": f"{name}@{referrer.digest}",
        "artifact_type": referrer.artifact_type,
        "diff": diff_of(name, [] if attachment.changed else [line], [line, *content]),
    }


def removal_result(removal: Removal, dest: reference.Reference) -> Result:
    """What a module returns of manifests that go: a tag that named the first of them goes along wherever it is."""
    named = {dest.tag: removal.gone[0].digest} if dest.tag and removal.gone else {}
    names = {**named, **removal.names}
    gone = [f"manifest {desc.digest}" for desc in removal.gone]
    return {
        "changed": removal.changed,
        "deleted": [desc.digest for desc in removal.gone],
        "tags": {tag: {"before": digest, "after": None} for tag, digest in names.items()},
        "diff": diff_of(dest.name, [*(f"{tag}: {digest}" for tag, digest in names.items()), *gone], [f"{tag}: absent" for tag in names]),
    }


def _tags(plan: CopyPlan) -> Result:
    return {tag: {"before": desc.digest if desc else None, "after": plan.root.digest} for tag, desc in plan.current.items()}


def _before(plan: CopyPlan) -> t.List[str]:
    return [f"{tag}: {desc.digest if desc else 'absent'}" for tag, desc in plan.current.items()]


def _names(plan: CopyPlan) -> t.List[str]:
    return [f"{tag}: {plan.root.digest}" for tag in plan.current]


def _content(plan: CopyPlan) -> t.List[str]:
    lines = []
    for desc in plan.missing:
        kind = "manifest" if mediatype.is_manifest(desc.media_type) else "blob"
        how = " mounted" if desc.digest in plan.mounted else " repaired" if desc.digest in plan.damaged else ""
        lines.append(f"{kind} {desc}{how}")
    return lines


def _after(item: Item) -> t.List[str]:
    lines = _names(item.plan)
    if item.plan.changed and item.plan.root.digest != item.source_root.digest:
        lines.append(f"{item.plan.root.digest} is made of {item.source_root.digest}")
        lines += [f"without {desc}" for desc in item.dropped]
    lines += _content(item.plan)
    for attached in item.attached:
        if attached.plan.changed:
            lines += [*_names(attached.plan), *_content(attached.plan)]
            lines.append(f"referrer {attached.referrer.digest} ({attached.referrer.artifact_type}) of {attached.subject.digest}")
    return lines


def diff_of(name: str, before: t.Iterable[str], after: t.Iterable[str]) -> t.Dict[str, str]:
    """Names and content before and after: the same text in check mode and in the run."""
    return {
        "before_header": name,
        "after_header": name,
        "before": "".join(f"{line}\n" for line in before),
        "after": "".join(f"{line}\n" for line in after),
    }


def check_digest(dest: reference.Reference, root: Descriptor) -> None:
    """Raises InvalidError when ``dest`` has another digest than what is to be there."""
    if dest.digest is not None and dest.digest != root.digest:
        raise InvalidError(f"destination {dest} has a digest that is not the source's, which is {root.digest}")


def checked_tags(dest: reference.Reference, tags: t.Iterable[str]) -> t.List[str]:
    """The tags, each once, as the destination can take them. Raises InvalidError."""
    check = reference.check_ref_name if isinstance(dest, reference.LayoutReference) else reference.check_tag
    with located(f"destination {dest}"):
        return [check(tag) for tag in dict.fromkeys(tags)]

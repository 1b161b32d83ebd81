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
    from .content.archive import Archive
    from .content.layout import Layout
    from .content.store import Source, Target

Result = t.Dict[str, t.Any]


def copy_result(plan: CopyPlan, outcome: t.Optional[Outcome], name: str, src: t.Optional[Source], dst: Target) -> Result:
    """Of one copy. ``name`` is the destination's."""
    return {
        "changed": plan.changed,
        "digest": plan.root.digest,
        "reference": f"{name}@{plan.root.digest}",
        "media_type": plan.root.media_type,
        "tags": tags_of(plan),
        "stats": {**vars(stats_of(plan, outcome)), "requests": requests_of(src, dst)},
        "diff": diff_of(name, before_of(plan), [*names_of(plan), *content_of(plan)]),
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


def tags_of(plan: CopyPlan) -> Result:
    return {tag: {"before": desc.digest if desc else None, "after": plan.root.digest} for tag, desc in plan.current.items()}


def before_of(plan: CopyPlan) -> t.List[str]:
    return [f"{tag}: {desc.digest if desc else 'absent'}" for tag, desc in plan.current.items()]


def names_of(plan: CopyPlan) -> t.List[str]:
    return [f"{tag}: {plan.root.digest}" for tag in plan.current]


def content_of(plan: CopyPlan) -> t.List[str]:
    lines = []
    for desc in plan.missing:
        kind = "manifest" if mediatype.is_manifest(desc.media_type) else "blob"
        how = " mounted" if desc.digest in plan.mounted else " repaired" if desc.digest in plan.damaged else ""
        lines.append(f"{kind} {desc}{how}")
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

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Names of what a store has already: set, moved, removed. No content is transferred."""

from __future__ import annotations

import typing as t

from .content.store import Target
from .copy import CopyPlan, look_up
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, located


def plan_tags(target: Target, root: Descriptor, names: t.Sequence[str]) -> CopyPlan:
    """The copy that lets each of ``names`` name ``root``, which is there."""
    return CopyPlan(root, look_up(target, names), present=(root,))


class Untagging(t.NamedTuple):
    """``current``: the digest that each name has now, None for none. ``going``: the names that are removed."""

    current: t.Mapping[str, t.Optional[Digest]]
    going: t.Tuple[str, ...]


def plan_untag(target: Target, names: t.Sequence[str], only: t.Optional[Digest] = None) -> Untagging:
    """The removal of ``names`` where they are there, and name ``only``, if that is given."""
    current = {name: desc.digest if desc is not None else None for name, desc in look_up(target, names).items()}
    going = [name for name, digest in current.items() if digest is not None and only in (None, digest)]
    return Untagging(current, tuple(going))


def refuse_moves(plan: CopyPlan, dst: Target) -> None:
    """Raises InvalidError when a tag would be moved that names something else."""
    for tag, desc in plan.current.items():
        if desc is not None and desc.digest != plan.root.digest:
            with located(dst.location):
                raise InvalidError(f"the tag {tag} names {desc.digest} and would be moved to {plan.root.digest} (force_tag=false)")

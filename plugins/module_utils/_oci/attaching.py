# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""A new artifact attached to what a store has, unless an equal one is attached already."""

from __future__ import annotations

import typing as t

from .artifacts import Packed
from .attached import Attached, ReferrerPlanner
from .content.store import Target
from .copy import Planner
from .spec.descriptor import CREATED, Descriptor
from .spec.manifest import Manifest, parse
from .spec.referrers import listed_as
from .subjects import typed_referrers


class Attachment(t.NamedTuple):
    """``referrer`` is attached, or will be; ``plans``: what that takes, [] when it is there."""

    referrer: Descriptor
    plans: t.Sequence[Attached]

    @property
    def changed(self) -> bool:
        return any(attached.plan.changed for attached in self.plans)


def plan_attachment(planner: Planner, subject: Descriptor, packed: Packed, dated: bool) -> Attachment:
    """``dated``: whether the time that an artifact says it was made at counts."""
    target = planner.dst
    new = listed_as(packed.root, packed.document)
    found = _equal(target, subject, new, packed.document, dated)
    if found is not None:
        return Attachment(found, ())
    return Attachment(new, ReferrerPlanner(packed.content, planner).plans(subject, [new]))


def _equal(target: Target, subject: Descriptor, new: Descriptor, document: Manifest, dated: bool) -> t.Optional[Descriptor]:
    """The same artifact, or one that is not told from it: other tools write the time of the day into theirs."""
    attached = typed_referrers(target, subject)
    for desc in attached:
        if desc.digest == new.digest and target.exists(desc):
            return desc
    for desc in attached:
        if desc.artifact_type == new.artifact_type and _meaning(parse(desc, target.fetch_bytes(desc)), dated) == _meaning(document, dated):
            return desc
    return None


def _meaning(document: Manifest, dated: bool) -> t.Tuple[t.Any, ...]:
    annotations = {key: value for key, value in document.annotations.items() if dated or key != CREATED}
    layers = [(layer, dict(layer.annotations)) for layer in document.layers]
    return document.artifact_type, document.config, layers, annotations

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Options of an unpacking, and what is told of it."""

from __future__ import annotations

import os
import typing as t

from ..documents import Documents
from ..spec import mediatype
from ..spec.errors import InvalidError, printable
from ..stats import Stats
from .disk import ABSENT
from .entries import Policy, counts
from .plan import RootfsPlan, Unpacking

KEEP, CURRENT = "keep", "current"
MAX_CHANGES = 1000


def policy_of(options: t.Mapping[str, t.Any]) -> Policy:
    """What is taken over, by the options and by who this is: an option that is None is what this user can do.

    Raises InvalidError for what only root can do.
    """
    root = os.geteuid() == 0
    owner, devices = options.get("owner") or (KEEP if root else CURRENT), bool(options.get("devices"))
    for wanted, what in ((owner == KEEP, "owner=keep"), (devices, "devices=true")):
        if wanted and not root:
            raise InvalidError(f"rootfs_options has {what}, which needs root: run the task with become")
    return Policy(
        devices=devices,
        owner=None if owner == KEEP else (os.geteuid(), os.getegid()) if root else (-1, -1),
        special_bits=_or(options.get("special_bits"), owner == KEEP),
        xattrs=_or(options.get("xattrs"), root),
        capabilities=root,
        accessible=not root,
    )


def _or(given: t.Optional[bool], otherwise: bool) -> bool:
    return otherwise if given is None else given


class Line(t.NamedTuple):
    """One path before and after."""

    path: str
    before: str
    after: str


def lines_of(plan: RootfsPlan) -> t.List[Line]:
    """All that the plan changes: what is removed first."""
    removed = [Line("/".join(path), before, ABSENT) for path, before in plan.removed]
    return removed + [Line(change.entry.name, change.before, change.after) for change in plan.changes]


def result_of(work: Unpacking, plan: RootfsPlan) -> t.Dict[str, t.Any]:
    """What the module returns, all but ``reference`` and the stats. Paths are below the destination."""
    lines = lines_of(plan)
    told, more = lines[:MAX_CHANGES], len(lines) - MAX_CHANGES
    rest = f"and {more} more\n" if more > 0 else ""
    path = work.destination.path
    return {
        "changed": plan.changed,
        "digest": str(work.image.root.digest),
        "media_type": work.image.root.media_type,
        "manifest_digest": str(work.image.manifest.digest),
        "platform": str(work.image.platform) if work.image.platform is not None else None,
        "entries": counts(plan.wanted),
        "changes": [{name: printable(value) for name, value in line._asdict().items()} for line in told],
        "changes_count": len(lines),
        "skipped_entries": [printable(entry.name) for entry in plan.skipped[:MAX_CHANGES]],
        "diff": {
            "before_header": path,
            "after_header": path,
            "before": "".join(f"{printable(line.path)}: {printable(line.before)}\n" for line in told) + rest,
            "after": "".join(f"{printable(line.path)}: {printable(line.after)}\n" for line in told) + rest,
        },
    }


def stats_of(work: Unpacking, plan: RootfsPlan, documents: Documents) -> Stats:
    """What the run transfers. In check mode the layers that it fetched to compare count as well: the run needs them too."""
    needed = {work.image.layers[number].digest: work.image.layers[number] for number in plan.layers}
    layers = list({**work.layers.fetched, **needed}.values())
    manifests = [desc for desc in documents.fetched if mediatype.is_manifest(desc.media_type)]
    blobs = layers + [desc for desc in documents.fetched if not mediatype.is_manifest(desc.media_type)]
    present = {desc.digest: desc for desc in work.image.layers if desc not in layers}
    return Stats(
        blobs_transferred=len(blobs),
        blobs_present=len(present),
        manifests_transferred=len(manifests),
        bytes_transferred=sum(desc.size for desc in blobs + manifests),
        bytes_present=sum(desc.size for desc in present.values()),
    )

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What modules count."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .content.store import Source, Target


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


def requests_of(src: t.Optional[Source], dst: t.Optional[Target]) -> t.Dict[str, t.Dict[str, int]]:
    """HTTP requests by side and verb."""
    return {
        "source": dict(src.requests) if src is not None else {},
        "destination": dict(dst.requests) if dst is not None else {},
    }

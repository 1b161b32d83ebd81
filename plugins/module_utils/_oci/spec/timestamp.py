# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The one time that a reproducible build knows (RFC 3339; reproducible-builds.org, SOURCE_DATE_EPOCH)."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime, timezone

from .errors import InvalidError

_LATEST = 253402300799  # the last second of the year 9999, where RFC 3339 ends


@dataclass(frozen=True)
class Timestamp:
    """``epoch`` in seconds since 1970, UTC."""

    epoch: int

    @classmethod
    def parse(cls, text: str, what: str) -> Timestamp:
        """From RFC 3339 with a time zone, or from seconds since the epoch. ``what`` names the option in the InvalidError."""
        epoch = int(text) if text.isascii() and text.isdigit() and len(text) < 13 else _from_rfc3339(text)
        if epoch is None or not 0 <= epoch <= _LATEST:
            raise InvalidError(f"{what} is {text!r}: expected a time as 2026-11-23T20:51:00Z, or seconds since 1970")
        return cls(epoch)

    def __str__(self) -> str:
        return datetime.fromtimestamp(self.epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _from_rfc3339(text: str) -> t.Optional[int]:
    try:
        found = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
    except ValueError:
        return None
    return int(found.timestamp()) if found.tzinfo is not None else None

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Compressions by name: what is said of them where nothing is compressed or inflated (codec.py does that)."""

from __future__ import annotations

import typing as t

from ..spec.errors import InvalidError

GZIP, ZSTD, XZ, BZIP2, NONE = "gzip", "zstd", "xz", "bzip2", "none"
LEVELS = {GZIP: range(1, 10), ZSTD: range(1, 20)}
# As small as what Go writes by default, in half the time that zlib takes for its own default.
DEFAULT_LEVELS = {GZIP: 4, ZSTD: 3}
# Honest content may be all zeros, but not for gigabytes: over the free part more than this is a bomb (CVE-2023-25153).
MAX_RATIO = 200


class Block(t.NamedTuple):
    """A block of gzip that stands alone (gzip_blocks.py): sizes of its content and of its compressed form."""

    size: int
    packed: int


def check_level(codec: str, level: t.Optional[int], what: str) -> None:
    """Raises InvalidError for a level that the codec has not."""
    if level is not None and level not in LEVELS.get(codec, ()):
        levels = LEVELS.get(codec)
        allowed = f"it has the levels {levels[0]} to {levels[-1]}" if levels else "it has no levels"
        raise InvalidError(f"{what} is {level} with the compression {codec}: {allowed}")

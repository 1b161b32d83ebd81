# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""How much of the content of a run has been moved. Nothing is counted until somebody wants to know.

What is counted is how far each content has come, not how many bytes went by: a try that starts again takes back what it had counted.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from .descriptor import Descriptor


class Totals(t.NamedTuple):
    """``done`` of ``total`` bytes that are known to be ahead."""

    done: int
    total: int


class Progress:
    """Sizes and positions by key: the digest of a blob, or whatever else tells one content from another.

    May be used from several threads: each call is one operation on a dict.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._sizes: t.Dict[t.Hashable, int] = {}
        self._positions: t.Dict[t.Hashable, int] = {}

    def expect(self, descs: t.Iterable[Descriptor]) -> None:
        """These will be moved."""
        if self.wanted:
            self._sizes.update({desc.digest: desc.size for desc in descs})

    def expect_bytes(self, key: t.Hashable, measure: t.Callable[[], int]) -> None:
        """So many bytes will be read; measured only when that is wanted."""
        if self.wanted:
            self._sizes[key] = measure()

    def reached(self, key: t.Hashable, position: int) -> None:
        """The content has come so far; of content that nobody expected nothing is kept."""
        if key in self._sizes:
            self._positions[key] = position

    def totals(self) -> Totals:
        sizes, positions = self._sizes.copy(), self._positions.copy()
        return Totals(sum(min(positions.get(key, 0), size) for key, size in sizes.items()), sum(sizes.values()))


PROGRESS = Progress()

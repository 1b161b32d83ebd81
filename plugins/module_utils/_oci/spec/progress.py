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

    May be used from several threads: each call is few operations on dicts, any of which may be seen without the next.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._begin: t.List[t.Callable[[], None]] = []
        self._unmeasured: t.Dict[t.Hashable, t.Iterator[int]] = {}
        self._sizes: t.Dict[t.Hashable, int] = {}
        self._positions: t.Dict[t.Hashable, int] = {}

    def want(self, begin: t.Callable[[], None]) -> None:
        """Count from now on. ``begin`` is called when there is something to count, so never in a run with nothing to do."""
        self.wanted = True
        self._begin.append(begin)

    def expect(self, descs: t.Iterable[Descriptor]) -> None:
        """These will be moved."""
        if self.wanted:
            self._expect({desc.digest: desc.size for desc in descs})

    def expect_bytes(self, key: t.Hashable, size: int) -> None:
        """So many will be read."""
        if self.wanted:
            self._expect({key: size})

    def expect_all(self, key: t.Hashable, sizes: t.Iterator[int]) -> None:
        """The sum of these will be read. It takes time to find them all: that is left to who asks for the totals."""
        if self.wanted:
            self._expect({key: 0})
            self._unmeasured[key] = sizes

    def end(self) -> None:
        """Nobody wants to know any more."""
        self.wanted = False

    def _expect(self, sizes: t.Dict[t.Hashable, int]) -> None:
        self._sizes.update(sizes)
        while sizes and self._begin:
            self._begin.pop()()

    def reached(self, key: t.Hashable, position: int) -> None:
        """The content has come so far; of content that nobody expected nothing is kept."""
        if key in self._sizes:
            self._positions[key] = position

    def totals(self) -> Totals:
        self._measure()
        sizes, positions = self._sizes.copy(), self._positions.copy()
        return Totals(sum(min(positions.get(key, 0), size) for key, size in sizes.items()), sum(sizes.values()))

    def _measure(self) -> None:
        while self._unmeasured:
            key, found = self._unmeasured.popitem()
            for size in found:
                if not self.wanted:
                    return
                self._sizes[key] += size


PROGRESS = Progress()

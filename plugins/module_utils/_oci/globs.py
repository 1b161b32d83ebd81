# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Globs on the titles of layers."""

from __future__ import annotations

import fnmatch
import typing as t

from .spec.errors import InvalidError
from .titles import Parts

ANY_FOLDERS = "**"


class Glob:
    """A pattern of a whole title: ``*``, ``?`` and ``[...]`` stay within one part, a part ``**`` is any number of parts, also none."""

    def __init__(self, pattern: str) -> None:
        self._parts = tuple(pattern.split("/"))
        if any(part in ("", ".", "..") for part in self._parts):
            raise InvalidError(f"the glob {pattern!r} can match no title: titles are relative paths without '.', '..' and empty parts")

    def matches(self, title: Parts) -> bool:
        # How many parts of the title can be behind us after each part of the pattern: no backtracking, whatever the title.
        behind = {0}
        for part in self._parts:
            if part == ANY_FOLDERS:
                behind = set(range(min(behind), len(title) + 1)) if behind else behind
            else:
                behind = {count + 1 for count in behind if count < len(title) and fnmatch.fnmatchcase(title[count], part)}
        return len(title) in behind


def globs(patterns: t.Iterable[str]) -> t.Tuple[Glob, ...]:
    """Raises InvalidError for a pattern that can match nothing."""
    return tuple(Glob(pattern) for pattern in patterns)


def any_matches(patterns: t.Iterable[Glob], title: Parts) -> bool:
    return any(pattern.matches(title) for pattern in patterns)

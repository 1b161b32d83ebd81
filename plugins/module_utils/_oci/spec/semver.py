# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Semantic versions in tags, and ranges of them (semver.org 2.0.0; ranges as npm and the Go tools write them)."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .errors import InvalidError

_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
# A registry's tag has no '+', so there is no build metadata; a missing minor or patch is 0.
_VERSION = re.compile(rf"v?({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?(?:-({_IDENTIFIERS}))?", re.ASCII)
_PART = rf"(?:{_NUMBER}|[xX*])"
_TERM = re.compile(rf"(>=|<=|>|<|=|\^|~)?\s*v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?(?:-({_IDENTIFIERS}))?", re.ASCII)
_HYPHEN = re.compile(r"(\S+)\s+-\s+(\S+)")
_SPACED = re.compile(r"(>=|<=|>|<|=|\^|~)\s+")

PreRelease = t.Tuple[t.Tuple[int, int, str], ...]
_RELEASE: PreRelease = ((2, 0, ""),)  # sorts after every pre-release


@dataclass(frozen=True, order=True)
class Version:
    """Ordered as semver.org, "Precedence", says."""

    major: int
    minor: int
    patch: int
    pre: PreRelease = _RELEASE

    @property
    def is_release(self) -> bool:
        return self.pre == _RELEASE

    @classmethod
    def parse(cls, text: str) -> t.Optional[Version]:
        """``1.2.3``, ``v1.2``, ``1.2.3-rc.1``; None for any other text."""
        match = _VERSION.fullmatch(text)
        if match is None:
            return None
        major, minor, patch, pre = match.groups()
        return cls(int(major), int(minor or 0), int(patch or 0), _pre(pre))


def _pre(text: t.Optional[str]) -> PreRelease:
    """Numbers sort by value and before words; a longer list after a shorter one that it begins with."""
    if text is None:
        return _RELEASE
    return tuple((0, int(part[:18]), "") if part.isdigit() else (1, 0, part) for part in text.split("."))


@dataclass(frozen=True)
class _Comparator:
    """From ``low`` on, up to but without ``high``; None is no bound. ``pre_of``: the release whose pre-releases are meant as well."""

    low: t.Optional[Version]
    high: t.Optional[Version]
    pre_of: t.Optional[t.Tuple[int, int, int]]

    def holds(self, version: Version) -> bool:
        return (self.low is None or self.low <= version) and (self.high is None or version < self.high)


class Range:
    """``>=1.2 <2``, ``^1.4.0``, ``~1.2``, ``1.x``, ``1.2 - 1.4``; ``||`` between alternatives.

    A pre-release is only in a range that names a pre-release of the same version. Raises InvalidError.
    """

    def __init__(self, text: str) -> None:
        self._alternatives = [_comparators(part, text) for part in text.split("||")]

    def __contains__(self, version: Version) -> bool:
        return any(_all_hold(comparators, version) for comparators in self._alternatives)


def _all_hold(comparators: t.Sequence[_Comparator], version: Version) -> bool:
    if not all(comparator.holds(version) for comparator in comparators):
        return False
    return version.is_release or any(one.pre_of == (version.major, version.minor, version.patch) for one in comparators)


def _comparators(part: str, text: str) -> t.List[_Comparator]:
    hyphen = _HYPHEN.fullmatch(part.strip())
    terms = [f">={hyphen.group(1)}", f"<={hyphen.group(2)}"] if hyphen else _SPACED.sub(r"\1", part).replace(",", " ").split()
    if not terms:
        raise InvalidError(f"not a range of versions: {text!r} (as '>=1.2 <2', '^1.4', '~1.2.3', '1.x || 2.x')")
    return [_comparator(term, text) for term in terms]


def _comparator(term: str, text: str) -> _Comparator:
    match = _TERM.fullmatch(term)
    if match is None:
        raise InvalidError(f"not a range of versions: {text!r} ({term!r} in it is no version; as '>=1.2 <2', '^1.4', '~1.2.3')")
    operator, *parts, pre = match.groups()
    numbers: t.List[int] = []
    for part in parts:
        if part is None or part in "xX*":
            break
        numbers.append(int(part))
    low = _version(numbers, _pre(pre))
    pre_of = (low.major, low.minor, low.patch) if pre is not None else None
    return _bounds(operator or "", numbers, low, pre_of)


def _bounds(operator: str, numbers: t.List[int], low: Version, pre_of: t.Optional[t.Tuple[int, int, int]]) -> _Comparator:
    # The first version after everything that the term names, None when it names all there are.
    after = _next(numbers) if len(numbers) < 3 else _just_after(low)
    if operator == ">=":
        return _Comparator(low, None, pre_of)
    if operator == "<":
        return _Comparator(None, low, pre_of)
    if operator == ">":
        if after is None:
            raise InvalidError("not a range of versions: nothing is greater than every version")
        return _Comparator(after, None, pre_of)
    if operator == "^":
        # What stays compatible: the first number that is not 0 stays, as far as it was given.
        zeros = next((place for place, number in enumerate(numbers) if number), max(len(numbers) - 1, 0))
        return _Comparator(low, _next(numbers[: zeros + 1]), pre_of)
    if operator == "~":
        return _Comparator(low, _next(numbers[:2]), pre_of)
    return _Comparator(None if operator == "<=" else low, after, pre_of)


_LOWEST: PreRelease = ()  # sorts before every pre-release


def _next(numbers: t.Sequence[int]) -> t.Optional[Version]:
    """The lower bound of what comes after everything that begins with these numbers; None when everything does."""
    if not numbers:
        return None
    return _version([*numbers[:-1], numbers[-1] + 1], _LOWEST)


def _version(numbers: t.Sequence[int], pre: PreRelease) -> Version:
    """Of its first numbers; those that are not given are 0."""
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return Version(major, minor, patch, pre)


def _just_after(version: Version) -> Version:
    if version.is_release:
        return Version(version.major, version.minor, version.patch + 1, _LOWEST)
    return Version(version.major, version.minor, version.patch, (*version.pre, (0, -1, "")))

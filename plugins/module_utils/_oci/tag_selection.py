# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Which tags of a repository or layout are meant: all, those that match an expression, those within a range of versions."""

from __future__ import annotations

import re
import typing as t

from .spec.errors import InvalidError
from .spec.referrers import is_fallback_tag
from .spec.semver import Range, Version

SEMVER = "semver:"
Matches = t.Callable[[str], bool]


def parse_filter(text: t.Optional[str]) -> Matches:
    """A regular expression that has to match the whole tag, or ``semver:`` and a range. None matches every tag.

    The lists of referrers that stand under tags are never meant. Raises InvalidError.
    """
    matches = _matcher(text)
    return lambda tag: not is_fallback_tag(tag) and matches(tag)


def _matcher(text: t.Optional[str]) -> Matches:
    if text is None:
        return lambda tag: True
    if text.startswith(SEMVER):
        versions = Range(text[len(SEMVER) :])

        def within(tag: str) -> bool:
            version = Version.parse(tag)
            return version is not None and version in versions

        return within
    try:
        expression = re.compile(text)
    except re.error as error:
        hint = "(.* is any tag, semver:>=1.2 is for versions)"
        raise InvalidError(f"tags_matching is {text!r}, which is not a regular expression: {error} {hint}") from error
    return lambda tag: expression.fullmatch(tag) is not None

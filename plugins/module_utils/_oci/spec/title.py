# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Titles: file names that artifacts carry (annotations.md, ``org.opencontainers.image.title``), written by others, used on our disk."""

from __future__ import annotations

import typing as t

from .errors import InvalidError

_MAX_PART = 255  # bytes, what file systems take


def title_parts(title: str) -> t.Tuple[str, ...]:
    """The parts of a relative path that stays below where it starts.

    Raises InvalidError for an absolute path, empty parts, ``.`` and ``..``, control characters, half surrogates, overlong names.
    """
    parts = tuple(title.split("/"))
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidError(f"not a title that can be a file below a folder: {title!r} (relative, without empty parts, '.' and '..')")
    if any(ord(character) < 32 or ord(character) == 127 for character in title):
        raise InvalidError(f"the title {title!r} has control characters")
    for part in parts:
        if _encoded_length(part, title) > _MAX_PART:
            raise InvalidError(f"the title {title[:80]!r}... has a name of more than {_MAX_PART} bytes")
    return parts


def _encoded_length(part: str, title: str) -> int:
    try:
        return len(part.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidError(f"the title {title!r} is not valid Unicode") from error

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""JSON as image-spec considerations.md wants it: UTF-8, no duplicate names, no NaN; size and depth capped before parsing."""

from __future__ import annotations

import json
import re
import typing as t

from .errors import InvalidError

MAX_DOCUMENT = 4 * 1024 * 1024  # distribution-spec: registries accept manifests of at least 4 MiB; clients cap there
MAX_DEPTH = 64
_MAX_NUMBER = 32  # characters; int64 has 20
# A string without an end goes to the end of the text: were it no token, each of its quotes would be tried as the start of another.
_TOKENS = re.compile(r'"(?:[^"\\]+|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_GO_ESCAPED = re.compile("[<>&\u2028\u2029]")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes, what: str, limit: int = MAX_DOCUMENT) -> t.Any:
    """Parse ``data``; ``what`` names the document in the InvalidError that anything irregular raises."""
    if len(data) > limit:
        raise InvalidError(f"{what} has {len(data)} bytes, more than the limit of {limit}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidError(f"{what} is not UTF-8 (byte {error.start})") from error
    _check_depth(text, what)
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_short_int, parse_float=_finite_float)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidError(f"{what} has a string with half of a surrogate pair") from error
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{what} is not valid JSON: {error}") from error
    return document


def load_object(data: bytes, what: str, limit: int = MAX_DOCUMENT) -> t.Dict[str, t.Any]:
    """As ``loads``, and the document must be an object."""
    document = loads(data, what, limit)
    if not isinstance(document, dict):
        raise InvalidError(f"{what} is not a JSON object")
    return document


def dumps(document: t.Any) -> bytes:
    """Compact UTF-8 in the dict's own order, escaped as Go's encoding/json does: equal documents get the digests that Go tools give."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _GO_ESCAPED.sub(lambda match: f"\\u{ord(match.group()):04x}", text).encode("utf-8")


def _check_depth(text: str, what: str) -> None:
    depth = 0
    for token in _TOKENS.finditer(text):
        if token.group() in ("{", "["):
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidError(f"{what} is nested deeper than {MAX_DEPTH} levels")
        elif token.group() in ("}", "]"):
            depth -= 1


def _unique(pairs: t.List[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: t.Set[str] = set()
        twice = next(name for name, _value in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {twice[:80]!r} stands twice in one object")
    return found


def _no_constant(name: str) -> t.Any:
    raise ValueError(f"{name} is not JSON")


def _short_int(text: str) -> int:
    if len(text) > _MAX_NUMBER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite_float(text: str) -> float:
    value = float(text) if len(text) <= _MAX_NUMBER else float("inf")
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:_MAX_NUMBER]} is too large")
    return value

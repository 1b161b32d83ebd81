# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

r"""The patterns of a ``.dockerignore`` file, read the way BuildKit reads them.

BuildKit turns a pattern with wildcards into a regular expression of Go and lets some of its signs through unescaped: ``[^a]`` matches
a ``/``, ``\d`` is a digit, ``|`` starts an alternative, ``*`` inside ``[...]`` ends it. Files depend on what BuildKit does, so a
pattern goes the same two steps here: first that expression, then its meaning in Python.
"""

from __future__ import annotations

import posixpath
import re
import typing as t

from ..spec.errors import InvalidError

# What Go's strings.TrimSpace takes; str.strip() takes U+001C to U+001F as well.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
_BOM = b"\xef\xbb\xbf"
_LINE_LIMIT = 0xFFFF

_DEEP = "(.*/)?"
_NAME = "[^/]*"
_ANYTHING = r"[\s\S]"
_REPETITION = re.compile(r"\{[0-9]+(,[0-9]*)?\}")
_GO_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_GO_CLASSES = tuple("dDsSwW")
_SIGNS_OF_EXPRESSIONS = "*[]?^\\"

# Python's engine tries every way to share a path among the wildcards: n ** wildcards steps. From here on they are walked in step.
_BACKTRACK_LIMIT = 3

_Match = t.Callable[[str], bool]
_Results = t.Tuple[bool, ...]


class IgnorePatterns:
    """An ordered list of patterns; the last one that matches a path or one of its parents decides."""

    def __init__(self, patterns: t.Sequence[_Pattern] = ()) -> None:
        self._patterns = tuple(patterns)
        self._exceptions = [pattern.below for pattern in self._patterns if pattern.exception]
        self._foreseeable = not any(sign in below for below in self._exceptions for sign in _SIGNS_OF_EXPRESSIONS)
        self._folders: t.Dict[str, _Results] = {}

    @classmethod
    def parse(cls, content: bytes) -> IgnorePatterns:
        """The patterns of a file's ``content``. InvalidError names the line and the pattern that BuildKit would refuse."""
        patterns = []
        for number, line in enumerate(_lines(content), start=1):
            text = _normal(line, number)
            if text:
                patterns.append(_Pattern(text, f"ignore pattern {line.strip(_SPACE)!r} in line {number}"))
        return cls(patterns)

    def ignores(self, path: str) -> bool:
        """Whether ``path``, relative to the context and '/'-separated, stays outside. The context itself (``.``) never does."""
        if not self._patterns or path in ("", "."):
            return False
        return self._decide(path, self._parent_results(path))[0]

    def skips_below(self, folder: str) -> bool:
        """Whether the ignored ``folder`` needs no walk. False also where an exception with wildcards makes it unforeseeable."""
        if not self._exceptions:
            return True
        start = folder + "/"
        return self._foreseeable and not any((below + "/").startswith(start) for below in self._exceptions)

    def _decide(self, path: str, inherited: t.Optional[_Results]) -> t.Tuple[bool, _Results]:
        """The verdict on ``path`` and, for its children, which patterns matched it or (``inherited``) one of its parents.

        A pattern that cannot change the verdict is not tried, and its children inherit "no match" even where it would have matched:
        that is how BuildKit walks, and it shows in ``a/b`` followed by ``!a``, which leaves ``a/b`` ignored.
        """
        ignored = False
        results = []
        for number, pattern in enumerate(self._patterns):
            hit = inherited is not None and inherited[number]
            if not hit and pattern.exception == ignored:
                hit = pattern.matches(path)
            results.append(hit)
            if hit:
                ignored = not pattern.exception
        return ignored, tuple(results)

    def _parent_results(self, path: str) -> t.Optional[_Results]:
        parent = posixpath.dirname(path)
        if not parent:
            return None
        results = self._folders.get(parent)
        if results is None:
            for end in [at for at, sign in enumerate(path) if sign == "/"]:
                results = self._folder_results(path[:end], results)
        return results

    def _folder_results(self, folder: str, inherited: t.Optional[_Results]) -> _Results:
        if folder not in self._folders:
            self._folders[folder] = self._decide(folder, inherited)[1]
        return self._folders[folder]


class _Pattern:
    """One pattern. ``below`` is the text that decides, where it has no wildcard, whether the pattern can match inside a folder."""

    def __init__(self, text: str, named: str) -> None:
        self.exception = text.startswith("!")
        cleaned = text[1:] if self.exception else text
        if not cleaned:
            raise InvalidError(f"{named}: an exception needs a pattern after the '!'")
        if not _well_formed(cleaned):
            raise InvalidError(f"{named}: not well formed, look for an unclosed '[', an empty or wrong range, or a '\\' at the end")
        self.matches = _matcher(cleaned, named)
        self.below = _without_end(_without_end(cleaned, "/**"), "/*")


def _lines(content: bytes) -> t.List[str]:
    start = len(_BOM) if content.startswith(_BOM) else 0
    return [line.decode("utf-8", "surrogateescape") for line in content[start:].split(b"\n")]


def _normal(line: str, number: int) -> str:
    """The pattern of a line, cleaned and relative to the context, or '' for a line without one."""
    if len(line) > _LINE_LIMIT:
        raise InvalidError(f"line {number} of the ignore file is longer than {_LINE_LIMIT} characters")
    pattern = line.strip(_SPACE)
    if line.startswith("#") or not pattern:
        return ""
    exception = pattern.startswith("!")
    pattern = pattern[1:].strip(_SPACE) if exception else pattern
    if pattern:
        pattern = _clean(pattern)
        pattern = pattern[1:] if pattern.startswith("/") and len(pattern) > 1 else pattern
    # BuildKit trims and cleans a second time, with the '!' in place: that is how '!/' becomes the refused '!'.
    return _clean("!" + pattern if exception else pattern.strip(_SPACE))


def _clean(path: str) -> str:
    """Go's filepath.Clean; normpath alone would keep two leading slashes."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _without_end(text: str, end: str) -> str:
    return text[: -len(end)] if text.endswith(end) else text


def _well_formed(pattern: str) -> bool:
    """Whether Go's filepath.Match takes ``pattern``: it looks no further than the first ``*`` behind another sign."""
    pattern = pattern.lstrip("*")
    at = 0
    while 0 <= at < len(pattern):
        if pattern[at] == "*":
            return True
        if pattern[at] == "[":
            at = _range_end(pattern, at + 1)
        else:
            at += 2 if pattern[at] == "\\" else 1
    return at == len(pattern)


def _range_end(pattern: str, at: int) -> int:
    """Where the ``[...]`` ends whose inside starts ``at``, or -1."""
    start = at + 1 if pattern.startswith("^", at) else at
    at = start
    while at == start or not pattern.startswith("]", at):
        at = _range_sign_end(pattern, at)
        if at >= 0 and pattern.startswith("-", at):
            at = _range_sign_end(pattern, at + 1)
        if at < 0:
            return -1
    return at + 1


def _range_sign_end(pattern: str, at: int) -> int:
    if pattern.startswith(("-", "]"), at):
        return -1
    end = at + 2 if pattern.startswith("\\", at) else at + 1
    return end if end < len(pattern) else -1


def _matcher(pattern: str, named: str) -> _Match:
    kind, expression = _expression(pattern)
    if kind == "exact":
        return lambda path: path == pattern
    if kind == "prefix":
        return lambda path: path.startswith(pattern[:-2])
    if kind == "suffix":
        suffix = pattern[2:]
        return lambda path: path.endswith(suffix) or (suffix.startswith("/") and path == suffix[1:])
    alternatives = [_compiled(pieces) for pieces in _alternatives(expression, named)]
    return lambda path: any(matches(path) for matches in alternatives)


def _compiled(pieces: t.Sequence[_Piece]) -> _Match:
    if sum(piece.kind != "fixed" for piece in pieces) > _BACKTRACK_LIMIT:
        return lambda path: _walks(pieces, path)
    compiled = re.compile("".join(piece.text for piece in pieces), re.ASCII)
    return lambda path: compiled.fullmatch(path) is not None


def _expression(pattern: str) -> t.Tuple[str, str]:
    """How BuildKit compares with ``pattern`` (exact, prefix, suffix, expression), and its Go expression for the last one."""
    kind, parts, at = "exact", [], 0
    while at < len(pattern):
        sign = pattern[at]
        if pattern.startswith("**", at):
            first = at == 0
            at += 3 if pattern.startswith("/", at + 2) else 2
            last = at >= len(pattern)
            parts.append(".*" if last else _DEEP)
            kind = "suffix" if first else "prefix" if last and kind == "exact" else "expression"
            continue
        if sign in "*?[]\\":
            kind = "expression"
        if sign == "\\":
            at += 1
            parts.append("\\" + pattern[at : at + 1])
        else:
            parts.append({"*": _NAME, "?": "[^/]"}.get(sign, "\\" + sign if sign in ".+()$" else sign))
        at += 1
    return kind, "".join(parts)


class _Piece(t.NamedTuple):
    """A part of an expression: ``fixed`` text, a ``run`` of any number of one sign, or a ``deep`` row of folders, as Python's re."""

    kind: str
    text: str
    step: t.Pattern[str]


def _alternatives(expression: str, named: str) -> t.List[t.List[_Piece]]:
    """The expression in Python, as the alternatives each of which may match a whole path.

    BuildKit anchors the expression, not the alternatives: only the first is bound to the start of a path and the last to its end.
    """
    alternatives: t.List[t.List[_Piece]] = [[]]
    fixed, at = "", 0
    while at < len(expression):
        kind, text, step, at = _next(expression, at, named)
        if kind == "fixed":
            fixed += text
            continue
        alternatives[-1] += _fixed(fixed)
        fixed = ""
        if kind == "or":
            anything = _Piece("run", _ANYTHING + "*", re.compile(_ANYTHING))
            alternatives[-1].append(anything)
            alternatives.append([anything])
        elif kind == "run" or [piece.kind for piece in alternatives[-1][-1:]] != ["deep"]:
            alternatives[-1].append(_Piece(kind, text, re.compile(step, re.ASCII)))
    alternatives[-1] += _fixed(fixed)
    return alternatives


def _fixed(text: str) -> t.List[_Piece]:
    return [_Piece("fixed", text, re.compile(text, re.ASCII))] if text else []


def _next(expression: str, at: int, named: str) -> t.Tuple[str, str, str, int]:
    """The kind, the Python text and the repeated sign of the piece ``at``, and where it ends."""
    if expression.startswith(_DEEP, at):
        return "deep", "(?:.*/)?", ".", at + len(_DEEP)
    if expression.startswith("|", at):
        return "or", "", "", at + 1
    if _REPETITION.match(expression, at):
        raise InvalidError(f"{named}: BuildKit reads a number in braces as a repetition, which is not supported")
    step, at = _sign(expression, at, named)
    if expression.startswith("*", at):
        return "run", step + "*", step, at + 1
    return "fixed", step, step, at


def _walks(pieces: t.Sequence[_Piece], path: str) -> bool:
    """Whether ``path`` matches, in time that grows with its length times the pieces: all positions reached so far advance together."""
    reached = {0}
    for piece in pieces:
        if piece.kind == "fixed":
            matches = (piece.step.match(path, at) for at in reached)
            reached = {match.end() for match in matches if match}
        else:
            run = _run(piece.step, path, reached)
            reached = run if piece.kind == "run" else reached | {at + 1 for at in run if path.startswith("/", at)}
    return len(path) in reached


def _run(step: t.Pattern[str], path: str, starts: t.Set[int]) -> t.Set[int]:
    reached: t.Set[int] = set()
    for start in sorted(starts):
        at = start
        while at not in reached:
            reached.add(at)
            at += 1 if step.match(path, at) else 0
    return reached


def _sign(expression: str, at: int, named: str) -> t.Tuple[str, int]:
    """The Python text of the one sign or set ``at``, and where it ends."""
    sign = expression[at]
    if sign == "[":
        return _set(expression, at + 1, named)
    if sign == "\\":
        escaped = expression[at + 1 : at + 2]
        return ("\\" + escaped if escaped in _GO_CLASSES else re.escape(_escaped(escaped, named))), at + 2
    if sign in "^.":
        return sign, at + 1
    return re.escape(sign), at + 1


def _set(expression: str, at: int, named: str) -> t.Tuple[str, int]:
    parts = ["["]
    if expression.startswith("^", at):
        parts.append("^")
        at += 1
    start = at
    while at == start or not expression.startswith("]", at):
        if expression.startswith("[:", at) and ":]" in expression[at + 2 :]:
            raise InvalidError(f"{named}: named sets as [:digit:] are not supported")
        if expression.startswith("\\", at) and expression[at + 1 : at + 2] in _GO_CLASSES:
            parts.append(expression[at : at + 2])
            at += 2
            continue
        low, at = _set_sign(expression, at, named)
        high = low
        if expression.startswith("-", at) and not expression.startswith("-]", at):
            high, at = _set_sign(expression, at + 1, named)
        if high < low:
            raise InvalidError(f"{named}: the range {low}-{high} is upside down")
        parts.append(re.escape(low) + "-" + re.escape(high))
    return "".join(parts) + "]", at + 1


def _set_sign(expression: str, at: int, named: str) -> t.Tuple[str, int]:
    if at >= len(expression):
        raise InvalidError(f"{named}: unclosed '['")
    if expression[at] == "\\":
        return _escaped(expression[at + 1 : at + 2], named), at + 2
    return expression[at], at + 1


def _escaped(sign: str, named: str) -> str:
    if sign in _GO_CONTROL:
        return _GO_CONTROL[sign]
    if not sign:
        raise InvalidError(f"{named}: a '\\' at the end")
    if sign.isalnum() or sign > "\x7f":
        raise InvalidError(f"{named}: BuildKit does not read '\\{sign}' as a plain {sign!r}; leave out the backslash")
    return sign

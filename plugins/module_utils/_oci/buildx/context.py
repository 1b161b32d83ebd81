# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What a build context holds, as far as BuildKit can see it: a digest per entry, and what differs between two of them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import typing as t

from ..spec.errors import InvalidError, StorageError, printable, storage_errors
from .ignore import IgnorePatterns

_PIECE = 1024 * 1024
_IGNORE_FILE = ".dockerignore"


def ignore_file(context: str, dockerfile: str) -> t.Optional[str]:
    """The ignore file that applies: the one beside ``dockerfile`` beats the one of ``context``; None without either."""
    for path in (dockerfile + _IGNORE_FILE, os.path.join(context, _IGNORE_FILE)):
        if os.path.isfile(path):
            return path
    return None


def scan(folder: str, patterns: IgnorePatterns) -> t.Dict[str, str]:
    """Relative path to digest text of every entry below ``folder`` that is part of the context, sorted by path.

    The text depends on type, permission bits, content and link target; not on times, owners, or the order of creation. Links are never
    followed, sockets are left out as BuildKit does. A name that is not UTF-8 comes with surrogate escapes, whatever the locale.
    StorageError names the path that cannot be read, InvalidError a ``folder`` that is none.
    """
    if not os.path.isdir(folder):
        raise InvalidError(f"the context {folder} is not a folder")
    found: t.Dict[str, str] = {}
    hidden: t.Dict[str, str] = {}
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        for path in _children(folder, parent, parent in hidden):
            ignored = patterns.ignores(path)
            status = _status(folder, path)
            if stat.S_ISDIR(status.st_mode):
                if not ignored or not patterns.skips_below(path):
                    waiting.append(path)
                if ignored:
                    hidden[path] = _text(folder, path, status)
            if not ignored and not stat.S_ISSOCK(status.st_mode):
                found[path] = _text(folder, path, status)
                _show_parents(path, hidden, found)
    return dict(sorted(found.items()))


def digest(entries: t.Mapping[str, str]) -> str:
    """One SHA-256, in hexadecimal, over what ``scan`` found; equal entries give an equal one in any order."""
    return hashlib.sha256(json.dumps(sorted(entries.items())).encode("ascii")).hexdigest()


def changes(before: t.Mapping[str, str], after: t.Mapping[str, str], limit: int = 10) -> t.List[str]:
    """What happened to which path, sorted by path and safe to print; behind ``limit`` lines one says how many there are more."""
    paths = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    lines = [f"{_change(path, before, after)} {printable(path)}" for path in paths[:limit]]
    return lines + ([f"and {len(paths) - limit} more"] if len(paths) > limit else [])


def _change(path: str, before: t.Mapping[str, str], after: t.Mapping[str, str]) -> str:
    if path not in before:
        return "added"
    return "modified" if path in after else "removed"


def _full(folder: str, path: str) -> bytes:
    """The path as bytes: names must not depend on the locale of whoever runs the build."""
    return os.path.join(os.fsencode(folder), path.encode("utf-8", "surrogateescape"))


def _children(folder: str, parent: str, ignored: bool) -> t.List[str]:
    full = _full(folder, parent)
    with storage_errors(f"listing {os.fsdecode(full)}"):
        try:
            names = os.listdir(full)
        except PermissionError:
            # BuildKit forgives a folder it only looks through for exceptions.
            if not ignored:
                raise
            names = []
    start = parent + "/" if parent else ""
    return [start + name.decode("utf-8", "surrogateescape") for name in names]


def _status(folder: str, path: str) -> os.stat_result:
    full = _full(folder, path)
    with storage_errors(f"reading {os.fsdecode(full)}"):
        return os.lstat(full)


def _show_parents(path: str, hidden: t.Dict[str, str], found: t.Dict[str, str]) -> None:
    """An entry that an exception brings back brings the ignored folders above it back too, but not their other content."""
    parent = os.path.dirname(path)
    while parent in hidden and parent not in found:
        found[parent] = hidden[parent]
        parent = os.path.dirname(parent)


def _text(folder: str, path: str, status: os.stat_result) -> str:
    full = _full(folder, path)
    mode = status.st_mode
    bits = f"{stat.S_IMODE(mode):04o}"
    with storage_errors(f"reading {os.fsdecode(full)}"):
        if stat.S_ISREG(mode):
            return f"file {bits} sha256:{_content(full)}"
        if stat.S_ISDIR(mode):
            return f"folder {bits}"
        if stat.S_ISLNK(mode):
            return "link " + os.readlink(full).decode("utf-8", "surrogateescape")
    if stat.S_ISFIFO(mode):
        return f"fifo {bits}"
    kind = "block" if stat.S_ISBLK(mode) else "character"
    return f"{kind} {bits} {os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def _content(full: bytes) -> str:
    # Neither a link nor a fifo that took the file's place since lstat() may lead elsewhere or block.
    descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StorageError(f"reading {os.fsdecode(full)}: replaced while it was read")
        total = hashlib.sha256()
        for piece in iter(lambda: file.read(_PIECE), b""):
            total.update(piece)
    return total.hexdigest()

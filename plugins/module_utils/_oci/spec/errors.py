# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Every deliberate error of the library.

The library raises these and nothing else on purpose; ``module.failing()`` is the one place that turns them into ``fail_json``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import typing as t

MESSAGE_LIMIT = 4096


def printable(text: object, limit: int = MESSAGE_LIMIT) -> str:
    """``text`` with control characters, lone surrogates and bidi overrides escaped, cut at ``limit`` characters.

    References, titles and registry answers are written by others: they must not move a terminal's cursor or forge log lines.
    """
    shown = str(text)
    if len(shown) > limit:
        shown = shown[:limit] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


class OCIError(Exception):
    """The base. ``location`` names the side and the reference or path, for example ``destination localhost:5000/app:v1``."""

    location: t.Optional[str] = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        if self.location:
            return printable(f"{self.location}: {self.message}")
        return printable(self.message)


class InvalidError(OCIError):
    """A reference, option, path or document breaks a rule."""


class NotFoundError(OCIError):
    """A name, manifest, blob or path is not there."""


class MismatchError(OCIError):
    """Content is not what its descriptor says: other digest, other size."""


class StorageError(OCIError):
    """The file system refused: permission, space, a path of the wrong kind."""


class MovedError(StorageError):
    """A name does not name any more what it did when its change was planned: plan again."""


class ToolError(OCIError):
    """A program that does part of the work failed; the message has its own words."""


class BuildError(ToolError):
    """A build failed. ``log``: the builder's own last lines."""

    def __init__(self, message: str, log: t.Sequence[str]) -> None:
        super().__init__(message)
        self.log = [printable(line) for line in log]


class TransportError(OCIError):
    """No usable answer came over the network."""


class Interrupted(TransportError):
    """The connection failed in a way that may pass: worth another try. ``refused``: nobody listened there."""

    refused = False


class CancelledError(OCIError):
    """Work was given up because other work of the same task failed; that one's error is the one to report."""


class MissingLibrary(OCIError):
    """``library`` of Python is not on the target; the message is that of the import."""

    library = ""


class RegistryError(OCIError):
    """The registry answered with an error; ``status`` is the HTTP status, ``code`` the first distribution-spec error code or ''."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@contextlib.contextmanager
def located(location: t.Optional[str]) -> t.Iterator[None]:
    """Give an OCIError that passes through its ``location``, unless a place nearer to the cause has named one."""
    try:
        yield
    except OCIError as error:
        if error.location is None:
            error.location = location
        raise


@contextlib.contextmanager
def storage_errors(doing: str) -> t.Iterator[None]:
    """Translate OSError once, at the edge: ``doing`` says what was tried and on which path."""
    try:
        yield
    except OSError as error:
        refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        hint = f" (the task runs as user {os.geteuid()}: whose is it, is it read-only, is become needed?)" if refused else ""
        path = error.filename if isinstance(error.filename, str) and os.sep in error.filename else ""
        named = f"{path}: " if path not in doing else ""
        if error.errno == errno.ENOTDIR and path:
            hint = f" ({_file_in(path)} is a file)"
        raise StorageError(f"{doing}: {named}{error.strerror or error}{hint}") from error


def _file_in(path: str) -> str:
    """The part of the path that is no folder, and ends it too early."""
    while path != os.path.dirname(path) and not os.path.lexists(path):
        path = os.path.dirname(path)
    return path

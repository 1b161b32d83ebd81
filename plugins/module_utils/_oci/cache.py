# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What earlier runs have learned, in a file of the user's cache: never needed for a right result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import typing as t

from .content.beneath import NewFile, folder, open_beneath, remove_file, stat_beneath, sweep
from .content.lock import locked
from .spec.errors import OCIError

MAX_SIZE = 64 * 1024 * 1024
_LOCK_SECONDS = 20.0  # others only hold it to read and write one file
# What reading a damaged file can raise.
DAMAGE = (OCIError, OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError)


class CacheFile:
    """A JSON object below ``lading-oci/KIND``, named by the digest of ``key``."""

    def __init__(self, kind: str, key: bytes) -> None:
        self._name = hashlib.sha256(key).hexdigest() + ".json"
        self.folder = cache_folder(kind)

    @property
    def path(self) -> str:
        return os.path.join(self.folder, self._name)

    def load(self) -> t.Dict[str, t.Any]:
        """The object; {} when there is none, when it cannot be read, and when somebody else could have written it."""
        with contextlib.suppress(*DAMAGE):
            with folder(self.folder) as cache, open_beneath(cache, [self._name]) as file:
                state = os.fstat(file.fileno())
                # A cache that somebody else may write could make a run say that nothing has changed.
                if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o022 or state.st_size > MAX_SIZE:
                    return {}
                return dict(json.loads(b"".join(iter(lambda: file.read(MAX_SIZE), b""))))
        return {}

    @contextlib.contextmanager
    def updating(self) -> t.Iterator[None]:
        """A bracket around ``load`` and ``save`` that one process at a time is in. Raises OCIError and OSError."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        with folder(self.folder) as cache, locked(cache, self.folder, _LOCK_SECONDS):
            yield

    def save(self, document: t.Mapping[str, t.Any]) -> None:
        """Replace the object; one that is too large is not stored. Raises OCIError and OSError."""
        content = dumps(document)
        if len(content) > MAX_SIZE:
            return
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        with folder(self.folder) as cache:
            sweep(cache)
            with NewFile(cache) as new:
                new.write(content)
                new.commit(self._name)

    def forget_older(self, days: int) -> None:
        """Remove objects of this kind that were stored before so many days, whatever they are named by. Raises OCIError and OSError."""
        before = time.time() - days * 24 * 3600
        with folder(self.folder) as cache:
            for name in os.listdir(cache):
                found = stat_beneath(cache, name)
                if name.endswith(".json") and found is not None and found.st_mtime < before:
                    remove_file(cache, name)


def dumps(document: t.Mapping[str, t.Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def cache_folder(kind: str) -> str:
    """``lading-oci/KIND`` below XDG_CACHE_HOME, which is ~/.cache unless it is set to an absolute path (XDG Base Directory)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "lading-oci", kind)

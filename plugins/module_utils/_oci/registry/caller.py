# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Who asks a registry."""

from __future__ import annotations

import collections
import threading
import typing as t

from .origin import secrets

if t.TYPE_CHECKING:
    from .credentials import Credential


class Caller:
    """One repository's side: counts its requests by verb, and looks its credential up when the registry first asks for it."""

    def __init__(self, find: t.Callable[[], t.Optional[Credential]]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._found: t.List[t.Optional[Credential]] = []
        self.requests: t.Counter[str] = collections.Counter()

    def count(self, verb: str) -> None:
        with self._lock:
            self.requests[verb] += 1

    def credential(self) -> t.Optional[Credential]:
        """None is anonymous. Looked up once, whatever the number of threads: a helper may ask its user."""
        with self._lock:
            if not self._found:
                self._found.append(self._find())
            credential = self._found[0]
        if credential is not None:
            secrets.add(credential.password, credential.identity_token, credential.registry_token)
        return credential

    @property
    def hint(self) -> str:
        """What to do about a refusal, in words."""
        credential = self._found[0] if self._found else None
        if credential is None:
            return "no credentials were given or found for it"
        return f"with the credentials of {credential.username}" if credential.username else "with the token that was given"

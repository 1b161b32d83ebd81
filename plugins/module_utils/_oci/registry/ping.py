# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Whether a registry lets somebody in (distribution-spec "Determining Support", GET /v2/)."""

from __future__ import annotations

import typing as t

from .caller import Caller
from .client import Call, Client
from .failures import failure

if t.TYPE_CHECKING:
    from ..spec.reference import RegistryReference
    from .credentials import Credential
    from .options import RegistryOptions


class Pinged(t.NamedTuple):
    """``asked``: whether the registry wanted the credential at all. ``requests``: as a Repository's."""

    asked: bool
    requests: t.Mapping[str, int]


def ping(registry: RegistryReference, credential: Credential, options: RegistryOptions, warn: t.Callable[[str], None]) -> Pinged:
    """Raises RegistryError when the registry, or its token server, does not let the caller in; TransportError as any request."""
    asked: t.List[Credential] = []

    def given() -> Credential:
        asked.append(credential)
        return credential

    caller = Caller(given)
    # Without a scope, as docker login does it: who may log in may have no right to any repository that we could name.
    response = Client(registry.host, options, warn).request(caller, Call("GET", "/v2/", ()))
    if response.status != 200:
        raise failure(response, f"GET /v2/ of {registry.registry}", caller.hint)
    response.finish()
    return Pinged(bool(asked), caller.requests)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Which repositories a registry has, as far as it tells (distribution's HTTP API, "Catalog"; distribution-spec reserves the name)."""

from __future__ import annotations

import typing as t

from ..spec.errors import NotFoundError, RegistryError
from ..spec.reference import RegistryReference
from .caller import Caller
from .client import Call, Client
from .credentials import find
from .failures import failure
from .lists import Lists
from .options import RegistryOptions
from .scopes import merge_scopes

if t.TYPE_CHECKING:
    from .transport import Response

_SCOPES = merge_scopes("registry:catalog:*")
_NO_CATALOG = (400, 404, 405, 501)


class Catalog:
    """The repositories of the registry ``registry``; ``requests`` as a Repository's."""

    def __init__(self, registry: RegistryReference, options: RegistryOptions, warn: t.Callable[[str], None]) -> None:
        self._client = Client(registry.host, options, warn)
        self._caller = Caller(lambda: find(registry, options))
        self.requests = self._caller.requests
        self._name = registry.registry

    def repositories(self) -> t.List[str]:
        """In the registry's order. Raises RegistryError, also for one that gives no such list."""
        lists = Lists(self._name, self._client.transport.url, self._get, self._failure)
        try:
            return list(lists.repositories("/v2/_catalog"))
        except NotFoundError as error:
            raise RegistryError(f"{error.message}: this registry does not list its repositories", 404) from error

    def _get(self, url: str, what: str) -> Response:
        return self._client.request(self._caller, Call("GET", url, _SCOPES, document=what))

    def _failure(self, response: Response, doing: str) -> RegistryError:
        error = failure(response, doing, self._caller.hint)
        if error.status not in _NO_CATALOG:
            return error
        return RegistryError(f"{error.message}: this registry does not list its repositories", error.status, error.code)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""How a registry lets its callers in: challenges answered, tokens kept for the run."""

from __future__ import annotations

import threading
import time
import typing as t

from ..spec.errors import RegistryError
from . import auth
from .caller import Caller
from .origin import host_of
from .scopes import Scopes, covers

if t.TYPE_CHECKING:
    from .credentials import Credential

_MARGIN = 10.0  # seconds before its end that a token is no longer used


class _Held(t.NamedTuple):
    scopes: Scopes
    authorization: str
    ends: float


FetchToken = t.Callable[[Caller, auth.TokenRequest], auth.TokenAnswer]


class Login:
    """The answers to one registry's challenges. ``fetch`` does the I/O of a token request. Thread-safe.

    A token is kept per credential, realm and service, and serves every request whose scopes it was asked for.
    """

    def __init__(
        self, registry_url: str, auth_hosts: t.Sequence[str], fetch: FetchToken, clock: t.Callable[[], float] = time.monotonic
    ) -> None:
        self._url = registry_url
        self._auth_hosts = tuple(auth_hosts)
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.RLock()
        self._challenge: t.Optional[auth.Challenge] = None
        self._held: t.Dict[t.Tuple[t.Optional[Credential], str, str], t.List[_Held]] = {}

    def known(self, caller: Caller, scopes: Scopes) -> t.Optional[str]:
        """The Authorization for a request, ahead of any challenge: None until the registry has sent its first."""
        with self._lock:
            if self._challenge is None:
                return None
            return self._authorization(caller, self._challenge, scopes, None)

    def answer(self, caller: Caller, challenge: auth.Challenge, scopes: Scopes, refused: t.Optional[str]) -> t.Optional[str]:
        """The Authorization that answers a 401's challenge; None when there is none but what was ``refused`` already.

        Raises TransportError for a token server that may not be asked, RegistryError when it refuses.
        """
        with self._lock:
            authorization = self._authorization(caller, challenge, scopes, refused)
            if authorization is None or authorization == refused:
                return None
            self._challenge = challenge
            return authorization

    def _authorization(self, caller: Caller, challenge: auth.Challenge, scopes: Scopes, refused: t.Optional[str]) -> t.Optional[str]:
        credential = caller.credential()
        if credential is not None and credential.registry_token:
            return f"Bearer {credential.registry_token}"
        if challenge.scheme == "basic":
            return auth.basic_authorization(credential) if credential is not None else None
        return self._token(caller, credential, challenge, scopes, refused)

    def _token(
        self,
        caller: Caller,
        credential: t.Optional[Credential],
        challenge: auth.Challenge,
        scopes: Scopes,
        refused: t.Optional[str],
    ) -> str:
        realm = auth.check_realm(challenge.parameters["realm"], self._url, self._auth_hosts)
        service = challenge.parameters.get("service", "")
        held = self._held.setdefault((credential, realm, service), [])
        held[:] = [one for one in held if one.authorization != refused and one.ends > self._clock()]
        for one in held:
            if covers(one.scopes, scopes):
                return one.authorization
        token = self._run(caller, auth.bearer_flow(realm, service, scopes, credential))
        authorization = f"Bearer {token.value}"
        held.insert(0, _Held(scopes, authorization, self._clock() + token.life - _MARGIN))
        return authorization

    def _run(self, caller: Caller, flow: t.Generator[auth.TokenRequest, auth.TokenAnswer, auth.Token]) -> auth.Token:
        try:
            request = next(flow)
            while True:
                request = flow.send(self._fetch(caller, request))
        except StopIteration as end:
            return t.cast(auth.Token, end.value)
        except RegistryError as error:
            error.message = f"{host_of(self._url)} wants a login ({caller.hint}): {error.message}"
            raise

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""A registry as all of its repositories share it: requests with login, retries and redirects."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from types import MappingProxyType

from ..spec import ending, strictjson
from ..spec.errors import Interrupted, OCIError, TransportError
from .answers import warnings_of
from .caller import Caller
from .origin import host_of, quoted, resolve, same_origin, secrets
from .retry import PASSING, Patience, Sleep, retry_after
from .scopes import Scopes, covers, merge_scopes
from .transport import Request, Response, Transport

if t.TYPE_CHECKING:
    from ..content.store import RawReader
    from . import auth
    from .login import Login
    from .options import RegistryOptions

MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_SAME_METHOD = (307, 308)
_LOGINS = 2
# What another origin than the registry's is told.
_PUBLIC_HEADERS = ("accept", "range")


class Payload(t.NamedTuple):
    """What a request sends: ``open`` gives it from the start, as often as it has to be sent; ``length`` in bytes."""

    open: t.Callable[[], RawReader]
    length: int


class Call(t.NamedTuple):
    """A request of a repository. ``url`` is a path of the registry or an absolute URL of its origin.

    ``across``: a redirect of a GET or HEAD may lead to another origin, where no credential, header or certificate goes along.
    ``grace``: see Request. ``once``: passing faults are the caller's to retry, because the request would have to be another one.
    ``document``: what the body of a 200 is called, which is then read at once, so that a cut of it is a fault like any other.
    """

    method: str
    url: str
    scopes: Scopes
    headers: t.Mapping[str, str] = MappingProxyType({})
    payload: t.Optional[Payload] = None
    across: bool = False
    once: bool = False
    grace: float = 0
    document: t.Optional[str] = None


class Client:
    """One registry under one set of options. Thread-safe; ``warn`` is told each of the registry's warnings once."""

    def __init__(self, host: str, options: RegistryOptions, warn: t.Callable[[str], None], sleep: Sleep = ending.pause) -> None:
        self.host = host
        self.options = options
        self.transport = Transport(host, options)
        # Made with the first challenge: many registries have none, and each run compiles what it imports.
        self._login: t.Optional[Login] = None
        self._warn = warn
        self._sleep = sleep
        self._answered = False
        self._warned: t.Set[str] = set()
        self._lock = threading.Lock()

    def patience(self) -> Patience:
        return Patience(self.options.retries, self._sleep)

    def request(self, caller: Caller, call: Call) -> Response:
        """The registry's answer, whatever its status; its body is still to be read, or to be closed.

        Raises TransportError when no answer came for all the retries, RegistryError when the login fails.
        """
        patience = self.patience()
        while True:
            try:
                response = self._logged_in(caller, call)
                self._answered = True
                if call.document is not None and response.status == 200:
                    response.load(strictjson.MAX_DOCUMENT, call.document)
            except Interrupted as error:
                if call.once:
                    raise
                # Nobody has ever answered there: most likely the port is wrong. A registry that starts again is waited for longer.
                if not patience.wait(brief=error.refused and not self._answered):
                    raise TransportError(_given_up(error.message, patience)) from error
                continue
            if call.once or response.status not in PASSING or not patience.wait(retry_after(response.headers)):
                return response
            response.finish()

    def _logged_in(self, caller: Caller, call: Call) -> Response:
        """One try, and what it takes to be let in."""
        scopes = call.scopes
        authorization = self._login.known(caller, scopes) if self._login is not None else None
        refused = 0
        for logins in range(_LOGINS + 1):
            response = self._redirected(caller, call, authorization)
            if response.status != 401 or response.foreign:
                break
            challenge = _challenge_of(response)
            wanted = merge_scopes(*scopes, challenge.parameters.get("scope", "")) if challenge else scopes
            refused += authorization is not None
            # A refused login is made anew once, because it may have run out; and once more when the challenge wants more than that.
            if challenge is None or logins == _LOGINS or (refused > 1 and covers(scopes, wanted)):
                break
            answer = self._made_login().answer(caller, challenge, wanted, authorization)
            if answer is None:
                break
            response.finish()
            scopes, authorization = wanted, answer
        if not response.foreign:
            self._pass_on_warnings(response)
        return response

    def _made_login(self) -> Login:
        from .login import Login

        with self._lock:
            if self._login is None:
                self._login = Login(self.transport.url, self.options.auth_hosts, self._fetch_token)
            return self._login

    def _redirected(self, caller: Caller, call: Call, authorization: t.Optional[str]) -> Response:
        """One exchange with the registry, redirects followed by hand."""
        url = resolve(self.transport.url, call.url)
        if not same_origin(url, self.transport.url):
            raise TransportError(f"{self.host} leads to another host, {host_of(url)}: refused")
        headers = dict(call.headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        foreign = False
        for _hop in range(MAX_REDIRECTS + 1):
            response = self._exchange(caller, call, url, headers)
            response.foreign = foreign
            location = response.headers.get("Location")
            if not location or not _follows(call.method, response.status):
                return response
            response.finish()
            url = resolve(url, location)
            # Decided against the registry's own origin, and never taken back: what left it stays a stranger.
            if not foreign and not same_origin(url, self.transport.url):
                _check_leaving(call, url)
                foreign = True
                headers = {name: value for name, value in headers.items() if name.lower() in _PUBLIC_HEADERS}
            secrets.add_query(url)
        raise TransportError(f"{self.host} redirects more than {MAX_REDIRECTS} times")

    def _exchange(self, caller: Caller, call: Call, url: str, headers: t.Mapping[str, str]) -> Response:
        caller.count(call.method)
        if call.payload is None:
            length = None if call.method in ("GET", "HEAD", "DELETE") else 0
            return self.transport.send(Request(call.method, url, headers, length=length, grace=call.grace))
        with contextlib.closing(call.payload.open()) as body:
            return self.transport.send(Request(call.method, url, headers, body, call.payload.length, call.grace))

    def _fetch_token(self, caller: Caller, request: auth.TokenRequest) -> auth.TokenAnswer:
        """One exchange with the token server; a redirect is an answer like any other, and no token."""
        from . import auth

        patience = self.patience()
        while True:
            try:
                response = self._ask_for_token(caller, request)
                status, asked = response.status, retry_after(response.headers)
                body = response.read_all(auth.MAX_TOKEN_ANSWER, f"the answer of the token server {host_of(request.url)}")
            except Interrupted as error:
                if not patience.wait():
                    raise TransportError(_given_up(f"token server: {error.message}", patience)) from error
                continue
            if status not in PASSING or not patience.wait(asked):
                return auth.TokenAnswer(status, body)

    def _ask_for_token(self, caller: Caller, request: auth.TokenRequest) -> Response:
        headers = {"Accept": "application/json"}
        if request.authorization is not None:
            headers["Authorization"] = request.authorization
        if request.form is None:
            caller.count("GET")
            return self.transport.send(Request("GET", request.url, headers))
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        form = request.form.encode("ascii")
        caller.count("POST")
        return self.transport.send(Request("POST", request.url, headers, _Bytes(form), len(form)))

    def _pass_on_warnings(self, response: Response) -> None:
        for text in warnings_of(response):
            with self._lock:
                fresh = text not in self._warned
                self._warned.add(text)
            if fresh:
                self._warn(f"{self.host}: {text}")


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int) -> bytes:
        part, self._content = self._content[:size], self._content[size:]
        return part

    def close(self) -> None:
        self._content = b""


def bytes_payload(content: bytes) -> Payload:
    return Payload(lambda: _Bytes(content), len(content))


def _challenge_of(response: Response) -> t.Optional[auth.Challenge]:
    """What of a 401 can be answered."""
    from . import auth

    return auth.preferred(auth.parse_challenge(response.headers.get("WWW-Authenticate", "")))


def _follows(method: str, status: int) -> bool:
    return status in (_REDIRECTS if method in ("GET", "HEAD") else _SAME_METHOD)


def _check_leaving(call: Call, url: str) -> None:
    if not call.across or call.method not in ("GET", "HEAD"):
        raise TransportError(f"{call.method} is redirected to another host, {host_of(url)}: refused")


def _given_up(message: str, patience: Patience) -> str:
    tries = f" (tried {patience.used + 1} times)" if patience.used else ""
    return f"{quoted(message)}{tries}"


def swallow(action: t.Callable[[], t.Any]) -> None:
    """Do what is only good manners: its failure is nobody's news."""
    with contextlib.suppress(OCIError):
        action()

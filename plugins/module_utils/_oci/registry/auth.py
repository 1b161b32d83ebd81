# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Challenges and tokens: the rules of a login, without I/O (RFC 7235, RFC 6750, distribution's auth/token.md)."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..spec import strictjson
from ..spec.errors import InvalidError, RegistryError, TransportError
from .origin import host_of, origin_of, quoted, same_origin, secrets, shown
from .scopes import Scopes

if t.TYPE_CHECKING:
    from .credentials import Credential

CLIENT_ID = "lading.oci"
MAX_TOKEN_ANSWER = 1024 * 1024
_SHORTEST_LIFE = 60  # seconds; token.md: what is said to expire earlier, or says nothing
# Token servers of public registries that are on a host of their own.
_KNOWN_REALMS = {
    "registry-1.docker.io": "auth.docker.io",
    "registry.gitlab.com": "gitlab.com",
}
# A token server without the OAuth2 POST answers one of these (seen: 404 GCR, 401 Artifactory, 400 ACR, 405).
_NO_OAUTH2 = (400, 401, 404, 405)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_SCHEME = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?=[\s,]|$)(?!\s*=)")
_PARAMETER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([!#$%&'*+.^_`|~0-9A-Za-z/:-]+))")
_JUNK = re.compile(r"[^,]*")
_BLANK = re.compile(r"[\s,]*")
_SPACE = re.compile(r"\s*")
_HEADER_SAFE = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Challenge:
    """``scheme`` and the names of ``parameters`` are lower case."""

    scheme: str
    parameters: t.Mapping[str, str] = field(default_factory=dict)


def parse_challenge(header: str) -> t.List[Challenge]:
    """All challenges of a WWW-Authenticate header, or of several joined by commas. What is not understood is passed over."""
    found: t.List[t.Tuple[str, t.Dict[str, str]]] = []
    position = _skip(_BLANK, header, 0)
    while position < len(header):
        parameter = _PARAMETER.match(header, position)
        scheme = _SCHEME.match(header, position)
        if parameter and found:
            name, quoted_value, bare = parameter.groups()
            value = bare if quoted_value is None else re.sub(r"\\(.)", r"\1", quoted_value)
            found[-1][1].setdefault(name.lower(), value)
            position = parameter.end()
        elif scheme:
            found.append((scheme.group(1).lower(), {}))
            position = _skip(_TOKEN68, header, _skip(_SPACE, header, scheme.end()))
        else:
            position = max(_skip(_JUNK, header, position), position + 1)
        position = _skip(_BLANK, header, position)
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def preferred(challenges: t.Iterable[Challenge]) -> t.Optional[Challenge]:
    """Bearer before Basic: the password then goes to the token server alone. None when neither can be answered."""
    usable = [one for one in challenges if one.scheme == "basic" or (one.scheme == "bearer" and one.parameters.get("realm"))]
    return min(usable, key=lambda one: one.scheme == "basic", default=None)


def _skip(pattern: t.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


@dataclass(frozen=True)
class Token:
    """``life`` in seconds from now."""

    value: str = field(repr=False)
    life: float = _SHORTEST_LIFE


@dataclass(frozen=True)
class TokenRequest:
    """A GET, or with ``form`` a POST of it."""

    url: str
    authorization: t.Optional[str] = field(default=None, repr=False)
    form: t.Optional[str] = field(default=None, repr=False)


@dataclass(frozen=True)
class TokenAnswer:
    status: int
    body: bytes = field(repr=False)


def check_realm(realm: str, registry_url: str, auth_hosts: t.Iterable[str]) -> str:
    """The realm, when it may be asked for this registry's tokens: its own origin, a known pair, or a host of ``auth_hosts``.

    Raises TransportError otherwise, and for http when the registry is reached by https.
    """
    try:
        scheme, _host, _port = origin_of(realm)
    except TransportError as error:
        raise TransportError(f"{host_of(registry_url)} names a token server that is none: {error.message}") from error
    if scheme == "http" and origin_of(registry_url)[0] == "https":
        raise TransportError(f"{host_of(registry_url)} names a token server without TLS, {shown(realm)}: refused")
    host = host_of(realm)
    allowed = {_KNOWN_REALMS.get(host_of(registry_url)), *(listed.strip().lower() for listed in auth_hosts)}
    if same_origin(realm, registry_url) or host in allowed:
        return realm
    raise TransportError(
        f"{host_of(registry_url)} wants the login to go to another host, {host}: refused"
        " (if that is its token server, list it in auth_hosts)"
    )


def bearer_flow(
    realm: str, service: str, scopes: Scopes, credential: t.Optional[Credential]
) -> t.Generator[TokenRequest, TokenAnswer, Token]:
    """Yields the requests that get a token, is sent their answers, returns the Token.

    An identity token goes by OAuth2 POST, or as a password where the server knows no POST; a password, or nothing, goes by GET.
    Raises RegistryError when the server refuses.
    """
    if credential is not None and credential.identity_token:
        answer = yield _oauth2_request(realm, service, scopes, credential.identity_token)
        if answer.status not in _NO_OAUTH2:
            return _token_of(answer, realm)
    answer = yield _get_request(realm, service, scopes, credential)
    return _token_of(answer, realm)


def basic_authorization(credential: Credential) -> str:
    password = credential.password or credential.identity_token
    encoded = secrets.add_login(credential.username, password)
    return f"Basic {encoded}"


def _get_request(realm: str, service: str, scopes: Scopes, credential: t.Optional[Credential]) -> TokenRequest:
    parts = urlsplit(realm)
    query = parse_qsl(parts.query, keep_blank_values=True)
    query += [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    if credential is None or not (credential.password or credential.identity_token):
        return TokenRequest(urlunsplit(parts._replace(query=urlencode(query))))
    query += [("account", credential.username)] if credential.username else []
    return TokenRequest(urlunsplit(parts._replace(query=urlencode(query))), basic_authorization(credential))


def _oauth2_request(realm: str, service: str, scopes: Scopes, identity_token: str) -> TokenRequest:
    secrets.add(identity_token)
    form = {
        "grant_type": "refresh_token",
        "service": service,
        "client_id": CLIENT_ID,
        "scope": " ".join(scopes),
        "refresh_token": identity_token,
    }
    return TokenRequest(realm, form=urlencode(form))


def _token_of(answer: TokenAnswer, realm: str) -> Token:
    what = f"the token server {host_of(realm)}"
    if answer.status != 200:
        raise RegistryError(f"{what} gives no token: status {answer.status}{_words(answer.body)}", answer.status)
    document = strictjson.load_object(answer.body, f"the answer of {what}", MAX_TOKEN_ANSWER)
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str) or not _HEADER_SAFE.fullmatch(value):
        raise TransportError(f"{what} answers without a usable token")
    secrets.add(value)
    life = document.get("expires_in")
    known = isinstance(life, (int, float)) and not isinstance(life, bool)
    return Token(value, max(_SHORTEST_LIFE, float(t.cast(float, life))) if known else _SHORTEST_LIFE)


def _words(body: bytes) -> str:
    """What a token server says about its refusal, when it says it in JSON."""
    try:
        document = strictjson.load_object(body, "answer", MAX_TOKEN_ANSWER)
    except InvalidError:
        return ""
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    words = first.get("message") or document.get("error_description") or document.get("details") or document.get("error")
    return f" ({quoted(words)})" if isinstance(words, str) else ""

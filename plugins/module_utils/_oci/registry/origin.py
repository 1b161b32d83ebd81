# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Where a URL leads, and what must never be printed.

``same_origin`` is the one gate for redirects, upload Locations, Links and token realms. ``secrets`` is the process-wide register
of secret values; every text that came from a server or from an exception of the network goes through its ``redact``.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import threading
import typing as t
from urllib.parse import quote, quote_plus, urljoin, urlsplit

from ..spec.errors import TransportError, printable

TEXT_LIMIT = 1024  # characters of a server's own words that are shown
_LONGEST_TEXT = 8 * 1024
_SHORTEST_SECRET = 4  # a shorter one would black out ordinary words, and so give itself away
_DEFAULT_PORTS = {"http": 80, "https": 443}
# No backslash, blank or control character: two URL parsers must not see two hosts in one text.
_URL = re.compile(r"[!-\[\]-~]+", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", re.ASCII)
_URL_TAIL = re.compile(r"(https?://[^\s\"'<>?#]*)[?#][^\s\"'<>]*", re.IGNORECASE)
_URL_USER = re.compile(r"(https?://)[^\s/\"'<>@]*@", re.IGNORECASE)
_AUTHORIZATION = re.compile(r"\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)

_ESCAPE = re.compile(r"%[0-9A-F]{2}", re.ASCII)

Origin = t.Tuple[str, str, int]


@functools.lru_cache(maxsize=1024)
def origin_of(url: str) -> Origin:
    """(scheme, host, port), lower case, default port filled in. Raises TransportError for anything but a plain http(s) URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TransportError(f"not a URL: {shown(url)}") from error
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not parts.hostname or not _URL.fullmatch(url):
        raise TransportError(f"not an http or https URL: {shown(url)}")
    if "@" in parts.netloc or not _HOST.fullmatch(parts.hostname):
        raise TransportError(f"not a plain host in the URL: {shown(url)}")
    return scheme, parts.hostname.lower(), _DEFAULT_PORTS[scheme] if port is None else port


def same_origin(one: str, other: str) -> bool:
    """Scheme, host and port are equal; a default port may be said or not."""
    return origin_of(one) == origin_of(other)


def host_of(url: str) -> str:
    """``host`` or ``host:port`` as a person writes it: without the default port."""
    scheme, host, port = origin_of(url)
    name = f"[{host}]" if ":" in host else host
    return name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}"


def resolve(base: str, location: str) -> str:
    """The absolute URL of ``location`` (RFC 3986), seen from ``base``. Raises TransportError; https never leads to http."""
    try:
        url = urljoin(base, location).partition("#")[0]
    except ValueError as error:
        raise TransportError(f"not a URL: {shown(location)}") from error
    scheme = origin_of(url)[0]
    if origin_of(base)[0] == "https" and scheme != "https":
        raise TransportError(f"{host_of(base)} leads from https to {shown(url)}, which is not encrypted: refused")
    return url


def shown(url: str) -> str:
    """A URL for a message: no user info, no query."""
    return printable(secrets.redact(url), TEXT_LIMIT)


class Secrets:
    """Values that no output may contain. Thread-safe; values under 4 characters are not kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: t.Set[str] = set()

    def add(self, *values: t.Optional[str]) -> None:
        """Register values, and the forms in which a URL, a form, JSON or a folded line carries them."""
        forms = {form for value in values if value for form in _forms(value)}
        with self._lock:
            self._values.update(form for form in forms if len(form) >= _SHORTEST_SECRET)

    def add_login(self, username: str, password: str) -> str:
        """Register a password; returns base64(user:password), which is registered as well."""
        encoded = base64.b64encode(f"{username}:{password}".encode("utf-8")).decode("ascii")
        self.add(password, encoded)
        return encoded

    def add_query(self, url: str) -> None:
        """Register the query of a signed URL, whole and value by value."""
        query = urlsplit(url).query
        values = [part.partition("=")[2] for part in query.split("&")]
        self.add(query, *(value for value in values if len(value) >= 16))

    def redact(self, text: object) -> str:
        """``text`` without registered values, URL queries, URL user info and Authorization values; at most its first 8 KiB."""
        clean = str(text)
        with self._lock:
            values = sorted(self._values, key=len, reverse=True)
        for value in values:
            clean = clean.replace(value, "***")
        # Cut between the two: no value is cut in half, and the patterns see no text whose length an attacker chose.
        clean = clean[:_LONGEST_TEXT]
        clean = _URL_TAIL.sub(r"\1", _URL_USER.sub(r"\1", clean))
        return _AUTHORIZATION.sub(r"\1\2***", clean)


def _forms(value: str) -> t.Iterator[str]:
    yield from (value, " ".join(value.split()), json.dumps(value)[1:-1])
    for encoded in (quote(value, safe=""), quote_plus(value)):
        yield from (encoded, _ESCAPE.sub(lambda match: match.group().lower(), encoded))


secrets = Secrets()


def quoted(text: object) -> str:
    """A server's own words for a message: no secrets, one line, at most 1 KiB."""
    return printable(secrets.redact(" ".join(str(text).split())), TEXT_LIMIT)

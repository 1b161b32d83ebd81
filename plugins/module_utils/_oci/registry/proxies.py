# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Proxies from the environment, read by ourselves, and nothing else of it."""

from __future__ import annotations

import ipaddress
import typing as t
from urllib.parse import unquote, urlsplit

from ..spec.errors import TransportError
from .origin import origin_of, secrets


def proxy_for(url: str, environ: t.Mapping[str, str]) -> t.Optional[str]:
    """The proxy URL for ``url``, or None to go straight. Lower-case variables win, as in curl.

    Loopback addresses and ``localhost`` never go through a proxy, as in Go's clients. The proxy's password becomes a secret.
    """
    scheme, host, port = origin_of(url)
    proxy = _variable(environ, f"{scheme}_proxy") or _variable(environ, "all_proxy")
    if not proxy or _is_loopback(host) or bypasses(host, port, _variable(environ, "no_proxy")):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    try:
        parts = urlsplit(proxy)
    except ValueError as error:
        # Not shown: it may have a password, in a place where it cannot be told from the rest.
        raise TransportError(f"the proxy that the environment names for {scheme} is not a URL") from error
    if parts.password:
        secrets.add_login(unquote(parts.username or ""), unquote(parts.password))
    return proxy


def bypasses(host: str, port: int, no_proxy: str) -> bool:
    """True when an entry of NO_PROXY covers the host: ``*``, a domain and what is below it, an address, a CIDR, HOST:PORT."""
    return any(_covers(entry.strip().lower(), host, port) for entry in no_proxy.split(",") if entry.strip())


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        return address is not None and _in_network(address, entry)
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and (":" not in name or name.endswith("]")):
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    if address is not None:
        return _address(entry) == address
    bare = entry[2:] if entry.startswith("*.") else entry.lstrip(".")
    return bool(bare) and (host.endswith(f".{bare}") or (host == bare and not entry.startswith(("*.", "."))))


def _variable(environ: t.Mapping[str, str], name: str) -> str:
    """As curl and Python: HTTP_PROXY in upper case is a CGI client's header when REQUEST_METHOD is set."""
    value = environ.get(name, "")
    if not value and not (name == "http_proxy" and "REQUEST_METHOD" in environ):
        value = environ.get(name.upper(), "")
    return value.strip()


def _address(text: str) -> t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address, None]:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_address(host: str) -> bool:
    return _address(host) is not None


def _in_network(address: t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address], entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)

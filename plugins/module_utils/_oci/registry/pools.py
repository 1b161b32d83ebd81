# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Kept connections to one origin, by ``urllib3``: the HTTP of the library ``requests``, which comes with it and adds nothing we need.

It is imported inside functions, with the first request: that takes a third of what importing ``requests`` takes.
"""

from __future__ import annotations

import http.client
import typing as t
from urllib.parse import unquote, urlsplit

from ..spec.errors import MissingLibrary, TransportError
from .origin import Origin, origin_of
from .pacing import paced
from .proxies import is_address

if t.TYPE_CHECKING:
    import ssl

# What is sent at once. Python's sendall() gives one block the whole time-out, so larger blocks would fail on slow lines.
SEND_BLOCK = 64 * 1024
POOL_SIZE = 16  # connections kept per origin: at least the concurrency of a copy
Failures = t.Tuple[t.Type[Exception], ...]


class MissingRequests(MissingLibrary):
    """The Python library ``requests``, or the ``urllib3`` that comes with it, is not installed where the module runs."""

    library = "requests"


def http_library() -> t.Tuple[t.Any, Failures]:
    """urllib3, and what it and the connections below it raise."""
    try:
        import urllib3
    except ImportError as error:
        raise MissingRequests("the Python library requests (with urllib3) is needed to reach a registry") from error
    return urllib3, (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)


def silence_warnings() -> None:
    """Who says validate_certs=false has been told by its documentation; a warning per request only hides what matters."""
    urllib3, _failures = http_library()
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def for_address(context: ssl.SSLContext, url: str) -> ssl.SSLContext:
    """urllib3 1 keeps an IP address from the context, which then refuses to connect; it compares the certificate itself instead,
    and only when the context does not."""
    urllib3, _failures = http_library()
    if is_address(origin_of(url)[1]) and urllib3.__version__.startswith("1."):
        context.check_hostname = False
    return context


def open_pool(origin: Origin, context: t.Optional[ssl.SSLContext], timeout: float, proxy: t.Optional[str]) -> t.Any:
    """The connections to ``origin``, through ``proxy`` when there is one; ``context`` alone decides about TLS.

    Raises TransportError for a proxy that is not to be used.
    """
    urllib3, _failures = http_library()
    options: t.Dict[str, t.Any] = {"num_pools": 1, "maxsize": POOL_SIZE}
    if context is not None:
        options["ssl_context"] = context
    manager = urllib3.PoolManager(**options) if proxy is None else _proxy_manager(urllib3, proxy, options)
    _set_connections(manager, timeout)
    scheme, host, port = origin
    return manager.connection_from_host(host, port, scheme)


def _proxy_manager(urllib3: t.Any, proxy: str, options: t.Dict[str, t.Any]) -> t.Any:
    if proxy.startswith("socks"):
        try:
            from urllib3.contrib.socks import SOCKSProxyManager
        except ImportError as error:
            raise TransportError("a SOCKS proxy needs the Python library PySocks on the target") from error
        return SOCKSProxyManager(proxy, **options)
    parts = urlsplit(proxy)
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if parts.username or parts.password else None
    headers = urllib3.make_headers(proxy_basic_auth=login) if login is not None else None
    try:
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    except urllib3.exceptions.HTTPError as error:
        raise TransportError(f"the proxy of the environment cannot be used: {parts.scheme} is none of http, https and socks") from error


def _set_connections(manager: t.Any, timeout: float) -> None:
    """Let the manager's pools make connections with a least speed and large blocks, which send from files."""
    answers = paced(timeout)

    def pool_class(base: t.Any) -> t.Any:
        def init(self: t.Any, *args: t.Any, **kwargs: t.Any) -> None:
            base.ConnectionCls.__init__(self, *args, **kwargs)
            self.blocksize = SEND_BLOCK

        def send(self: t.Any, data: t.Any) -> None:
            # A stretch of a file knows how it is sent; most runs have none, and import nothing of that.
            if hasattr(data, "send_to"):
                data.send_to(self)
            else:
                base.ConnectionCls.send(self, data)

        own = {"__init__": init, "send": send, "response_class": answers}
        connection = type(base.ConnectionCls.__name__, (base.ConnectionCls,), own)
        return type(base.__name__, (base,), {"ConnectionCls": connection})

    manager.pool_classes_by_scheme = {name: pool_class(base) for name, base in manager.pool_classes_by_scheme.items()}

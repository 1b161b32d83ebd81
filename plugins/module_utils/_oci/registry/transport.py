# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""One HTTP request and its answer.

Nothing is taken from the environment but proxies, and those explicitly: no .netrc, no CA variables, no cookies, no redirects.
"""

from __future__ import annotations

import os
import threading
import typing as t
from types import MappingProxyType
from urllib.parse import urlsplit

from ..spec.errors import Interrupted, TransportError
from .origin import Origin, host_of, origin_of, quoted, shown
from .pacing import PacedResponse
from .pools import Failures, for_address, http_library, open_pool, silence_warnings
from .proxies import proxy_for

if t.TYPE_CHECKING:
    import ssl

    from .options import RegistryOptions

USER_AGENT = "lading.oci"
_REST = 256 * 1024  # bytes of an answer that are read to keep its connection; with more it is cheaper to open another


class Body(t.Protocol):
    """What is sent: ``read(n)`` returns at most n bytes, b'' at the end.

    One that stands in a file has ``stretch`` too, which tells where, or None.
    """

    def read(self, size: int) -> bytes: ...


class Request(t.NamedTuple):
    """``body`` has ``length`` bytes; without one nothing is sent, and ``length`` 0 says so in the header, None does not.

    ``grace``: seconds beyond the time-out that the answer may take.
    """

    method: str
    url: str
    headers: t.Mapping[str, str] = MappingProxyType({})
    body: t.Optional[Body] = None
    length: t.Optional[int] = None
    grace: float = 0


class Response:
    """An answer whose body is still on the wire. ``foreign`` is set when it came from another origin than the registry's."""

    def __init__(self, raw: t.Any, request: Request, failures: Failures, translate: t.Callable[[Exception, str], TransportError]) -> None:
        self._raw = raw
        # What urllib3 wraps is read without urllib3, which would copy everything twice.
        wrapped = getattr(raw, "_fp", None)
        self._answer = wrapped if isinstance(wrapped, PacedResponse) else None
        self._failures = failures
        self._translate = translate
        self._taken = 0
        self._content: t.Optional[bytes] = None
        self.status: int = raw.status
        self.reason: str = raw.reason or ""
        self.headers: t.Mapping[str, str] = raw.headers
        self.method = request.method
        self.url = request.url
        self.foreign = False
        self.length = None if request.method == "HEAD" else _content_length(self.headers)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes as they came, not decoded; b'' at the end. Raises Interrupted, also for a body cut short."""
        try:
            chunk = self._read(size)
        except self._failures as error:
            raise self._translate(error, self.url) from error
        self._count(size, len(chunk))
        return chunk

    def _read(self, size: int) -> bytes:
        if self._answer is not None:
            return self._answer.read(size)
        chunk: bytes = self._raw.read(size, decode_content=False)
        return chunk

    def readinto(self, view: memoryview) -> int:
        """As ``read``, into memory that is there."""
        if self._answer is None:
            chunk = self.read(len(view))
            view[: len(chunk)] = chunk
            return len(chunk)
        try:
            count = self._answer.readinto(view)
        except self._failures as error:
            raise self._translate(error, self.url) from error
        self._count(len(view), count)
        return count

    def _count(self, wanted: int, count: int) -> None:
        self._taken += count
        if wanted and not count and self.length is not None and self._taken < self.length:
            raise Interrupted(f"{host_of(self.url)} closed the connection after {self._taken} of {self.length} bytes")

    def load(self, limit: int, what: str) -> None:
        """Take the whole body off the wire, for ``read_all``."""
        self._content = self.read_all(limit, what)

    def read_all(self, limit: int, what: str) -> bytes:
        """The whole body; refuses more than ``limit`` bytes. The connection is free afterwards."""
        if self._content is not None:
            return self._content
        parts: t.List[bytes] = []
        size = 0
        while size <= limit:
            chunk = self.read(limit + 1 - size)
            if not chunk:
                self.finish()
                return b"".join(parts)
            parts.append(chunk)
            size += len(chunk)
        self.close()
        raise TransportError(f"{what} has more than {limit} bytes")

    def finish(self) -> None:
        """Done with the answer: keep its connection when little is left to read, else close it."""
        try:
            if self.length is None or self.length - self._taken <= _REST:
                self._read(_REST)
                if not self._read(1):
                    self._raw.release_conn()
                    return
        except self._failures:
            pass  # the answer's meaning is known: what is left of its body does not matter
        self.close()

    def close(self) -> None:
        self._raw.close()
        self._raw.release_conn()


class Transport:
    """Requests to the origins of one registry: its own, its token server's, those that it redirects to.

    ``host`` is the registry's host[:port]. Its client certificate is shown to its own origin alone. Thread-safe.
    """

    def __init__(self, host: str, options: RegistryOptions) -> None:
        self.url = f"{'http' if options.plain_http else 'https'}://{host}"
        self._origin = origin_of(self.url)
        self._host = host
        self._options = options
        self._lock = threading.Lock()
        self._pools: t.Dict[t.Tuple[Origin, t.Optional[str]], t.Any] = {}

    def send(self, request: Request) -> Response:
        """Send one request. Raises Interrupted, TransportError, and what reading the body raises; any answer is returned."""
        urllib3, failures = http_library()
        proxy = proxy_for(request.url, os.environ)
        pool = self._pool(request.url, proxy)
        try:
            answer = pool.request(
                request.method,
                _target(request.url, proxy),
                body=_sendable(request.body) if request.length else None,
                headers=_headers(request),
                timeout=urllib3.Timeout(connect=self._options.timeout, read=self._options.timeout + request.grace),
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )
        except failures as error:
            raise self._translated(error, request.url) from error
        response = Response(answer, request, failures, self._translated)
        _check_encoding(response)
        return response

    def _pool(self, url: str, proxy: t.Optional[str]) -> t.Any:
        origin = origin_of(url)
        with self._lock:
            pool = self._pools.get((origin, proxy))
            if pool is None:
                context = self._context(url) if origin[0] == "https" else None
                pool = self._pools[origin, proxy] = open_pool(origin, context, self._options.timeout, proxy)
            return pool

    def _translated(self, error: Exception, url: str) -> TransportError:
        from .faults import translated  # most runs have none, and each compiles what it imports

        return translated(error, url, self._options.timeout)

    def _context(self, url: str) -> ssl.SSLContext:
        from .tls import ssl_context  # not for plain http

        if not self._options.validate_certs:
            silence_warnings()
        if origin_of(url) == self._origin:
            context = ssl_context(self._host, self._options)
        else:
            # No client certificate of certs.d either: the registry may not choose to whom we are known.
            context = ssl_context(host_of(url), self._options, as_client=False)
        return for_address(context, url)


def _target(url: str, proxy: t.Optional[str]) -> str:
    """What the request line names: the path and query; to a proxy that is asked for an http URL, all of it."""
    if proxy is not None and url.startswith("http:") and not proxy.startswith("socks"):
        return url
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _headers(request: Request) -> t.Dict[str, str]:
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **request.headers}
    if request.length is not None:
        headers["Content-Length"] = str(request.length)
    return headers


def _sendable(body: t.Optional[Body]) -> t.Any:
    tell = getattr(body, "stretch", None)
    stretch = tell() if tell is not None else None
    if stretch is None:
        return body
    from .sending import StretchBody

    return StretchBody(stretch)


def _check_encoding(response: Response) -> None:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if response.method in ("GET", "HEAD") and response.status in (200, 206) and encoding not in ("identity", ""):
        response.close()
        raise TransportError(f"{shown(response.url)} came with Content-Encoding {quoted(encoding)}, which was not asked for: refused")


def _content_length(headers: t.Mapping[str, str]) -> t.Optional[int]:
    """The Content-Length; None when there is none that means anything."""
    text = headers.get("Content-Length", "").strip()
    if headers.get("Transfer-Encoding") or not (text.isdigit() and text.isascii() and len(text) < 20):
        return None
    return int(text)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""One HTTP request and its answer. The only import of ``requests``, inside a function: it is loaded with the first request.

Nothing is taken from the environment but proxies, and those explicitly: no .netrc, no CA variables, no cookies, no redirects.
"""

from __future__ import annotations

import dataclasses
import http.client
import os
import socket
import ssl
import threading
import typing as t

from ..spec.errors import OCIError, TransportError
from .origin import host_of, origin_of, quoted, shown
from .pacing import paced
from .proxies import is_address, proxy_for
from .tls import ssl_context

if t.TYPE_CHECKING:
    from .options import RegistryOptions

USER_AGENT = "lading.oci"
POOL_SIZE = 16  # connections kept per origin: at least the concurrency of a copy
# What is sent at once. Python's sendall() gives one block the whole time-out, so larger blocks would fail on slow lines.
_SEND_BLOCK = 64 * 1024
_REST = 256 * 1024  # bytes of an answer that are read to keep its connection; with more it is cheaper to open another


Failures = t.Tuple[t.Type[Exception], ...]


class MissingRequests(OCIError):
    """The Python library ``requests`` is not installed where the module runs."""


class Interrupted(TransportError):
    """The connection failed in a way that may pass: worth another try."""


class Body(t.Protocol):
    """What is sent: ``read(n)`` returns at most n bytes, b'' at the end."""

    def read(self, size: int) -> bytes: ...


@dataclasses.dataclass(frozen=True)
class Request:
    """``body`` has ``length`` bytes; without one nothing is sent, and ``length`` 0 says so in the header, None does not.

    ``grace``: seconds beyond the time-out that the answer may take.
    """

    method: str
    url: str
    headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: t.Optional[Body] = None
    length: t.Optional[int] = None
    grace: float = 0


class Response:
    """An answer whose body is still on the wire. ``foreign`` is set when it came from another origin than the registry's."""

    def __init__(self, raw: t.Any, request: Request, failures: Failures, translate: t.Callable[[Exception, str], TransportError]) -> None:
        self._raw = raw
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
            chunk: bytes = self._raw.read(size, decode_content=False)
        except self._failures as error:
            raise self._translate(error, self.url) from error
        self._taken += len(chunk)
        if size and not chunk and self.length is not None and self._taken < self.length:
            raise Interrupted(f"{host_of(self.url)} closed the connection after {self._taken} of {self.length} bytes")
        return chunk

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
                self._raw.read(_REST, decode_content=False)
                if not self._raw.read(1, decode_content=False):
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
        self._adapters: t.Dict[t.Tuple[str, str, int], t.Any] = {}

    def send(self, request: Request) -> Response:
        """Send one request. Raises Interrupted, TransportError, and what reading the body raises; any answer is returned."""
        requests, failures = _requests()
        adapter = self._adapter(requests, request.url)
        proxy = proxy_for(request.url, os.environ)
        try:
            answer = adapter.send(
                _prepare(requests, request),
                stream=True,
                timeout=(self._options.timeout, self._options.timeout + request.grace),
                verify=self._options.validate_certs,
                proxies={origin_of(request.url)[0]: proxy} if proxy else {},
            )
        except failures as error:
            raise self._translated(error, request.url) from error
        response = Response(answer.raw, request, failures, self._translated)
        _check_encoding(response)
        return response

    def _adapter(self, requests: t.Any, url: str) -> t.Any:
        origin = origin_of(url)
        with self._lock:
            if origin not in self._adapters:
                context = self._context(url) if origin[0] == "https" else None
                self._adapters[origin] = _new_adapter(requests, context, self._options.timeout)
            return self._adapters[origin]

    def _context(self, url: str) -> ssl.SSLContext:
        if not self._options.validate_certs:
            _silence_warnings()
        if origin_of(url) == self._origin:
            context = ssl_context(self._host, self._options)
        else:
            # No client certificate of certs.d either: the registry may not choose to whom we are known.
            context = ssl_context(host_of(url), self._options, as_client=False)
        return _for_address(context, url)

    def _translated(self, error: Exception, url: str) -> TransportError:
        """The library's error for one of requests, urllib3 or the socket."""
        cause = _root_cause(error)
        host = host_of(url)
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
            return TransportError(f"no such host: {host}")
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = quoted(cause.verify_message or cause)
            return TransportError(f"the TLS certificate of {host} is not trusted: {detail} (a private CA is named by ca_path)")
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION" in str(cause).upper():
            return TransportError(f"{host} does not answer with TLS (for a registry without TLS set plain_http)")
        if isinstance(cause, ssl.SSLError):
            return Interrupted(f"TLS with {host} failed: {quoted(cause)}")
        if type(cause).__name__ == "IncompleteRead":
            return Interrupted(f"{host} closed the connection before the end of its answer")
        if isinstance(cause, socket.timeout) or "timed out" in str(error).lower():
            return Interrupted(f"{host} gave no answer, or too slow a one, within {self._options.timeout:g} seconds")
        return Interrupted(f"connection to {host} failed: {quoted(_reason(cause))}")


def _requests() -> t.Tuple[t.Any, Failures]:
    """The library, and what it and the connections below it raise."""
    try:
        import requests
        import requests.adapters
        import urllib3
    except ImportError as error:
        raise MissingRequests("the Python library requests is needed to reach a registry") from error
    own = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError)
    return requests, (*own, http.client.HTTPException, OSError, ValueError)


def _silence_warnings() -> None:
    """Who says validate_certs=false has been told by its documentation; a warning per request only hides what matters."""
    import urllib3

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def _for_address(context: ssl.SSLContext, url: str) -> ssl.SSLContext:
    """urllib3 1 keeps an IP address from the context, which then refuses to connect; it compares the certificate itself instead,
    and only when the context does not."""
    import urllib3

    library: t.Any = urllib3
    if is_address(origin_of(url)[1]) and library.__version__.startswith("1."):
        context.check_hostname = False
    return context


def _new_adapter(requests: t.Any, context: t.Optional[ssl.SSLContext], timeout: float) -> t.Any:
    """The connections to one origin; ``context`` alone decides about TLS."""

    class Adapter(requests.adapters.HTTPAdapter):  # type: ignore[misc]
        def init_poolmanager(self, *args: t.Any, **kwargs: t.Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **kwargs)
            _set_connections(self.poolmanager, timeout)

        def proxy_manager_for(self, proxy: str, **kwargs: t.Any) -> t.Any:
            known = proxy in self.proxy_manager
            manager = super().proxy_manager_for(proxy, ssl_context=context, **kwargs)
            if not known:
                _set_connections(manager, timeout)
            return manager

        def build_connection_pool_key_attributes(self, request: t.Any, verify: t.Any, cert: t.Any = None) -> t.Any:
            scheme, host, port = origin_of(request.url)
            return {"scheme": scheme, "host": host, "port": port}, {}

        def cert_verify(self, conn: t.Any, url: str, verify: t.Any, cert: t.Any) -> None:
            """Nothing: the base class would add the CA bundle of ``requests`` to the context."""

    return Adapter(pool_connections=4, pool_maxsize=POOL_SIZE, max_retries=0)


def _set_connections(manager: t.Any, timeout: float) -> None:
    """Let the manager's pools make connections with a least speed and large blocks."""
    answers = paced(timeout)

    def pool_class(base: t.Any) -> t.Any:
        def init(self: t.Any, *args: t.Any, **kwargs: t.Any) -> None:
            base.ConnectionCls.__init__(self, *args, **kwargs)
            self.blocksize = _SEND_BLOCK

        connection = type(base.ConnectionCls.__name__, (base.ConnectionCls,), {"__init__": init, "response_class": answers})
        return type(base.__name__, (base,), {"ConnectionCls": connection})

    manager.pool_classes_by_scheme = {name: pool_class(base) for name, base in manager.pool_classes_by_scheme.items()}


def _prepare(requests: t.Any, request: Request) -> t.Any:
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **request.headers}
    if request.length is not None:
        headers["Content-Length"] = str(request.length)
    prepared = requests.PreparedRequest()
    prepared.prepare(method=request.method, url=request.url, headers=headers)
    # As given: requests would quote a signed URL anew, and would ask the body for a length that is known.
    prepared.url = request.url
    if request.length is None:
        prepared.headers.pop("Content-Length", None)
    prepared.body = request.body if request.length else None
    return prepared


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


def _root_cause(error: BaseException) -> BaseException:
    """The innermost error: requests and urllib3 wrap the socket's several times."""
    seen: t.Set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        wrapped = [getattr(error, "reason", None), *error.args, error.__cause__, error.__context__]
        inner = [item for item in wrapped if isinstance(item, BaseException)]
        if not inner:
            return error
        error = inner[0]
    return error


def _reason(cause: BaseException) -> str:
    strerror = getattr(cause, "strerror", None)
    return (
        strerror if isinstance(strerror, str) and strerror else (str(cause).rpartition("object at 0x")[2].partition(": ")[2] or str(cause))
    )

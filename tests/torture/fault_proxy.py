# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP proxy in front of a real registry that does wrong what its rules say: it is where the network and the registry fail.

A fault is a step of one exchange that goes another way: how the request is received, what is answered, how that is sent. All else is
the registry's own work. Offsets are of the body: ``BEFORE`` any byte of the answer, in its ``HEADER``, at the ``FIRST`` byte of the
body, in its ``MIDDLE``, before its ``LAST`` byte, and at its ``END``, when all of it was sent; a number is
a part of the body.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import http.server
import itertools
import json
import os
import re
import select
import socket
import struct
import threading
import time
import typing as t
import urllib.parse

BEFORE, HEADER, FIRST, MIDDLE, LAST, END = "before", "header", "first", "middle", "last", "end"
RESET, CLOSE, STALL, DRIP = "reset", "close", "stall", "drip"
FOR_EVER = float("inf")
At = t.Union[str, float]
LARGE = 1024 * 1024
UNSIZED = "-"  # as a Content-Length: the answer has none, and ends with its connection
_PIECE = 64 * 1024
_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade")


@dataclasses.dataclass
class Answer:
    """``headers`` by lower-case name."""

    status: int
    headers: t.Dict[str, str]
    body: bytes = b""


@dataclasses.dataclass(frozen=True)
class Seen:
    """A request, noted when its header has come. ``faulty``: a rule took part in its answer."""

    method: str
    path: str
    headers: t.Mapping[str, str]
    faulty: bool
    at: float

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


class Gone(Exception):
    """The connection is cut: nothing more is to be done with this request."""


class Fault:
    """The registry's own work; a subclass has one step go wrong."""

    def receive(self, handler: Handler) -> bytes:
        return handler.read_body()

    def answer(self, handler: Handler, body: bytes) -> Answer:
        return handler.ask(body)

    def send(self, handler: Handler, answer: Answer) -> None:
        handler.send(answer)


class Respond(Fault):
    """Answers in place of the registry, which learns nothing of the request."""

    def __init__(self, status: int, headers: t.Optional[t.Mapping[str, str]] = None, body: bytes = b"") -> None:
        self._answer = Answer(status, {name.lower(): value for name, value in (headers or {}).items()}, body)

    def answer(self, handler: Handler, body: bytes) -> Answer:
        return dataclasses.replace(self._answer, headers={name: handler.filled(value) for name, value in self._answer.headers.items()})


class Late(Respond):
    """As Respond; the value of Retry-After is a date ``seconds`` from now, as its own Date says."""

    def __init__(self, status: int, seconds: float) -> None:
        super().__init__(status)
        self._seconds = seconds

    def answer(self, handler: Handler, body: bytes) -> Answer:
        from email.utils import formatdate

        # Dates have whole seconds: the one that is not before the time that is meant.
        now = time.time()
        dates = {"date": formatdate(int(now), usegmt=True), "retry-after": formatdate(int(now + self._seconds) + 1, usegmt=True)}
        return dataclasses.replace(self._answer, headers=dates)


class Broken(Fault):
    """The registry's answer is cut, held up or dripped at an offset. ``sized``: it says how long it is."""

    def __init__(self, how: str, at: At = BEFORE, interval: float = 1.0, sized: bool = True) -> None:
        self._how, self._at, self._interval, self._sized = how, at, interval, sized

    def send(self, handler: Handler, answer: Answer) -> None:
        if not self._sized:
            answer.headers["content-length"] = UNSIZED
        head, body = handler.head_of(answer), handler.body_of(answer)
        if self._at in (BEFORE, HEADER):
            whole, cut = head + body, 0 if self._at == BEFORE else len(head) // 2
        else:
            whole, cut = head + body, len(head) + offset(self._at, len(body))
        handler.write(whole[:cut])
        handler.cut(self._how, whole[cut:], self._interval)


class BrokenUpload(Fault):
    """The request's body is read up to an offset only."""

    def __init__(self, how: str, at: At) -> None:
        self._how, self._at = how, at

    def receive(self, handler: Handler) -> bytes:
        handler.read_body(self._at)
        handler.cut(self._how)
        raise Gone


class Changed(Fault):
    """The registry's answer with headers replaced; None removes one. ``body``: what is to become of its body."""

    def __init__(
        self, headers: t.Optional[t.Mapping[str, t.Optional[str]]] = None, body: t.Optional[t.Callable[[bytes], bytes]] = None
    ) -> None:
        self._headers = {name.lower(): value for name, value in (headers or {}).items()}
        self._body = body

    def answer(self, handler: Handler, body: bytes) -> Answer:
        answer = handler.ask(body)
        headers: t.Dict[str, t.Optional[str]] = {**answer.headers, **self._headers}
        content = answer.body if self._body is None or handler.command == "HEAD" else self._body(answer.body)
        return Answer(answer.status, {name: handler.filled(value) for name, value in headers.items() if value is not None}, content)


class Endless(Fault):
    """The registry's answer without a length, and then the same bytes until nobody takes them any more."""

    def send(self, handler: Handler, answer: Answer) -> None:
        answer.headers["content-length"] = UNSIZED
        handler.write(handler.head_of(answer) + handler.body_of(answer))
        handler.repeat(bytes(_PIECE))


class NeverBegun(Fault):
    """One interim answer after the other, and none that counts."""

    def send(self, handler: Handler, answer: Answer) -> None:
        handler.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


class FlippedUpload(Fault):
    """A bit of the request's body is another one when it comes to the registry."""

    def receive(self, handler: Handler) -> bytes:
        return flipped(handler.read_body())


class RangeIgnored(Fault):
    """The registry is not told what range was asked for."""

    def answer(self, handler: Handler, body: bytes) -> Answer:
        del handler.headers["Range"]
        return handler.ask(body)


class Expired(Fault):
    """Every token is void from now on: this request, whose body has been read, is the first to learn so."""

    def receive(self, handler: Handler) -> bytes:
        body = handler.read_body()
        handler.proxy.tokens.clear()
        return body


@dataclasses.dataclass
class Rule:
    """``fault`` for requests of a method and path (regular expressions), ``times`` times, after ``skip`` that go well.

    ``large``: only for requests that send more than LARGE bytes, or do not say how many.
    """

    method: str
    path: str
    fault: Fault
    times: float = 1
    skip: int = 0
    large: bool = False

    def takes(self, method: str, path: str, length: t.Optional[int]) -> bool:
        matches = re.fullmatch(self.method, method) and re.search(self.path, path)
        if not matches or self.times <= 0 or (self.large and length is not None and length <= LARGE):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class FaultProxy:
    """``host`` stands in for the registry ``upstream``. ``bearer``: it wants a token of its own token server, ``/token``."""

    def __init__(self, upstream: str, rules: t.Sequence[Rule] = (), bearer: bool = False) -> None:
        self.upstream = upstream
        self.rules = [dataclasses.replace(rule) for rule in rules]
        self.bearer = bearer
        self.tokens: t.Set[str] = set()
        self.seen: t.List[Seen] = []
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._numbers = itertools.count()
        self._server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"proxy": self}))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def fault_for(self, method: str, path: str, length: t.Optional[int]) -> t.Optional[Fault]:
        with self.lock:
            return next((rule.fault for rule in self.rules if rule.takes(method, path, length)), None)

    def new_token(self) -> str:
        with self.lock:
            token = f"token-{next(self._numbers)}-of-the-proxy"
            self.tokens.add(token)
            return token

    def asked(self, method: str = ".*", path: str = "") -> t.List[Seen]:
        return [one for one in self.seen if re.fullmatch(method, one.method) and re.search(path, one.path)]

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy
    timeout = 120
    wbufsize = 0

    def log_message(self, *args: t.Any) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # a client that breaks off
            super().handle()

    def serve(self) -> None:
        length = None if self.headers.get("Transfer-Encoding") else int(self.headers.get("Content-Length") or 0)
        fault = self.proxy.fault_for(self.command, self.path, length)
        self.received = 0
        self._note(fault is not None)
        step = fault or Fault()
        try:
            body = step.receive(self)
            step.send(self, self._refusal() or step.answer(self, body))
        except (Gone, OSError, http.client.HTTPException):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = serve

    def _note(self, faulty: bool) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.proxy.seen.append(Seen(self.command, self.path, headers, faulty, time.monotonic()))

    def filled(self, value: str) -> str:
        """A header's value with what it says of this request: ``{path}``, and ``{digest}``, which is in its query."""
        digest = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("digest", [""])[0]
        return value.replace("{path}", self.path).replace("{digest}", digest)

    def read_body(self, at: At = END) -> bytes:
        """The request's body; up to an offset of it when it says its length, else of what a large blob at least has."""
        if self.headers.get("Transfer-Encoding"):
            return self._read_chunks(offset(at, LARGE) if at != END else None)
        left = offset(at, int(self.headers.get("Content-Length") or 0))
        parts = []
        while left:
            part = self.rfile.read(min(left, _PIECE))
            if not part:
                raise Gone
            left -= len(part)
            self.received += len(part)
            parts.append(part)
        return b"".join(parts)

    def _read_chunks(self, limit: t.Optional[int]) -> bytes:
        parts = []
        while limit is None or self.received < limit:
            size = int(self.rfile.readline().split(b";")[0] or b"0", 16)
            parts.append(self.rfile.read(size))
            self.received += size
            self.rfile.readline()
            if not size:
                break
        return b"".join(parts)

    def _refusal(self) -> t.Optional[Answer]:
        """What the guard before the registry says; None lets the request through."""
        if (
            not self.proxy.bearer
            or self.path.startswith("/token")
            or self.headers.get("Authorization", "")[len("Bearer ") :] in self.proxy.tokens
        ):
            return None
        name = re.sub(r"/(manifests|blobs|tags|referrers)/.*", "", self.path)[len("/v2/") :]
        scope = f',scope="repository:{name}:pull,push"' if name else ""
        return Answer(401, {"www-authenticate": f'Bearer realm="http://{self.proxy.host}/token",service="proxy"{scope}'})

    def ask(self, body: bytes) -> Answer:
        """The registry's answer, or the token server's."""
        if self.proxy.bearer and self.path.startswith("/token"):
            content = json.dumps({"token": self.proxy.new_token(), "expires_in": 300}).encode()
            return Answer(200, {"content-type": "application/json"}, content)
        # A header may come several times, and means what one with all the values means (RFC 9110 5.3): Go sends its Accept so.
        names = {name.lower() for name in self.headers if name.lower() not in _HOP_BY_HOP}
        headers = {name: ", ".join(self.headers.get_all(name, [])) for name in names}
        if body or self.command in ("PUT", "POST", "PATCH"):
            headers["content-length"] = str(len(body))
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
            return Answer(response.status, fields, response.read())

    def head_of(self, answer: Answer) -> bytes:
        fields = {"content-length": str(len(answer.body)), **answer.headers}
        if fields["content-length"] == UNSIZED:
            del fields["content-length"]
            fields["connection"] = "close"
            self.close_connection = True
        lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Unknown')}"]
        lines += [f"{name.title()}: {value}" for name, value in fields.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def body_of(self, answer: Answer) -> bytes:
        return b"" if self.command == "HEAD" or answer.status in (204, 304) else answer.body

    def send(self, answer: Answer) -> None:
        self.write(self.head_of(answer) + self.body_of(answer))
        if self.command != "HEAD" and answer.headers.get("content-length", "0") not in (UNSIZED, str(len(answer.body))):
            self.close_connection = True  # a length that was a lie

    def write(self, content: bytes) -> None:
        self.connection.sendall(content)

    def cut(self, how: str, rest: bytes = b"", interval: float = 1.0) -> None:
        """End the exchange here. ``rest`` is what would have followed."""
        self.close_connection = True
        if how == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Not by close(), which waits for the files made of the socket, nor by shutdown(), which would say goodbye first.
            os.close(self.connection.detach())
        elif how == STALL:
            self._hold()
        elif how == DRIP:
            self._drip(rest, interval)

    def repeat(self, piece: bytes) -> None:
        """The same again and again, until the client goes away or the test is over."""
        self.close_connection = True
        while not self.proxy.closing.is_set():
            self.write(piece)

    def _hold(self) -> None:
        """Say nothing, until the client goes away or the test is over."""
        while not self.proxy.closing.wait(0.05):
            if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                return

    def _drip(self, rest: bytes, interval: float) -> None:
        for position in range(len(rest)):
            self.write(rest[position : position + 1])
            if self.proxy.closing.wait(interval):
                return


def offset(at: At, size: int) -> int:
    """Where in ``size`` bytes an offset is."""
    if isinstance(at, float):
        return int(at * size)
    return {FIRST: 0, MIDDLE: size // 2, LAST: max(size - 1, 0), END: size}[at]


def flipped(content: bytes) -> bytes:
    """``content`` with one bit of its middle changed."""
    changed = bytearray(content)
    if changed:
        changed[len(changed) // 2] ^= 1
    return bytes(changed)

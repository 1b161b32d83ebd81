# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry on loopback that keeps its content in memory, does what it is told to do wrong, and remembers what it was asked.

For faults that a real registry cannot show. Every request is in ``seen``; a fault answers in place of the registry, as often as
it was ordered.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import itertools
import json
import re
import socket
import struct
import threading
import time
import typing as t
import urllib.parse
from dataclasses import dataclass, field

from ansible_collections.lading.oci.plugins.module_utils._oci.registry.client import Client
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.options import RegistryOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.repository import Repository
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference


@dataclass
class Seen:
    method: str
    path: str
    headers: t.Dict[str, str]
    body: bytes = b""
    at: float = 0.0


Action = t.Callable[["Handler"], None]


@dataclass
class Fault:
    method: str
    path: t.Pattern[str]
    action: Action
    times: float


def answer(status: int, headers: t.Optional[t.Mapping[str, str]] = None, body: bytes = b"") -> Action:
    """Answer with this; the request's body has been read."""
    return lambda handler: handler.answer(status, headers or {}, body)


def error(status: int, code: str, message: str = "", headers: t.Optional[t.Mapping[str, str]] = None) -> Action:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return answer(status, {"Content-Type": "application/json", **(headers or {})}, body)


def reset(handler: Handler) -> None:
    """Cut the connection without an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut_after(count: int) -> Action:
    """The registry's own answer, whose body is cut after ``count`` bytes."""

    def action(handler: Handler) -> None:
        handler.cut = count
        handler.respond()
        handler.close_connection = True

    return action


def drip(interval: float, before_header: bool = False) -> Action:
    """A byte each ``interval`` seconds, of a header or of a body that is announced to be long."""

    def action(handler: Handler) -> None:
        head = b"HTTP/1.1 200 OK\r\n" if before_header else b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        handler.close_connection = True
        try:
            handler.wfile.write(head)
            for _number in range(2000):
                handler.wfile.write(b"x")
                time.sleep(interval)
        except OSError:
            pass

    return action


def header_changed(**headers: t.Optional[str]) -> Action:
    """The registry's own answer with headers replaced (``_`` for ``-``); None removes one."""

    def action(handler: Handler) -> None:
        handler.changes = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        handler.respond()

    return action


@dataclass
class State:
    blobs: t.Dict[str, bytes] = field(default_factory=dict)
    manifests: t.Dict[t.Tuple[str, str], t.Tuple[str, bytes]] = field(default_factory=dict)
    tags: t.Dict[t.Tuple[str, str], str] = field(default_factory=dict)
    uploads: t.Dict[str, bytearray] = field(default_factory=dict)
    tokens: t.Dict[str, t.Set[str]] = field(default_factory=dict)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class FakeRegistry:
    """``url``, ``host``; ``basic`` as "user:password" or ``bearer`` as a realm make it want a login."""

    def __init__(self) -> None:
        self.state = State()
        self.seen: t.List[Seen] = []
        self.faults: t.List[Fault] = []
        self.basic = ""
        self.bearer = ""
        self.scope_in_challenge = True
        self.token_login = ""
        self.page_size = 0
        self.chunk_limit = 0
        self.numbers = itertools.count()
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"registry": self}))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def wrap_tls(self, context: t.Any) -> None:
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://{self.host}"

    def fault(self, method: str, path: str, action: Action, times: float = 1) -> None:
        """Answer requests of the method whose path has the pattern ``path``, the next ``times`` times."""
        self.faults.append(Fault(method, re.compile(path), action, times))

    def add_blob(self, content: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.state.blobs[digest] = content
        return digest

    def methods(self, path: str = "") -> t.List[str]:
        return [one.method for one in self.seen if re.search(path, one.path)]

    def asked(self, method: str, path: str = "") -> t.List[Seen]:
        return [one for one in self.seen if one.method == method and re.search(path, one.path)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Harness:
    """Repositories of one fake registry through one client that does not really sleep."""

    def __init__(self, registry: FakeRegistry, **options: t.Any) -> None:
        options.setdefault("plain_http", True)
        options.setdefault("timeout", 5)
        options.setdefault("auth_file", "/dev/null")
        self.registry = registry
        self.sleeps: t.List[float] = []
        self.warnings: t.List[str] = []
        self.client = Client(registry.host, RegistryOptions(**options), self.warnings.append, self.sleeps.append)

    def repository(self, name: str = "team/app") -> Repository:
        return Repository(RegistryReference(self.registry.host, name), self.client)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: FakeRegistry
    timeout = 20

    def log_message(self, *args: t.Any) -> None:
        pass

    def serve(self) -> None:
        self.cut: t.Optional[int] = None
        self.changes: t.Dict[str, t.Optional[str]] = {}
        self.body = self._read_body()
        seen = Seen(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, self.body, time.monotonic())
        with self.registry.lock:
            self.registry.seen.append(seen)
            fault = next((one for one in self.registry.faults if one.method == self.command and one.path.search(self.path)), None)
            if fault is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.registry.faults.remove(fault)
        try:
            if fault is not None:
                fault.action(self)
            else:
                self.respond()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = serve

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # a client that breaks off, or does not trust the certificate
            super().handle()

    def _read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, headers: t.Mapping[str, str], body: bytes = b"") -> None:
        fields = {name.lower(): value for name, value in headers.items()}
        fields.setdefault("content-length", str(len(body)))
        for name, value in self.changes.items():
            if value is None:
                fields.pop(name, None)
            else:
                fields[name] = value
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if self.cut is None else body[: self.cut])

    def failed(self, status: int, code: str, headers: t.Optional[t.Mapping[str, str]] = None) -> None:
        error(status, code, f"fake {code}", headers)(self)

    def respond(self) -> None:
        """As a registry does, without faults."""
        path, _question, query = self.path.partition("?")
        self.query = urllib.parse.parse_qs(query)
        if path == "/token":
            return self._token()
        if path == "/v2/":
            return self.answer(200, {"Content-Type": "application/json"}, b"{}") if self._let_in("") else None
        match = re.fullmatch(r"/v2/(.+?)/(manifests|blobs|tags)/(.*)", path)
        if match is None:
            return self.failed(404, "NAME_INVALID")
        repository, kind, rest = match.groups()
        if not self._let_in(repository):
            return None
        if kind == "tags":
            return self._tags(repository)
        if kind == "manifests":
            return self._manifest(repository, rest)
        if rest.startswith("uploads/"):
            return self._upload(repository, rest[len("uploads/") :])
        return self._blob(rest)

    def _let_in(self, repository: str) -> bool:
        """To the repository; to the registry as a whole any token of its server leads."""
        registry = self.registry
        sent = self.headers.get("Authorization", "")
        action = "pull" if self.command in ("GET", "HEAD") else "push"
        if registry.basic:
            if sent == "Basic " + base64.b64encode(registry.basic.encode()).decode():
                return True
            self.failed(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="fake"'})
            return False
        if registry.bearer:
            held = registry.state.tokens.get(sent[len("Bearer ") :])
            if held is not None and (not repository or f"repository:{repository}:{action}" in held):
                return True
            scope = f"repository:{repository}:{'pull' if action == 'pull' else 'pull,push'}"
            wanted = f',scope="{scope}"' if registry.scope_in_challenge and repository else ""
            problem = ',error="insufficient_scope"' if held is not None else ""
            self.failed(401, "UNAUTHORIZED", {"WWW-Authenticate": f'Bearer realm="{registry.bearer}",service="fake"{wanted}{problem}'})
            return False
        return True

    def _token(self) -> None:
        registry = self.registry
        form = urllib.parse.parse_qs(self.body.decode()) if self.command == "POST" else self.query
        login = "Basic " + base64.b64encode(registry.token_login.encode()).decode()
        if registry.token_login and self.command == "GET" and self.headers.get("Authorization") != login:
            return self.failed(401, "UNAUTHORIZED")
        scopes = {
            f"{scope.rpartition(':')[0]}:{action}"
            for given in form.get("scope", [])
            for scope in given.split()
            for action in scope.rpartition(":")[2].split(",")
        }
        token = f"token-{next(registry.numbers)}-of-the-fake"
        registry.state.tokens[token] = scopes
        name = "access_token" if self.command == "POST" else "token"
        return self.answer(200, {"Content-Type": "application/json"}, json.dumps({name: token, "expires_in": 300}).encode())

    def _tags(self, repository: str) -> None:
        names = sorted(tag for name, tag in self.registry.state.tags if name == repository)
        if not names:
            return self.failed(404, "NAME_UNKNOWN")
        size, headers = self.registry.page_size, {"Content-Type": "application/json"}
        if size:
            last = self.query.get("last", [""])[0]
            later = [tag for tag in names if tag > last]
            names = later[:size]
            if len(later) > size:
                headers["Link"] = f'</v2/{repository}/tags/list?last={names[-1]}&n={size}>; rel="next"'
        return self.answer(200, headers, json.dumps({"name": repository, "tags": names}).encode())

    def _manifest(self, repository: str, name: str) -> None:
        state = self.registry.state
        if self.command == "PUT":
            digest = "sha256:" + hashlib.sha256(self.body).hexdigest()
            state.manifests[repository, digest] = (self.headers["Content-Type"], self.body)
            if not name.startswith("sha256:"):
                state.tags[repository, name] = digest
            return self.answer(201, {"Docker-Content-Digest": digest, "Location": f"/v2/{repository}/manifests/{digest}"})
        digest = state.tags.get((repository, name), name)
        if (repository, digest) not in state.manifests:
            return self.failed(404, "MANIFEST_UNKNOWN")
        if self.command == "DELETE":
            return self._delete(repository, name, digest)
        media_type, content = state.manifests[repository, digest]
        return self.answer(200, {"Content-Type": media_type, "Docker-Content-Digest": digest}, content)

    def _delete(self, repository: str, name: str, digest: str) -> None:
        """A tag alone; a manifest with all its tags."""
        tags = self.registry.state.tags
        if name != digest:
            del tags[repository, name]
        else:
            del self.registry.state.manifests[repository, digest]
            for key in [key for key, named in tags.items() if key[0] == repository and named == digest]:
                del tags[key]
        return self.answer(202, {})

    def _blob(self, digest: str) -> None:
        content = self.registry.state.blobs.get(digest)
        if content is None:
            return self.failed(404, "BLOB_UNKNOWN")
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and int(match.group(1)) < len(content):
            start = int(match.group(1))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.answer(206, headers, content[start:])
        return self.answer(200, headers, content)

    def _upload(self, repository: str, session: str) -> None:
        state = self.registry.state
        if self.command == "POST":
            return self._start_upload(repository)
        if session not in state.uploads:
            return self.failed(404, "BLOB_UPLOAD_UNKNOWN")
        data, limit = state.uploads[session], self.registry.chunk_limit
        where = {"Location": f"/v2/{repository}/blobs/uploads/{session}?_state=a%2Fb", "Range": f"0-{max(len(data) - 1, 0)}"}
        if limit and len(self.body) > limit:
            return self.answer(413, {"Content-Type": "text/html"}, b"<html>413</html>")
        if self.command == "PATCH":
            start = int(self.headers["Content-Range"].partition("-")[0])
            if start != len(data):
                return self.answer(416, where)
            data.extend(self.body)
            return self.answer(202, {**where, "Range": f"0-{max(len(data) - 1, 0)}"})
        if self.command == "GET":
            return self.answer(204, where)
        if self.command == "DELETE":
            del state.uploads[session]
            return self.answer(204, {})
        content = bytes(data) + self.body
        if self.query.get("digest") != ["sha256:" + hashlib.sha256(content).hexdigest()]:
            return self.failed(400, "DIGEST_INVALID")
        del state.uploads[session]
        return self.answer(201, {"Docker-Content-Digest": self.registry.add_blob(content)})

    def _start_upload(self, repository: str) -> None:
        state = self.registry.state
        if "mount" in self.query and self.query["mount"][0] in state.blobs:
            return self.answer(201, {"Docker-Content-Digest": self.query["mount"][0]})
        session = f"session-{next(self.registry.numbers)}"
        state.uploads[session] = bytearray()
        return self.answer(202, {"Location": f"/v2/{repository}/blobs/uploads/{session}?_state=a%2Fb", "Range": "0-0"})

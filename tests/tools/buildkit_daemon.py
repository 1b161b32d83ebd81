# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real BuildKit for the driver ``remote``: that of a Docker engine, on a socket of its own, as it is where BuildKit runs alone."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import socketserver
import threading

_BLOCK = 1 << 16
# The engine's API makes of this connection one with its BuildKit.
_UPGRADE = b"POST /grpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
_SWITCHED = b"HTTP/1.1 101 "


class BuildKit:
    """``address`` is that of the socket, at ``path``; ``docker_host`` that of the engine, on a socket too."""

    def __init__(self, path: pathlib.Path, docker_host: str) -> None:
        self.address = f"unix://{path}"
        self._server = _Server(str(path), _Handler)
        self._server.engine = docker_host.partition("://")[2]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> BuildKit:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    engine = ""


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self.server.engine)
            engine.sendall(_UPGRADE)
            answer = _head(engine)
            if not answer.startswith(_SWITCHED):
                raise ConnectionError(f"the engine has no BuildKit to talk to: {answer!r}")
            back = threading.Thread(target=_carry, args=(engine, self.request), daemon=True)
            back.start()
            _carry(self.request, engine)
            back.join()


def _head(connection: socket.socket) -> bytes:
    """The answer's head, and not a byte of what follows."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            break
        head += byte
    return head


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(_BLOCK):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)

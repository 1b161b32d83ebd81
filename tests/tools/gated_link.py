# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TCP proxy with a gate: so many bytes pass, the rest when they are let through. Work behind it takes as long as a test wants."""

from __future__ import annotations

import contextlib
import socket
import threading
import typing as t

_BLOCK = 16 * 1024


class GatedLink:
    """Passes connections on to ``target`` (HOST:PORT). ``host`` is its own HOST:PORT.

    ``allowed`` bytes pass at first, of both directions and all connections together. ``held`` is set while something waits for more.
    """

    def __init__(self, target: str, allowed: int) -> None:
        name, _colon, port = target.rpartition(":")
        self._target = (name, int(port))
        self._allowed: float = allowed
        self._passed = 0
        self._changed = threading.Condition()
        self.held = threading.Event()
        self._listener = socket.socket()
        # What the systems between take in advance would be told as sent.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BLOCK)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def let_through(self, count: int, at_most: int) -> None:
        """So many bytes more, but no more than ``at_most`` since the beginning."""
        with self._changed:
            self._allowed = max(self._allowed, min(self._allowed + count, at_most))
            self.held.clear()
            self._changed.notify_all()

    def open(self) -> None:
        """Everything passes from now on."""
        with self._changed:
            self._allowed = float("inf")
            self._changed.notify_all()

    def __enter__(self) -> GatedLink:
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.open()
        # Closing alone ends no accept, and one that goes on by its descriptor's number would serve whatever gets that number next.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                server = socket.create_connection(self._target)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for block in iter(lambda: source.recv(_BLOCK), b""):
                for piece in self._pieces(block):
                    sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _pieces(self, block: bytes) -> t.Iterator[bytes]:
        while block:
            with self._changed:
                while self._passed >= self._allowed:
                    self.held.set()
                    self._changed.wait()
                count = int(min(len(block), self._allowed - self._passed))
                self._passed += count
            yield block[:count]
            block = block[count:]

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TCP proxy that counts bytes and breaks: a link that is cut after so many of them."""

from __future__ import annotations

import contextlib
import socket
import threading
import typing as t

from tcp_proxy import TcpProxy

CUT, CUT_ONCE, HOLD = "cut", "cut once", "hold"
_BLOCK = 64 * 1024


class CuttingProxy(TcpProxy):
    """``down`` and ``up`` count bytes to and from clients.

    ``break_after`` arms it: after so many bytes in one direction every connection is closed and no new one served (``CUT``, until
    ``heal``), or all are closed and later ones served (``CUT_ONCE``), or nothing more is passed on (``HOLD``, until ``heal`` closes
    what hangs). ``broken`` is set then.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._lock = threading.Lock()
        self._open: t.Set[socket.socket] = set()
        self.broken = threading.Event()
        self._healed = threading.Event()
        self._limits: t.Dict[str, int] = {}
        self._how = CUT
        self._refusing = False
        self.counts = {"down": 0, "up": 0}
        self.start()

    @property
    def down(self) -> int:
        return self.counts["down"]

    @property
    def up(self) -> int:
        return self.counts["up"]

    def break_after(self, how: str, **limits: int) -> None:
        """``down`` or ``up``: bytes from now on."""
        with self._lock:
            self._how = how
            self._limits = {direction: self.counts[direction] + count for direction, count in limits.items()}
            self.broken.clear()
            self._healed.clear()

    def heal(self) -> None:
        """Serve again; the counts begin anew."""
        with self._lock:
            self._limits, self._refusing = {}, False
            self._healed.set()
            self.counts = {"down": 0, "up": 0}
        self._close_all()

    def close(self) -> None:
        self.heal()
        super().close()

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _pass_on(self, client: socket.socket) -> None:
        if self._refusing:
            client.close()
        else:
            super()._pass_on(client)

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        with self._lock:
            self._open |= {client, server}
        for source, sink, direction in ((client, server, "up"), (server, client, "down")):
            threading.Thread(target=self._pump, args=(source, sink, direction), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        with contextlib.suppress(OSError):
            for block in iter(lambda: source.recv(_BLOCK), b""):
                allowed = self._allowed(direction, len(block))
                sink.sendall(block[:allowed])
                if allowed < len(block):
                    self._break()
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _allowed(self, direction: str, count: int) -> int:
        with self._lock:
            limit = self._limits.get(direction)
            allowed = count if limit is None else max(0, min(count, limit - self.counts[direction]))
            self.counts[direction] += allowed
            return allowed

    def _break(self) -> None:
        with self._lock:
            how = self._how
            self._refusing = how == CUT
            if how == CUT_ONCE:
                self._limits = {}
        self.broken.set()
        if how == HOLD:
            self._healed.wait()
        else:
            self._close_all()

    def _close_all(self) -> None:
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

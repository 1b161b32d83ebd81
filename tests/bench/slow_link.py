# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TCP proxy that is a slow link: so many bytes a second in each direction, shared by all connections, and a delay each way.

Its handshake is the loopback's: the first bytes of a connection to the server wait one round trip more instead.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
import typing as t

from tcp_proxy import TcpProxy

_BLOCK = 16 * 1024
_QUEUED = 1024  # blocks on their way in one direction of a connection


class _Wire:
    """One direction: when what is sent now has left, after all that was sent before it."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free = 0.0

    def send(self, count: int) -> float:
        with self._lock:
            self._free = max(self._free, time.monotonic()) + count / self._rate
            return self._free


class SlowLink(TcpProxy):
    """``delay`` in seconds each way, ``rate`` in bytes a second."""

    def __init__(self, target: str, delay: float = 0.025, rate: float = 100e6 / 8) -> None:
        super().__init__(target)
        self._delay = delay
        self._up, self._down = _Wire(rate), _Wire(rate)
        self.start()

    def __enter__(self) -> SlowLink:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened = time.monotonic() + 2 * self._delay
        self._carry(client, server, self._up, opened)
        self._carry(server, client, self._down, 0.0)

    def _carry(self, source: socket.socket, sink: socket.socket, wire: _Wire, opened: float) -> None:
        under_way: queue.Queue[t.Tuple[float, bytes]] = queue.Queue(_QUEUED)
        threading.Thread(target=self._read, args=(source, under_way, wire, opened), daemon=True).start()
        threading.Thread(target=_deliver, args=(sink, under_way), daemon=True).start()

    def _read(self, source: socket.socket, under_way: queue.Queue[t.Tuple[float, bytes]], wire: _Wire, opened: float) -> None:
        with contextlib.suppress(OSError):
            for block in iter(lambda: source.recv(_BLOCK), b""):
                time.sleep(max(0.0, opened - time.monotonic()))
                left = wire.send(len(block))
                under_way.put((left + self._delay, block))
                time.sleep(max(0.0, left - time.monotonic()))
        under_way.put((time.monotonic() + self._delay, b""))


def _deliver(sink: socket.socket, under_way: queue.Queue[t.Tuple[float, bytes]]) -> None:
    """Each block when it arrives; what cannot be delivered is read on, so that the reader is never stuck."""
    due, block = under_way.get()
    while block:
        time.sleep(max(0.0, due - time.monotonic()))
        with contextlib.suppress(OSError):
            sink.sendall(block)
        due, block = under_way.get()
    time.sleep(max(0.0, due - time.monotonic()))
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

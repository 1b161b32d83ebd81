# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TCP proxy that passes so many bytes a second on, in both directions together: a slow link."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_BLOCK = 16 * 1024


class SlowLink:
    """Passes connections on to ``target`` (HOST:PORT) with ``rate`` bytes a second. ``host`` is its own HOST:PORT."""

    def __init__(self, target: str, rate: int) -> None:
        name, _colon, port = target.rpartition(":")
        self._target = (name, int(port))
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> SlowLink:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                server = socket.create_connection(self._target)
                for source, sink in ((client, server), (server, client)):
                    # What the system takes in advance would be told as sent.
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BLOCK)
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for block in iter(lambda: source.recv(_BLOCK), b""):
                self._wait(len(block))
                sink.sendall(block)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _wait(self, count: int) -> None:
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + count / self._rate
            until = self._free_at
        time.sleep(max(0.0, until - time.monotonic()))

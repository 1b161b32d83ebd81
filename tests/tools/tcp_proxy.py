# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the proxies that play a bad link have in common: each connection goes on to the target."""

from __future__ import annotations

import abc
import contextlib
import socket
import threading


class TcpProxy(abc.ABC):
    """Passes connections on to ``target`` (HOST:PORT). ``host`` is its own."""

    def __init__(self, target: str) -> None:
        name, _colon, port = target.rpartition(":")
        self._target = (name, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        """Accept from now on."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # A thread that waits in accept keeps a closed socket open.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self._join(client, server)

    @abc.abstractmethod
    def _join(self, client: socket.socket, server: socket.socket) -> None:
        """Start the threads that carry bytes both ways."""

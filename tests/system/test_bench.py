# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark stands on."""

from __future__ import annotations

import pathlib
import socket
import sys
import threading
import time
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench"))

from slow_link import SlowLink  # noqa: E402


@pytest.fixture(name="echo")
def _echo() -> t.Iterator[str]:
    """HOST:PORT of a server that sends back what it gets, on one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                for block in iter(lambda: connection.recv(65536), b""):
                    connection.sendall(block)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _connected(host: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=30)


def test_a_slow_link_delays_each_round_trip_and_the_first_one_twice(echo: str) -> None:
    with SlowLink(echo, delay=0.05) as link, _connected(link.host) as client:
        taken = []
        for _turn in range(2):
            start = time.monotonic()
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            taken.append(time.monotonic() - start)
    assert taken[0] >= 0.19 and taken[1] >= 0.1


def test_a_slow_link_passes_on_every_byte_and_no_faster_than_its_rate(echo: str) -> None:
    content = bytes(range(256)) * 4096
    with SlowLink(echo, delay=0.0, rate=2 * len(content)) as link, _connected(link.host) as client:
        start = time.monotonic()
        threading.Thread(target=lambda: (client.sendall(content), client.shutdown(socket.SHUT_WR)), daemon=True).start()
        received = b"".join(iter(lambda: client.recv(65536), b""))
        seconds = time.monotonic() - start
    assert received == content and seconds >= 0.45

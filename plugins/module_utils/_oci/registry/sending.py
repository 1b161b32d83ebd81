# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""How the body of a request goes out: from a file without passing through the program, where the connection allows it."""

from __future__ import annotations

import os
import select
import socket
import ssl
import typing as t

from ..spec.errors import MismatchError, storage_errors
from .pools import SEND_BLOCK

SHORTER = "the content became shorter while it was sent"
_STEP = 1024 * 1024  # bytes of a file that are looked at, and then sent


class Stretch(t.NamedTuple):
    """``length`` bytes at ``offset`` of an open file. ``before`` is called with the length of each step before that is sent, and raises
    to end the sending."""

    descriptor: int
    offset: int
    length: int
    before: t.Callable[[int], None]

    def steps(self) -> t.Iterator[t.Tuple[int, int]]:
        """Offset and length of what may be sent next."""
        end = self.offset + self.length
        for offset in range(self.offset, end, _STEP):
            length = min(_STEP, end - offset)
            self.before(length)
            yield offset, length

    def send_to(self, connection: t.Any) -> None:
        """Over a connection of ``http.client``; what the pools' connections call."""
        send_stretch(connection, self)


class StretchBody:
    """A stretch as urllib3 takes a body: something to iterate over, whose one item the connection's ``send`` knows."""

    def __init__(self, stretch: Stretch) -> None:
        self._stretch = stretch

    def __iter__(self) -> t.Iterator[Stretch]:
        return iter([self._stretch])


def send_stretch(connection: t.Any, stretch: Stretch) -> None:
    """Send it over the connection's socket; block by block where that is more than a socket (TLS), or the system will not."""
    plain = isinstance(connection.sock, socket.socket) and not isinstance(connection.sock, ssl.SSLSocket)
    for offset, length in stretch.steps():
        if plain:
            plain = _sent_by_system(connection.sock, stretch.descriptor, offset, length)
        if not plain:
            _send_read(stretch.descriptor, offset, length, connection.send)


def _sent_by_system(sock: socket.socket, descriptor: int, offset: int, length: int) -> bool:
    """False when the system cannot send from this file: then nothing was sent. Raises OSError."""
    end, start = offset + length, offset
    while offset < end:
        _wait_until_writable(sock)
        try:
            count = os.sendfile(sock.fileno(), descriptor, offset, end - offset)
        except BlockingIOError:
            continue
        except OSError:
            if offset > start:
                raise
            return False
        if not count:
            raise MismatchError(SHORTER)
        offset += count
    return True


def _wait_until_writable(sock: socket.socket) -> None:
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    timeout = sock.gettimeout()
    if not poller.poll(None if timeout is None else timeout * 1000):
        raise socket.timeout("timed out")


def _send_read(descriptor: int, offset: int, length: int, send: t.Callable[[bytes], t.Any]) -> None:
    end = offset + length
    while offset < end:
        with storage_errors("reading what is sent"):
            block = os.pread(descriptor, min(SEND_BLOCK, end - offset), offset)
        if not block:
            raise MismatchError(SHORTER)
        send(block)
        offset += len(block)

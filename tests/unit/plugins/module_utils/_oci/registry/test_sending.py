# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bodies that go out of files: by the system where it can, block by block where it cannot."""

from __future__ import annotations

import errno
import os
import pathlib
import socket
import threading
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.registry import pools, sending
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import CancelledError, MismatchError, StorageError

STEP = 1024 * 1024  # bytes
CONTENT = bytes(range(256)) * 40_000  # several steps, and more than a socket holds


class Connection:
    """What urllib3 has: a socket, and ``send``. What was sent is collected."""

    def __init__(self, encrypts: bool = False, timeout: float = 10) -> None:
        mine, self._other = socket.socketpair()
        mine.settimeout(timeout)
        self._mine = mine
        # One that encrypts is no plain socket: all has to go through ``send``.
        self.sock: t.Any = object() if encrypts else mine
        self.blocks = 0
        self._parts: t.List[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        self._parts.extend(iter(lambda: self._other.recv(1 << 20), b""))

    def start(self) -> Connection:
        self._reader.start()
        return self

    def send(self, block: bytes) -> None:
        self.blocks += 1
        self._mine.sendall(block)

    def received(self) -> bytes:
        self._mine.close()
        self._reader.join(10)
        return b"".join(self._parts)


@pytest.fixture(name="descriptor")
def _descriptor(tmp_path: pathlib.Path) -> t.Iterator[int]:
    (tmp_path / "content").write_bytes(CONTENT)
    descriptor = os.open(tmp_path / "content", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def ignore(_count: int) -> None:
    """Nobody looks at what is sent."""


def stretch(descriptor: int, offset: int = 0, length: int = len(CONTENT), before: t.Callable[[int], None] = ignore) -> sending.Stretch:
    return sending.Stretch(descriptor, offset, length, before)


def test_the_system_sends(descriptor: int) -> None:
    connection = Connection().start()
    sending.send_stretch(connection, stretch(descriptor, 1000, len(CONTENT) - 5000))
    assert connection.received() == CONTENT[1000:-4000] and not connection.blocks


def test_what_encrypts_is_given_blocks(descriptor: int) -> None:
    connection = Connection(encrypts=True).start()
    sending.send_stretch(connection, stretch(descriptor))
    assert connection.received() == CONTENT and connection.blocks == -(-len(CONTENT) // pools.SEND_BLOCK)


def test_a_file_system_that_the_system_cannot_send_from(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: t.Any) -> int:
        raise OSError(errno.EINVAL, "not from here")

    monkeypatch.setattr(os, "sendfile", refuse)
    connection = Connection().start()
    sending.send_stretch(connection, stretch(descriptor))
    assert connection.received() == CONTENT and connection.blocks


def test_a_connection_that_breaks_in_between(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.sendfile, []

    def breaking(out: int, source: int, offset: int, count: int) -> int:
        calls.append(offset)
        if len(calls) == 2:
            raise BlockingIOError
        if len(calls) == 3:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        return real(out, source, offset, 1000)

    monkeypatch.setattr(os, "sendfile", breaking)
    connection = Connection().start()
    with pytest.raises(ConnectionResetError):
        sending.send_stretch(connection, stretch(descriptor))
    assert calls == [0, 1000, 1000] and connection.received() == CONTENT[:1000]


@pytest.mark.parametrize("encrypts", [False, True])
def test_a_file_that_became_shorter(encrypts: bool, descriptor: int) -> None:
    connection = Connection(encrypts).start()
    with pytest.raises(MismatchError, match="shorter while it was sent"):
        sending.send_stretch(connection, stretch(descriptor, 0, len(CONTENT) + 1))
    assert connection.received() == CONTENT


def test_nobody_reads(descriptor: int) -> None:
    connection = Connection(timeout=0.1)
    with pytest.raises(socket.timeout):
        sending.send_stretch(connection, stretch(descriptor))


def test_each_step_is_looked_at_before_it_is_sent(descriptor: int) -> None:
    steps: t.List[int] = []
    connection = Connection().start()
    sending.send_stretch(connection, stretch(descriptor, before=steps.append))
    assert connection.received() == CONTENT and steps == [STEP] * 9 + [len(CONTENT) - 9 * STEP]


def test_a_run_that_is_ended_stops_at_the_next_step(descriptor: int) -> None:
    steps: t.List[int] = []

    def before(count: int) -> None:
        steps.append(count)
        if len(steps) == 2:
            raise CancelledError("stopped")

    connection = Connection().start()
    with pytest.raises(CancelledError):
        sending.send_stretch(connection, stretch(descriptor, before=before))
    assert connection.received() == CONTENT[:STEP] and steps == [STEP, STEP]


def test_a_disk_that_cannot_be_read(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: t.Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(StorageError, match="Input/output error"):
        sending.send_stretch(Connection(encrypts=True).start(), stretch(descriptor))

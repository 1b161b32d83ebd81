# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that the tests start: none of them outlives whoever started it."""

from __future__ import annotations

import contextlib
import ctypes
import pathlib
import random
import signal
import socket
import subprocess
import typing as t

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 10
_ANY_PORTS = 32_768  # the first of them, on Linux; elsewhere they are higher


def start(command: t.Sequence[str], log: pathlib.Path, environment: t.Optional[t.Mapping[str, str]] = None) -> subprocess.Popen[bytes]:
    """Start a server with its output in ``log``; it is killed when its starter dies, however that dies (Linux)."""
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment, preexec_fn=_die_with_parent)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """One below those that the system gives to whoever wants any: nobody has taken it when a server begins to listen, or is restarted."""
    while True:
        port = random.randrange(10_000, _ANY_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

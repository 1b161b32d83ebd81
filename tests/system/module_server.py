# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules as processes of their own that need not start Python and import the library each time: they are forked from one that has.

    module_server.py ADDRESS      serves until its standard input ends

A request is a connection with one message: the module's name, the environment and the folder as JSON, and the three files that are
to be the module's standard streams. The connection ends when the module's process does.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import pathlib
import pkgutil
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import typing as t
import uuid

LIBRARY = "ansible_collections.lading.oci.plugins.module_utils._oci"
MESSAGE = 1 << 20
TIMEOUT = 300  # seconds, of one module


class ModuleServer:
    """Its process is started when it is first asked, and ends with the one that has started it."""

    def __init__(self) -> None:
        self._address = b"\0lading-" + uuid.uuid4().hex.encode()
        self._process: t.Optional[subprocess.Popen[bytes]] = None

    def run(self, name: str, arguments: str) -> t.Tuple[str, str]:
        """Standard output and error of the module, which has ``arguments`` on its standard input and this process's environment."""
        if self._process is None:
            self._process = self._start()
        request = {"module": name, "environment": dict(os.environ), "folder": os.getcwd()}
        with contextlib.ExitStack() as stack:
            given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _stream in range(3))
            given.write(arguments.encode())
            given.seek(0)
            connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            connection.settimeout(TIMEOUT)
            connection.connect(self._address)
            socket.send_fds(connection, [json.dumps(request).encode()], [stream.fileno() for stream in (given, out, err)])
            assert connection.recv(1) == b""
            return tuple(_text(stream) for stream in (out, err))  # type: ignore[return-value]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(pathlib.Path(__file__).resolve()), self._address[1:].decode()]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        return process


def _text(stream: t.IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


def preload() -> None:
    package = importlib.import_module(LIBRARY)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    for name in ("ansible.module_utils.basic", "requests"):
        importlib.import_module(name)


def serve(address: str) -> None:
    """Returns, in the process that is to be the module's, when that has ended, and in the server's when its standard input has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(b"\0" + address.encode())
        listener.listen()
        print("ready", flush=True)
        while True:
            ready = select.select([listener, sys.stdin], [], [])[0]
            if sys.stdin in ready:
                return
            connection, _address = listener.accept()
            message, files, _flags, _from = socket.recv_fds(connection, MESSAGE, 3)
            if os.fork() == 0:
                listener.close()
                # It ends with the process, after what that still has to write.
                connection.detach()
                become(json.loads(message), files)
                return
            connection.close()
            for file in files:
                os.close(file)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    pass


def become(request: t.Mapping[str, t.Any], files: t.Sequence[int]) -> None:
    """The module, until it ends: what it raises is its end."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode, closefd=False) for number, mode in enumerate("rww"))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = [request["module"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def end() -> None:
    """Without Python's taking down of all that is imported, which would take longer than the module."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    # What a module registers runs before what was registered before it.
    atexit.register(end)
    preload()
    serve(sys.argv[1])

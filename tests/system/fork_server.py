# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs as processes of their own that need not start Python and import the same each time: they are forked from one that has.

    fork_server.py KIND ADDRESS      serves until its standard input ends

KIND is ``modules``, any of the collection's, or ``commands``, those of Ansible. A request is a connection with one message: the
program, its arguments, the environment and the folder as JSON, and the three files that are to be its standard streams. The answer is one
byte, its exit code, and the end of the connection, which comes when the process ends.
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
TIMEOUT = 300  # seconds, of one program
Request = t.Mapping[str, t.Any]
STARTED: t.List[subprocess.Popen[bytes]] = []


class ForkServer:
    """Its process is started when it is first asked, with ``environment``, and ends with ``stop_all`` or the one that has started it."""

    def __init__(self, kind: str, **environment: str) -> None:
        self._kind, self._environment = kind, environment
        self._address = b"\0lading-" + uuid.uuid4().hex.encode()
        self._process: t.Optional[subprocess.Popen[bytes]] = None

    def run(self, program: str, arguments: t.Sequence[str] = (), given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """The program with ``given`` on its standard input, in this process's folder and with its environment and ``environment``."""
        if self._process is None:
            self._process = self._start()
        request = {"program": program, "arguments": arguments, "environment": {**os.environ, **environment}, "folder": os.getcwd()}
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(tempfile.TemporaryFile()) for _stream in range(3)]
            streams[0].write(given.encode())
            streams[0].seek(0)
            connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            connection.settimeout(TIMEOUT)
            connection.connect(self._address)
            socket.send_fds(connection, [json.dumps(request).encode()], [stream.fileno() for stream in streams])
            answer = connection.recv(1)
            assert answer, f"{program} ended without a word"
            return subprocess.CompletedProcess([program, *arguments], answer[0], *map(_text, streams[1:]))

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(pathlib.Path(__file__).resolve()), self._kind, self._address[1:].decode()]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **self._environment})
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        STARTED.append(process)
        return process


def stop_all() -> None:
    """They are waited for, so that what they have used counts as used by this process."""
    for process in STARTED:
        process.communicate(timeout=TIMEOUT)


def _text(stream: t.IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


class Kind(t.NamedTuple):
    preload: t.Callable[[], None]
    become: t.Callable[[Request], None]


def preload_modules() -> None:
    package = importlib.import_module(LIBRARY)
    for module in pkgutil.walk_packages(package.__path__, f"{LIBRARY}."):
        importlib.import_module(module.name)
    for name in ("ansible.module_utils.basic", "requests"):
        importlib.import_module(name)


def become_module(request: Request) -> None:
    sys.argv = [request["program"]]
    runpy.run_module(request["program"], run_name="__main__", alter_sys=True)


# The modules of Ansible's commands, which have a function main.
COMMANDS = {"ansible": "adhoc", "ansible-doc": "doc", "ansible-playbook": "playbook", "ansible-vault": "vault"}


def preload_commands() -> None:
    loaded = ("executor.playbook_executor", "executor.module_common", "plugins.strategy.linear", "plugins.action.normal")
    for name in (*(f"cli.{command}" for command in COMMANDS.values()), *loaded):
        importlib.import_module(f"ansible.{name}")


def become_command(request: Request) -> None:
    from ansible.utils.path import cleanup_tmp_file

    # What Ansible keeps in its temporary folder, the modules as it sends them, is for all that are forked from the same process.
    atexit.unregister(cleanup_tmp_file)
    sys.argv = [request["program"], *request["arguments"]]
    importlib.import_module(f"ansible.cli.{COMMANDS[request['program']]}").main(sys.argv)


KINDS = {"modules": Kind(preload_modules, become_module), "commands": Kind(preload_commands, become_command)}


class Ending:
    """How a process ends: at once, as Python's taking down of all that is imported can take longer than what was to be done."""

    def __init__(self) -> None:
        self.code = 1  # unless it comes to an end
        self.connection: t.Optional[socket.socket] = None

    def __call__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        if self.connection is not None:
            self.connection.send(bytes([self.code]))
        os._exit(self.code)


def serve(kind: Kind, address: str, ending: Ending) -> None:
    """Returns, in the process that is to be the program's, when that has ended, and in the server's when its standard input has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(b"\0" + address.encode())
        listener.listen()
        print("ready", flush=True)
        while True:
            ready = select.select([listener, sys.stdin], [], [])[0]
            if sys.stdin in ready:
                ending.code = 0
                return
            connection, _address = listener.accept()
            message, files, _flags, _from = socket.recv_fds(connection, MESSAGE, 3)
            if os.fork() == 0:
                listener.close()
                ending.connection = connection
                run(kind, json.loads(message), files, ending)
                return
            connection.close()
            for file in files:
                os.close(file)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    pass


def run(kind: Kind, request: Request, files: t.Sequence[int], ending: Ending) -> None:
    """The program, until it ends: what else it raises is its end, with a traceback."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode, closefd=False) for number, mode in enumerate("rww"))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    try:
        kind.become(request)
        ending.code = 0
    except SystemExit as ended:
        ending.code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)


if __name__ == "__main__":
    chosen, how = KINDS[sys.argv[1]], Ending()
    # What a program registers runs before what was registered before it.
    atexit.register(how)
    chosen.preload()
    serve(chosen, sys.argv[2], how)

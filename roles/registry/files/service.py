# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps one process running where no service manager does: started detached, with a pid file, and started anew when it is to be another.

A process is known by its pid and the moment of its birth, so that a pid that now belongs to something else is not taken for it.
Linux only. The answer is a line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import grp
import json
import os
import pathlib
import pwd
import signal
import socket
import subprocess
import sys
import time
import typing as t

BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")
STOP_SECONDS = 15
SETTLE_SECONDS = 0.5
TAIL_BYTES = 3000
TAIL_LINES = 20


class ServiceError(Exception):
    pass


def birth(pid: int) -> str:
    """What no other process has: the boot, and the clock ticks from there. OSError when there is none, or one that has ended."""
    # The name in parentheses may have anything in it.
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    # Of a process that ends, the first thread may have ended before others: what these have open is open until the last of them has.
    if fields[0] in "ZX" and int(fields[17]) <= 1:
        raise ProcessLookupError(f"process {pid} has ended")
    return f"{BOOT.read_text().strip()} {fields[19]}"


def try_port(address: str, port: int) -> None:
    """Raises ServiceError when nobody can listen there. What else may be wrong with it, the program itself says best."""
    try:
        for family, kind, protocol, _name, place in socket.getaddrinfo(
            address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                # As servers do: connections of one that has just ended are no hindrance.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServiceError(f"port {port}, address {address or 'any'}: address already in use (ss -ltnp tells by what)") from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise ServiceError(f"the address {address} is none of this host") from error


def reason(lines: t.Sequence[str]) -> str:
    """The line that says why a program has ended."""
    for words in (("fatal", "panic:"), ("error",)):
        found = [line for line in lines if any(word in line.lower() for word in words)]
        if found:
            return found[-1]
    return lines[-1] if lines else "it said nothing"


class Service:
    """``pid_file`` is for people and their tools; what it is compared with stands beside it, in ``pid_file``.state."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pid_file = pathlib.Path(options.pid_file)
        self.state_file = pathlib.Path(f"{options.pid_file}.state")

    def running(self) -> t.Dict[str, t.Any]:
        """The process as it was started; one with the pid 0 when it does not run."""
        nothing = {"pid": 0, "fingerprint": "", "port": 0, "log_from": 0}
        try:
            state = {**nothing, **json.loads(self.state_file.read_text())}
            return state if state["birth"] == birth(state["pid"]) else nothing
        except (OSError, ValueError, KeyError, TypeError):
            return nothing

    def _keep(self, pid: int, log_from: int) -> None:
        started = {"fingerprint": self.options.fingerprint, "port": self.options.port, "log_from": log_from}
        self.state_file.write_text(json.dumps({"pid": pid, "birth": birth(pid), **started}))
        self.pid_file.write_text(f"{pid}\n")

    def _forget(self) -> None:
        for file in (self.pid_file, self.state_file):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()

    def start(self) -> None:
        log = pathlib.Path(self.options.log)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(log, flags, 0o640), "ab") as output:
            begun = output.tell()
            process = subprocess.Popen(
                self.options.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=self._environment(),
                start_new_session=True,
                preexec_fn=self._identity(),
            )
        # One that has ended already is looked at below.
        with contextlib.suppress(ProcessLookupError):
            self._keep(process.pid, begun)
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(SETTLE_SECONDS)
            self._forget()
            with log.open("rb") as written:
                written.seek(max(begun, log.stat().st_size - TAIL_BYTES))
                said = [line.rstrip() for line in written.read().decode(errors="replace").splitlines() if line.strip()]
            why = reason(said)
            others = [line for line in said if line != why][-TAIL_LINES:]
            raise ServiceError("\n".join([f"{why} ({self.options.command[0]} ended at once with exit code {code})", *others]))

    def _environment(self) -> t.Dict[str, str]:
        """Nothing of whoever runs the role but the way to programs."""
        values = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/"}
        if self.options.environment_file:
            lines = pathlib.Path(self.options.environment_file).read_text().splitlines()
            values.update(line.split("=", 1) for line in lines if line)
        return values

    def _identity(self) -> t.Optional[t.Callable[[], None]]:
        """What makes the new process the service's user. Only root can and need do that."""
        if os.geteuid() != 0:
            return None
        user, group = pwd.getpwnam(self.options.user), grp.getgrnam(self.options.group)

        def become() -> None:
            os.umask(0o027)
            os.setgroups([])
            os.setgid(group.gr_gid)
            os.setuid(user.pw_uid)

        return become

    def stop(self, pid: int) -> None:
        for what, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if self.running()["pid"] != pid:
                    self._forget()
                    return
                time.sleep(0.05)
        raise ServiceError(f"process {pid} does not end")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("state", choices=["started", "stopped"])
    parser.add_argument("--pid-file", required=True)
    parser.add_argument("--log", default="/dev/null")
    parser.add_argument("--user", default="root")
    parser.add_argument("--group", default="root")
    parser.add_argument("--environment-file", default="")
    parser.add_argument("--fingerprint", default="")
    parser.add_argument("--address", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--restart", action="store_true", help="something has changed that the fingerprint does not tell")
    parser.add_argument("--check", action="store_true", help="say what would be done")
    parser.add_argument("--command", nargs=argparse.REMAINDER, default=[], help="the process; the last option")
    options = parser.parse_args()
    service = Service(options)
    old = service.running()
    stale = options.restart or old["fingerprint"] != options.fingerprint
    stopping = bool(old["pid"]) and (options.state == "stopped" or stale)
    starting = options.state == "started" and (not old["pid"] or stale)
    try:
        # The port of one that runs is its own, and free when it was stopped.
        if starting and options.port and options.port != old["port"] and not options.check:
            try_port(options.address, options.port)
        if stopping and not options.check:
            service.stop(old["pid"])
        if starting and not options.check:
            service.start()
    except (ServiceError, OSError, KeyError) as error:
        # On a terminal, as ssh may give it one, both outputs are one.
        print(error.args[0] if isinstance(error, KeyError) else error)
        return 1
    new = service.running()
    print(json.dumps({"changed": stopping or starting, "restarted": stopping and starting, "pid": new["pid"], "log_from": new["log_from"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps one process running where no service manager does: started detached, with a pid file, and started anew when it is to be another.

A process is known by its pid and the moment of its birth, so that a pid that now belongs to something else is not taken for it.
Linux only. The answer is a line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import grp
import json
import os
import pathlib
import pwd
import signal
import subprocess
import sys
import time
import typing as t

BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")
STOP_SECONDS = 15
SETTLE_SECONDS = 0.5
TAIL_BYTES = 3000


class ServiceError(Exception):
    pass


def birth(pid: int) -> str:
    """What no other process has: the boot, and the clock ticks from there. OSError when there is none, or one that has ended."""
    # The name in parentheses may have anything in it.
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(f"process {pid} has ended")
    return f"{BOOT.read_text().strip()} {fields[19]}"


class Service:
    """``pid_file`` is for people and their tools; what it is compared with stands beside it, in ``pid_file``.state."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pid_file = pathlib.Path(options.pid_file)
        self.state_file = pathlib.Path(f"{options.pid_file}.state")

    def running(self) -> t.Tuple[int, str]:
        """The pid, and what it was started with; 0 when it does not run."""
        try:
            state = json.loads(self.state_file.read_text())
            if state["birth"] == birth(state["pid"]):
                return state["pid"], state["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, ""

    def _keep(self, pid: int) -> None:
        self.state_file.write_text(json.dumps({"pid": pid, "birth": birth(pid), "fingerprint": self.options.fingerprint}))
        self.pid_file.write_text(f"{pid}\n")

    def _forget(self) -> None:
        for file in (self.pid_file, self.state_file):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()

    def start(self) -> int:
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
        self._keep(process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(SETTLE_SECONDS)
            self._forget()
            with log.open("rb") as written:
                written.seek(max(begun, log.stat().st_size - TAIL_BYTES))
                said = written.read().decode(errors="replace").strip()
            raise ServiceError(f"{self.options.command[0]} ended at once with exit code {code}: {said or 'it said nothing'}")
        return process.pid

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
                if self.running()[0] != pid:
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
    parser.add_argument("--restart", action="store_true", help="something has changed that the fingerprint does not tell")
    parser.add_argument("--check", action="store_true", help="say what would be done")
    parser.add_argument("--command", nargs=argparse.REMAINDER, default=[], help="the process; the last option")
    options = parser.parse_args()
    service = Service(options)
    pid, fingerprint = service.running()
    stale = options.restart or fingerprint != options.fingerprint
    stopping = bool(pid) and (options.state == "stopped" or stale)
    starting = options.state == "started" and (not pid or stale)
    try:
        if stopping and not options.check:
            service.stop(pid)
        if starting and not options.check:
            pid = service.start()
    except (ServiceError, OSError, KeyError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(
        json.dumps({"changed": stopping or starting, "restarted": stopping and starting, "pid": 0 if options.state == "stopped" else pid})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""One process run to its end: how it ended, its time, the processor's, and the peak of its memory."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import typing as t

_LOOK = 0.01  # seconds between two looks at a process
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Run:
    """How a process ended. ``output``: both its streams; ``peak_mib``: of its resident memory; ``cpu``: seconds of a processor."""

    succeeded: bool
    output: str
    seconds: float
    peak_mib: float
    timed_out: bool = False
    cpu: float = 0.0

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.output or "panic: " in self.output or "goroutine " in self.output


def run(command: t.Sequence[str], limit: float, environment: t.Mapping[str, str], stdin: str = "", cwd: t.Optional[str] = None) -> Run:
    """Run to its end, or for ``limit`` seconds; then it is killed with all that it started."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        process = subprocess.Popen(
            command, stdin=given, stdout=output, stderr=subprocess.STDOUT, env=dict(environment), cwd=cwd, start_new_session=True
        )
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, expire)
        timer.start()
        try:
            with _Peak(process.pid) as peak:
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                seconds = time.monotonic() - start
            _pid, status, usage = os.wait4(process.pid, 0)
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read(8 * 1024 * 1024).decode("utf-8", "surrogateescape")
    cpu = usage.ru_utime + usage.ru_stime
    return Run(process.returncode == 0, text, seconds, peak.mib, expired.is_set(), cpu)


class _Peak:
    """The peak of a process's resident memory in MiB, looked at from a thread until the block ends: the process is not waited for then.

    What the system counts for a process begins with the memory of the one that started it, and that is a test's.
    """

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self._status = pathlib.Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            found = _PEAK.search(self._status.read_text())
            self.mib = max(self.mib, int(found.group(1)) / 1024 if found else 0.0)
            if self._ended.wait(_LOOK):
                return

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""SIGINT, SIGTERM and SIGHUP end a run as an error does: temp files go, sessions are cancelled, programs that it started are stopped.

The handler only raises in the main thread. What other threads wait for is cut short by one that watches: first they are told, then the
connections are closed, and a run that has not ended then is ended as it is, without its temp files.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import threading
import time
import typing as t

from .content.beneath import remove_temps
from .spec import ending
from .spec.ending import Ended

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds from the signal on. Until the first, threads end by themselves and may still tell a registry to forget an upload.
_CLOSE_CONNECTIONS = (1.5, 2.5)
_LAST = 4.0
_CHILD_GRACE = 2.0  # for docker to cancel a build


class Watch:
    """While it is entered, the signals raise Ended in the main thread, once. ``last_words``: prints the answer of a run that
    could not end in time."""

    def __init__(self, last_words: t.Callable[[str], None]) -> None:
        self._last_words = last_words
        self._before: t.Dict[int, t.Any] = {}
        self._seen: t.List[int] = []
        self._answered = False
        self._pipe: t.Tuple[int, int] = (-1, -1)
        self._guardian: t.Optional[threading.Thread] = None

    def __enter__(self) -> Watch:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._pipe = os.pipe()
        self._guardian = threading.Thread(target=self._guard, args=(self._pipe[0],), name="lading-signals", daemon=True)
        self._guardian.start()
        for number in SIGNALS:
            # Who ignores one (nohup, a shell's background job) has said that it is not to end this.
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, _kind: object, error: t.Optional[BaseException], _trace: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._guardian is not None:
            os.close(self._pipe[1])
            if not self._seen:
                self._guardian.join()

    @property
    def message(self) -> str:
        """What ended the run; "" while nothing has."""
        if not self._seen:
            return ""
        return f"interrupted by {signal.Signals(self._seen[0]).name}: what was begun is undone, or is taken up by the next run"

    def answered(self) -> None:
        """The module has its answer out: the last resort needs none."""
        self._answered = True

    def _handle(self, number: int, _frame: object) -> None:
        # Only what cannot block: the main thread may hold any lock.
        self._seen.append(number)
        if len(self._seen) == 1:
            os.write(self._pipe[1], b"!")
            raise Ended(self.message)

    def _guard(self, pipe: int) -> None:
        """The watching thread."""
        signalled = os.read(pipe, 1)
        os.close(pipe)
        if not signalled:
            return
        ending.begin()
        start = time.monotonic()
        for moment in _CLOSE_CONNECTIONS:
            time.sleep(max(0.0, start + moment - time.monotonic()))
            close_connections()
        time.sleep(max(0.0, start + _LAST - time.monotonic()))
        remove_temps()
        if not self._answered:
            self._last_words(self.message)
        os._exit(1)


def close_connections() -> None:
    """Shut down every internet socket of this process: a thread that waits for one gets its end."""
    for name in os.listdir("/dev/fd"):
        # Of descriptors that others close meanwhile, and of what is no socket, nothing is wanted.
        with contextlib.suppress(OSError, ValueError):
            descriptor = int(name)
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as one:
                    if one.family in (socket.AF_INET, socket.AF_INET6):
                        one.shutdown(socket.SHUT_RDWR)


def stopping(run_command: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
    """``AnsibleModule.run_command``, whose program does not outlive a run that is ended: it is asked to stop, then killed."""

    def run(*args: t.Any, **options: t.Any) -> t.Any:
        started: t.List[subprocess.Popen[bytes]] = []
        try:
            return run_command(*args, before_communicate_callback=started.append, **options)
        except Ended:
            for process in started:
                _stop(process)
            raise

    return run


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_CHILD_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

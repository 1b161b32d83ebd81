# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task that moves gigabytes says in the terminal how far it is.

The module writes two numbers into a small file on its host (``module_utils/_oci/telling.py``) whose name it gets in its environment. A
thread here reads that file over a connection of its own, as the user that the module runs as, and has the controlling process write the
line. Nothing of that happens unless the controlling process is in a terminal, nor in the first two seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import copy
import multiprocessing
import os
import secrets
import signal
import sys
import threading
import time
import typing as t
from multiprocessing.util import Finalize

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.utils.display import Display
from ansible_collections.lading.oci.plugins.plugin_utils._progress_line import ERASE, Rate, Screen, line, parse

# Read by the module: module_utils/_oci/module.py.
VARIABLE = "LADING_OCI_PROGRESS"
# Set by people: inventory, play, task or --extra-vars.
OPTION = "lading_oci_progress"
_FIRST = 2.0  # seconds in which nothing is shown
_EACH = 1.0  # seconds between two looks
_SHARE = 5  # a look takes at most one part of so many of the time
_ENDS = (signal.SIGINT, signal.SIGTERM)
_ENDING = 2.0  # seconds that a worker which is told to end waits for a line that is on its way
_TOO_VERBOSE = 3  # from -vvv on each look would be a line of output of its own

display = Display()


def _in_terminal() -> bool:
    """Asked when this file is imported: Ansible does that before it forks, and its workers have no terminal."""
    return os.environ.get("TERM", "dumb") != "dumb" and all(stream.isatty() for stream in (sys.stdout, sys.stderr))


class _Terminal:
    """The terminal as this process and the workers that are forked from it share it; ``telling``: how many tasks show a line now."""

    def __init__(self) -> None:
        self._screen = Screen(sys.stdout, sys.stderr)
        self.telling = multiprocessing.get_context("fork").Value("i", 0)
        atexit.register(self._clear, os.getpid(), sys.stderr)

    def _clear(self, process: int, stream: t.TextIO) -> None:
        if os.getpid() == process:
            self._screen.clear(stream)


_TERMINAL = _Terminal() if _in_terminal() else None


class ProgressAction(NormalAction):
    """The module as Ansible runs it without an action plugin, while a thread looks how far it is."""

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        if _TERMINAL is None or not self._wants_progress(task_vars or {}):
            return super().run(tmp, task_vars)
        Watcher.stop_last()
        watcher = Watcher(self, _TERMINAL, (task_vars or {}).get("inventory_hostname", ""))
        goes_on = False
        with _with_environment(self._task, {VARIABLE: watcher.path}):
            watcher.start()
            try:
                result = super().run(tmp, task_vars)
                # Ansible itself waits for the module now, in this process.
                goes_on = bool(self._task.async_val and not result.get("failed"))
                return result
            finally:
                if not goes_on:
                    Watcher.stop_last()

    def _wants_progress(self, task_vars: t.Mapping[str, t.Any]) -> bool:
        if self._task.check_mode or display.verbosity >= _TOO_VERBOSE or (self._task.async_val and not self._task.poll):
            return False
        return boolean(self._templar.template(task_vars.get(OPTION, True)), strict=False)


@contextlib.contextmanager
def _with_environment(task: t.Any, more: t.Dict[str, str]) -> t.Iterator[None]:
    """As Ansible itself tells a module where its async folder is."""
    before = task.environment
    task.environment = [*(before if isinstance(before, list) else [before] if before else []), more]
    try:
        yield
    finally:
        task.environment = before


class Watcher:
    """Looks at the numbers of one running module, and shows them: until it is stopped, by the process's next task or by its end."""

    _last: t.ClassVar[t.Optional[Watcher]] = None
    _ends_with_process: t.ClassVar[bool] = False

    def __init__(self, action: t.Any, terminal: _Terminal, host: str) -> None:
        folders = action.get_shell_option("system_tmpdirs", default=None) or ["/tmp"]
        self.path = f"{folders[-1].rstrip('/')}/.lading-progress-{secrets.token_hex(16)}"
        self._host, self._name = host, action._task.action.rpartition(".")[2]
        self._terminal = terminal
        self._action = _apart(action)
        self._rate = Rate()
        self._shown = False
        self._over = threading.Event()
        # Again by its own thread: a signal may come while the process takes the line away.
        self._drawing = threading.RLock()

    @classmethod
    def stop_last(cls) -> None:
        if cls._last is not None:
            cls._last.stop()
            cls._last = None

    @classmethod
    def silence_last(cls) -> None:
        """Nothing more is written, not even to take the line away: the process is about to be killed, and its parent clears the line."""
        if cls._last is not None:
            cls._last._over.set()
            cls._last._drawing.acquire(timeout=_ENDING)

    def start(self) -> None:
        Watcher._last = self
        if not Watcher._ends_with_process:
            Watcher._ends_with_process = True
            Finalize(None, Watcher.stop_last, exitpriority=10)
            for number in _ENDS:
                _before_handler(number, Watcher.silence_last)
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._watch,), name="lading-progress", daemon=True).start()

    def stop(self) -> None:
        """Nothing is shown any more. A look that is under way is not waited for."""
        self._over.set()
        with self._drawing:
            self._hide()

    def _watch(self) -> None:
        # A signal that this thread takes is handled by Python's main thread, which goes on waiting for the module and does not know.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        wait = _FIRST
        while not self._pause(wait):
            begun = time.monotonic()
            # Whatever is wrong with a look, the module will have met it too, and says it better.
            try:
                counts = self._look()
            except Exception:
                counts = None
            now = time.monotonic()
            self._show(now, counts)
            # With many hosts each has its turn; the line of one can be read before the next takes its place.
            wait = max(_EACH * max(self._terminal.telling.value, 1), _SHARE * (now - begun))

    def _pause(self, seconds: float) -> bool:
        """True when it is over."""
        return self._over.wait(seconds)

    def _look(self) -> t.Optional[t.Tuple[int, int]]:
        # Others may have put something else there: no more is read than the numbers take, and of nothing but a file.
        done = self._action._low_level_execute_command(f"test -f {self.path} && head -c 42 {self.path}")
        return parse(done["stdout"].strip().rpartition("\n")[2]) if done["rc"] == 0 else None

    def _show(self, now: float, counts: t.Optional[t.Tuple[int, int]]) -> None:
        with self._drawing:
            if self._over.is_set():
                return
            if counts is None:
                self._hide()
                return
            self._rate.seen(now, counts[0])
            if not self._shown:
                self._shown = True
                self._count(1)
            others = self._terminal.telling.value - 1
            _draw(line(self._host, others, self._name, *counts, self._rate.per_second()))

    def _hide(self) -> None:
        if self._shown:
            self._shown = False
            self._count(-1)
            _draw("")

    def _count(self, change: int) -> None:
        with self._terminal.telling.get_lock():
            self._terminal.telling.value += change


def _before_handler(number: int, work: t.Callable[[], None]) -> None:
    """Ansible's workers kill themselves when they are told to end. One that is killed while a thread of it writes into the queue to the
    controlling process takes the queue's lock along, and then Ansible waits for that lock, and never ends."""
    handler = signal.getsignal(number)
    if not callable(handler):
        return

    def first(signum: int, frame: t.Any) -> None:
        work()
        handler(signum, frame)

    signal.signal(number, first)


def _apart(action: t.Any) -> t.Any:
    """The action with a connection of its own: connection and become plugins keep the state of the command that they run."""
    apart = copy.copy(action)
    apart._connection = copy.copy(action._connection)
    if apart._connection.become is not None:
        apart._connection.become = copy.copy(apart._connection.become)
    return apart


def _draw(text: str) -> None:
    # Through Ansible's own queue of what is displayed; never into its log.
    display.display(ERASE + text, stderr=True, screen_only=True, newline=False)

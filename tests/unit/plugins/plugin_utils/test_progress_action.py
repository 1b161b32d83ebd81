# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action plugins' thread; what a terminal shows of it is in tests/system/test_progress.py."""

from __future__ import annotations

import pathlib
import re
import signal
import subprocess
import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import module, telling
from ansible_collections.lading.oci.plugins.plugin_utils import _progress
from ansible_collections.lading.oci.plugins.plugin_utils._progress_line import ERASE

FIRST, EACH = _progress._FIRST, _progress._EACH
COUNTS = f"{5:020d} {10:020d}\n"


class Task:
    """As much of a task as is looked at."""

    action = "lading.oci.oci_copy"
    check_mode = False
    async_val = 0
    poll = 15
    environment: t.Any = None


class Action(_progress.ProgressAction):
    """One whose module is ``work``, and which runs commands here."""

    def __init__(self, work: t.Callable[[Action], t.Any]) -> None:
        self._task = Task()  # type: ignore[assignment]
        self._connection = type("Connection", (), {"become": None})()  # type: ignore[assignment]
        self._templar = type("Templar", (), {"template": staticmethod(lambda value: value)})()  # type: ignore[assignment]
        self.work = work
        self.looks = 0

    def get_shell_option(self, option: str, default: t.Any = None) -> t.Any:
        return ["/var/tmp", str(self.folder)] if option == "system_tmpdirs" else default

    folder: pathlib.Path

    def _low_level_execute_command(self, cmd: str, **_more: t.Any) -> t.Any:  # type: ignore[override]
        looked.append(self)
        done = subprocess.run(["sh", "-c", cmd], capture_output=True, text=True, check=False, timeout=10)
        return {"rc": done.returncode, "stdout": done.stdout}


looked: t.List[Action] = []


class Terminal:
    """What the controlling process would be told to write."""

    def __init__(self) -> None:
        import multiprocessing

        self.telling = multiprocessing.get_context("fork").Value("i", 0)
        self.written: t.List[str] = []


@pytest.fixture(name="terminal")
def _terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Terminal:
    terminal = Terminal()
    looked.clear()
    Action.folder = tmp_path
    monkeypatch.setattr(_progress, "_TERMINAL", terminal)
    monkeypatch.setattr(_progress, "_FIRST", 0.05)
    monkeypatch.setattr(_progress, "_EACH", 0.02)
    monkeypatch.setattr(_progress, "_draw", terminal.written.append)
    monkeypatch.setattr(_progress.NormalAction, "run", lambda self, _tmp, _vars: self.work(self))
    return terminal


def run(action: Action, **variables: t.Any) -> t.Any:
    return action.run(None, {"inventory_hostname": "web1", **variables})


def path_of(action: Action) -> pathlib.Path:
    return pathlib.Path(action._task.environment[-1][module.PROGRESS_FILE])


def until(happened: t.Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_module_and_plugin_mean_the_same_file(terminal: Terminal) -> None:
    assert _progress.VARIABLE == module.PROGRESS_FILE
    run(Action(lambda action: assert_named(path_of(action))))


def assert_named(path: pathlib.Path) -> None:
    assert telling._PATH.fullmatch(str(path)), path


def test_a_line_is_shown_and_goes(terminal: Terminal) -> None:
    def work(action: Action) -> str:
        path_of(action).write_text(COUNTS)
        until(lambda: len(terminal.written) >= 2)
        assert terminal.telling.value == 1
        return "result"

    assert run(Action(work)) == "result"
    assert terminal.written[0] == "[web1] oci_copy: 50 %, 5 B of 10 B"
    assert terminal.written[-1] == "" and terminal.telling.value == 0
    count = len(terminal.written)
    time.sleep(0.1)
    assert len(terminal.written) == count


@pytest.fixture(name="pauses")
def _pauses(monkeypatch: pytest.MonkeyPatch) -> t.List[float]:
    """Asked for by the thread, none of which ends before the work does."""
    asked: t.List[float] = []

    def pause(watcher: _progress.Watcher, seconds: float) -> bool:
        asked.append(seconds)
        return watcher._over.wait(600)

    monkeypatch.setattr(_progress.Watcher, "_pause", pause)
    return asked


class Clock:
    """Time that passes only while somebody pauses or looks."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.looks: t.List[float] = []

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("takes", "others", "expected"),
    [(0.0, 0, [2.0, 3.0, 4.0, 5.0]), (1.0, 0, [2.0, 8.0, 14.0, 20.0]), (0.0, 2, [2.0, 5.0, 8.0, 11.0])],
)
def test_when_it_looks(takes: float, others: int, expected: t.List[float], monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    """Not before two seconds, then each second; less often where a look takes long or other hosts want their turn."""
    clock = Clock()
    monkeypatch.setattr(_progress, "_FIRST", FIRST)
    monkeypatch.setattr(_progress, "_EACH", EACH)
    monkeypatch.setattr(_progress, "time", clock)
    terminal.telling.value = others

    def pause(watcher: _progress.Watcher, seconds: float) -> bool:
        clock.now += seconds
        return len(clock.looks) == 4 or watcher._over.is_set()

    def look(_watcher: _progress.Watcher) -> t.Tuple[int, int]:
        clock.looks.append(clock.now - 1000.0)
        clock.now += takes
        return (5, 10)

    monkeypatch.setattr(_progress.Watcher, "_pause", pause)
    monkeypatch.setattr(_progress.Watcher, "_look", look)
    run(Action(lambda action: until(lambda: len(clock.looks) == 4)))
    assert clock.looks == expected
    assert terminal.written and terminal.written[-1] == "" and terminal.telling.value == others


def test_short_work_is_not_looked_at(terminal: Terminal, pauses: t.List[float]) -> None:
    run(Action(lambda action: until(lambda: bool(pauses))))
    until(lambda: not any(thread.name == "lading-progress" for thread in threading.enumerate()))
    assert len(pauses) == 1 and not looked and not terminal.written


def test_the_line_goes_with_what_it_is_about(terminal: Terminal) -> None:
    """The module has ended, and Ansible does not know it yet."""

    def work(action: Action) -> None:
        path_of(action).write_text(COUNTS)
        until(lambda: len(terminal.written) >= 1)
        path_of(action).unlink()
        until(lambda: terminal.written[-1] == "")

    run(Action(work))
    assert terminal.telling.value == 0


def test_an_error_of_the_task_is_the_task_s(terminal: Terminal) -> None:
    def work(action: Action) -> None:
        path_of(action).write_text(COUNTS)
        until(lambda: bool(terminal.written))
        raise KeyError("of the module")

    with pytest.raises(KeyError):
        run(Action(work))
    assert terminal.written[-1] == "" and terminal.telling.value == 0


def test_a_connection_that_fails_while_it_is_looked_is_no_error(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: t.List[str] = []

    def fail(_self: Action, cmd: str, **_more: t.Any) -> t.Any:
        tries.append(cmd)
        raise OSError("unreachable")

    monkeypatch.setattr(Action, "_low_level_execute_command", fail)
    assert run(Action(lambda action: until(lambda: len(tries) >= 3) or "result")) == "result"
    assert not terminal.written


@pytest.mark.parametrize("kind", ["pipe", "device", "words", "folder"])
def test_what_others_put_there_is_not_shown(terminal: Terminal, kind: str) -> None:
    import os

    def work(action: Action) -> None:
        path = path_of(action)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_text("\x1b[2J" * 1000)
        until(lambda: len(looked) >= 3)

    run(Action(work))
    assert not terminal.written


@pytest.mark.parametrize("value", [False, "no", "false", 0])
def test_switched_off(terminal: Terminal, value: t.Any) -> None:
    expect_unwatched(Action(lambda action: action._task.environment), lading_oci_progress=value)


def test_off_in_check_mode(terminal: Terminal) -> None:
    action = Action(lambda action: action._task.environment)
    action._task.check_mode = True
    expect_unwatched(action)


def test_off_for_what_nobody_waits_for(terminal: Terminal) -> None:
    action = Action(lambda action: action._task.environment)
    action._task.async_val, action._task.poll = 60, 0
    expect_unwatched(action)


def test_off_where_each_look_would_be_a_line(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress.display, "verbosity", 3)
    expect_unwatched(Action(lambda action: action._task.environment))


def test_off_without_a_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "_TERMINAL", None)
    expect_unwatched(Action(lambda action: action._task.environment))


def expect_unwatched(action: Action, **variables: t.Any) -> None:
    """The module is not told to tell, and no thread is there."""
    before = threading.active_count()
    assert run(action, **variables) is None
    assert threading.active_count() == before


@pytest.mark.parametrize("given", [None, [], {"HTTP_PROXY": "x"}, [{"HTTP_PROXY": "x"}]])
def test_the_task_s_environment_stays(terminal: Terminal, given: t.Any) -> None:
    action = Action(lambda action: list(action._task.environment))
    action._task.environment = given
    seen = run(action)
    assert seen[:-1] == ([{"HTTP_PROXY": "x"}] if given else []) and set(seen[-1]) == {module.PROGRESS_FILE}
    assert action._task.environment == given


def test_async_goes_on_until_the_next_task(terminal: Terminal) -> None:
    paths: t.List[pathlib.Path] = []

    def work(action: Action) -> t.Dict[str, t.Any]:
        paths.append(path_of(action))
        paths[-1].write_text(COUNTS)
        return {"ansible_job_id": "j1"}

    action = Action(work)
    action._task.async_val = 60
    run(action)
    until(lambda: len(terminal.written) >= 3)
    run(Action(lambda action: None))
    assert terminal.written[-1] == "" and terminal.telling.value == 0
    paths[0].unlink()


def test_async_that_did_not_start_is_over(terminal: Terminal, pauses: t.List[float]) -> None:
    action = Action(lambda action: {"failed": True})
    action._task.async_val = 60
    run(action)
    until(lambda: not any(thread.name == "lading-progress" for thread in threading.enumerate()))
    assert not looked


def test_each_task_has_another_name(terminal: Terminal) -> None:
    names = {run(Action(lambda action: path_of(action).name)) for _number in range(5)}
    assert len(names) == 5 and all(re.fullmatch(r"\.lading-progress-[0-9a-f]{32}", name) for name in names)


def test_become_and_connection_are_of_the_thread_s_own(terminal: Terminal) -> None:
    action = Action(lambda action: None)
    action._connection.become = type("Become", (), {})()
    apart = _progress._apart(action)
    assert apart._connection is not action._connection and apart._connection.become is not action._connection.become


def test_it_is_drawn_by_ansible_and_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: t.List[t.Any] = []
    monkeypatch.setattr(_progress.display, "display", lambda *words, **options: calls.append((words, options)))
    _progress._draw("text")
    assert calls == [((ERASE + "text",), {"stderr": True, "screen_only": True, "newline": False})]


def test_a_worker_that_is_told_to_end_lets_a_line_come_to_its_end_and_writes_none_after_it(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: t.List[str] = []
    watcher = _progress.Watcher(Action(lambda action: {}), t.cast(t.Any, terminal), "host")
    monkeypatch.setattr(_progress.Watcher, "_last", watcher)
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: order.append("killed"))
    writing, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with watcher._drawing:
            writing.set()
            may_end.wait(10)
            order.append("written")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert writing.wait(10)
        _progress._before_handler(signal.SIGUSR1, _progress.Watcher.silence_last)
        threading.Timer(0.2, may_end.set).start()
        signal.raise_signal(signal.SIGUSR1)
        assert order == ["written", "killed"] and watcher._over.is_set()
        later = threading.Thread(target=lambda: order.append(str(watcher._drawing.acquire(blocking=False))))
        later.start()
        later.join(10)
        assert order[-1] == "False"
    finally:
        signal.signal(signal.SIGUSR1, before)
        thread.join(10)


def test_signals_are_left_to_the_main_thread(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked: t.List[t.Any] = []

    def look(_self: t.Any) -> None:
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    monkeypatch.setattr(_progress.Watcher, "_look", look)

    def work(_action: t.Any) -> t.Dict[str, t.Any]:
        deadline = time.monotonic() + 10
        while not blocked and time.monotonic() < deadline:
            time.sleep(0.01)
        return {}

    Action(work).run(None, {"inventory_hostname": "host"})
    assert blocked and {signal.SIGINT, signal.SIGTERM} <= blocked[0]
    assert not {signal.SIGINT, signal.SIGTERM} & signal.pthread_sigmask(signal.SIG_BLOCK, [])

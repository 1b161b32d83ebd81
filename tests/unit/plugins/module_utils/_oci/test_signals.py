# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that is ended from outside; whole modules under real signals are in tests/torture."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import signals
from ansible_collections.lading.oci.plugins.module_utils._oci.content import beneath, writing
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import bytes_opener
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.retry import Patience
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import ending
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import CancelledError


def run_apart(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, which finds the collection where this one has found it."""
    here = str(pathlib.Path(__file__).absolute())
    paths = [here[: here.index("/ansible_collections/")], *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment, preexec_fn=_heed_signals)


def _heed_signals() -> None:
    """Tests that are started in the background, or by nohup, have inherited that nothing interrupts them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_module_leaves_no_core() -> None:
    """In a process of its own: the limit is for good. The hard one stays, which only root could raise again."""
    program = (
        "import resource\n"
        "from ansible_collections.lading.oci.plugins.module_utils._oci.module import failing\n"
        "hard = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard if hard != resource.RLIM_INFINITY else 4096, hard))\n"
        "before = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "with failing(None):\n"
        "    print(before[0] != 0 or hard == 0, resource.getrlimit(resource.RLIMIT_CORE) == (0, hard))\n"
    )
    done = run_apart(program)
    assert done.stdout.split() == ["True", "True"], done


@pytest.fixture(name="own_end")
def _own_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An end of this test's own: the real one is for good."""
    monkeypatch.setattr(ending, "_begun", threading.Event())


def test_threads_stop_reading_and_waiting(own_end: None) -> None:
    desc = Descriptor("a/b", Digest.of(b"content"), 7)
    assert bytes_opener(desc, b"content")().read() == b"content"
    reader = bytes_opener(desc, b"content")()
    ending.begin()
    with pytest.raises(CancelledError):
        reader.read()
    with pytest.raises(CancelledError):
        Patience(5).wait(100)


def test_a_pause_is_cut_short(own_end: None) -> None:
    timer = threading.Timer(0.05, ending.begin)
    timer.start()
    start = time.monotonic()
    with pytest.raises(CancelledError):
        ending.pause(60)
    assert time.monotonic() - start < 30


def test_a_signal_raises_once_and_handlers_come_back() -> None:
    """In a process of its own: the watching thread ends the process that it is in."""
    program = (
        "import os, signal, time\n"
        "from ansible_collections.lading.oci.plugins.module_utils._oci import signals\n"
        "before = [signal.getsignal(number) for number in signals.SIGNALS]\n"
        "with signals.Watch(print) as watch:\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "        time.sleep(60)\n"
        "    except signals.Ended:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        print(watch.message, flush=True)\n"
        "    watch.answered()\n"
        "assert before == [signal.getsignal(number) for number in signals.SIGNALS]\n"
    )
    done = run_apart(program)
    assert done.returncode == 0 and done.stdout.startswith("interrupted by SIGHUP") and not done.stderr, done


def test_a_run_that_cannot_end_is_ended(tmp_path: pathlib.Path) -> None:
    """The main thread hangs in a clean-up: the last resort has the answer, and takes the temp files along."""
    program = (
        "import os, signal, sys, time\n"
        "from ansible_collections.lading.oci.plugins.module_utils._oci import signals\n"
        "from ansible_collections.lading.oci.plugins.module_utils._oci.content import beneath\n"
        "signals._CLOSE_CONNECTIONS, signals._LAST = (), 0.1\n"
        "with signals.Watch(lambda message: os.write(1, message.encode())), beneath.folder(sys.argv[1]) as parent:\n"
        "    new = beneath.NewFile(parent)\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        time.sleep(60)\n"
    )
    done = run_apart(program, str(tmp_path))
    assert done.returncode == 1 and done.stdout.startswith("interrupted by SIGTERM"), done
    assert os.listdir(tmp_path) == []


def test_without_a_signal_nothing_is_left() -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/dev/fd"))
    with signals.Watch(print) as watch:
        assert watch.message == ""
    assert (threading.active_count(), len(os.listdir("/dev/fd"))) == (threads, descriptors)


def test_temp_files_of_whoever_cannot(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temps = beneath._Temps()
    monkeypatch.setattr(beneath, "_temps", temps)
    monkeypatch.setattr(beneath, "temp_name", temps.making)
    monkeypatch.setattr(beneath, "forget_temp", temps.forget)
    with beneath.folder(str(tmp_path)) as parent:
        kept, left = beneath.NewFile(parent), beneath.NewFile(parent)
        kept.commit("kept")
        writing.replace_link(parent, "link", "kept")
        assert left.name in os.listdir(tmp_path)
        temps.close()
        assert sorted(os.listdir(tmp_path)) == ["kept", "link"]
        with pytest.raises(CancelledError):
            beneath.NewFile(parent)
        kept.close()
        left.close()
    assert sorted(os.listdir(tmp_path)) == ["kept", "link"]


@pytest.mark.parametrize("script", ["exec sleep 60", "trap '' TERM; while :; do sleep 0.1; done"], ids=["obeys", "does not"])
def test_a_program_is_stopped(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_CHILD_GRACE", 0.3)
    started: t.List[subprocess.Popen[bytes]] = []

    def run_command(words: t.List[str], before_communicate_callback: t.Callable[[t.Any], None]) -> None:
        process = subprocess.Popen(words)
        started.append(process)
        before_communicate_callback(process)
        raise signals.Ended("interrupted")

    with pytest.raises(signals.Ended):
        signals.stopping(run_command)(["/bin/sh", "-c", script])
    assert started[0].returncode in (-signal.SIGTERM, -signal.SIGKILL)

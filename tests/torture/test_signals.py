# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ctrl-C, SIGTERM, SIGHUP and the time-out of async tasks: an answer within seconds, nothing left behind (threat rows 60, 65)."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t
import uuid

import clients
import pytest
import stalling
import tally as tallies
from stalling import BLOB, BUSY, NOTHING, PUT, Stalling
from support import start_module, succeed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Options = t.Dict[str, t.Any]
PLAIN = {"plain_http": True}


def litter(folder: pathlib.Path) -> t.List[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.startswith((".lading-", "lading-")))


def wait_for(what: t.Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.02)
    return False


def judge(process: subprocess.Popen[str], number: int, folder: pathlib.Path) -> t.List[str]:
    """What is wrong with how a module ended that was signalled just now."""
    start = time.monotonic()
    out, err = process.communicate(timeout=60)
    seconds, problems = time.monotonic() - start, []
    if seconds > 10:
        problems.append(f"ended after {seconds:.1f} s")
    if "Traceback" in out + err:
        problems.append(f"traceback: {err}")
    try:
        answer = json.loads(out)
    except ValueError:
        return [*problems, f"no JSON: {out!r} {err!r}"]
    if not answer.get("failed") or signal.Signals(number).name not in answer["msg"] or not answer.get("interrupted"):
        problems.append(f"answer: {answer}")
    return problems + [f"left behind: {name}" for name in litter(folder)]


def network_case(kind: str, host: str, folder: pathlib.Path) -> t.Tuple[str, Options]:
    src = {"src": f"{host}/app:v1", "src_registry": PLAIN}
    return {
        "copy-folder": ("oci_copy", {**src, "dest": f"oci:{folder}/layout:v1", "hardlinks": False}),
        "copy-tar": ("oci_copy", {**src, "dest": f"oci-archive:{folder}/layout.tar:v1"}),
        "pull": ("oci_pull", {**src, "dest": f"{folder}/files"}),
    }[kind]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("at", [BLOB, BUSY])
@pytest.mark.parametrize("kind", ["copy-folder", "copy-tar", "pull"])
def test_stalled_network(kind: str, at: str, number: int, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    with Stalling(at) as server:
        process = start_module(*network_case(kind, server.host, tmp_path))
        assert server.stalled.wait(60)
        process.send_signal(number)
        report(tallies.KILLS, judge(process, number, tmp_path))
        server.at = NOTHING
        name, options = network_case(kind, server.host, tmp_path)
        assert succeed(name, options)["changed"]
        assert litter(tmp_path) == [] and not succeed(name, options)["changed"]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_stalled_upload(number: int, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """The registry is told to forget the upload."""
    (tmp_path / "file").write_bytes(b"content" * 1000)
    succeed("oci_layout_build", {"path": f"{tmp_path}/src", "tag": "v1", "artifact_type": "a/b", "files": [{"src": f"{tmp_path}/file"}]})
    with Stalling(PUT) as server:
        process = start_module("oci_copy", {"src": f"oci:{tmp_path}/src:v1", "dest": f"{server.host}/app:v1", "dest_registry": PLAIN})
        assert server.stalled.wait(60)
        process.send_signal(number)
        problems = judge(process, number, tmp_path)
        report(tallies.KILLS, problems + ([] if server.cancelled.is_set() else ["the upload was not cancelled"]))


def sparse(path: pathlib.Path, mib: int = 1024) -> pathlib.Path:
    with path.open("wb") as file:
        file.truncate(mib * 1024 * 1024)
    return path


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("dest", ["layout", "layout.tar"])
def test_on_disk(dest: str, number: int, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """In the middle of a file: a build into a layout that has another ref, which stays."""
    (tmp_path / "small").write_bytes(b"small")
    build = {"path": str(tmp_path / dest), "tag": "old", "artifact_type": "a/b", "files": [{"src": f"{tmp_path}/small"}]}
    succeed("oci_layout_build", build)
    large = sparse(tmp_path / "large")
    process = start_module("oci_layout_build", {**build, "tag": "new", "files": [{"src": str(large)}]})
    assert wait_for(lambda: any(_size(tmp_path / path) for path in litter(tmp_path))), process.communicate()
    process.send_signal(number)
    report(tallies.KILLS, judge(process, number, tmp_path))
    assert not succeed("oci_layout_build", build)["changed"]


def _size(path: pathlib.Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_two_signals_at_once(tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """Somebody who cannot wait presses Ctrl-C again and again: the first one counts."""
    with Stalling(BLOB) as server:
        process = start_module(*network_case("copy-folder", server.host, tmp_path))
        assert server.stalled.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.poll() is None
        for _again in range(5):
            time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
        report(tallies.KILLS, judge(process, signal.SIGINT, tmp_path))


def test_an_ignored_signal_stays_ignored(tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """As under nohup."""
    with Stalling(BLOB) as server:
        name, options = network_case("copy-folder", server.host, tmp_path)
        process = start_module(name, options, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        assert server.stalled.wait(60)
        process.send_signal(signal.SIGHUP)
        server.at = NOTHING
        server.over.set()
        out, _err = process.communicate(timeout=60)
        report(tallies.KILLS, [] if json.loads(out).get("changed") else [out])


PROGRAM = """#!/bin/sh
case "$*" in *version*) echo "github.com/docker/buildx v0.20.0 abc"; exit 0;; *inspect*) echo "Driver: docker"; exit 0;; esac
echo $$ > "$LADING_STARTED"
exec sleep 300
"""


def test_a_program_does_not_outlive_the_run(tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """A build that BuildKit does not finish."""
    program = tmp_path / "docker"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "out").mkdir()
    started = tmp_path / "started"
    options = {
        "context": f"{tmp_path}/context",
        "docker_cli": str(program),
        "outputs": [{"type": "oci", "dest": f"{tmp_path}/out/image.tar", "tags": ["v1"]}],
    }
    environment = {**os.environ, "LADING_STARTED": str(started), "TMPDIR": str(tmp_path / "out")}
    process = start_module("oci_buildx_build", options, env=environment)
    assert wait_for(lambda: started.exists() and bool(started.read_text().strip()), 30), process.communicate(timeout=5)
    process.send_signal(signal.SIGTERM)
    problems = judge(process, signal.SIGTERM, tmp_path)
    alive = pathlib.Path(f"/proc/{started.read_text().strip()}").exists()
    report(tallies.KILLS, problems + (["the program still runs"] if alive else []))


def ansible(tmp_path: pathlib.Path, *words: str, mark: str) -> subprocess.Popen[str]:
    """An ad-hoc command of the real ansible, in a session of its own; all that it starts has ``mark`` in its environment."""
    collections = next(path for path in pathlib.Path(os.path.abspath(__file__)).parents if path.name == "ansible_collections").parent
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "ANSIBLE_ASYNC_DIR": str(tmp_path / "async"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "TMPDIR": str(tmp_path),
        "LADING_TEST_MARK": mark,
    }
    program = pathlib.Path(sys.executable).with_name("ansible")
    if not program.exists():
        pytest.skip("ansible is missing beside this Python")
    command = [str(program), "localhost", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True)


def marked(mark: str) -> t.List[str]:
    """Processes that still run, of those with the mark."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"LADING_TEST_MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ctrl_c_through_ansible(number: int, tmp_path: pathlib.Path, ours: t.Type[clients.Ours], report: t.Any) -> None:
    (tmp_path / "out").mkdir()
    with Stalling(BLOB) as server:
        name, options = network_case("copy-tar", server.host, tmp_path / "out")
        mark = uuid.uuid4().hex
        process = ansible(tmp_path, "-m", f"lading.oci.{name}", "-a", json.dumps(options), mark=mark)
        assert server.stalled.wait(90), process.communicate(timeout=5)
        os.killpg(process.pid, number)
        out, _err = process.communicate(timeout=60)
        ended = wait_for(lambda: not marked(mark), 15)
        problems = [] if ended else [f"still runs: {marked(mark)}"]
        problems += [f"left behind: {path}" for path in litter(tmp_path)] + ["traceback"] * ("Traceback" in out)
        problems += [f"left behind: {path.name}" for path in tmp_path.glob("ansible_*_payload*")]
        report(tallies.KILLS, problems)


def test_async_timeout(tmp_path: pathlib.Path, ours: t.Type[clients.Ours], report: t.Any) -> None:
    """Ansible kills such a job with SIGKILL: what that leaves is removed by the next run."""
    (tmp_path / "out").mkdir()
    with Stalling(BLOB) as server:
        name, options = network_case("copy-folder", server.host, tmp_path / "out")
        mark = uuid.uuid4().hex
        process = ansible(tmp_path, "-B", "6", "-P", "1", "-m", f"lading.oci.{name}", "-a", json.dumps(options), mark=mark)
        assert server.stalled.wait(90), process.communicate(timeout=5)
        out, _err = process.communicate(timeout=120)
        problems = [] if wait_for(lambda: not marked(mark), 15) else [f"still runs: {marked(mark)}"]
        assert process.returncode != 0, out
        server.at = NOTHING
        assert succeed(name, options)["digest"] == stalling.digest(stalling.ROOT)
        report(tallies.KILLS, problems + litter(tmp_path / "out"))

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible itself, watched: its output, log, syslog, the command lines of all that it starts, and the files it leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import threading
import typing as t

import clients
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

_ROOT = str(pathlib.Path(fake.__file__).absolute()).partition("/ansible_collections/")[0]
_OBSERVER = pathlib.Path(__file__).parent / "observer"


@dataclasses.dataclass(frozen=True)
class Watched:
    """``commands``: what stood in /proc/PID/cmdline and environ, of all that was started."""

    run: clients.Run
    log: str
    syslog: str
    commands: t.FrozenSet[str]


class Controller:
    """A home and a working folder of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.home = folder / "home"
        self.work = folder / "work"
        self._log, self._syslog = folder / "ansible.log", folder / "syslog"
        for path in (self.home, self.work, folder / "tmp"):
            path.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "HOME": str(self.home),
            "TMPDIR": str(folder / "tmp"),
            "PATH": f"{self.work / 'bin'}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(_OBSERVER),
            "LADING_SYSLOG": str(self._syslog),
            "ANSIBLE_COLLECTIONS_PATH": _ROOT,
            "ANSIBLE_LOG_PATH": str(self._log),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_HOME": str(self.home / ".ansible"),
            # Ansible asks the system where the home is, not the environment.
            "ANSIBLE_REMOTE_TMP": str(self.home / ".ansible" / "tmp"),
            "ANSIBLE_ASYNC_DIR": str(self.home / ".ansible_async"),
            "LC_ALL": "C.UTF-8",
        }

    def playbook(self, tasks: t.Sequence[t.Mapping[str, t.Any]], values: t.Mapping[str, t.Any], *options: str, **play: t.Any) -> Watched:
        """``values``: variables, in a file of their own, so that the playbook names them only."""
        document = [{"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": list(tasks), **play}]
        (self.work / "play.yml").write_text(json.dumps(document))
        return self._run("ansible-playbook", "play.yml", values, options)

    def ad_hoc(self, module: str, arguments: t.Mapping[str, t.Any], values: t.Mapping[str, t.Any], *options: str) -> Watched:
        return self._run("ansible", "localhost", values, ["-c", "local", "-m", module, "-a", json.dumps(arguments), *options])

    def _run(self, program: str, what: str, values: t.Mapping[str, t.Any], options: t.Sequence[str]) -> Watched:
        vars_file = self.work / "vars.json"
        vars_file.write_text(json.dumps({"ansible_python_interpreter": sys.executable, **values}))
        command = [str(pathlib.Path(sys.executable).parent / program), "-i", "localhost,", "-e", f"@{vars_file}", *options, what]
        with _sampling(str(self.home)) as seen:
            done = clients.run(command, 300, self.environment, cwd=str(self.work))
        return Watched(done, _text(self._log), _text(self._syslog), frozenset(seen))

    def files(self) -> t.Iterator[t.Tuple[pathlib.Path, str]]:
        """All that stands in the home, the folder of temp files and the working folder, with what is in it."""
        for path in sorted(self.home.parent.rglob("*")):
            if path.is_file() and not path.is_symlink() and path not in (self._log, self._syslog):
                yield path, _text(path)


def _text(path: pathlib.Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""


@contextlib.contextmanager
def _sampling(home: str) -> t.Iterator[t.Set[str]]:
    """Look at the processes whose HOME is this one, again and again."""
    seen: t.Set[str] = set()
    ended = threading.Event()
    thread = threading.Thread(target=_sample, args=(home, seen, ended), daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def _sample(home: str, seen: t.Set[str], ended: threading.Event) -> None:
    while not ended.wait(0.02):
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (process / "environ").read_bytes().decode("utf-8", "surrogateescape")
                if f"\0HOME={home}\0" in f"\0{environment}\0":
                    seen.add((process / "cmdline").read_bytes().decode("utf-8", "surrogateescape").replace("\0", " "))
                    if "LADING_BUILD_SECRET_" not in environment:  # how the docker command is told what no argument may say
                        seen.add(environment.replace("\0", "\n"))

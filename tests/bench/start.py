# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task with nothing to do costs over one of a module that does nothing, ``ansible.builtin.ping``.

    start.py [CASE ...]

LADING_BENCH_RUNS (9) runs of each case, and of ping right beside each. A task is ``ansible localhost -m MODULE``, from its start to its
exit. The processor's time is that of the process which Ansible runs the module in, as its interpreter sees it: in another run, because
looking at it takes time too. Exits 1 when a run changed something, failed, or asked a registry for more than it has to.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t

sys.path[:0] = [str(pathlib.Path(__file__).parent.parent / "tools")]

import figures  # noqa: E402
import imported  # noqa: E402
from registry_server import Registry  # noqa: E402
from stage import Stage  # noqa: E402

HEADER = ("case", "CPU ms", "ping's", "over ping", "task ms", "ping's", "ratio", "our lines", "requests")
PING = "ansible.builtin.ping"
# Runs the module as Ansible's command line has it, and notes what the process took. -S -E: it is to start fast itself.
_INTERPRETER = """\
#!{python} -SE
import os, sys
pid = os.posix_spawn({python!r}, [{python!r}, *sys.argv[1:]], os.environ)
_pid, status, usage = os.wait4(pid, 0)
if "AnsiballZ_" in sys.argv[-1]:
    with open({notes!r}, "a") as notes:
        notes.write(f"{{usage.ru_utime + usage.ru_stime}}\\n")
sys.exit(os.waitstatus_to_exitcode(status))
"""
# Imports are told on standard error, which Ansible shows only with enough v's: this keeps it.
_IMPORTS = """\
#!/bin/sh
exec {python} -X importtime "$@" 2>>{notes}
"""


class Case(t.NamedTuple):
    """``requests``: the most that the run may make of a registry."""

    name: str
    module: str
    arguments: t.Mapping[str, t.Any]
    requests: int


class Tasks:
    """Runs tasks on localhost."""

    def __init__(self, folder: pathlib.Path, home: pathlib.Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "HOME": str(home), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0"}
        self._environment.update(ANSIBLE_INVENTORY_UNPARSED_WARNING="0", ANSIBLE_DEVEL_WARNING="0")
        self._notes = folder / "notes"
        self._measuring = self._interpreter("measuring", _INTERPRETER)
        self._listing = self._interpreter("listing", _IMPORTS)

    def _interpreter(self, name: str, text: str) -> str:
        path = self._folder / name
        path.write_text(text.format(python=sys.executable, notes=str(self._notes)))
        path.chmod(0o755)
        return str(path)

    def run(self, module: str, arguments: t.Mapping[str, t.Any], interpreter: str = sys.executable) -> t.Dict[str, t.Any]:
        """The answer, with the ``seconds`` of the whole task. Raises Dishonest when it failed."""
        command = [str(pathlib.Path(sys.executable).with_name("ansible")), "localhost", "-m", module]
        command += ["-e", f"ansible_python_interpreter={interpreter}", *(["-a", json.dumps(arguments)] if arguments else [])]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment, check=False)
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            raise figures.Dishonest(f"{module} failed: {done.stdout}{done.stderr}")
        answer, _end = json.JSONDecoder().raw_decode(done.stdout, done.stdout.index("{"))
        return {**answer, "seconds": seconds}

    def processor(self, module: str, arguments: t.Mapping[str, t.Any]) -> float:
        """Seconds of the processor that the module's process took."""
        self._notes.write_text("")
        self.run(module, arguments, self._measuring)
        (seconds,) = map(float, self._notes.read_text().split())
        return seconds

    def imports(self, module: str, arguments: t.Mapping[str, t.Any]) -> str:
        """What ``-X importtime`` tells of the module's process."""
        self._notes.write_text("")
        self.run(module, arguments, self._listing)
        return self._notes.read_text()


def cases(stage: Stage, tasks: Tasks) -> t.List[Case]:
    """Each with its work done already."""
    folder, host = stage.folder, stage.registry.host
    content = folder / "content"
    content.mkdir()
    for number in range(3):
        (content / f"file{number}").write_bytes(hashlib.sha256(str(number).encode()).digest() * 1000)
    layout, plain = f"oci:{folder / 'built'}:v1", {"plain_http": True}
    files = [{"src": str(content / f"file{number}")} for number in range(3)]
    build = {"path": str(folder / "built"), "tag": "v1", "layers": [{"src": str(content), "dest": "/srv"}], "platform": "linux/amd64"}
    artifact = {"path": str(folder / "artifact"), "tag": "v1", "artifact_type": "application/vnd.example", "files": files}
    push = {"src": layout, "dest": f"{host}/start/a:v1", "dest_registry": plain}
    across = {"src": f"{host}/start/a:v1", "src_registry": plain, "dest": f"{host}/start/b:v1", "dest_registry": plain}
    fetch = {"src": f"{host}/start/a:v1", "src_registry": plain, "dest": f"oci:{folder / 'fetched'}:v1"}
    pull = {"src": f"{host}/start/files:v1", "src_registry": plain, "dest": str(folder / "pulled")}
    unpack = {"src": f"{host}/start/a:v1", "src_registry": plain, "dest": str(folder / "unpacked"), "unpack": "rootfs"}
    unpack["rootfs_options"] = {"owner": "current"}
    found = [
        Case("build", "lading.oci.oci_layout_build", build, 0),
        Case("build-artifact", "lading.oci.oci_layout_build", artifact, 0),
        Case("layout-registry", "lading.oci.oci_copy", push, 1),
        Case("registry-registry", "lading.oci.oci_copy", across, 2),
        Case("registry-layout", "lading.oci.oci_copy", fetch, 1),
        Case("pull", "lading.oci.oci_pull", pull, 1),
        Case("pull-rootfs", "lading.oci.oci_pull", unpack, 1),
    ]
    for case in found:
        if case.name == "pull":
            push_files = {"src": f"oci:{folder / 'artifact'}:v1", "dest": f"{host}/start/files:v1", "dest_registry": plain}
            tasks.run("lading.oci.oci_copy", push_files)
        digest = tasks.run(case.module, case.arguments)["digest"]
        if case.name == "registry-layout":
            pinned = {**fetch, "src": f"{host}/start/a@{digest}"}
    found.insert(5, Case("pinned-layout", "lading.oci.oci_copy", pinned, 0))
    return found


def asked(answer: t.Mapping[str, t.Any]) -> int:
    return sum(sum(side.values()) for side in answer["stats"]["requests"].values())


def measure(tasks: Tasks, case: Case, runs: int) -> t.Tuple[str, ...]:
    """The cells of HEADER."""
    ours: t.List[t.Tuple[float, float]] = []
    pings: t.List[t.Tuple[float, float]] = []
    for number in range(runs):
        sides = [(ours, case.module, case.arguments), (pings, PING, {})]
        for found, module, arguments in sides if number % 2 else reversed(sides):
            answer = tasks.run(module, arguments)
            if answer.get("changed") or (module != PING and asked(answer) > case.requests):
                raise figures.Dishonest(f"{case.name}: not a run with nothing to do: {answer}")
            found.append((tasks.processor(module, arguments), answer["seconds"]))
    cpu, ping_cpu, task, ping_task = (1000 * statistics.median(one[at] for one in side) for at in (0, 1) for side in (ours, pings))
    lines = sum(imported.lines(tasks.imports(case.module, case.arguments)).values())
    numbers = [*map("{:.0f}".format, (cpu, ping_cpu, cpu - ping_cpu, task, ping_task)), f"{task / ping_task:.2f}"]
    return case.name, *numbers, str(lines), str(asked(answer) if "stats" in answer else case.requests)


def main() -> int:
    runs = int(os.environ.get("LADING_BENCH_RUNS") or 9)
    rows = []
    with tempfile.TemporaryDirectory(prefix="lading-start-") as name, Registry() as registry, contextlib.suppress(KeyboardInterrupt):
        stage = Stage(pathlib.Path(name), registry, 1)
        tasks = Tasks(stage.folder, stage.home)
        try:
            for case in cases(stage, tasks):
                if not sys.argv[1:] or case.name in sys.argv[1:]:
                    rows.append(measure(tasks, case, runs))
        except figures.Dishonest as error:
            print(error)
            return 1
    print(figures.table(HEADER, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

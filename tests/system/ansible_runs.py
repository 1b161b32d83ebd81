# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible's commands."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import sys
import typing as t

from fork_server import ForkServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEPT_CODE = ROOT / "tests" / "output" / "module-code"


def ansible_environment() -> t.Dict[str, str]:
    """Where Ansible finds the collection, and that modules keep what Python has compiled of them."""
    KEPT_CODE.mkdir(parents=True, exist_ok=True)
    collections = os.environ["PYTHONPATH"].split(os.pathsep)[0]
    return {
        "ANSIBLE_COLLECTIONS_PATH": collections,
        "PYTHONPATH": os.pathsep.join((collections, str(ROOT / "tests" / "tools" / "module_code"))),
        "LADING_TEST_CODE": str(KEPT_CODE),
        "ANSIBLE_NOCOLOR": "1",
    }


def hosts_python() -> str:
    """What modules of Ansible's runs are run with: ``make test`` has the system's, as hosts do, which is faster than most others."""
    return os.environ.get("LADING_TEST_HOSTS_PYTHON") or sys.executable


def run_command(program: str, arguments: t.Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """As a person's shell runs it."""
    command = [str(pathlib.Path(sys.executable).parent / program), *arguments]
    values = {**os.environ, **ansible_environment(), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=values, check=False, timeout=300)


def run_ansible(program: str, arguments: t.Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """The same, forked from a process that has what it needs and, from earlier runs, the modules as they are sent."""
    values = {**ansible_environment(), **environment}
    return _server(frozenset(values.items())).run(program, arguments, **values)


def run_playbook(arguments: t.Sequence[str], python: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    interpreter = f"ansible_python_interpreter={python or hosts_python()}"
    return run_ansible("ansible-playbook", ["-e", interpreter, *arguments], **environment)


@functools.lru_cache(maxsize=None)
def _server(environment: t.FrozenSet[t.Tuple[str, str]]) -> ForkServer:
    """Ansible has read much of its environment when it has been imported."""
    return ForkServer("commands", **dict(environment))

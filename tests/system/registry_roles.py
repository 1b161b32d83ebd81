# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role registry as tests run it."""

from __future__ import annotations

import contextlib
import functools
import getpass
import grp
import os
import pathlib
import re
import signal
import subprocess
import sys
import typing as t

import processes
import yaml
from ansible_runs import run_playbook
from registry_server import _Authority
from support import succeed

ROLE = pathlib.Path(__file__).resolve().parents[2] / "roles" / "registry"
PASSWORD = "pass word: {needle}"
SECRET = "value of the environment"
Variables = t.Dict[str, t.Any]
# A process of root's gives up being root, where there is somebody to become.
SERVICE_USER = "nobody" if os.geteuid() == 0 else getpass.getuser()


@functools.lru_cache(maxsize=None)
def systems_python() -> str:
    """A host has the system's Python, which knows nothing of the tests; this one where that is none that ansible-core runs modules with."""
    system = "/usr/bin/python3"
    with contextlib.suppress(OSError):
        if subprocess.run([system, "-c", "import sys; sys.exit(sys.version_info < (3, 9))"], check=False).returncode == 0:
            return system
    return sys.executable


class Role:
    """The role for one registry, whose files are all in one folder."""

    def __init__(self, folder: pathlib.Path, **variables: t.Any) -> None:
        self.folder = folder
        (folder / "units").mkdir()
        self.host = f"127.0.0.1:{processes.free_port()}"
        group = grp.getgrgid(os.getgid() if SERVICE_USER != "nobody" else 65534).gr_name
        self.variables: Variables = {
            "registry_service": f"registry-{folder.name}",
            "registry_service_manager": "none",
            "registry_install": "binary",
            "registry_user": SERVICE_USER,
            "registry_group": group,
            "registry_config_dir": str(folder / "etc"),
            "registry_storage_dir": str(folder / "data"),
            "registry_unit_dir": str(folder / "units"),
            "registry_pid_file": str(folder / "pid"),
            "registry_log_file": str(folder / "log"),
            "registry_port": int(self.host.rpartition(":")[2]),
            "registry_start_timeout": 20,
            **variables,
        }

    def play(self, tasks: t.Sequence[Variables], *options: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        values = {**self.variables, **variables}
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": values, "tasks": list(tasks)}
        (self.folder / "playbook.yml").write_text(yaml.safe_dump([play], sort_keys=False))
        return run_playbook([str(self.folder / "playbook.yml"), *options], python=systems_python())

    def run(self, *options: str, tasks_from: str = "main", **variables: t.Any) -> subprocess.CompletedProcess[str]:
        return self.play(
            [{"ansible.builtin.include_role": {"name": "lading.oci.registry", "tasks_from": tasks_from}}], *options, **variables
        )

    def changes(self, *options: str, **variables: t.Any) -> int:
        """How many tasks have changed something, of a run that has to succeed."""
        done = self.run(*options, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        counted = re.search(r"changed=(\d+)", done.stdout)
        assert counted
        return int(counted[1])

    def refusal(self, **variables: t.Any) -> str:
        done = self.run(**variables)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def pid(self) -> int:
        pid = int((self.folder / "pid").read_text())
        os.kill(pid, 0)
        return pid

    def stop(self) -> None:
        """A play would take long, and what the play does is tested elsewhere."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(self.pid(), signal.SIGKILL)


def secure(role: Role) -> None:
    """TLS and a user, and a value that nobody may see."""
    authority = _Authority()
    (role.folder / "ca.pem").write_bytes(authority.certificate)
    for name in ("server", "renewed"):
        certificate, key = authority.issue(name)
        (role.folder / f"{name}.pem").write_bytes(certificate)
        (role.folder / f"{name}.key").write_bytes(key)
        (role.folder / f"{name}.key").chmod(0o600)
    role.variables.update(
        registry_address="127.0.0.1",
        registry_tls_certificate=str(role.folder / "server.pem"),
        registry_tls_key=str(role.folder / "server.key"),
        registry_users=[{"name": "deploy", "password": PASSWORD}],
        registry_environment={"LADING_TEST_VALUE": SECRET},
    )


def login(role: Role, password: str = PASSWORD) -> Variables:
    return {"ca_path": str(role.folder / "ca.pem"), "username": "deploy", "password": password}


def layout(folder: pathlib.Path) -> pathlib.Path:
    (folder / "file").write_text("hello world!\n")
    path = folder / "layout"
    succeed("oci_layout_build", {"path": str(path), "tag": "v1", "files": [{"src": str(folder / "file")}]})
    return path


def tree(folder: pathlib.Path) -> t.Set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}

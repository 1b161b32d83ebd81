# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the system tests share: modules run as Ansible runs them, peers run as a person does."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

from fork_server import ForkServer

Result = t.Dict[str, t.Any]
MODULES = "ansible_collections.lading.oci.plugins.modules"
SERVER = ForkServer("modules")


def module_input(arguments: t.Mapping[str, t.Any]) -> str:
    return json.dumps({"ANSIBLE_MODULE_ARGS": dict(arguments)})


def start_module(name: str, arguments: t.Mapping[str, t.Any], options: t.Sequence[str] = (), **popen: t.Any) -> subprocess.Popen[str]:
    """The module as a process of its own, its arguments on standard input as Ansible's wrapper gives them. ``options`` of Python."""
    process = subprocess.Popen(
        [sys.executable, *options, "-m", f"{MODULES}.{name}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **popen,
    )
    assert process.stdin is not None
    process.stdin.write(module_input(arguments))
    process.stdin.close()
    process.stdin = None
    return process


def run_module(name: str, arguments: t.Mapping[str, t.Any], check: bool = False, **popen: t.Any) -> Result:
    """The module's JSON answer, whether it succeeded or failed; a traceback is a failure of the test. With ``popen`` Python is started
    for it."""
    internal = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": "/tmp"}
    if popen:
        out, err = start_module(name, {**arguments, **internal}, **popen).communicate(timeout=300)
    else:
        done = SERVER.run(f"{MODULES}.{name}", given=module_input({**arguments, **internal}))
        out, err = done.stdout, done.stderr
    assert out.lstrip().startswith("{") and "Traceback" not in err, f"{name} gave no answer:\n{out}\n{err}"
    result = json.loads(out)
    assert "Traceback" not in str(result.get("msg")), result
    return result


def succeed(name: str, arguments: t.Mapping[str, t.Any], check: bool = False, **popen: t.Any) -> Result:
    result = run_module(name, arguments, check, **popen)
    assert not result.get("failed"), result
    return result


def fail(name: str, arguments: t.Mapping[str, t.Any], check: bool = False, **popen: t.Any) -> str:
    """The message of a module that must fail."""
    result = run_module(name, arguments, check, **popen)
    assert result.get("failed"), result
    return result["msg"]


def peer(*command: t.Union[str, os.PathLike[str]], cwd: t.Optional[pathlib.Path] = None) -> str:
    """Standard output of a peer's command, which must succeed."""
    done = subprocess.run([os.fspath(part) for part in command], capture_output=True, text=True, cwd=cwd, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def tree_state(root: pathlib.Path) -> t.Dict[str, t.Tuple[int, int]]:
    """Inode and mtime of everything below ``root``: equal states mean that nothing was touched."""
    return {str(path.relative_to(root)): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in root.rglob("*")}

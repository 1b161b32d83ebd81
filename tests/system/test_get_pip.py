# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script that gives pip to ansible-test's environments: the second of a Python is as the first."""

from __future__ import annotations

import ensurepip
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import typing as t

TOOLS = pathlib.Path(__file__).parent.parent / "tools"


def with_pip(folder: pathlib.Path, script: pathlib.Path) -> pathlib.Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python, options = folder / "bin" / "python", ["--disable-pip-version-check", "--no-setuptools", "--no-wheel"]
    subprocess.run([python, script, *options, f"pip=={ensurepip.version()}"], check=True)
    told = subprocess.run([python, "-m", "pip", "--version"], check=True, capture_output=True, text=True).stdout
    assert f"pip {ensurepip.version()} from {folder}" in told
    return pathlib.Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))


def files(folder: pathlib.Path) -> t.Dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_the_first_installed_is_copied(tmp_path: pathlib.Path) -> None:
    script = pathlib.Path(shutil.copy(TOOLS / "get_pip.py", tmp_path))
    first = with_pip(tmp_path / "first", script)
    (kept,) = (path for path in tmp_path.iterdir() if path.name.startswith("lading-pip=="))
    (kept / "pip" / "mark").write_text("")
    second = with_pip(tmp_path / "second", script)
    (second / "pip" / "mark").unlink()
    assert files(first) == files(second)

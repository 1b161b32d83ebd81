# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules of Ansible's runs are compiled once for all tests: what they are then is what was sent."""

from __future__ import annotations

import json
import marshal
import os
import pathlib
import subprocess
import sys
import typing as t
import zipfile

import pytest
from ansible_runs import ansible_environment

PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import some, some.inner.deep
try:
    some.inner.deep.fail()
except ValueError as error:
    line = error.__traceback__.tb_next.tb_frame.f_code.co_filename
print(json.dumps([type(some.__loader__).__name__, some.NAME, some.inner.deep.NAME, some.__file__, some.inner.deep.__file__, line]))
"""


def imported(archive: pathlib.Path, kept: pathlib.Path, keep: bool = True) -> t.List[str]:
    environment = {**os.environ, **ansible_environment(), "LADING_TEST_CODE": str(kept) if keep else ""}
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(archive)], stdout=subprocess.PIPE, env=environment, check=True)
    return json.loads(done.stdout)


def write(archive: pathlib.Path, name: str) -> None:
    with zipfile.ZipFile(archive, "w") as sent:
        sent.writestr("some/__init__.py", f"NAME = '{name}'\n")
        sent.writestr("some/inner/__init__.py", "")
        sent.writestr("some/inner/deep.py", f"NAME = __name__ + ' of {name}'\ndef fail():\n    raise ValueError(NAME)\n")


@pytest.fixture(name="kept")
def _kept(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept"


def test_what_is_imported(tmp_path: pathlib.Path, kept: pathlib.Path) -> None:
    """As without it; what changes is compiled anew."""
    archive = tmp_path / "sent.zip"
    deep = f"{archive}/some/inner/deep.py"
    for name in ("one", "another"):
        write(archive, name)
        plain = imported(archive, kept, keep=False)
        assert plain == ["zipimporter", name, f"some.inner.deep of {name}", f"{archive}/some/__init__.py", deep, deep]
        assert [imported(archive, kept) for _run in range(2)] == [["Importer", *plain[1:]]] * 2
    assert len(list(kept.iterdir())) == 5, "both of each that differ, and one of what does not"


def test_it_is_not_compiled_again(tmp_path: pathlib.Path, kept: pathlib.Path) -> None:
    write(tmp_path / "sent.zip", "sent")
    assert imported(tmp_path / "sent.zip", kept)[1] == "sent"
    for path in kept.iterdir():
        path.write_bytes(marshal.dumps(compile("NAME = 'kept'\ndef fail(): raise ValueError", "kept.py", "exec")))
    assert imported(tmp_path / "sent.zip", kept)[1] == "kept"

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Most tests have their modules forked from one process: what they say is what modules say for which Python was started."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from support import MODULES, SERVER, fail, run_module


def test_the_answers_are_the_same(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("hello\n")
    build = {"path": str(tmp_path / "layout"), "tag": "v1", "files": [{"src": str(tmp_path / "file")}]}
    assert run_module("oci_layout_build", build)["changed"]
    tasks: t.List[t.Tuple[str, t.Dict[str, t.Any]]] = [
        ("oci_layout_build", {**build, "path": str(tmp_path / "another")}),
        ("oci_copy", {"src": f"oci:{tmp_path}/layout:v1", "dest": f"oci:{tmp_path}/copy:v1"}),
        ("oci_pull", {"src": f"oci:{tmp_path}/layout:v2", "dest": str(tmp_path / "pulled")}),
        ("oci_pull", {"src": f"oci:{tmp_path}/layout:v1", "dest": 5, "wrong": True}),
    ]
    for module, arguments in tasks:
        assert run_module(module, arguments, check=True) == run_module(module, arguments, check=True, cwd=tmp_path), module


def test_where_it_runs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder and with the environment that the test has when it asks, and with nothing that an earlier one has changed."""
    (tmp_path / "file").write_text("hello\n")
    for number in range(2):
        folder = tmp_path / f"folder{number}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1_000_000_000 + number))
        built = run_module("oci_layout_build", {"path": "layout", "tag": "v1", "layers": [{"src": "../file"}], "platform": "linux/amd64"})
        assert built["changed"] and (folder / "layout" / "index.json").exists()
        created = json.loads((folder / "layout" / "blobs" / "sha256" / built["digest"][7:]).read_text())["config"]["digest"]
        assert f"2001-09-09T01:46:4{number}Z" in (folder / "layout" / "blobs" / "sha256" / created[7:]).read_text()


def test_a_module_that_breaks() -> None:
    """It is seen, and the next one runs."""
    out, err = SERVER.run(f"{MODULES}.no_module", "{}")
    assert not out and "Traceback" in err and "no_module" in err
    assert "no such folder: /no/layout" in fail("oci_copy", {"src": "oci:/no/layout:v1", "dest": "oci:/no/copy:v1"})

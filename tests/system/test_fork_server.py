# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Most tests have their modules, and Ansible, forked from a process that has imported them: they say what those say for which Python was
started."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_runs import hosts_python, run_command, run_playbook
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
    done = SERVER.run(f"{MODULES}.no_module")
    assert done.returncode == 1 and not done.stdout and "Traceback" in done.stderr and "no_module" in done.stderr
    assert "no such folder: /no/layout" in fail("oci_copy", {"src": "oci:/no/layout:v1", "dest": "oci:/no/copy:v1"})


def both(*arguments: str, code: int) -> str:
    """What the command prints, and the same when it was forked."""
    interpreter = ("-e", f"ansible_python_interpreter={hosts_python()}")
    command = run_command("ansible-playbook", [*interpreter, *arguments])
    forked = run_playbook(arguments)
    assert forked.stdout and (forked.returncode, forked.stdout, forked.stderr) == (code, command.stdout, command.stderr)
    assert command.returncode == code
    return forked.stdout


def test_playbooks_say_the_same(tmp_path: pathlib.Path) -> None:
    """In check mode, and in a run that fails, when the module has been sent before."""
    (tmp_path / "file").write_text("hello\n")
    build = {"path": str(tmp_path / "layout"), "tag": "v1", "files": [{"src": str(tmp_path / "file")}]}
    tasks = [{"lading.oci.oci_layout_build": build}, {"ansible.builtin.fail": {"msg": "as asked"}, "when": "not ansible_check_mode"}]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    (tmp_path / "playbook.yml").write_text(json.dumps([play]))
    assert "changed: [localhost]" in both("--check", "--diff", str(tmp_path / "playbook.yml"), code=0)
    assert run_module("oci_layout_build", build)["changed"]
    assert "ok: [localhost]" in both(str(tmp_path / "playbook.yml"), code=2)
    wrong = run_playbook(["--no-such-option"])
    assert wrong.returncode == 2 and wrong.stderr.startswith("usage: ansible-playbook ")


def test_playbooks_have_their_environment(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ansible itself takes from it, too, and what a test sets later."""
    message = "{{ lookup('ansible.builtin.env', 'LADING_TEST_SAID') }} was said"
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": message}}]}
    (tmp_path / "playbook.yml").write_text(json.dumps([play]))
    for said in ("one", "another"):
        monkeypatch.setenv("LADING_TEST_SAID", said)
        assert f"{said} was said" in run_playbook([str(tmp_path / "playbook.yml")]).stdout
    assert "provided hosts list is empty" in run_playbook([str(tmp_path / "playbook.yml")]).stderr
    assert "provided hosts list is empty" not in run_playbook([str(tmp_path / "playbook.yml")], ANSIBLE_LOCALHOST_WARNING="false").stderr

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What registries and layouts say is text: Ansible does not evaluate it, and it forges no line of a log (threat rows 6, 28, 59)."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import clients
import pytest
import tally as tallies
import trap as traps
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from controller import Controller

MARKER = "evaluated-by-ansible"
TEMPLATE = "{{ lookup('pipe', 'touch " + MARKER + "') }}{% raw %}"
FORGED = '\r\nok: [localhost] => {"forged": true}\nTASK [forged] ***\x1b[2J\x1b]0;owned\x07\u009b31m\u202e'
# With what the log puts before a line.
_FORGED_LINE = re.compile(r"^(?:.* \| )?(?:ok: \[localhost\] => \{\"forged|TASK \[forged)", re.MULTILINE)


@pytest.fixture(name="controller")
def _controller(tmp_path: pathlib.Path) -> Controller:
    return Controller(tmp_path)


def _artifact(server: traps.Server) -> None:
    """Its title, annotations, types and tag say what they can."""
    layer = b"content"
    server.add_blob(layer)
    server.add_blob(b"{}")
    media_type = "application/vnd.oci.image.manifest.v1+json"
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "artifactType": "application/vnd.lading.test",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": traps.digest_of(b"{}"), "size": 2},
        "layers": [
            {
                "mediaType": "application/octet-stream",
                "digest": traps.digest_of(layer),
                "size": len(layer),
                "annotations": {"org.opencontainers.image.title": TEMPLATE, "note": TEMPLATE + FORGED},
            }
        ],
        "annotations": {"note": TEMPLATE + FORGED, TEMPLATE: TEMPLATE},
    }
    server.put_manifest(json.dumps(document).encode(), "artifact")
    server.put_manifest(json.dumps(document, indent=1).encode(), "denied")


def _failing(server: traps.Server) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": TEMPLATE + FORGED, "detail": {"a": FORGED}}]}).encode()
    denied = server.state.tags[traps.REPOSITORY, "denied"]
    server.fault("GET", f"/manifests/{denied}", fake.answer(403, {"Content-Type": "application/json"}, body), times=float("inf"))
    typed = {"Content-Type": TEMPLATE}
    for method in ("GET", "HEAD"):
        server.fault(method, "/manifests/typed", fake.answer(200, typed, b"<html>"), times=float("inf"))
    server.fault("HEAD", "/manifests/artifact", fake.header_changed(Warning=f'299 - "{TEMPLATE}\x1b[2J"'), times=float("inf"))


def _tasks() -> t.List[t.Dict[str, t.Any]]:
    """Each result is shown, and used where Ansible evaluates."""
    pull = {"dest": "{{ work }}/out", "src_registry": {"plain_http": True, "retries": 0}}
    copy = {"dest": "oci:{{ work }}/layout:v1", "src_registry": {"plain_http": True, "retries": 0}}
    tasks: t.List[t.Dict[str, t.Any]] = []
    for number, task in enumerate(
        [
            {"lading.oci.oci_pull": {**pull, "src": "{{ name }}:artifact"}},
            {"lading.oci.oci_copy": {**copy, "src": "{{ name }}:artifact"}},
            {"lading.oci.oci_pull": {**pull, "src": "oci:{{ work }}/layout:v1", "src_registry": None}},
            {"lading.oci.oci_copy": {**copy, "src": "{{ name }}:denied"}},
            {"lading.oci.oci_pull": {**pull, "src": "{{ name }}:typed"}},
            {"lading.oci.oci_copy": {**copy, "src": "{{ name }}@{{ bad | string }}"}},
        ]
    ):
        if task.get("lading.oci.oci_pull", {}).get("src_registry", "") is None:
            del task["lading.oci.oci_pull"]["src_registry"]
        result, first = f"result{number}", ".files | default([{}]) | first).title | default('')"
        tasks.append({"name": f"run {number}", **task, "register": result, "ignore_errors": True})
        tasks.append({"name": f"show {number}", "ansible.builtin.debug": {"var": result}})
        tasks.append(
            {
                "name": f"use {number}",
                "ansible.builtin.debug": {"msg": "{{ text }} {{ first }}"},
                "vars": {"text": "{{ " + result + " | to_json }}", "first": "{{ (" + result + first + " }}"},
                "when": f"{result}.msg | default('x') is search('.') or {result}.files is defined",
            }
        )
    keep = "{{ [result0, result1, result2, result3, result4] | to_nice_json }}"
    return [*tasks, {"name": "keep", "ansible.builtin.copy": {"content": keep, "dest": "{{ work }}/kept.json", "mode": "0600"}}]


def test_nothing_is_evaluated(ours: t.Type[clients.Ours], controller: Controller, report: t.Callable[..., None]) -> None:
    """Results with Jinja in them are shown, used in vars and when, and written to a file: as they are."""
    with traps.set_up("none") as trap:
        _artifact(trap.front)
        _failing(trap.front)
        values = {"name": f"{trap.front.host}/{traps.REPOSITORY}", "work": str(controller.work)}
        bad = {"bad": "sha256:" + "0" * 63 + "\n\x1b[2J"}
        watched = controller.playbook(_tasks(), {**values, **bad}, "-vv", "--diff")
    output = watched.run.output
    problems = [] if watched.run.succeeded else [f"the playbook failed: {output[-3000:]}"]
    problems += [f"evaluated: {path}" for path in controller.home.parent.rglob(MARKER)]
    kept = (controller.work / "kept.json").read_text() if (controller.work / "kept.json").exists() else ""
    for where, text in (("the output", output), ("the log", watched.log)):
        problems += [f"{where} has a raw {sign!r}" for sign in ("\x1b", "\x07", "\x9b", "\u202e") if sign in text]
        problems += [f"a line of {where} is forged"] if _FORGED_LINE.search(text) else []
    # As it was said, where it may be said: the title is a file's name, the error is a message.
    assert (controller.work / "out" / TEMPLATE).read_text() == "content", output
    assert kept.count("lookup('pipe'") >= 3 and "DENIED" in kept, kept
    report(tallies.INPUTS, problems)

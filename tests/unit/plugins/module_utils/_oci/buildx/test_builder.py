# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.builder import config_text, find
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.cli import Buildx
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import ToolError

LISTED = [
    {"Current": True, "Driver": "docker", "Name": "default", "Nodes": [{"Endpoint": "default", "Status": "running", "Version": "v0.25"}]},
    {"Current": False, "Driver": "remote", "Name": "farm", "Nodes": [{"Endpoint": "tcp://a:1", "Status": "inactive"}]},
]


def buildx(out: str, code: int = 0, err: str = "") -> Buildx:
    return Buildx(lambda *_words, **_options: (code, out, err), cli="/bin/sh")


@pytest.mark.parametrize(("name", "driver"), [("farm", "remote"), (None, "docker"), ("absent", None)])
def test_find(name: t.Optional[str], driver: t.Optional[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUILDX_BUILDER", raising=False)
    # buildx repeats a builder for each of its nodes.
    found = find(buildx("\n".join(json.dumps(item) for item in LISTED * 2)), name)
    assert (found.driver if found else None) == driver


def test_the_builder_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDX_BUILDER", "farm")
    found = find(buildx("\n".join(map(json.dumps, LISTED))), None)
    assert found is not None and found.name == "farm" and found.version == ""


def test_an_older_buildx_without_json() -> None:
    with pytest.raises(ToolError, match=r"0\.13 or newer"):
        find(buildx("NAME/NODE DRIVER\n"), "x")


def test_a_failure_has_the_last_line_without_colours() -> None:
    with pytest.raises(ToolError, match=r"ls failed: ERROR: no$"):
        buildx("", 1, "first\n\x1b[33mERROR: no\x1b[0m\n").must("ls")


@pytest.mark.parametrize(("given", "passed"), [("disabled", "min"), (None, "min"), ("max", "max")])
def test_the_environment_cannot_hide_base_images(given: t.Optional[str], passed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUILDX_METADATA_PROVENANCE", raising=False)
    if given:
        monkeypatch.setenv("BUILDX_METADATA_PROVENANCE", given)
    seen: t.Dict[str, str] = {}

    def run(_words: t.Any, environ_update: t.Dict[str, str], **_options: t.Any) -> t.Tuple[int, str, str]:
        seen.update({"BUILDX_METADATA_PROVENANCE": given or "", **environ_update})
        return 0, "", ""

    Buildx(run, cli="/bin/sh").call("build")
    assert seen["BUILDX_METADATA_PROVENANCE"] == passed


def test_config_text() -> None:
    text = config_text([{"registry": "docker.io", "mirrors": ["a.example.com", 'b"c']}], ["localhost:5000", "docker.io"])
    assert text == (
        '[registry."docker.io"]\n  mirrors = ["a.example.com", "b\\"c"]\n  http = true\n[registry."localhost:5000"]\n  http = true\n'
    )

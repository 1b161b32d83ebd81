# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.definition import (
    Definition,
    Output,
    Secret,
    csv_record,
    parse_definition,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import NotFoundError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import qualified


@pytest.mark.parametrize(
    ("fields", "record"),
    [(["a=b"], "a=b"), (["a=b", "name=x,y"], 'a=b,"name=x,y"'), (['a="q"'], '"a=""q"""')],
)
def test_csv_record(fields: list, record: str) -> None:
    assert csv_record(fields) == record


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("alpine:3", "docker.io/library/alpine:3"),
        ("team/app:1", "docker.io/team/app:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("host:5000/app:1", "host:5000/app:1"),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
    ],
)
def test_qualified(name: str, whole: str) -> None:
    assert qualified(name) == whole


def test_secrets_are_in_the_environment_only() -> None:
    definition = Definition("/c", "/c/Dockerfile", (Output("oci", ("a:1", "b:1"), {}, "/x.tar"),), secrets=(Secret("t", value="needle"),))
    words = definition.arguments(["/tmp/x"], "/tmp/m", {})
    assert "needle" not in " ".join(words) and "needle" in definition.environment().values()
    assert '--output=type=oci,dest=/tmp/x,"name=a:1,b:1"' in words and words[-2:] == ["--", "/c"]


@pytest.mark.parametrize(
    ("context", "remote", "pinned"),
    [
        ("/srv/x", False, False),
        ("https://example.com/x.git#" + "a" * 40, True, True),
        ("https://example.com/x.git#" + "a" * 40 + ":sub", True, True),
        ("git@example.com:x.git#main", True, False),
    ],
)
def test_remote_contexts(context: str, remote: bool, pinned: bool) -> None:
    definition = Definition(context, "Dockerfile", ())
    assert (definition.is_remote, definition.moving_contexts) == (remote, [context] if remote and not pinned else [])
    beside = Definition("/c", "/c/Dockerfile", (), build_contexts={"x": context})
    assert beside.moving_contexts == definition.moving_contexts


def test_a_relative_path_that_is_not_there(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match=f"context: no such folder: ./x \\(a relative path starts at {tmp_path}\\)"):
        parse_definition({"context": "./x", "source_date_epoch": None}, {})

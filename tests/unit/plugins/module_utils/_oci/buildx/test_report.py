# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx import report

DIGEST = "ab" * 32
FAILED = """#5 [2/2] RUN false
#5 ERROR: process "/bin/sh -c false" did not complete successfully: exit code: 1
------
 > [2/2] RUN false:
------
Dockerfile:2
--------------------
   1 |     FROM alpine
   2 | >>> RUN false
   3 |
--------------------
ERROR: failed to build: failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 1
"""


def material(uri: str) -> t.Dict[str, t.Any]:
    return {"uri": uri, "digest": {"sha256": DIGEST}}


@pytest.mark.parametrize(
    ("key", "inner"),
    [
        ("buildx.build.provenance", lambda items: {"materials": items}),
        ("buildx.build.provenance/linux/arm64", lambda items: {"materials": items}),
        ("buildx.build.provenance", lambda items: {"buildDefinition": {"resolvedDependencies": items}}),
    ],
)
def test_base_images(key: str, inner: t.Callable[[t.Any], t.Any]) -> None:
    items = [
        material("pkg:docker/alpine@latest?platform=linux%2Famd64"),
        material("pkg:docker/localhost%3A5000/team/app@v1"),
        material("pkg:docker/pinned@v1?digest=sha256:" + DIGEST),
        material("https://example.com/file"),
    ]
    assert report.base_images({key: inner(items)}) == {
        f"{name}": f"sha256:{DIGEST}" for name in ("alpine:latest", "localhost:5000/team/app:v1")
    }


def test_pinned_images_are_those_that_the_build_used() -> None:
    known = {"buildx.build.provenance": {"materials": [material("pkg:docker/alpine?digest=sha256:" + DIGEST)]}}
    pinned = {"alpine:latest": f"sha256:{DIGEST}", "gone:v1": "sha256:" + "cd" * 32}
    assert report.pinned_images(known, pinned) == {"alpine:latest": f"sha256:{DIGEST}"}


def test_of_two_secrets_the_longer_one_goes_first() -> None:
    assert report.failure("ERROR: hunter22\n", ["hunter", "hunter22"]).log == ["ERROR: ***"]


def test_failure() -> None:
    error = report.failure(FAILED, [])
    assert str(error) == (
        'the build failed at Dockerfile:2 (RUN false): process "/bin/sh -c false" did not complete successfully: exit code: 1'
    )
    assert error.log[0] == "------" and error.log[-1].startswith("ERROR: ") and len(error.log) == 10


def test_failure_without_secrets_and_without_a_place() -> None:
    error = report.failure("ERROR: failed to solve: cannot log in with hunter22\n", ["hunter22"])
    assert str(error) == "the build failed: cannot log in with ***" and error.log == ["ERROR: failed to solve: cannot log in with ***"]


def test_warnings() -> None:
    item = {"short": "U3RhZ2VOYW1l", "url": "https://x", "sourceInfo": {"filename": "Dockerfile"}, "range": [{"start": {"line": 3}}]}
    assert report.warnings({"buildx.build.warnings": [item]}) == ["Dockerfile:3: StageName (https://x)"]

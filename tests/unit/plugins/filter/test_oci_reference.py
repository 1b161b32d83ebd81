# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter oci_reference: references taken apart and put together."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.lading.oci.plugins.filter.oci_reference import FilterModule

DIGEST = "sha256:" + "0" * 64
oci_reference = FilterModule().filters()["oci_reference"]


def parts(kind: str, **more: str) -> t.Dict[str, t.Optional[str]]:
    return {"kind": kind, "registry": None, "repository": None, "path": None, "tag": None, "digest": None, **more}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("registry.example.com/app", parts("registry", registry="registry.example.com", repository="app")),
        ("localhost:5000/team/app:v1", parts("registry", registry="localhost:5000", repository="team/app", tag="v1")),
        (f"[::1]:5000/app@{DIGEST}", parts("registry", registry="[::1]:5000", repository="app", digest=DIGEST)),
        (f"localhost/app:v1@{DIGEST}", parts("registry", registry="localhost", repository="app", tag="v1", digest=DIGEST)),
        ("oci:/srv/layout", parts("oci", path="/srv/layout")),
        ("oci:layout:v1", parts("oci", path="layout", tag="v1")),
        ("oci:layout:@0", parts("oci", path="layout", tag="@0")),
        (f"oci:layout@{DIGEST}", parts("oci", path="layout", digest=DIGEST)),
        ("oci-archive:layout.tar:v1", parts("oci-archive", path="layout.tar", tag="v1")),
        ("docker-archive:saved.tar:app:v1", parts("docker-archive", path="saved.tar", tag="app:v1")),
    ],
)
def test_both_ways(text: str, fields: t.Dict[str, t.Optional[str]]) -> None:
    found = oci_reference(text)
    assert found == fields and oci_reference(found) == text
    assert {type(value) for value in found.values()} <= {str, type(None)}, "Ansible keeps no classes of others in its variables"
    assert oci_reference({name: value for name, value in found.items() if value is not None}) == text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("docker://index.docker.io/alpine:3", "docker.io/library/alpine:3"),
        ("Registry.Example.COM/app:V1", "registry.example.com/app:V1"),
        ("docker://oci:5000/app", "docker://oci:5000/app"),
    ],
)
def test_the_normal_form(text: str, normal: str) -> None:
    assert oci_reference(oci_reference(text)) == normal


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"registry": "localhost:5000", "repository": "app"}, "localhost:5000/app"),
        ({"registry": "docker.io", "repository": "alpine", "tag": "3", "digest": ""}, "docker.io/library/alpine:3"),
        ({"path": "/srv/layout", "tag": "v1"}, "oci:/srv/layout:v1"),
        ({"kind": "oci-archive", "path": "a.tar", "digest": DIGEST}, f"oci-archive:a.tar@{DIGEST}"),
    ],
)
def test_of_parts(fields: t.Dict[str, str], text: str) -> None:
    assert oci_reference(fields) == text


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("alpine:3", "not a fully qualified reference"),
        ("registry.example.com/App", "not a repository name"),
        ("", "not a reference"),
        (5, "not a reference: 5"),
        (None, "not a reference: None"),
        (["a"], r"not a reference: \['a'\]"),
        ({}, "kind registry needs registry"),
        ({"registry": "localhost:5000"}, "kind registry needs repository"),
        ({"kind": "oci", "tag": "v1"}, "kind oci needs path"),
        ({"kind": "oci", "path": "a", "repository": "app"}, "kind oci has no repository"),
        ({"kind": "registry", "registry": "localhost", "repository": "app", "path": "a"}, "kind registry has no path"),
        ({"kind": "ocidir", "path": "a"}, "not a kind of reference: 'ocidir'"),
        ({"registry": "localhost", "repository": "app", "name": "app"}, "not a field of a reference: 'name'"),
        ({"registry": "localhost", "repository": "app", "tag": 1.4}, "tag of a reference is not a text: 1.4"),
        ({"registry": "localhost", "repository": "app", "tag": "v1@sha256:0"}, "not a tag"),
        ({"registry": "localhost", "repository": "app", "digest": "sha256:0"}, "not a digest"),
        ({"registry": "localhost", "repository": "app:v1"}, "not a repository"),
        ({"registry": "localhost/team", "repository": "app"}, "not a registry host"),
        ({"registry": "team", "repository": "app"}, "not a fully qualified reference"),
        ({"path": "/srv/a:b"}, "reads otherwise"),
        ({"path": "/srv/a:b", "tag": "v1"}, "ambiguous"),
        ({"path": "/srv/a", "tag": DIGEST}, "ambiguous|reads otherwise"),
        ({"path": "/srv/a", "tag": "v1", "digest": DIGEST}, "a tag or a digest, not both"),
        ({"path": "/srv/a\x1b[2J"}, "not a reference"),
    ],
)
def test_what_is_none(value: t.Any, says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says) as caught:
        oci_reference(value)
    assert str(caught.value).isprintable()

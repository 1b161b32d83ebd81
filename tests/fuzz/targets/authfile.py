# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""config.json of docker, auth.json of podman, and what credential helpers print."""

from __future__ import annotations

import typing as t
from unittest import mock

from ansible_collections.lading.oci.plugins.module_utils._oci.registry import authfile, authfile_writer, helper
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference

from .common import allowed

REFERENCES = (
    RegistryReference("registry.example.com", "team/app"),
    RegistryReference("docker.io", "library/alpine"),
    RegistryReference("localhost:5000", "a"),
)
LOGIN = authfile.Credential("user", "pass:word")


def one_input(data: bytes) -> None:
    with mock.patch.object(authfile, "ask_helper", _answer):
        for what in ("config.json", "auth.json"):
            with allowed():
                file = authfile.AuthFile.parse(data, what)
                for reference in REFERENCES:
                    with allowed():
                        _check(file.find(reference))
                    with allowed():
                        _log_in(data, what, reference)
    with allowed():
        assert helper._parsed(data, "docker-credential-x").secret


def _answer(name: str, _server: str) -> t.Optional[helper.HelperAnswer]:
    """No program is run for a name that a mutation made up."""
    return helper.HelperAnswer("user", "secret") if len(name) % 2 else None


def _log_in(data: bytes, what: str, reference: RegistryReference) -> None:
    """Once put, it is found as such; once removed, it is not, and what others have is as it was."""
    writer = authfile_writer.AuthFileWriter(data, what)
    others = _others(data, what, reference)
    writer.put(reference.registry, LOGIN)
    content = writer.content()
    again = authfile_writer.AuthFileWriter(content, what)
    assert set(again.file.entries(reference.registry).values()) == {LOGIN}
    assert _others(content, what, reference) == others
    assert again.remove(reference.registry) and not authfile.AuthFile.parse(again.content(), what).entries(reference.registry)
    assert _others(again.content(), what, reference) == others


def _others(content: bytes, what: str, reference: RegistryReference) -> t.Any:
    document = authfile.parse_document(content, what)
    auths = document.pop("auths", None) or {}
    mine = authfile.AuthFile.parse(content, what).entries(reference.registry)
    return document, {key: entry for key, entry in auths.items() if key not in mine}


def _check(found: t.Optional[authfile.Credential]) -> None:
    if found is not None:
        assert found.password or found.identity_token or found.registry_token
        assert "\0" not in found.password[-1:]

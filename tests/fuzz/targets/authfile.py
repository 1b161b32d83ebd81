# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""config.json of docker, auth.json of podman, and what credential helpers print."""

from __future__ import annotations

import typing as t
from unittest import mock

from ansible_collections.lading.oci.plugins.module_utils._oci.registry import authfile, helper
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference

from .common import allowed

REFERENCES = (
    RegistryReference("registry.example.com", "team/app"),
    RegistryReference("docker.io", "library/alpine"),
    RegistryReference("localhost:5000", "a"),
)


def one_input(data: bytes) -> None:
    with mock.patch.object(authfile, "ask_helper", _answer):
        for what in ("config.json", "auth.json"):
            with allowed():
                file = authfile.AuthFile.parse(data, what)
                for reference in REFERENCES:
                    with allowed():
                        _check(file.find(reference))
    with allowed():
        assert helper._parsed(data, "docker-credential-x").secret


def _answer(name: str, _server: str) -> t.Optional[helper.HelperAnswer]:
    """No program is run for a name that a mutation made up."""
    return helper.HelperAnswer("user", "secret") if len(name) % 2 else None


def _check(found: t.Optional[authfile.Credential]) -> None:
    if found is not None:
        assert found.password or found.identity_token or found.registry_token
        assert "\0" not in found.password[-1:]

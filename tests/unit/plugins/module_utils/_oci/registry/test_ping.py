# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry is asked whether it lets somebody in."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.authfile import Credential
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.options import RegistryOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.ping import Pinged, ping
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import RegistryError, TransportError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

ME = Credential("me", "needle-of-me")


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[fake.FakeRegistry]:
    registry = fake.FakeRegistry()
    yield registry
    registry.close()


def asked(registry: fake.FakeRegistry, credential: Credential = ME) -> Pinged:
    options = RegistryOptions(plain_http=True, retries=0, timeout=5)
    return ping(RegistryReference(registry.host, ""), credential, options, lambda text: None)


def test_a_registry_that_lets_everybody_in_is_told_nothing(registry: fake.FakeRegistry) -> None:
    assert asked(registry) == (False, {"GET": 1})
    assert "authorization" not in registry.seen[0].headers


def test_basic(registry: fake.FakeRegistry) -> None:
    registry.basic = "me:needle-of-me"
    assert asked(registry) == (True, {"GET": 2})


def test_a_token_server_is_asked_for_no_scope(registry: fake.FakeRegistry) -> None:
    registry.bearer, registry.token_login = f"{registry.url}/token", "me:needle-of-me"
    assert asked(registry) == (True, {"GET": 3})
    (token,) = registry.asked("GET", "/token")
    assert "scope" not in token.path


def test_an_identity_token(registry: fake.FakeRegistry) -> None:
    registry.bearer = f"{registry.url}/token"
    assert asked(registry, Credential(identity_token="needle-refresh")) == (True, {"GET": 2, "POST": 1})
    assert b"refresh_token=needle-refresh" in registry.asked("POST", "/token")[0].body


@pytest.mark.parametrize("bearer", [False, True])
def test_it_says_no(registry: fake.FakeRegistry, bearer: bool) -> None:
    registry.bearer = f"{registry.url}/token" if bearer else ""
    registry.basic, registry.token_login = ("" if bearer else "me:other"), "me:other"
    registry.fault("GET", "token", fake.error(401, "UNAUTHORIZED", "not needle-of-me"))
    with pytest.raises(RegistryError, match="with the credentials of me") as caught:
        asked(registry)
    assert caught.value.status == 401 and "needle" not in str(caught.value)


@pytest.mark.parametrize("status", [404, 403, 500])
def test_what_is_no_registry(registry: fake.FakeRegistry, status: int) -> None:
    registry.fault("GET", "/v2/$", fake.error(status, "DENIED"))
    with pytest.raises(RegistryError, match=f"GET /v2/ of {registry.host} failed: {status}"):
        asked(registry)


def test_a_redirect_elsewhere(registry: fake.FakeRegistry) -> None:
    registry.fault("GET", "/v2/$", fake.answer(302, {"Location": "http://127.0.0.2:1/v2/"}))
    with pytest.raises(TransportError, match="redirected to another host"):
        asked(registry)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the lookups share: options of registries, and errors in which no secret is."""

from __future__ import annotations

import base64
import json
import pathlib
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible_collections.lading.oci.plugins.doc_fragments import lookup as fragment
from ansible_collections.lading.oci.plugins.lookup import digest, tags
from ansible_collections.lading.oci.plugins.module_utils._oci.module import registries_argument_spec, side_options
from ansible_collections.lading.oci.tests.unit.plugins.lookup.lookup_runs import Look
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import without_settings

PASSWORD = "pass word: {needle}"
LOGIN = {"username": "someone", "password": PASSWORD}
PLAIN = {"plain_http": True, "retries": 0}
DIGEST = "sha256:" + "0" * 64


@pytest.fixture(name="look")
def _look(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    without_settings(monkeypatch, tmp_path / "home")
    return Look(tags.LookupModule, tmp_path)


@pytest.fixture(name="registries")
def _registries() -> t.Iterator[t.Tuple[fake.FakeRegistry, fake.FakeRegistry]]:
    """One that wants a login, and one that wants none."""
    both = fake.FakeRegistry(), fake.FakeRegistry()
    both[0].basic = f"someone:{PASSWORD}"
    for registry in both:
        registry.state.tags["app", "v1"] = DIGEST
    yield both
    for registry in both:
        registry.close()


def authorizations(registry: fake.FakeRegistry) -> t.Set[t.Optional[str]]:
    return {seen.headers.get("authorization") for seen in registry.seen}


def test_a_login(look: Look, registries: t.Tuple[fake.FakeRegistry, fake.FakeRegistry]) -> None:
    text = f"{registries[0].host}/app"
    assert "401" in look.failed(text, **PLAIN)
    assert look(text, **PLAIN, **LOGIN) == ["v1"]
    assert look(text, registries=[{"host": registries[0].host, **PLAIN, **LOGIN}]) == ["v1"]
    look.variables = {"lading_oci_registries": [{"host": registries[0].host, **PLAIN, **LOGIN}]}
    assert look(text) == ["v1"]
    assert "401" in look.failed(text, **PLAIN), "what the lookup is given replaces the entry as a whole"


def test_a_registry_without_tls(look: Look, registries: t.Tuple[fake.FakeRegistry, fake.FakeRegistry]) -> None:
    """A lookup has no src_registry: what helps is its own option, or the variable."""
    said = look.failed(f"{registries[1].host}/app")
    assert "(for a registry without TLS set plain_http=true, or plain_http in lading_oci_registries)" in said


def test_a_login_is_for_its_host_alone(look: Look, registries: t.Tuple[fake.FakeRegistry, fake.FakeRegistry]) -> None:
    known = [{"host": registries[0].host, **PLAIN, **LOGIN}, {"host": registries[1].host, **PLAIN}]
    assert look(*(f"{registry.host}/app" for registry in registries), registries=known) == ["v1", "v1"]
    assert authorizations(registries[0]) == {None, "Basic " + base64.b64encode(f"someone:{PASSWORD}".encode()).decode()}
    assert authorizations(registries[1]) == {None}


def test_a_login_of_a_file(look: Look, registries: t.Tuple[fake.FakeRegistry, fake.FakeRegistry], tmp_path: pathlib.Path) -> None:
    entry = {"auth": base64.b64encode(f"someone:{PASSWORD}".encode()).decode()}
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {registries[0].host: entry}}))
    assert look(f"{registries[0].host}/app", auth_file=str(tmp_path / "auth.json"), **PLAIN) == ["v1"]
    assert "no such file" in look.failed(f"{registries[0].host}/app", auth_file=str(tmp_path / "none.json"), **PLAIN)


def test_options_that_are_null_are_not_given(look: Look, registries: t.Tuple[fake.FakeRegistry, fake.FakeRegistry]) -> None:
    look.variables = {"lading_oci_registries": [{"host": registries[1].host, **PLAIN}]}
    assert look(f"{registries[1].host}/app", username=None, password=None, registries=None) == ["v1"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"plain_htp": True}, "plain_htp. Supported parameters include"),
        ({"username": "someone"}, "username, password"),
        ({**LOGIN, "identity_token": "a token"}, "mutually exclusive: password|identity_token"),
        ({"timeout": 0}, "timeout is 0, it must be at least 1"),
        ({"retries": -1}, "retries is -1, it must be at least 0"),
        ({"retries": "many"}, "'retries' is of type str and we were unable to convert to int"),
        ({"registries": [{"plain_http": True}]}, "missing required arguments: host found in registries"),
        ({"registries": [{"host": "registry.example.com", "plain_htp": True}]}, "registries.plain_htp"),
        ({"registries": "registry.example.com"}, "registries"),
    ],
)
def test_what_makes_no_sense(look: Look, options: t.Dict[str, t.Any], says: str) -> None:
    said = look.failed("registry.example.com/app", **options)
    assert says in said and "needle" not in said


def test_a_registry_that_repeats_the_password(look: Look, registries: t.Tuple[fake.FakeRegistry, fake.FakeRegistry]) -> None:
    registry = registries[1]
    registry.fault("GET", "/tags/", fake.error(403, "DENIED", f"not with {PASSWORD}"))
    said = look.failed(f"{registry.host}/app", **PLAIN, **LOGIN)
    assert "DENIED" in said and "needle" not in said


@pytest.mark.parametrize("name", ["username", "auth_file", "client_cert"])
def test_a_password_in_the_wrong_place(look: Look, name: str) -> None:
    """Where it is told what was given, it is told without what is known to be a password."""
    more = {"client_cert": {"client_key": "/none"}}.get(name, {})
    said = look.failed("registry.example.com/app", **{**LOGIN, **more, name: PASSWORD, "timeout": PASSWORD})
    assert "timeout" in said and "needle" not in said


def test_a_proxy_that_fails(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words of the HTTP library are not shown: they may have a login in them."""
    monkeypatch.setenv("http_proxy", "http://someone:needle@127.0.0.1:9")
    said = look.failed("registry.example.com/app", **PLAIN)
    assert "Connection refused" in said and "needle" not in said


def test_the_kind_of_error(look: Look) -> None:
    with pytest.raises(AnsibleLookupError):
        look("alpine")


@pytest.mark.parametrize("plugin", [digest, tags], ids=["digest", "tags"])
def test_the_options_are_the_documented_ones(plugin: t.Any) -> None:
    """The lookups check them as modules do, and not by their documentation."""
    own = yaml.safe_load(plugin.DOCUMENTATION)["options"]
    shared = yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    spec = {"_terms": {"type": "list", "elements": "str", "required": True}, "default": {"type": "raw"}}
    spec = {**spec, **plugin.LookupModule.OPTIONS, **side_options(), **registries_argument_spec()}
    documented = {**own, **shared}
    assert documented.keys() == spec.keys() and not own.keys() & shared.keys()
    for name, option in spec.items():
        for key in ("type", "elements", "required", "default"):
            assert documented[name].get(key) == option.get(key), f"{name}: {key}"

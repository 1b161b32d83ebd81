# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Challenges, scopes, realms and tokens, without a server."""

from __future__ import annotations

import json
import pathlib
import typing as t
import urllib.parse

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.registry import auth
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.credentials import Credential
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.origin import secrets
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.scopes import covers, merge_scopes
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import (
    InvalidError,
    OCIError,
    RegistryError,
    TransportError,
)

VECTORS = json.loads((pathlib.Path(__file__).parent / "oras_go_www_authenticate.json").read_text())["groups"]["challenges"]
REALM = "https://auth.example.com/token"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors_of_oras_go(vector: t.Dict[str, t.Any]) -> None:
    found = auth.parse_challenge(vector.get("header", ""))
    scheme = vector.get("wantScheme", "")[len("Scheme") :].lower()
    if scheme in ("", "unknown"):
        assert all(one.scheme not in ("basic", "bearer") for one in found)
    else:
        assert found[0].scheme == scheme
    if scheme == "bearer":  # oras-go keeps no parameters of Basic
        assert dict(found[0].parameters) == vector.get("wantParams", {})


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Basic realm="a, b", Bearer realm="c",scope="d e"',
            [("basic", {"realm": "a, b"}), ("bearer", {"realm": "c", "scope": "d e"})],
        ),
        ('BEARER Realm="x"', [("bearer", {"realm": "x"})]),
        ('Negotiate abc==, Basic realm="y"', [("negotiate", {}), ("basic", {"realm": "y"})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        (",,, ,Basic", [("basic", {})]),
        ('="x" Bearer realm=', []),
    ],
)
def test_several_challenges(header: str, expected: t.List[t.Tuple[str, t.Dict[str, str]]]) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in auth.parse_challenge(header)] == expected


def test_bearer_is_preferred() -> None:
    assert auth.preferred(auth.parse_challenge('Basic realm="a", Bearer realm="b"')).scheme == "bearer"
    assert auth.preferred(auth.parse_challenge('Basic realm="a", Bearer service="b"')).scheme == "basic"
    assert auth.preferred(auth.parse_challenge('Digest realm="a"')) is None


def test_scopes_are_merged_by_resource() -> None:
    merged = merge_scopes("repository:a:pull", "repository:host:5000/b:push,pull repository:a:push", "")
    assert merged == ("repository:a:pull,push", "repository:host:5000/b:pull,push")


def test_what_a_token_covers() -> None:
    held = merge_scopes("repository:a:pull,push", "repository:b:pull")
    assert covers(held, ("repository:a:pull",))
    assert covers(held, ("repository:a:push", "repository:b:pull"))
    assert not covers(held, ("repository:b:push",))
    assert not covers(held, ("repository:c:pull",))


@pytest.mark.parametrize(
    ("realm", "registry", "hosts"),
    [
        ("https://registry.example.com/token", "https://registry.example.com", []),
        ("https://registry.example.com:443/token", "https://registry.example.com", []),
        ("https://auth.docker.io/token", "https://registry-1.docker.io", []),
        ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com", []),
        ("https://auth.example.com/token", "https://registry.example.com", ["Auth.example.com"]),
        ("https://auth.example.com:8443/token", "https://registry.example.com", ["auth.example.com:8443"]),
        ("http://localhost:5001/token", "http://localhost:5000", ["localhost:5001"]),
    ],
)
def test_realms_that_may_be_asked(realm: str, registry: str, hosts: t.List[str]) -> None:
    assert auth.check_realm(realm, registry, hosts) == realm


@pytest.mark.parametrize(
    ("realm", "registry", "hosts", "message"),
    [
        (
            "https://evil.example.com/token",
            "https://registry.example.com",
            [],
            "another host, evil.example.com: refused.*auth_hosts",
        ),
        ("https://registry.example.com:8443/token", "https://registry.example.com", [], "registry.example.com:8443"),
        ("https://auth.docker.io/token", "https://registry.example.com", [], "auth.docker.io"),
        ("https://auth.docker.io.evil.example.com/token", "https://registry-1.docker.io", [], "evil"),
        ("https://auth.example.com:8443/token", "https://registry.example.com", ["auth.example.com"], "8443"),
        ("http://registry.example.com/token", "https://registry.example.com", [], "without TLS"),
        ("http://auth.example.com/token", "https://registry.example.com", ["auth.example.com"], "without TLS"),
        ("file:///etc/passwd", "https://registry.example.com", [], "not an http or https URL"),
        ("/token", "https://registry.example.com", [], "not an http or https URL"),
        ("https://registry.example.com@evil.example.com/", "https://registry.example.com", [], "not a plain host"),
        ("https://evil.example.com\\@registry.example.com/", "https://registry.example.com", [], "not a"),
        ("http://169.254.169.254/latest", "http://registry.example.com", [], "169.254.169.254"),
    ],
)
def test_realms_that_are_refused(realm: str, registry: str, hosts: t.List[str], message: str) -> None:
    with pytest.raises(TransportError, match=message):
        auth.check_realm(realm, registry, hosts)


def run(
    credential: t.Optional[Credential], *answers: auth.TokenAnswer, realm: str = REALM
) -> t.Tuple[t.List[auth.TokenRequest], auth.Token]:
    flow = auth.bearer_flow(realm, "fake", ("repository:a:pull", "repository:b:pull"), credential)
    requests, queue = [next(flow)], list(answers)
    while True:
        try:
            requests.append(flow.send(queue.pop(0)))
        except StopIteration as end:
            return requests, end.value


def good(**fields: t.Any) -> auth.TokenAnswer:
    return auth.TokenAnswer(200, json.dumps(fields).encode())


def query(request: auth.TokenRequest) -> t.Dict[str, t.List[str]]:
    return urllib.parse.parse_qs(request.url.partition("?")[2])


def test_anonymous_is_a_get() -> None:
    (request,), token = run(None, good(token="a-token", expires_in=300), realm=f"{REALM}?keep=me")
    assert query(request) == {"keep": ["me"], "service": ["fake"], "scope": ["repository:a:pull", "repository:b:pull"]}
    assert request.authorization is None
    assert request.form is None
    assert (token.value, token.life) == ("a-token", 300)


def test_a_password_goes_as_basic_to_the_token_server() -> None:
    (request,), token = run(Credential("user", "pass:word"), good(access_token="a-token"))
    assert request.authorization == "Basic dXNlcjpwYXNzOndvcmQ="
    assert query(request)["account"] == ["user"]
    assert token.life == 60


def test_an_identity_token_goes_by_post() -> None:
    (request,), token = run(Credential("<token>", identity_token="identity"), good(access_token="a-token"))
    assert request.url == REALM
    assert urllib.parse.parse_qs(request.form) == {
        "grant_type": ["refresh_token"],
        "service": ["fake"],
        "client_id": ["lading.oci"],
        "scope": ["repository:a:pull repository:b:pull"],
        "refresh_token": ["identity"],
    }
    assert token.value == "a-token"


@pytest.mark.parametrize("status", [400, 401, 404, 405])
def test_a_server_without_post_is_asked_by_get(status: int) -> None:
    requests, token = run(Credential("user", identity_token="identity"), auth.TokenAnswer(status, b""), good(token="a-token"))
    assert requests[1].form is None
    assert requests[1].authorization == "Basic dXNlcjppZGVudGl0eQ=="
    assert token.value == "a-token"


@pytest.mark.parametrize(("said", "life"), [(10, 60), (3600, 3600), ("x", 60), (None, 60), (True, 60)])
def test_the_life_of_a_token(said: t.Any, life: float) -> None:
    assert run(None, good(token="a-token", expires_in=said))[1].life == life


def test_a_refusal_carries_the_servers_words() -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "account locked"}]}).encode()
    with pytest.raises(RegistryError, match=r"auth.example.com gives no token: status 403 \(account locked\)"):
        run(None, auth.TokenAnswer(403, body))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>", InvalidError),
        (b"[]", InvalidError),
        (b'{"token": 5}', TransportError),
        (b'{"token": "with blank"}', TransportError),
        (b'{"token": "x\\r\\nHost: evil"}', TransportError),
        (b"{}", TransportError),
        (b'{"token": "a", "token": "b"}', InvalidError),
        (b'{"token": "' + b"a" * 1024 * 1024 + b'"}', InvalidError),
    ],
    ids=["html", "list", "number", "blank", "header", "empty", "twice", "large"],
)
def test_answers_without_a_usable_token(body: bytes, kind: t.Type[OCIError]) -> None:
    with pytest.raises(kind):
        run(None, auth.TokenAnswer(200, body))


def test_every_secret_of_a_login_is_registered() -> None:
    run(Credential("user", "s3cret-pw"), good(token="the-bearer-token"))
    run(Credential(identity_token="the-identity"), good(access_token="another-token"))
    text = "s3cret-pw the-bearer-token the-identity another-token dXNlcjpzM2NyZXQtcHc="
    assert set(secrets.redact(text).split()) == {"***"}

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.authfile import HUB_KEY, AuthFile, Credential
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.authfile_writer import (
    AuthFileWriter,
    check_credential,
    helper_answer,
    same_credential,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference

HOST = "reg.example.com:5000"
ME = Credential("me", "pass:word & <more> é")
TOKEN = Credential(identity_token="refresh")


def auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def writer(document: t.Any, what: str = "auth.json") -> AuthFileWriter:
    return AuthFileWriter(json.dumps(document).encode(), what)


def put(document: t.Any, registry: str = HOST, credential: Credential = ME) -> t.Any:
    made = writer(document)
    made.put(registry, credential)
    return json.loads(made.content())


@pytest.mark.parametrize("credential", [ME, TOKEN, Credential("me", identity_token="refresh"), Credential("_json_key", "{\n}\n")])
@pytest.mark.parametrize("registry", [HOST, "docker.io"])
def test_what_is_put_is_found(credential: Credential, registry: str) -> None:
    for document in ({}, {"auths": None}, {"auths": {registry: {}}}):
        made = writer(document)
        made.put(registry, credential)
        found = AuthFile.parse(made.content(), "auth.json").find(RegistryReference(registry, "team/app"))
        assert found is not None and same_credential(found, credential)


def test_the_forms_that_other_tools_read() -> None:
    assert put({}) == {"auths": {HOST: {"auth": auth("me:pass:word & <more> é")}}}
    # Docker refuses auth without a user name; the containers tools want auth.
    assert put({}, credential=TOKEN) == {"auths": {HOST: {"auth": auth("<token>:"), "identitytoken": "refresh"}}}
    assert put({}, registry="docker.io") == {"auths": {HUB_KEY: {"auth": auth("me:pass:word & <more> é")}}}


def test_the_text_is_as_docker_writes_it() -> None:
    made = writer({"auths": {"a": {"auth": "b"}}})
    made.remove(HOST)
    assert made.content() == b'{\n\t"auths": {\n\t\t"a": {\n\t\t\t"auth": "b"\n\t\t}\n\t}\n}'


def test_what_is_not_ours_stays() -> None:
    document = {
        "HttpHeaders": {"User-Agent": "x"},
        "auths": {"other": {"auth": "***"}, HOST: {"email": "a@b", "auth": auth("old:one"), "registrytoken": "x"}, f"{HOST}/team": {}},
        "plugins": {"é": [1, 2.5, None, True]},
    }
    changed = put(document)
    assert list(changed) == list(document) and list(changed["auths"]) == list(document["auths"])
    assert changed["auths"][HOST] == {"email": "a@b", "auth": auth("me:pass:word & <more> é")}
    changed["auths"][HOST] = document["auths"][HOST]  # type: ignore[index]
    assert changed == document


def test_every_key_of_the_registry_is_written() -> None:
    """docker looks at one first, podman at another."""
    hub = {"docker.io": {"auth": auth("old:one")}, HUB_KEY: {}, "docker.io/library": {"auth": auth("part:one")}}
    changed = put({"auths": hub}, "docker.io")["auths"]
    assert changed["docker.io"] == changed[HUB_KEY] == {"auth": auth("me:pass:word & <more> é")}
    assert changed["docker.io/library"] == hub["docker.io/library"]
    assert list(put({"auths": {f"https://{HOST}/v2/": {}}})["auths"]) == [f"https://{HOST}/v2/"]


def test_removal() -> None:
    made = writer({"auths": {HOST: {"auth": auth("a:b")}, f"https://{HOST}": {}, f"{HOST}/team": {}, "other": {}}})
    assert made.remove(HOST) and json.loads(made.content()) == {"auths": {f"{HOST}/team": {}, "other": {}}}
    assert not writer({"auths": {"other": {}}}).remove(HOST)


def test_credentials_leave_the_file_for_a_helper() -> None:
    made = writer({"auths": {HOST: {"auth": auth("a:b"), "email": "x"}, "other": {"auth": auth("a:b")}}})
    assert made.strip(HOST)
    made.name_helper(HOST, "pass")
    expected = {"auths": {HOST: {"email": "x"}, "other": {"auth": auth("a:b")}}, "credHelpers": {HOST: "pass"}}
    assert json.loads(made.content()) == expected
    assert not writer(expected).strip(HOST)


@pytest.mark.parametrize(
    ("what", "named", "key"),
    [
        ("auth.json", {}, "docker.io"),
        ("config.json", {}, HUB_KEY),
        ("config.json", {"index.docker.io": "old"}, "index.docker.io"),
        ("auth.json", {HUB_KEY: "old"}, HUB_KEY),
    ],
)
def test_the_helper_of_docker_hub(what: str, named: t.Dict[str, str], key: str) -> None:
    made = writer({"credHelpers": named}, what)
    made.name_helper("docker.io", "pass")
    assert json.loads(made.content())["credHelpers"] == {key: "pass"}
    assert AuthFile.parse(made.content(), what).helper_for("docker.io") == "pass"


def test_a_broken_entry_is_mended() -> None:
    for broken in ("needle", {"auth": "***"}, {"auth": 1}, {"auth": auth("none")}):
        assert put({"auths": {HOST: broken}})["auths"][HOST] == {"auth": auth("me:pass:word & <more> é")}


def test_a_file_that_nobody_would_read_again_is_not_written() -> None:
    made = writer({"more": "x" * ((1 << 20) - 40)})
    made.content()
    made.put(HOST, ME)
    with pytest.raises(InvalidError, match="auth.json would have .* more than the limit"):
        made.content()


@pytest.mark.parametrize(
    ("credential", "says"),
    [
        (Credential(), "no credentials"),
        (Credential("me"), "no credentials"),
        (Credential("", "needle"), "password needs a username"),
        (Credential("a:b", "needle"), "username has a colon"),
        (Credential("a:b", identity_token="needle"), "username has a colon"),
        (Credential("<token>", "needle"), "give it as identity_token"),
        (Credential("me\n", "needle"), "username has a character"),
        (Credential("me", "nee\0dle"), "password has a character"),
        (Credential("me", "needle\ud800"), "password has a character"),
        (Credential("m\x7fe", "needle"), "username has a character"),
        (Credential(identity_token="needle\r\n"), "identity_token has a character"),
    ],
)
def test_credentials_that_cannot_be_kept(credential: Credential, says: str) -> None:
    with pytest.raises(InvalidError, match=says) as caught:
        check_credential(credential)
    assert "needle" not in str(caught.value)


def test_credentials_that_can() -> None:
    for credential in (
        ME,
        TOKEN,
        Credential("me", identity_token="x"),
        Credential("\U0001f511 x", "a:b c\u00e9"),
        Credential("_json_key", '{\n"a": 1\n}\n'),
    ):
        check_credential(credential)


def test_what_is_the_same() -> None:
    assert same_credential(Credential("<any>", identity_token="refresh"), TOKEN)
    assert not same_credential(Credential("you", identity_token="refresh"), Credential("me", identity_token="refresh"))
    for other in (None, Credential("me", "other"), Credential("you", ME.password), Credential("me", ME.password, "token"), TOKEN):
        assert not same_credential(other, ME)
    assert not same_credential(ME, TOKEN) and same_credential(Credential(*("me", ME.password)), ME)


def test_as_helpers_keep_it() -> None:
    assert helper_answer(ME) == ("me", ME.password) and helper_answer(Credential("me", identity_token="x")) == ("<token>", "x")

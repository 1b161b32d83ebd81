# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds of every challenge, scope, URL and credentials file."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest

pytest.importorskip("hypothesis")

from ansible_collections.lading.oci.plugins.module_utils._oci.registry import auth, authfile, origin
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.scopes import covers, merge_scopes, repository_scope
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError, TransportError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference
from hypothesis import given, settings
from hypothesis import strategies as st

steady = settings(max_examples=60, deadline=None, derandomize=True, database=None)

REGISTRY = "https://registry.example.com/v2/"
REFERENCE = RegistryReference("registry.example.com", "team/app")
WORDS = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=15)
HEADERS = st.text(st.characters(max_codepoint=0xFF), max_size=60) | st.text('Bearer="\\, realmx:/', max_size=60)
CHALLENGES = st.lists(st.tuples(WORDS, st.dictionaries(WORDS, VALUES, min_size=1, max_size=3)), min_size=1, max_size=3)
PASSWORDS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=12)
USERS = PASSWORDS.map(lambda text: text.replace(":", "_"))


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@steady
@given(CHALLENGES)
def test_challenges_are_read_back(challenges: t.List[t.Tuple[str, t.Dict[str, str]]]) -> None:
    parts = [f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in values.items()) for scheme, values in challenges]
    for header in (", ".join(parts), ",".join(parts).replace("=", " = ", 1)):
        found = [(one.scheme, dict(one.parameters)) for one in auth.parse_challenge(header)]
        assert found == challenges


@steady
@given(HEADERS)
def test_any_header_is_read_to_its_end(header: str) -> None:
    found = auth.parse_challenge(header)
    assert all(one.scheme and one.scheme == one.scheme.lower() for one in found)
    chosen = auth.preferred(found)
    assert chosen is None or chosen.scheme in ("basic", "bearer")


@steady
@given(HEADERS | st.from_regex(r"(https?:)?//([a-z]{1,3}@)?[a-z.\[\]:]{0,9}(:[0-9]{0,6})?/[a-z?#]{0,6}", fullmatch=True))
def test_no_realm_gets_credentials_but_the_own_and_the_listed(realm: str) -> None:
    """Threat row 49."""
    try:
        assert auth.check_realm(realm, REGISTRY, ["auth.example.com"]) == realm
    except TransportError as error:
        assert str(error).isprintable()
        return
    assert origin.origin_of(realm)[:2] in (("https", "registry.example.com"), ("https", "auth.example.com"))


@steady
@given(HEADERS)
def test_a_location_leads_to_one_place_and_never_away_from_tls(location: str) -> None:
    """Threat rows 45, 50, 51."""
    try:
        url = origin.resolve(REGISTRY, location)
    except TransportError:
        return
    assert url.startswith("https://") and origin.same_origin(url, url) and "#" not in url


@steady
@given(st.lists(st.tuples(WORDS, st.sets(st.sampled_from(["pull", "push", "delete"]), min_size=1)), max_size=3))
def test_scopes_cover_their_parts(parts: t.List[t.Tuple[str, t.Set[str]]]) -> None:
    scopes = [repository_scope(name, *sorted(actions)) for name, actions in parts]
    merged = merge_scopes(*scopes)
    assert merge_scopes(*merged) == merged == merge_scopes(*reversed(scopes)) and covers(merged, merged)
    assert all(covers(merged, merge_scopes(scope)) for scope in scopes)
    assert not covers(merged, merge_scopes("repository:another/one:pull"))


@steady
@given(USERS, PASSWORDS, st.sampled_from(["registry.example.com", "registry.example.com/team", "https://registry.example.com/v1/"]))
def test_credentials_are_read_back(user: str, password: str, key: str) -> None:
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    for entry in ({"auth": encoded}, {"username": user, "password": password}):
        file = authfile.AuthFile.parse(json.dumps({"auths": {key: entry}}).encode(), "config.json")
        assert file.find(REFERENCE) == authfile.Credential(user, password)
        # Threat row 58: by host alone.
        assert file.find(RegistryReference("other.example.com", "team/app")) is None


FIELDS = st.sampled_from(["auth", "username", "password", "identitytoken"])
ENTRIES = st.none() | st.text(max_size=8) | st.dictionaries(FIELDS, st.none() | st.text(max_size=8))
PLACES = st.sampled_from([REFERENCE.registry, REFERENCE.name])
FILES = st.dictionaries(st.sampled_from(["auths", "credsStore", "credHelpers"]), ENTRIES | st.dictionaries(PLACES, ENTRIES))


@steady
@given(FILES)
def test_any_file_gives_credentials_or_our_own_error(document: t.Dict[str, t.Any]) -> None:
    """No helper is on PATH here; what is in the file is in no message."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nonexistent")
        try:
            found = authfile.AuthFile.parse(json.dumps(document).encode(), "config.json").find(REFERENCE)
        except OCIError as error:
            assert str(error).isprintable()
            return
    assert found is None or found.password or found.identity_token


@steady
@given(st.text(min_size=4, max_size=20), st.text(max_size=30))
def test_a_secret_is_in_no_message(secret: str, around: str) -> None:
    """Threat row 54."""
    known = origin.Secrets()
    known.add(secret)
    assert secret not in known.redact(around.replace(secret, "") + secret) or secret in around + "***"

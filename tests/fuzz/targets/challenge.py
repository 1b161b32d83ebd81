# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What registries and token servers say: challenges, realms, tokens, links, redirects."""

from __future__ import annotations

from ansible_collections.lading.oci.plugins.module_utils._oci.registry import auth, lists, origin
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.authfile import Credential
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.scopes import covers, merge_scopes

from .common import allowed

REGISTRY = "https://registry.example.com/"


def one_input(data: bytes) -> None:
    # As HTTP libraries hand headers over: one character for each byte.
    header, _zero, body = data.partition(b"\0")
    text = header.decode("latin-1")
    challenges = auth.parse_challenge(text)
    assert all(one.scheme == one.scheme.lower() and one.scheme for one in challenges)
    chosen = auth.preferred(challenges)
    if chosen is not None and chosen.scheme == "bearer":
        with allowed():
            _login(chosen, body)
    with allowed():
        target = origin.resolve(REGISTRY, text)
        assert target.startswith("https:") and origin.same_origin(target, target)
    link = lists._NEXT.search(text[:8192])
    if link is not None:
        with allowed():
            origin.host_of(origin.resolve(REGISTRY, link.group(1)))
    assert origin.quoted(text).isprintable() and len(origin.quoted(text)) <= 16 * 1024
    scopes = merge_scopes(text)
    assert covers(scopes, merge_scopes("repository:a:pull")) in (True, False)


def _login(challenge: auth.Challenge, body: bytes) -> None:
    realm = auth.check_realm(challenge.parameters["realm"], REGISTRY, ["auth.example.com"])
    assert origin.host_of(realm) in ("registry.example.com", "auth.example.com")
    for credential in (None, Credential("user", "needle-password"), Credential(identity_token="needle-identity")):
        with allowed():
            _flow(realm, challenge, credential, body)


def _flow(realm: str, challenge: auth.Challenge, credential: object, body: bytes) -> None:
    flow = auth.bearer_flow(realm, challenge.parameters.get("service", ""), merge_scopes("repository:a:pull"), credential)  # type: ignore[arg-type]
    request = next(flow)
    assert origin.same_origin(request.url, realm) and "needle" not in request.url
    for status in (404, 200):
        try:
            flow.send(auth.TokenAnswer(status, body))
        except StopIteration as end:
            assert end.value.life >= 60
            return

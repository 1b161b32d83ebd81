# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a token is used, by a clock of the test's own."""

from __future__ import annotations

import json

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.registry import auth
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.caller import Caller
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.login import Login

CHALLENGE = auth.Challenge("bearer", {"realm": "https://r.example.com/token", "service": "fake"})
SCOPES = ("repository:a:pull",)


@pytest.mark.parametrize(("later", "authorization"), [(0, "Bearer token-1"), (289, "Bearer token-1"), (290, "Bearer token-2")])
def test_a_token_is_used_until_ten_seconds_before_its_end(later: float, authorization: str) -> None:
    now, asked = [1000.0], []

    def fetch(caller: Caller, request: auth.TokenRequest) -> auth.TokenAnswer:
        asked.append(request)
        return auth.TokenAnswer(200, json.dumps({"token": f"token-{len(asked)}", "expires_in": 300}).encode())

    login, caller = Login("https://r.example.com", [], fetch, lambda: now[0]), Caller(lambda: None)
    assert login.answer(caller, CHALLENGE, SCOPES, None) == "Bearer token-1"
    now[0] += later
    assert login.known(caller, SCOPES) == authorization

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens that run out, and token servers that fail (threats.md rows 35, 36, 37, 40, 42)."""

from __future__ import annotations

import typing as t

import fault_cases as cases
from fault_cases import FILES_DOWN, LAYOUT_DOWN, REFUSED, SUCCEEDS, UP, Case
from fault_proxy import BEFORE, CLOSE, FOR_EVER, HEADER, MIDDLE, RESET, STALL, Broken, Expired, Fault, Respond, Rule

SESSIONS, MANIFEST, BIG, TOKEN = "/blobs/uploads/", "/manifests/", "/blobs/{big}", "/token"
JSON = {"Content-Type": "application/json"}


def runs_out(name: str, way: str, *rules: Rule, outcome: str = SUCCEEDS, **more: t.Any) -> Case:
    return Case(f"token-runs-out-{name}", "42", way, rules, outcome, bearer=True, **more)


def expiries() -> t.Iterator[Case]:
    for way in (LAYOUT_DOWN, FILES_DOWN):
        yield runs_out("at-the-blob", way, Rule("GET", BIG, Expired()))
        yield runs_out("in-the-middle", way, Rule("GET", BIG, Broken(CLOSE, MIDDLE)), Rule("GET", BIG, Expired()))
        yield runs_out("at-the-manifest", way, Rule("GET", MANIFEST, Expired()))
    yield runs_out("after-the-body", UP, Rule("PUT|PATCH", SESSIONS, Expired(), large=True))
    yield runs_out("at-the-start", UP, Rule("POST", SESSIONS, Expired()))
    yield runs_out("at-the-manifest", UP, Rule("PUT", MANIFEST, Expired()))
    yield runs_out("at-the-look", UP, Rule("HEAD", "/blobs/", Expired()))
    whole = Rule("PUT", SESSIONS, Respond(413), FOR_EVER, large=True)
    for skip in (0, 1, 2):
        yield runs_out(f"at-chunk-{skip}", UP, whole, Rule("PATCH", SESSIONS, Expired(), skip=skip), own=True)
    lost = Rule("PATCH", SESSIONS, Broken(RESET), skip=1)
    yield runs_out("at-the-offset", UP, whole, lost, Rule("GET", SESSIONS, Expired()), own=True)
    for way, rule in ((LAYOUT_DOWN, Rule("GET", BIG, Expired(), FOR_EVER)), (UP, Rule("PUT|PATCH", SESSIONS, Expired(), FOR_EVER))):
        yield runs_out("for-ever", way, rule, outcome=REFUSED, says="401")


def server(name: str, rows: str, fault: Fault, outcome: str, times: float = 1, way: str = LAYOUT_DOWN, **more: t.Any) -> Case:
    return Case(f"token-server-{name}", rows, way, (Rule("GET|POST", TOKEN, fault, times),), outcome, bearer=True, **more)


def servers() -> t.Iterator[Case]:
    for at in (BEFORE, HEADER, MIDDLE):
        yield server(f"reset-once-{at}", "42", Broken(RESET, at), SUCCEEDS)
    yield server("cut-once", "42", Broken(CLOSE, MIDDLE), SUCCEEDS, way=UP)
    yield server("reset-for-ever", "42", Broken(RESET), REFUSED, FOR_EVER, says="token server")
    yield server("503-twice", "36", Respond(503), SUCCEEDS, 2)
    yield server("503-for-ever", "36", Respond(503), REFUSED, FOR_EVER, says="503")
    yield server("429", "35", Respond(429, {"Retry-After": "1"}), SUCCEEDS)
    yield server("429-a-day", "35", Respond(429, {"Retry-After": "86400"}), REFUSED, FOR_EVER, says="86400 seconds")
    yield server("login-page", "40", Respond(200, {"Content-Type": "text/html"}, b"<html></html>"), REFUSED, FOR_EVER)
    yield server("no-token", "40", Respond(200, JSON, b"{}"), REFUSED, FOR_EVER)
    yield server("token-that-is-none", "40", Respond(200, JSON, b'{"token": "a\\r\\nX-Evil: 1"}'), REFUSED, FOR_EVER)
    too_much = Respond(200, JSON, b'{"token": "' + b"x" * 3_000_000 + b'"}')
    yield server("too-much", "26", too_much, REFUSED, FOR_EVER, says="more than 1048576")
    yield server("401", "42", Respond(401), REFUSED, FOR_EVER, says="login")
    yield server("404", "42", Respond(404), REFUSED, FOR_EVER)
    yield server("never-good-enough", "42", Respond(200, JSON, b'{"token": "another-one"}'), REFUSED, FOR_EVER, says="401")
    yield server("stall-once", "37", Broken(STALL), SUCCEEDS, timeout=1)
    yield server("stall-for-ever", "37", Broken(STALL), REFUSED, FOR_EVER, timeout=1, within=10, says="within 1 seconds")
    yield server("stall-once-in-the-body", "37", Broken(STALL, MIDDLE), SUCCEEDS, way=UP, timeout=1)


@cases.cases([*expiries(), *servers()])
def test_login(case: Case, trials: cases.Trials) -> None:
    trials(case)


def controls() -> t.Iterator[Case]:
    for way in (LAYOUT_DOWN, FILES_DOWN, UP):
        yield Case("token-that-lasts", "42", way, (Rule("GET|POST", TOKEN, Fault(), FOR_EVER),), SUCCEEDS, bearer=True)


@cases.cases(controls())
def test_a_token_that_lasts(case: Case, trials: cases.Trials) -> None:
    trials(case)

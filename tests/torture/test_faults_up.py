# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Broken transport and wrong answers on the way up (threats.md rows 31, 35, 36, 41, 43)."""

from __future__ import annotations

import typing as t

import fault_cases as cases
from fault_cases import EITHER, REFUSED, SUCCEEDS, UP, Case
from fault_proxy import (
    BEFORE,
    CLOSE,
    END,
    FIRST,
    FOR_EVER,
    HEADER,
    LAST,
    MIDDLE,
    RESET,
    Broken,
    BrokenUpload,
    Changed,
    Fault,
    FlippedUpload,
    Late,
    Respond,
    Rule,
)

SESSIONS, MANIFEST, BIG = "/blobs/uploads/", "/manifests/", "/blobs/{big}"
OTHER = "sha256:" + "a" * 64
NO_SESSION = Respond(404, {"Content-Type": "application/json"}, b'{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}')


def body(name: str, rows: str, fault: Fault, outcome: str, times: float = 1, **more: t.Any) -> Case:
    """A fault of the request that carries the large layer."""
    return Case(name, rows, UP, (Rule("PUT|PATCH", SESSIONS, fault, times, large=True),), outcome, **more)


def start(name: str, rows: str, fault: Fault, outcome: str, times: float = 1, **more: t.Any) -> Case:
    return Case(name, rows, UP, (Rule("POST", SESSIONS, fault, times),), outcome, **more)


def document(name: str, rows: str, fault: Fault, outcome: str, times: float = 1, **more: t.Any) -> Case:
    return Case(name, rows, UP, (Rule("PUT", MANIFEST, fault, times),), outcome, **more)


def broken() -> t.Iterator[Case]:
    for how in (RESET, CLOSE):
        for at in (FIRST, MIDDLE, LAST, END):
            yield body(f"{how}-once-{at}", "41", BrokenUpload(how, at), SUCCEEDS)
        for at in (BEFORE, HEADER):
            yield body(f"answer-{how}-once-{at}", "41", Broken(how, at), SUCCEEDS)
        yield body(f"{how}-twice", "41", BrokenUpload(how, MIDDLE), SUCCEEDS, 2)
        yield document(f"manifest-{how}-once", "41", BrokenUpload(how, MIDDLE), SUCCEEDS)
        yield document(f"manifest-answer-{how}-once", "41", Broken(how), SUCCEEDS)
        yield document(f"manifest-{how}-for-ever", "41", BrokenUpload(how, MIDDLE), REFUSED, FOR_EVER)
        yield start(f"start-{how}-once", "41", Broken(how), SUCCEEDS)
    every = (Rule("PUT|PATCH", SESSIONS, BrokenUpload(RESET, MIDDLE), FOR_EVER),)
    yield Case("reset-for-ever", "41", UP, every, REFUSED, says="PATCH|PUT")
    yield Case("reset-for-ever-as-configured", "41", UP, every, REFUSED, retries=5, within=60, says="PATCH|PUT")
    yield Case("answers-lost-for-ever", "41", UP, (Rule("PUT|PATCH", SESSIONS, Broken(CLOSE), FOR_EVER),), REFUSED)


def refused() -> t.Iterator[Case]:
    yield body("session-lost", "41", NO_SESSION, SUCCEEDS)
    yield body("session-lost-twice", "41", NO_SESSION, SUCCEEDS, 2)
    lost = (Rule("PUT|PATCH", SESSIONS, NO_SESSION, FOR_EVER),)
    yield Case("sessions-lost-for-ever", "41", UP, lost, REFUSED, says="BLOB_UPLOAD_UNKNOWN")
    yield body("range-not-satisfiable", "41", Respond(416), SUCCEEDS)
    yield body("429-once", "35 41", Respond(429, {"Retry-After": "1"}), SUCCEEDS)
    yield body("429-date", "35 41", Late(429, 1), SUCCEEDS)
    yield body("429-a-day", "35 41", Respond(429, {"Retry-After": "86400"}), REFUSED, FOR_EVER, says="86400 seconds")
    for status in (500, 503):
        yield body(f"{status}-twice", "36 41", Respond(status), SUCCEEDS, 2)
    yield body("503-for-ever", "36 41", Respond(503), REFUSED, FOR_EVER, says="503")
    yield start("start-503-twice", "36", Respond(503), SUCCEEDS, 2)
    yield start("start-503-for-ever", "36", Respond(503), REFUSED, FOR_EVER, says="503")
    yield start("start-429", "35", Respond(429, {"Retry-After": "1"}), SUCCEEDS)
    yield document("manifest-500-twice", "36", Respond(500), SUCCEEDS, 2)
    yield document("manifest-500-for-ever", "36", Respond(500), REFUSED, FOR_EVER, says="500")
    yield document("manifest-429", "35", Respond(429, {"Retry-After": "1"}), SUCCEEDS, gap=1)
    yield body("too-large", "41", Respond(413), SUCCEEDS, FOR_EVER, own=True)


def chunked() -> t.Iterator[Case]:
    """The layer goes in chunks, because the whole is refused; then a chunk goes wrong."""
    faults: t.Dict[str, Fault] = {
        "reset": BrokenUpload(RESET, MIDDLE),
        "answer-lost": Broken(RESET),
        "answer-cut": Broken(CLOSE, HEADER),
        "short-range": Changed({"Range": "0-524287"}),
        "range-of-nothing": Changed({"Range": "0-0"}),
        "no-range": Changed({"Range": None}),
        "range-beyond": Changed({"Range": "0-99999999"}),
        "out-of-order": Respond(416),
        "session-lost": NO_SESSION,
        "busy": Respond(503),
        "asked-to-wait": Respond(429, {"Retry-After": "1"}),
    }
    whole = Rule("PUT", SESSIONS, Respond(413), FOR_EVER, large=True)
    for name, fault in faults.items():
        yield Case(f"chunk-{name}", "41", UP, (whole, Rule("PATCH", SESSIONS, fault, skip=1)), SUCCEEDS, own=True)
    offset_asked = Rule("GET", SESSIONS, Broken(RESET))
    rules = (whole, Rule("PATCH", SESSIONS, Broken(RESET), skip=1), offset_asked)
    yield Case("chunk-and-offset-lost", "41", UP, rules, SUCCEEDS, own=True)
    last = Rule("PUT", SESSIONS, Broken(CLOSE), skip=0)
    yield Case("last-request-lost", "41", UP, (whole, last), SUCCEEDS, own=True)


def lies() -> t.Iterator[Case]:
    stored_other = Changed({"Docker-Content-Digest": OTHER})
    yield Case("blob-stored-as-another", "43", UP, (Rule("PUT", SESSIONS, stored_other, FOR_EVER),), REFUSED, says="says that it stored")
    yield document("manifest-stored-as-another", "43", stored_other, EITHER, FOR_EVER, says="says that it stored")
    dropped = (Rule("PUT", SESSIONS, Respond(201, {"Docker-Content-Digest": "{digest}"}), FOR_EVER),)
    yield Case("blob-dropped", "43", UP, dropped, REFUSED, says="BLOB_UNKNOWN")
    there = (Rule("HEAD", BIG, Respond(200, {"Content-Length": "2621440"}), FOR_EVER),)
    yield Case("head-lies", "43", UP, there, REFUSED, says="BLOB_UNKNOWN")
    smaller = (Rule("HEAD", BIG, Respond(200, {"Content-Length": "5"}), FOR_EVER),)
    yield Case("head-lies-size", "43", UP, smaller, REFUSED, says="5 bytes, not")
    page = Respond(200, {"Content-Type": "text/html"}, b"<html></html>")
    yield body("login-page", "40", page, REFUSED, FOR_EVER, says="login page")
    yield document("manifest-login-page", "40", page, REFUSED, FOR_EVER, says="login page")
    yield start("no-location", "41", Changed({"Location": None}), REFUSED, FOR_EVER, says="without a Location")
    yield start("location-elsewhere", "41", Changed({"Location": "http://127.0.0.1:9/v2/x"}), REFUSED, FOR_EVER, says="another host")
    yield body("bit-flipped-once", "31", FlippedUpload(), EITHER)
    yield body("bit-flipped-for-ever", "31", FlippedUpload(), REFUSED, FOR_EVER)
    yield document("manifest-refused", "43", Respond(400), REFUSED, FOR_EVER, says="400")


@cases.cases([*broken(), *refused(), *chunked(), *lies()])
def test_up(case: Case, trials: cases.Trials) -> None:
    trials(case)

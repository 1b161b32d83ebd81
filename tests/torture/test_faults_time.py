# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that hang, and those that are slower than is waited for (threats.md row 37): a task ends within its stated bound.

Ours is told to wait for one second, and what it says of that is what is held against it; a peer has 90 seconds.
"""

from __future__ import annotations

import typing as t

import fault_cases as cases
from fault_cases import FILES_DOWN, LAYOUT_DOWN, REFUSED, SUCCEEDS, UP, Case
from fault_proxy import (
    BEFORE,
    DRIP,
    END,
    FIRST,
    FOR_EVER,
    HEADER,
    LAST,
    MIDDLE,
    STALL,
    Broken,
    BrokenUpload,
    NeverBegun,
    Respond,
    Rule,
)

SESSIONS, MANIFEST, BIG = "/blobs/uploads/", "/manifests/", "/blobs/{big}"
# Two tries, each with a second for the first byte and two for what trickles after it; a pause of half a second; what a process takes.
WITHIN = 2 * (1 + 2) + 0.5 + 2.5


def slow(name: str, way: str, rule: Rule, outcome: str, says: str = "within 1 seconds", **more: t.Any) -> Case:
    return Case(name, "37", way, (rule,), outcome, **{"timeout": 1, "retries": 1, "within": WITHIN, "says": says, **more})


def downloads() -> t.Iterator[Case]:
    for at in (BEFORE, HEADER, FIRST, MIDDLE, LAST):
        yield slow(f"stall-once-{at}", LAYOUT_DOWN, Rule("GET", BIG, Broken(STALL, at)), SUCCEEDS)
    for at in (BEFORE, HEADER, MIDDLE):
        yield slow(f"stall-for-ever-{at}", LAYOUT_DOWN, Rule("GET", BIG, Broken(STALL, at), FOR_EVER), REFUSED, within=WITHIN + 4)
    for at in (BEFORE, MIDDLE):
        yield slow(f"stall-once-{at}", FILES_DOWN, Rule("GET", BIG, Broken(STALL, at)), SUCCEEDS)
    yield slow("stall-for-ever", FILES_DOWN, Rule("GET", BIG, Broken(STALL), FOR_EVER), REFUSED)
    yield slow("stall-at-the-end", LAYOUT_DOWN, Rule("GET", BIG, Broken(STALL, END, sized=False)), SUCCEEDS)
    for at in (BEFORE, HEADER, FIRST, MIDDLE):
        yield slow(f"drip-once-{at}", LAYOUT_DOWN, Rule("GET", BIG, Broken(DRIP, at, 0.3)), SUCCEEDS)
        yield slow(f"drip-for-ever-{at}", LAYOUT_DOWN, Rule("GET", BIG, Broken(DRIP, at, 0.3), FOR_EVER), REFUSED, within=WITHIN + 4)
    yield slow("never-begun", LAYOUT_DOWN, Rule("GET", BIG, NeverBegun(), FOR_EVER), REFUSED, says="no end of the header")
    yield slow("manifest-stall-once", LAYOUT_DOWN, Rule("GET|HEAD", MANIFEST, Broken(STALL)), SUCCEEDS)
    yield slow("manifest-stall-for-ever", LAYOUT_DOWN, Rule("GET|HEAD", MANIFEST, Broken(STALL), FOR_EVER), REFUSED)
    yield slow("manifest-drip-for-ever", LAYOUT_DOWN, Rule("GET", MANIFEST, Broken(DRIP, FIRST, 0.3), FOR_EVER), REFUSED)
    yield slow("all-stalls", LAYOUT_DOWN, Rule(".*", "", Broken(STALL), FOR_EVER), REFUSED)
    # As threats.md has it: with a time-out of 5 seconds, refused in 60 to 90.
    every = Rule("GET", BIG, Broken(STALL), FOR_EVER)
    yield slow("stall-as-configured", LAYOUT_DOWN, every, REFUSED, "within 5 seconds", timeout=5, retries=5, within=60)


def uploads() -> t.Iterator[Case]:
    for at in (FIRST, MIDDLE, LAST):
        rule = Rule("PUT|PATCH", SESSIONS, BrokenUpload(STALL, at), large=True)
        yield slow(f"stall-once-{at}", UP, rule, SUCCEEDS)
    yield slow("stall-for-ever", UP, Rule("PUT|PATCH", SESSIONS, BrokenUpload(STALL, FIRST), FOR_EVER), REFUSED, within=WITHIN + 4)
    yield slow("answer-stalls-once", UP, Rule("PUT|PATCH", SESSIONS, Broken(STALL), large=True), SUCCEEDS)
    yield slow("answer-stalls-for-ever", UP, Rule("PUT|PATCH", SESSIONS, Broken(STALL), FOR_EVER), REFUSED, within=WITHIN + 4)
    yield slow("start-stalls-once", UP, Rule("POST", SESSIONS, Broken(STALL)), SUCCEEDS)
    yield slow("start-stalls-for-ever", UP, Rule("POST", SESSIONS, Broken(STALL), FOR_EVER), REFUSED)
    yield slow("manifest-stalls-once", UP, Rule("PUT", MANIFEST, Broken(STALL)), SUCCEEDS)
    yield slow("manifest-stalls-for-ever", UP, Rule("PUT", MANIFEST, BrokenUpload(STALL, MIDDLE), FOR_EVER), REFUSED)
    yield slow("all-stalls", UP, Rule(".*", "", Broken(STALL), FOR_EVER), REFUSED)


@cases.cases([*downloads(), *uploads()])
def test_time(case: Case, trials: cases.Trials) -> None:
    trials(case)


def lost() -> t.Iterator[Case]:
    """One blob has to be waited for, when the other is not there."""
    waits = Rule("GET", "/blobs/{small}", Respond(429, {"Retry-After": "100"}), FOR_EVER)
    for way in (LAYOUT_DOWN, FILES_DOWN):
        yield Case("one-waits-another-fails", "35", way, (waits, Rule("GET", BIG, Respond(404), FOR_EVER)), REFUSED, own=True)


@cases.cases(lost())
def test_nobody_waits_for_what_is_lost(case: Case, trials: cases.Trials) -> None:
    """A pause that the registry asked for ends when another transfer of the task has failed."""
    trials(case)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Broken transport and wrong bytes on the way down (threats.md rows 31 to 36, 38)."""

from __future__ import annotations

import gzip
import json
import pathlib
import typing as t
import urllib.request

import clients
import fault_cases as cases
import tally as tallies
from clients import LAYOUT, REGISTRY, Place
from fault_cases import EITHER, FILES_DOWN, LAYOUT_DOWN, REFUSED, SUCCEEDS, Case
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
    UNSIZED,
    Broken,
    Changed,
    Endless,
    Fault,
    Late,
    RangeIgnored,
    Respond,
    Rule,
    flipped,
)

BIG, MANIFEST = "/blobs/{big}", "/manifests/"
WAYS = (LAYOUT_DOWN, FILES_DOWN)


def blob(name: str, rows: str, fault: Fault, outcome: str, times: float = 1, way: str = LAYOUT_DOWN, **more: t.Any) -> Case:
    return Case(name, rows, way, (Rule("GET", BIG, fault, times),), outcome, **more)


def document(name: str, rows: str, fault: Fault, outcome: str, times: float = 1, method: str = "GET|HEAD", **more: t.Any) -> Case:
    return Case(name, rows, LAYOUT_DOWN, (Rule(method, MANIFEST, fault, times),), outcome, **more)


def broken() -> t.Iterator[Case]:
    for how in (RESET, CLOSE):
        for at in (BEFORE, HEADER, FIRST, MIDDLE, LAST, END):
            yield blob(f"{how}-once-{at}", "32 34", Broken(how, at), SUCCEEDS)
        for at in (FIRST, MIDDLE, LAST):
            yield blob(f"{how}-once-{at}", "32 34", Broken(how, at), SUCCEEDS, way=FILES_DOWN)
        for at in (HEADER, MIDDLE, LAST):
            yield document(f"manifest-{how}-once-{at}", "32", Broken(how, at), SUCCEEDS, method="GET")
        for at in (BEFORE, MIDDLE, LAST):
            yield blob(f"{how}-for-ever-{at}", "32", Broken(how, at), REFUSED, FOR_EVER, says=r"tried [0-9]+ times")
        yield blob(f"{how}-for-ever-middle", "32", Broken(how, MIDDLE), REFUSED, FOR_EVER, FILES_DOWN, says=r"tried [0-9]+ times")
        yield document(f"manifest-{how}-for-ever", "32", Broken(how), REFUSED, FOR_EVER, says="tried 3 times")
    yield blob("reset-for-ever-as-configured", "32", Broken(RESET), REFUSED, FOR_EVER, retries=5, within=40, says="tried 6 times")


def wrong_bytes() -> t.Iterator[Case]:
    for way in WAYS:
        yield blob("bit-flipped-for-ever", "31", Changed(body=flipped), REFUSED, FOR_EVER, way, says="another digest")
        yield blob("bit-flipped-once", "31", Changed(body=flipped), EITHER, way=way)
        yield blob("other-content", "31", Changed(body=lambda body: bytes(len(body))), REFUSED, FOR_EVER, way, says="another digest")
        yield blob("one-byte-long-unsized", "32", Changed({"Content-Length": UNSIZED}, lambda body: body + b"x"), REFUSED, FOR_EVER, way)
        yield blob("endless", "32", Endless(), REFUSED, FOR_EVER, way)
    yield blob("one-byte-short", "32", Changed({"Content-Length": None}, lambda body: body[:-1]), REFUSED, FOR_EVER)
    yield blob("one-byte-long", "32", Changed({"Content-Length": None}, lambda body: body + b"x"), REFUSED, FOR_EVER)
    yield blob("empty", "32 40", Changed({"Content-Length": None}, lambda body: b""), REFUSED, FOR_EVER)
    yield blob("unsized", "32", Changed({"Content-Length": UNSIZED}), SUCCEEDS)
    yield blob("length-too-large-once", "32", Changed({"Content-Length": "99999999"}), EITHER)
    yield blob("length-too-large-for-ever", "32", Changed({"Content-Length": "99999999"}), REFUSED, FOR_EVER)
    yield document("manifest-flipped-for-ever", "31", Changed(body=flipped), REFUSED, FOR_EVER)
    yield document("manifest-flipped-once", "31", Changed(body=flipped), EITHER, method="GET")
    yield document("manifest-longer", "32", Changed({"Content-Length": None}, lambda body: body + b" "), REFUSED, FOR_EVER)
    yield document("manifest-endless", "32", Endless(), REFUSED, FOR_EVER, method="GET")


def resumed() -> t.Iterator[Case]:
    """A cut, and what the registry then makes of the Range that takes it up."""
    second: t.Dict[str, t.Tuple[Fault, str]] = {
        "ignored": (RangeIgnored(), SUCCEEDS),
        "of-another-offset": (Changed({"Content-Range": "bytes 7-99/100"}), EITHER),
        "without-content-range": (Changed({"Content-Range": None}), EITHER),
        "not-satisfiable": (Respond(416), EITHER),
        "with-other-content": (Changed(body=lambda body: bytes(len(body))), EITHER),
        "and-shorter": (Changed({"Content-Length": None}, lambda body: body[:-1]), EITHER),
        "not-found": (Respond(404), EITHER),
        "busy": (Respond(503), SUCCEEDS),
        "broken-again": (Broken(RESET, MIDDLE), SUCCEEDS),
    }
    for name, (fault, outcome) in second.items():
        rules = (Rule("GET", BIG, Broken(CLOSE, MIDDLE)), Rule("GET", BIG, fault))
        yield Case(f"range-{name}", "34", LAYOUT_DOWN, rules, outcome)
        if outcome == SUCCEEDS:
            yield Case(f"range-{name}", "34", FILES_DOWN, rules, outcome)


def asked_to_wait() -> t.Iterator[Case]:
    for place, make in (("manifest", document), ("blob", blob)):
        yield make(f"{place}-429-seconds", "35", Respond(429, {"Retry-After": "1"}), SUCCEEDS, gap=1)
        yield make(f"{place}-429-date", "35", Late(429, 1), SUCCEEDS, gap=1)
        yield make(f"{place}-429-for-ever", "35", Respond(429, {"Retry-After": "1"}), REFUSED, FOR_EVER, says="429")
        yield make(f"{place}-429-a-day", "35", Respond(429, {"Retry-After": "86400"}), REFUSED, FOR_EVER, says="86400 seconds")
        for status in (500, 502, 503, 504) if make is document else (503,):
            yield make(f"{place}-{status}-twice", "36", Respond(status), SUCCEEDS, 2)
    yield blob("blob-429-a-date-of-tomorrow", "35", Late(429, 86400), REFUSED, FOR_EVER, says="asks to wait")
    yield document("manifest-429-soon", "35", Respond(429, {"Retry-After": "soon"}), SUCCEEDS)
    for status in (500, 503):
        yield document(f"manifest-{status}-for-ever", "36", Respond(status), REFUSED, FOR_EVER, says=str(status))
    yield blob("503-for-ever-as-configured", "36", Respond(503), REFUSED, FOR_EVER, retries=5, within=40, says="503")


def encoded() -> t.Iterator[Case]:
    bomb = gzip.compress(bytes(256 * 1024 * 1024), 1)
    zipped = {"Content-Encoding": "gzip", "Content-Length": None}
    yield blob("gzip-bomb", "38", Changed(zipped, lambda body: bomb), REFUSED, FOR_EVER)
    yield blob("gzip-unasked", "38", Changed(zipped, gzip.compress), EITHER, FOR_EVER)
    yield blob("gzip-that-is-none", "38", Changed({"Content-Encoding": "gzip"}), EITHER, FOR_EVER)
    yield document("manifest-gzip-bomb", "38", Changed(zipped, lambda body: bomb), REFUSED, FOR_EVER)
    yield blob("unknown-encoding", "38", Changed({"Content-Encoding": "lading\x1b[31m"}), EITHER, FOR_EVER)


@cases.cases([*broken(), *wrong_bytes(), *resumed(), *asked_to_wait(), *encoded()])
def test_down(case: Case, trials: cases.Trials) -> None:
    trials(case)


def test_nothing_wrong(trials: cases.Trials, client_class: t.Type[clients.Client], sample: cases.Sample, registry: t.Any) -> None:
    """The control: through the proxy, with a rule that changes nothing, all three ways succeed."""
    for way in (LAYOUT_DOWN, FILES_DOWN, cases.UP):
        trials(Case(f"control-{way}", "34", way, (Rule(".*", "", Fault(), FOR_EVER),), SUCCEEDS))


def test_a_size_that_is_wrong(
    client_class: t.Type[clients.Client], sample: cases.Sample, registry: t.Any, tmp_path: pathlib.Path, report: t.Any
) -> None:
    """threat row 33: the digest is right, the size in its descriptor is one off; either way."""
    problems = []
    for wrong in (-1, 1):
        document = json.loads(sample.contents[sample.root])
        layer = next(layer for layer in document["layers"] if layer["digest"] == sample.big)
        layer["size"] += wrong
        put_manifest(f"http://{registry.host}/v2/{sample.repository}/manifests/size{wrong}", json.dumps(document).encode())
        out = tmp_path / f"out{wrong}"
        place = Place(REGISTRY, f"{registry.host}/{sample.repository}", f"size{wrong}")
        done = client_class(tmp_path / "home").copy(place, Place(LAYOUT, str(out)))
        if done is not None and (done.succeeded or done.traceback):
            problems.append(f"size{wrong}: {done.output[-300:]}")
        if (out / "blobs" / "sha256" / sample.big.partition(":")[2]).exists():
            problems.append(f"size{wrong}: the blob has its name")
    report(tallies.FAULTS, problems)


def put_manifest(url: str, content: bytes) -> None:
    headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    with urllib.request.urlopen(urllib.request.Request(url, content, headers, method="PUT")) as answer:
        assert answer.status == 201

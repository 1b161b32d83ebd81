# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Registries that lie, and what stands in for one: login pages, proxies, redirects (threats.md rows 39, 40, 44)."""

from __future__ import annotations

import pathlib
import typing as t

import clients
import fault_cases as cases
import pytest
import tally as tallies
from fault_cases import EITHER, FILES_DOWN, LAYOUT_DOWN, REFUSED, SUCCEEDS, UP, Case
from fault_proxy import FOR_EVER, Broken, Changed, Fault, FaultProxy, Respond, Rule

BIG, MANIFEST = "/blobs/{big}", "/manifests/"
OTHER = "sha256:" + "a" * 64
HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = b"<!DOCTYPE html><html><title>Sign in</title>" + b"<p>guest network</p>" * 100
WHAT_IT_IS = "login page or proxy|no manifest|bytes of text/html"


def one(name: str, rows: str, way: str, method: str, path: str, fault: Fault, outcome: str, times: float = FOR_EVER, **more: t.Any) -> Case:
    return Case(name, rows, way, (Rule(method, path, fault, times),), outcome, **more)


def heads() -> t.Iterator[Case]:
    """HEAD and GET tell different things of one manifest."""
    lies: t.Dict[str, t.Tuple[t.Mapping[str, t.Optional[str]], str]] = {
        "digest": ({"Docker-Content-Digest": OTHER}, REFUSED),
        "no-digest": ({"Docker-Content-Digest": None}, SUCCEEDS),
        "digest-that-is-none": ({"Docker-Content-Digest": "sha256:../../x"}, SUCCEEDS),
        "size": ({"Content-Length": "5"}, REFUSED),
        "no-type": ({"Content-Type": None}, SUCCEEDS),
        "type-of-an-index": ({"Content-Type": "application/vnd.oci.image.index.v1+json"}, REFUSED),
        "type-of-nothing": ({"Content-Type": "text/plain"}, SUCCEEDS),
    }
    for name, (headers, outcome) in lies.items():
        yield one(f"head-lies-{name}", "39", LAYOUT_DOWN, "HEAD", MANIFEST, Changed(headers), outcome)
    yield one("head-yes-get-404", "39", LAYOUT_DOWN, "GET", MANIFEST, Respond(404), REFUSED, says="not found")
    yield one("head-405", "39", LAYOUT_DOWN, "HEAD", MANIFEST, Respond(405), SUCCEEDS)
    yield one("get-other-digest", "39", LAYOUT_DOWN, "GET", MANIFEST, Changed({"Docker-Content-Digest": OTHER}), EITHER)
    yield one("get-other-type", "39", LAYOUT_DOWN, "GET", MANIFEST, Changed({"Content-Type": "text/plain"}), EITHER)
    yield one("blob-404", "39", LAYOUT_DOWN, "GET", BIG, Respond(404), REFUSED, says="not found")
    yield one("blob-404", "39", FILES_DOWN, "GET", BIG, Respond(404), REFUSED, says="not found")


def pages() -> t.Iterator[Case]:
    """What is not a registry's answer, and says 200 all the same."""
    page, empty, nothing = Respond(200, HTML, PAGE), Respond(200), Respond(204)
    for way in (LAYOUT_DOWN, FILES_DOWN, UP):
        yield one("login-page-for-all", "40", way, ".*", "", page, REFUSED, says=WHAT_IT_IS)
    for name, fault in (("login-page", page), ("empty-200", empty), ("204", nothing)):
        yield one(f"manifest-{name}", "40", LAYOUT_DOWN, "GET|HEAD", MANIFEST, fault, REFUSED)
        yield one(f"blob-{name}", "40", LAYOUT_DOWN, "GET", BIG, fault, REFUSED)
    yield one("blob-login-page", "40", FILES_DOWN, "GET", BIG, page, REFUSED, says=WHAT_IT_IS)
    yield one("blob-type-of-a-page", "40", LAYOUT_DOWN, "GET", BIG, Changed(HTML), SUCCEEDS)
    loop = Respond(307, {"Location": "{path}"})
    yield one("redirects-in-a-loop", "40", LAYOUT_DOWN, "GET", BIG, loop, REFUSED, says="redirects more than 5 times")
    yield one("redirects-in-a-loop", "40", UP, "PUT|PATCH", "/blobs/uploads/", loop, REFUSED)
    for name, location in (("to-a-file", "file:///etc/passwd"), ("to-nowhere", "http://"), ("to-a-closed-port", "http://127.0.0.1:9/x")):
        yield one(f"redirect-{name}", "40", LAYOUT_DOWN, "GET", BIG, Respond(307, {"Location": location}), REFUSED)


@cases.cases([*heads(), *pages()])
def test_lies(case: Case, trials: cases.Trials) -> None:
    trials(case)


ENDLESS = {"Content-Type": "application/json", "Link": '<{path}0>; rel="next"'}
LISTS: t.Dict[str, t.Tuple[Fault, str]] = {
    "repeat": (Respond(200, {**ENDLESS, "Link": "<{path}>; rel=next"}, b'{"tags": ["v1"]}'), "repeats itself"),
    "same-tags": (Respond(200, ENDLESS, b'{"tags": ["v1"]}'), "repeats itself"),
    "elsewhere": (Respond(200, {**ENDLESS, "Link": '<http://127.0.0.1:9/v2/>; rel="next"'}, b'{"tags": ["v1"]}'), "another host"),
    "huge": (Respond(200, {}, b'{"tags": ["' + b"x" * 5_000_000 + b'"]}'), "more than 4194304 bytes"),
}


@pytest.mark.parametrize("name", LISTS)
def test_r44_pages(
    name: str, ours: t.Type[clients.Ours], sample: cases.Sample, registry: t.Any, tmp_path: pathlib.Path, report: t.Any
) -> None:
    """threat row 44: a list of tags whose pages repeat, lead elsewhere or are too large; the unit tests have those that do not end."""
    fault, says = LISTS[name]
    with FaultProxy(registry.host, [Rule("GET", "/tags/list", fault, FOR_EVER)]) as proxy:
        done = copy_all_tags(ours, proxy, sample, tmp_path)
    problems = [] if not done.succeeded and not done.traceback and cases.found(says, done.output) else [done.output[-600:]]
    report(tallies.FAULTS, problems + (["it took too long"] if done.seconds > 30 or done.timed_out else []))


@pytest.mark.parametrize("at", ["before", "middle", "last"])
def test_r32_a_list_that_is_cut_once(
    at: str, ours: t.Type[clients.Ours], sample: cases.Sample, registry: t.Any, tmp_path: pathlib.Path, report: t.Any
) -> None:
    """threat row 32: a list of tags whose answer is cut once, with the list that comes whole as its control."""
    with FaultProxy(registry.host, [Rule("GET", "/tags/list", Broken("close", at))]) as proxy:
        done = copy_all_tags(ours, proxy, sample, tmp_path)
    index = tmp_path / "all" / "index.json"
    named = cases.names_of(index if index.exists() else None)
    report(tallies.FAULTS, [] if done.succeeded and sample.root in named else [done.output[-600:]])


def copy_all_tags(ours: t.Type[clients.Ours], proxy: FaultProxy, sample: cases.Sample, folder: pathlib.Path) -> clients.Run:
    client = ours(folder / "home", clients.Access(retries=2), 60)
    options = {"src": f"{proxy.host}/{sample.repository}", "dest": f"oci:{folder / 'all'}", "all_tags": True}
    return client.module("oci_copy", {**options, "src_registry": client.registry_options()})

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fault as data, what is transferred through it, and the judge of how that ended."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import random
import re
import typing as t
import urllib.error
import urllib.request

import clients
import fault_proxy as faults
import pytest
import tally as tallies
from clients import LAYOUT, REGISTRY, Place

LAYOUT_DOWN, FILES_DOWN, UP = "layout", "files", "push"
SUCCEEDS, REFUSED, EITHER = "succeeds", "refused", "contained"
PEER_LIMIT = 90.0  # seconds: what threats.md allows a client that waits
SLACK = 15.0  # seconds that a process may be kept waiting by a machine that has other things to do
MOST_TRIES, MOST_PER_URL = 12, 6
SESSIONS = "/blobs/uploads/"
MOST_MEMORY = 512  # MiB
PARTIAL = ".lading-partial-"  # kept on purpose after a transport failure, for the next run
_numbers = itertools.count()


@dataclasses.dataclass(frozen=True)
class Case:
    """One fault and what has to come of it. ``{big}`` and ``{small}`` in a rule's path are the digests of the sample's layers.

    ``within``: seconds in which ours ends, on a machine of its own. ``timeout`` and ``retries``: of ours. ``says``: what ours tells of
    a failure. ``gap``: seconds that at least are between the first faulty request and the next one of its path. ``bearer``: with
    tokens. ``own``: of ways that only ours takes.
    """

    name: str
    rows: str
    way: str
    rules: t.Tuple[faults.Rule, ...]
    outcome: str
    within: float = 15
    timeout: int = 5
    retries: int = 2
    says: str = ""
    gap: float = 0
    bearer: bool = False
    own: bool = False

    @property
    def id(self) -> str:
        rows = "-".join(f"r{row}" for row in self.rows.split())
        return f"{rows}-{self.way}-{self.name}"


@dataclasses.dataclass(frozen=True)
class Sample:
    """An artifact of a large and a small file, as a layout and in the registry. ``contents``: its blobs and manifest by digest."""

    layout: str
    repository: str
    root: str
    big: str
    small: str
    contents: t.Mapping[str, bytes]
    files: t.Mapping[str, bytes]


def make_sample(folder: pathlib.Path, registry: str) -> Sample:
    """Build it and push it. Raises AssertionError when that fails."""
    files = {"big.bin": random.Random(1).randbytes(5 * 1024 * 1024 // 2), "small.txt": b"small content\n" * 100}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    ours = clients.Ours(folder / "home")
    layout = Place(LAYOUT, str(folder / "layout"))
    listed = [{"src": str(folder / name)} for name in files]
    options = {"path": layout.name, "tag": "v1", "artifact_type": "application/vnd.lading.test", "files": listed}
    for done in (ours.module("oci_layout_build", options), ours.copy(layout, Place(REGISTRY, f"{registry}/faults/sample"))):
        assert done.succeeded, done.output
    contents = {f"sha256:{path.name}": path.read_bytes() for path in pathlib.Path(layout.name, "blobs", "sha256").iterdir()}
    root = json.loads(pathlib.Path(layout.name, "index.json").read_bytes())["manifests"][0]["digest"]
    digests = {content: digest for digest, content in contents.items()}
    return Sample(layout.name, "faults/sample", root, digests[files["big.bin"]], digests[files["small.txt"]], contents, files)


class Trial:
    """One case run by one client, and what is wrong with how it ended."""

    def __init__(self, case: Case, client: t.Type[clients.Client], sample: Sample, registry: str, folder: pathlib.Path) -> None:
        self.case = case
        self._class = client
        self._sample = sample
        self._registry = registry
        self._folder = folder
        number = next(_numbers)
        self._out = folder / f"out-{number}"
        self._pushed = f"faults/pushed-{os.getpid()}-{number}"

    def problems(self) -> t.Optional[t.List[str]]:
        """None when the client has no command for it, or one that never makes such a request."""
        rules = [dataclasses.replace(rule, path=self._path(rule.path)) for rule in self.case.rules]
        peer = self._class is not clients.Ours
        if self.case.own and peer:
            return None
        with faults.FaultProxy(self._registry, rules, self.case.bearer) as proxy:
            done = self._run(proxy)
        if done is None or (peer and not any(one.faulty for one in proxy.seen)):
            return None
        found = [*self._of_outcome(done), *self._of_requests(proxy, done), *self._of_output(done, proxy)]
        return [*found, *(self._of_push(done) if self.case.way == UP else self._of_destination(done))]

    def _path(self, path: str) -> str:
        return path.replace("{big}", self._sample.big).replace("{small}", self._sample.small).replace("{root}", self._sample.root)

    def _run(self, proxy: faults.FaultProxy) -> t.Optional[clients.Run]:
        access = clients.Access(timeout=self.case.timeout, retries=self.case.retries)
        limit = self.case.within + 2 * SLACK if self._class is clients.Ours else PEER_LIMIT
        client = self._class(self._folder / "home", access, limit)
        source = Place(REGISTRY, f"{proxy.host}/{self._sample.repository}")
        if self.case.way == FILES_DOWN:
            self._out.mkdir()
            return client.pull(source, str(self._out))
        if self.case.way == LAYOUT_DOWN:
            return client.copy(source, Place(LAYOUT, str(self._out)))
        return client.copy(Place(LAYOUT, self._sample.layout), Place(REGISTRY, f"{proxy.host}/{self._pushed}"))

    def _of_outcome(self, done: clients.Run) -> t.Iterator[str]:
        bound = self.case.within + SLACK if self._class is clients.Ours else PEER_LIMIT
        if done.timed_out or done.seconds > bound:
            yield f"took {done.seconds:.1f} s, not the {bound:g} that are stated"
        if done.peak_mib > MOST_MEMORY:
            yield f"took {done.peak_mib:.0f} MiB of memory"
        if self.case.outcome == SUCCEEDS and not done.succeeded:
            yield f"failed: {done.output[-900:]}"
        if self.case.outcome == REFUSED and done.succeeded:
            yield "succeeded"

    def _of_requests(self, proxy: faults.FaultProxy, done: clients.Run) -> t.Iterator[str]:
        faulty = [one for one in proxy.seen if one.faulty]
        if not faulty:
            yield f"the fault was never met: {[(one.method, one.path) for one in proxy.seen]}"
        for method, path in {(one.method, one.path) for one in faulty if SESSIONS not in one.path}:
            tries = [one for one in faulty if (one.method, one.path) == (method, path)]
            if len(tries) > MOST_PER_URL:
                yield f"{len(tries)} tries of {method} {path}"
        # Sessions differ in their URLs: what they have in common is the digest in the last one, and else the repository.
        kinds = [(one.method, *re.findall("digest=.*", one.path)) for one in faulty if SESSIONS in one.path]
        for kind in sorted(set(kinds)):
            if kinds.count(kind) > MOST_TRIES * (1 if len(kind) > 1 else len(self._sample.contents)):
                yield f"{kinds.count(kind)} tries of {kind}"
        if self.case.gap and faulty:
            later = [one.at for one in proxy.seen if one.path == faulty[0].path and one.at > faulty[0].at]
            if later and later[0] - faulty[0].at < self.case.gap:
                yield f"asked again after {later[0] - faulty[0].at:.2f} s, not {self.case.gap:g}"

    def _of_output(self, done: clients.Run, proxy: faults.FaultProxy) -> t.Iterator[str]:
        if done.traceback:
            yield f"a traceback: {done.output[-900:]}"
        if "\x1b" in done.output and self._class is clients.Ours:
            yield "a raw ESC"
        if any(token in done.output for token in proxy.tokens):
            yield "a token in the output"
        if done.succeeded or done.timed_out or self._class is not clients.Ours:
            return  # what a peer says of its failure is its own affair
        if proxy.host not in done.output and self._sample.repository not in done.output:
            yield f"the message does not say where: {done.output[-900:]}"
        if not found(self.case.says, done.output):
            yield f"the message does not say {self.case.says!r}: {done.output[-900:]}"

    def _of_destination(self, done: clients.Run) -> t.Iterator[str]:
        present = {str(path.relative_to(self._out)): path for path in self._out.rglob("*") if path.is_file()}
        for name in present:
            if ".lading-" in name and not (PARTIAL in name and not done.succeeded):
                yield f"litter: {name}"
        yield from self._of_files(done, present) if self.case.way == FILES_DOWN else self._of_layout(done, present)

    def _of_files(self, done: clients.Run, present: t.Mapping[str, pathlib.Path]) -> t.Iterator[str]:
        for name, content in self._sample.files.items():
            if name in present and present[name].read_bytes() != content:
                yield f"wrong bytes in {name}"
            elif done.succeeded and name not in present:
                yield f"{name} is missing"

    def _of_layout(self, done: clients.Run, present: t.Mapping[str, pathlib.Path]) -> t.Iterator[str]:
        for name, path in present.items():
            if re.fullmatch(r"blobs/sha256/[0-9a-f]{64}", name) and hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
                yield f"wrong bytes in {name}"
        named = names_of(present.get("index.json"))
        if done.succeeded:
            if named != [self._sample.root]:
                yield f"the layout names {named}"
            yield from (f"{digest} is missing" for digest in self._sample.contents if f"blobs/{digest.replace(':', '/')}" not in present)
        elif named:
            yield "a failed run has named something"

    def _of_push(self, done: clients.Run) -> t.Iterator[str]:
        tagged = self._stored("manifests/v1")
        if tagged is not None and tagged != self._sample.contents[self._sample.root]:
            yield "the tag names something else"
        if done.succeeded:
            if tagged is None:
                yield "the tag is missing"
            for digest, content in self._sample.contents.items():
                if digest != self._sample.root and self._stored(f"blobs/{digest}") != content:
                    yield f"{digest} is missing or wrong"

    def _stored(self, what: str) -> t.Optional[bytes]:
        url, accept = f"http://{self._registry}/v2/{self._pushed}/{what}", "application/vnd.oci.image.manifest.v1+json, */*"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept})) as answer:
                return t.cast(bytes, answer.read())
        except urllib.error.HTTPError:
            return None


def names_of(index: t.Optional[pathlib.Path]) -> t.List[str]:
    """The digests that an index.json names; [] when there is none."""
    return [entry["digest"] for entry in json.loads(index.read_bytes())["manifests"]] if index is not None else []


def found(pattern: str, output: str) -> bool:
    return re.search(pattern, output) is not None


Report = t.Callable[[str, t.Sequence[str]], None]


class Trials:
    """``trials(case)`` runs, judges and counts a case of the client under test."""

    def __init__(
        self,
        request: pytest.FixtureRequest,
        client: t.Type[clients.Client],
        sample: Sample,
        registry: str,
        folder: pathlib.Path,
        tally: tallies.Tally,
        report: Report,
    ) -> None:
        self._request = request
        self._client = client
        self._sample = sample
        self._registry = registry
        self._folder = folder
        self._tally = tally
        self._report = report

    def __call__(self, case: Case) -> None:
        found = Trial(case, self._client, self._sample, self._registry, self._folder).problems()
        if found is None:
            self._tally.inapplicable(tallies.FAULTS, self._request.node.name, self._client.name)
        else:
            self._report(tallies.FAULTS, found)


def cases(listed: t.Iterable[Case]) -> pytest.MarkDecorator:
    """The cases as parameters. Raises ValueError when two have one name."""
    known = list(listed)
    names = [case.id for case in known]
    if len(set(names)) != len(names):
        raise ValueError(f"two cases of one name: {sorted(name for name in names if names.count(name) > 1)}")
    return pytest.mark.parametrize("case", known, ids=names)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""One hostile thing, what is done with it, and whether what came of it will do."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import typing as t
import unicodedata

from clients import LAYOUT, REGISTRY, Client, Place, Run

from .bench import Bench, digest, tree

REFUSED, CONTAINED, ACCEPTED = "refused", "contained", "accepted"
# To a registry; to another layout; files; a root file system.
COPY, RELAY, PULL, UNPACK = "copy", "relay", "pull", "unpack"
SECONDS, MIB = 30.0, 150.0


@dataclasses.dataclass(frozen=True)
class Case:
    """``name`` begins with its row of the table of threats. ``prepare`` makes what stands at the destination before; ``check``
    finds problems of its own after."""

    name: str
    verb: str
    make: t.Callable[[Bench], Place]
    expected: str = REFUSED
    prepare: t.Optional[t.Callable[[Bench], t.Any]] = None
    check: t.Optional[t.Callable[[Bench, Run], t.Sequence[str]]] = None


class Stage:
    """Runs a case with a client, and judges it. ``host``: of the registry that copies go to."""

    def __init__(self, bench: Bench, host: str) -> None:
        self.bench = bench
        self.host = host
        self.repository = "hostile/" + digest(str(bench.root).encode())[7:27]

    def play(self, case: Case, client: Client) -> t.Optional[t.List[str]]:
        """The problems; None where the client has no command for this."""
        place = case.make(self.bench)
        if case.prepare is not None:
            case.prepare(self.bench)
        outside, before = self.bench.surroundings(), tree(self.bench.out)
        run = self._run(case.verb, client, place)
        if run is None:
            return None
        problems = [*of_output(run, client.name), *self._of_outcome(case, run, before)]
        if self.bench.surroundings() != outside:
            problems.append("something outside has changed")
        if case.check is not None:
            problems.extend(case.check(self.bench, run))
        return problems

    def _run(self, verb: str, client: Client, place: Place) -> t.Optional[Run]:
        if verb == COPY:
            return client.copy(place, Place(REGISTRY, f"{self.host}/{self.repository}"))
        if verb == RELAY:
            return client.copy(place, Place(LAYOUT, str(self.bench.out)))
        return client.pull(place, str(self.bench.out)) if verb == PULL else client.unpack(place, str(self.bench.out))

    def _of_outcome(self, case: Case, run: Run, before: t.Mapping[str, t.Any]) -> t.Iterator[str]:
        if case.expected == REFUSED and run.succeeded:
            yield "it was not refused"
        if case.expected == ACCEPTED and not run.succeeded:
            yield f"it was not accepted: {run.output[-300:]!r}"
        if case.verb == COPY:
            yield from self._of_registry(run)
        else:
            yield from self._of_folder(case, run, before)

    def _of_registry(self, run: Run) -> t.Iterator[str]:
        if not run.succeeded and self._has("manifests/v1"):
            yield "a tag was made although it failed"
        if self._has(f"blobs/{digest(self.bench.secret.read_bytes())}"):
            yield "the secret was uploaded"

    def _has_ref(self) -> bool:
        index = self.bench.out / "index.json"
        return index.exists() and b'"v1"' in index.read_bytes()

    def _has(self, what: str) -> bool:
        with contextlib.closing(http.client.HTTPConnection(self.host, timeout=20)) as connection:
            types = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
            connection.request("HEAD", f"/v2/{self.repository}/{what}", headers={"Accept": types})
            return connection.getresponse().status == 200

    def _of_folder(self, case: Case, run: Run, before: t.Mapping[str, t.Any]) -> t.Iterator[str]:
        after = tree(self.bench.out)
        if [path for path in after if os.path.basename(path).startswith(".lading-")]:
            yield "temporary files are left over"
        secret = self.bench.secret.read_bytes()
        if [path for path, state in after.items() if state[3] == secret and before.get(path) != state]:
            yield "the secret is in the destination"
        # A layout that was just begun is no harm; a name in it would be.
        if case.verb in (PULL, UNPACK) and case.expected == REFUSED and after != before:
            yield f"something was written although it is to be refused: {sorted(set(after) ^ set(before))[:5]}"
        if case.verb == RELAY and not run.succeeded and not before and self._has_ref():
            yield "a ref was made although it failed"


def of_output(run: Run, client: str) -> t.Iterator[str]:
    """Tracebacks, escapes, forged lines, too much memory, too long."""
    if run.traceback:
        yield f"a traceback: {run.output[-300:]!r}"
    if run.timed_out or run.seconds > SECONDS:
        yield f"it took {run.seconds:.0f} seconds"
    if run.peak_mib > MIB:
        yield f"it took {run.peak_mib:.0f} MiB"
    if any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in run.output.replace("\r\n", "\n")):
        yield "control characters in the output"
    if "FORGED" in [line.strip() for line in run.output.splitlines()]:
        yield "a forged line in the output"
    if client == "lading.oci" and not run.traceback:
        yield from _of_result(run.output)


def _of_result(output: str) -> t.Iterator[str]:
    try:
        result = json.loads(output)
    except ValueError:
        yield f"the output is not a result: {output[-300:]!r}"
        return
    result.pop("invocation", None)
    # A diff has lines; everything else is one.
    texts = [text.replace("\n", "") for text in _texts(result.pop("diff", None))] + list(_texts(result))
    if any(not c.isprintable() for text in texts for c in text):
        yield "control characters in the result"
    if any(line == "FORGED" for text in texts for line in text.splitlines()):
        yield "a forged line in the result"


def _texts(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)

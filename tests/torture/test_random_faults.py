# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Transfers with faults at random (threats.md, goal 7): right bytes or a clean failure; with two faults or fewer 99 % succeed.

LADING_TORTURE_SEEDS says how many there are, LADING_TORTURE_SEED which one is to run alone. A seed says what faults there are and
which request meets them; transfers go one after the other, so it says the same each time.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import random
import typing as t

import clients
import fault_proxy as faults
import pytest
import tally as tallies
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source, Target
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.client import Client
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.options import RegistryOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.repository import Repository
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import MismatchError, NotFoundError, OCIError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference
from ansible_collections.lading.oci.plugins.module_utils._oci.verify import verify
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import store

SEEDS = 200  # about 90 seconds, most of which is spent in waiting for what is stalled
TOGETHER = 6
TIMEOUT = 1.0
FEW = 2  # faults that nearly every transfer survives
CONTENT = "/(blobs|manifests)/"
LAYERS = [random.Random(number).randbytes(size) for number, size in enumerate((1_300_000, 70_000, 1))]


@dataclasses.dataclass(frozen=True)
class End:
    """How a seed's transfer ended. ``met``: faults that a request ran into; ``wrong``: what must never be."""

    seed: int
    met: int
    error: t.Optional[BaseException]
    wrong: t.Sequence[str]

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.met} faults: {'; '.join(self.wrong) or self.error or 'right'}"


def random_rule(chance: random.Random) -> faults.Rule:
    """One fault of one request, somewhere in the transfer."""
    at = chance.choice([faults.BEFORE, faults.HEADER, chance.random(), faults.END])
    sent = chance.choice([chance.random(), faults.FIRST, faults.END])
    how = chance.choice([faults.RESET, faults.CLOSE])
    any_request, body = (".*", "/v2/|/token"), ("PUT|PATCH", CONTENT)
    (method, path), fault = chance.choice(
        [
            (any_request, faults.Broken(how, at)),
            (body, faults.BrokenUpload(how, sent)),
            (any_request, faults.Broken(faults.STALL, at)),
            (("GET", CONTENT), faults.Changed(body=faults.flipped)),
            (body, faults.FlippedUpload()),
            ((".*", "/v2/"), faults.Expired()),
            (any_request, faults.Respond(429, {"Retry-After": str(chance.randrange(3))})),
            (any_request, faults.Respond(chance.choice([500, 502, 503, 504]))),
        ]
    )
    return faults.Rule(method, path, fault, skip=chance.randrange(4))


class Transfers:
    """The transfers of seeds: even ones into a layout, odd ones from a layout."""

    def __init__(self, registry: str, folder: pathlib.Path) -> None:
        self._registry = registry
        self._folder = folder
        self._layout = Layout(str(folder / "sample"))
        self._root = store(self._layout, ["v1"], *LAYERS)
        self._copy(self._layout, self._repository(registry, "random/sample", 5))

    def run(self, seed: int) -> End:
        chance = random.Random(seed)
        rules = [random_rule(chance) for _number in range(chance.randint(0, 5))]
        name = f"random/pushed-{os.getpid()}-{seed}"
        out = self._folder / f"out-{seed}"
        error: t.Optional[BaseException] = None
        with faults.FaultProxy(self._registry, rules, bearer=chance.random() < 0.5) as proxy:
            try:
                if seed % 2:
                    self._copy(self._layout, self._repository(proxy.host, name))
                else:
                    self._copy(self._repository(proxy.host, "random/sample"), Layout(str(out)))
            except BaseException as problem:
                error = problem
        wrong = self._of_registry(name, error) if seed % 2 else self._of_layout(out, error)
        if error is not None and not isinstance(error, OCIError):
            wrong.append(f"a foreign exception: {error!r}")
        return End(seed, sum(one.faulty for one in proxy.seen), error, wrong)

    def _repository(self, host: str, name: str, timeout: float = TIMEOUT) -> Repository:
        options = RegistryOptions(plain_http=True, timeout=timeout, auth_file="/dev/null")
        client = Client(host, options, lambda text: None, lambda seconds: None)
        return Repository(RegistryReference(host, name), client, writing=True)

    def _copy(self, source: Source, target: Target) -> None:
        plan = plan_copy(source, source.resolve("v1"), target, ["v1"], concurrency=1)
        apply_copy(plan, source, target, concurrency=1)

    def _of_layout(self, out: pathlib.Path, error: t.Optional[BaseException]) -> t.List[str]:
        wrong = [f"litter: {path}" for path in out.rglob(".lading-*") if error is None or ".lading-partial-" not in path.name]
        named = out / "index.json"
        if error is None or (named.exists() and json.loads(named.read_bytes())["manifests"]):
            return wrong + self._differences(Layout(str(out)))
        for path in out.glob("blobs/sha256/[0-9a-f]*"):
            if path.read_bytes() != pathlib.Path(self._layout.path, "blobs", "sha256", path.name).read_bytes():
                wrong.append(f"wrong bytes in {path.name}")
        return wrong

    def _of_registry(self, name: str, error: t.Optional[BaseException]) -> t.List[str]:
        stored = self._repository(self._registry, name, 30)
        try:
            stored.resolve("v1")
        except NotFoundError:
            return [] if error is not None else ["the tag is missing"]
        # A registry names what it got. Who is told so knows that it is not what was sent.
        return [] if isinstance(error, MismatchError) else self._differences(stored)

    def _differences(self, place: Source) -> t.List[str]:
        try:
            verify(place, self._root)
            named = place.resolve("v1").digest
        except OCIError as problem:
            return [f"not whole: {problem}"]
        return [] if named == self._root.digest else [f"v1 names {named}"]


def seeds() -> t.List[int]:
    alone = os.environ.get("LADING_TORTURE_SEED")
    return [int(alone)] if alone else list(range(int(os.environ.get("LADING_TORTURE_SEEDS", str(SEEDS)))))


@pytest.mark.timeout(1800)
def test_random_faults(ours: t.Type[clients.Ours], registry: t.Any, tmp_path: pathlib.Path, tally: tallies.Tally) -> None:
    transfers = Transfers(registry.host, tmp_path)
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        ends = list(pool.map(transfers.run, seeds()))
    wrong = [str(end) for end in ends if end.wrong]
    few = [end for end in ends if end.met <= FEW]
    failed = [str(end) for end in few if end.error is not None]
    kept = len(ends) - len(wrong)
    tally.add(tallies.SEEDS, not wrong, "random faults", ours.name, tried=len(ends), kept=kept, why="; ".join(wrong))
    assert not wrong, "\n".join(wrong)
    assert len(failed) * 100 <= len(few), f"{len(failed)} of {len(few)} failed:\n" + "\n".join(failed)
    assert len(ends) == 1 or sum(end.met for end in ends) > len(ends), "the faults were not met"


def test_a_seed_says_the_same_each_time(ours: t.Type[clients.Ours], registry: t.Any, tmp_path: pathlib.Path) -> None:
    transfers = [Transfers(registry.host, tmp_path / name) for name in ("one", "two")]
    first, second = (str(one.run(4)) for one in transfers)
    assert first == second

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of the torture tests counted: a line for each case, added up at the end, whatever process ran it."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import typing as t

# Areas, in the order of the report, with the words for what was tried and what held.
FAULTS, INPUTS, KILLS, RACES, SEEDS, DISK, CREDENTIALS, MUTATED = (
    "faults",
    "inputs",
    "kills",
    "races",
    "seeds",
    "disk",
    "credentials",
    "mutated",
)
WORDS = {
    FAULTS: ("faults injected", "survived"),
    INPUTS: ("bad inputs tried", "refused or contained"),
    CREDENTIALS: ("attempts on credentials", "held"),
    KILLS: ("kill points", "clean"),
    DISK: ("disk and permission faults", "clean"),
    RACES: ("concurrent writes", "kept"),
    SEEDS: ("transfers with random faults", "right or a clean failure"),
    MUTATED: ("mutated documents", "no foreign exception"),
}


class Tally:
    """Counts by client and area. ``path``: a file that several processes append to."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def add(
        self, area: str, held: bool, case: str, client: str = "lading.oci", tried: int = 1, kept: t.Optional[int] = None, why: str = ""
    ) -> None:
        """One case, or ``tried`` of a kind of which ``kept`` held (all or none by ``held`` unless given)."""
        record = {
            "client": client,
            "area": area,
            "case": case,
            "tried": tried,
            "held": kept if kept is not None else tried * held,
            "why": why[:400],
        }
        with self.path.open("ab", buffering=0) as file:
            file.write(json.dumps(record).encode() + b"\n")

    def inapplicable(self, area: str, case: str, client: str) -> None:
        """The client has no command that does this."""
        record = {"client": client, "area": area, "case": case, "tried": 0, "held": 0, "why": "not applicable"}
        with self.path.open("ab", buffering=0) as file:
            file.write(json.dumps(record).encode() + b"\n")


def read(path: pathlib.Path) -> t.List[t.Dict[str, t.Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(records: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[str]:
    """A line for each client and area: tried, held, not applicable."""
    sums: t.Dict[t.Tuple[str, str], t.Counter[str]] = collections.defaultdict(collections.Counter)
    for record in records:
        counter = sums[record["client"], record["area"]]
        counter["tried"] += record["tried"]
        counter["held"] += record["held"]
        counter["n/a"] += record["tried"] == 0
    lines = []
    for client in sorted({client for client, _area in sums}, key=lambda name: (name != "lading.oci", name)):
        for area, (tried, held) in WORDS.items():
            counter = sums.get((client, area))
            if counter:
                missing = f", {counter['n/a']} not applicable" if counter["n/a"] else ""
                lines.append(f"{client}: {counter['tried']} {tried}, {counter['held']} {held}{missing}")
    return lines


def from_environment(default: pathlib.Path) -> Tally:
    return Tally(pathlib.Path(os.environ.get("LADING_TORTURE_TALLY", str(default))))

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a benchmark's runs say: medians, ratios to the best peer, a table, JSON of all runs. A run that is not honest has no figure."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
import typing as t

OURS, PEER, REFERENCE = "ours", "peer", "reference"
TIME, MEMORY, REQUESTS, PROCESSOR = "time", "memory", "requests", "processor"
HEADER = ("work", "contender", "median s", "min", "max", "CPU s", "peak MiB", "requests")
GOALS_HEADER = ("goal", "limit", "value", "")


class Dishonest(Exception):
    """A run that did not do the work that it was timed for."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One run of one contender. ``kind``: OURS, PEER, or REFERENCE, which bounds what can be reached; ``requests``: None: not known."""

    work: str
    contender: str
    kind: str
    seconds: float
    cpu: float
    peak_mib: float
    requests: t.Optional[int] = None


@dataclasses.dataclass(frozen=True)
class Goal:
    """What the runs of ``contender`` are to stay within.

    ``what``: TIME: its median over that of ``against`` (none: the best peer); MEMORY and PROCESSOR: its peak in MiB or median of
    milliseconds, less those of ``against``; REQUESTS: the most of a run.
    """

    work: str
    contender: str
    limit: float
    what: str = TIME
    against: t.Optional[str] = None

    def __str__(self) -> str:
        against = self.against or "best peer"
        said = {
            TIME: f"time / {against}",
            MEMORY: f"peak memory in MiB less that of {against}",
            PROCESSOR: f"processor time in ms less that of {against}",
            REQUESTS: "requests",
        }
        return f"{self.work}: {self.contender}: {said[self.what]}"


def check(wanted: str, found: t.Optional[str], moved: int, least: int) -> None:
    """Raises Dishonest unless both sides have one digest and ``least`` bytes are at the destination that were not there before."""
    if found != wanted:
        raise Dishonest(f"the source has {wanted}, the destination {found or 'nothing'}")
    if moved < least:
        raise Dishonest(f"{moved} bytes were moved, of {least}")


def order(contenders: t.Sequence[str], run: int) -> t.List[str]:
    """Each run begins with another contender."""
    start = run % len(contenders)
    return [*contenders[start:], *contenders[:start]]


def value(records: t.Sequence[Record], goal: Goal) -> t.Optional[float]:
    """None where the contender, or what it is measured against, has no run."""
    mine = _runs(records, goal.work, goal.contender)
    if goal.what == REQUESTS:
        known = [record.requests for record in mine if record.requests is not None]
        return max(known) if known else None
    others = [_runs(records, goal.work, goal.against)] if goal.against else _peers(records, goal.work)
    others = [runs for runs in others if runs]
    if not mine or not others:
        return None
    if goal.what == TIME:
        return _seconds(mine) / min(map(_seconds, others))
    if goal.what == MEMORY:
        return _peak(mine) - min(map(_peak, others))
    return 1000 * (_processor(mine) - min(map(_processor, others)))


def _seconds(runs: t.Sequence[Record]) -> float:
    return statistics.median(record.seconds for record in runs)


def _processor(runs: t.Sequence[Record]) -> float:
    return statistics.median(record.cpu for record in runs)


def _peak(runs: t.Sequence[Record]) -> float:
    return max(record.peak_mib for record in runs)


def _runs(records: t.Sequence[Record], work: str, contender: t.Optional[str]) -> t.List[Record]:
    return [record for record in records if (record.work, record.contender) == (work, contender)]


def _peers(records: t.Sequence[Record], work: str) -> t.List[t.List[Record]]:
    names = dict.fromkeys(record.contender for record in records if record.work == work and record.kind == PEER)
    return [_runs(records, work, name) for name in names]


def rows(records: t.Sequence[Record]) -> t.List[t.Tuple[str, ...]]:
    """The cells of HEADER for each contender of each work, in the order of their first runs."""
    return [_row(_runs(records, work, contender)) for work, contender in dict.fromkeys((one.work, one.contender) for one in records)]


def _row(runs: t.Sequence[Record]) -> t.Tuple[str, ...]:
    seconds = [record.seconds for record in runs]
    asked = sorted({record.requests for record in runs if record.requests is not None})
    return (
        runs[0].work,
        runs[0].contender,
        *(f"{number:.3f}" for number in (_seconds(runs), min(seconds), max(seconds))),
        f"{_processor(runs):.2f}",
        f"{_peak(runs):.1f}",
        "/".join(map(str, asked)) or "-",
    )


def verdicts(records: t.Sequence[Record], goals: t.Sequence[Goal]) -> t.List[t.Tuple[str, str, str, str]]:
    """For each goal: what it is of, its limit, the value, whether it is met; one that could not be measured is said."""
    found = []
    for goal in goals:
        got = value(records, goal)
        said = ("-", "not measured") if got is None else (f"{got:.2f}", "met" if got <= goal.limit else "missed")
        found.append((str(goal), f"{goal.limit:g}", *said))
    return found


def table(header: t.Sequence[str], cells: t.Sequence[t.Sequence[str]]) -> str:
    """In columns, for a terminal."""
    lines = [header, *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def markdown(header: t.Sequence[str], cells: t.Sequence[t.Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *cells])


def write(path: pathlib.Path, records: t.Sequence[Record], goals: t.Sequence[Goal], facts: t.Mapping[str, t.Any]) -> None:
    """All runs and goals, and ``facts`` on the machine and the peers."""
    document = {
        "facts": dict(facts),
        "goals": [dataclasses.asdict(goal) for goal in goals],
        "runs": [dataclasses.asdict(record) for record in records],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def read(path: pathlib.Path) -> t.Tuple[t.List[Record], t.List[Goal], t.Dict[str, t.Any]]:
    """What ``write`` wrote."""
    document = json.loads(path.read_text())
    return [Record(**run) for run in document["runs"]], [Goal(**goal) for goal in document["goals"]], document["facts"]

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a benchmark's runs say: medians, ratios to the best peer, a table, JSON of all runs. A run that is not honest has no figure."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
import typing as t

HEADER = ("work", "contender", "median s", "min", "max", "CPU s", "peak MiB", "requests")


class Dishonest(Exception):
    """A run that did not do the work that it was timed for."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One run of one contender. ``ours``: it is not a peer; ``requests``: None where they are not known."""

    work: str
    contender: str
    ours: bool
    seconds: float
    cpu: float
    peak_mib: float
    requests: t.Optional[int] = None


@dataclasses.dataclass(frozen=True)
class Goal:
    """``limit``: of the median of ``contender`` over that of the best peer."""

    work: str
    contender: str
    limit: float


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


def ratio(records: t.Sequence[Record], goal: Goal) -> t.Optional[float]:
    """None without runs of the contender, or of a peer."""
    medians = {
        (contender, ours): statistics.median(record.seconds for record in group) for (contender, ours), group in _of(records, goal.work)
    }
    mine, peers = medians.get((goal.contender, True)), [seconds for (_name, ours), seconds in medians.items() if not ours]
    return mine / min(peers) if mine is not None and peers else None


def _of(records: t.Sequence[Record], work: str) -> t.List[t.Tuple[t.Tuple[str, bool], t.List[Record]]]:
    groups: t.Dict[t.Tuple[str, bool], t.List[Record]] = {}
    for record in records:
        if record.work == work:
            groups.setdefault((record.contender, record.ours), []).append(record)
    return list(groups.items())


def rows(records: t.Sequence[Record]) -> t.List[t.Tuple[str, ...]]:
    found = []
    for work in dict.fromkeys(record.work for record in records):
        for (contender, _ours), group in _of(records, work):
            seconds = [record.seconds for record in group]
            asked = {record.requests for record in group}
            found.append(
                (
                    work,
                    contender,
                    *(f"{value:.3f}" for value in (statistics.median(seconds), min(seconds), max(seconds))),
                    f"{statistics.median(record.cpu for record in group):.2f}",
                    f"{max(record.peak_mib for record in group):.1f}",
                    "/".join("-" if count is None else str(count) for count in sorted(asked, key=lambda count: count or 0)),
                )
            )
    return found


def verdicts(records: t.Sequence[Record], goals: t.Sequence[Goal]) -> t.List[str]:
    """A line for each goal; one that could not be measured is said."""
    lines = []
    for goal in goals:
        value = ratio(records, goal)
        said = "not measured" if value is None else f"{value:.2f}, {'met' if value <= goal.limit else 'missed'}"
        lines.append(f"{goal.work}: {goal.contender} / best peer, goal {goal.limit}: {said}")
    return lines


def table(records: t.Sequence[Record]) -> str:
    lines = [HEADER, *rows(records)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def write(path: pathlib.Path, records: t.Sequence[Record], facts: t.Mapping[str, t.Any]) -> None:
    """All runs, and ``facts`` on the machine and the peers."""
    document = {"facts": dict(facts), "runs": [dataclasses.asdict(record) for record in records]}
    path.write_text(json.dumps(document, indent=1) + "\n")

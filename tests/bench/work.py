# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""One piece of work, done by several contenders in turn: set back before each run, looked at after it."""

from __future__ import annotations

import abc
import os
import typing as t

from contenders import Contender
from figures import Dishonest, Goal, Record, order
from stage import Stage


class Work(abc.ABC):
    """``name``: its number in the documentation, and what is done. A contender that cannot be had is named in ``missing``."""

    name: str

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.missing: t.List[str] = []

    @property
    def number(self) -> str:
        return number_of(self.name)

    @abc.abstractmethod
    def prepare(self) -> None:
        """Once, before all runs."""

    @abc.abstractmethod
    def contenders(self) -> t.Sequence[Contender]:
        """After ``prepare``."""

    @abc.abstractmethod
    def reset(self, contender: Contender) -> None:
        """Nothing of an earlier run is left at the destination."""

    @abc.abstractmethod
    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        """Raises Dishonest unless the run has done its work. ``said``: by the program."""

    @abc.abstractmethod
    def goals(self) -> t.Sequence[Goal]: ...

    @abc.abstractmethod
    def end(self) -> None:
        """After all runs, also after a failure."""


def number_of(name: str) -> str:
    """The word that chooses a work, of its name."""
    return name.split()[0].rstrip(":,")


def measure(work: Work, runs: int, tell: t.Callable[[str], None]) -> t.List[Record]:
    """All runs of all contenders, which take turns. Raises Dishonest."""
    work.stage.empty_registry()
    work.stage.forget_caches()
    try:
        work.prepare()
        contenders = {contender.name: contender for contender in work.contenders()}
        records = []
        for number in range(runs):
            for name in order(list(contenders), number):
                records.append(_one(work, contenders[name]))
                tell(f"{work.name}, run {number + 1}, {name}: {records[-1].seconds:.2f} s")
        return records
    finally:
        work.end()


def _one(work: Work, contender: Contender) -> Record:
    work.reset(contender)
    os.sync()
    run = contender.start()
    where = f"{work.name}, {contender.name}"
    if not run.succeeded:
        raise Dishonest(f"{where} failed: {run.output[-3000:]}")
    said = contender.said(run)
    try:
        work.check(contender, said)
    except (Dishonest, ValueError) as error:
        raise Dishonest(f"{where}: {error}") from error
    seconds = said.get("seconds", run.seconds)
    return Record(work.name, contender.name, contender.kind, seconds, run.cpu, run.peak_mib, said.get("requests"))

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the cost of our own code grows with the number of blobs and of references: requests, time, memory."""

from __future__ import annotations

import typing as t

import content
from clients import LAYOUT, REGISTRY, Place
from contenders import Contender, Ours, copy_arguments
from figures import Dishonest, Goal, check
from stage import Stage, blobs_at, digest_at, remove
from work import Work

_SIZE = 16 * 1024


class Blobs(Work):
    """Images of 1, 10, 100, 1,000 layers of 16 KiB to a registry that has none of them."""

    name = "growth: push of N blobs"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._folder = stage.folder / "growth"
        self._counts = list(dict.fromkeys(str(stage.scaled(count)) for count in (1, 10, 100, 1000)))

    def _source(self, count: str) -> Place:
        return Place(LAYOUT, str(self._folder / count))

    @property
    def _destination(self) -> Place:
        return Place(REGISTRY, f"{self.stage.registry.host}/bench/growth")

    def prepare(self) -> None:
        for count in self._counts:
            content.layout(self._folder / count, int(count), _SIZE)

    def contenders(self) -> t.Sequence[Contender]:
        ours = Ours(self.stage)
        return [ours.library(self._source(count), self._destination, count) for count in self._counts]

    def reset(self, contender: Contender) -> None:
        self.stage.empty_registry()

    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        source = self._source(contender.name)
        moved = sum(self.stage.blobs_of_registry().values())
        check(str(digest_at(source)), digest_at(self._destination), moved, sum(blobs_at(source).values()))

    def goals(self) -> t.Sequence[Goal]:
        return [Goal(self.name, many, 10.0, against=few) for few, many in zip(self._counts, self._counts[1:])]

    def end(self) -> None:
        remove(self._folder)


class References(Work):
    """Layouts of 10, 100, 1,000 images, each with its tag and all with the same layers, to a registry that has none of them."""

    def __init__(self, stage: Stage, again: bool) -> None:
        super().__init__(stage)
        self.name = f"growth: N references{', again' if again else ''}"
        self._again = again
        self._folder = stage.folder / "growth"
        self._counts = list(dict.fromkeys(str(stage.scaled(count)) for count in (10, 100, 1000)))

    def _repository(self, count: str) -> str:
        return f"bench/growth{count}"

    def _places(self, count: str) -> t.Tuple[Place, Place]:
        last = f"v{count}"
        return Place(LAYOUT, str(self._folder / count), last), Place(
            REGISTRY, f"{self.stage.registry.host}/{self._repository(count)}", last
        )

    def prepare(self) -> None:
        for count in self._counts:
            content.layout(self._folder / count, 2, _SIZE, [f"v{number}" for number in range(1, int(count) + 1)])

    def contenders(self) -> t.Sequence[Contender]:
        ours = Ours(self.stage)
        found = []
        for count in self._counts:
            source, destination = self._places(count)
            arguments = copy_arguments(source, destination, all_tags=True)
            arguments.update(src=f"oci:{source.name}", dest=destination.name)
            found.append(ours.module("oci_copy", arguments, count))
        return found

    def reset(self, contender: Contender) -> None:
        if not self._again:
            self.stage.empty_registry()
        elif digest_at(self._places(contender.name)[1]) is None and not contender.start().succeeded:
            raise RuntimeError(f"the copy of {contender.name} references failed")

    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        source, destination = self._places(contender.name)
        if digest_at(destination) != digest_at(source):
            raise Dishonest("the last reference is not at the registry")
        if said["answer"]["changed"] is self._again or len(said["answer"]["copies"]) != int(contender.name):
            raise Dishonest(f"changed: {said['answer']['changed']}, copies: {len(said['answer']['copies'])}")

    def goals(self) -> t.Sequence[Goal]:
        return [Goal(self.name, many, 10.0, against=few) for few, many in zip(self._counts, self._counts[1:])]

    def end(self) -> None:
        remove(self._folder)


def growth(stage: Stage) -> t.List[Work]:
    return [Blobs(stage), References(stage, again=False), References(stage, again=True)]

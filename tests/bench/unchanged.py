# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that have nothing to do: one reference, and many in one task."""

from __future__ import annotations

import dataclasses
import typing as t

import content
from clients import LAYOUT, REGISTRY, Place
from contenders import Contender, Ours, copy_arguments, peer, repeated
from figures import REQUESTS, Dishonest, Goal
from stage import Stage, digest_at, remove
from transfers import push
from work import Work


class Unchanged(Work):
    """The registry has what the layout has, under ``count`` tags."""

    def __init__(self, stage: Stage, name: str, count: int) -> None:
        super().__init__(stage)
        self.name = name
        self._layout = stage.folder / "unchanged"
        self._refs = [f"v{number}" for number in range(1, count + 1)]

    @property
    def _repository(self) -> str:
        return f"{self.stage.registry.host}/bench/unchanged"

    def _places(self, ref: str) -> t.Tuple[Place, Place]:
        return Place(LAYOUT, str(self._layout), ref), Place(REGISTRY, self._repository, ref)

    def prepare(self) -> None:
        content.layout(self._layout, 4, 64 * 1024, self._refs)
        for ref in self._refs:
            push(self.stage, self._layout, "bench/unchanged", ref)
        self._digests = {ref: digest_at(self._places(ref)[0]) for ref in self._refs}

    def reset(self, contender: Contender) -> None:
        """What is there stays there."""

    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        for ref in (self._refs[0], self._refs[-1]):
            if digest_at(self._places(ref)[1]) != self._digests[ref]:
                raise Dishonest(f"{ref} at the registry is not what the layout has")
        if said.get("answer", {}).get("changed"):
            raise Dishonest("there was something to do")

    def end(self) -> None:
        remove(self._layout)


class OneUnchanged(Unchanged):
    """Workload 5: also from the registry, and pinned by digest, where no request is needed."""

    def contenders(self) -> t.Sequence[Contender]:
        ours = Ours(self.stage)
        layout, registry = self._places("v1")
        pinned = dataclasses.replace(registry, ref=str(self._digests["v1"]))
        return [
            ours.library(layout, registry),
            ours.task("oci_copy", copy_arguments(layout, registry)),
            ours.task("oci_copy", copy_arguments(registry, layout), "task, from the registry"),
            ours.task("oci_copy", copy_arguments(pinned, layout), "task, pinned digest"),
            ours.ping(),
            peer("oras", self.stage, lambda oras: oras.copy(layout, registry)),
        ]

    def goals(self) -> t.Sequence[Goal]:
        tasks = ["task", "task, from the registry", "task, pinned digest"]
        requests = [Goal(self.name, name, limit, REQUESTS) for name, limit in zip(tasks, (1, 1, 0))]
        return [*(Goal(self.name, name, 1.35, against="task of ping") for name in tasks), *requests]


class ManyUnchanged(Unchanged):
    """Workload 6: all tags in one task, against a process of oras for each."""

    def contenders(self) -> t.Sequence[Contender]:
        ours = Ours(self.stage)
        options = {"src": f"oci:{self._layout}", "dest": self._repository, "dest_registry": {"plain_http": True}, "all_tags": True}
        places = [self._places(ref) for ref in self._refs]
        starts = [peer("oras", self.stage, lambda oras, pair=pair: oras.copy(*pair)).start for pair in places]
        return [
            ours.task("oci_copy", options),
            ours.module("oci_copy", options),
            repeated(peer("oras", self.stage, lambda oras: None), f"{len(starts)} x oras cp", starts),
        ]

    def goals(self) -> t.Sequence[Goal]:
        return [Goal(self.name, "task", 0.5), Goal(self.name, "task", len(self._refs), REQUESTS)]


def unchanged(stage: Stage) -> t.List[Work]:
    """Workloads 5 and 6."""
    return [
        OneUnchanged(stage, "5 nothing to do, one reference", 1),
        ManyUnchanged(stage, "6 nothing to do, 100 references", stage.scaled(100)),
    ]

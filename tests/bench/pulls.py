# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pulls of an artifact that is a folder of many small files."""

from __future__ import annotations

import pathlib
import typing as t

import content
import measured
import peers
from clients import REGISTRY, Place
from contenders import LIMIT, Contender, Ours, peer
from figures import REQUESTS, Dishonest, Goal
from stage import Stage, remove
from work import Work


class Pull(Work):
    """Workload 11. ``again``: all of it has been pulled already."""

    def __init__(self, stage: Stage, again: bool) -> None:
        super().__init__(stage)
        self.name = f"11 pull 20,000 files{', again' if again else ''}"
        self._again = again
        self._past = 0
        self._folder = stage.folder / "pull"

    @property
    def _place(self) -> Place:
        return Place(REGISTRY, f"{self.stage.registry.host}/bench/many")

    def prepare(self) -> None:
        content.small_files(self._folder / "tree", self.stage.scaled(20000))
        command = [str(peers.find("oras")), "push", "--plain-http", f"{self._place.name}:v1", "tree"]
        run = measured.run(command, LIMIT, Ours(self.stage).environment(), cwd=str(self._folder))
        if not run.succeeded:
            raise RuntimeError(f"oras push: {run.output}")
        self._state = content.tree_state(self._folder / "tree")

    def _dest(self, name: str) -> pathlib.Path:
        return self._folder / f"dest-{name}"

    def contenders(self) -> t.Sequence[Contender]:
        ours = Ours(self.stage)

        def arguments(name: str) -> t.Dict[str, t.Any]:
            return {"src": f"{self._place.name}:v1", "src_registry": {"plain_http": True}, "dest": str(self._dest(name))}

        self._contenders = [
            ours.module("oci_pull", arguments("module")),
            ours.task("oci_pull", arguments("task")),
            peer("oras", self.stage, lambda oras: oras.pull(self._place, str(self._dest("oras")))),
        ]
        return self._contenders

    def reset(self, contender: Contender) -> None:
        dest = self._dest(contender.name)
        if not self._again:
            # Not removed before the end: ext4 makes files several times slower after 20,000 were.
            if dest.exists():
                self._past += 1
                dest.rename(self._folder / f"past-{self._past}")
        elif not dest.exists() and not contender.start().succeeded:
            raise RuntimeError(f"the pull before this one failed: {contender.name}")

    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        if content.tree_state(self._dest(contender.name) / "tree") != self._state:
            raise Dishonest("the files are not those that were pushed")
        if "answer" in said and said["answer"]["changed"] is self._again:
            raise Dishonest(f"changed: {said['answer']['changed']}")

    def goals(self) -> t.Sequence[Goal]:
        requests = [Goal(self.name, "module", 1, REQUESTS)] if self._again else []
        return [Goal(self.name, "module", 1.0), *requests]

    def end(self) -> None:
        remove(self._folder)


def pulls(stage: Stage) -> t.List[Work]:
    """Workload 11."""
    return [Pull(stage, again=False), Pull(stage, again=True)]

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of one image from one place to another, each time to a destination that has nothing of it."""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

import content
from clients import ARCHIVE, LAYOUT, REGISTRY, Client, Oras, Place
from contenders import Contender, Ours, copy_arguments, peer
from figures import MEMORY, Goal, check
from slow_link import SlowLink
from stage import Stage, blobs_at, digest_at, remove
from work import Work

MIB = content.MIB
LAYOUT_DIRECTORY, LAYOUT_TAR, FROM_REGISTRY = "layout", "layout tar", "registry"
_KINDS = {LAYOUT_DIRECTORY: LAYOUT, LAYOUT_TAR: ARCHIVE, FROM_REGISTRY: REGISTRY}


class Transfer(Work):
    """``layers`` of ``size`` bytes from ``source`` to ``destination`` (one of the three above), by us and by ``peers``.

    ``slow``: registries are behind a link of 50 ms and 100 Mbit/s. ``concurrency``: ours, one contender for each.
    """

    def __init__(
        self,
        stage: Stage,
        name: str,
        image: t.Tuple[int, int],
        sides: t.Tuple[str, str],
        peers: t.Sequence[str] = (),
        goals: t.Sequence[Goal] = (),
        slow: bool = False,
        concurrency: t.Sequence[int] = (),
    ) -> None:
        super().__init__(stage)
        self.name = name
        self._layers, self._size = image
        self._sides, self._peers, self._goals, self._slow, self._concurrency = sides, peers, goals, slow, concurrency
        self._digest, self._bytes = "", 0
        self._stack = contextlib.ExitStack()

    @property
    def _folder(self) -> pathlib.Path:
        return self.stage.folder / "transfer"

    def _place(self, side: str, name: str) -> Place:
        if side == FROM_REGISTRY:
            return Place(REGISTRY, f"{self._host}/bench/{name}")
        suffix = ".tar" if side == LAYOUT_TAR else ""
        return Place(_KINDS[side], f"{self._folder}/{name}{suffix}")

    def prepare(self) -> None:
        self._folder.mkdir()
        self._host = self.stage.registry.host
        if self._slow:
            self._host = self._stack.enter_context(SlowLink(self._host)).host
        made = self._folder / "made"
        self._digest = content.layout(made, self._layers, self._size)
        self._bytes = sum(blobs_at(Place(LAYOUT, str(made))).values())
        self._source, self._destination = self._place(self._sides[0], "made"), self._place(self._sides[1], "dest")
        if self._sides[0] == LAYOUT_TAR:
            content.archive(made, pathlib.Path(self._source.name))
        elif self._sides[0] == FROM_REGISTRY:
            push(self.stage, made, "bench/made")

    def contenders(self) -> t.Sequence[Contender]:
        ours = Ours(self.stage)
        if self._concurrency:
            return [ours.library(self._source, self._destination, str(number), concurrency=number) for number in self._concurrency]
        found = [
            ours.library(self._source, self._destination),
            ours.task("oci_copy", copy_arguments(self._source, self._destination)),
            *([ours.nothing()] if any(goal.against == "imports alone" for goal in self._goals) else []),
        ]
        return [*found, *(peer(name, self.stage, self._copy) for name in self._peers)]

    def _copy(self, client: Client) -> t.Any:
        if isinstance(client, Oras) and self._destination.kind == ARCHIVE:
            return client.backup(self._source, self._destination.name)
        return client.copy(self._source, self._destination)

    def reset(self, contender: Contender) -> None:
        if self._destination.kind != REGISTRY:
            remove(pathlib.Path(self._destination.name))
        elif self._source.kind == REGISTRY:
            self.stage.forget_repository("bench/dest")
        else:
            self.stage.empty_registry()

    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        if contender.name == "imports alone":
            return
        if self._destination.kind == REGISTRY:
            moved = sum(self.stage.blobs_of_registry().values())
            where = Place(REGISTRY, f"{self.stage.registry.host}/bench/dest")
        else:
            moved, where = sum(blobs_at(self._destination).values()), self._destination
        check(self._digest, digest_at(where), moved, self._bytes)

    def goals(self) -> t.Sequence[Goal]:
        return self._goals

    def end(self) -> None:
        self._stack.close()
        remove(self._folder)


class Mounted(Transfer):
    """From one repository of a registry to another: the registry keeps no second copy, so links are counted instead of bytes."""

    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        stored = sum(self.stage.blobs_of_registry().values())
        linked = self.stage.links_of("bench/dest")
        check(self._digest, digest_at(self._destination), linked if stored == self._bytes else 0, self._layers + 1)


def push(stage: Stage, folder: pathlib.Path, repository: str, ref: str = "v1") -> None:
    """By oras, so that what is measured is not needed for it."""
    source, destination = Place(LAYOUT, str(folder), ref), Place(REGISTRY, f"{stage.registry.host}/{repository}", ref)
    run = peer("oras", stage, lambda oras: oras.copy(source, destination)).start()
    if not run.succeeded:
        raise RuntimeError(f"oras could not push {folder}: {run.output}")


PUSH, PULL = (LAYOUT_DIRECTORY, FROM_REGISTRY), (FROM_REGISTRY, LAYOUT_DIRECTORY)
ALL_PEERS = ("oras", "crane", "skopeo")
LARGE, SMALL, ONE, NARROW = (8, 128 * MIB), (200, 16 * 1024), (1, 2048 * MIB), (8, 8 * MIB)
# Name, layers and their size, sides, peers, and how much of the best peer's time the library and the task may take (None: not said).
_TRANSFERS = (
    ("1 push 8 x 128 MiB", LARGE, PUSH, ALL_PEERS, 0.95, 1.25),
    ("2 pull 8 x 128 MiB", LARGE, PULL, ALL_PEERS, 0.85, 1.2),
    ("3 push 200 x 16 KiB", SMALL, PUSH, ALL_PEERS, 0.75, None),
    ("3 pull 200 x 16 KiB", SMALL, PULL, ALL_PEERS, 0.75, None),
    ("4 push 1 x 2 GiB", ONE, PUSH, ALL_PEERS, 0.95, None),
    ("4 pull 1 x 2 GiB", ONE, PULL, ALL_PEERS, 0.95, None),
    ("7 layout to layout, 8 x 128 MiB", LARGE, (LAYOUT_DIRECTORY, LAYOUT_DIRECTORY), ("oras", "skopeo"), 0.5, None),
    ("8 layout tar to registry, 1 GiB", LARGE, (LAYOUT_TAR, FROM_REGISTRY), ("oras",), 0.9, None),
    ("8 registry to layout tar, 1 GiB", LARGE, (FROM_REGISTRY, LAYOUT_TAR), ("oras",), 0.7, None),
    ("12 repository to repository, 8 x 128 MiB", LARGE, (FROM_REGISTRY, FROM_REGISTRY), ALL_PEERS, 1.0, None),
    ("13 slow link, push 8 x 8 MiB", NARROW, PUSH, ALL_PEERS, 1.0, None),
    ("13 slow link, pull 8 x 8 MiB", NARROW, PULL, ALL_PEERS, 1.0, None),
    ("13 slow link, push 200 x 16 KiB", SMALL, PUSH, ALL_PEERS, 1.0, None),
    ("13 slow link, pull 200 x 16 KiB", SMALL, PULL, ALL_PEERS, 1.0, None),
)


def transfers(stage: Stage) -> t.List[Work]:
    """Workloads 1 to 4, 7, 8, 12 and 13."""
    found: t.List[Work] = []
    for name, image, sides, peers, library, task in _TRANSFERS:
        goals = [Goal(name, "library", library), *([Goal(name, "task", task)] if task else [])]
        goals += [Goal(name, "library", 64, MEMORY, "imports alone")] if image is ONE else []
        kind = Mounted if sides == (FROM_REGISTRY, FROM_REGISTRY) else Transfer
        found.append(kind(stage, name, _scaled(stage, image), sides, peers, goals, slow=name.startswith("13 ")))
    return found


def _scaled(stage: Stage, image: t.Tuple[int, int]) -> t.Tuple[int, int]:
    """Many layers become fewer, few become smaller."""
    layers, size = image
    return (stage.scaled(layers), size) if image is SMALL else (layers, stage.scaled(size))


def concurrency(stage: Stage) -> t.List[Work]:
    """The curve that the default comes from."""
    numbers = (1, 2, 3, 4, 6, 8, 12, 16)
    found: t.List[Work] = []
    for verb, sides in (("push", PUSH), ("pull", PULL)):
        for link, slow, large in (("loopback", False, (8, 32 * MIB)), ("slow link", True, (8, 4 * MIB))):
            for image, what in ((large, "8 large"), (SMALL, "200 small")):
                name = f"concurrency: {link}, {verb} {what}"
                found.append(Transfer(stage, name, _scaled(stage, image), sides, slow=slow, concurrency=numbers))
    return found

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
    client = peer("oras", stage, lambda oras: oras.copy(Place(LAYOUT, str(folder), ref), Place(REGISTRY, f"{stage.registry.host}/{repository}", ref)))
    run = client.start()
    if not run.succeeded:
        raise RuntimeError(f"oras could not push {folder}: {run.output}")


def transfers(stage: Stage) -> t.List[Work]:
    """Workloads 1 to 4, 7, 8, 12 and 13."""
    scaled = stage.scaled
    large, small, one, tar = (8, scaled(128 * MIB)), (scaled(200), 16 * 1024), (1, scaled(2048 * MIB)), (8, scaled(128 * MIB))
    narrow = (8, scaled(8 * MIB))
    push_sides, pull_sides = (LAYOUT_DIRECTORY, FROM_REGISTRY), (FROM_REGISTRY, LAYOUT_DIRECTORY)
    all_peers, layouts = ("oras", "crane", "skopeo"), (LAYOUT_DIRECTORY, LAYOUT_DIRECTORY)

    def transfer(name: str, image: t.Tuple[int, int], sides: t.Tuple[str, str], peers: t.Sequence[str], *goals: Goal, slow: bool = False) -> Work:
        return Transfer(stage, name, image, sides, peers, goals, slow)

    def library(name: str, limit: float) -> Goal:
        return Goal(name, "library", limit)

    def memory(name: str) -> Goal:
        return Goal(name, "library", 64, MEMORY, "imports alone")

    mounts = "12 repository to repository, 8 x 128 MiB"
    return [
        transfer("1 push 8 x 128 MiB", large, push_sides, all_peers, library("1 push 8 x 128 MiB", 0.95), Goal("1 push 8 x 128 MiB", "task", 1.25)),
        transfer("2 pull 8 x 128 MiB", large, pull_sides, all_peers, library("2 pull 8 x 128 MiB", 0.85), Goal("2 pull 8 x 128 MiB", "task", 1.2)),
        transfer("3 push 200 x 16 KiB", small, push_sides, all_peers, library("3 push 200 x 16 KiB", 0.75)),
        transfer("3 pull 200 x 16 KiB", small, pull_sides, all_peers, library("3 pull 200 x 16 KiB", 0.75)),
        transfer("4 push 1 x 2 GiB", one, push_sides, all_peers, library("4 push 1 x 2 GiB", 0.95), memory("4 push 1 x 2 GiB")),
        transfer("4 pull 1 x 2 GiB", one, pull_sides, all_peers, library("4 pull 1 x 2 GiB", 0.95), memory("4 pull 1 x 2 GiB")),
        transfer("7 layout to layout, 8 x 128 MiB", large, layouts, ("oras", "skopeo"), library("7 layout to layout, 8 x 128 MiB", 0.5)),
        transfer("8 layout tar to registry, 1 GiB", tar, (LAYOUT_TAR, FROM_REGISTRY), ("oras",), library("8 layout tar to registry, 1 GiB", 0.9)),
        transfer("8 registry to layout tar, 1 GiB", tar, (FROM_REGISTRY, LAYOUT_TAR), ("oras",), library("8 registry to layout tar, 1 GiB", 0.7)),
        Mounted(stage, mounts, large, (FROM_REGISTRY, FROM_REGISTRY), all_peers, [library(mounts, 1.0)]),
        *(
            transfer(name, image, sides, all_peers, library(name, 1.0), slow=True)
            for name, image, sides in (
                ("13 slow link, push 8 x 8 MiB", narrow, push_sides),
                ("13 slow link, pull 8 x 8 MiB", narrow, pull_sides),
                ("13 slow link, push 200 x 16 KiB", small, push_sides),
                ("13 slow link, pull 200 x 16 KiB", small, pull_sides),
            )
        ),
    ]


def concurrency(stage: Stage) -> t.List[Work]:
    """The curve that the default comes from."""
    numbers = (1, 2, 3, 4, 6, 8, 12, 16)
    large, narrow, small = (8, stage.scaled(32 * MIB)), (8, stage.scaled(4 * MIB)), (stage.scaled(200), 16 * 1024)
    found: t.List[Work] = []
    for verb, sides in (("push", (LAYOUT_DIRECTORY, FROM_REGISTRY)), ("pull", (FROM_REGISTRY, LAYOUT_DIRECTORY))):
        for link, slow, images in (("loopback", False, (large, small)), ("slow link", True, (narrow, small))):
            for image, what in zip(images, ("8 large", "200 small")):
                found.append(Transfer(stage, f"concurrency: {link}, {verb} {what}", image, sides, slow=slow, concurrency=numbers))
    return found

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds of a layer from a tree of files, and the same again."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tarfile
import time
import typing as t

import content
import measured
import peers
from clients import ARCHIVE, LAYOUT, Place
from contenders import LIMIT, Contender, Ours
from docker_engine import Engine
from figures import PEER, Dishonest, Goal
from stage import Stage, blobs_at, digest_at, remove
from work import Work

_BUILDX = "docker buildx"


class Build(Work):
    """Workload 9: mixed files into one gzip layer, by us, umoci and buildx."""

    name = "9 build, 1 GiB of mixed files"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._folder = stage.folder / "build"
        self._tree = self._folder / "tree"
        self._stack = contextlib.ExitStack()
        self._engine: t.Optional[Engine] = None

    def prepare(self) -> None:
        self._tree.mkdir(parents=True)
        self._bytes = content.mixed_tree(self._tree, self.stage.scaled(1024 * content.MIB))
        (self._folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        try:
            self._engine = self._stack.enter_context(Engine())
        except peers.Unavailable as error:
            self.missing.append(f"{_BUILDX}: {error}")

    def _place(self, name: str) -> Place:
        return Place(ARCHIVE, str(self._folder / "buildx.tar")) if name == _BUILDX else Place(LAYOUT, str(self._folder / name))

    def contenders(self) -> t.Sequence[Contender]:
        ours, umoci = Ours(self.stage), str(peers.find("umoci"))
        arguments = {"path": self._place("module").name, "tag": "v1", "layers": [{"src": f"{self._tree}/"}], "platform": "linux/amd64"}
        insert = [umoci, "insert", "--image", f"{self._place('umoci').name}:v1", str(self._tree), "/"]
        found = [
            ours.module("oci_layout_build", arguments),
            ours.task("oci_layout_build", {**arguments, "path": self._place("task").name}),
            Contender("umoci", PEER, lambda: measured.run(insert, LIMIT, os.environ)),
        ]
        return [*found, *([Contender(_BUILDX, PEER, self._buildx)] if self._engine else [])]

    def _docker(self, *words: str) -> measured.Run:
        engine = t.cast(Engine, self._engine)
        return measured.run(["docker", *words], LIMIT, {**os.environ, **engine.environment})

    def _buildx(self) -> measured.Run:
        output = f"type=oci,dest={self._place(_BUILDX).name},compression=gzip"
        words = ("--no-cache", "--provenance=false", "--file", str(self._folder / "Dockerfile"), "--output", output, "--tag", "v1")
        return self._docker("buildx", "build", *words, str(self._tree))

    def reset(self, contender: Contender) -> None:
        place = self._place(contender.name)
        remove(pathlib.Path(place.name))
        self.stage.forget_caches()
        if contender.name == "umoci":
            for words in (("init", "--layout", place.name), ("new", "--image", f"{place.name}:v1")):
                run = measured.run([str(peers.find("umoci")), *words], LIMIT, os.environ)
                if not run.succeeded:
                    raise RuntimeError(f"umoci: {run.output}")
        elif contender.name == _BUILDX:
            self._docker("buildx", "prune", "--all", "--force")

    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        """Layers of different tools differ; what they have to have is every byte of every file."""
        place = self._place(contender.name)
        held = bytes_of_files(place)
        if held != self._bytes:
            raise Dishonest(f"the layers have {held} bytes of files, of {self._bytes}")

    def goals(self) -> t.Sequence[Goal]:
        return [Goal(self.name, "module", 0.7)]

    def end(self) -> None:
        self._stack.close()
        remove(self._folder)


def bytes_of_files(place: Place) -> int:
    """In all gzip layers of the image that the place names; its content is verified."""
    blobs_at(place)
    with contextlib.ExitStack() as stack:
        tar = stack.enter_context(tarfile.open(place.name)) if place.kind == ARCHIVE else None

        def opened(digest: str) -> t.IO[bytes]:
            name = f"blobs/sha256/{digest.partition(':')[2]}"
            return t.cast("t.IO[bytes]", tar.extractfile(name)) if tar else (pathlib.Path(place.name) / name).open("rb")

        manifest = json.load(opened(t.cast(str, digest_at(place))))
        if "manifests" in manifest:
            manifest = json.load(opened(manifest["manifests"][0]["digest"]))
        return sum(_bytes_of(stack.enter_context(opened(layer["digest"]))) for layer in manifest["layers"])


def _bytes_of(layer: t.IO[bytes]) -> int:
    with tarfile.open(fileobj=layer, mode="r|gz") as tar:
        return sum(member.size for member in tar if member.isfile())


class BuildAgain(Work):
    """Workload 10: 1 GiB in 20,000 files; the first build, then with nothing changed, then with one file changed."""

    name = "10 build again, 1 GiB in 20,000 files"
    _FIRST, _SAME, _ONE = "first build", "nothing changed", "one file changed"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._folder = stage.folder / "again"
        self._tree = self._folder / "tree"
        self._changes = 0

    def prepare(self) -> None:
        content.small_files(self._tree, self.stage.scaled(20000), 1024 * content.MIB // 20000)
        self._before: t.Optional[str] = None
        # A file that has only just been written is looked into again.
        time.sleep(3)

    @property
    def _layout(self) -> Place:
        return Place(LAYOUT, str(self._folder / "layout"))

    def contenders(self) -> t.Sequence[Contender]:
        ours = Ours(self.stage)
        arguments = {"path": self._layout.name, "tag": "v1", "layers": [{"src": f"{self._tree}/"}], "platform": "linux/amd64"}
        found = [ours.module("oci_layout_build", arguments, name) for name in (self._FIRST, self._SAME, self._ONE)]
        self._builder = found[0]
        return found

    def reset(self, contender: Contender) -> None:
        if contender.name == self._FIRST:
            remove(pathlib.Path(self._layout.name))
            self.stage.forget_caches()
        elif not self._builder.start().succeeded:
            raise RuntimeError("the build before this one failed")
        if contender.name == self._ONE:
            self._changes += 1
            (self._tree / "0000" / "0.txt").write_bytes(b"change %d\n" % self._changes)
        self._before = digest_at(self._layout)

    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        blobs_at(self._layout)
        moved = digest_at(self._layout) != self._before
        if moved is (contender.name == self._SAME) or said["answer"]["changed"] is not moved:
            raise Dishonest(f"the layout went from {self._before} to {digest_at(self._layout)}")

    def goals(self) -> t.Sequence[Goal]:
        return [Goal(self.name, name, 0.1, against=self._FIRST) for name in (self._SAME, self._ONE)]

    def end(self) -> None:
        remove(self._folder)


def builds(stage: Stage) -> t.List[Work]:
    """Workloads 9 and 10."""
    return [Build(stage), BuildAgain(stage)]

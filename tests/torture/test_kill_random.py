# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 of whole module processes at random moments (threat rows 60, 65): all that was there is readable, the next run completes.

Every call that changes the disk is a point to die before in tests/system; here the moment falls where the time is spent.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time
import typing as t
import zlib

import peers
import pytest
import tally as tallies
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from support import peer, start_module, succeed, tree_state

KILLS = 20  # of each kind
ASK_PEERS = 5  # after each n-th kill
FILES, SIZE = 30, 280_000
PLAIN = {"plain_http": True}
Options = t.Dict[str, t.Any]
Tree = t.Dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class Sources:
    """An old and a new artifact and image: as a layout, in a registry, and the digests of the new ones."""

    root: pathlib.Path
    registry: str
    digests: t.Mapping[str, str]

    def files(self, version: str) -> Tree:
        return {path.name: path.read_bytes() for path in (self.root / version).iterdir()}

    def artifact(self, version: str) -> t.List[Options]:
        return [{"src": str(path)} for path in sorted((self.root / version).iterdir())]


@pytest.fixture(scope="module", name="sources")
def _sources(tmp_path_factory: pytest.TempPathFactory, registry: t.Any) -> Sources:
    """The new version has other content in half of the files, some more, and some not at all."""
    root, chosen = tmp_path_factory.mktemp("sources"), random.Random(7)
    shared = {f"f{number:02}": chosen.randbytes(SIZE) for number in range(FILES // 2)}
    for version, first in (("old", FILES // 2 - 4), ("new", FILES // 2)):
        (root / version).mkdir()
        own = {f"f{number:02}": chosen.randbytes(SIZE) for number in range(first, first + FILES // 2)}
        for name, content in {**shared, **own}.items():
            (root / version / name).write_bytes(content)
    digests = {}
    for version in ("old", "new"):
        layout = {"path": str(root / "layout")}
        files = [{"src": str(path)} for path in sorted((root / version).iterdir())]
        made = succeed("oci_layout_build", {**layout, "tag": version, "artifact_type": "a/b", "files": files})
        digests[version] = made["digest"]
        image = [{"src": f"{root / version}/", "dest": "/data"}]
        digests[f"image-{version}"] = succeed("oci_layout_build", {**layout, "tag": f"image-{version}", "layers": image})["digest"]
    host = f"{registry.host}/kills/{root.name.replace('_', '-')}"
    succeed("oci_copy", {"src": f"oci:{root}/layout", "dest": host, "dest_registry": PLAIN, "all_tags": True})
    return Sources(root, host, digests)


class Case:
    """One kind of run: what was there, the run, and what must hold afterwards. ``work``: the folder that is made anew each time."""

    module = "oci_copy"

    def __init__(self, sources: Sources, work: pathlib.Path) -> None:
        self.sources = sources
        self.work = work

    def prepare(self) -> None:
        """Make what is there before the run."""

    def options(self, number: int) -> Options:
        raise NotImplementedError

    def watched(self) -> pathlib.Path:
        """A folder that the run changes first."""
        raise NotImplementedError

    def problems(self, ask_peers: bool) -> t.List[str]:
        """After the kill."""
        raise NotImplementedError

    def incomplete(self, number: int, answer: t.Mapping[str, t.Any]) -> t.List[str]:
        """After the next run."""
        raise NotImplementedError

    def run(self, number: int) -> t.Dict[str, t.Any]:
        return succeed(self.module, self.options(number), env=self.environment())

    def environment(self) -> t.Dict[str, str]:
        return {**os.environ, "HOME": str(self.work / "home"), "TMPDIR": str(self.work / "tmp")}


class ToLayout(Case):
    """``v1`` names the old artifact, which ``old`` names too, and is to name the new one."""

    kind: t.Type[t.Union[Layout, Archive]] = Layout
    file = "layout"
    from_registry = False

    @property
    def path(self) -> pathlib.Path:
        return self.work / "dest" / self.file

    def reference(self, tag: str = "") -> str:
        return f"{'oci' if self.kind is Layout else 'oci-archive'}:{self.path}{':' if tag else ''}{tag}"

    def prepare(self) -> None:
        source = f"oci:{self.sources.root}/layout:old"
        succeed("oci_copy", {"src": source, "dest": self.reference("old"), "tags": ["v1", "gone"]}, env=self.environment())

    def options(self, number: int) -> Options:
        src = self.sources.registry if self.from_registry else f"oci:{self.sources.root}/layout"
        registry = {"src_registry": PLAIN} if self.from_registry else {}
        return {"src": f"{src}:new", "dest": self.reference("v1"), **registry}

    def watched(self) -> pathlib.Path:
        return self.path if self.kind is Layout else self.path.parent

    def _read(self) -> t.Dict[str, str]:
        """Each name and its digest; everything below them is read and verified."""
        store = self.kind(str(self.path))
        for desc in store._reachable(store.index.descriptors()):
            store.fetch_bytes(desc, limit=2 * FILES * SIZE)
        return {name: str(store.resolve(name).digest) for name in store.index.names}

    def problems(self, ask_peers: bool) -> t.List[str]:
        names, old, new = self._read(), self.sources.digests["old"], self.expected
        found = [f"old names {names.get('old')}"] if names.get("old") != old else []
        found += [f"v1 names {names.get('v1')}"] if names.get("v1") not in (old, new) else []
        if ask_peers:
            place = f"{'oci' if self.kind is Layout else 'oci-archive'}:{self.path}:old"
            seen = peer(peers.find("skopeo"), "inspect", "--raw", place)
            seen += peer(peers.find("oras"), "manifest", "fetch", "--oci-layout", f"{self.path}:old")
            found += [] if seen.count('"f00"') == 2 else ["a peer does not read it"]
        return found

    @property
    def expected(self) -> str:
        return self.sources.digests["new"]

    def incomplete(self, number: int, answer: t.Mapping[str, t.Any]) -> t.List[str]:
        names = self._read()
        wanted = {"old": self.sources.digests["old"], "gone": self.sources.digests["old"], "v1": self.expected}
        return [] if names == wanted else [f"names are {names}"]


class ToTar(ToLayout):
    kind = Archive
    file = "layout.tar"


class RegistryToLayout(ToLayout):
    from_registry = True


class RegistryToTar(ToTar):
    from_registry = True


class PruneCopy(ToLayout):
    """All tags of the source, and none that it has not: ``gone`` and ``v1`` go."""

    def options(self, number: int) -> Options:
        return {"src": f"oci:{self.sources.root}/layout", "dest": self.reference(), "all_tags": True, "prune": True}

    def problems(self, ask_peers: bool) -> t.List[str]:
        names, digests = self._read(), self.sources.digests
        wrong = {name: digest for name, digest in names.items() if digest != digests.get(name, digests["old"])}
        return [f"wrong names: {wrong}"] if wrong or "old" not in names else []

    def incomplete(self, number: int, answer: t.Mapping[str, t.Any]) -> t.List[str]:
        names = self._read()
        return [] if names == dict(self.sources.digests) else [f"names are {names}"]


class Build(ToLayout):
    """Every other time the name is new."""

    module = "oci_layout_build"

    def options(self, number: int) -> Options:
        tag = "v1" if number % 2 else "brand-new"
        return {"path": str(self.path), "tag": tag, "artifact_type": "a/b", "files": self.sources.artifact("new")}

    def incomplete(self, number: int, answer: t.Mapping[str, t.Any]) -> t.List[str]:
        names, tag = self._read(), "v1" if number % 2 else "brand-new"
        return [] if names[tag] == self.expected and {"old", "gone", "v1"} <= set(names) else [f"names are {names}"]


class BuildTar(Build):
    kind = Archive
    file = "layout.tar"


class Pull(Case):
    """Files over older ones; what only the older version has stays."""

    module = "oci_pull"
    prune = False

    @property
    def dest(self) -> pathlib.Path:
        return self.work / "dest" / "files"

    def _options(self, version: str) -> Options:
        return {"src": f"{self.sources.registry}:{version}", "src_registry": PLAIN, "dest": str(self.dest), "prune": self.prune}

    def prepare(self) -> None:
        succeed(self.module, self._options("old"), env=self.environment())

    def options(self, number: int) -> Options:
        return self._options("new")

    def watched(self) -> pathlib.Path:
        return self.dest

    def _tree(self) -> Tree:
        return {path.name: path.read_bytes() for path in self.dest.rglob("*") if path.is_file() and not path.name.startswith(".lading-")}

    def problems(self, ask_peers: bool) -> t.List[str]:
        old, new = self.sources.files("old"), self.sources.files("new")
        found, tree = [], self._tree()
        for name, content in tree.items():
            if content not in (old.get(name), new.get(name)):
                found.append(f"{name} is neither old nor new")
        kept = {name for name in old if not self.prune or name in new}
        return found + [f"{name} is gone" for name in kept - set(tree)]

    def incomplete(self, number: int, answer: t.Mapping[str, t.Any]) -> t.List[str]:
        old, new = self.sources.files("old"), self.sources.files("new")
        wanted = new if self.prune else {**old, **new}
        wrong = sorted(set(wanted.items()) ^ set(self._tree().items()))
        return [f"wrong: {sorted({name for name, _content in wrong})}"] if wrong else []


class PrunePull(Pull):
    prune = True


class Rootfs(Pull):
    """An upgrade: what only the older image has goes."""

    prune = True

    def _options(self, version: str) -> Options:
        src = f"{self.sources.registry}:image-{version}"
        return {"src": src, "src_registry": PLAIN, "dest": str(self.dest), "unpack": "rootfs"}

    def watched(self) -> pathlib.Path:
        return self.dest / "data"


CASES: t.Tuple[t.Type[Case], ...] = (
    *(ToLayout, ToTar, RegistryToLayout, RegistryToTar, PruneCopy),
    *(Build, BuildTar, Pull, PrunePull, Rootfs),
)


def changes(case: Case, number: int) -> t.Tuple[subprocess.Popen[str], float]:
    """The run, started, and the moment when it made its first change of the destination, or ended."""
    before = case.watched().stat().st_mtime_ns
    process = start_module(case.module, {**case.options(number), "_ansible_remote_tmp": str(case.work)}, env=case.environment())
    while process.poll() is None and _mtime(case.watched()) == before:
        time.sleep(0.0005)
    return process, time.monotonic()


def _mtime(folder: pathlib.Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("case_class", CASES, ids=lambda one: one.__name__)
def test_random_moments(case_class: t.Type[Case], sources: Sources, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    work, pristine = tmp_path / "work", tmp_path / "pristine"
    case = case_class(sources, work)
    for name in ("dest", "home", "tmp"):
        (work / name).mkdir(parents=True)
    case.prepare()
    shutil.copytree(work, pristine, symlinks=True)
    process, start = changes(case, 1)
    assert process.communicate(timeout=120) and process.returncode == 0
    length = time.monotonic() - start
    moments, killed = random.Random(zlib.crc32(case_class.__name__.encode())), 0
    for number in range(4 * KILLS):
        if killed == KILLS:
            break
        shutil.rmtree(work)
        shutil.copytree(pristine, work, symlinks=True)
        process, start = changes(case, number)
        time.sleep(max(0.0, start + moments.uniform(0, length) - time.monotonic()))
        process.kill()
        process.communicate(timeout=60)
        if process.returncode != -signal.SIGKILL:
            continue
        killed += 1
        problems = case.problems(ask_peers=killed % ASK_PEERS == 0)
        problems += case.incomplete(number, case.run(number))
        problems += [
            f"left behind: {name}"
            for name in tree_state(work)
            if os.path.basename(name).startswith((".lading-", "lading-")) and os.path.basename(name) != "lading-oci"
        ]
        report(tallies.KILLS, problems, f"{case_class.__name__}-{killed}")
    assert killed == KILLS, f"{case_class.__name__} ended before it was killed too often: {killed} of {KILLS}"

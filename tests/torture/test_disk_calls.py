# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each call that touches the disk fails once (threat row 62): the error says where, names stay, the next run completes."""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import os
import pathlib
import shutil
import tempfile
import typing as t

import pytest
import tally as tallies
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.logins import Login, apply_login, plan_login
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.authfile import AuthFile, Credential
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource, member, tar_gz
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import store
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.rootfs.images import Rootfs, image
from test_kill import CHANGING_CALLS, copy_to
from test_kill_pull import MEMBERS, pull
from test_kill_rootfs import MORE_CALLS, NEW, OLD, STATE

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EMFILE)
CALLS = (*CHANGING_CALLS, *MORE_CALLS)
Store = t.Union[Layout, Archive]


class Failing:
    """Lets the ``number``-th call that touches the disk fail with ``error``; ``call`` is what that was, "" when there were fewer."""

    def __init__(self, number: int, error: int) -> None:
        self._left = number
        self._error = error
        self.call = ""

    def __enter__(self) -> Failing:
        self._real = {name: getattr(os, name) for name in CALLS}
        for name, real in self._real.items():
            setattr(os, name, self._wrapped(name, real))
        return self

    def _wrapped(self, name: str, real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def call(*args: t.Any, **options: t.Any) -> t.Any:
            self._left -= 1
            if self._left == 0:
                self.call = name
                raise OSError(self._error, os.strerror(self._error))
            return real(*args, **options)

        return call

    def __exit__(self, *_exc: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)


def litter(folder: pathlib.Path) -> t.List[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob(".lading-*")]


def _descriptors(wanted: int = -1) -> int:
    """How many are open; what only waits to be collected, when that is not as ``wanted``, is collected first."""
    found = len(os.listdir("/dev/fd"))
    if found > wanted > 0:
        gc.collect()
        found = len(os.listdir("/dev/fd"))
    return found


class Work:
    """What is done again and again: from ``pristine``, with one fault, and once more without."""

    def __init__(self, tmp_path: pathlib.Path) -> None:
        self.pristine, self.path = tmp_path / "pristine", tmp_path / "work"
        self.pristine.mkdir()

    def anew(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self.pristine, self.path, symlinks=True)

    def fail_everywhere(
        self,
        run: t.Callable[[], None],
        broken: t.Callable[[], t.List[str]],
        incomplete: t.Callable[[], t.List[str]],
        places: t.Sequence[str],
        report: t.Callable[..., None],
    ) -> int:
        """The number of calls. ``places``: one of these words has to be in each error."""
        for number in itertools.count(1):
            for error in (ERRORS[number % 6], ERRORS[(number + 3) % 6]):
                self.anew()
                problems = []
                before = _descriptors()
                with Failing(number, error) as fault:
                    try:
                        run()
                    except OCIError as failure:
                        message = str(failure)
                        # A receipt that cannot be read counts as absent, and then it is not known whose a folder is.
                        told = os.strerror(error) in message or "no earlier run" in message
                        if not told or not any(place in message for place in places):
                            problems.append(f"the error does not say what or where: {message}")
                    except Exception as failure:  # every other one would be a traceback
                        problems.append(f"{type(failure).__name__}: {failure}")
                if not fault.call:
                    return number - 1
                problems += broken()
                # The fault may have been in the removal itself.
                if fault.call != "unlink":
                    problems += [f"left behind: {name}" for name in litter(self.path)]
                if _descriptors(before) > before:
                    problems.append("descriptors are left open")
                run()
                problems += incomplete() + [f"left behind by the next run: {name}" for name in litter(self.path)]
                report(tallies.DISK, [f"call {number}, {fault.call}, {errno.errorcode[error]}: {one}" for one in problems], f"{number}")
        raise AssertionError("endless")


@pytest.fixture(name="work")
def _work(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Work]:
    """In memory where that can be had: each run syncs, hundreds of times in all."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        work = Work(pathlib.Path(folder))
        monkeypatch.setenv("XDG_CACHE_HOME", str(work.path / "cache"))
        yield work


KINDS = [
    pytest.param(Layout, "layout", True, id="folder"),
    pytest.param(Archive, "image.tar", True, id="tar"),
    pytest.param(Layout, "layout", False, id="new-folder"),
    pytest.param(Archive, "image.tar", False, id="new-tar"),
]


@pytest.mark.parametrize("kind, name, existing", KINDS)
def test_copy(kind: t.Type[Store], name: str, existing: bool, work: Work, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    source, path = Layout(str(tmp_path / "source")), work.path / name
    new = store(source, ["new"], b"a new layer", b"shared layer", title="new")
    old = store(kind(str(work.pristine / name)), ["v1", "old"], b"old layer", b"shared layer") if existing else None

    def names() -> t.Dict[str, Descriptor]:
        layout = kind(str(path))
        for desc in layout._reachable(layout.index.descriptors()):
            layout.fetch_bytes(desc)
        return {name: layout.resolve(name) for name in layout.index.names}

    def broken() -> t.List[str]:
        with contextlib.suppress(OCIError if old is None else ()):
            found = names()
            # The last sync comes after the last rename: the names are there, and may not survive a crash.
            allowed = [{"v1": old, "old": old}, {"v1": new, "old": old, "new": new}] if old else [{}, {"v1": new, "new": new}]
            return [] if found in allowed else [f"names are {found}"]
        return []

    def incomplete() -> t.List[str]:
        wanted = {"v1": new, "new": new, **({"old": old} if old else {})}
        return [] if names() == wanted else [f"names are {names()}"]

    def run() -> None:
        copy_to(kind(str(path)), Layout(source.path))

    points = work.fail_everywhere(run, broken, incomplete, [str(path), str(path.parent), source.path], report)
    assert points >= 10, "the calls were not seen"


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_login(existing: bool, work: Work, ours: t.Any, report: t.Any) -> None:
    file, me, other = work.path / "docker" / "config.json", Credential("me", "new"), Credential("you", "x")
    login = Login("one.example.com", me, str(file))
    if existing:
        apply_login(login._replace(registry="two.example.com", credential=other, auth_file=str(work.pristine / "docker" / "config.json")))

    def entries() -> t.List[t.Dict[str, t.Optional[Credential]]]:
        if not file.exists():
            return [{}, {}]
        kept = AuthFile.read(str(file))
        return [kept.entries(registry) for registry in ("one.example.com", "two.example.com")]

    theirs = {"two.example.com": other} if existing else {}
    before, after = [{}, theirs], [{"one.example.com": me}, theirs]

    def run() -> None:
        if plan_login(login).changed:
            apply_login(login)

    points = work.fail_everywhere(
        run,
        lambda: [] if entries() in (before, after) else [f"logins are {entries()}"],
        lambda: [] if entries() == after else [f"logins are {entries()}"],
        [str(file)],
        report,
    )
    assert points >= 8, "the calls were not seen"


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_pull(existing: bool, work: Work, ours: t.Any, report: t.Any) -> None:
    source, dest = MemorySource(), work.path / "dest"
    root = source.artifact(source.file("a", b"new"), source.file("x/y", b"new"), source.folder("d", tar_gz(*MEMBERS)))
    if existing:
        (work.pristine / "dest" / "d").mkdir(parents=True)
        (work.pristine / "dest" / "a").write_bytes(b"old")
        (work.pristine / "dest" / "d" / "b").write_bytes(b"old")
    warnings: t.List[str] = []

    def contents() -> t.Dict[str, bytes]:
        return {str(path.relative_to(dest)): path.read_bytes() for path in dest.rglob("*") if path.is_file() and not path.is_symlink()}

    wanted = {"a": b"new", "x/y": b"new", "d/b": b"new", "d/copy": b"new", "d/s/c": b"c"}

    def broken() -> t.List[str]:
        files = {name: content for name, content in contents().items() if not os.path.basename(name).startswith(".lading-")}
        allowed = (b"old",) if existing else ()
        wrong = {name: content for name, content in files.items() if content not in (wanted[name], *allowed)}
        return [f"wrong: {wrong}"] if wrong else []

    points = work.fail_everywhere(
        lambda: pull(source, root, dest, warn=warnings.append),
        broken,
        lambda: [] if contents() == wanted else [f"files are {contents()}"],
        [str(dest)],
        report,
    )
    assert points > 20, "the calls were not seen"


def test_pull_of_a_large_folder(work: Work, ours: t.Any, report: t.Any) -> None:
    """Whose files are written first, and get their names together."""
    source, dest = MemorySource(), work.path / "dest"
    names = [*(f"d/{number}" for number in range(9)), *(f"d/s/{number}" for number in range(9))]
    root = source.artifact(source.folder("d", tar_gz(*(member(name, b"new") for name in names))))
    (work.pristine / "dest" / "d").mkdir(parents=True)
    (work.pristine / "dest" / "d" / "3").write_bytes(b"old")

    def contents() -> t.Dict[str, bytes]:
        return {str(path.relative_to(dest)): path.read_bytes() for path in dest.rglob("*") if path.is_file()}

    def broken() -> t.List[str]:
        files = {name: content for name, content in contents().items() if "/.lading-" not in f"/{name}"}
        return [f"wrong: {name}" for name, content in files.items() if content != b"new" and (name, content) != ("d/3", b"old")]

    points = work.fail_everywhere(
        lambda: pull(source, root, dest, warn=lambda _message: None),
        broken,
        lambda: [] if contents() == {name: b"new" for name in names} else [f"files are {contents()}"],
        [str(dest)],
        report,
    )
    assert points > 80, "the calls were not seen"


@pytest.mark.parametrize("existing", [False, True], ids=["new", "upgrade"])
def test_rootfs(existing: bool, work: Work, ours: t.Any, report: t.Any) -> None:
    source, rootfs = MemorySource(), Rootfs(work.path / "rootfs", MemorySource())
    old, new = image(source, *OLD), image(source, *NEW)
    rootfs.source = source
    if existing:
        work.path.mkdir()
        rootfs.unpack(old)
        shutil.rmtree(work.pristine)
        work.path.rename(work.pristine)
    points = work.fail_everywhere(
        lambda: t.cast(None, rootfs.unpack(new)),
        list,
        lambda: [] if rootfs.state() == STATE else [f"there is {rootfs.state()}"],
        [str(rootfs.path)],
        report,
    )
    assert points > 40, "the calls were not seen"

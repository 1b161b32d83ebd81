# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writers and readers at the same time (threat rows 63, 68): no name is lost, readers see whole layouts, pulls do not mix."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import pathlib
import tempfile
import threading
import typing as t

import pytest
import tally as tallies
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.module import open_layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import platform_of
from ansible_collections.lading.oci.plugins.module_utils._oci.verify import verify
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import image, store
from support import start_module, succeed
from test_kill_pull import pull
from test_races import write

WRITERS, ROUNDS = 8, 20
APPENDS, APPEND_ROUNDS = 3, 3
Store = t.Union[Layout, Archive]


@pytest.fixture(name="folder")
def _folder() -> t.Iterator[pathlib.Path]:
    """In memory where that can be had: it is about order, not about the disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as path:
        yield pathlib.Path(path)


def look(kind: t.Type[Store], path: str, whole: int) -> t.Optional[str]:
    """One reader: that what is named is there, ``whole`` times; None, or what was wrong."""
    for _time in range(whole):
        store_seen = kind(path)
        try:
            for desc in store_seen._reachable(store_seen.index.descriptors()):
                store_seen.fetch_bytes(desc)
        except OCIError as error:
            return f"a reader: {error}"
    return None


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("kind, suffix", [(Layout, ""), (Archive, ".tar")], ids=["folder", "tar"])
def test_no_name_is_lost(kind: t.Type[Store], suffix: str, existing: bool, folder: pathlib.Path, tally: tallies.Tally, ours: t.Any) -> None:
    source, names = str(folder / "source"), [f"r{number}" for number in range(WRITERS)]
    for name in names:
        store(Layout(source), [name], name.encode() * 1000, b"shared" * 1000)
    problems, kept = [], 0
    with multiprocessing.get_context("fork").Pool(WRITERS + 2) as pool:
        for number in range(ROUNDS):
            path = str(folder / f"target{number}{suffix}")
            if existing:
                store(kind(path), ["there"], b"before")
            writers = [pool.apply_async(write, (kind, path, source, name)) for name in names]
            readers = [pool.apply_async(look, (kind, path, 5)) for _reader in range(2 * existing)]
            problems += [error for error in (job.get(120) for job in [*writers, *readers]) if error]
            target = kind(path)
            wanted = sorted([*names, "there"]) if existing else names
            kept += len(set(target.index.names) & set(names))
            problems += [] if target.index.names == wanted else [f"names are {target.index.names}"]
            problems += [error for error in [look(kind, path, 1)] if error]
    problems += [name for name in os.listdir(folder) if name.startswith(".lading-")]
    case = f"{kind.__name__}-{'existing' if existing else 'new'}"
    tally.add(tallies.RACES, not problems, case, tried=WRITERS * ROUNDS, kept=kept, why="; ".join(problems))
    assert not problems and kept == WRITERS * ROUNDS


@pytest.mark.parametrize("there", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("suffix", ["", ".tar"], ids=["folder", "tar"])
def test_appends_at_once(suffix: str, there: bool, folder: pathlib.Path, tally: tallies.Tally, ours: t.Any) -> None:
    """Modules as processes that append to one index at the same time: all entries are there, and content of all is whole."""
    names, source, path = [f"cpu{number}" for number in range(APPENDS)], folder / "images", f"{folder}/out{suffix}"
    for name in ["first", *names]:
        (folder / name).write_text(name)
        layers = [{"src": str(folder / name), "dest": "/name"}]
        succeed("oci_layout_build", {"path": str(source), "tag": name, "platform": f"linux/{name}", "layers": layers})
    problems, kept = [], 0
    for number in range(APPEND_ROUNDS):
        index = {"path": path, "tag": f"v{number}", "append": True}
        if there:
            succeed("oci_layout_build", {**index, "manifests": [{"src": f"oci:{source}:first"}]})
        running = [start_module("oci_layout_build", {**index, "manifests": [{"src": f"oci:{source}:{name}"}]}) for name in names]
        for process in running:
            out, err = process.communicate(timeout=120)
            answer = json.loads(out)
            problems += [] if answer.get("changed") and not answer.get("failed") else [f"{answer} {err}"]
        store_seen = open_layout(path)
        root = store_seen.resolve(f"v{number}")
        entries = [str(platform_of(desc)) for desc in manifest.parse(root, store_seen.fetch_bytes(root)).manifests]
        kept += len({f"linux/{name}" for name in names} & set(entries))
        wanted = sorted(f"linux/{name}" for name in [*(["first"] if there else []), *names])
        problems += [] if sorted(entries) == wanted else [f"entries are {entries}"]
        verify(store_seen, root)
    problems += [str(path) for path in folder.rglob(".lading-*")]
    case = f"appends-{suffix or 'folder'}-{'existing' if there else 'new'}"
    tally.add(tallies.RACES, not problems, case, tried=APPENDS * APPEND_ROUNDS, kept=kept, why="; ".join(problems))
    assert not problems


def _write_as(kind: t.Type[Store], path: str, source: str, name: str, barrier: t.Any) -> t.Optional[str]:
    """A copy of ``name`` to the name v1, planned before any of the others has begun to write."""
    layout, target = Layout(source), kind(path)
    try:
        plan = plan_copy(layout, layout.resolve(name), target, ["v1"])
        barrier.wait(60)
        apply_copy(plan, layout, target)
    except OCIError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind, suffix", [(Layout, ""), (Archive, ".tar")], ids=["folder", "tar"])
def test_two_copies_of_one_tag(kind: t.Type[Store], suffix: str, folder: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """The last one wins, and its content is whole; or it says that what it had counted on is gone."""
    source, context = str(folder / "source"), multiprocessing.get_context("fork")
    roots = [store(Layout(source), [name], name.encode() * 1000) for name in ("a", "b")]
    with context.Manager() as manager, context.Pool(2) as pool:
        for number in range(ROUNDS):
            path = str(folder / f"target{number}{suffix}")
            store(kind(path), ["v1", "keep"], b"before")
            barrier = manager.Barrier(2)
            jobs = [pool.apply_async(_write_as, (kind, path, source, name, barrier)) for name in ("a", "b")]
            errors = [error for error in (job.get(120) for job in jobs) if error]
            problems = [error for error in errors if "run again" not in error] + (["both failed"] if len(errors) == 2 else [])
            target = kind(path)
            problems += [] if target.resolve("v1") in roots and target.index.names == ["keep", "v1"] else [f"v1 is {target.resolve('v1')}"]
            problems += [error for error in [look(kind, path, 1)] if error]
            report(tallies.RACES, problems, f"one-tag-{kind.__name__}-{number}")


def _pull(contents: t.Dict[str, bytes], dest: str, barrier: t.Any) -> t.Optional[str]:
    source = MemorySource()
    root = source.artifact(*(source.file(title, content) for title, content in contents.items()))
    barrier.wait(60)
    try:
        pull(source, root, pathlib.Path(dest), warn=lambda warning: None)
    except OCIError as error:
        return str(error)
    return None


def test_two_pulls_into_one_folder(folder: pathlib.Path, ours: t.Any, report: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of different artifacts with the same file names: all files are of one of them, none is a mixture."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    versions = [{f"f{number}": letter * 200_000 for number in range(6)} for letter in (b"a", b"b")]
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager, context.Pool(2) as pool:
        for number in range(ROUNDS):
            dest, barrier = folder / f"dest{number}", manager.Barrier(2)
            jobs = [pool.apply_async(_pull, (contents, str(dest), barrier)) for contents in versions]
            problems = [error for error in (job.get(120) for job in jobs) if error]
            found = {path.name: path.read_bytes() for path in dest.rglob("*")}
            letters = {name: content[:1] for name, content in found.items()}
            problems += [] if found in versions else [f"a mixture: {letters}"]
            report(tallies.RACES, problems, f"pulls-{number}")


def test_a_tag_that_moves_after_the_plan(folder: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """What was planned is what is done."""
    source, dest = str(folder / "source"), str(folder / "dest")
    planned = store(Layout(source), ["v1"], b"planned")
    layout, target = Layout(source), Layout(dest)
    plan = plan_copy(layout, layout.resolve("v1"), target, ["v1"])
    moved = store(Layout(source), ["v1"], b"moved")
    apply_copy(plan, layout, target)
    problems = [] if Layout(dest).resolve("v1") == planned != moved else ["something else was copied"]
    report(tallies.RACES, problems)


@pytest.mark.parametrize("kind, suffix", [(Layout, ""), (Archive, ".tar")], ids=["folder", "tar"])
def test_a_source_that_changes_after_the_plan(kind: t.Type[Store], suffix: str, folder: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """Its blob is gone, or has other bytes: an error that names the source, and the destination's name stays."""
    root, _manifest, blobs = image(b"content of a layer")
    for how in ("gone", "other"):
        source, dest = Layout(str(folder / f"source-{how}")), kind(str(folder / f"dest-{how}{suffix}"))
        store(source, ["v1"], b"content of a layer")
        before = store(dest, ["v1"], b"before")
        plan = plan_copy(source, root, kind(dest.path), ["v1"])
        blob = pathlib.Path(source.path, "blobs", "sha256", blobs[1][0].digest.encoded)
        if how == "gone":
            blob.unlink()
        else:
            blob.write_bytes(b"CONTENT of a layer")
        problems = ["it was copied"]
        try:
            apply_copy(plan, source, kind(dest.path))
        except OCIError as error:
            problems = [] if source.path in str(error) else [f"the error does not name the source: {error}"]
        problems += [] if kind(dest.path).resolve("v1") == before else ["the name moved"]
        report(tallies.RACES, problems, f"source-{how}-{kind.__name__}")


@pytest.mark.parametrize("becomes", ["folder", "link", "file"])
@pytest.mark.parametrize("where", ["layout", "index", "blobs", "tar", "pulled"])
def test_a_path_that_becomes_something_else(
    where: str, becomes: str, folder: pathlib.Path, ours: t.Any, report: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between plan and apply: nothing is written through a link, no error is a traceback."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    source, outside = Layout(str(folder / "source")), folder / "outside"
    root = store(source, ["new"], b"layer")
    outside.mkdir()
    (outside / "secret").write_text("secret")
    if where == "pulled":
        memory = MemorySource()
        artifact = memory.artifact(memory.file("d/f", b"new"))
        path = folder / "dest" / "d"
        run: t.Callable[[], t.Any] = functools.partial(pull, memory, artifact, folder / "dest")
        path.parent.mkdir()
    else:
        dest: Store = Archive(str(folder / "dest.tar")) if where == "tar" else Layout(str(folder / "dest"))
        store(dest, ["v1"], b"before")
        plan = plan_copy(source, root, dest, ["v1"])
        path = pathlib.Path(dest.path) / {"layout": "", "index": "index.json", "blobs": "blobs/sha256", "tar": ""}[where]
        run = functools.partial(apply_copy, plan, source, dest)
        path.rename(folder / "aside")
    if becomes == "folder":
        path.mkdir()
    elif becomes == "file":
        path.write_bytes(b"file")
    else:
        path.symlink_to(outside if where != "tar" else outside / "secret")
    problems = []
    try:
        run()
    except OCIError as error:
        problems = [] if str(folder) in str(error) else [f"the error names no path: {error}"]
    if where not in ("layout",):
        problems += [] if sorted(os.listdir(outside)) == ["secret"] else [f"outside: {os.listdir(outside)}"]
    problems += [] if where == "tar" or (outside / "secret").read_text() == "secret" else ["the secret was written"]
    assert threading.active_count() < 50
    report(tallies.DISK, problems)

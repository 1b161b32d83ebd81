# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A folder of the destination that somebody swaps with a link to outside, again and again, while pulls write to it (threat rows 3, 19)."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pathlib
import time
import typing as t

import pytest
import tally as tallies
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource, member, tar_gz
from test_kill_pull import pull

PULLS = 80


def _swap(folder: str, aside: str, outside: str, ended: t.Any) -> None:
    while not ended.is_set():
        with contextlib.suppress(OSError):
            os.rename(folder, aside)
        with contextlib.suppress(OSError):
            os.symlink(outside, folder)
        with contextlib.suppress(OSError):
            os.unlink(folder)
        with contextlib.suppress(OSError):
            os.rename(aside, folder)


@pytest.fixture(name="outside")
def _outside(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


@contextlib.contextmanager
def _swapping(folder: pathlib.Path, outside: pathlib.Path) -> t.Iterator[None]:
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("fork")
    ended = context.Event()
    process = context.Process(target=_swap, args=(str(folder), str(folder.parent.parent / "aside"), str(outside), ended))
    process.start()
    try:
        yield
    finally:
        ended.set()
        process.join()


@pytest.mark.parametrize("unpacked", [False, True], ids=["file", "folder"])
def test_pulls_while_a_folder_is_swapped(
    unpacked: bool, outside: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    memory, dest, problems = MemorySource(), tmp_path / "dest", []
    versions = [
        memory.artifact(memory.folder("d", tar_gz(member("d/f", text), member("d/secret", text))))
        if unpacked
        else memory.artifact(memory.file("d/f", text), memory.file("d/secret", text))
        for text in (b"one", b"two")
    ]
    with _swapping(dest / "d", outside):
        for number in range(PULLS):
            try:
                pull(memory, versions[number % 2], dest, prune=number % 3 == 0, warn=lambda _message: None)
            except OCIError as error:
                problems += [] if str(dest) in str(error) else [f"the error names no path: {error}"]
            if os.listdir(outside) != ["secret"] or (outside / "secret").read_text() != "secret":
                problems.append(f"pull {number} wrote outside: {os.listdir(outside)}")
                break
    report(tallies.RACES, problems)


def test_who_goes_by_path_writes_outside(outside: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The control: the swaps are quick and many enough to lead a writer astray."""
    path, until = tmp_path / "dest" / "d", time.monotonic() + 60
    with _swapping(path, outside):
        while not (outside / "f").exists() and time.monotonic() < until:
            with contextlib.suppress(OSError):
                (path / "f").write_bytes(b"one")
    assert (outside / "f").exists()

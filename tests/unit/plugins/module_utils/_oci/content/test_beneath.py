# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths below a folder when something goes wrong: short writes, a lock that is refused, an end of the run, a link in the way."""

from __future__ import annotations

import errno
import fcntl
import os
import pathlib
import threading
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content import beneath, writing
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import CancelledError


@pytest.fixture(name="parent")
def _parent(tmp_path: pathlib.Path) -> t.Iterator[int]:
    with beneath.folder(str(tmp_path)) as descriptor:
        yield descriptor


def test_after_the_end_of_a_run_nothing_is_made_and_nobody_waits(parent: int) -> None:
    temps = beneath._Temps()
    temps.close()
    refused = []

    def make() -> None:
        try:
            with temps.making(parent):
                pass
        except CancelledError:
            refused.append(True)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join(10)
    assert refused == [True]


def test_what_is_written_in_several_calls_lies_where_it_should(
    parent: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, content, offset: whole(fd, content[:3], offset))
    with beneath.NewFile(parent) as file:
        file.write_at(2, b"23456789")
        file.write_at(0, b"01")
        file.commit("it")
    assert (tmp_path / "it").read_bytes() == b"0123456789"


def test_the_second_name_of_a_link_is_one_of_the_link_itself(parent: int, tmp_path: pathlib.Path) -> None:
    (tmp_path / "target").write_text("of others")
    (tmp_path / "link").symlink_to("target")
    writing.second_name(parent, "link", "other")
    assert os.readlink(tmp_path / "other") == "target"
    assert (tmp_path / "target").stat().st_nlink == 1


def test_while_the_umask_is_read_nobody_elses_files_are_open_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = [0o027]

    def umask(mask: int) -> int:
        masks.append(mask)
        return masks[-2]

    monkeypatch.setattr(os, "umask", umask)
    beneath._umask.cache_clear()
    try:
        assert beneath.default_mode() == 0o640
    finally:
        beneath._umask.cache_clear()
    assert masks == [0o027, 0o077, 0o027]


def test_a_file_system_without_locks_is_an_error_that_is_told_and_leaves_nothing(
    parent: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(OSError) as caught:
        beneath.NewFile(parent)
    assert caught.value.errno == errno.ENOLCK
    assert os.listdir(tmp_path) == [] and len(os.listdir("/dev/fd")) == before

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The members of a tar: which one counts of those with one name, and what stays open."""

from __future__ import annotations

import os
import pathlib

from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive_file import ArchiveFile
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.saved import link, write_tar


def test_of_one_name_the_last_member_counts(tmp_path: pathlib.Path) -> None:
    members = [("new", b"new"), ("name", b"old"), ("name", link("new")), ("other", link("new")), ("other", b"other")]
    file = ArchiveFile(str(write_tar(tmp_path / "it.tar", members)))
    assert file.content(file.followed("name")).read() == b"new"
    assert file.content(file.followed("other")).read() == b"other"
    file.close()


def test_a_closed_tar_keeps_nothing_open(tmp_path: pathlib.Path) -> None:
    path = write_tar(tmp_path / "it.tar", [("name", b"content")])
    before = len(os.listdir("/dev/fd"))
    file = ArchiveFile(str(path))
    assert len(os.listdir("/dev/fd")) > before
    file.close()
    assert len(os.listdir("/dev/fd")) == before

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx import context
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.ignore import IgnorePatterns
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError


@pytest.fixture(name="folder")
def _folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "c" / "sub").mkdir(parents=True)
    (tmp_path / "c" / "a").write_text("a")
    (tmp_path / "c" / "sub" / "b").write_text("b")
    (tmp_path / "c" / "link").symlink_to("a")
    return tmp_path / "c"


def scan(folder: pathlib.Path, lines: bytes = b"") -> t.Dict[str, str]:
    return context.scan(str(folder), IgnorePatterns.parse(lines))


def relink(folder: pathlib.Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("sub/b")


DECIDES: t.Dict[str, t.Tuple[t.Callable[[pathlib.Path], t.Any], str]] = {
    "content": (lambda folder: (folder / "a").write_text("x"), "modified a"),
    "mode": (lambda folder: (folder / "a").chmod(0o755), "modified a"),
    "mode of a folder": (lambda folder: (folder / "sub").chmod(0o700), "modified sub"),
    "link": (relink, "modified link"),
    "added": (lambda folder: (folder / "sub" / "c").write_text(""), "added sub/c"),
    "removed": (lambda folder: (folder / "sub" / "b").unlink(), "removed sub/b"),
}


@pytest.mark.parametrize("name", DECIDES)
def test_what_decides(name: str, folder: pathlib.Path) -> None:
    before = scan(folder)
    change, line = DECIDES[name]
    change(folder)
    after = scan(folder)
    assert context.changes(before, after) == [line]
    assert context.digest(before) != context.digest(after)


def test_times_and_left_out_files_do_not(folder: pathlib.Path) -> None:
    before = scan(folder, b"*.log\n")
    (folder / "x.log").write_text("1")
    os.utime(folder / "a", (1, 1))
    assert scan(folder, b"*.log\n") == before


def test_an_exception_below_a_left_out_folder_is_there_with_its_parent(folder: pathlib.Path) -> None:
    assert sorted(scan(folder, b"*\n!sub/b\n")) == ["sub", "sub/b"]


def test_links_are_not_followed(folder: pathlib.Path) -> None:
    (folder / "loop").symlink_to(".")
    (folder / "out").symlink_to("/")
    assert not [path for path in scan(folder) if path.startswith(("loop/", "out/"))]


def test_a_name_that_is_not_utf_8_can_be_kept_as_json(folder: pathlib.Path) -> None:
    pathlib.Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_text("x")
    found = scan(folder)
    assert json.loads(json.dumps(found)) == found


def test_many_changes_are_counted(folder: pathlib.Path) -> None:
    before = scan(folder)
    for number in range(12):
        (folder / f"new{number:02}").write_text("")
    lines = context.changes(before, scan(folder))
    assert len(lines) == 11 and lines[-1] == "and 2 more"


def test_the_ignore_file_of_the_dockerfile_comes_first(folder: pathlib.Path) -> None:
    dockerfile = str(folder / "Dockerfile")
    assert context.ignore_file(str(folder), dockerfile) is None
    (folder / ".dockerignore").write_text("")
    assert context.ignore_file(str(folder), dockerfile) == str(folder / ".dockerignore")
    (folder / "Dockerfile.dockerignore").write_text("")
    assert context.ignore_file(str(folder), dockerfile) == dockerfile + ".dockerignore"


def test_what_is_no_folder(folder: pathlib.Path) -> None:
    with pytest.raises(OCIError, match="a"):
        scan(folder / "a")

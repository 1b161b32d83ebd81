# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import socket
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx import context
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.context import changes, digest, ignore_file, scan
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.ignore import IgnorePatterns
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, StorageError

NO_PATTERNS = IgnorePatterns.parse(b"")


def patterns(*lines: str) -> IgnorePatterns:
    return IgnorePatterns.parse("\n".join(lines).encode())


def write(path: pathlib.Path, content: str = "x", mode: int = 0o644) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


@pytest.fixture(name="folder")
def _folder(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "context"
    for name in ("src/a.c", "src/deep/b.c", "docs/README.md", "docs/big.txt"):
        write(folder / name, name)
    for path in (folder, folder / "src", folder / "src/deep", folder / "docs"):
        path.chmod(0o755)
    (folder / "link").symlink_to("src/a.c")
    return folder


def test_what_is_found(folder: pathlib.Path) -> None:
    found = scan(str(folder), NO_PATTERNS)
    assert list(found) == ["docs", "docs/README.md", "docs/big.txt", "link", "src", "src/a.c", "src/deep", "src/deep/b.c"]
    assert found["docs"] == "folder 0755"
    assert found["link"] == "link src/a.c"
    assert found["src/a.c"] == "file 0644 sha256:" + hashlib.sha256(b"src/a.c").hexdigest()


def relink(folder: pathlib.Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("src/b.c")


def link_to_file(folder: pathlib.Path) -> None:
    (folder / "link").unlink()
    write(folder / "link", "src/a.c")


@pytest.mark.parametrize(
    "change, lines",
    [
        (lambda folder: write(folder / "src/a.c", "other"), ["modified src/a.c"]),
        (lambda folder: write(folder / "src/a.c", "src/a.d"), ["modified src/a.c"]),
        (lambda folder: (folder / "src/a.c").chmod(0o755), ["modified src/a.c"]),
        (lambda folder: (folder / "src/a.c").chmod(0o4644), ["modified src/a.c"]),
        (lambda folder: (folder / "src").chmod(0o700), ["modified src"]),
        (lambda folder: (folder / "src").chmod(0o1755), ["modified src"]),
        (relink, ["modified link"]),
        (link_to_file, ["modified link"]),
        (lambda folder: write(folder / "src/new"), ["added src/new"]),
        (lambda folder: (folder / "empty").mkdir(), ["added empty"]),
        (lambda folder: (folder / "src/a.c").unlink(), ["removed src/a.c"]),
        (lambda folder: (folder / "src/a.c").rename(folder / "src/z.c"), ["removed src/a.c", "added src/z.c"]),
        (lambda folder: os.mkfifo(str(folder / "fifo")), ["added fifo"]),
    ],
)
def test_what_decides(folder: pathlib.Path, change: t.Callable[[pathlib.Path], object], lines: list) -> None:
    before = scan(str(folder), NO_PATTERNS)
    change(folder)
    after = scan(str(folder), NO_PATTERNS)
    assert changes(before, after) == lines
    assert digest(before) != digest(after)


def recreate(folder: pathlib.Path) -> None:
    names = ["src/deep/b.c", "src/a.c"]
    for name in names:
        (folder / name).unlink()
    for name in reversed(names):
        write(folder / name, name)


def hard_link(folder: pathlib.Path) -> None:
    os.link(str(folder / "src/a.c"), str(folder.parent / "twin"))


def listen(folder: pathlib.Path) -> None:
    here = os.getcwd()
    os.chdir(str(folder))
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: os.utime(str(folder / "src/a.c"), (1, 1)),
        lambda folder: os.utime(str(folder / "src"), (1, 1)),
        lambda folder: write(folder / "log/x.log"),
        lambda folder: write(folder / "src/x.tmp"),
        lambda folder: folder.chmod(0o700),
        lambda folder: write(folder.parent / "outside"),
        recreate,
        hard_link,
        listen,
    ],
)
def test_what_does_not_decide(folder: pathlib.Path, change: t.Callable[[pathlib.Path], object]) -> None:
    ignored = patterns("log", "**/*.tmp")
    before = scan(str(folder), ignored)
    change(folder)
    after = scan(str(folder), ignored)
    assert before == after and list(before) == list(after)
    assert digest(before) == digest(after)


@pytest.mark.parametrize("exception", ["!docs/README.md", "!**/README.md"])
def test_an_exception_brings_its_folder_back(folder: pathlib.Path, exception: str) -> None:
    assert list(scan(str(folder), patterns("*", exception))) == ["docs", "docs/README.md"]


def test_an_exception_without_a_file_brings_nothing_back(folder: pathlib.Path) -> None:
    assert scan(str(folder), patterns("*", "!docs/none", "!src/deep/none")) == {}


def test_an_ignored_folder_is_not_opened(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: t.List[bytes] = []
    listdir = os.listdir
    monkeypatch.setattr(context.os, "listdir", lambda path: listed.append(path) or listdir(path))
    scan(str(folder), patterns("src", "docs", "!docs/README.md"))
    assert [os.path.basename(path) for path in listed] == [b"", b"docs"]


def test_links_are_not_followed(folder: pathlib.Path) -> None:
    (folder / "loop").symlink_to(".")
    (folder / "gone").symlink_to("/nowhere")
    found = scan(str(folder), NO_PATTERNS)
    assert (found["loop"], found["gone"]) == ("link .", "link /nowhere")
    assert not [path for path in found if path.startswith("loop/")]


def test_a_fifo_is_not_opened(folder: pathlib.Path) -> None:
    os.mkfifo(str(folder / "fifo"))
    (folder / "fifo").chmod(0o640)
    assert scan(str(folder), NO_PATTERNS)["fifo"] == "fifo 0640"


def test_names_that_are_not_utf8(folder: pathlib.Path) -> None:
    with open(os.path.join(os.fsencode(str(folder)), b"\xff\xfe"), "wb"):
        pass
    os.symlink(b"\xfd", os.path.join(os.fsencode(str(folder)), b"odd"))
    found = scan(str(folder), NO_PATTERNS)
    assert "\udcff\udcfe" in found and found["odd"] == "link \udcfd"
    again = json.loads(json.dumps(found))
    assert again == found and digest(again) == digest(found)
    assert changes({}, {"\udcff": ""}) == ["added \\udcff"]


def test_a_tree_deeper_than_the_stack(tmp_path: pathlib.Path) -> None:
    here = os.getcwd()
    os.chdir(str(tmp_path))
    try:
        for _level in range(1500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    found = len(scan(str(tmp_path), NO_PATTERNS))
    # pytest's own removal of old folders is recursive, and would not survive it.
    top, inner = tmp_path / "d", tmp_path / "inner"
    while (top / "d").exists():
        (top / "d").rename(inner)
        top.rmdir()
        inner.rename(top)
    assert found == 1500


@pytest.mark.parametrize("call, name", [("open", "a.c"), ("listdir", "deep"), ("lstat", "README.md"), ("readlink", "link")])
def test_what_cannot_be_read(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, call: str, name: str) -> None:
    original = getattr(os, call)

    def refuse(path: bytes, *others: int) -> object:
        if os.fsencode(path).endswith(name.encode()):
            raise PermissionError(13, "Permission denied")
        return original(path, *others)

    monkeypatch.setattr(context.os, call, refuse)
    with pytest.raises(StorageError, match=f"{name}: Permission denied"):
        scan(str(folder), NO_PATTERNS)


def test_an_ignored_folder_that_cannot_be_read_is_forgiven(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listdir = os.listdir

    def refuse(path: bytes) -> t.List[bytes]:
        if path.endswith(b"docs"):
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(context.os, "listdir", refuse)
    assert list(scan(str(folder), patterns("*", "!**/a.c"))) == ["src", "src/a.c"]


def test_a_file_replaced_while_it_is_read(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(str(folder.parent / "fifo"))
    open_ = os.open
    monkeypatch.setattr(context.os, "open", lambda path, flags: open_(str(folder.parent / "fifo"), flags))
    with pytest.raises(StorageError, match="replaced while it was read"):
        scan(str(folder), NO_PATTERNS)


@pytest.mark.parametrize("name", ["nowhere", "link", "docs/README.md"])
def test_a_folder_that_is_none(folder: pathlib.Path, name: str) -> None:
    with pytest.raises(InvalidError, match=f"{name} is not a folder"):
        scan(str(folder / name), NO_PATTERNS)


def test_large_files_are_read_in_pieces(tmp_path: pathlib.Path) -> None:
    content = b"0123456789" * 300000
    (tmp_path / "big").write_bytes(content)
    assert scan(str(tmp_path), NO_PATTERNS)["big"].endswith(hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("one, other", [({"a": "b c"}, {"a b": "c"}), ({"a": "b", "c": "d"}, {"a": "b\nc d"}), ({}, {"": ""})])
def test_digests_are_unambiguous(one: t.Dict[str, str], other: t.Dict[str, str]) -> None:
    assert digest(one) != digest(other)


def test_the_order_of_a_mapping_does_not_change_its_digest() -> None:
    assert digest({"a": "1", "b": "2"}) == digest({"b": "2", "a": "1"})


@pytest.mark.parametrize(
    "limit, lines",
    [
        (10, ["removed a", "modified b", "added d"]),
        (3, ["removed a", "modified b", "added d"]),
        (2, ["removed a", "modified b", "and 1 more"]),
        (0, ["and 3 more"]),
    ],
)
def test_changes(limit: int, lines: list) -> None:
    assert changes({"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "1", "d": "1"}, limit) == lines


def test_no_changes() -> None:
    assert changes({"a": "1"}, {"a": "1"}) == []


@pytest.mark.parametrize(
    "files, expected",
    [
        ([], None),
        ([".dockerignore"], ".dockerignore"),
        (["sub/my.Dockerfile.dockerignore"], "sub/my.Dockerfile.dockerignore"),
        ([".dockerignore", "sub/my.Dockerfile.dockerignore"], "sub/my.Dockerfile.dockerignore"),
        (["sub/.dockerignore", "Dockerfile.dockerignore", ".dockerignore/x"], None),
    ],
)
def test_the_ignore_file(tmp_path: pathlib.Path, files: list, expected: t.Optional[str]) -> None:
    for name in files:
        write(tmp_path / name)
    found = ignore_file(str(tmp_path), str(tmp_path / "sub/my.Dockerfile"))
    assert found == (expected and str(tmp_path / expected))

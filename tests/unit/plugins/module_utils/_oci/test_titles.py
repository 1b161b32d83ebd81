# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.titles import MemberPaths, check_apart, check_link, parse_member, parse_title

LONGEST = "é" * 127 + "x"


@pytest.mark.parametrize("title", ["a", "a/b.conf", "dist/assets", "..a", "a..", "...", ".hidden", "$HOME", "~", "a:b", "ö x", LONGEST])
def test_titles_of_files(title: str) -> None:
    assert parse_title(title) == tuple(title.split("/"))


@pytest.mark.parametrize(
    "title",
    ["../x", "a/../b", "/etc/passwd", "a//b", "a/./b", "./a", "a/", ".", "..", "/", "a\0b", "a\nb", "a\x1b[2Jb", "a\u202eb", "C:/x"]
    + ["C:", "C:\\x", "..\\x", "\\\\host\\share", "a\ud800b", LONGEST + "x", "a/" + "x" * 300, ".lading-0123", "a/.lading-x/b"],
)
def test_titles_that_are_refused(title: str) -> None:
    with pytest.raises(InvalidError, match="the title") as caught:
        parse_title(title)
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)


def test_paths_that_no_system_call_takes() -> None:
    assert len(parse_member("dist/" + "x/" * 255, ("dist",))) == 255
    for name in ("dist/" + "x/" * 256, "dist/" + ("x" * 250 + "/") * 17):
        with pytest.raises(InvalidError, match="more than 4095 bytes, or lies more than 256 folders deep"):
            parse_member(name, ("dist",))
        with pytest.raises(InvalidError, match="the title"):
            parse_title(name.rstrip("/"))


@pytest.mark.parametrize(
    "name, path", [("dist/a", ("a",)), ("./dist/a/b", ("a", "b")), ("dist", ()), ("dist/", ()), ("dist//a/./b/", ("a", "b"))]
)
def test_members_of_a_folder(name: str, path: tuple) -> None:
    assert parse_member(name, ("dist",)) == path


@pytest.mark.parametrize("name", ["", "/", "/dist/a", "dist/../a", "dist/a/..", "a", "distant/a", "..", ".", "dist/.lading-1"])
def test_members_that_are_not_in_the_folder(name: str) -> None:
    with pytest.raises(InvalidError, match="the tar member"):
        parse_member(name, ("dist",))


@pytest.mark.parametrize("link, parts", [("a", ()), ("./a/b", ()), ("../a", ("x",)), ("../../a/b", ("x", "y")), ("..", ("x",)), (".", ())])
def test_links_within_the_tree(link: str, parts: tuple) -> None:
    check_link(link, parts, "it")


@pytest.mark.parametrize("link, parts", [("", ()), ("/a", ()), ("../a", ()), ("../../a", ("x",)), ("a/../b", ()), ("../x/../a", ("x",))])
def test_links_that_may_lead_out(link: str, parts: tuple) -> None:
    """The last two stay inside by their letters alone: what ``a/..`` is depends on what ``a`` links to."""
    with pytest.raises(InvalidError, match="leads out"):
        check_link(link, parts, "it")


def test_files_are_not_folders() -> None:
    check_apart({("a", "b")}, [("a", "b"), ("a", "c"), ("a!",)], "the title")
    check_apart({("a", "b"), ("a", "b!")}, [("a", "b!"), ("a", "b"), ("a", "b!c", "d")], "the title")
    with pytest.raises(InvalidError, match="'a/b/c' lies below 'a'"):
        check_apart({("a",)}, [("a",), ("a", "b", "c")], "the title")


NAMES = ["dist", "dist/", "dist/a", "dist/a/b", "dist/a/c", "./dist/a/d", "dist//a/e", "dist/a/", "dist/a/.hidden", "dist/a/\u00e9"]
NAMES += ["dist/a/" + "x" * 247, "dist/" + "x/" * 254 + "f", "dist/" + "x/" * 254 + "g"]
BAD_NAMES = [
    "dist/a/..",
    "dist/a/.lading-1",
    "dist/a/b\0",
    "/dist/a/b",
    "other/a",
    "dist/../a",
    "dist/a/" + "x" * 256,
    "dist/a/" + "\u00e9" * 128,
]
BAD_NAMES += ["dist/a/" + "\u00e9" * 128, "dist/" + "x/" * 255 + "f", "dist/a/" + ("y" * 250 + "/") * 17]


@pytest.mark.parametrize("name", [*NAMES, *BAD_NAMES], ids=lambda name: name[:20].replace("\0", "NUL"))
def test_members_of_a_folder_that_was_judged_are_judged_as_the_first(name: str) -> None:
    paths = MemberPaths(("dist",))
    for known in (*NAMES, "dist/" + "x/" * 254 + "f"):
        assert paths.parse(known) == parse_member(known, ("dist",))
    if name in BAD_NAMES:
        for parse in (paths.parse, lambda name: parse_member(name, ("dist",))):
            with pytest.raises(InvalidError):
                parse(name)
    assert all(paths.parse(known) == parse_member(known, ("dist",)) for known in NAMES)

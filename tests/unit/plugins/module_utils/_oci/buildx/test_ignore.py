# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx import ignore
from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.ignore import IgnorePatterns
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError


def parse(*lines: str) -> IgnorePatterns:
    return IgnorePatterns.parse("\n".join(lines).encode("utf-8", "surrogateescape"))


# The verdicts below are those of moby/patternmatcher.
MATCHES = {
    "**": ["file", "dir/file"],
    "**/": ["file", "dir/file"],
    "**/**": ["dir/file"],
    "dir/**": ["dir/file", "dir/dir2/file"],
    "**/dir": ["dir", "dir/file", "a/dir", "a/dir/file"],
    "**/dir2/*": ["dir/dir2/file", "dir2/file"],
    "**/dir2/**": ["dir/dir2/dir3/file"],
    "**file": ["file", "dir/file", "dir/dir/file", "dir/afile"],
    "**/file": ["file", "dir/dir/file"],
    "**/file*": ["dir/dir/file.txt"],
    "**/file*.txt*": ["dir/dir/file.txt"],
    "**/**/*.txt": ["file.txt", "dir/dir/file.txt"],
    "a**/*.txt": ["a/file.txt", "a/dir/file.txt", "a/dir/dir/file.txt"],
    "a/*.txt": ["a/file.txt"],
    "a/*.txt**": ["a/file.txt"],
    "a[b-d]e": ["ace"],
    "a[^b-d]e": ["aze", "a/e"],
    ".*": [".foo"],
    "abc.def": ["abc.def"],
    "abc?def": ["abcZdef"],
    "**/foo/bar": ["foo/bar", "dir/dir2/foo/bar"],
    "abc/**": ["abc/def"],
    "**/.foo": [".foo", "a/.foo"],
    "a(b)c/def": ["a(b)c/def"],
    "a.|)$(}+{bc": ["a.|)$(}+{bc"],
    "dist/*.whl": ["dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl"],
    "a\\*b": ["a*b"],
    "a\\\\": ["a\\"],
    "*c": ["abc"],
    "a*": ["a", "ab/c"],
    "a*b*c*d*e*/f": ["axbxcxdxe/f", "axbxcxdxexxx/f"],
    "a*b?c*x": ["abxbbxdbxebxczzx"],
    "a?b": ["a☺b"],
    "[a-ζ]*": ["α"],
    "[\\]a]": ["]", "a"],
    "[x\\-]": ["x", "-"],
    "docs": ["docs", "docs/a", "docs/a/b"],
    "/docs/": ["docs/a"],
    "./docs/../bin//x": ["bin/x"],
    "a|*b": ["axyz", "x/b"],
    "{{name}}*": ["{{name}}.txt"],
    "v\\d": ["v1"],
    "[*]": ["[[]", "]"],
    "a*[-]": ["ab-"],
}
MISSES = {
    "**/**/*.txt2": ["dir/dir/file.txt"],
    "a/*.txt": ["a/dir/file.txt", "b/a/x.txt"],
    "a[b-d]e": ["ae", "aae"],
    "ab[^b-d]": ["abc"],
    ".*": ["foo"],
    "abc.def": ["abcdef", "abcZdef"],
    "abc?def": ["abcdef"],
    "abc/**": ["abc", "abcd"],
    "**/.foo": ["bar.foo"],
    "a(b)c/def": ["a(b)c/xyz"],
    "a*/b": ["a/c/b"],
    "a*b*c*d*e*/f": ["axbxcxdxe/xxx/f", "axbxcxdxexxx/fff"],
    "a*b?c*x": ["abxbbxdbxebxczzy"],
    "a\\*b": ["ab", "axb"],
    "a???b": ["a☺b"],
    "*[a-ζ]": ["A"],
    "a?b": ["a/b"],
    "a*b": ["a/b"],
    "[x\\-]": ["z"],
    "docs": ["a/docs", "doc", "docs2"],
    "v\\d": ["vd", "v٣"],
    "[*]": ["*"],
    ".": ["a", "a/b", "."],
    "/": ["a", "a/b"],
    "..": ["a"],
    "*.txt": ["a.txt\n"],
}


@pytest.mark.parametrize("backtracking", [True, False])
@pytest.mark.parametrize(
    "pattern, path, ignored", [(p, s, True) for p in MATCHES for s in MATCHES[p]] + [(p, s, False) for p in MISSES for s in MISSES[p]]
)
def test_one_pattern(monkeypatch: pytest.MonkeyPatch, pattern: str, path: str, ignored: bool, backtracking: bool) -> None:
    monkeypatch.setattr(ignore, "_BACKTRACK_LIMIT", 99 if backtracking else -1)
    assert parse(pattern).ignores(path) is ignored


@pytest.mark.parametrize(
    "lines, path, ignored",
    [
        (["!fileutils.go", "*.go"], "fileutils.go", True),
        (["*.go", "!fileutils.go"], "fileutils.go", False),
        (["docs", "!docs/README.md"], "docs/README.md", False),
        (["docs/", "!docs/README.md"], "docs/x.md", True),
        (["docs/*", "!docs/README.md"], "docs/README.md", False),
        (["**", "!util/docker/web"], "util/docker/web/foo", False),
        (["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", True),
        (["**", "!dist/*.whl"], "dist/a+b.whl", False),
        (["*", "! /src "], "src/a", False),
        (["*", "!./src/"], "src/a", False),
        (["a/x", "!a"], "a/x", True),
        (["a", "!a"], "a/x", False),
        (["*", "!a", "a/b", "!a/b/c"], "a/b/c", False),
        (["*", "!a", "a/b", "!a/b/c"], "a/b/d", True),
    ],
)
def test_the_last_match_decides(lines: list, path: str, ignored: bool) -> None:
    assert parse(*lines).ignores(path) is ignored


@pytest.mark.parametrize(
    "content, path, ignored",
    [
        (b"", "a", False),
        (b"\n \t\n\r\n", "a", False),
        (b"#a", "#a", False),
        (b" #a", "#a", True),
        (b"\\#a", "#a", True),
        (b"a # b", "a", False),
        (b"  a \t", "a", True),
        (b"a\r\nb\r\n", "b", True),
        (b"\xef\xbb\xbfa", "a", True),
        (b"\xef\xbb\xbf#a", "#a", False),
        (b"x\n\xef\xbb\xbfa", "a", False),
        ("\u3000a\xa0".encode(), "a", True),
        (b"\x1ca", "a", False),
        (b"\xff*", "\udcffa", True),
        (b"\xff", "\udcff", True),
    ],
)
def test_lines(content: bytes, path: str, ignored: bool) -> None:
    assert IgnorePatterns.parse(content).ignores(path) is ignored


@pytest.mark.parametrize(
    "pattern, reason",
    [
        ("!", "needs a pattern"),
        (" ! ", "needs a pattern"),
        ("!/", "needs a pattern"),
        ("[", "unclosed"),
        ("a[", "unclosed"),
        ("![", "unclosed"),
        ("[^bc", "unclosed"),
        ("*x*[", "unclosed"),
        ("[]a]", "not well formed"),
        ("[-x]", "not well formed"),
        ("[x-]", "not well formed"),
        ("[a-b-c]", "not well formed"),
        ("a\\", "at the end"),
        ("a*\\", "at the end"),
        ("[z-a]", "upside down"),
        ("[\\q]", "plain 'q'"),
        ("a\\p", "plain 'p'"),
        ("\\é", "plain 'é'"),
        ("[[:alpha:]]", "not supported"),
        ("a{2}*", "not supported"),
    ],
)
def test_patterns_that_are_refused(pattern: str, reason: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse("ok", pattern)
    assert reason in caught.value.message
    assert f"{pattern.strip()!r} in line 2" in caught.value.message


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(InvalidError, match="line 2 .* longer than"):
        parse("a", "b" * 70000)


@pytest.mark.parametrize(
    "lines, folder, skipped",
    [
        (["a"], "a", True),
        (["*", "!b"], "a", True),
        (["*", "!a/b"], "a", False),
        (["*", "!a/b"], "a/c", True),
        (["*", "!a/b/**"], "a/b", False),
        (["*", "!a/b/*"], "a/b", False),
        (["*", "!ab"], "a", True),
        (["*", "!a/b/c"], "a/b", False),
        (["*", "!**/x"], "a", False),
        (["*", "!b/[x]"], "a", False),
        (["*", "!a\\*b"], "c", False),
    ],
)
def test_folders_that_need_no_walk(lines: list, folder: str, skipped: bool) -> None:
    assert parse(*lines).skips_below(folder) is skipped


@pytest.mark.parametrize(
    "pattern", ["*a" * 30 + "b", "**/a*" * 20 + "b", "**/" * 30 + "*b", "a**" * 30 + "b", "[^x]" * 30 + "*a" * 30 + "b"]
)
def test_no_pattern_takes_forever(pattern: str) -> None:
    patterns = parse(pattern)
    start = time.monotonic()
    assert not patterns.ignores("a" * 250)
    assert not patterns.ignores("/".join(["aaa"] * 60))
    assert time.monotonic() - start < 5


def test_the_order_of_questions_does_not_matter() -> None:
    paths = ["a", "a/b", "a/b/c", "a/b/c/d", "b/c"]
    patterns = parse("a/*", "!a/b/c", "**/d")
    assert [parse("a/*", "!a/b/c", "**/d").ignores(path) for path in paths] == [False, True, False, True, False]
    assert [patterns.ignores(path) for path in reversed(paths)] == [False, True, False, True, False]


def test_a_very_deep_path() -> None:
    assert parse("**/x").ignores("a/" * 2000 + "x")

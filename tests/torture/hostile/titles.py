# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Titles of layers that lead elsewhere or say something else, and destinations in which somebody has laid traps (rows 1 to 6)."""

from __future__ import annotations

import os
import typing as t

from clients import Place, Run

from .bench import TITLE, Bench
from .case import ACCEPTED, CONTAINED, PULL, REFUSED, Case
from .rawtar import file, folder, whole

OUTSIDE = "{outside}"  # in a title: the absolute path of what must stay as it is

HOSTILE = {
    "r01-dotdot": "../outside/evil",
    "r01-dotdot-deep": "a/../../outside/evil",
    "r01-dotdot-many": "../" * 40 + "tmp/lading-evil",
    "r01-dotdot-within": "a/../b",
    "r01-dotdot-alone": "..",
    "r01-dotdot-last": "a/..",
    "r01-dotdot-backslash": "..\\outside\\evil",
    "r01-dotdot-mixed": "a\\..\\..\\outside/evil",
    "r01-canary": "../outside/canary",
    "r01-home": "../home/.docker/config.json",
    "r02-absolute": OUTSIDE + "/evil",
    "r02-absolute-doubled": "/" + OUTSIDE + "/evil",
    "r02-absolute-root": "/",
    "r02-sibling": "../out-evil/x",
    "r02-drive": "C:/evil",
    "r02-drive-backslash": "C:\\evil",
    "r02-drive-alone": "c:",
    "r02-unc": "\\\\host\\share\\evil",
    "r02-device": "\\\\.\\C:\\evil",
    "r06-dot": ".",
    "r06-dot-first": "./a",
    "r06-dot-within": "a/./b",
    "r06-slash-last": "a/",
    "r06-slash-twice": "a//b",
    "r06-nul": "a\0b",
    "r06-nul-last": "a.txt\0.png",
    "r06-newline": "a\nFORGED\nb",
    "r06-return": "a\rFORGED",
    "r06-ansi": "a\x1b[2J\x1b[31mFORGED",
    "r06-ansi-8bit": "a\x9b2J",
    "r06-osc": "a\x1b]0;evil\x07",
    "r06-backspace": "evil\b\b\b\bgood",
    "r06-delete": "a\x7fb",
    "r06-tab": "a\tb",
    "r06-bidi": "a\u202egnp.exe",
    "r06-bidi-isolate": "a\u2066b",
    "r06-line-separator": "a\u2028b",
    "r06-zero-width": "a\u200bb",
    "r06-byte-order-mark": "\ufeffa",
    "r06-long-name": "x" * 256,
    "r06-long-name-multibyte": "é" * 128,
    "r06-long-part": "a/" + "x" * 300 + "/b",
    "r06-long-path": "/".join(["x" * 200] * 21),
    "r06-very-long": "/".join(["x" * 200] * 5000),
    "r06-deep": "/".join(["d"] * 300),
    "r06-temporary": ".lading-0123456789abcdef",
    "r06-temporary-folder": ".lading-x/a",
}


def _one_title(title: str) -> t.Callable[[Bench], Place]:
    def make(bench: Bench) -> Place:
        layers = [bench.titled("first", b"first"), bench.titled(title.replace(OUTSIDE, str(bench.outside)), b"evil")]
        return bench.named(bench.artifact(*layers))

    return make


def _surrogate(bench: Bench) -> Place:
    return bench.named(bench.artifact(bench.titled("a\ud800b")))


def _folder_title(title: str) -> t.Callable[[Bench], Place]:
    def make(bench: Bench) -> Place:
        name = title.replace(OUTSIDE, str(bench.outside))
        return bench.named(bench.artifact(bench.packed(name, whole(folder(name[:90]), file(name[:90] + "/x")))))

    return make


def _of_index(bench: Bench) -> Place:
    """The second manifest's title, when the first one's could be written already."""
    good, bad = bench.artifact(bench.titled("good")), bench.artifact(bench.titled("../outside/evil"))
    return bench.named(bench.index(good, bad))


def _layers(*titles: t.Tuple[str, bytes]) -> t.Callable[[Bench], Place]:
    return lambda bench: bench.named(bench.artifact(*(bench.titled(title, content) for title, content in titles)))


def _not_a_string(bench: Bench) -> Place:
    return bench.named(bench.artifact(bench.put(b"x", annotations={TITLE: ["..", "evil"]})))


# What stands at the destination before; the artifact is good.
def _link_to(name: str, target: str) -> t.Callable[[Bench], None]:
    def prepare(bench: Bench) -> None:
        path = bench.out / name
        path.parent.mkdir(parents=True)
        path.symlink_to(target.format(outside=bench.outside))

    return prepare


def _hard_link(bench: Bench) -> None:
    bench.out.mkdir()
    os.link(bench.canary, bench.out / "file")


def _fifo(bench: Bench) -> None:
    bench.out.mkdir()
    os.mkfifo(bench.out / "file")


def _temp_link(bench: Bench) -> None:
    """A sweeper must not go through it."""
    bench.out.mkdir()
    (bench.out / ".lading-0").symlink_to(bench.outside)
    (bench.out / ".lading-1").symlink_to(bench.canary)


def _content(name: str) -> t.Callable[[Bench, Run], t.List[str]]:
    def check(bench: Bench, run: Run) -> t.List[str]:
        path = bench.out / name
        right = not path.is_symlink() and path.is_file() and path.read_bytes() == b"content"
        return [] if right or not run.succeeded else [f"{name} is not what the artifact has"]

    return check


TRAPS = [
    Case("r03-through-a-link", PULL, _layers(("link/evil", b"x")), REFUSED, _link_to("link", "{outside}")),
    Case("r03-through-a-relative-link", PULL, _layers(("link/evil", b"x")), REFUSED, _link_to("link", "../outside")),
    Case("r03-through-a-deep-link", PULL, _layers(("a/b/link/evil", b"x")), REFUSED, _link_to("a/b/link", "{outside}")),
    Case("r03-through-a-chain", PULL, _layers(("link/canary", b"x")), REFUSED, _link_to("link", "../out/../outside")),
    Case("r03-through-a-link-within", PULL, _layers(("link/x", b"x")), CONTAINED, _link_to("link", ".")),
    Case("r03-folder-layer-through-a-link", PULL, _folder_title("link"), REFUSED, _link_to("link", "{outside}")),
    Case("r04-a-link-to-a-file", PULL, _layers(("file", b"content")), CONTAINED, _link_to("file", "{outside}/canary"), _content("file")),
    Case("r04-a-dangling-link", PULL, _layers(("file", b"content")), CONTAINED, _link_to("file", "{outside}/evil"), _content("file")),
    Case("r04-a-link-to-a-folder", PULL, _layers(("file", b"content")), CONTAINED, _link_to("file", "{outside}"), _content("file")),
    Case("r04-a-hard-link", PULL, _layers(("file", b"content")), CONTAINED, _hard_link, _content("file")),
    Case("r04-a-fifo", PULL, _layers(("file", b"content")), CONTAINED, _fifo, _content("file")),
    Case("r04-temporary-links", PULL, _layers(("file", b"content")), CONTAINED, _temp_link, _content("file")),
]

CASES = [
    *(Case(name, PULL, _one_title(title)) for name, title in HOSTILE.items()),
    *(
        Case(f"{name}-of-a-folder", PULL, _folder_title(HOSTILE[name]))
        for name in (
            "r01-dotdot",
            "r01-dotdot-alone",
            "r01-dotdot-last",
            "r02-absolute",
            "r02-sibling",
            "r06-dot",
            "r06-ansi",
            "r06-newline",
        )
    ),
    Case("r06-surrogate", PULL, _surrogate),
    Case("r06-not-a-string", PULL, _not_a_string),
    Case("r01-in-an-index", PULL, _of_index),
    Case("r05-one-title-two-contents", PULL, _layers(("a", b"1"), ("a", b"2"))),
    Case("r05-slashes", PULL, _layers(("a/b", b"1"), ("a//./b", b"2"))),
    Case("r05-file-and-folder", PULL, _layers(("a", b"1"), ("a/b", b"2"))),
    Case("r05-folder-and-file", PULL, _layers(("a/b/c", b"1"), ("a", b"2"))),
    Case("r05-one-title-one-content", PULL, _layers(("a", b"content"), ("a", b"content")), ACCEPTED, None, _content("a")),
    *TRAPS,
]

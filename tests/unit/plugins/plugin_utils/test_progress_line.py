# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.plugin_utils import _progress_line
from ansible_collections.lading.oci.plugins.plugin_utils._progress_line import ERASE, Rate, Screen, duration, line, parse, size

GIB = 1024**3


def test_numbers_as_a_module_tells_them() -> None:
    assert parse(f"{12:020d} {345:020d}\n") == (12, 345)


@pytest.mark.parametrize(
    "text", ["", "12 345", f"{1:020d} {2:020d}\n{3:020d}", f"{1:020d}", f"{1:020d} \x1b[2J{2:016d}", f"{'٣' * 20} {2:020d}"]
)
def test_anything_else_is_nothing(text: str) -> None:
    assert parse(text) is None


def test_a_line_says_bytes_rate_and_time_left() -> None:
    assert line("web1", 0, "oci_copy", GIB // 4, GIB, 12.5 * 1024**2) == "[web1] oci_copy: 25 %, 256 MiB of 1.0 GiB, 12.5 MiB/s, 1:02 left"


def test_of_several_hosts_it_says_so() -> None:
    assert line("web1", 2, "oci_pull", 0, 10, None) == "[web1, 1 of 3] oci_pull: 0 %, 0 B of 10 B"


def test_what_does_not_move_has_no_end() -> None:
    assert line("a", 0, "m", 5, 10, 0.0) == "[a] m: 50 %, 5 B of 10 B, 0 B/s"
    assert "left" not in line("a", 0, "m", 0, GIB, 0.5)


def test_at_the_end_nothing_is_left_but_to_wait() -> None:
    assert line("a", 0, "m", 10, 10, 5.0) == "[a] m: 100 %, 10 B of 10 B, 5 B/s"


def test_it_is_not_full_before_it_is() -> None:
    assert ": 99 %," in line("a", 0, "m", GIB - 1, GIB, None)


def test_nothing_expected() -> None:
    assert line("a", 0, "m", 0, 0, None) == "[a] m: 0 %, 0 B of 0 B"


def test_a_host_cannot_move_the_cursor() -> None:
    said = line("a\x1b[2J\r\nb\u202eä\x9b", 0, "m", 1, 2, None)
    assert said.startswith("[a?[2J??b????]"[:8]) and said.isascii() and said.isprintable()


def test_a_long_host_leaves_room() -> None:
    assert line("h" * 200, 0, "m", 1, 2, None).startswith("[" + "h" * 37 + "...] m: ")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1024**2, "1.0 MiB"),
        (150 * 1024, "150 KiB"),
        (999.6 * 1024, "1.0 MiB"),
        (2**70, "1048576 PiB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (0.2, "0:01"), (61, "1:01"), (3600, "1:00:00"), (7384, "2:03:04")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_rate_is_of_the_last_seconds() -> None:
    rate = Rate()
    rate.seen(0.0, 0)
    assert rate.per_second() is None
    for second in range(1, 31):
        rate.seen(float(second), second * (1000 if second <= 15 else 0) + (15_000 if second > 15 else 0))
    assert rate.per_second() == 0.0


def test_the_rate_is_that_of_what_moves() -> None:
    rate = Rate()
    for second in range(5):
        rate.seen(float(second), second * 700)
    assert rate.per_second() == 700.0


def test_what_is_sent_again_is_measured_anew() -> None:
    rate = Rate()
    rate.seen(0.0, 0)
    rate.seen(1.0, 5000)
    rate.seen(2.0, 100)
    assert rate.per_second() is None
    rate.seen(3.0, 300)
    assert rate.per_second() == 200.0


class Stream(io.StringIO):
    """Two of them lead to one terminal: ``terminal`` has what it was sent, in order."""

    def __init__(self, terminal: t.List[str]) -> None:
        super().__init__()
        self._terminal = terminal

    def write(self, text: str) -> int:
        self._terminal.append(text)
        return len(text)

    def fileno(self) -> int:
        return 1


@pytest.fixture(name="terminal")
def _terminal() -> t.List[str]:
    return []


@pytest.fixture(name="streams")
def _streams(terminal: t.List[str], monkeypatch: pytest.MonkeyPatch) -> t.Tuple[Stream, Stream]:
    monkeypatch.setattr(_progress_line.os, "get_terminal_size", lambda _fd: os.terminal_size((20, 10)))
    return Stream(terminal), Stream(terminal)


def test_other_output_is_as_it_was(terminal: t.List[str], streams: t.Tuple[Stream, Stream]) -> None:
    out, err = streams
    Screen(out, err)
    assert out.write("ok: [a]\n") == 8
    err.write("warning\n")
    assert terminal == ["ok: [a]\n", "warning\n"]


def test_whatever_comes_next_takes_the_line_away(terminal: t.List[str], streams: t.Tuple[Stream, Stream]) -> None:
    out, err = streams
    Screen(out, err)
    err.write(ERASE + "10 %")
    err.write(ERASE + "20 %")
    out.write("ok: [a]\n")
    out.write("ok: [b]\n")
    assert terminal == [ERASE + "10 %", ERASE + "20 %", ERASE, "ok: [a]\n", "ok: [b]\n"]


def test_what_is_gone_is_not_erased_again(terminal: t.List[str], streams: t.Tuple[Stream, Stream]) -> None:
    """Somebody may be typing there by now."""
    out, err = streams
    screen = Screen(out, err)
    err.write(ERASE + "10 %")
    err.write(ERASE)
    out.write("Password: ")
    err.write(ERASE)
    screen.clear(err)
    assert terminal == [ERASE + "10 %", ERASE, "Password: "]


def test_nothing_is_left_at_the_end(terminal: t.List[str], streams: t.Tuple[Stream, Stream]) -> None:
    out, err = streams
    screen = Screen(out, err)
    err.write(ERASE + "10 %")
    screen.clear(err)
    assert terminal == [ERASE + "10 %", ERASE]


def test_it_stays_on_one_line(terminal: t.List[str], streams: t.Tuple[Stream, Stream]) -> None:
    Screen(*streams)
    streams[1].write(ERASE + "x" * 50)
    assert terminal == [ERASE + "x" * 19]


@pytest.mark.parametrize("told", [None, 0])
def test_a_terminal_that_does_not_tell_its_width(
    terminal: t.List[str], streams: t.Tuple[Stream, Stream], monkeypatch: pytest.MonkeyPatch, told: t.Optional[int]
) -> None:
    def width(_fd: int) -> os.terminal_size:
        if told is None:
            raise OSError
        return os.terminal_size((told, told))

    monkeypatch.setattr(_progress_line.os, "get_terminal_size", width)
    Screen(*streams)
    streams[1].write(ERASE + "x" * 100)
    assert terminal == [ERASE + "x" * 79]

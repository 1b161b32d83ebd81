# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The line that says how far a task is: what it says, and how it comes and goes on a terminal."""

from __future__ import annotations

import collections
import math
import os
import re
import typing as t

ERASE = "\r\x1b[K"
_COUNTS = re.compile(r"([0-9]{20}) ([0-9]{20})", re.ASCII)
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_WINDOW = 10.0  # seconds that the rate is of
_LONGEST_HOST = 40
_COLUMNS = 80  # of a terminal that does not tell
_LONGEST_LEFT = 100 * 3600  # seconds; what would take longer has stalled


def parse(text: str) -> t.Optional[t.Tuple[int, int]]:
    """Done and total, as a module tells them; None for anything else."""
    match = _COUNTS.fullmatch(text.strip())
    return (int(match.group(1)), int(match.group(2))) if match else None


class Rate:
    """Bytes a second over the last few seconds."""

    def __init__(self) -> None:
        self._seen: t.Deque[t.Tuple[float, int]] = collections.deque()

    def seen(self, when: float, done: int) -> None:
        # Content that is sent again counts as not sent: what was measured before says nothing any more.
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((when, done))
        while len(self._seen) > 2 and when - self._seen[1][0] >= _WINDOW:
            self._seen.popleft()

    def per_second(self) -> t.Optional[float]:
        """None until it was looked at twice."""
        if len(self._seen) < 2:
            return None
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first)


def line(host: str, others: int, name: str, done: int, total: int, rate: t.Optional[float]) -> str:
    """What is said of a task. Hosts are named by who wrote the inventory: only what is plain text comes through."""
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in host)
    if len(shown) > _LONGEST_HOST:
        shown = shown[: _LONGEST_HOST - 3] + "..."
    who = f"{shown}, 1 of {others + 1}" if others else shown
    parts = [f"[{who}] {name}: {done * 100 // max(total, 1)} %", f"{size(done)} of {size(total)}"]
    if rate is not None:
        parts.append(f"{size(rate)}/s")
    left = (total - done) / rate if rate else _LONGEST_LEFT
    if done < total and left < _LONGEST_LEFT:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)


def size(count: float) -> str:
    """With at most four digits."""
    unit = 0
    while round(count) >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.0f} {_UNITS[unit]}" if not unit or count >= 99.95 else f"{count:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Screen:
    """A terminal that two streams lead to. What begins with ERASE is the line, which stays until anything else is written to either.

    So no order has to be kept between a task that tells its progress and whatever Ansible prints meanwhile of other tasks or hosts.
    """

    def __init__(self, *streams: t.TextIO) -> None:
        self._shown = False
        for stream in streams:
            self._guard(stream)

    def _guard(self, stream: t.TextIO) -> None:
        write = stream.write

        def guarded(text: str) -> int:
            if text.startswith(ERASE):
                return self._put(text, write, stream)
            if self._shown and text:
                self._shown = False
                write(ERASE)
            return write(text)

        stream.write = guarded  # type: ignore[method-assign]

    def _put(self, text: str, write: t.Callable[[str], int], stream: t.TextIO) -> int:
        # What is not there any more must not take with it what came in its place.
        if text == ERASE and not self._shown:
            return 0
        self._shown = text != ERASE
        count = write(self._cropped(text, stream))
        stream.flush()
        return count

    @staticmethod
    def _cropped(text: str, stream: t.TextIO) -> str:
        """One that is as wide as the terminal would be two lines on some."""
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except OSError:
            columns = 0
        return ERASE + text[len(ERASE) :][: (columns or _COLUMNS) - 1]

    def clear(self, stream: t.TextIO) -> None:
        """Ansible ends, or is ended."""
        if self._shown:
            stream.write(ERASE)

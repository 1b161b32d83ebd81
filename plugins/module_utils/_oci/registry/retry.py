# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""When to try again, and how long to wait before."""

from __future__ import annotations

import random
import time
import typing as t
from datetime import timezone
from email.utils import parsedate_to_datetime

from ..spec import ending
from ..spec.errors import TransportError

# The answer may be another one in a moment: too busy, or broken between here and there.
PASSING = frozenset((408, 429, 500, 502, 503, 504))
LONGEST_WAIT = 120.0  # seconds; a Retry-After above it ends the task with its value in the message
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_BRIEF_PAUSE = 1.0

Sleep = t.Callable[[float], None]


def retry_after(headers: t.Mapping[str, str], now: t.Optional[float] = None) -> t.Optional[float]:
    """Seconds that a Retry-After header asks for (RFC 9110 10.2.3: seconds or a date); None when there is none to be read."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit() and text.isascii():
        return float(text[:12])
    until, said = _moment(text), _moment(headers.get("Date", ""))
    if until is None:
        return None
    # By the registry's own clock where it tells: this machine's may be years off, which would be no pause at all, or one for ever.
    if said is not None:
        return max(0.0, until - said)
    left = until - (time.time() if now is None else now)
    return left if left > 0 else None


def _moment(text: str) -> t.Optional[float]:
    """Seconds since 1970; None for what is no date."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


class Patience:
    """What is left of the retries of one operation."""

    def __init__(self, retries: int, sleep: Sleep = ending.pause) -> None:
        self._retries = retries
        self._sleep = sleep
        self.used = 0

    def renew(self) -> None:
        """There was progress: count anew."""
        self.used = 0

    def wait(self, asked: t.Optional[float] = None, brief: bool = False) -> bool:
        """Pause before the next try; False at once when there is none left. ``asked``: seconds by Retry-After, which are honoured.
        ``brief``: the pauses do not grow.

        Raises TransportError when it asks for more than LONGEST_WAIT.
        """
        if self.used >= self._retries:
            return False
        if asked is not None and asked > LONGEST_WAIT:
            raise TransportError(
                f"the registry asks to wait {asked:.0f} seconds (Retry-After); more than {LONGEST_WAIT:.0f} are not waited"
            )
        longest = _BRIEF_PAUSE if brief else min(_FIRST_PAUSE * 2**self.used, _LONGEST_PAUSE)
        self.used += 1
        self._sleep(longest * random.uniform(0.5, 1.0) if asked is None else asked)
        return True

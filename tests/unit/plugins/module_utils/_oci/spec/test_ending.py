# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a run, and how waiting goes on until it."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import ending
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import CancelledError


class Waits(threading.Event):
    """Notes how long it was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: t.List[t.Optional[float]] = []

    def wait(self, timeout: t.Optional[float] = None) -> bool:
        self.seconds.append(timeout)
        return super().wait(timeout)


@pytest.fixture(name="end")
def _end(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """An end of this test's own: the real one is for good."""
    end = Waits()
    monkeypatch.setattr(ending, "_begun", end)
    return end


def test_once_it_has_begun_everything_stops(end: Waits) -> None:
    ending.check()
    assert ending.begun() is False
    ending.begin()
    assert ending.begun() is True
    for stopped in (ending.check, lambda: ending.pause(0)):
        with pytest.raises(CancelledError, match="the run was ended"):
            stopped()


def test_a_pause_lasts_as_long_as_was_said_and_sleeps_through(end: Waits) -> None:
    start = time.monotonic()
    ending.pause(0.1)
    assert 0.1 <= time.monotonic() - start < 1
    assert 1 <= len(end.seconds) <= 5
    assert all(seconds is not None and 0 < seconds <= 0.1 for seconds in end.seconds)


def test_a_pause_looks_whether_other_work_has_failed(end: Waits) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.05, stop.set)
    with ending.stopped_by(stop):
        timer.start()
        with pytest.raises(CancelledError, match="another transfer failed"):
            ending.pause(60)
    timer.join()
    ending.pause(0)  # outside of the bracket it does not count any more

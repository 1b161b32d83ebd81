# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pauses between tries, and what ends them."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.retry import Patience
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.ending import pause, stopped_by
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import CancelledError, NotFoundError
from ansible_collections.lading.oci.plugins.module_utils._oci.transfer import run_all


def test_a_pause_of_its_own_is_slept() -> None:
    start = time.monotonic()
    pause(0.05)
    assert time.monotonic() - start >= 0.05


def test_a_pause_that_nothing_stops_is_slept() -> None:
    start = time.monotonic()
    with stopped_by(threading.Event()):
        pause(0.05)
    assert time.monotonic() - start >= 0.05


def test_a_pause_ends_when_it_is_stopped() -> None:
    stop = threading.Event()
    stop.set()
    with stopped_by(stop):
        with pytest.raises(CancelledError):
            Patience(1).wait(100)


def test_what_stops_a_pause_is_forgotten() -> None:
    stop = threading.Event()
    stop.set()
    with stopped_by(stop):
        pass
    pause(0.01)


def test_the_error_of_another_ends_the_pause_and_is_the_one_to_report() -> None:
    """A registry that asks for two minutes does not hold up a task that has failed."""
    stop, waiting = threading.Event(), threading.Event()

    def work(item: str) -> None:
        if item == "waits":
            waiting.set()
            Patience(1).wait(100)
        assert waiting.wait(30)
        stop.set()
        raise NotFoundError("it is not there")

    start = time.monotonic()
    with pytest.raises(NotFoundError):
        run_all(work, ["waits", "fails"], 2, stop)
    assert time.monotonic() - start < 60

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.progress import Progress

ONE = Descriptor.of(b"0123456789", "text/plain")
TWO = Descriptor.of(b"01234", "text/plain")


@pytest.fixture(name="progress")
def _progress() -> Progress:
    progress = Progress()
    progress.wanted = True
    return progress


def test_nothing_is_kept_that_nobody_wants_to_know() -> None:
    progress = Progress()
    progress.expect([ONE])
    progress.expect_bytes("file", 7)
    progress.expect_all("tree", iter(lambda: pytest.fail("measured for nobody"), 0))
    progress.reached(ONE.digest, 5)
    assert progress.totals() == (0, 0)


def test_what_is_expected_is_the_total(progress: Progress) -> None:
    progress.expect([ONE, TWO])
    progress.expect([ONE])
    progress.expect_bytes("a file", 100)
    progress.expect_all("a tree", iter([30, 40, 50]))
    assert progress.totals() == (0, 235)


def test_content_that_nobody_expected_does_not_count(progress: Progress) -> None:
    progress.expect([ONE])
    progress.reached(TWO.digest, 5)
    assert progress.totals() == (0, 10)


def test_a_try_that_starts_again_takes_back_what_it_had(progress: Progress) -> None:
    progress.expect([ONE, TWO])
    progress.reached(ONE.digest, 8)
    progress.reached(TWO.digest, 5)
    assert progress.totals() == (13, 15)
    progress.reached(ONE.digest, 2)
    assert progress.totals() == (7, 15)


def test_a_tree_that_grew_is_never_more_than_all(progress: Progress) -> None:
    progress.expect_all("a tree", iter([60, 40]))
    progress.reached("a tree", 250)
    assert progress.totals() == (100, 100)


def test_a_tree_is_measured_by_who_wants_to_know(progress: Progress) -> None:
    measured = []

    def sizes() -> t.Iterator[int]:
        measured.append(threading.current_thread())
        yield 5

    progress.expect_all("a tree", sizes())
    assert not measured
    asking = threading.Thread(target=progress.totals)
    asking.start()
    asking.join()
    assert measured == [asking] and progress.totals() == (0, 5) and len(measured) == 1


def test_measuring_ends_with_the_work(progress: Progress) -> None:
    """The end of a run does not wait until a million files were looked at for nobody."""

    def sizes() -> t.Iterator[int]:
        yield 1
        progress.end()
        yield 2
        pytest.fail("it goes on")

    progress.expect_all("a tree", sizes())
    progress.totals()
    assert progress.totals() == (0, 1)


def test_it_begins_once_and_only_with_something_to_count() -> None:
    begun: t.List[t.Hashable] = []
    progress = Progress()
    progress.want(lambda: begun.append("begun"))
    progress.expect([])
    progress.reached(ONE.digest, 5)
    assert not begun
    progress.expect([ONE])
    progress.expect([TWO])
    progress.expect_bytes("a file", 100)
    assert begun == ["begun"]


def test_totals_while_others_count(progress: Progress) -> None:
    descs = [Descriptor.of(str(number).encode() * 10, "text/plain") for number in range(2000)]

    def count() -> None:
        for desc in descs:
            progress.expect([desc])
            progress.reached(desc.digest, desc.size)

    threads = [threading.Thread(target=count) for _number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        done, total = progress.totals()
        assert 0 <= done <= total
    size = sum(desc.size for desc in descs)
    assert progress.totals() == (size, size)

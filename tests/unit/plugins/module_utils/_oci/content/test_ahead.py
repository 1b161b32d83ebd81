# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.ahead import ahead
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError

COUNT = 100


@pytest.mark.parametrize("count", [0, 1, 2, 3, COUNT])
def test_the_same_pieces(count: int) -> None:
    before = threading.active_count()
    assert list(ahead(iter(range(count)))) == list(range(count))
    assert threading.active_count() == before


def test_pieces_are_made_by_a_thread_while_others_are_used_and_not_many() -> None:
    made: t.List[int] = []
    makers: t.Set[threading.Thread] = set()

    def make() -> t.Iterator[int]:
        for number in range(COUNT):
            made.append(number)
            makers.add(threading.current_thread())
            yield number

    pieces = ahead(make())
    for wanted in range(10):
        assert next(pieces) == wanted
    until = time.monotonic() + 30
    while len(made) < 12 and time.monotonic() < until:
        time.sleep(0.001)
    assert 12 <= len(made) <= 15 and len(makers) == 2
    pieces.close()


def test_nothing_is_made_after_it_was_closed() -> None:
    made: t.List[int] = []
    before = threading.active_count()
    pieces = ahead(made.append(number) or number for number in range(COUNT))  # type: ignore[func-returns-value]
    assert [next(pieces) for _number in range(5)] == [0, 1, 2, 3, 4]
    pieces.close()
    count = len(made)
    assert threading.active_count() == before and count < COUNT
    time.sleep(0.05)
    assert len(made) == count


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_an_error_comes_after_the_pieces_before_it(count: int) -> None:
    def make() -> t.Iterator[int]:
        yield from range(count)
        raise InvalidError("broken")

    before, got = threading.active_count(), []
    with pytest.raises(InvalidError, match="broken"):
        for piece in ahead(make()):
            got.append(piece)
    assert got == list(range(count)) and threading.active_count() == before

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Pieces that a thread makes while those before them are used: inflating and hashing need no lock of Python's."""

from __future__ import annotations

import itertools
import queue
import threading
import typing as t

_AT_ONCE = 2  # pieces that are worth no thread
_MOST = 4  # pieces that are made and not used yet

Piece = t.TypeVar("Piece")


def ahead(pieces: t.Iterator[Piece]) -> t.Generator[Piece, None, None]:
    """The same pieces, and the same error. Once this is closed nothing is made, or read, any more."""
    yield from itertools.islice(pieces, _AT_ONCE)
    made: queue.SimpleQueue[t.Tuple[t.List[Piece], t.Optional[BaseException]]] = queue.SimpleQueue()
    room, ended = threading.Semaphore(_MOST), threading.Event()
    thread = threading.Thread(target=_make, args=(pieces, made, room, ended), daemon=True)
    thread.start()
    try:
        while True:
            piece, error = made.get()
            if error is not None:
                raise error
            if not piece:
                return
            room.release()
            yield piece[0]
    finally:
        ended.set()
        room.release()
        thread.join()


def _make(pieces: t.Iterator[Piece], made: t.Any, room: threading.Semaphore, ended: threading.Event) -> None:
    """Puts each piece, then none, or what was raised instead."""
    try:
        while True:
            room.acquire()
            if ended.is_set():
                return
            piece = list(itertools.islice(pieces, 1))
            made.put((piece, None))
            if not piece:
                return
    except BaseException as error:
        made.put(([], error))

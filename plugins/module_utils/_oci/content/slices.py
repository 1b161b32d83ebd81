# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""A stretch of an open file as a file of its own."""

from __future__ import annotations

import os
import typing as t

from .store import CHUNK


class Slice:
    """``size`` bytes at ``offset`` of an open file, with a position of its own: several threads may each have one.

    The descriptor belongs to whoever opened it, and must stay open.
    """

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._size = size
        self._position = 0

    def read(self, size: int = CHUNK) -> bytes:
        """At most ``size`` bytes, b'' at the end."""
        wanted = min(size, self._size - self._position)
        if wanted <= 0:
            return b""
        chunk = os.pread(self._descriptor, wanted, self._offset + self._position)
        self._position += len(chunk)
        return chunk

    def readinto(self, view: memoryview) -> int:
        """As ``read``, into memory that is there; returns how many bytes."""
        wanted = min(len(view), self._size - self._position)
        if wanted <= 0:
            return 0
        count = os.preadv(self._descriptor, [view[:wanted]], self._offset + self._position)
        self._position += count
        return count

    def stretch(self) -> t.Tuple[int, int]:
        """Where its next byte stands: the descriptor, and the offset in that file."""
        return self._descriptor, self._offset + self._position

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def close(self) -> None:
        """Nothing: the file stays open for other slices."""

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""A stretch of an open file as a file of its own."""

from __future__ import annotations

import os

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

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def close(self) -> None:
        """Nothing: the file stays open for other slices."""

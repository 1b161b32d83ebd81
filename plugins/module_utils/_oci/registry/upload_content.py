# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What an upload sends, from wherever it has to begin."""

from __future__ import annotations

import io
import typing as t

from ..spec.errors import MismatchError, storage_errors
from ..spec.progress import PROGRESS
from .sending import SHORTER, Stretch

if t.TYPE_CHECKING:
    from ..content.store import Opener, VerifyingReader
    from ..spec.descriptor import Descriptor

_SKIP = 1024 * 1024


class UploadContent:
    """The content from any offset on, verified before its last byte leaves.

    What begins at the start is hashed along with the sending. What begins later: a file is verified whole and then seeked in (``_whole``),
    a stream is opened anew and read up to there.
    """

    def __init__(self, desc: Descriptor, content: Opener) -> None:
        self._desc = desc
        self._content = content
        self._reader: t.Optional[VerifyingReader] = None
        self._file: t.Optional[t.BinaryIO] = None
        self._whole = False
        self._offset = 0

    def at(self, offset: int, length: int) -> Part:
        if self._whole:
            # Also to where it is: what the system sends does not move the file.
            self._seek(offset)
        elif self._reader is None or self._offset != offset:
            self._open(offset)
        return Part(self, length)

    def _open(self, offset: int) -> None:
        self.close()
        self._reader = self._content()
        self._file = self._reader.rewindable() if offset else self._reader.file
        if offset and self._file is not None:
            self._whole = True
            self._seek(offset)
            return
        if not self._desc.size:
            self.read(1)
        while self._offset < offset:
            self.read(min(_SKIP, offset - self._offset))

    def _seek(self, offset: int) -> None:
        with storage_errors(f"reading {self._desc.digest}"):
            t.cast(t.BinaryIO, self._file).seek(offset)
        self._offset = offset

    def read(self, size: int) -> bytes:
        if self._whole:
            with storage_errors(f"reading {self._desc.digest}"):
                chunk = t.cast(t.BinaryIO, self._file).read(size)
        else:
            chunk = t.cast("VerifyingReader", self._reader).read(size)
        self._advance(len(chunk))
        return chunk

    def _advance(self, count: int) -> None:
        self._offset += count
        # What is hashed along is counted by its reader.
        if self._whole:
            PROGRESS.reached(self._desc.digest, self._offset)

    def stretch(self, length: int) -> t.Optional[Stretch]:
        """Where the next ``length`` bytes stand in a file; None for what is not in one, or may not be sent unread."""
        place = _place(self._file)
        return None if place is None else Stretch(*place, length, self._before)

    def _before(self, count: int) -> None:
        """So many bytes are sent next, by the system: nobody else has read them unless the whole was verified."""
        reader = t.cast("VerifyingReader", self._reader)
        if self._whole:
            reader.check_stop()
        else:
            reader.verify(count)
        self._advance(count)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._file, self._whole, self._offset = None, None, False, 0


class Part:
    """``length`` bytes of the content; a file that lost some since it was verified is an error, not a short request."""

    def __init__(self, content: UploadContent, length: int) -> None:
        self._content = content
        self._left = length

    def read(self, size: int) -> bytes:
        chunk = self._content.read(min(size, self._left)) if self._left else b""
        if self._left and not chunk:
            raise MismatchError(SHORTER)
        self._left -= len(chunk)
        return chunk

    def stretch(self) -> t.Optional[Stretch]:
        return self._content.stretch(self._left)

    def close(self) -> None:
        """Nothing: the content stays open for the next part."""


def _place(file: t.Optional[t.BinaryIO]) -> t.Optional[t.Tuple[int, int]]:
    """Descriptor and offset of what is read next; None for what is in memory only."""
    if isinstance(file, io.FileIO):
        return file.fileno(), file.tell()
    part_of = getattr(file, "stretch", None)
    return part_of() if part_of is not None else None

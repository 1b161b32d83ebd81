# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What a cut transfer leaves for the next run: the first bytes of content, under a name that no reader takes for content.

They are believed as little as any other bytes. The next run hashes them again, asks the source for the rest alone, and the digest over
both decides; when it is wrong, everything is fetched once more from the start.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import typing as t

from ..spec import ending
from ..spec.descriptor import Descriptor
from ..spec.errors import CancelledError, MismatchError, RegistryError, TransportError
from .beneath import PARTIAL_PREFIX, NewFile, folder, forget_temp, nearest, remove_unless_held, scratch_file, stat_beneath, temp_name
from .store import CHUNK, Opener, Prefix, VerifyingReader
from .writing import Writeback

WORTH = 1024 * 1024  # bytes below which a fresh start costs no more than what it takes to go on
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ATTEMPTS = 8  # somebody puts something else there again and again: then another name


def partial_name(desc: Descriptor) -> str:
    return f"{PARTIAL_PREFIX}{desc.digest.algorithm}-{desc.digest.encoded}"


def partial_tar_name(name: str) -> str:
    """For the tar ``name``, which is known by nothing but its name while it is written."""
    return f"{PARTIAL_PREFIX}tar-{hashlib.sha256(os.fsencode(name)).hexdigest()}"


def is_kept(error: t.Optional[BaseException]) -> bool:
    """Whether what has come stays after this end of a transfer: after failures of the network, and of other transfers by them.

    Not after a judgement on the content, a full disk, or the wish of a person, who finds nothing left over.
    """
    # While a run is being ended its connections are closed: what comes of that is no failure of the network.
    return isinstance(error, (TransportError, RegistryError, CancelledError)) and not ending.begun()


class PartialFile(NewFile):
    """A ``NewFile`` that may have the first bytes of its content from an earlier run: ``reused``.

    It is called ``partial`` until it has its name, and stays under that after an error with which the next run can go on. It gets
    another name while another process writes it, and where something stands that is not certainly our own file. ``limit``: the most
    bytes that it may have.
    """

    def __init__(self, parent: int, partial: str, mode: int = 0o600, limit: t.Optional[int] = None, where: str = "") -> None:
        self._partial = partial
        self._limit = limit
        self.where = os.path.join(where, partial)
        self.reused = False
        super().__init__(parent, mode)

    def _create(self) -> t.Tuple[t.Optional[str], int]:
        with temp_name(self._parent, self._partial):
            descriptor = _open_partial(self._parent, self._partial, self._limit)
        if descriptor is None:
            forget_temp(self._partial)
            return self._create_other()
        self.reused = os.fstat(descriptor).st_size > 0
        return self._partial, descriptor

    def _create_other(self) -> t.Tuple[t.Optional[str], int]:
        return super()._create()

    @property
    def lasting(self) -> bool:
        """Whether the next run will find it."""
        return self._temp == self._partial

    def worth_keeping(self) -> bool:
        return os.fstat(self.fd).st_size >= WORTH

    def end(self, error: t.Optional[BaseException]) -> None:
        """Close it; it stays when ``error`` is one with which the next run can go on."""
        if self.lasting and is_kept(error) and self.worth_keeping():
            forget_temp(self._partial)
            self._temp = None
        self.close()

    def __exit__(self, *exc: t.Any) -> None:
        self.end(exc[1])


class BlobFile(PartialFile):
    """One blob. What is smaller than ``WORTH`` is an ordinary temporary file. ``where``: the folder's path, for messages."""

    def __init__(self, parent: int, desc: Descriptor, mode: int = 0o600, where: str = "") -> None:
        self.desc = desc
        super().__init__(parent, partial_name(desc), mode, desc.size, where)

    def _create(self) -> t.Tuple[t.Optional[str], int]:
        return super()._create() if self.desc.size >= WORTH else self._create_other()

    def fill(self, content: Opener) -> None:
        """Have all of the verified content in it."""
        fill(self, 0, os.fstat(self.fd).st_size, self.desc, content)


class ScratchFile(BlobFile):
    """A blob that is only to be read: it goes when it is closed, unless the next run can go on from it.

    ``parent``: the folder for that, whose path is ``where``; None for no such thing. Otherwise it has no name, and is in the folder
    ``spare`` or, while that does not exist, in the nearest one above.
    """

    def __init__(self, parent: t.Optional[int], desc: Descriptor, where: str, spare: str) -> None:
        self._spare = spare
        self._resumable = parent is not None
        with folder(nearest(spare)) as nameless:
            super().__init__(nameless if parent is None else parent, desc, where=where)
        # It is read once, from memory if it can be, and no disk need ever see it.
        self.durable = False

    def _create(self) -> t.Tuple[t.Optional[str], int]:
        return super()._create() if self._resumable else self._create_other()

    def _create_other(self) -> t.Tuple[t.Optional[str], int]:
        with scratch_file(self._spare) as file:
            return None, os.dup(file.fileno())

    def from_start(self) -> t.BinaryIO:
        """The content, to read; every call begins anew. Valid until the file is closed."""
        os.lseek(self.fd, 0, os.SEEK_SET)
        return open(self.fd, "rb", buffering=0, closefd=False)

    def forget(self) -> None:
        """No later run needs it: the name goes now, the content when it is closed."""
        if self._temp is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temp, dir_fd=self._parent)
            forget_temp(self._temp)
            self._temp = None


def _open_partial(parent: int, name: str, limit: t.Optional[int]) -> t.Optional[int]:
    """The locked file, made when it is not there; None when it is another writer's, or cannot be had.

    What stands there and is not a plain file of our own is removed, never followed or written to.
    """
    for _attempt in range(_ATTEMPTS):
        found = stat_beneath(parent, name)
        if found is not None and not _is_ours(found, limit):
            if not _removed(parent, name, found):
                return None
            continue
        try:
            descriptor = os.open(name, _OPEN, 0o600, dir_fd=parent)
        except OSError:
            # A link since we looked, or a folder in which nothing may be made: the other name's attempt says what is wrong.
            continue
        if _lock(descriptor) and _is_at(parent, name, descriptor) and _is_ours(os.fstat(descriptor), limit):
            return descriptor
        os.close(descriptor)
    return None


def _is_ours(found: os.stat_result, limit: t.Optional[int]) -> bool:
    """A regular file that nobody else can write to, under this one name, and no larger than it may be."""
    private = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1 and not found.st_mode & 0o022
    return private and (limit is None or found.st_size <= limit)


def _removed(parent: int, name: str, found: os.stat_result) -> bool:
    try:
        if stat.S_ISREG(found.st_mode):
            return remove_unless_held(parent, name)
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(parent: int, name: str, descriptor: int) -> bool:
    found, opened = stat_beneath(parent, name), os.fstat(descriptor)
    return found is not None and (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


def fill(file: PartialFile, offset: int, held: int, desc: Descriptor, content: Opener) -> None:
    """Have the verified content of ``desc`` at ``offset``, where its first ``held`` bytes may stand already.

    Errors of the network say what is kept, when it is.
    """
    try:
        if held < WORTH or not _continued(file, offset, held, desc, content):
            _write(file, offset, content())
    except (TransportError, RegistryError) as error:
        kept = held_bytes(file.fd, offset, desc.size) if file.lasting else 0
        if kept >= WORTH:
            error.message += f"; the first {kept} bytes are kept in {file.where}, the next run goes on from there"
        raise


def _continued(file: PartialFile, offset: int, held: int, desc: Descriptor, content: Opener) -> bool:
    """False when what was there, or the rest that the source gives, is not of this content."""
    have = Prefix(desc.digest.hasher(), held)
    for position in range(0, held, CHUNK):
        have.hash.update(os.pread(file.fd, min(CHUNK, held - position), offset + position))
    if held == desc.size:
        return bool(have.hash.hexdigest() == desc.digest.encoded)
    try:
        _write(file, offset + held, content(have))
    except MismatchError:
        return False
    return True


def _write(file: PartialFile, offset: int, reader: VerifyingReader) -> None:
    disk = Writeback(file.fd, offset)
    with reader:
        for piece in reader.pieces():
            file.write_at(offset, piece)
            offset += len(piece)
            if file.durable:
                disk.reached(offset)


def held_bytes(descriptor: int, offset: int, size: int) -> int:
    """How many bytes at ``offset`` were written, of ``size``: up to the last one that is not zero, before the first hole.

    Content is written from its start on, so that what has not come reads as zeros. Zeros at the end of what has come are taken for
    that too, and come again.
    """
    end = min(offset + size, os.fstat(descriptor).st_size)
    with contextlib.suppress(OSError):
        end = min(end, os.lseek(descriptor, offset, os.SEEK_HOLE))
    while end > offset:
        start = max(offset, end - CHUNK)
        written = len(os.pread(descriptor, end - start, start).rstrip(b"\0"))
        if written:
            return start + written - offset
        end = start
    return 0

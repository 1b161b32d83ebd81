# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The store interface: everything else is a walk over descriptors.

A backend writes the private methods; the public ones check, so nobody can forget to verify.
"""

from __future__ import annotations

import abc
import contextlib
import io
import threading
import typing as t
from types import MappingProxyType

from ..spec import ending, mediatype
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import CancelledError, InvalidError, MismatchError, NotFoundError, located, storage_errors
from ..spec.progress import PROGRESS
from ..spec.strictjson import MAX_DOCUMENT

CHUNK = 1024 * 1024
PIECE = 256 * 1024  # of content on its way: what is read, hashed and written next should still be in the processor's cache
DOCUMENT_TRIES = 2  # after the first, of documents that came damaged
Result = t.TypeVar("Result")


class RawReader(t.Protocol):
    """Bytes as a backend gives them; ``read(n)`` returns at most n bytes, b'' at the end.

    One that has ``readinto`` too, as files have, is read without a copy.
    """

    def read(self, size: int) -> bytes: ...

    def close(self) -> None: ...


class Prefix(t.NamedTuple):
    """The first ``size`` bytes of content, which are at hand already: ``hash`` is a ``hashlib`` object that has read them."""

    hash: t.Any
    size: int


class VerifyingReader:
    """Bytes that are checked against their descriptor while they are read.

    ``read`` raises MismatchError instead of returning the last bytes of content whose size or digest is wrong, and never hands
    out more than ``desc.size`` bytes. Content is verified once ``read`` has returned b'' or all ``desc.size`` bytes.
    Setting the event ``stop`` ends the reading with CancelledError. With ``have``, ``raw`` begins behind those bytes; what is checked
    is the whole.
    """

    def __init__(self, desc: Descriptor, raw: RawReader, location: t.Optional[str] = None, have: t.Optional[Prefix] = None) -> None:
        self.desc = desc
        self._raw = raw
        self._hash = have.hash.copy() if have is not None else desc.digest.hasher()
        self._taken = have.size if have is not None else 0
        self._verified = False
        self._location = location
        self.stop: t.Optional[threading.Event] = None
        # What is verified whole before it is used is counted where it is used.
        self._counted = True

    def read(self, size: int = CHUNK) -> bytes:
        """At most ``size`` bytes, b'' at the verified end."""
        if not self._goes_on(size):
            return b""
        with located(self._location), storage_errors(f"reading {self.desc.digest}"):
            chunk = self._raw.read(self._wanted(size))
            self._check(chunk)
            return chunk

    def readinto(self, view: memoryview) -> int:
        """As ``read``, into memory that is there; returns how many bytes, 0 at the verified end."""
        if not self._goes_on(len(view)):
            return 0
        with located(self._location), storage_errors(f"reading {self.desc.digest}"):
            count = _read_into(self._raw, view[: self._wanted(len(view))])
            self._check(view[:count])
            return count

    def _goes_on(self, size: int) -> bool:
        if self._verified or size == 0:
            return False
        self.check_stop()
        return True

    def check_stop(self) -> None:
        """Raises CancelledError once ``stop`` is set, and what ends the run once that is to end."""
        if self.stop is not None and self.stop.is_set():
            raise CancelledError("stopped, because another transfer failed")
        ending.check()

    def _wanted(self, size: int) -> int:
        return min(size, self.desc.size - self._taken) or 1

    def _check(self, chunk: t.Union[bytes, memoryview]) -> None:
        self._taken += len(chunk)
        if self._taken > self.desc.size:
            raise MismatchError(f"content of {self.desc.digest} is longer than its {self.desc.size} bytes")
        if not chunk and self._taken < self.desc.size:
            raise MismatchError(f"content of {self.desc.digest} ends after {self._taken} of {self.desc.size} bytes")
        self._hash.update(chunk)
        if self._counted:
            PROGRESS.reached(self.desc.digest, self._taken)
        if self._taken == self.desc.size:
            self._check_end()

    def _check_end(self) -> None:
        if self._hash.hexdigest() != self.desc.digest.encoded:
            raise MismatchError(f"content of {self.desc.digest} has another digest: {self._hash.name}:{self._hash.hexdigest()}")
        if self._raw.read(1):
            raise MismatchError(f"content of {self.desc.digest} is longer than its {self.desc.size} bytes")
        self._verified = True

    def chunks(self) -> t.Iterator[bytes]:
        """All of the content in pieces; it is verified when the iterator ends."""
        while True:
            chunk = self.read(CHUNK)
            if not chunk:
                return
            yield chunk

    def pieces(self) -> t.Iterator[memoryview]:
        """As ``chunks``, without new memory for each: a piece is valid until the next one is asked for."""
        buffer = memoryview(bytearray(min(PIECE, self.desc.size) or 1))
        while True:
            count = self.readinto(buffer)
            if not count:
                return
            yield buffer[:count]

    def verify(self, count: int) -> None:
        """Take the next ``count`` bytes without handing them out: somebody else reads them from ``file``. Raises as ``read``."""
        buffer = memoryview(bytearray(min(PIECE, count) or 1))
        while count:
            taken = self.readinto(buffer[:count])
            if not taken:
                raise MismatchError(f"content of {self.desc.digest} ends after {self.desc.size} bytes, where more were to be sent")
            count -= taken

    @property
    def file(self) -> t.Optional[t.BinaryIO]:
        """The seekable file under this reader, which stands where the reader does; None for a stream."""
        return t.cast(t.BinaryIO, self._raw) if getattr(self._raw, "seek", None) is not None else None

    def rewindable(self) -> t.Optional[t.BinaryIO]:
        """As ``file``, verified whole and rewound to the content's start, at the price of one more read from the page cache."""
        file = self.file
        if file is None:
            return None
        self._counted = False
        for _piece in self.pieces():
            pass
        file.seek(0)
        return file

    def close(self) -> None:
        self._raw.close()

    def __enter__(self) -> VerifyingReader:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _read_into(raw: RawReader, view: memoryview) -> int:
    readinto: t.Optional[t.Callable[[memoryview], int]] = getattr(raw, "readinto", None)
    if readinto is not None:
        return readinto(view)
    chunk = raw.read(len(view))
    view[: len(chunk)] = chunk
    return len(chunk)


def again_on_mismatch(remote: bool, work: t.Callable[[], Result], more: int = 1) -> Result:
    """``work``, and ``more`` tries when content was not what it ought to be and goes over a network: the way may have damaged it.

    One for blobs, for what is wrong where it is stored may be large; DOCUMENT_TRIES for documents, which are small.
    """
    for _try in range(more if remote else 0):
        with contextlib.suppress(MismatchError):
            return work()
    return work()


class Opener(t.Protocol):
    """Opens content from its start, or behind the bytes that are at hand, as often as a retry needs it."""

    def __call__(self, have: t.Optional[Prefix] = None) -> VerifyingReader: ...


class Named(t.NamedTuple):
    """A root, and the tags or refs that are to name it."""

    root: Descriptor
    references: t.Tuple[str, ...]


class Incoming(t.NamedTuple):
    """What is about to be written: ``missing`` will be pushed (successors first, the root among them when it is not stored yet),
    ``references`` will name ``root``; ``also``: further roots. ``kept`` is what the roots need and the target has already.
    ``damaged``: digests of those in ``missing`` that are stored, and are not what they ought to be. ``unmoved``: names, with the
    digest that each of them has to have still when it is written (None: it must not be there); a layout raises MovedError, a
    registry has no conditional requests."""

    root: Descriptor
    references: t.Tuple[str, ...] = ()
    missing: t.Tuple[Descriptor, ...] = ()
    kept: t.Tuple[Descriptor, ...] = ()
    also: t.Tuple[Named, ...] = ()
    damaged: t.FrozenSet[Digest] = frozenset()
    unmoved: t.Mapping[str, t.Optional[Digest]] = MappingProxyType({})

    @property
    def roots(self) -> t.List[Named]:
        return [Named(self.root, self.references), *self.also]


class Fetcher(abc.ABC):
    """A readable store. ``location`` names it in errors: side, then reference or path.

    ``remote``: content comes over a network, so what does not match may match when it is asked for again.
    """

    location: t.Optional[str] = None
    remote = False

    def exists(self, desc: Descriptor) -> bool:
        """True when the content is stored here with this digest and size."""
        with located(self.location), storage_errors(f"looking for {desc.digest}"):
            return self._exists(desc)

    def fetch(self, desc: Descriptor, have: t.Optional[Prefix] = None) -> VerifyingReader:
        """A verified stream of the content, of what comes after ``have``. Raises NotFoundError; errors while reading carry this
        store's location."""
        if desc.data is not None:
            return bytes_opener(desc, desc.data, self.location)(have)
        with located(self.location), storage_errors(f"opening {desc.digest}"):
            raw = self._open(desc) if have is None else self._open_at(desc, have.size)
            return VerifyingReader(desc, raw, self.location, have)

    def fetch_bytes(self, desc: Descriptor, limit: int = MAX_DOCUMENT) -> bytes:
        """The whole content, verified; refuses content of more than ``limit`` bytes before it reads any."""
        if desc.size > limit:
            with located(self.location):
                raise InvalidError(f"{desc.digest} has {desc.size} bytes, more than the limit of {limit} for a document")

        def read() -> bytes:
            with self.fetch(desc) as reader:
                return b"".join(reader.chunks())

        return again_on_mismatch(self.origin(desc).remote, read, DOCUMENT_TRIES)

    def origin(self, desc: Descriptor) -> Fetcher:
        """The store that really has the content: this one, or one that it was built on."""
        return self

    def nameless(self, desc: Descriptor) -> t.Optional[int]:
        """A descriptor of a file of this run without a name that is just this content, hashed while it was written; None for none."""
        return None

    @abc.abstractmethod
    def _exists(self, desc: Descriptor) -> bool: ...

    @abc.abstractmethod
    def _open(self, desc: Descriptor) -> RawReader: ...

    def _open_at(self, desc: Descriptor, offset: int) -> RawReader:
        """As ``_open``, from ``offset`` on. A store over a network asks for no more than that."""
        raw = self._open(desc)
        seek = getattr(raw, "seek", None)
        if seek is not None:
            seek(offset)
            return raw
        while offset:
            skipped = len(raw.read(min(CHUNK, offset)))
            offset = offset - skipped if skipped else 0
        return raw


class Source(Fetcher):
    """A store whose content has names. ``requests`` counts what it asked over the network, by HTTP verb; {} for a store on disk."""

    requests: t.Mapping[str, int] = {}

    def resolve(self, reference: t.Optional[str]) -> Descriptor:
        """The descriptor behind a tag, ref or digest; None asks for the only one there is. Raises NotFoundError, InvalidError."""
        with located(self.location), storage_errors("resolving"):
            desc = self._resolve(reference)
            if not mediatype.is_manifest(desc.media_type):
                raise InvalidError(f"{reference or desc.digest} is {desc.media_type}, not an image manifest or index")
            return desc

    def lookup(self, reference: str) -> t.Optional[Descriptor]:
        """As ``resolve``, or None when the name is not there."""
        try:
            return self.resolve(reference)
        except NotFoundError:
            return None

    def names(self) -> t.List[str]:
        """All tags or refs, in the store's order. Raises NotFoundError when there is no such repository or layout."""
        with located(self.location), storage_errors("listing names"):
            return self._names()

    def referrers(self, subject: Descriptor) -> t.List[Descriptor]:
        """What is attached to ``subject`` (manifests whose ``subject`` it is), each digest once, with artifact type and annotations.

        In the order of the digests, because registries list them in none. [] when nothing is, also when the subject itself is not here.
        """
        with located(self.location), storage_errors(f"looking for referrers of {subject.digest}"):
            return sorted(self._referrers(subject), key=lambda desc: desc.digest)

    def _names(self) -> t.List[str]:
        return []

    def _referrers(self, subject: Descriptor) -> t.List[Descriptor]:
        return []

    @abc.abstractmethod
    def _resolve(self, reference: t.Optional[str]) -> Descriptor: ...


class Target(Source):
    """A store that can be written. Order is the writer's duty: successors before what points at them, names last."""

    @contextlib.contextmanager
    def receiving(self, incoming: Incoming) -> t.Iterator[None]:
        """The bracket around ``push`` and ``tag``; ``incoming`` announces all of them (an archive reserves the room).

        What is written becomes visible at the end of the bracket at the latest; when it is left by an error, names stay as they were.
        """
        with located(self.location), storage_errors("writing"):
            with self._receiving(incoming):
                yield

    def push(self, desc: Descriptor, content: Opener) -> None:
        """Store verified content. Idempotent: returning means that it is stored, not that this call stored it.

        May be called from several threads. A failed push leaves nothing under the content's name.
        """
        with located(self.location), storage_errors(f"writing {desc.digest}"):
            self._push(desc, content)

    def tag(self, root: Descriptor, manifest: bytes, references: t.Sequence[str]) -> None:
        """Store the root, whose bytes are ``manifest``, and let each of ``references`` (tags or refs) name it.

        The bytes, because a registry tags by PUT. With no references the root is only made reachable by its digest.
        """
        with located(self.location), storage_errors("tagging"):
            self._tag(root, manifest, references)

    def untag(self, *references: str) -> None:
        """Remove tags or refs; what they named stays reachable by other names and by digest as the store sees fit.

        Nothing happens for one that is not there.
        """
        with located(self.location), storage_errors("removing names"):
            self._untag(references)

    def delete(self, *manifests: Descriptor) -> None:
        """Remove manifests, in that order, each with all names that it has, and from a registry's list of what is attached to its subject.

        Nothing happens for one that is not there. What was below it stays or goes as the store sees fit. Raises RegistryError where a
        registry does not delete.
        """
        with located(self.location), storage_errors("removing manifests"):
            self._delete(manifests)

    def is_new(self) -> bool:
        """True when the store says that it has never had anything; False also where it cannot tell."""
        return False

    def mountable(self, desc: Descriptor, source: Fetcher) -> bool:
        """True when this store can take the blob over from ``source`` without a transfer: two repositories of one registry, two
        layout folders on one file system."""
        return False

    def mount(self, desc: Descriptor, source: Fetcher) -> bool:
        """Take the blob over from ``source``. False when the store will not: then it has to be pushed."""
        return False

    def adopt(self, desc: Descriptor, source: Fetcher) -> bool:
        """Store the file of this run that ``source`` has for the content, without a copy. False when it has none, or this store cannot:
        then it has to be pushed."""
        descriptor = source.nameless(desc)
        if descriptor is None:
            return False
        with located(self.location), storage_errors(f"writing {desc.digest}"):
            return self._adopt(desc, descriptor)

    def _adopt(self, desc: Descriptor, descriptor: int) -> bool:
        return False

    @contextlib.contextmanager
    def _receiving(self, incoming: Incoming) -> t.Iterator[None]:
        yield

    @abc.abstractmethod
    def _push(self, desc: Descriptor, content: Opener) -> None: ...

    @abc.abstractmethod
    def _tag(self, root: Descriptor, manifest: bytes, references: t.Sequence[str]) -> None: ...

    @abc.abstractmethod
    def _untag(self, references: t.Sequence[str]) -> None: ...

    @abc.abstractmethod
    def _delete(self, manifests: t.Sequence[Descriptor]) -> None: ...


def bytes_opener(desc: Descriptor, content: bytes, location: t.Optional[str] = None) -> Opener:
    """Content that is held in memory (a manifest, a config), as ``push`` takes it."""

    def opener(have: t.Optional[Prefix] = None) -> VerifyingReader:
        return VerifyingReader(desc, io.BytesIO(content[have.size :] if have is not None else content), location, have)

    return opener

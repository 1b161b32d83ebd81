# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Reproducible layers: a tree of files as one tar whose bytes depend on nothing but the files and the options.

Entries are sorted; times, names of users and everything else of the host are left out (image-spec considerations.md).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import time
import typing as t
from dataclasses import dataclass
from types import MappingProxyType

from .content import tar
from .content.beneath import folder
from .content.compression import GZIP, Block
from .content.store import CHUNK
from .spec.digest import Digest
from .spec.errors import InvalidError, NotFoundError, storage_errors
from .spec.progress import PROGRESS
from .xattrs import pax_of

if t.TYPE_CHECKING:
    from .content.codec import Deflater
    from .content.gzip_blocks import Reuse

_PARENT_MODE = 0o755
WHITEOUT = ".wh."
_GATHERED = 256 * 1024  # a digest of small pieces costs more than the copy that joins them
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REFUSED_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Sink(t.Protocol):
    """Where bytes go."""

    def write(self, content: bytes) -> object: ...


WriteTar = t.Callable[[Sink], None]


class Attributes(t.NamedTuple):
    """What every entry of a layer gets. ``mode`` is for regular files, folders get execute where it has read.

    None for ``mode``, ``uid`` or ``gid`` keeps the source's. ``xattrs``: whether extended attributes come along.
    """

    mode: t.Optional[int] = None
    uid: t.Optional[int] = 0
    gid: t.Optional[int] = 0
    mtime: int = 0
    xattrs: bool = False

    def mode_of(self, status: os.stat_result) -> int:
        if self.mode is None:
            return stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            return self.mode | (self.mode & 0o444) >> 2
        return self.mode

    def owner_of(self, status: os.stat_result) -> t.Tuple[int, int]:
        """User and group id."""
        return status.st_uid if self.uid is None else self.uid, status.st_gid if self.gid is None else self.gid


class Found(t.NamedTuple):
    """One thing of the source tree: its name in the tar, its place on disk below the root, its lstat, and when that was asked for, in
    nanoseconds since 1970."""

    name: str
    parts: t.Tuple[str, ...]
    status: os.stat_result
    seen: int


class Unusable(Exception):
    """The tar that an earlier run made is not what it was. What was taken from it is worth nothing."""


class Notes(t.Protocol):
    """Who knows the tar that an earlier run made of the tree."""

    def kept(self, found: Found) -> t.Optional[t.Tuple[int, int]]:
        """Where that tar has this thing, header and padding included; None when it is to be read."""

    def wrote(self, start: int, end: int) -> None:
        """Where the new tar has it."""

    def read(self, start: int, end: int) -> t.Iterable[bytes]:
        """What that tar has there."""


@dataclass(frozen=True)
class Tree:
    """A folder's content, or one file, as entries below ``prefix`` ('' is the top of the layer, else without slashes at its ends).

    ``source`` is followed when it is a link itself; nothing below it is. ``parents``: whether the folders above are entries, which
    replace what lower layers have there. ``packed`` is the form that oras gives a folder: the folder
    itself is the first entry, the parts above it have none, and a file with several names is stored under each.
    """

    source: str
    prefix: str = ""
    attributes: Attributes = Attributes()
    packed: bool = False
    parents: bool = True

    def write_tar(self, sink: Sink, notes: t.Optional[Notes] = None) -> None:
        """Write the whole tar. Raises InvalidError, NotFoundError, StorageError, each with the path."""
        out = _Counting(sink)
        # Each pass over the tree is counted for itself.
        key = object()
        PROGRESS.expect_all(key, self._sizes())
        with storage_errors(f"reading {self.source}"), _opened(self.source) as place:
            for name in self._above(place):
                out.write(tar.encode(self._made(name, _PARENT_MODE)))
            linked: t.Dict[t.Tuple[int, int], str] = {}
            kept = _Kept(out, notes)
            for found in self._found(place):
                self._note_link(found, linked)
                if not kept.takes(found):
                    start = out.size
                    for piece in self._member(place, found, linked):
                        out.write(piece)
                        PROGRESS.reached(key, out.size)
                    kept.wrote(start, out.size)
            kept.flush()
            out.write(tar.END)

    def _sizes(self) -> t.Iterator[int]:
        """Of what is in the tar, about: what cannot be looked at will be told of when it is read."""
        if os.path.isfile(self.source):
            yield os.stat(self.source).st_size
        for above, _folders, names in os.walk(self.source):
            for name in names:
                with contextlib.suppress(OSError):
                    found = os.lstat(os.path.join(above, name))
                    held = found.st_size if stat.S_ISREG(found.st_mode) else 0
                    yield tar.BLOCK + held + tar.padding(held)

    def _note_link(self, found: Found, linked: t.Dict[t.Tuple[int, int], str]) -> None:
        """The first name of a file with several is the one that it is stored under."""
        if found.status.st_nlink > 1 and not self.packed and not stat.S_ISDIR(found.status.st_mode):
            linked.setdefault((found.status.st_dev, found.status.st_ino), found.name)

    def _above(self, place: _Place) -> t.Iterator[str]:
        """The folders above the content, which are no part of the source tree."""
        parts = self.prefix.split("/") if self.prefix else []
        if not place.is_folder:
            parts.pop()
        if self.parents and not (self.packed and place.is_folder):
            yield from ("/".join(parts[: number + 1]) for number in range(len(parts)))

    def _found(self, place: _Place) -> t.Iterator[Found]:
        seen = time.time_ns()
        if not place.is_folder:
            yield Found(_checked_name(self.prefix, self.source), (), os.fstat(place.fd), seen)
            return
        if self.packed:
            yield Found(self.prefix, (), os.fstat(place.fd), seen)
        yield from _walk(place, self.source, self.prefix)

    def _member(self, place: _Place, found: Found, linked: t.Dict[t.Tuple[int, int], str]) -> t.Iterator[bytes]:
        kind = stat.S_IFMT(found.status.st_mode)
        shown = os.path.join(self.source, *found.parts)
        if kind == stat.S_IFDIR and not found.parts:
            yield tar.encode(self._made(found.name, self.attributes.mode_of(found.status)))
        elif kind == stat.S_IFDIR:
            with place.opened(found, _OPEN_FOLDER) as descriptor:
                yield tar.encode(self._entry(found, tar.DIRECTORY, pax=self._pax(descriptor, shown)))
        elif kind == stat.S_IFLNK:
            link = os.readlink(found.parts[-1], dir_fd=place.folder(found.parts[:-1]))
            yield tar.encode(self._entry(found, tar.SYMLINK, link=_checked_text(link, shown)))
        else:
            first = linked.get((found.status.st_dev, found.status.st_ino), found.name)
            if first != found.name:
                yield tar.encode(self._entry(found, tar.HARD_LINK, link=first))  # the file that it names has the attributes
            else:
                with place.opened(found, _OPEN_FILE) as descriptor:
                    yield tar.encode(self._entry(found, tar.FILE, pax=self._pax(descriptor, shown)))
                    yield from _exactly(descriptor, found.status.st_size, shown)
                    yield bytes(tar.padding(found.status.st_size))

    def _pax(self, descriptor: int, shown: str) -> t.Mapping[str, str]:
        return pax_of(descriptor, shown) if self.attributes.xattrs else {}

    def _entry(self, found: Found, kind: str, link: str = "", pax: t.Mapping[str, str] = MappingProxyType({})) -> tar.Entry:
        own = self.attributes
        mode = 0o777 if kind == tar.SYMLINK else own.mode_of(found.status)
        size = found.status.st_size if kind == tar.FILE else 0
        return tar.Entry(found.name, kind, size, mode, *own.owner_of(found.status), own.mtime, link, pax)

    def _made(self, name: str, mode: int) -> tar.Entry:
        """A folder with nothing of the source but its mode."""
        own = self.attributes
        return tar.Entry(name, tar.DIRECTORY, 0, mode, own.uid or 0, own.gid or 0, own.mtime)


class _Place:
    """The source, open: a file, or a folder and what is below it, never through a link; any name that a file system allows."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        # The folder that was used last stays open: its files come one after the other.
        self._last: t.Tuple[str, ...] = ()
        self._last_fd: t.Optional[int] = None
        # What was looked at last.
        self.at: t.Tuple[str, ...] = ()

    def folder(self, parts: t.Tuple[str, ...]) -> int:
        """A descriptor of the folder ``parts``, until the next call."""
        if not parts:
            return self.fd
        if self._last_fd is None or self._last != parts:
            descriptor = self._open(parts)
            self.close()
            self._last, self._last_fd = parts, descriptor
        return self._last_fd

    def _open(self, parts: t.Tuple[str, ...]) -> int:
        self.at = parts
        near = self._last_fd is not None and parts[:-1] == self._last
        descriptor = os.dup(self._last_fd if near and self._last_fd is not None else self.fd)
        try:
            for part in parts[-1:] if near else parts:
                child = os.open(part, _OPEN_FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = child
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    @contextlib.contextmanager
    def opened(self, found: Found, flags: int) -> t.Iterator[int]:
        """A descriptor of what was found; the source itself when that is a file."""
        if not found.parts:
            yield self.fd
            return
        above, self.at = self.folder(found.parts[:-1]), found.parts
        descriptor = os.open(found.parts[-1], flags, dir_fd=above)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def close(self) -> None:
        if self._last_fd is not None:
            os.close(self._last_fd)
            self._last_fd = None


@contextlib.contextmanager
def _opened(source: str) -> t.Iterator[_Place]:
    with contextlib.ExitStack() as stack:
        is_folder = os.path.isdir(source)
        place = _Place(stack.enter_context(folder(source) if is_folder else _open_file(source)))
        stack.callback(place.close)
        try:
            yield place
        except OSError as error:
            # Names below the folder are said alone to the system.
            if error.filename in place.at[-1:]:
                error.filename = os.path.join(source, *place.at)
            raise


@contextlib.contextmanager
def _open_file(path: str) -> t.Iterator[int]:
    with open_regular(path) as file:
        yield file.fileno()


def _walk(place: _Place, source: str, prefix: str) -> t.Iterator[Found]:
    """Everything below the folder, a folder before what is in it, names in the order of their bytes."""
    above = f"{prefix}/" if prefix else ""
    pending: t.List[t.Tuple[t.Tuple[str, ...], str, t.Iterator[str]]] = [((), above, _names(place, ()))]
    while pending:
        folder_parts, above, names = pending[-1]
        for name in names:
            seen = time.time_ns()
            parts = (*folder_parts, name)
            descriptor, place.at = place.folder(folder_parts), parts
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            kind = stat.S_IFMT(status.st_mode)
            if kind in _REFUSED_KINDS:
                raise InvalidError(f"{os.path.join(source, *parts)} is {_REFUSED_KINDS[kind]}, which a layer cannot hold")
            if not name.isascii() or name.startswith(WHITEOUT):
                _checked_name(name, os.path.join(source, *parts))
            yield Found(above + name, parts, status, seen)
            if kind == stat.S_IFDIR:
                pending.append((parts, f"{above}{name}/", _names(place, parts)))
                break
        else:
            pending.pop()


def _names(place: _Place, parts: t.Tuple[str, ...]) -> t.Iterator[str]:
    return iter(sorted(os.listdir(place.folder(parts)), key=os.fsencode))


def _checked_name(name: str, shown: str) -> str:
    if name.rpartition("/")[2].startswith(WHITEOUT):
        raise InvalidError(f"{shown} starts with {WHITEOUT}, which marks deletions in layers: it cannot be stored")
    return _checked_text(name, shown)


def _checked_text(text: str, shown: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidError(f"{shown} has a name that is not UTF-8: rename it") from error
    return text


def open_regular(path: str) -> t.BinaryIO:
    """A file of the user's, unbuffered; a link is followed. Raises NotFoundError, InvalidError for what is not a regular file."""
    try:
        file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
    except FileNotFoundError as error:
        raise NotFoundError(f"no such file or folder: {path}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InvalidError(f"{path} is not a regular file or a folder")
    return file


def _exactly(descriptor: int, size: int, path: str) -> t.Iterator[bytes]:
    """The file's bytes. Raises InvalidError when it has changed its size since its header was written."""
    left = size
    while left:
        chunk = os.read(descriptor, min(CHUNK, left))
        if not chunk:
            break
        left -= len(chunk)
        yield chunk
    if left or os.read(descriptor, 1):
        raise InvalidError(f"{path} changed its size while it was read: run again when nobody writes it")


class _Kept:
    """What is taken out of an older tar: in stretches as long as can be."""

    def __init__(self, out: _Counting, notes: t.Optional[Notes]) -> None:
        self._out = out
        self._notes = notes
        self._start = self._end = 0

    def takes(self, found: Found) -> bool:
        """Whether this thing is there; else it is to be written now."""
        kept = self._notes.kept(found) if self._notes is not None else None
        if kept is None or kept[0] != self._end:
            self.flush()
        if kept is None:
            return False
        if self._start == self._end:
            self._start = kept[0]
        self._end = kept[1]
        at = self._out.size + self._end - self._start
        self.wrote(at - (kept[1] - kept[0]), at)
        return True

    def wrote(self, start: int, end: int) -> None:
        if self._notes is not None:
            self._notes.wrote(start, end)

    def flush(self) -> None:
        if self._notes is not None and self._start < self._end:
            for piece in self._notes.read(self._start, self._end):
                self._out.write(piece)
        self._start = self._end


class _Counting:
    """Counts what goes through."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size = 0

    def write(self, content: bytes) -> None:
        self.size += len(content)
        self._sink.write(content)


class Gathering:
    """Passes what comes in small pieces on in larger ones; ``flush`` the rest."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parts: t.List[bytes] = []
        self._size = 0

    def write(self, content: bytes) -> None:
        self._parts.append(content)
        self._size += len(content)
        if self._size >= _GATHERED:
            self.flush()

    def flush(self) -> None:
        self._sink.write(b"".join(self._parts))
        self._parts, self._size = [], 0


class Digesting:
    """Hashes and counts what goes through to ``sink`` (None: nowhere)."""

    def __init__(self, sink: t.Optional[Sink] = None) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, content: bytes) -> None:
        self._hash.update(content)
        self.size += len(content)
        if self._sink is not None:
            self._sink.write(content)

    @property
    def digest(self) -> Digest:
        return Digest.from_hash(self._hash)


class Compressed(t.NamedTuple):
    """A compressed tar: digest and size of the blob, the digest of the tar in it (the layer's diff_id), and the blocks that we made."""

    digest: Digest
    size: int
    content_digest: Digest
    blocks: t.Tuple[Block, ...] = ()


class _LateDeflater:
    """A Deflater that is made with the first bytes: of a tree that has not changed there are none."""

    def __init__(self, sink: Sink, codec: str, level: t.Optional[int], reuse: t.Optional[Reuse]) -> None:
        self._arguments = (sink, codec, level, reuse)

    @functools.cached_property
    def _deflater(self) -> Deflater:
        from .content.codec import Deflater

        return Deflater(*self._arguments)

    def write(self, content: bytes) -> None:
        self._deflater.write(content)

    def finish(self) -> t.Tuple[Block, ...]:
        """The blocks, of gzip."""
        self._deflater.finish()
        return tuple(self._deflater.blocks)


def content_digest(write_tar: WriteTar) -> Digest:
    """The digest of the uncompressed tar."""
    hashed = Digesting()
    gathered = Gathering(hashed)
    write_tar(gathered)
    gathered.flush()
    return hashed.digest


def compress(
    write_tar: WriteTar, sink: Sink, codec: str = GZIP, level: t.Optional[int] = None, reuse: t.Optional[Reuse] = None
) -> Compressed:
    """Write the tar, compressed, to ``sink``, and say what it was: one pass over the content. Other arguments as Deflater's."""
    blob = Digesting(sink)
    deflater = _LateDeflater(blob, codec, level, reuse)
    content = Digesting(deflater)
    gathered = Gathering(content)
    write_tar(gathered)
    gathered.flush()
    blocks = deflater.finish()
    return Compressed(blob.digest, blob.size, content.digest, blocks)


def file_digest(path: str) -> t.Tuple[Digest, int]:
    """Digest and size of a file as it is. Raises NotFoundError, InvalidError, StorageError."""
    hashed, key = Digesting(), object()
    with storage_errors(f"reading {path}"), open_regular(path) as file:
        PROGRESS.expect_bytes(key, os.fstat(file.fileno()).st_size)
        for chunk in iter(lambda: file.read(CHUNK), b""):
            hashed.write(chunk)
            PROGRESS.reached(key, hashed.size)
    return hashed.digest, hashed.size

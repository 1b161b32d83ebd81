# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Reproducible layers: a tree of files as one tar whose bytes depend on nothing but the files and the options.

Entries are sorted; times, names of users and everything else of the host are left out (image-spec considerations.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import typing as t
from dataclasses import dataclass, field

from .content import tar
from .content.beneath import folder
from .content.codec import GZIP, Deflater
from .content.store import CHUNK
from .spec.digest import Digest
from .spec.errors import InvalidError, NotFoundError, storage_errors
from .spec.progress import PROGRESS
from .xattrs import pax_of

_PARENT_MODE = 0o755
WHITEOUT = ".wh."
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REFUSED_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Sink(t.Protocol):
    """Where bytes go."""

    def write(self, content: bytes) -> object: ...


@dataclass(frozen=True)
class Attributes:
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


@dataclass(frozen=True)
class _Found:
    """One thing of the source tree: its name in the tar, its place on disk below the root, its lstat, link target and attributes."""

    name: str
    parts: t.Tuple[str, ...]
    status: os.stat_result
    link: str = ""
    pax: t.Mapping[str, str] = field(default_factory=dict)


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

    def write_tar(self, sink: Sink) -> None:
        """Write the whole tar. Raises InvalidError, NotFoundError, StorageError, each with the path."""
        # Each pass over the tree is counted for itself.
        key, done = object(), 0
        PROGRESS.expect_bytes(key, self._size)
        with storage_errors(f"reading {self.source}"):
            for entry, content in self._entries():
                sink.write(tar.encode(entry))
                if content is not None:
                    for chunk in content:
                        sink.write(chunk)
                        done += len(chunk)
                        PROGRESS.reached(key, done)
                    sink.write(bytes(tar.padding(entry.size)))
            sink.write(tar.END)

    def _size(self) -> int:
        """Of all its files, about: what cannot be looked at will be told of when it is read."""
        size = os.stat(self.source).st_size if os.path.isfile(self.source) else 0
        for above, _folders, names in os.walk(self.source):
            for name in names:
                with contextlib.suppress(OSError):
                    found = os.lstat(os.path.join(above, name))
                    size += found.st_size if stat.S_ISREG(found.st_mode) else 0
        return size

    def _entries(self) -> t.Iterator[t.Tuple[tar.Entry, t.Optional[t.Iterator[bytes]]]]:
        if os.path.isdir(self.source):
            with folder(self.source) as root:
                if self.packed:
                    yield self._made(self.prefix, self.attributes.mode_of(os.fstat(root))), None
                else:
                    yield from self._parent_entries(self.prefix.split("/") if self.prefix else [])
                yield from self._tree_entries(root)
        else:
            yield from self._parent_entries(self.prefix.split("/")[:-1])
            yield self._single_file()

    def _parent_entries(self, parts: t.Sequence[str]) -> t.Iterator[t.Tuple[tar.Entry, None]]:
        for number in range(len(parts) if self.parents else 0):
            yield self._made("/".join(parts[: number + 1]), _PARENT_MODE), None

    def _tree_entries(self, root: int) -> t.Iterator[t.Tuple[tar.Entry, t.Optional[t.Iterator[bytes]]]]:
        linked: t.Dict[t.Tuple[int, int], str] = {}
        for found in _walk(root, self.source, self.prefix, self.attributes.xattrs):
            kind = stat.S_IFMT(found.status.st_mode)
            if kind == stat.S_IFDIR:
                yield self._entry(found, tar.DIRECTORY), None
            elif kind == stat.S_IFLNK:
                yield self._entry(found, tar.SYMLINK, link=found.link), None
            else:
                identity = (found.status.st_dev, found.status.st_ino)
                several = found.status.st_nlink > 1 and not self.packed
                first = linked.setdefault(identity, found.name) if several else found.name
                if first != found.name:
                    yield self._entry(found, tar.HARD_LINK, link=first), None
                else:
                    yield self._entry(found, tar.FILE), _content(root, found, self.source)

    def _single_file(self) -> t.Tuple[tar.Entry, t.Iterator[bytes]]:
        file = open_regular(self.source)
        pax = pax_of(file.fileno(), self.source) if self.attributes.xattrs else {}
        found = _Found(_checked_name(self.prefix, self.source), (), os.fstat(file.fileno()), "", pax)
        return self._entry(found, tar.FILE), _exactly(file, found.status.st_size, self.source)

    def _entry(self, found: _Found, kind: str, link: str = "") -> tar.Entry:
        own = self.attributes
        mode = 0o777 if kind == tar.SYMLINK else own.mode_of(found.status)
        size = found.status.st_size if kind == tar.FILE else 0
        pax = {} if kind == tar.HARD_LINK else found.pax  # the file that it names has them
        return tar.Entry(found.name, kind, size, mode, *own.owner_of(found.status), own.mtime, link, pax)

    def _made(self, name: str, mode: int) -> tar.Entry:
        """A folder that is no part of the source tree."""
        own = self.attributes
        return tar.Entry(name, tar.DIRECTORY, 0, mode, own.uid or 0, own.gid or 0, own.mtime)


def _walk(root: int, source: str, prefix: str, xattrs: bool) -> t.Iterator[_Found]:
    """Everything below the folder, a folder before what is in it, names in the order of their bytes."""
    pending: t.List[t.Tuple[str, ...]] = [()]
    while pending:
        parts = pending.pop()
        if parts:
            found = _look(root, parts, source, prefix, xattrs)
            yield found
            if not stat.S_ISDIR(found.status.st_mode):
                continue
        with _opened_folder(root, parts) as descriptor:
            names = sorted(os.listdir(descriptor), key=os.fsencode, reverse=True)
        pending.extend((*parts, name) for name in names)


def _look(root: int, parts: t.Tuple[str, ...], source: str, prefix: str, xattrs: bool) -> _Found:
    shown = os.path.join(source, *parts)
    with _opened_folder(root, parts[:-1]) as parent:
        status = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        link = os.readlink(parts[-1], dir_fd=parent) if stat.S_ISLNK(status.st_mode) else ""
        refused = _REFUSED_KINDS.get(stat.S_IFMT(status.st_mode))
        if refused:
            raise InvalidError(f"{shown} is {refused}, which a layer cannot hold")
        pax = _attributes(parent, parts[-1], status, shown) if xattrs and not link else {}
    name = "/".join((prefix, *parts) if prefix else parts)
    return _Found(_checked_name(name, shown), parts, status, _checked_text(link, shown), pax)


def _attributes(parent: int, name: str, status: os.stat_result, shown: str) -> t.Dict[str, str]:
    descriptor = os.open(name, _OPEN_FOLDER if stat.S_ISDIR(status.st_mode) else _OPEN_FILE, dir_fd=parent)
    try:
        return pax_of(descriptor, shown)
    finally:
        os.close(descriptor)


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


@contextlib.contextmanager
def _opened_folder(root: int, parts: t.Sequence[str]) -> t.Iterator[int]:
    """The folder ``parts`` below ``root``, never through a link; any name that a file system allows."""
    descriptor = os.dup(root)
    try:
        for part in parts:
            child = os.open(part, _OPEN_FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = child
        yield descriptor
    finally:
        os.close(descriptor)


def _content(root: int, found: _Found, source: str) -> t.Iterator[bytes]:
    with _opened_folder(root, found.parts[:-1]) as parent:
        file = open(os.open(found.parts[-1], _OPEN_FILE, dir_fd=parent), "rb", buffering=0)
    return _exactly(file, found.status.st_size, os.path.join(source, *found.parts))


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


def _exactly(file: t.BinaryIO, size: int, path: str) -> t.Iterator[bytes]:
    """The file's bytes. Raises InvalidError when it has changed its size since its header was written."""
    left = size
    with file:
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                break
            left -= len(chunk)
            yield chunk
        if left or file.read(1):
            raise InvalidError(f"{path} changed its size while it was read: run again when nobody writes it")


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


@dataclass(frozen=True)
class Compressed:
    """A compressed tar: digest and size of the blob, and the digest of the tar in it (the layer's diff_id)."""

    digest: Digest
    size: int
    content_digest: Digest


def content_digest(write_tar: t.Callable[[Sink], None]) -> Digest:
    """The digest of the uncompressed tar."""
    hashed = Digesting()
    write_tar(hashed)
    return hashed.digest


def compress(write_tar: t.Callable[[Sink], None], sink: Sink, codec: str = GZIP, level: t.Optional[int] = None) -> Compressed:
    """Write the tar, compressed, to ``sink``, and say what it was: one pass over the content. ``codec`` and ``level`` as Deflater's."""
    blob = Digesting(sink)
    deflater = Deflater(blob, codec, level)
    content = Digesting(deflater)
    write_tar(content)
    deflater.finish()
    return Compressed(blob.digest, blob.size, content.digest)


def file_digest(path: str) -> t.Tuple[Digest, int]:
    """Digest and size of a file as it is. Raises NotFoundError, InvalidError, StorageError."""
    hashed, key = Digesting(), object()
    with storage_errors(f"reading {path}"), open_regular(path) as file:
        PROGRESS.expect_bytes(key, lambda: os.fstat(file.fileno()).st_size)
        for chunk in iter(lambda: file.read(CHUNK), b""):
            hashed.write(chunk)
            PROGRESS.reached(key, hashed.size)
    return hashed.digest, hashed.size

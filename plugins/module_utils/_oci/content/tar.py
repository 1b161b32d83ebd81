# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Tar records (POSIX.1-2001 pax, ustar, GNU): our own, because both directions carry guarantees that ``tarfile`` does not give.

Written: the same entry is the same bytes on every Python. Read: sizes and headers are capped, nothing is ever extracted here.
"""

from __future__ import annotations

import functools
import re
import struct
import types
import typing as t

from ..spec.errors import InvalidError

BLOCK = 512
END = bytes(2 * BLOCK)
_MAX_HEADER = 1024 * 1024  # bytes of extended headers before one entry
_MAX_GLOBAL = 16 * 1024  # characters that hold for every entry, and so are handled with each
_PLAIN_OCTAL = re.compile(rb"([0-7]+)[\0 ]*").fullmatch
_MAX_OCTAL = {8: 0o7777777, 12: 0o77777777777}
_NUMBERS = 1024  # as read from fields; most members of a tar have the modes, owners and times of others
_NOTHING = bytes(BLOCK)
# Name, mode, uid, gid, size, mtime, checksum, kind, link, magic, device's major and minor, prefix.
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s6s66x8s8s155s12x").unpack

FILE, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = "0", "1", "2", "3", "4", "5", "6"
_OLD_FILE, _CONTIGUOUS, _GNU_LONG_NAME, _GNU_LONG_LINK, _GNU_SPARSE, _PAX, _PAX_GLOBAL = "\0", "7", "L", "K", "S", "x", "g"
TYPE_NAMES = {CHARACTER: "a character device", BLOCK_DEVICE: "a block device", FIFO: "a FIFO", _GNU_SPARSE: "a sparse file"}


class Entry(t.NamedTuple):
    """One member. ``kind`` is the ustar type flag; ``mtime`` in whole seconds; ``offset`` of its content when it was read;
    ``device``: major and minor number of a device that was read."""

    name: str
    kind: str = FILE
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    link: str = ""
    pax: t.Mapping[str, str] = types.MappingProxyType({})
    offset: int = 0
    device: t.Tuple[int, int] = (0, 0)


class Stream(t.Protocol):
    """What ``members`` reads from: ``read(n)`` as files do."""

    def read(self, size: int) -> bytes: ...


def padding(size: int) -> int:
    """Bytes that follow content of ``size`` bytes up to the next record."""
    return -size % BLOCK


def encode(entry: Entry) -> bytes:
    """The header records of ``entry`` (a pax record before it where ustar has no room). The content and its padding follow."""
    name = entry.name + "/" if entry.kind == DIRECTORY and not entry.name.endswith("/") else entry.name
    pax = dict(entry.pax)
    encoded_name, encoded_link = name.encode("utf-8", "surrogateescape"), entry.link.encode("utf-8", "surrogateescape")
    if len(encoded_name) > 100 or not encoded_name.isascii():
        pax["path"] = name
    if len(encoded_link) > 100 or not encoded_link.isascii():
        pax["linkpath"] = entry.link
    numbers = {"size": (entry.size, 12), "uid": (entry.uid, 8), "gid": (entry.gid, 8), "mtime": (entry.mtime, 12)}
    for key, (value, width) in numbers.items():
        if not 0 <= value <= _MAX_OCTAL[width]:
            pax[key] = str(value)
    header = _ustar(encoded_name, encoded_link, entry, {key: 0 if key in pax else value for key, (value, _w) in numbers.items()})
    return _pax_records(pax) + header


def _pax_records(pax: t.Mapping[str, str]) -> bytes:
    if not pax:
        return b""
    body = b"".join(_pax_record(key, value) for key, value in sorted(pax.items()))
    header = Entry(name="././@PaxHeader", kind=_PAX, size=len(body))
    numbers = {"size": len(body), "uid": 0, "gid": 0, "mtime": 0}
    return _ustar(header.name.encode("ascii"), b"", header, numbers) + body + bytes(padding(len(body)))


def _pax_record(key: str, value: str) -> bytes:
    rest = b" " + key.encode("utf-8", "surrogateescape") + b"=" + value.encode("utf-8", "surrogateescape") + b"\n"
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode("ascii") + rest


def _ustar(name: bytes, link: bytes, entry: Entry, numbers: t.Mapping[str, int]) -> bytes:
    mode = entry.mode & 0o7777
    fields = (
        name[:100].ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % numbers["uid"],
        b"%07o\0" % numbers["gid"],
        b"%011o\0" % numbers["size"],
        b"%011o\0" % numbers["mtime"],
        b" " * 8,
        entry.kind.encode("ascii"),
        link[:100].ljust(100, b"\0"),
        b"ustar\00000",
        bytes(32 + 32 + 8 + 8 + 155 + 12),
    )
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


class Cursor:
    """A stream that knows where it is, and skips by seeking when the stream can."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._seek = getattr(stream, "seek", None)
        self.position = 0

    def exactly(self, size: int, what: str) -> bytes:
        # Nearly always it is all there at once.
        chunk = self._stream.read(size) if size else b""
        if len(chunk) == size:
            self.position += size
            return chunk
        parts, left = [chunk], size - len(chunk)
        while left:
            chunk = self._stream.read(left) if parts[-1] else b""
            if not chunk:
                beginning = "the tar is" if self.position >= BLOCK else "this is no tar, or one that is"
                raise InvalidError(f"{beginning} cut short in {what}")
            parts.append(chunk)
            left -= len(chunk)
        self.position += size
        return b"".join(parts)

    def header(self) -> bytes:
        """The next record, or b'' at a clean end without end records (some writers omit them)."""
        first = self._stream.read(BLOCK)
        if not first:
            return b""
        self.position += len(first)
        return first + (self.exactly(BLOCK - len(first), "a header") if len(first) < BLOCK else b"")

    def skip_to(self, position: int) -> None:
        if self._seek is not None:
            self._seek(position)
            self.position = position
        while self.position < position:
            self.exactly(min(position - self.position, _MAX_HEADER), "an entry's content")

    def pieces(self, size: int, largest: int) -> t.Iterator[bytes]:
        """The next ``size`` bytes, in pieces of at most ``largest``."""
        while size > 0:
            piece = self.exactly(min(size, largest), "an entry's content")
            size -= len(piece)
            yield piece


class TarReader:
    """Iterates over a tar's entries, in order, with the offset of each one's content; ``read`` gives the current entry's content.

    ``length``, when known, is the whole tar's size: an entry that reaches past it is refused. Raises InvalidError for what is broken.
    ``ended``: whether the record of zeros came that ends a tar.
    """

    ended = False

    def __init__(self, stream: Stream, length: t.Optional[int] = None) -> None:
        self._cursor = Cursor(stream)
        self._length = length
        self._content_end = 0
        self._next_header = 0

    def __iter__(self) -> t.Iterator[Entry]:
        global_pax: t.Dict[str, str] = {}
        while True:
            entry = self._next(global_pax)
            if entry is None:
                return
            yield entry

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes of the current entry's content, b'' at its end."""
        left = min(size, self._content_end - self._cursor.position)
        return self._cursor.exactly(left, "an entry's content") if left > 0 else b""

    def _next(self, global_pax: t.Dict[str, str]) -> t.Optional[Entry]:
        pax: t.Dict[str, str] = {}
        overrides: t.Dict[str, str] = {}
        left = _MAX_HEADER
        while True:
            self._cursor.skip_to(self._next_header)
            header = self._cursor.header()
            if not header or header == _NOTHING:
                self.ended = bool(header)
                return None
            entry = _decode(header)
            if entry.kind in (_PAX, _PAX_GLOBAL, _GNU_LONG_NAME, _GNU_LONG_LINK):
                body = self._header_body(entry, left)
                left -= len(body) + BLOCK
                if entry.kind == _PAX:
                    pax.update(_parse_pax(body))
                elif entry.kind == _PAX_GLOBAL:
                    global_pax.update(_parse_pax(body))
                    _check_global(global_pax)
                else:
                    key = "path" if entry.kind == _GNU_LONG_NAME else "linkpath"
                    overrides[key] = body.rstrip(b"\0").decode("utf-8", "surrogateescape")
                continue
            return self._finish(entry, {**global_pax, **overrides, **pax} if global_pax or overrides or pax else {})

    def _header_body(self, entry: Entry, left: int) -> bytes:
        if not 0 <= entry.size <= left:
            raise InvalidError(f"the tar has an extended header of {entry.size} bytes (limit {_MAX_HEADER} before one entry)")
        body = self._cursor.exactly(entry.size, "an extended header")
        self._next_header = self._cursor.position + padding(entry.size)
        return body

    def _finish(self, entry: Entry, pax: t.Dict[str, str]) -> Entry:
        size = _pax_number(pax, "size", entry.size) if pax else entry.size
        if entry.kind == _GNU_SPARSE or (pax and any(key.startswith("GNU.sparse.") for key in pax)):
            raise InvalidError(f"the tar has a sparse file, which is not supported: {pax.get('path', entry.name)!r}")
        if entry.kind not in (FILE, _OLD_FILE, _CONTIGUOUS):
            # Only files have content that follows; POSIX says to ignore the size of the others.
            size = 0
        offset = self._cursor.position
        if size < 0 or (self._length is not None and offset + size > self._length):
            told = f"{pax.get('path', entry.name)!r} has {size} bytes at {offset}, and it ends at {self._length}"
            raise InvalidError(f"the tar is cut short (copy it here once more), or lies: {told}")
        self._content_end = offset + size
        self._next_header = self._content_end + padding(size)
        name = pax.get("path", entry.name)
        kind = entry.kind
        if kind in (FILE, _OLD_FILE, _CONTIGUOUS):
            # Old tars mark a folder by a trailing slash only.
            kind = DIRECTORY if name.endswith("/") and size == 0 else FILE
        uid, gid, mtime, link = entry.uid, entry.gid, entry.mtime, entry.link
        if pax:
            uid, gid, mtime = (_pax_number(pax, key, number) for key, number in (("uid", uid), ("gid", gid), ("mtime", mtime)))
            link = pax.get("linkpath", link)
        return Entry(name, kind, size, entry.mode, uid, gid, mtime, link, pax, offset, entry.device)


def check_header(record: bytes) -> None:
    """Refuse what cannot be the first record of a tar; an empty tar starts with a record of zeros."""
    if len(record) != BLOCK:
        raise InvalidError(f"this is no tar: it has {len(record)} bytes")
    if record != bytes(BLOCK):
        _decode(record)


def _decode(header: bytes) -> Entry:
    name, mode, uid, gid, size, mtime, checksum, kind, link, magic, major, minor, prefix = _FIELDS(header)
    if _number(checksum) != sum(header) - sum(checksum) + 8 * 0x20:
        raise InvalidError("this is no tar, or a broken one: a header's checksum is wrong")
    text, kind = _text(name), chr(kind[0])
    if magic == b"ustar\0" and prefix[0]:
        text = _text(prefix) + "/" + text
    device = (_number(major), _number(minor)) if kind in (CHARACTER, BLOCK_DEVICE) else (0, 0)
    mode, uid, gid, size, mtime = _number(mode) & 0o7777, _number(uid), _number(gid), _number(size), _number(mtime)
    return Entry(text, kind, size, mode, uid, gid, mtime, _text(link) if link[0] else "", device=device)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


@functools.lru_cache(maxsize=_NUMBERS)
def _number(raw: bytes) -> int:
    """Octal, or GNU's base-256 when the first byte's high bit is set."""
    if raw[0] & 0x80:
        return int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big") if raw[0] != 0xFF else int.from_bytes(raw, "big", signed=True)
    found = _PLAIN_OCTAL(raw)
    if found is not None:
        return int(found[1], 8)
    digits = raw.strip(b"\0 ")
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise InvalidError("this is no tar, or a broken one: in a header there is text where a number belongs")
    return int(digits, 8)


def _pax_number(pax: t.Mapping[str, str], key: str, otherwise: int) -> int:
    text = pax.get(key)
    if text is None:
        return otherwise
    whole = text.partition(".")[0]
    digits = whole[1:] if whole.startswith("-") else whole
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
        raise InvalidError(f"the tar has a pax {key} that is not a number: {text[:40]!r}")
    return int(whole)


def _check_global(pax: t.Mapping[str, str]) -> None:
    if sum(len(key) + len(value) for key, value in pax.items()) > _MAX_GLOBAL:
        raise InvalidError(f"the tar has global headers of more than {_MAX_GLOBAL} characters")


def _parse_pax(body: bytes) -> t.Dict[str, str]:
    found: t.Dict[str, str] = {}
    start = 0
    while start < len(body):
        space = body.find(b" ", start, start + 9)
        digits = body[start : max(space, start)]
        if not digits.isdigit():
            raise InvalidError("the tar has a broken pax header")
        end = start + int(digits)
        key, equals, value = body[space + 1 : end].partition(b"=")
        if not equals or not value.endswith(b"\n") or end > len(body):
            raise InvalidError("the tar has a broken pax header")
        found[key.decode("utf-8", "surrogateescape")] = value[:-1].decode("utf-8", "surrogateescape")
        start = end
    return found

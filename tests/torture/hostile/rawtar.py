# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tar records as ``tarfile`` would never write them: every field is what the test says, the checksum is right."""

from __future__ import annotations

import typing as t

BLOCK = 512
END = bytes(2 * BLOCK)
FILE, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
Text = t.Union[str, bytes]


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def header(
    name: Text, kind: bytes = FILE, size: t.Union[int, bytes] = 0, mode: int = 0o644, link: Text = b"", uid: int = 0, prefix: Text = b""
) -> bytes:
    """One record. ``size``: a number, or the 12 bytes of the field."""
    fields = (
        _bytes(name)[:100].ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % uid,
        b"%07o\0" % uid,
        size if isinstance(size, bytes) else b"%011o\0" % size,
        b"%011o\0" % 0,
        b" " * 8,
        kind,
        _bytes(link)[:100].ljust(100, b"\0"),
        b"ustar\00000",
        bytes(64),
        b"%07o\0" % (1 if kind in (CHARACTER, BLOCK_DEVICE) else 0),
        b"%07o\0" % (3 if kind in (CHARACTER, BLOCK_DEVICE) else 0),
        _bytes(prefix)[:155].ljust(155, b"\0"),
        bytes(12),
    )
    record = b"".join(fields)
    return record[:148] + b"%06o\0 " % sum(record) + record[156:]


def file(name: Text, content: bytes = b"content", mode: int = 0o644) -> bytes:
    return header(name, FILE, len(content), mode) + padded(content)


def folder(name: Text, mode: int = 0o755) -> bytes:
    return header(name, FOLDER, mode=mode)


def symlink(name: Text, target: Text) -> bytes:
    return long_names(link=target) + header(name, SYMLINK, link=target, mode=0o777)


def hard_link(name: Text, target: Text) -> bytes:
    return long_names(link=target) + header(name, HARD_LINK, link=target)


def long_names(name: Text = b"", link: Text = b"") -> bytes:
    """GNU's records for what is longer than its field."""
    found = b""
    for kind, text in ((b"L", _bytes(name)), (b"K", _bytes(link))):
        if len(text) > 100:
            found += header("././@LongLink", kind, len(text) + 1) + padded(text + b"\0")
    return found


def pax(records: t.Mapping[str, Text], kind: bytes = b"x") -> bytes:
    body = b"".join(pax_record(_bytes(key), _bytes(value)) for key, value in records.items())
    return header("././@PaxHeader", kind, len(body)) + padded(body)


def pax_record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return b"%d" % length + rest


def whole(*records: bytes) -> bytes:
    return b"".join(records) + END

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds of every tar and of every compressed stream."""

from __future__ import annotations

import contextlib
import io
import tarfile
import typing as t

import pytest

pytest.importorskip("hypothesis")

from ansible_collections.lading.oci.plugins.module_utils._oci.content import codec, tar
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, OCIError
from hypothesis import given, settings
from hypothesis import strategies as st

steady = settings(max_examples=60, deadline=None, derandomize=True, database=None)

PARTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="/\0"), min_size=1, max_size=60)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(lambda path: len(path.encode()) < 1000)
NUMBERS = st.integers(0, 2**40)


@st.composite
def entries(draw: t.Any) -> t.Tuple[tar.Entry, bytes]:
    kind = draw(st.sampled_from([tar.FILE, tar.DIRECTORY, tar.SYMLINK]))
    content = draw(st.binary(max_size=700)) if kind == tar.FILE else b""
    link = draw(PATHS) if kind == tar.SYMLINK else ""
    owner = {"uid": draw(NUMBERS), "gid": draw(NUMBERS), "mtime": draw(NUMBERS), "mode": draw(st.integers(0, 0o7777))}
    return tar.Entry(draw(PATHS), kind, len(content), link=link, **owner), content


def written(members: t.Sequence[t.Tuple[tar.Entry, bytes]]) -> bytes:
    return b"".join(tar.encode(entry) + content + bytes(tar.padding(len(content))) for entry, content in members) + tar.END


def fields(entry: tar.Entry) -> t.Tuple[t.Any, ...]:
    return entry.name.rstrip("/"), entry.kind, entry.size, entry.mode, entry.uid, entry.gid, entry.mtime, entry.link


@steady
@given(st.lists(entries(), max_size=4))
def test_what_is_written_is_read_back(members: t.List[t.Tuple[tar.Entry, bytes]]) -> None:
    whole = written(members)
    assert whole == written(members) and len(whole) % tar.BLOCK == 0
    for length in (None, len(whole)):
        reader = tar.TarReader(io.BytesIO(whole), length)
        found = [(entry, reader.read(300) + reader.read(500)) for entry in reader]
        assert [(fields(entry), content) for entry, content in found] == [(fields(entry), content) for entry, content in members]
        assert all(whole[entry.offset : entry.offset + entry.size] == content for entry, content in found)


@steady
@given(st.lists(entries(), max_size=4))
def test_python_reads_the_same(members: t.List[t.Tuple[tar.Entry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(members))) as archive:
        found = [(m.name, m.size, m.mode, m.uid, m.gid, int(m.mtime), m.linkname) for m in archive.getmembers()]
    assert found == [
        (entry.name.rstrip("/"), entry.size, entry.mode, entry.uid, entry.gid, entry.mtime, entry.link) for entry, _content in members
    ]


@steady
@given(st.lists(entries(), min_size=1, max_size=3), st.data())
def test_a_damaged_tar_gives_no_member_beyond_its_end(members: t.List[t.Tuple[tar.Entry, bytes]], data: st.DataObject) -> None:
    whole = bytearray(written(members))
    for _change in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        for entry in tar.TarReader(io.BytesIO(content), len(content)):
            assert entry.offset >= 0 and entry.size >= 0 and entry.offset + entry.size <= len(content)
    except OCIError:
        pass


@steady
@given(st.binary(max_size=1100))
def test_any_bytes_end(content: bytes) -> None:
    try:
        assert len(list(tar.TarReader(io.BytesIO(content), len(content)))) <= 2
        tar.check_header(content[: tar.BLOCK])
    except OCIError:
        pass


@steady
@given(st.dictionaries(PARTS.map(lambda text: text.replace("=", "_")), PARTS, max_size=4))
def test_pax_records_are_read_back(records: t.Dict[str, str]) -> None:
    assert tar._parse_pax(b"".join(tar._pax_record(key, value) for key, value in records.items())) == records


@steady
@given(st.binary(max_size=3000), st.sampled_from([codec.GZIP, codec.ZSTD, codec.NONE]), st.lists(st.integers(1, 500), max_size=5))
def test_what_is_deflated_is_inflated(content: bytes, name: str, cuts: t.List[int]) -> None:
    pytest.importorskip("zstandard")

    def deflated(pieces: t.Sequence[int]) -> bytes:
        sink, at = io.BytesIO(), 0
        deflater = codec.Deflater(sink, name)
        for size in pieces:
            deflater.write(content[at : at + size])
            at += size
        deflater.write(content[at:])
        deflater.finish()
        return sink.getvalue()

    whole = deflated(cuts)
    assert whole == deflated([])  # the pieces do not show
    if name != codec.NONE:
        assert b"".join(codec.inflated(io.BytesIO(whole * 2), name, "x")) == content * 2
        with pytest.raises(InvalidError, match="ends too early"):
            b"".join(codec.inflated(io.BytesIO(whole[:-1]), name, "x"))


@steady
@given(st.sampled_from([b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh9"]), st.binary(max_size=200))
def test_any_stream_ends(magic: bytes, content: bytes) -> None:
    pytest.importorskip("zstandard")
    stream = codec.plain(io.BytesIO(magic + content), "x")
    with contextlib.suppress(OCIError):
        assert all(len(chunk) <= 64 for chunk in iter(lambda: stream.read(64), b""))

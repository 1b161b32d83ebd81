# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Compressions: streams inflated with their end checked and their growth bounded, and deflated so that equal content is equal bytes."""

from __future__ import annotations

import bz2
import lzma
import typing as t
import zlib

from ..spec.errors import InvalidError
from . import gzip_blocks
from .compression import BZIP2, DEFAULT_LEVELS, GZIP, MAX_RATIO, NONE, XZ, ZSTD, Block, check_level
from .store import CHUNK

GZIP_MAGIC = b"\x1f\x8b"
_MAGICS = {GZIP_MAGIC: GZIP, b"\x28\xb5\x2f\xfd": ZSTD, b"\xfd7zXZ\x00": XZ, b"BZh": BZIP2}
MAGIC_SIZE = 6  # bytes that ``sniff`` wants to see
_FREE = 256 * 1024 * 1024
_INPUT = 64 * 1024
# The library ``zstandard`` bounds no output: this much input cannot become more than some 16 MiB, which it holds twice.
_UNBOUNDED_INPUT = 512
_XZ_MEMORY = 96 * 1024 * 1024  # xz -9 needs 65 MiB; what claims more is out for the memory
_GZIP_WINDOW = 31  # zlib's window bits for a gzip stream: mtime 0, no name


class Readable(t.Protocol):
    """What can be read from, in pieces of any size."""

    def read(self, size: int) -> bytes: ...


class Writable(t.Protocol):
    """Where bytes go."""

    def write(self, content: bytes) -> object: ...


class _Decoder(t.Protocol):
    """One member of a stream: ``decode`` gives at most CHUNK bytes (as far as the library can bound them), b'' when it wants input."""

    def decode(self, data: bytes) -> bytes: ...

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...


def sniff(head: bytes) -> str:
    """The compression that content begins with; NONE for what is not compressed, or not known."""
    return next((codec for magic, codec in _MAGICS.items() if head.startswith(magic)), NONE)


def inflated(stream: Readable, codec: str, what: str, max_ratio: int = MAX_RATIO) -> t.Iterator[bytes]:
    """The content of a compressed stream; of several members one after the other, as the tools write them.

    Raises InvalidError, naming ``what``, when it is broken, cut short, a decompression bomb, or needs a library that is missing.
    """
    make, broken, piece = _decoder(codec, what)
    taken = given = 0
    decoder: t.Optional[_Decoder] = make()
    data = b""
    try:
        while True:
            if not data and (decoder is None or decoder.needs_input):
                data = stream.read(piece)
                taken += len(data)
                if not data:
                    break
            if decoder is None:
                data = data.lstrip(b"\0")  # what pads a file to the blocks of a tape
                if not data:
                    continue
                decoder = make()
            chunk = decoder.decode(data)
            data = b""
            given += len(chunk)
            if given > _FREE and given > max_ratio * taken:
                raise InvalidError(f"{what} inflates more than {max_ratio} times: refused as a decompression bomb")
            if chunk:
                yield chunk
            if decoder.eof:
                data, decoder = decoder.unused_data, None
    except broken as error:
        raise InvalidError(f"{what} is broken {codec}: {error}") from error
    if decoder is not None:
        raise InvalidError(f"{what} is broken {codec}: it ends too early")


class _Zlib:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_WINDOW)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    def decode(self, data: bytes) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, CHUNK)


class _Bounded:
    """The decompressors of the standard library, and those of zstd that are made like them."""

    def __init__(self, inner: t.Any) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return t.cast(bytes, self._inner.unused_data)

    @property
    def needs_input(self) -> bool:
        return bool(self._inner.needs_input)

    def decode(self, data: bytes) -> bytes:
        return t.cast(bytes, self._inner.decompress(data, CHUNK))


class _Unbounded:
    """``zstandard``'s."""

    needs_input = True

    def __init__(self, inner: t.Any) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return t.cast(bytes, self._inner.unused_data)

    def decode(self, data: bytes) -> bytes:
        return t.cast(bytes, self._inner.decompress(data))


def _decoder(codec: str, what: str) -> t.Tuple[t.Callable[[], _Decoder], t.Tuple[t.Type[Exception], ...], int]:
    """Makes the decoder of one member; what it raises for broken data; how much input it takes at once."""
    if codec == GZIP:
        return _Zlib, (zlib.error,), _INPUT
    if codec == XZ:
        return lambda: _Bounded(lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)), (lzma.LZMAError, EOFError), _INPUT
    if codec == BZIP2:
        return lambda: _Bounded(bz2.BZ2Decompressor()), (OSError, EOFError, ValueError), _INPUT
    if codec != ZSTD:
        raise InvalidError(f"{what} has a compression that is not known: {codec}")
    library, streaming = _zstd(what)
    if streaming:
        return lambda: _Bounded(library.ZstdDecompressor()), (library.ZstdError, EOFError), _INPUT
    return lambda: _Unbounded(library.ZstdDecompressor().decompressobj()), (library.ZstdError,), _UNBOUNDED_INPUT


def _zstd(what: str) -> t.Tuple[t.Any, bool]:
    """The zstd library that is here, and whether it is made like the standard library's."""
    try:
        from compression import zstd  # Python 3.14

        return zstd, True
    except ImportError:
        pass
    try:
        from backports import zstd as backport

        return backport, True
    except ImportError:
        pass
    try:
        import zstandard

        return zstandard, False
    except ImportError:
        raise InvalidError(
            f"{what} needs zstd, for which the target has no Python library: install backports.zstd or zstandard there"
        ) from None


class Deflater:
    """Compresses what is written to ``sink``; ``finish`` ends the stream. GZIP or ZSTD, or NONE, which passes it on.

    The same content gives the same bytes with the same library, whatever the pieces and the number of processors. ``level`` None is
    the codec's default. ``reuse``: blocks of gzip whose compressed form is at hand. ``sink`` is written to by one thread at a time,
    which need not be that of ``write``. Raises InvalidError for a level that the codec has not, and for ZSTD where the target has no
    library for it.
    """

    def __init__(
        self, sink: Writable, codec: str = GZIP, level: t.Optional[int] = None, reuse: t.Optional[gzip_blocks.Reuse] = None
    ) -> None:
        check_level(codec, level, "the level")
        chosen = DEFAULT_LEVELS.get(codec, 0) if level is None else level
        self._sink = sink
        self._blocks = gzip_blocks.GzipBlocks(sink, chosen, reuse) if codec == GZIP else None
        self._inner = _compressor(codec, chosen) if codec != GZIP else None

    @property
    def blocks(self) -> t.Sequence[Block]:
        """Those of a gzip stream that is finished."""
        return self._blocks.blocks if self._blocks is not None else ()

    def write(self, content: bytes) -> None:
        if self._blocks is not None:
            self._blocks.write(content)
        else:
            self._sink.write(self._inner.compress(content) if self._inner is not None else content)

    def finish(self) -> None:
        if self._blocks is not None:
            self._blocks.finish()
        elif self._inner is not None:
            self._sink.write(self._inner.flush())


def _compressor(codec: str, level: int) -> t.Any:
    if codec == NONE:
        return None
    if codec != ZSTD:
        raise InvalidError(f"layers are not compressed with {codec}")
    library, streaming = _zstd("compressing")
    return library.ZstdCompressor(level=level) if streaming else library.ZstdCompressor(level=level).compressobj()


class Joined:
    """Pieces as a stream: ``read(n)`` gives at most n bytes, b'' at the end."""

    def __init__(self, pieces: t.Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._start = 0

    def read(self, size: int) -> bytes:
        while self._start >= len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._piece, self._start = piece, 0
        start = self._start
        self._start = start + size
        return self._piece[start : self._start]


def peeked(stream: Readable) -> t.Tuple[str, Readable]:
    """The compression of a stream that cannot be rewound, and the stream from its start."""
    head = b""
    while len(head) < MAGIC_SIZE:
        chunk = stream.read(MAGIC_SIZE - len(head))
        if not chunk:
            break
        head += chunk
    return sniff(head), Joined(_pieces(head, stream))


def _pieces(head: bytes, stream: Readable) -> t.Iterator[bytes]:
    yield head
    yield from iter(lambda: stream.read(CHUNK), b"")


def plain(stream: Readable, what: str, max_ratio: int = MAX_RATIO) -> Readable:
    """The uncompressed content of a stream, whatever its compression, which its first bytes tell. Errors as ``inflated``."""
    codec, whole = peeked(stream)
    return whole if codec == NONE else Joined(inflated(whole, codec, what, max_ratio))

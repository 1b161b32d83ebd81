# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Layers that are tars already. What reads them is imported when there is one."""

from __future__ import annotations

from dataclasses import dataclass

from .content import tar
from .content.store import CHUNK
from .layer import Compressed, Digesting, Sink, file_digest, open_regular
from .spec.errors import InvalidError, storage_errors

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd", ".tzst", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz")


@dataclass(frozen=True)
class GivenTar:
    """A tar file, with any compression that ``codec`` can read."""

    path: str

    @property
    def codec(self) -> str:
        """Its compression, as its first bytes tell it."""
        from .content.codec import MAGIC_SIZE, sniff

        with storage_errors(f"reading {self.path}"), open_regular(self.path) as file:
            return sniff(file.read(MAGIC_SIZE))

    def write_tar(self, sink: Sink) -> None:
        """The uncompressed tar. Raises InvalidError when the file is no tar, or a broken one."""
        from .content.codec import plain

        checked = _Checked(sink)
        with storage_errors(f"reading {self.path}"), open_regular(self.path) as file:
            stream = plain(file, self.path)
            for chunk in iter(lambda: stream.read(CHUNK), b""):
                checked.write(chunk)
        checked.finish(self.path)

    def measure(self) -> Compressed:
        """Digest and size of the file as it is, digest of the tar in it."""
        content = Digesting()
        self.write_tar(content)
        digest, size = file_digest(self.path)
        return Compressed(digest, size, content.digest)


class _Checked:
    """Passes a tar on, after a look at its first header."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._head = b""

    def write(self, content: bytes) -> None:
        if len(self._head) < tar.BLOCK:
            self._head += content[: tar.BLOCK - len(self._head)]
        self._sink.write(content)

    def finish(self, path: str) -> None:
        try:
            tar.check_header(self._head)
        except InvalidError as error:
            raise InvalidError(f"{path}: {error.message}") from error

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""New content over the store that it was built on: what a build has made, before it is copied to its place."""

from __future__ import annotations

import io
import os
import typing as t

from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import storage_errors
from .beneath import nameless_file
from .slices import Slice
from .store import Fetcher, RawReader

# Opens the content from its start; may be called from several threads.
OpenContent = t.Callable[[], RawReader]


class Spool:
    """Where a build puts large content: near ``path``, which may not exist yet. None keeps nothing (check mode: only hashed, counted)."""

    def __init__(self, path: t.Optional[str]) -> None:
        self._path = None if path is None else os.path.abspath(path)

    @property
    def keeps(self) -> bool:
        """Whether what is written can be read again."""
        return self._path is not None

    def open(self) -> t.BinaryIO:
        """A file to write to."""
        if self._path is None:
            return t.cast(t.BinaryIO, _Discard())
        with storage_errors(f"making a temporary file for {self._path}"):
            return nameless_file(self._path)


class _Discard(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, content: t.Any) -> int:
        return len(content)


class Overlay(Fetcher):
    """``add`` content, read it back; what was not added is the base's."""

    def __init__(self, base: Fetcher) -> None:
        self._base = base
        self._added: t.Dict[Digest, OpenContent] = {}
        self._files: t.Dict[Digest, t.BinaryIO] = {}

    def add(self, desc: Descriptor, content: OpenContent) -> None:
        self._added[desc.digest] = content

    def add_bytes(self, desc: Descriptor, content: bytes) -> None:
        self.add(desc, lambda: io.BytesIO(content))

    def add_spooled(self, desc: Descriptor, file: t.BinaryIO) -> None:
        """A file of the Spool, written to its end; it was hashed on the way."""
        file.flush()
        self._files[desc.digest] = file
        self.add(desc, lambda: Slice(file.fileno(), 0, desc.size))

    def origin(self, desc: Descriptor) -> Fetcher:
        return self if desc.digest in self._added else self._base.origin(desc)

    def made(self, desc: Descriptor) -> bool:
        """True for content that was added, False for the base's."""
        return desc.digest in self._added

    def nameless(self, desc: Descriptor) -> t.Optional[int]:
        file = self._files.get(desc.digest)
        return file.fileno() if file is not None and not isinstance(file, _Discard) else None

    def _exists(self, desc: Descriptor) -> bool:
        return desc.digest in self._added or self._base.exists(desc)

    def _open(self, desc: Descriptor) -> RawReader:
        content = self._added.get(desc.digest)
        return content() if content is not None else self._base._open(desc)

    def _open_at(self, desc: Descriptor, offset: int) -> RawReader:
        return super()._open_at(desc, offset) if self.made(desc) else self._base._open_at(desc, offset)

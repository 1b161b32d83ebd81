# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The layers of an image: fetched, verified against their descriptors and diff_ids, and read into one tree."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from dataclasses import replace

from ..content import tar
from ..content.store import Fetcher
from ..copy import run_all
from ..plaintar import Limits, PlainTar
from ..selection import reading
from ..spec import mediatype
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import NotFoundError, located, storage_errors
from .entries import Listing
from .image import Image
from .members import parse_member
from .tree import Tree


class Layers:
    """Fetches each blob once at most; ``fetched`` says which. Closing it lets the fetched content go.

    With ``scratch``, which makes a file without a name, content is kept there for ``contents``; without it nothing is written
    anywhere (check mode). The limits are those of all layers together, only the ratio is each one's.
    """

    def __init__(self, src: Fetcher, image: Image, limits: Limits, scratch: t.Optional[t.Callable[[], t.BinaryIO]]) -> None:
        self._src = src
        self._image = image
        self._limits = limits
        self._scratch = scratch
        self._files: t.Dict[Digest, t.BinaryIO] = {}
        self.fetched: t.Dict[Digest, Descriptor] = {}

    def listing(self, concurrency: int) -> Listing:
        """What all layers add up to. Raises InvalidError for a member that is not to be unpacked: nothing was written."""
        if self._scratch is not None:
            self.fetch(range(len(self._image.layers)), concurrency)
        tree, left = Tree(self._limits.entries), self._limits.bytes
        for number in range(len(self._image.layers)):
            left = self._read_into(tree, number, left)
        return tree.listing()

    def fetch(self, numbers: t.Iterable[int], concurrency: int) -> None:
        """Have the verified content of these layers at hand."""
        missing = {self._image.layers[number].digest: number for number in numbers}
        stop = threading.Event()
        run_all(
            lambda number: self._fetch(number, stop),
            [missing[digest] for digest in missing if digest not in self._files],
            concurrency,
            stop,
        )

    def _fetch(self, number: int, stop: threading.Event) -> None:
        desc = self._image.layers[number]
        if stop.is_set() or self._scratch is None:
            return
        try:
            file = self._files[desc.digest] = self._scratch()
            with self._reading(number), self._src.fetch(desc) as reader:
                reader.stop = stop
                with storage_errors(f"writing a temporary file for the layer {desc.digest}"):
                    for chunk in reader.chunks():
                        file.write(chunk)
                    file.flush()
            self.fetched[desc.digest] = desc
        except BaseException:
            stop.set()
            raise

    @contextlib.contextmanager
    def _reading(self, number: int) -> t.Iterator[None]:
        """Errors say which layer it is."""
        desc = self._image.layers[number]
        with reading(self._src, f"layer {number + 1} of {len(self._image.layers)}"):
            try:
                yield
            except NotFoundError as error:
                if mediatype.is_nondistributable(desc.media_type):
                    error.message += (
                        f" (it is {desc.media_type}, a layer that registries and copies leave out: put it into the source, "
                        "or use a source that has it)"
                    )
                raise

    @contextlib.contextmanager
    def _opened(self, number: int) -> t.Iterator[t.Any]:
        desc = self._image.layers[number]
        file = self._files.get(desc.digest)
        if file is not None:
            file.seek(0)
            yield file
            return
        with self._src.fetch(desc) as reader:
            self.fetched[desc.digest] = desc
            yield reader

    def _read_into(self, tree: Tree, number: int, left: int) -> int:
        """Returns the bytes that are still allowed."""
        desc, diff_id = self._image.layers[number], self._image.diff_ids[number]
        with self._reading(number), located(self._src.location), self._opened(number) as raw:
            stream = PlainTar(raw, desc, replace(self._limits, bytes=left), diff_id, "the image's config")
            reader = tar.TarReader(stream)
            for member in reader:
                entry = parse_member(member, number, reader.read)
                if entry is not None:
                    tree.add(number, entry)
            stream.finish()
        return stream.left

    def contents(self, number: int) -> t.Iterator[t.Tuple[int, tar.TarReader]]:
        """Each file of a fetched layer: where its content begins, and the reader that stands there."""
        desc = self._image.layers[number]
        raw = self._files[desc.digest]
        raw.seek(0)
        reader = tar.TarReader(PlainTar(raw, desc, self._limits))
        for member in reader:
            if member.kind == tar.FILE:
                yield member.offset, reader

    def close(self) -> None:
        for file in self._files.values():
            # What a full disk left in the buffer is not needed any more.
            with contextlib.suppress(OSError):
                file.close()

    def __enter__(self) -> Layers:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

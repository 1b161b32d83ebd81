# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The layers of an image: fetched, verified against their descriptors and diff_ids, and read into one tree."""

from __future__ import annotations

import contextlib
import threading
import typing as t

from ..content import tar
from ..content.partial import ScratchFile
from ..content.store import Fetcher
from ..destination import Destination
from ..plaintar import Limits, PlainTar
from ..selection import reading
from ..spec import mediatype
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import NotFoundError, located, storage_errors
from ..spec.progress import PROGRESS
from ..transfer import run_all, stoppable
from .entries import Listing
from .image import Image
from .members import parse_member
from .tree import Tree


class Layers:
    """Fetches each blob once at most; ``fetched`` says which. Closing it lets the fetched content go.

    With ``destination`` content is kept beside it for ``contents``, and for the next run where a broken connection ends this one;
    without it nothing is written anywhere (check mode). The limits are those of all layers together, only the ratio is each one's.
    """

    def __init__(self, src: Fetcher, image: Image, limits: Limits, destination: t.Optional[Destination]) -> None:
        self._src = src
        self._image = image
        self._limits = limits
        self._destination = destination
        self._files: t.Dict[Digest, ScratchFile] = {}
        self.fetched: t.Dict[Digest, Descriptor] = {}

    def listing(self, concurrency: int) -> Listing:
        """What all layers add up to. Raises InvalidError for a member that is not to be unpacked: nothing was written."""
        if self._destination is not None:
            self.fetch(range(len(self._image.layers)), concurrency)
        tree, left = Tree(self._limits.entries), self._limits.bytes
        for number in range(len(self._image.layers)):
            left = self._read_into(tree, number, left)
        return tree.listing()

    def fetch(self, numbers: t.Iterable[int], concurrency: int) -> None:
        """Have the verified content of these layers at hand."""
        missing = {self._image.layers[number].digest: number for number in numbers}
        stop = threading.Event()
        wanted = [number for digest, number in missing.items() if digest not in self._files]
        PROGRESS.expect(self._image.layers[number] for number in wanted)
        run_all(
            lambda number: self._fetch(number, stop),
            wanted,
            concurrency,
            stop,
        )

    def _fetch(self, number: int, stop: threading.Event) -> None:
        desc, destination = self._image.layers[number], self._destination
        if stop.is_set() or destination is None:
            return
        try:
            file = self._files[desc.digest] = destination.scratch_beside(desc)
            # A disk that fails here is the destination's. What fails at the source has its location by then.
            writing = f"writing a temporary file for the layer {desc.digest}"
            with self._reading(number), located(destination.location), storage_errors(writing):
                file.fill(stoppable(self._src, desc, stop))
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
            yield file.from_start()
            return
        with self._src.fetch(desc) as reader:
            self.fetched[desc.digest] = desc
            yield reader

    def _read_into(self, tree: Tree, number: int, left: int) -> int:
        """Returns the bytes that are still allowed."""
        desc, diff_id = self._image.layers[number], self._image.diff_ids[number]
        with self._reading(number), located(self._src.location), self._opened(number) as raw:
            stream = PlainTar(raw, desc, self._limits._replace(bytes=left), diff_id, "the image's config")
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
        reader = tar.TarReader(PlainTar(self._files[desc.digest].from_start(), desc, self._limits))
        for member in reader:
            if member.kind == tar.FILE:
                yield member.offset, reader

    def forget(self) -> None:
        """What was fetched is unpacked: no later run needs it."""
        for file in self._files.values():
            file.forget()

    def close(self, error: t.Optional[BaseException] = None) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.end(error)

    def __enter__(self) -> Layers:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self.close(exc[1])

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Layers made, or known: compression is what costs, reading comes next, and neither is done for what earlier builds have left."""

from __future__ import annotations

import contextlib
import functools
import typing as t

from .content.overlay import Overlay, Spool
from .given import GivenTar
from .known import Known
from .layer import Compressed, Tree, Unusable, WriteTar, compress, content_digest
from .layer_receipt import LayerReceipt, LayerReceipts, Unchanged
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import storage_errors
from .whiteout import Whiteouts

if t.TYPE_CHECKING:
    from .content.writing import Writeback

_WRITING = "writing a layer to a temporary file"
_ANY = "application/octet-stream"  # the overlay knows content by its digest


class _Spooled:
    """A file of the spool that is made when it is written to. Raises StorageError."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._written = 0

    @functools.cached_property
    def file(self) -> t.BinaryIO:
        return self._spool.open()

    @functools.cached_property
    def _disk(self) -> Writeback:
        from .content.writing import Writeback  # for who writes

        return Writeback(self.file.fileno())

    def write(self, content: bytes) -> None:
        with storage_errors(_WRITING):
            self.file.write(content)
        self._written += len(content)
        if self._spool.keeps:
            self._disk.reached(self._written)

    def finished(self) -> t.BinaryIO:
        with storage_errors(_WRITING):
            self.file.flush()
        return self.file


class LayerMaker:
    """Makes layers in ``overlay``, their bytes in ``spool``. ``known`` ones are taken over as they are, whatever library made them.

    ``receipts``: what earlier builds saw; None reads everything.
    """

    def __init__(self, overlay: Overlay, spool: Spool, known: Known, receipts: t.Optional[LayerReceipts] = None) -> None:
        self._overlay = overlay
        self._spool = spool
        self._known = known
        self._receipts = receipts

    def make(self, source: t.Union[Tree, GivenTar, Whiteouts], codec: str, level: t.Optional[int]) -> Compressed:
        """The layer with this content and compression. ``codec`` and ``level`` as Deflater's."""
        if isinstance(source, Tree) and self._receipts is not None:
            return self._of_tree(source, self._receipts.of(source), codec, level)
        known = self._taken(content_digest(source.write_tar), codec) if self._known else None
        return known or self._compressed(source.write_tar, codec, level)

    def _of_tree(self, tree: Tree, receipt: LayerReceipt, codec: str, level: t.Optional[int]) -> Compressed:
        if receipt.diff_id is not None:
            with contextlib.suppress(Unusable):
                return self._over_old(tree, receipt, codec, level, self._taken(receipt.diff_id, codec))
        return self._read_whole(tree, receipt, codec, level)

    def _over_old(self, tree: Tree, receipt: LayerReceipt, codec: str, level: t.Optional[int], known: t.Optional[Compressed]) -> Compressed:
        """``known`` when nothing has changed; else made out of the blob that the last build made, and what has. Raises Unusable."""
        file = _Spooled(self._spool)
        with contextlib.closing(receipt.over_old(codec, level, known is not None)) as notes:
            try:
                done = compress(lambda sink: tree.write_tar(sink, notes), file, codec, level, notes.reuse)
            except Unchanged:
                return t.cast(Compressed, known)
            notes.finish()
        receipt.remember_made(notes, done, codec, level)
        return self._taken(done.content_digest, codec) or self._added(done, file)

    def _read_whole(self, tree: Tree, receipt: LayerReceipt, codec: str, level: t.Optional[int]) -> Compressed:
        if self._known:
            seen = receipt.noting()
            diff_id = content_digest(lambda sink: tree.write_tar(sink, seen))
            known = self._taken(diff_id, codec)
            if known is not None:
                receipt.remember(seen, diff_id)
                return known
        notes = receipt.noting()
        done = self._compressed(lambda sink: tree.write_tar(sink, notes), codec, level)
        receipt.remember_made(notes, done, codec, level)
        return done

    def _taken(self, diff_id: Digest, codec: str) -> t.Optional[Compressed]:
        known = self._known.get((diff_id, codec))
        return Compressed(known.digest, known.size, diff_id) if known is not None else None

    def _compressed(self, write_tar: WriteTar, codec: str, level: t.Optional[int]) -> Compressed:
        file = _Spooled(self._spool)
        return self._added(compress(write_tar, file, codec, level), file)

    def _added(self, done: Compressed, file: _Spooled) -> Compressed:
        self._overlay.add_spooled(Descriptor(_ANY, done.digest, done.size), file.finished())
        return done

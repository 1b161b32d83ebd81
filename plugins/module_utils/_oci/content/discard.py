# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Blobs out of a layout: the only place where content that was stored is removed.

A blob is stored before anything names it, so that nothing names it is no proof that nobody wants it. Writers of ours share a lock on
blobs/ from before their first blob until after their last name (layout.py): who removes holds it alone.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from ..spec.digest import Digest
from ..spec.errors import NotFoundError, located, storage_errors
from .archive_file import BLOBS
from .beneath import folder, folder_beneath
from .lock import FILE_WAIT_SECONDS, locked
from .names import IndexedStore, LayoutIndex

if t.TYPE_CHECKING:
    from .archive import Archive
    from .layout import Layout


class Discarded(t.NamedTuple):
    """``left``: the index as it is to be, the same object for no change; ``blobs``: what goes, parents before what they name."""

    left: LayoutIndex
    blobs: t.Tuple[Digest, ...]


# What is to go, of the index as it is under the lock.
Choose = t.Callable[[LayoutIndex], Discarded]


def discard(store: IndexedStore, choose: Choose) -> None:
    """Remove what ``choose`` says, while nobody writes. A kill leaves no name without its content: names go first."""
    with located(store.location), storage_errors("removing blobs"):
        if store.is_tar:
            _out_of_archive(t.cast("Archive", store), choose)
        else:
            _out_of_folder(t.cast("Layout", store), choose)


def _out_of_archive(archive: Archive, choose: Choose) -> None:
    def change(index: LayoutIndex) -> t.Tuple[LayoutIndex, t.Set[str]]:
        chosen = choose(index)
        return chosen.left, {f"{BLOBS}/{digest.algorithm}/{digest.encoded}" for digest in chosen.blobs}

    archive.rewrite(change)


def _out_of_folder(layout: Layout, choose: Choose) -> None:
    going: t.List[Digest] = []

    def change(index: LayoutIndex) -> LayoutIndex:
        chosen = choose(index)
        going.extend(chosen.blobs)
        return chosen.left

    with folder(layout.path) as root, folder_beneath(root, [BLOBS], create_mode=0o777) as blobs:
        # Writers hold theirs while content arrives over the network, as those of a tar do.
        with locked(blobs, layout.path, FILE_WAIT_SECONDS):
            layout.change_index(change)
            _unlink(blobs, going)


def _unlink(blobs: int, digests: t.Sequence[Digest]) -> None:
    for digest in digests:
        with contextlib.suppress(FileNotFoundError, NotFoundError), folder_beneath(blobs, [digest.algorithm]) as parent:
            os.unlink(digest.encoded, dir_fd=parent)
    for algorithm in {digest.algorithm for digest in digests}:
        with contextlib.suppress(NotFoundError), folder_beneath(blobs, [algorithm]) as parent:
            os.fsync(parent)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Whether everything under a root is there and is what its descriptor says."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .content.store import Fetcher
from .spec import manifest, mediatype
from .spec.descriptor import Descriptor
from .spec.graph import post_order


def graph(store: Fetcher, root: Descriptor) -> t.List[Descriptor]:
    """All that a store has to hold for ``root``, children before their parents; not the layers that are not distributed."""

    def children(desc: Descriptor) -> t.Sequence[Descriptor]:
        if not mediatype.is_manifest(desc.media_type):
            return ()
        return manifest.successors(desc, store.fetch_bytes(desc))

    return [desc for desc in post_order(root, children) if not mediatype.is_nondistributable(desc.media_type)]


def verify(store: Fetcher, root: Descriptor) -> None:
    """Read and hash all content under ``root``. Raises MismatchError, NotFoundError, InvalidError for the first that is wrong."""
    for desc in graph(store, root):
        read_whole(store, desc)


def read_whole(store: Fetcher, desc: Descriptor) -> None:
    """Raises MismatchError when the content is not what the descriptor says; the copy of it in the descriptor itself does not count."""
    with store.fetch(replace(desc, data=None)) as content:
        for _piece in content.pieces():
            pass

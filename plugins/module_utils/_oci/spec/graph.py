# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The walk over a graph of descriptors that every verb shares: bounded, each digest once."""

from __future__ import annotations

import typing as t

from .descriptor import Descriptor
from .digest import Digest
from .errors import InvalidError

MAX_DEPTH = 32
MAX_NODES = 100_000

# The children that a walk is to follow, [] for a leaf; called once for each digest.
Children = t.Callable[[Descriptor], t.Iterable[Descriptor]]


def post_order(root: Descriptor, children: Children) -> t.List[Descriptor]:
    """The root and everything below it, children before their parents. Raises InvalidError for a graph too deep or too large."""
    order: t.List[Descriptor] = []
    seen: t.Set[Digest] = set()

    def visit(desc: Descriptor, depth: int) -> None:
        if desc.digest in seen:
            return
        seen.add(desc.digest)
        if depth > MAX_DEPTH or len(seen) > MAX_NODES:
            raise InvalidError(f"the graph is deeper than {MAX_DEPTH} levels or has more than {MAX_NODES} nodes (at {desc.digest})")
        for child in children(desc):
            visit(child, depth + 1)
        order.append(desc)

    visit(root, 0)
    return order

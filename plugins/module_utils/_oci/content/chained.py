# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Several stores read as one: what a build takes from elsewhere, after what is there already."""

from __future__ import annotations

import typing as t

from ..spec.descriptor import Descriptor
from ..spec.errors import InvalidError, NotFoundError
from .store import Fetcher, Prefix, RawReader, VerifyingReader

Opened = t.TypeVar("Opened")


class Chained(Fetcher):
    """Content comes from the first of ``stores`` that has it; errors while it is read carry that store's location."""

    def __init__(self, stores: t.Sequence[Fetcher]) -> None:
        self._stores = tuple(stores)

    def fetch(self, desc: Descriptor, have: t.Optional[Prefix] = None) -> VerifyingReader:
        return self._first(desc, lambda store: store.fetch(desc, have))

    def _exists(self, desc: Descriptor) -> bool:
        return any(store.exists(desc) for store in self._stores)

    def _open(self, desc: Descriptor) -> RawReader:
        return self._first(desc, lambda store: store._open(desc))

    def _open_at(self, desc: Descriptor, offset: int) -> RawReader:
        return self._first(desc, lambda store: store._open_at(desc, offset))

    def _first(self, desc: Descriptor, opened: t.Callable[[Fetcher], Opened]) -> Opened:
        """Opening is asking: over the network one request, not two. Raises what the last store said when none has the content."""
        failure: t.Union[InvalidError, NotFoundError] = NotFoundError(f"no content {desc.digest}")
        for store in self._stores:
            try:
                return opened(store)
            except (InvalidError, NotFoundError) as error:
                # Not there, or a damaged blob in its place: the next store may have it.
                failure = error
        raise failure

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The documents of an artifact: each is read once, and not even that when an earlier pull has remembered it."""

from __future__ import annotations

import typing as t

from .content.store import Fetcher
from .spec.descriptor import Descriptor
from .spec.digest import Digest


class Documents:
    """Manifests, indexes and configs. ``recall``: what a receipt has of one, verified, or None.

    ``contents``: bytes of all that were asked for; ``fetched``: those of them that were read from the source.
    """

    def __init__(self, src: Fetcher, recall: t.Callable[[Descriptor], t.Optional[bytes]]) -> None:
        self._src = src
        self._recall = recall
        self.contents: t.Dict[Digest, bytes] = {}
        self.fetched: t.List[Descriptor] = []

    def read(self, desc: Descriptor) -> bytes:
        """The bytes, verified."""
        content = self.contents.get(desc.digest)
        # Another size for the same digest is for the source to refuse.
        if content is None or len(content) != desc.size:
            content = self._recall(desc)
            if content is None:
                content = self._src.fetch_bytes(desc)
                self.fetched.append(desc)
            self.contents[desc.digest] = content
        return content

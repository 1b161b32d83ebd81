# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The documents of an artifact: each is read once, and not even that when an earlier pull has it in its receipt."""

from __future__ import annotations

import typing as t

from .content.store import Fetcher, VerifyingReader
from .receipt import Receipt
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.strictjson import MAX_DOCUMENT


class Documents(Fetcher):
    """``contents``: bytes of all that were asked for; ``read``: those of them that came from the source."""

    def __init__(self, src: Fetcher, receipt: Receipt) -> None:
        self.location = src.location
        self._src = src
        self._receipt = receipt
        self.contents: t.Dict[Digest, bytes] = {}
        self.read: t.List[Descriptor] = []

    def fetch_bytes(self, desc: Descriptor, limit: int = MAX_DOCUMENT) -> bytes:
        content = self.contents.get(desc.digest)
        if content is None or len(content) != desc.size:
            content = self._receipt.manifest(desc)
            if content is None:
                content = self._src.fetch_bytes(desc, limit)
                self.read.append(desc)
            self.contents[desc.digest] = content
        return content

    def _exists(self, desc: Descriptor) -> bool:
        return self._src.exists(desc)

    def _open(self, desc: Descriptor) -> VerifyingReader:
        return self._src.fetch(desc)

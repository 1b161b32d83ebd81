# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The content of layers that are folders: what is known of it, and the blobs that had to be fetched for it."""

from __future__ import annotations

import contextlib
import threading
import typing as t

from .content.store import Fetcher, VerifyingReader
from .destination import Destination
from .listing import Listing, read_listing
from .plaintar import Limits
from .receipt import Receipt
from .selection import Item, reading
from .spec.descriptor import Descriptor
from .spec.errors import located, storage_errors


class FolderBlobs:
    """Fetches each folder layer once at most; ``fetched`` says which. Closing it lets the fetched content go.

    With ``keep`` content is kept for ``open``, in a file without a name; without it nothing is written anywhere (check mode).
    """

    def __init__(self, src: Fetcher, destination: Destination, receipt: Receipt, limits: Limits, keep: bool) -> None:
        self._src = src
        self._destination = destination
        self._receipt = receipt
        self._limits = limits
        self._keep = keep
        self._files: t.Dict[Item, t.BinaryIO] = {}
        self.listings: t.Dict[t.Tuple[Descriptor, str], Listing] = {}
        self.fetched: t.Dict[Item, Descriptor] = {}

    def known(self, item: Item) -> t.Optional[Listing]:
        """What the layer holds, if that can be told without fetching it."""
        key = (item.desc, item.title)
        if key not in self.listings:
            remembered = self._receipt.listing(item.desc, item.title)
            if remembered is None:
                return None
            self.listings[key] = remembered
        return self.listings[key]

    def read(self, item: Item, stop: t.Optional[threading.Event] = None) -> Listing:
        """Fetch and list the layer. Raises InvalidError for content that is not to be unpacked: nothing of it was written."""
        with reading(self._src, item.title), self._src.fetch(item.desc) as reader:
            self.fetched[item] = item.desc
            reader.stop = stop
            stream = self._kept(item, reader) if self._keep else reader
            listing = read_listing(stream, item.desc, item.parts, self._limits)
        self.listings[item.desc, item.title] = listing
        return listing

    def _kept(self, item: Item, reader: VerifyingReader) -> t.BinaryIO:
        file = self._files[item] = self._destination.scratch()
        with located(self._destination.location), storage_errors(f"writing a temporary file for {item.title}"):
            for chunk in reader.chunks():
                file.write(chunk)
            file.flush()
        return self._rewound(item)

    def content(self, item: Item) -> t.Optional[t.BinaryIO]:
        """The fetched blob from its start, or None when it was not fetched."""
        return self._rewound(item) if item in self._files else None

    def _rewound(self, item: Item) -> t.BinaryIO:
        self._files[item].seek(0)
        return self._files[item]

    def close(self) -> None:
        for file in self._files.values():
            # What a full disk left in the buffer is not needed any more.
            with contextlib.suppress(OSError):
                file.close()

    def __enter__(self) -> FolderBlobs:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

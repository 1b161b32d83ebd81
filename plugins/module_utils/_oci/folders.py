# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The content of layers that are folders: what is known of it, and the blobs that had to be fetched for it."""

from __future__ import annotations

import contextlib
import threading
import typing as t

from .content.store import Fetcher
from .destination import Destination
from .listing import Listing, read_listing
from .plaintar import Limits
from .receipt import Receipt
from .selection import Item, reading
from .spec.descriptor import Descriptor
from .spec.errors import located, storage_errors

if t.TYPE_CHECKING:
    from .content.partial import ScratchFile


class FolderBlobs:
    """Fetches each folder layer once at most; ``fetched`` says which. Closing it lets the fetched content go.

    With ``keep`` content is kept for ``content``, in a file that goes with this object, or stays for the next run where a broken
    connection ends this one; without it nothing is written anywhere (check mode).
    """

    def __init__(self, src: Fetcher, destination: Destination, receipt: Receipt, limits: Limits, keep: bool) -> None:
        self._src = src
        self._destination = destination
        self._receipt = receipt
        self._limits = limits
        self._keep = keep
        self._files: t.Dict[Item, ScratchFile] = {}
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
        with reading(self._src, item.title):
            if self._keep:
                self._fetch(item, stop)
                listing = read_listing(self._files[item].from_start(), item.desc, item.parts, self._limits)
            else:
                with self._src.fetch(item.desc) as reader:
                    self.fetched[item] = item.desc
                    listing = read_listing(reader, item.desc, item.parts, self._limits)
        self.listings[item.desc, item.title] = listing
        return listing

    def _fetch(self, item: Item, stop: t.Optional[threading.Event]) -> None:
        from .transfer import stoppable

        file = self._files[item] = self._destination.scratch(item.desc)
        with located(self._destination.location), storage_errors(f"writing a temporary file for {item.title}"):
            file.fill(stoppable(self._src, item.desc, stop))
        self.fetched[item] = item.desc

    def content(self, item: Item) -> t.Optional[t.BinaryIO]:
        """The fetched blob from its start, or None when it was not fetched."""
        return self._files[item].from_start() if item in self._files else None

    def forget(self) -> None:
        """What was fetched is unpacked: no later run needs it."""
        for file in self._files.values():
            file.forget()

    def close(self, error: t.Optional[BaseException] = None) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.end(error)

    def __enter__(self) -> FolderBlobs:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self.close(exc[1])

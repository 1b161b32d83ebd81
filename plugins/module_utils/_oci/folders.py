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
from .listing import Listing, Member, Offsets, contents, read_listing
from .plaintar import Limits
from .receipt import Receipt
from .selection import Item, reading
from .spec.descriptor import Descriptor
from .spec.errors import located, storage_errors
from .titles import Parts

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
        self._offsets: t.Dict[Item, Offsets] = {}
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
                file = self._files[item].from_start()
                listing, self._offsets[item] = read_listing(file, item.desc, item.parts, self._limits, threaded=True)
            else:
                with self._src.fetch(item.desc) as reader:
                    self.fetched[item] = item.desc
                    listing, _offsets = read_listing(reader, item.desc, item.parts, self._limits)
        self.listings[item.desc, item.title] = listing
        return listing

    def _fetch(self, item: Item, stop: t.Optional[threading.Event]) -> None:
        from .transfer import stoppable

        file = self._files[item] = self._destination.scratch(item.desc)
        with located(self._destination.location), storage_errors(f"writing a temporary file for {item.title}"):
            file.fill(stoppable(self._src, item.desc, stop))
        self.fetched[item] = item.desc

    def has_content(self, item: Item) -> bool:
        """Whether ``contents`` can be read without fetching the layer."""
        return item in self._offsets

    def contents(self, item: Item, files: t.Mapping[Parts, Member]) -> t.Generator[t.Tuple[Member, t.Iterator[bytes]], None, None]:
        """The content of these files, by their paths in the folder: each is to be read before the next is asked for.

        To be closed before this object is.
        """
        if not self.has_content(item):
            self.read(item)
        return contents(self._files[item].from_start(), item.desc, self._offsets[item], files, self._limits)

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

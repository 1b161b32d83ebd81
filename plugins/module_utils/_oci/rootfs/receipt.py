# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What earlier unpackings into one folder learned and wrote.

A cache outside the destination: without it layers are fetched again to compare, and what an older image left there is not known to
be ours. Documents are verified when they are taken from it; the listing tells what is compared with the disk, and every file's
content is hashed again.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from ..cache import DAMAGE, MAX_SIZE, CacheFile, dumps
from ..content import tar
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import OCIError
from ..titles import Parts
from .entries import DEVICES, Entry, Listing

_VERSION = 1
# Paths with the kind of what was written there.
Written = t.Dict[Parts, str]


class Receipt:
    """The last unpacking into ``destination``. Never fails: what cannot be read counts as absent, what cannot be written is told
    by ``warn``."""

    def __init__(self, destination: str, warn: t.Callable[[str], None]) -> None:
        self._file = CacheFile("rootfs", os.fsencode(destination))
        self._warn = warn
        stored = self._file.load()
        self._stored: t.Dict[str, t.Any] = stored if stored.get("version") == _VERSION else {}

    @property
    def path(self) -> str:
        """Where it is kept."""
        return self._file.path

    @property
    def unfinished(self) -> bool:
        """Whether it was broken off."""
        return bool(self._stored.get("unfinished"))

    def root(self, digest: Digest) -> t.Optional[Descriptor]:
        """The descriptor of the root that was unpacked, when it is this one."""
        with contextlib.suppress(*DAMAGE):
            root = Descriptor.parse(self._stored["root"])
            return root if root.digest == digest else None
        return None

    def document(self, desc: Descriptor) -> t.Optional[bytes]:
        """The bytes of a document that was read before, verified."""
        with contextlib.suppress(*DAMAGE):
            content: bytes = self._stored["documents"][desc.digest].encode("utf-8")
            if len(content) == desc.size and Digest.of(content, desc.digest.algorithm) == desc.digest:
                return content
        return None

    def listing(self, manifest: Descriptor) -> t.Optional[Listing]:
        """What the layers of this manifest add up to, when it was unpacked last."""
        with contextlib.suppress(*DAMAGE):
            if self._stored["manifest"] == manifest.digest:
                return tuple(_entry(row) for row in self._stored["listing"])
        return None

    def written(self) -> Written:
        """What the last unpacking wrote, and those before it that were broken off."""
        with contextlib.suppress(*DAMAGE):
            skipped = () if self._stored["devices"] else DEVICES
            rows = [(_parts(row[0]), row[1]) for row in self._stored["listing"]]
            earlier = [(_parts(path), kind) for path, kind in self._stored["earlier"]]
            return {path: kind for path, kind in [*earlier, *rows] if path and kind not in skipped}
        return {}

    def begin(self, root: Descriptor, manifest: Descriptor, documents: t.Mapping[Digest, bytes], listing: Listing, devices: bool) -> None:
        """Before the first write: so that a run after a kill knows what may stand there."""
        listed = {entry.path for entry in listing}
        earlier = [["/".join(path), kind] for path, kind in self.written().items() if path not in listed]
        self._save(_document(root, manifest, documents, listing, devices, earlier, True))

    def finish(self, root: Descriptor, manifest: Descriptor, documents: t.Mapping[Digest, bytes], listing: Listing, devices: bool) -> None:
        """It stands as it should. Nothing is written when that is known already."""
        self._save(_document(root, manifest, documents, listing, devices, [], False))

    def _save(self, document: t.Dict[str, t.Any]) -> None:
        content = dumps(document)
        if content == dumps(self._stored):
            return
        self._stored = document
        try:
            if len(content) > MAX_SIZE:
                raise OSError(f"it has more than {MAX_SIZE} bytes")
            self._file.save(document)
        except (OCIError, OSError) as error:
            self._warn(
                f"what was unpacked could not be stored in {self._file.folder} ({error}): the next run will fetch the layers again, "
                "and will not know what this one wrote. Another place can be named by XDG_CACHE_HOME."
            )


def _document(
    root: Descriptor,
    manifest: Descriptor,
    documents: t.Mapping[Digest, bytes],
    listing: Listing,
    devices: bool,
    earlier: t.List[t.List[str]],
    unfinished: bool,
) -> t.Dict[str, t.Any]:
    return {
        "version": _VERSION,
        "root": {"mediaType": root.media_type, "digest": str(root.digest), "size": root.size},
        "manifest": str(manifest.digest),
        "documents": {str(digest): content.decode("utf-8") for digest, content in sorted(documents.items())},
        "listing": [_row(entry) for entry in listing],
        "devices": devices,
        "earlier": earlier,
        "unfinished": unfinished,
    }


def _row(entry: Entry) -> t.List[t.Any]:
    """A JSON array of the fields in their order; only a file has the last two."""
    xattrs = [[name, value.decode("latin-1")] for name, value in entry.xattrs]
    row: t.List[t.Any] = ["/".join(entry.path), *entry[1:_DEVICE], list(entry.device), xattrs]
    return [*row, list(entry.origin), "/".join(entry.same)] if entry.kind == tar.FILE else row


_DEVICE = Entry._fields.index("device")


def _entry(row: t.Sequence[t.Any]) -> Entry:
    found = Entry(_parts(row[0]), *row[1:])
    return found._replace(
        device=(found.device[0], found.device[1]),
        xattrs=tuple((name, value.encode("latin-1")) for name, value in found.xattrs),
        origin=(found.origin[0], found.origin[1]),
        same=_parts(found.same) if found.same else (),
    )


def _parts(path: t.Any) -> Parts:
    return tuple(path.split("/")) if path else ()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What a root file system holds, path by path, and what of that is wanted on this machine."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..content import tar
from ..content.attributes import Attributes
from ..titles import Parts

DEVICES = (tar.CHARACTER, tar.BLOCK_DEVICE, tar.FIFO)
USER_XATTRS = "user."
CAPABILITY = "security.capability"
_SETUID_SETGID = 0o6000
_OWNERS_FILE, _OWNERS_FOLDER = 0o400, 0o700


class Entry(t.NamedTuple):
    """One path. ``path`` is () for the root folder itself; ``kind`` a type flag of ``content.tar``; ``mtime`` in nanoseconds, None when
    no layer says.

    ``sha256``: hex digest of a file; ``origin``: the layer that holds its content, and where in its tar. ``same``: for a further
    name of a file, the first one. ``link``: a symlink's target.
    """

    path: Parts
    kind: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: t.Optional[int] = None
    size: int = 0
    sha256: str = ""
    link: str = ""
    device: t.Tuple[int, int] = (0, 0)
    xattrs: t.Tuple[t.Tuple[str, bytes], ...] = ()
    origin: t.Tuple[int, int] = (0, 0)
    same: Parts = ()

    @property
    def name(self) -> str:
        return "/".join(self.path) or "."

    @property
    def attributes(self) -> Attributes:
        return Attributes(self.mode, self.uid, self.gid, self.mtime, self.xattrs)


# Folders before what is in them.
Listing = t.Tuple[Entry, ...]


@dataclass(frozen=True)
class Policy:
    """What is taken over. ``owner``: the owner and group of everything, None for those of the layers, (-1, -1) for whoever it is.

    ``capabilities``: file capabilities, of those extended attributes that ``xattrs`` takes. ``accessible``: whoever unpacks can
    read every file, and enter and change every folder, as root always can.
    """

    devices: bool = False
    owner: t.Optional[t.Tuple[int, int]] = None
    special_bits: bool = True
    xattrs: bool = True
    capabilities: bool = True
    accessible: bool = False

    def wanted(self, listing: Listing) -> t.Tuple[Listing, t.Tuple[Entry, ...]]:
        """What is to stand on disk, and the entries that are left out."""
        skipped = () if self.devices else tuple(entry for entry in listing if entry.kind in DEVICES)
        return tuple(self._adapted(entry) for entry in listing if self.devices or entry.kind not in DEVICES), skipped

    def _adapted(self, entry: Entry) -> Entry:
        uid, gid = self.owner if self.owner is not None else (entry.uid, entry.gid)
        mode = entry.mode if self.special_bits else entry.mode & ~_SETUID_SETGID
        if self.accessible:
            mode |= {tar.DIRECTORY: _OWNERS_FOLDER, tar.FILE: _OWNERS_FILE}.get(entry.kind, 0)
        xattrs = tuple(pair for pair in entry.xattrs if self._takes(pair[0]))
        return entry._replace(uid=uid, gid=gid, mode=mode, xattrs=xattrs)

    def _takes(self, name: str) -> bool:
        return self.xattrs and (name.startswith(USER_XATTRS) or (self.capabilities and name == CAPABILITY))


def counts(entries: t.Iterable[Entry]) -> t.Dict[str, int]:
    """How many of each kind; further names of a file count as files."""
    found = {"files": 0, "folders": 0, "links": 0, "devices": 0}
    names = {tar.FILE: "files", tar.DIRECTORY: "folders", tar.SYMLINK: "links"}
    for entry in entries:
        found[names.get(entry.kind, "devices")] += 1
    return found

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A quota of Btrfs: it holds for root too, as those of users do not, and needs no program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import struct
import typing as t

# linux/btrfs.h
_SUBVOLUME_CREATE, _QUOTA_CONTROL, _GROUP_LIMIT = 0x5000940E, 0xC0109428, 0x8030942B
_ENABLE, _MAX_REFERENCED = 1, 1
MIB = 1024 * 1024


class Quota:
    """A subvolume with a limit in the mounted ``folder``, which is ``seen`` from here: ``path`` there."""

    def __init__(self, folder: pathlib.Path, seen: pathlib.Path) -> None:
        self.path, self.seen = folder / "limited", seen / "limited"
        with _folder(seen) as root:
            # In a buffer that may be written to: bytes may not be as long.
            fcntl.ioctl(root, _SUBVOLUME_CREATE, bytearray(struct.pack("q4088s", 0, self.path.name.encode())))
            fcntl.ioctl(root, _QUOTA_CONTROL, bytearray(struct.pack("QQ", _ENABLE, 0)))

    def limit(self, size: int) -> None:
        with _folder(self.seen) as subvolume:
            fcntl.ioctl(subvolume, _GROUP_LIMIT, bytearray(struct.pack("QQQQQQ", 0, _MAX_REFERENCED, size, 0, 0, 0)))


@contextlib.contextmanager
def _folder(path: pathlib.Path) -> t.Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

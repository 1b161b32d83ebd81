# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Many small files on their way into a folder."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from .content.attributes import sync
from .content.beneath import stat_beneath
from .content.temp_folder import TempFolder
from .destination import Destination, hand_on_owner
from .spec.errors import OCIError
from .titles import Parts

# What one sync is for. Of each folder in it three descriptors are open, in each thread.
_BATCH_FILES, _BATCH_BYTES, _BATCH_FOLDERS = 8192, 256 * 1024 * 1024, 32
_SYNC_TELLS_ERRORS = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2]) >= (5, 8)  # syncfs(2)


class _Waiting(t.NamedTuple):
    """A file that is written and has no name yet; ``old`` stands in its place."""

    temps: TempFolder
    temp: str
    parts: Parts
    old: t.Optional[os.stat_result]


class Batch:
    """Writes many files: their content first, then one sync for all of it, then their names, then one sync for those.

    So a name never stands for content that a loss of power can take, as with files that are written one by one, at a fraction of the
    syncs. Of files in one folder that come after each other the folder is opened once.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._folder: t.Optional[Parts] = None
        self._current: t.Optional[TempFolder] = None
        self._open: t.List[TempFolder] = []
        self._waiting: t.List[_Waiting] = []
        self._devices: t.Dict[int, int] = {}
        self._bytes = 0

    def write_file(self, parts: Parts, content: t.Iterable[bytes], mode: t.Optional[int] = None, absent: bool = False) -> None:
        """As the destination's, but the file has its name after the next ``flush`` only."""
        try:
            temps = self._at(parts[:-1])
            believed = absent and not self._destination.backup
            self._write(temps, parts, content, mode, None if believed else stat_beneath(temps.parent, parts[-1]))
        except (OCIError, OSError):
            with self._destination.doing("writing", parts):
                raise
        if len(self._waiting) >= _BATCH_FILES or self._bytes >= _BATCH_BYTES:
            self.flush()

    def _write(
        self, temps: TempFolder, parts: Parts, content: t.Iterable[bytes], mode: t.Optional[int], old: t.Optional[os.stat_result]
    ) -> None:
        temp, descriptor = temps.create()
        for chunk in content:
            self._bytes += len(chunk)
            written = os.write(descriptor, chunk)
            while written < len(chunk):
                written += os.write(descriptor, memoryview(chunk)[written:])
        hand_on_owner(old, descriptor)
        os.fchmod(descriptor, self._destination.mode_for(old, mode))
        if not _SYNC_TELLS_ERRORS:
            os.fsync(descriptor)
        self._waiting.append(_Waiting(temps, temp, parts, old))

    def _at(self, parts: Parts) -> TempFolder:
        if self._current is None or parts != self._folder:
            self._current = None
            if len(self._open) >= _BATCH_FOLDERS:
                self.flush()
            with self._destination.parent((*parts, "")) as parent:
                temps = TempFolder(parent)
                self._open.append(temps)
                # Opened before anything is written: the errors of syncfs are those since then.
                device = os.fstat(temps.fd).st_dev
                if device not in self._devices:
                    self._devices[device] = os.dup(temps.fd)
            self._folder, self._current = parts, temps
        return self._current

    def flush(self) -> None:
        """Give all that was written its names."""
        self._sync()
        last = {id(one.temps): one for one in self._waiting}
        for one in self._waiting:
            temps, temp, parts, old = one
            try:
                self._destination.keep(temps.parent, parts, old)
                (temps.commit_last if last[id(temps)] is one else temps.commit)(temp, parts[-1])
            except (OCIError, OSError):
                with self._destination.doing("writing", parts):
                    raise
        self._waiting.clear()
        self._bytes = 0
        self._current = None
        while self._open:
            self._open.pop().close()

    def finish(self) -> None:
        """As ``flush``, and the names are on the disk when this returns."""
        self.flush()
        self._sync()

    def _sync(self) -> None:
        for descriptor in self._devices.values():
            sync(descriptor)

    def close(self) -> None:
        """What has no name yet goes."""
        self._current = None
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().close()
        while self._devices:
            os.close(self._devices.popitem()[1])

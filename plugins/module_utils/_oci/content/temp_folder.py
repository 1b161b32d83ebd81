# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""New files of one folder that get their names there together, under one lock; ``sweep`` removes what a killed writer leaves."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import typing as t

from .beneath import (
    FOLDER_PREFIX,
    TEMP_PREFIX,
    check_part,
    drop_temps,
    forget_temp,
    open_folder,
    open_in_temp_folder,
    remove_temp_folder,
    stat_beneath,
    temp_name,
)


class TempFolder:
    """A private folder in ``parent`` for new files that get their names there together: one lock for all of them.

    It stands where the files will, so that they inherit what they would inherit there (group, ACLs, labels). ``fd`` and ``parent`` are
    its descriptors. Closing it removes what got no name.
    """

    def __init__(self, parent: int) -> None:
        self.parent = os.dup(parent)
        try:
            self.name, self.fd = _create_locked_folder(self.parent)
        except BaseException:
            drop_temps(self.parent)
            os.close(self.parent)
            raise
        self._count = 0
        self._last: t.Optional[int] = None  # the descriptor of the newest file

    def create(self) -> t.Tuple[str, int]:
        """A new file that only its owner may read: its name until it gets its own, and a descriptor to write it.

        That is open until the next file is made, or this folder is closed.
        """
        self._close_last()
        self._count += 1
        name = f"{TEMP_PREFIX}{self._count}"
        self._last = open_in_temp_folder(self.fd, name)
        return name, self._last

    def _close_last(self) -> None:
        if self._last is not None:
            descriptor, self._last = self._last, None
            os.close(descriptor)

    def commit(self, temp: str, name: str) -> None:
        """Give a file its name, replacing what is there (a link is replaced, never followed). Its writer has synced it."""
        check_part(name, name)
        os.rename(temp, name, src_dir_fd=self.fd, dst_dir_fd=self.parent)

    def commit_last(self, temp: str, name: str) -> None:
        """As ``commit``, of the file that was made last, when all others have their names: this folder goes before.

        Who is killed in between has left this file to be made, so that the next run comes here and sweeps.
        """
        check_part(name, name)
        fcntl.flock(t.cast(int, self._last), fcntl.LOCK_EX)
        with temp_name(self.parent) as own:
            os.rename(temp, own, src_dir_fd=self.fd, dst_dir_fd=self.parent)
        try:
            remove_temp_folder(self.parent, self.name)
            os.rename(own, name, src_dir_fd=self.parent, dst_dir_fd=self.parent)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(own, dir_fd=self.parent)
            raise
        finally:
            forget_temp(own)

    def close(self) -> None:
        try:
            self._close_last()
            with contextlib.suppress(FileNotFoundError):
                remove_temp_folder(self.parent, self.name)
        finally:
            forget_temp(self.name)
            os.close(self.fd)
            os.close(self.parent)


def _create_locked_folder(parent: int) -> t.Tuple[str, int]:
    """A sweeper may take it between creation and lock: then the next name."""
    while True:
        with temp_name(parent, FOLDER_PREFIX + secrets.token_hex(8)) as name:
            os.mkdir(name, 0o700, dir_fd=parent)
        with contextlib.suppress(FileNotFoundError):
            descriptor = open_folder(parent, name)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                found = stat_beneath(parent, name)
                if found is not None and found.st_ino == os.fstat(descriptor).st_ino:
                    return name, descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        forget_temp(name)

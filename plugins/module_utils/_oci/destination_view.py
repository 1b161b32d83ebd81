# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What stands at paths below a folder that files are pulled into."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from .content.beneath import folder, folder_beneath, open_regular, stat_beneath
from .spec.digest import Digest
from .spec.errors import InvalidError, NotFoundError, OCIError, located
from .titles import Parts

if t.TYPE_CHECKING:
    from .destination import Destination

PERMISSIONS = 0o777


class Found(t.NamedTuple):
    """What stands at a path: ``stat`` of itself, None for nothing; ``link`` is a symlink's target."""

    stat: t.Optional[os.stat_result] = None
    link: str = ""

    def _is(self, kind: t.Callable[[int], bool]) -> bool:
        return self.stat is not None and kind(self.stat.st_mode)

    @property
    def is_file(self) -> bool:
        return self._is(stat.S_ISREG)

    @property
    def is_folder(self) -> bool:
        return self._is(stat.S_ISDIR)

    @property
    def is_link(self) -> bool:
        return self._is(stat.S_ISLNK)

    @property
    def mode(self) -> int:
        """Permission bits."""
        return self.stat.st_mode & PERMISSIONS if self.stat is not None else 0


class View:
    """Looks at a destination. The folder of the last path stays open: many paths in one folder cost one walk to it."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._folder: t.Optional[Parts] = None
        self._parent: t.Optional[int] = None

    def look(self, parts: Parts) -> Found:
        """What stands there. Raises InvalidError when a part before the last is a link or no folder."""
        try:
            parent = self._at(parts[:-1])
            found = stat_beneath(parent, parts[-1]) if parent is not None else None
            if parent is None or found is None or not stat.S_ISLNK(found.st_mode):
                return Found(found)
            return Found(found, os.readlink(parts[-1], dir_fd=parent))
        except (OCIError, OSError):
            with self._destination.doing("looking at", parts):
                raise

    def digest(self, parts: Parts, algorithm: str) -> Digest:
        """The digest of a regular file, remembered while its inode, size and times stay."""
        try:
            parent = self._at(parts[:-1])
            if parent is None:
                raise NotFoundError(f"no such folder: {'/'.join(parts[:-1])}")
            descriptor, state = open_regular(parent, parts[-1], "/".join(parts))
            try:
                return self._destination.digest_of(descriptor, state, parts, algorithm)
            finally:
                os.close(descriptor)
        except (OCIError, OSError):
            with self._destination.doing("reading", parts):
                raise

    def _at(self, parts: Parts) -> t.Optional[int]:
        """None where there is no such folder."""
        if parts != self._folder:
            self.close()
            with contextlib.suppress(NotFoundError):
                with folder(self._destination.path) as root, folder_beneath(root, parts) as parent:
                    self._parent = os.dup(parent)
            self._folder = parts
        return self._parent

    def close(self) -> None:
        self._folder = None
        if self._parent is not None:
            descriptor, self._parent = self._parent, None
            os.close(descriptor)


def refuse_folder(found: Found, parts: Parts, location: str) -> None:
    """Raises InvalidError when a folder stands where something else is to be."""
    if found.is_folder:
        with located(location):
            raise InvalidError(f"{'/'.join(parts)} is a folder, and is to be something else: remove it first")

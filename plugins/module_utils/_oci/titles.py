# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Paths that others wrote: titles of layers and names of tar members, judged by their parts before anything is written."""

from __future__ import annotations

import re
import typing as t

from .content.beneath import TEMP_PREFIX
from .spec.errors import InvalidError

# The parts of a path below a folder; never empty for a title.
Parts = t.Tuple[str, ...]

_MAX_PART = 255  # bytes; NAME_MAX of the usual file systems
_MAX_PATH = 4095  # bytes; PATH_MAX less the NUL
_MAX_DEPTH = 256  # folders in each other, as root file systems have it
_DRIVE = re.compile(r"[A-Za-z]:", re.ASCII)


def parse_title(title: str, what: str = "the title") -> Parts:
    """The parts of the file name that a layer's title gives. Raises InvalidError for anything but a plain relative path.

    ``what`` names in errors what is held to the rules of titles.
    """
    parts = tuple(title.split("/"))
    if any(not c.isprintable() for c in title) or "\\" in title or _DRIVE.fullmatch(parts[0]):
        raise InvalidError(f"{what} {title!r} has a character that a file name of an artifact cannot have")
    check_parts(parts, f"{what} {title!r}")
    return parts


def parse_member(name: str, title: Parts) -> Parts:
    """The parts, below the folder ``title``, of a tar member; () for the folder itself.

    As oras does, members carry the title before their own path. Raises InvalidError when the member is not in that folder.
    """
    what = f"the tar member {name!r}"
    if name.startswith("/"):
        raise InvalidError(f"{what} has an absolute path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    check_parts(parts, what)
    if parts[: len(title)] != title:
        raise InvalidError(f"{what} is not in the folder {'/'.join(title)!r} that the layer's title names")
    return parts[len(title) :]


class MemberPaths:
    """``parse_member`` for the members of one tar, of which most lie in a folder that was judged before."""

    def __init__(self, title: Parts) -> None:
        self._title = title
        self._folders: t.Dict[str, Parts] = {}

    def parse(self, name: str) -> Parts:
        """As ``parse_member``."""
        above, _slash, last = name.rpartition("/")
        folder = self._folders.get(above)
        if folder is not None and len(folder) + len(self._title) < _MAX_DEPTH and len(name) <= _MAX_PART and _is_plain(last):
            return (*folder, last)
        path = parse_member(name, self._title)
        if path and path[-1] == last:
            self._folders[above] = path[:-1]
        return path


def _is_plain(part: str) -> bool:
    """Surely a name that ``check_parts`` lets pass, unless it is too long."""
    return part.isascii() and "\0" not in part and not part.startswith(".") and part != ""


def check_link(link: str, folder_parts: Parts, what: str) -> None:
    """Refuse a symbolic link, standing in ``folder_parts`` below the tree's top, that can lead out of the tree.

    ``..`` may only lead, and not above the top: behind a name it would depend on what that name links to.
    """
    parts = [part for part in link.split("/") if part not in ("", ".")]
    rising = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    if not link or link.startswith("/") or rising > len(folder_parts) or ".." in parts[rising:]:
        raise InvalidError(f"{what} is a symbolic link that leads out of its folder, or may: {link!r}")


def check_apart(leaves: t.AbstractSet[Parts], paths: t.Iterable[Parts], what: str) -> None:
    """Refuse a path that lies below one of ``leaves``, which are among the paths and are no folders: ``a`` and ``a/b``."""
    leaf: t.Optional[Parts] = None
    # In this order all that lies below a path comes right after it: no path is taken apart, however deep it is.
    for parts in sorted(paths):
        if leaf is not None and parts != leaf and parts[: len(leaf)] == leaf:
            raise InvalidError(f"{what} {'/'.join(parts)!r} lies below {'/'.join(leaf)!r}, which is not just a folder")
        if parts in leaves:
            leaf = parts


def check_parts(parts: Parts, what: str) -> None:
    """Refuse parts that are no names of files, or names that are ours, and paths that no system call takes."""
    if len(parts) > _MAX_DEPTH or len("/".join(parts).encode("utf-8", "surrogateescape")) > _MAX_PATH:
        raise InvalidError(f"{what[:80]}... has a path of more than {_MAX_PATH} bytes, or lies more than {_MAX_DEPTH} folders deep")
    for part in parts:
        if part in ("", ".", ".."):
            raise InvalidError(f"{what} is not a plain relative path (no '..', no empty part, not absolute)")
        if "\0" in part or len(part.encode("utf-8", "surrogateescape")) > _MAX_PART:
            raise InvalidError(f"{what} has a part of more than {_MAX_PART} bytes, or with a NUL")
        if part.startswith(TEMP_PREFIX):
            raise InvalidError(f"{what} has a part that starts with {TEMP_PREFIX!r}, which is for temporary files")

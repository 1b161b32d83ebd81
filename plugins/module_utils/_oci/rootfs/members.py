# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Members of a layer's tar, judged one by one, as entries of a root file system."""

from __future__ import annotations

import hashlib
import re
import typing as t

from ..content import tar
from ..content.store import CHUNK
from ..spec.errors import InvalidError
from ..titles import Parts, check_parts
from .entries import CAPABILITY, DEVICES, USER_XATTRS, Entry

WHITEOUT = ".wh."
WHITEOUT_META = ".wh..wh."
_XATTR = "SCHILY.xattr."
_MAX_PATH = 4095  # bytes; PATH_MAX less the NUL
_MAX_ID = 2**32 - 2  # the one above means "no change" to chown
_MAX_MAJOR, _MAX_MINOR = 2**12 - 1, 2**20 - 1
_MAX_XATTR = 64 * 1024  # bytes; XATTR_SIZE_MAX
_MAX_SECONDS = 2**34  # year 2514; beyond lies what file systems cannot store
_FRACTION = re.compile(r"[0-9]{1,20}\.([0-9]{1,30})", re.ASCII)
_KINDS = (tar.FILE, tar.HARD_LINK, tar.SYMLINK, tar.DIRECTORY, *DEVICES)
Read = t.Callable[[int], bytes]


def parse_name(name: str, what: str) -> Parts:
    """The parts of a member's path below the root folder; () for the folder itself. A leading slash means that folder too.

    Raises InvalidError for ``..``, and for what no file system takes.
    """
    if len(name.encode("utf-8", "surrogateescape")) > _MAX_PATH:
        raise InvalidError(f"{what[:80]}... has a path of more than {_MAX_PATH} bytes")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    check_parts(parts, what)
    return parts


def parse_member(member: tar.Entry, layer: int, read: Read) -> t.Optional[Entry]:
    """The entry that a member of this layer is; ``read`` gives the file's content, which is hashed. None for aufs's own books.

    Raises InvalidError for what cannot stand in a root file system.
    """
    what = f"the tar member {member.name!r}"
    path = parse_name(member.name, what)
    if any(part.startswith(WHITEOUT_META) for part in path[:-1]):
        return None
    if any(part.startswith(WHITEOUT) for part in path[:-1]):
        raise InvalidError(f"{what} lies below a whiteout")
    if member.kind not in _KINDS:
        raise InvalidError(f"{what} is of type {member.kind!r}, which no layer has")
    entry = Entry(
        path=path,
        kind=member.kind,
        mode=member.mode,
        uid=_bounded(member.uid, _MAX_ID, f"{what} has the uid"),
        gid=_bounded(member.gid, _MAX_ID, f"{what} has the gid"),
        mtime=_mtime(member),
    )
    if member.kind == tar.FILE:
        return entry._replace(size=member.size, sha256=_digest(read), origin=(layer, member.offset), xattrs=_xattrs(member, what))
    if member.kind == tar.DIRECTORY:
        return entry._replace(xattrs=_xattrs(member, what))
    if member.kind in (tar.SYMLINK, tar.HARD_LINK):
        return entry._replace(link=_link(member.link, what))
    return entry._replace(device=_device(member, what))


def _digest(read: Read) -> str:
    running = hashlib.sha256()
    for chunk in iter(lambda: read(CHUNK), b""):
        running.update(chunk)
    return running.hexdigest()


def _bounded(number: int, most: int, what: str) -> int:
    if not 0 <= number <= most:
        raise InvalidError(f"{what} {number}: expected 0 to {most}")
    return number


def _mtime(member: tar.Entry) -> int:
    """In nanoseconds; 0 for a time that cannot be stored, as containerd does."""
    if not 0 <= member.mtime <= _MAX_SECONDS:
        return 0
    fraction = _FRACTION.fullmatch(member.pax.get("mtime", ""))
    return member.mtime * 10**9 + (int(fraction.group(1)[:9].ljust(9, "0")) if fraction is not None else 0)


def _link(target: str, what: str) -> str:
    if not target or "\0" in target or len(target.encode("utf-8", "surrogateescape")) > _MAX_PATH:
        raise InvalidError(f"{what} is a link to nothing, to a path with a NUL, or to one of more than {_MAX_PATH} bytes")
    return target


def _device(member: tar.Entry, what: str) -> t.Tuple[int, int]:
    if member.kind == tar.FIFO:
        return 0, 0
    major, minor = member.device
    return _bounded(major, _MAX_MAJOR, f"{what} has the major number"), _bounded(minor, _MAX_MINOR, f"{what} has the minor number")


def _xattrs(member: tar.Entry, what: str) -> t.Tuple[t.Tuple[str, bytes], ...]:
    """Those that may be taken over: others are the kernel's, or another machine's."""
    found = []
    for key, text in sorted(member.pax.items()):
        name = key[len(_XATTR) :] if key.startswith(_XATTR) else ""
        if name != CAPABILITY and not (name.startswith(USER_XATTRS) and name != USER_XATTRS):
            continue
        value = text.encode("utf-8", "surrogateescape")
        if "\0" in name or len(name.encode("utf-8", "surrogateescape")) > 255 or len(value) > _MAX_XATTR:
            raise InvalidError(f"{what} has an extended attribute that no file system takes: {name[:80]!r}")
        found.append((name, value))
    return tuple(found)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Extended attributes that belong to the content (image-spec layer.md): as pax records, which containerd and GNU tar write too."""

from __future__ import annotations

import errno
import os
import typing as t

from .spec.errors import InvalidError

# Others belong to the host: security.selinux and system.posix_acl_* name its labels and users, trusted.* its overlays.
_KEPT = "security.capability"
_KEPT_PREFIX = "user."
_PAX = "SCHILY.xattr."
# Nothing there: the file system has none, or the attribute is gone meanwhile.
_NONE = (errno.ENOTSUP, errno.ENODATA, errno.ENOSYS)


def pax_of(descriptor: int, shown: str) -> t.Dict[str, str]:
    """The pax records for the attributes of an open file or folder, ``shown`` in errors; {} where the system has no such attributes.

    Raises OSError, and InvalidError for a name that a pax record cannot have.
    """
    if not hasattr(os, "listxattr"):
        return {}
    try:
        names = [name for name in os.listxattr(descriptor) if name == _KEPT or name.startswith(_KEPT_PREFIX)]
        return {_PAX + _checked(name, shown): _value(descriptor, name) for name in sorted(names)}
    except OSError as error:
        if error.errno in _NONE:
            return {}
        raise


def _value(descriptor: int, name: str) -> str:
    # Any bytes: they come out of the record as they went in.
    return os.getxattr(descriptor, name).decode("utf-8", "surrogateescape")


def _checked(name: str, shown: str) -> str:
    if "=" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise InvalidError(f"{shown} has an extended attribute {name!r}, whose name a tar cannot hold: remove it, or set xattrs to false")
    return name

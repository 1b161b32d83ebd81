# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Options that several builds have: times, media types, files that have to be there."""

from __future__ import annotations

import os
import typing as t

from .spec import mediatype
from .spec.errors import InvalidError, NotFoundError
from .spec.timestamp import Timestamp


def files_argument_spec() -> t.Dict[str, t.Any]:
    """``files``: what an artifact holds."""
    return {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "src": {"type": "path", "required": True},
            "title": {"type": "str"},
            "media_type": {"type": "str"},
            "annotations": {"type": "dict", "default": {}},
        },
    }


def created_of(text: t.Optional[str], environment: t.Mapping[str, str]) -> t.Optional[Timestamp]:
    """The time of the build: the option's, else that of SOURCE_DATE_EPOCH, else None."""
    if text is not None:
        return Timestamp.parse(text, "created")
    epoch = environment.get("SOURCE_DATE_EPOCH")
    return Timestamp.parse(epoch, "SOURCE_DATE_EPOCH") if epoch else None


def media_type_of(text: t.Optional[str], what: str) -> t.Optional[str]:
    """The option ``what``, a media type or None. Raises InvalidError."""
    if text is not None and not mediatype.is_valid(text):
        raise InvalidError(f"{what} is not a media type: {text!r} (as application/vnd.example.v1, without parameters)")
    return text


def existing(source: str, what: str) -> str:
    """Raises NotFoundError."""
    if not os.path.exists(source):
        raise NotFoundError(f"{what}.src: no such file or folder: {source} (it has to be on the host that the task runs on)")
    return source

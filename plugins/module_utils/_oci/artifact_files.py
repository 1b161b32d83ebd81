# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What an artifact is made of, and the files of it as options have them."""

from __future__ import annotations

import os
import typing as t
from types import MappingProxyType

from .file_options import existing, media_type_of
from .layer import Attributes, Tree
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError
from .strings import strings
from .titles import parse_title

Params = t.Mapping[str, t.Any]
UNKNOWN_ARTIFACT = "application/vnd.unknown.artifact.v1"
UNKNOWN_CONFIG = "application/vnd.unknown.config.v1+json"


class File(t.NamedTuple):
    """One file or folder of an artifact; ``media_type`` None is oras's for files or folders."""

    source: t.Union[str, Tree]
    title: str
    media_type: t.Optional[str] = None
    annotations: t.Mapping[str, str] = MappingProxyType({})


class Artifact(t.NamedTuple):
    """``artifact_type`` may be '' where ``config`` has a type of its own; ``created`` is RFC 3339. ``subject``: what it is attached to."""

    artifact_type: str
    files: t.Sequence[File] = ()
    annotations: t.Mapping[str, str] = MappingProxyType({})
    created: t.Optional[str] = None
    config: t.Optional[File] = None
    subject: t.Optional[Descriptor] = None


def file_of(item: Params, mtime: int, what: str) -> File:
    """One of ``files``; ``mtime``: of all members of a folder. Raises InvalidError, NotFoundError."""
    source = existing(item["src"], what)
    title = item["title"] if item["title"] is not None else _default_title(source, what)
    parse_title(title)
    content = Tree(source, title, Attributes(mtime=mtime), packed=True) if os.path.isdir(source) else source
    annotations = strings(item["annotations"], f"{what}.annotations")
    return File(content, title, media_type_of(item["media_type"], f"{what}.media_type"), annotations)


def _default_title(source: str, what: str) -> str:
    """As oras: the path as it was typed. An absolute one would name places of this host: its last part."""
    cleaned = os.path.normpath(source)
    if os.path.isabs(cleaned):
        return os.path.basename(cleaned)
    if cleaned.split("/")[0] in ("..", "."):
        raise InvalidError(f"{what}.src is {source!r}, which gives no title: give one")
    return cleaned

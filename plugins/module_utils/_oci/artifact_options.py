# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The options that describe an artifact, checked and turned into what the Packer takes."""

from __future__ import annotations

import os
import typing as t

from .layer import Attributes, Tree, open_regular
from .pack import UNKNOWN_ARTIFACT, UNKNOWN_CONFIG, Artifact, File
from .runtime import strings
from .spec import mediatype, strictjson
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError, NotFoundError, located, storage_errors
from .spec.timestamp import Timestamp
from .titles import parse_title

Params = t.Mapping[str, t.Any]
# As oras has them in its annotation files; other keys are titles.
_OF_MANIFEST, _OF_CONFIG = "$manifest", "$config"


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


def artifact_argument_spec() -> t.Dict[str, t.Any]:
    """What ``artifact_of`` takes beside ``artifact_type``; documented by the fragment ``artifact``."""
    config = {"src": {"type": "path", "required": True}, "media_type": {"type": "str"}, "annotations": {"type": "dict", "default": {}}}
    return {
        "files": files_argument_spec(),
        "config": {"type": "dict", "options": config},
        "annotations": {"type": "dict", "default": {}},
        "annotation_file": {"type": "path"},
        "created": {"type": "str"},
    }


def artifact_of(params: Params, environment: t.Mapping[str, str], subject: t.Optional[Descriptor] = None) -> Artifact:
    """``params``: files, artifact_type, config, annotations, annotation_file, created. Raises InvalidError, NotFoundError, StorageError
    before anything is written."""
    created = created_of(params["created"], environment)
    more = _Annotations.read(params["annotation_file"])
    mtime = created.epoch if created else 0
    files = [file_of(item, mtime, f"files[{number}]") for number, item in enumerate(params["files"])]
    files = [file._replace(annotations={**more.of(file.title), **file.annotations}) for file in files]
    config = _config(params["config"], more)
    more.check_used()
    artifact_type = media_type_of(params["artifact_type"], "artifact_type") or ("" if config else UNKNOWN_ARTIFACT)
    annotations = {**more.of(_OF_MANIFEST), **strings(params["annotations"], "annotations")}
    return Artifact(artifact_type, files, annotations, str(created) if created else None, config, subject)


def _config(item: t.Optional[Params], more: _Annotations) -> t.Optional[File]:
    if item is None:
        return None
    annotations = {**more.of(_OF_CONFIG), **strings(item["annotations"], "config.annotations")}
    media_type = media_type_of(item["media_type"], "config.media_type") or UNKNOWN_CONFIG
    return File(existing(item["src"], "config"), "", media_type, annotations)


class _Annotations:
    """An annotation file: annotations by title. What names nothing is an error: it would be lost."""

    def __init__(self, document: t.Mapping[str, t.Any], path: str) -> None:
        self._of = {key: strings(value, f"annotation_file {path}: {key}") for key, value in document.items()}
        self._path = path
        self._used: t.Set[str] = {_OF_MANIFEST}

    @classmethod
    def read(cls, path: t.Optional[str]) -> _Annotations:
        if path is None:
            return cls({}, "")
        with located(f"annotation_file {path}"), storage_errors("reading"):
            with open_regular(path) as file:
                content = file.read(strictjson.MAX_DOCUMENT + 1)
            return cls(strictjson.load_object(content, "it"), path)

    def of(self, key: str) -> t.Dict[str, str]:
        self._used.add(key)
        return self._of.get(key, {})

    def check_used(self) -> None:
        for key in self._of:
            if key not in self._used:
                raise InvalidError(f"annotation_file {self._path}: {key!r} is the title of no file, and neither $manifest nor $config")


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
        raise NotFoundError(f"{what}.src: no such file or folder: {source}")
    return source


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

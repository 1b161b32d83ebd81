# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The options that describe an artifact, checked and turned into what the Packer takes."""

from __future__ import annotations

import typing as t

from .artifact_files import UNKNOWN_ARTIFACT, UNKNOWN_CONFIG, Artifact, File, file_of
from .file_options import created_of, existing, files_argument_spec, media_type_of
from .layer import open_regular
from .spec import strictjson
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError, located, storage_errors
from .strings import strings

Params = t.Mapping[str, t.Any]
# As oras has them in its annotation files; other keys are titles.
_OF_MANIFEST, _OF_CONFIG = "$manifest", "$config"


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

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The options of a build, checked and turned into what the Packer takes."""

from __future__ import annotations

import os
import typing as t

from .content.compression import GZIP, check_level
from .file_options import created_of, existing, media_type_of
from .given import SUFFIXES, GivenTar
from .layer import WHITEOUT, Attributes, Tree
from .pack import Layer, Packer
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError
from .spec.platform import Platform
from .strings import strings
from .whiteout import Whiteouts

if t.TYPE_CHECKING:
    from .artifact_files import File
    from .base import Base

Params = t.Mapping[str, t.Any]
_MAX_ID = 2**32 - 2
_MAX_MODE = 0o7777
_KEEP = "keep"


class BuildOptions:
    """``params`` as the module documents them. Raises InvalidError and NotFoundError before anything is read or written."""

    def __init__(self, params: Params, environment: t.Mapping[str, str]) -> None:
        self._is_artifact = bool(params["files"] or params["artifact_type"])
        _check_kind(params, self._is_artifact)
        self._created = created_of(params["created"], environment)
        self._annotations = strings(params["annotations"], "annotations")
        self._artifact_type = media_type_of(params["artifact_type"], "artifact_type")
        # What the base has to be for, when it is said.
        self.platform = Platform.parse(params["platform"]) if params["platform"] else None
        self._config = {} if self._is_artifact else _config(params)
        mtime = self._created.epoch if self._created else 0
        self._layers = _layers(params["layers"], mtime, parents=not params["base"])
        self._files = _files(params["files"], mtime) if params["files"] else []

    def pack(self, packer: Packer, base: t.Optional[Base] = None) -> Descriptor:
        """The root of what the options describe. ``base`` is the one that they name."""
        created = str(self._created) if self._created else None
        if self._is_artifact:
            from .artifact_files import UNKNOWN_ARTIFACT, Artifact

            return packer.artifact(Artifact(self._artifact_type or UNKNOWN_ARTIFACT, self._files, self._annotations, created))
        from .base import scratch

        start = base or scratch(self.platform or Platform.of_host())
        return packer.image(start, self._layers, self._config, self._annotations, created)


def _check_kind(params: Params, is_artifact: bool) -> None:
    image_options = [name for name in ("layers", "config", "platform", "base") if params[name]]
    stray = [name for name in ("base_ref", "base_registry") if params[name] is not None and not params["base"]]
    if stray:
        raise InvalidError(f"{stray[0]} belongs to base, which is not given")
    if is_artifact and image_options:
        raise InvalidError(f"{image_options[0]} makes an image, files and artifact_type make an artifact: give one or the other")
    if not is_artifact and not image_options:
        raise InvalidError(
            "nothing to build: give layers, config or base for an image, files or artifact_type for an artifact, or manifests for an index"
        )


def _config(params: Params) -> t.Dict[str, t.Any]:
    from .runtime import check_config  # artifacts need none of it, and each run compiles what it imports

    return check_config(params["config"] or {}, inherits=bool(params["base"]))


def _files(items: t.Sequence[Params], mtime: int) -> t.List[File]:
    from .artifact_files import file_of  # images need none of it, and each run compiles what it imports

    return [file_of(item, mtime, f"files[{number}]") for number, item in enumerate(items)]


def _layers(items: t.Sequence[Params], mtime: int, parents: bool) -> t.List[Layer]:
    """Each item is a layer, but items that take paths away and follow on one another are one together.

    ``parents``: the default of that option.
    """
    layers: t.List[Layer] = []
    for number, item in enumerate(items):
        what = f"layers[{number}]"
        check_level(item["compression"] or GZIP, item["compression_level"], f"{what}.compression_level")
        if item["state"] == "present":
            layers.append(Layer(_content(item, mtime, parents, what), item["compression"], item["compression_level"]))
            continue
        layer = Layer(Whiteouts((_gone(item, what),), mtime), item["compression"], item["compression_level"])
        last = layers[-1] if layers else None
        if last is not None and isinstance(last.source, Whiteouts) and last == layer._replace(source=last.source):
            both = Whiteouts((*last.source.paths, _gone(item, what)), mtime)
            layers[-1] = layer._replace(source=both)
        else:
            layers.append(layer)
    return layers


def _gone(item: Params, what: str) -> str:
    """The path that a layer takes away."""
    given = [name for name in ("src", "mode", "owner", "group") if item[name] not in (None, 0)]
    if given:
        raise InvalidError(f"{what} has state absent, which takes dest away: {given[0]} cannot be given with it")
    path = _inside(item["dest"] or "/", what)
    if not path:
        raise InvalidError(f"{what} has state absent and needs a dest, which must not be the top of the image")
    return path


def _content(item: Params, mtime: int, parents: bool, what: str) -> t.Union[Tree, GivenTar]:
    if item["src"] is None:
        raise InvalidError(f"{what} needs a src, unless its state is absent")
    source = existing(item["src"], what)
    given = {name: item[name] for name in ("dest", "mode", "owner", "group") if item[name] not in (None, 0)}
    if source.endswith(SUFFIXES) and os.path.isfile(source):
        if given:
            raise InvalidError(f"{what}: {source} is a tar and becomes the layer as it is, without {', '.join(given)}: unpack it first")
        return GivenTar(source)
    mode, owner, group = _mode(item["mode"], what), _owner(item["owner"], f"{what}.owner"), _owner(item["group"], f"{what}.group")
    attributes = Attributes(mode, owner, group, mtime, item["xattrs"])
    made = parents if item["parents"] is None else item["parents"]
    return Tree(source, _place(source, item["dest"] or "/", what), attributes, parents=made)


def _place(source: str, dest: str, what: str) -> str:
    """Where in the layer."""
    if dest.endswith("/") and not os.path.isdir(source):
        dest += os.path.basename(source)
    return _inside(dest, what)


def _inside(dest: str, what: str) -> str:
    """A path of the image without slashes at its ends, '' for the top."""
    parts = [part for part in dest.split("/") if part]
    if ".." in parts or "." in parts:
        raise InvalidError(f"{what}.dest is {dest!r}: it must be a path inside of the image, without '.' and '..'")
    if "\0" in dest or any("\ud800" <= character <= "\udfff" for character in dest):
        raise InvalidError(f"{what}.dest is {dest!r}: it is not text that a tar can hold")
    if any(part.startswith(WHITEOUT) for part in parts):
        raise InvalidError(f"{what}.dest is {dest!r}: names that start with {WHITEOUT} mark what is taken away, and cannot be in an image")
    return "/".join(parts)


def _mode(value: t.Any, what: str) -> t.Optional[int]:
    if value is None:
        return None
    try:
        # YAML reads an unquoted 0644 as the number that these digits mean in octal, as Ansible's own modules take it.
        mode = value if isinstance(value, int) and not isinstance(value, bool) else int(str(value), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= _MAX_MODE:
        raise InvalidError(f"{what}.mode is {value!r}: expected an octal string like '0644'")
    return mode


def _owner(value: t.Any, what: str) -> t.Optional[int]:
    """None for that of the files."""
    return None if value == _KEEP else _number(value, what)


def _number(value: t.Any, what: str) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()) or int(text) > _MAX_ID:
        raise InvalidError(f"{what} is {text!r}: expected a numeric id or 'keep', because names mean something else inside of an image")
    return int(text)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The options of a build, checked and turned into what the Packer takes."""

from __future__ import annotations

import os
import platform as host
import re
import typing as t

from .given import SUFFIXES, GivenTar
from .layer import Attributes, Tree
from .pack import UNKNOWN_ARTIFACT, File, LayerSource, Packer
from .spec import mediatype
from .spec.descriptor import Descriptor
from .spec.errors import InvalidError, NotFoundError
from .spec.platform import Platform
from .spec.timestamp import Timestamp
from .titles import parse_title

Params = t.Mapping[str, t.Any]
_PORT = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?", re.ASCII)
_MAX_ID = 2**32 - 2
_MAX_MODE = 0o7777
# option -> name in the image's config (config.md), in the order of Go's struct
_CONFIG_NAMES = {
    "user": "User",
    "exposed_ports": "ExposedPorts",
    "env": "Env",
    "entrypoint": "Entrypoint",
    "cmd": "Cmd",
    "volumes": "Volumes",
    "working_dir": "WorkingDir",
    "labels": "Labels",
    "stop_signal": "StopSignal",
}


class BuildOptions:
    """``params`` as the module documents them. Raises InvalidError and NotFoundError before anything is read or written."""

    def __init__(self, params: Params, environment: t.Mapping[str, str]) -> None:
        self._is_artifact = bool(params["files"] or params["artifact_type"])
        _check_kind(params, self._is_artifact)
        self._created = created_of(params["created"], environment)
        self._annotations = strings(params["annotations"], "annotations")
        self._artifact_type = media_type_of(params["artifact_type"], "artifact_type") or UNKNOWN_ARTIFACT
        self._platform = Platform.parse(params["platform"] or f"linux/{host.machine()}")
        self._config = image_config(params["config"] or {})
        mtime = self._created.epoch if self._created else 0
        self._layers = [_layer(item, mtime, f"layers[{number}]") for number, item in enumerate(params["layers"])]
        self._files = [_file(item, mtime, f"files[{number}]") for number, item in enumerate(params["files"])]

    def pack(self, packer: Packer) -> Descriptor:
        """The root of what the options describe."""
        created = str(self._created) if self._created else None
        if self._is_artifact:
            return packer.artifact(self._artifact_type, self._files, self._annotations, created)
        return packer.image(self._layers, self._platform, self._config, self._annotations, created)


def _check_kind(params: Params, is_artifact: bool) -> None:
    image_options = [name for name in ("layers", "config", "platform") if params[name]]
    if is_artifact and image_options:
        raise InvalidError(f"{image_options[0]} makes an image, files and artifact_type make an artifact: give one or the other")
    if not is_artifact and not image_options:
        raise InvalidError(
            "nothing to build: give layers or config for an image, files or artifact_type for an artifact, or manifests for an index"
        )


def created_of(text: t.Optional[str], environment: t.Mapping[str, str]) -> t.Optional[Timestamp]:
    """The time of the build: the option's, else that of SOURCE_DATE_EPOCH, else None."""
    if text is not None:
        return Timestamp.parse(text, "created")
    epoch = environment.get("SOURCE_DATE_EPOCH")
    return Timestamp.parse(epoch, "SOURCE_DATE_EPOCH") if epoch else None


def strings(values: t.Mapping[str, t.Any], what: str) -> t.Dict[str, str]:
    """The mapping, when all its values are strings: what YAML makes of an unquoted ``yes`` or ``1.10`` is not what was written."""
    for key, value in values.items():
        if not isinstance(value, str):
            raise InvalidError(f"{what}: the value of {key!r} is {value!r}, not a string: quote it")
        if not key:
            raise InvalidError(f"{what} has an empty name")
    return dict(values)


def image_config(options: Params) -> t.Dict[str, t.Any]:
    """The config of config.md from the module's ``config`` options; what is not given is left out."""
    made: t.Dict[str, t.Callable[[t.Any], t.Any]] = {
        "env": _environment,
        "labels": lambda value: dict(sorted(strings(value, "config.labels").items())),
        "exposed_ports": lambda value: {_port(port): {} for port in sorted(value)},
        "volumes": lambda value: {path: {} for path in sorted(value)},
    }
    given = {name: options[name] for name in _CONFIG_NAMES if options.get(name) not in (None, "", [], {})}
    return {_CONFIG_NAMES[name]: made.get(name, lambda value: value)(value) for name, value in given.items()}


def _environment(values: t.Mapping[str, t.Any]) -> t.List[str]:
    for name in strings(values, "config.env"):
        if "=" in name:
            raise InvalidError(f"config.env: {name!r} is not a name for a variable")
    return [f"{name}={value}" for name, value in sorted(values.items())]


def _port(port: str) -> str:
    if not _PORT.fullmatch(port):
        raise InvalidError(f"config.exposed_ports: {port!r} is not a port (as 80, 80/tcp, 53/udp)")
    return port


def media_type_of(text: t.Optional[str], what: str) -> t.Optional[str]:
    """The option ``what``, a media type or None. Raises InvalidError."""
    if text is not None and not mediatype.is_valid(text):
        raise InvalidError(f"{what} is not a media type: {text!r} (as application/vnd.example.v1, without parameters)")
    return text


def _layer(item: Params, mtime: int, what: str) -> LayerSource:
    source = _existing(item["src"], what)
    given = {name: item[name] for name in ("dest", "mode", "owner", "group") if item[name] not in (None, 0)}
    if source.endswith(SUFFIXES) and os.path.isfile(source):
        if given:
            raise InvalidError(f"{what}: {source} is a tar and becomes the layer as it is, without {', '.join(given)}: unpack it first")
        return GivenTar(source)
    attributes = Attributes(
        _mode(item["mode"], what), _number(item["owner"], f"{what}.owner"), _number(item["group"], f"{what}.group"), mtime
    )
    return Tree(source, _place(source, item["dest"] or "/", what), attributes)


def _place(source: str, dest: str, what: str) -> str:
    """Where in the layer: without slashes at its ends, '' for the top."""
    if dest.endswith("/") and not os.path.isdir(source):
        dest += os.path.basename(source)
    parts = [part for part in dest.split("/") if part]
    if ".." in parts or "." in parts:
        raise InvalidError(f"{what}.dest is {dest!r}: it must be a path inside of the image, without '.' and '..'")
    return "/".join(parts)


def _existing(source: str, what: str) -> str:
    if not os.path.exists(source):
        raise NotFoundError(f"{what}.src: no such file or folder: {source}")
    return source


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


def _number(value: t.Any, what: str) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()) or int(text) > _MAX_ID:
        raise InvalidError(f"{what} is {text!r}: expected a numeric id, because names mean something else inside of an image")
    return int(text)


def _file(item: Params, mtime: int, what: str) -> File:
    source = _existing(item["src"], what)
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

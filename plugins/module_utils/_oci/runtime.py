# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""How a container of an image runs: the options of ``config``, alone or over what a base has (image-spec config.md, "config")."""

from __future__ import annotations

import re
import typing as t

from .spec.errors import InvalidError
from .strings import strings

Params = t.Mapping[str, t.Any]
Fields = t.Dict[str, t.Any]
_PORT = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?", re.ASCII)
# option -> name in the image's config (config.md), in the order of Go's struct
_NAMES = {
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


def check_config(options: Params, inherits: bool) -> Fields:
    """The options that were given, by their names in an image's config. Raises InvalidError for one that cannot be.

    ``inherits``: there is a base, from which a null takes a variable or label away.
    """
    for name in ("env", "labels"):
        values = options.get(name) or {}
        strings({key: value for key, value in values.items() if value is not None or not inherits}, f"config.{name}")
    for name in options.get("env") or {}:
        if "=" in name or not name:
            raise InvalidError(f"config.env: {name!r} is not a name for a variable")
    for port in options.get("exposed_ports") or []:
        if not _PORT.fullmatch(port):
            raise InvalidError(f"config.exposed_ports: {port!r} is not a port (as 80, 80/tcp, 53/udp)")
    return {_NAMES[name]: options[name] for name in _NAMES if options.get(name) is not None}


def merged(inherited: Fields, given: Fields) -> Fields:
    """What ``check_config`` gave over what a base has; what is empty then is left out. Raises InvalidError for a base's broken field.

    Variables and labels by name, ports and volumes joined, the rest replaced. A new Entrypoint makes the arguments that were meant
    for the old one void, as ``docker build`` does it.
    """
    fields = dict(inherited)
    if given.get("Entrypoint") is not None and "Cmd" not in given:
        fields.pop("Cmd", None)
    for name, value in given.items():
        fields[name] = _JOINED[name](inherited.get(name), value) if name in _JOINED else value
    ordered = {**{name: fields[name] for name in _NAMES.values() if name in fields}, **fields}
    return {name: value for name, value in ordered.items() if name not in given or value not in ("", [], {})}


def _environment(inherited: t.Any, given: t.Mapping[str, t.Optional[str]]) -> t.List[str]:
    """Inherited variables keep their places; new ones follow, sorted."""
    lines: t.List[str] = []
    left = dict(given)
    for line in _list(inherited, "Env"):
        name = line.partition("=")[0]
        if name not in given:
            lines.append(line)
        elif name in left:
            lines += _line(name, left.pop(name))
    for name, value in sorted(left.items()):
        lines += _line(name, value)
    return lines


def _line(name: str, value: t.Optional[str]) -> t.List[str]:
    return [] if value is None else [f"{name}={value}"]


def _labels(inherited: t.Any, given: t.Mapping[str, t.Optional[str]]) -> t.Dict[str, str]:
    both = {**_map(inherited, "Labels", str), **given}
    return {name: value for name, value in sorted(both.items()) if value is not None}


def _joined(name: str) -> t.Callable[[t.Any, t.Sequence[str]], t.Dict[str, t.Any]]:
    def join(inherited: t.Any, given: t.Sequence[str]) -> t.Dict[str, t.Any]:
        both = {**{one: {} for one in given}, **_map(inherited, name, dict)}
        return dict(sorted(both.items()))

    return join


def _list(inherited: t.Any, name: str) -> t.List[str]:
    if inherited is None:
        return []
    if not isinstance(inherited, list) or not all(isinstance(line, str) for line in inherited):
        raise InvalidError(f"the config of the base has {name} that is not a list of strings")
    return inherited


def _map(inherited: t.Any, name: str, of: type) -> t.Dict[str, t.Any]:
    if inherited is None:
        return {}
    if not isinstance(inherited, dict) or not all(isinstance(value, of) for value in inherited.values()):
        raise InvalidError(f"the config of the base has {name} that is not a map of {'strings' if of is str else 'objects'}")
    return inherited


_JOINED: t.Dict[str, t.Callable[[t.Any, t.Any], t.Any]] = {
    "Env": _environment,
    "Labels": _labels,
    "ExposedPorts": _joined("ExposedPorts"),
    "Volumes": _joined("Volumes"),
}

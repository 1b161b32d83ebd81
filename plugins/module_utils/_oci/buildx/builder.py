# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Builder instances of buildx: what is declared, what is there, and how the one becomes the other."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import shlex
import tempfile
import typing as t
from dataclasses import dataclass

from ..cache import CacheFile
from ..spec.errors import InvalidError, NotFoundError, ToolError, storage_errors
from .cli import Buildx
from .definition import csv_record

DOCKER, CONTAINER, REMOTE = "docker", "docker-container", "remote"
RUNNING = "running"
# buildx adds it to every container that shares the engine's network.
_OWN_FLAG = "--allow-insecure-entitlement=network.host"
_CONFIG_FILE = "buildkitd.toml"


@dataclass(frozen=True)
class Instance:
    """A builder as ``docker buildx ls`` shows it. ``version``: of its BuildKit, '' when it is not running."""

    name: str
    driver: str
    current: bool
    status: str
    version: str
    endpoint: str
    driver_opts: t.Mapping[str, str]
    flags: t.Tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """A builder as it is declared; None for what is left as it is."""

    name: str
    driver: str
    endpoint: t.Optional[str] = None
    driver_opts: t.Optional[t.Mapping[str, str]] = None
    config: t.Optional[str] = None
    flags: t.Optional[t.Tuple[str, ...]] = None
    platforms: t.Optional[t.Tuple[str, ...]] = None
    bootstrap: bool = False
    default: bool = False


@dataclass(frozen=True)
class Plan:
    """``before`` and ``after``: the declared parts, as texts. The actions are done in this order: remove, create, start, make default."""

    before: t.Mapping[str, str]
    after: t.Mapping[str, str]
    remove: bool = False
    create: bool = False
    start: bool = False
    use: bool = False

    @property
    def actions(self) -> t.List[str]:
        names = {"removed": self.remove, "created": self.create, "started": self.start, "made the default": self.use}
        return [name for name, done in names.items() if done]


def find(buildx: Buildx, name: t.Optional[str]) -> t.Optional[Instance]:
    """The instance of that name, None when there is none; without a name BUILDX_BUILDER's, else the current one."""
    wanted = name or os.environ.get("BUILDX_BUILDER")
    for line in buildx.must("ls", "--format", "{{json .}}").splitlines():
        try:
            found = json.loads(line)
        except ValueError as error:
            raise ToolError(f"docker buildx ls gave no JSON (0.13 or newer is needed): {line[:200]}") from error
        if found.get("Name") == wanted or (not wanted and found.get("Current")):
            return _instance(found)
    return None


def _instance(found: t.Mapping[str, t.Any]) -> Instance:
    nodes = found.get("Nodes") or [{}]
    return Instance(
        name=found.get("Name", ""),
        driver=found.get("Driver", ""),
        current=bool(found.get("Current")),
        status=", ".join(dict.fromkeys(node.get("Status") or "" for node in nodes)),
        version=", ".join(dict.fromkeys(node["Version"] for node in nodes if node.get("Version"))),
        endpoint=nodes[0].get("Endpoint") or "",
        driver_opts=nodes[0].get("DriverOpts") or {},
        flags=tuple(nodes[0].get("Flags") or ()),
    )


class Declared:
    """What an instance was created with and ``ls`` does not tell: buildx's own file of it, and what we remember of its configuration.

    buildx rewrites the TOML that it is given, so the text cannot be compared with what it keeps.
    """

    def __init__(self, name: str) -> None:
        base = os.environ.get("BUILDX_CONFIG") or os.path.join(
            os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker"), "buildx"
        )
        self._path = os.path.join(base, "instances", name)
        self._cache = CacheFile("builder", os.fsencode(self._path))

    def platforms(self) -> t.Tuple[str, ...]:
        """Those that were declared; a running builder lists what it detected as well."""
        listed = self._node().get("Platforms") or []
        return tuple("/".join(filter(None, (item.get("os"), item.get("architecture"), item.get("variant")))) for item in listed)

    def has_config(self, config: str) -> bool:
        """Whether the instance was created with this configuration, by us or as it stands."""
        stored = self._stored_config()
        if stored == config:
            return True
        known = self._cache.load()
        return known.get("given") == _digest(config) and known.get("stored") == _digest(stored)

    def shown_config(self) -> str:
        return self._stored_config()

    def remember(self, config: str) -> None:
        """Raises OCIError and OSError."""
        self._cache.save({"given": _digest(config), "stored": _digest(self._stored_config())})

    def _stored_config(self) -> str:
        files = self._node().get("Files") or {}
        try:
            return base64.b64decode(files.get(_CONFIG_FILE, "")).decode("utf-8", "replace")
        except (binascii.Error, ValueError, TypeError):
            return ""

    def _node(self) -> t.Dict[str, t.Any]:
        try:
            with open(self._path, encoding="utf-8") as file:
                return dict(json.load(file)["Nodes"][0])
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            return {}


def plan_present(wanted: Wanted, found: t.Optional[Instance], declared: Declared) -> Plan:
    """What has to be done. Raises NotFoundError when the builder is one that buildx cannot create."""
    if wanted.driver == DOCKER:
        return _plan_docker(wanted, found)
    if wanted.driver == REMOTE and not wanted.endpoint:
        raise InvalidError("the driver remote needs endpoint: the address of the daemon, as tcp://buildkit.example.com:1234")
    if found is not None and found.driver == DOCKER:
        raise InvalidError(f"{wanted.name} is the engine's own builder (driver docker): choose another name")
    after = _texts(wanted)
    before = _current_texts(wanted, found, declared) if found is not None else {}
    differs = before != after
    status = found.status if found is not None else ""
    return Plan(
        before={**before, **(_states(wanted, found.status, found.current) if found is not None else {})},
        after={**after, **_states(wanted, RUNNING, True)},
        remove=found is not None and differs,
        create=differs,
        start=wanted.bootstrap and (differs or status != RUNNING),
        use=wanted.default and (found is None or differs or not found.current),
    )


def _plan_docker(wanted: Wanted, found: t.Optional[Instance]) -> Plan:
    if found is None or found.driver != DOCKER:
        raise NotFoundError(
            f"there is no builder {wanted.name!r} with the driver docker: those are the docker contexts whose engine answers "
            "(docker_host names another engine; see docker buildx ls)"
        )
    if found.status != RUNNING:
        raise ToolError(f"the engine of builder {wanted.name} is {found.status or 'not reached'}: start it, or name its docker_host")
    before, after = ({**_named(wanted), **_states(wanted, RUNNING, current)} for current in (found.current, True))
    return Plan(before, after, use=wanted.default and not found.current)


def plan_absent(name: str, found: t.Optional[Instance]) -> Plan:
    if found is not None and found.driver == DOCKER:
        raise InvalidError(f"{name} is the engine's own builder (driver docker), it cannot be removed")
    before = {"name": found.name, "driver": found.driver} if found is not None else {}
    return Plan(before, {}, remove=found is not None)


def apply(plan: Plan, wanted: Wanted, found: t.Optional[Instance], declared: Declared, buildx: Buildx) -> None:
    """Do what the plan says. Raises ToolError; an instance that could not be started stays, for the next run to start."""
    if plan.remove:
        # The cache of a container is worth keeping when the container is only made anew.
        keep = ["--keep-state"] if plan.create and found is not None and found.driver == wanted.driver == CONTAINER else []
        buildx.must("rm", "--force", *keep, wanted.name)
    if plan.create:
        _create(wanted, buildx)
        if wanted.config is not None:
            declared.remember(wanted.config)
    if plan.start:
        buildx.must("inspect", "--bootstrap", wanted.name)
    if plan.use:
        buildx.must("use", wanted.name)


def _create(wanted: Wanted, buildx: Buildx) -> None:
    with storage_errors("making a temporary folder"), tempfile.TemporaryDirectory(prefix="lading-builder-") as folder:
        words = [f"--name={wanted.name}", f"--driver={wanted.driver}"]
        words += [f"--driver-opt={csv_record([f'{name}={value}'])}" for name, value in (wanted.driver_opts or {}).items()]
        words += [f"--platform={','.join(wanted.platforms)}"] if wanted.platforms else []
        words += [f"--buildkitd-flags={' '.join(map(shlex.quote, wanted.flags))}"] if wanted.flags else []
        if wanted.config:
            path = os.path.join(folder, _CONFIG_FILE)
            with open(path, "w", encoding="utf-8") as file:
                file.write(wanted.config)
            words.append(f"--buildkitd-config={path}")
        buildx.must("create", *words, *([wanted.endpoint] if wanted.endpoint else []))


def config_text(mirrors: t.Sequence[t.Mapping[str, t.Any]], insecure: t.Sequence[str]) -> str:
    """A buildkitd configuration (TOML) with mirrors by registry, and registries without TLS."""
    lines: t.Dict[str, t.List[str]] = {}
    for item in mirrors:
        lines.setdefault(item["registry"], []).append(f"mirrors = [{', '.join(map(_quoted, item['mirrors']))}]")
    for registry in dict.fromkeys(insecure):
        lines.setdefault(registry, []).append("http = true")
    return "".join(f"[registry.{_quoted(name)}]\n" + "".join(f"  {line}\n" for line in lines[name]) for name in sorted(lines))


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are among its own."""
    return json.dumps(text)


def _named(wanted: Wanted) -> t.Dict[str, str]:
    return {"name": wanted.name, "driver": wanted.driver}


def _states(wanted: Wanted, status: str, current: bool) -> t.Dict[str, str]:
    """What is declared beside the instance's options: that it runs, that it is the current one."""
    parts = {"status": (wanted.bootstrap, status), "default": (wanted.default, "yes" if current else "no")}
    return {name: text for name, (declared, text) in parts.items() if declared}


def _texts(wanted: Wanted) -> t.Dict[str, str]:
    """The declared parts only."""
    parts = {
        "endpoint": wanted.endpoint,
        "driver options": None if wanted.driver_opts is None else _sorted_text(wanted.driver_opts),
        "flags": None if wanted.flags is None else " ".join(wanted.flags),
        "platforms": None if wanted.platforms is None else ", ".join(sorted(wanted.platforms)),
        "configuration": wanted.config,
    }
    return {**_named(wanted), **{name: text for name, text in parts.items() if text is not None}}


def _current_texts(wanted: Wanted, found: Instance, declared: Declared) -> t.Dict[str, str]:
    """Of the instance, the same parts."""
    own = [flag for flag in found.flags if flag != _OWN_FLAG or flag in (wanted.flags or ())]
    config = declared.shown_config()
    parts = {
        "name": found.name,
        "driver": found.driver,
        "endpoint": found.endpoint,
        "driver options": _sorted_text(found.driver_opts),
        "flags": " ".join(own),
        "platforms": ", ".join(sorted(declared.platforms())),
        "configuration": wanted.config if wanted.config is not None and declared.has_config(wanted.config) else config,
    }
    declared_parts = _texts(wanted)
    return {name: t.cast(str, text) for name, text in parts.items() if name in declared_parts}


def _sorted_text(options: t.Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(options.items()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()

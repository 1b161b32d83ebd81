# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs that get the same hostile input and the same faults: ours, and the peers, each as a process of its own."""

from __future__ import annotations

import abc
import dataclasses
import json
import os
import pathlib
import sys
import typing as t

from measured import Run, run

MODULES = "ansible_collections.lading.oci.plugins.modules"
LAYOUT, ARCHIVE, REGISTRY = "layout", "archive", "registry"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an image or artifact is. ``name``: a layout's path, or HOST/REPOSITORY; ``ref``: a tag, ref or digest."""

    kind: str
    name: str
    ref: str = "v1"

    @property
    def is_digest(self) -> bool:
        return ":" in self.ref


@dataclasses.dataclass(frozen=True)
class Access:
    """How registries are reached. ``credentials``: (user, password) by host, given in a config.json of the process's own."""

    plain_http: bool = True
    ca_file: t.Optional[str] = None
    credentials: t.Mapping[str, t.Tuple[str, str]] = dataclasses.field(default_factory=dict)
    environment: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    timeout: int = 5  # seconds without an answer; ours only, for peers have no such option
    retries: int = 5  # ours only as well


class Client(abc.ABC):
    """One program. A method answers None where the program has no such command."""

    name: str

    def __init__(self, home: pathlib.Path, access: Access = Access(), limit: float = 90) -> None:
        self.home = home
        self.access = access
        self.limit = limit
        home.mkdir(parents=True, exist_ok=True)
        self._write_credentials()

    @abc.abstractmethod
    def copy(self, source: Place, destination: Place) -> t.Optional[Run]:
        """Let ``destination`` name what ``source`` does, with everything under it."""

    @abc.abstractmethod
    def pull(self, source: Place, folder: str) -> t.Optional[Run]:
        """The files of an artifact into ``folder``."""

    def unpack(self, source: Place, folder: str) -> t.Optional[Run]:
        """The root file system of an image into ``folder``."""
        return None

    def _write_credentials(self) -> None:
        import base64

        auths = {
            host: {"auth": base64.b64encode(f"{user}:{word}".encode()).decode()} for host, (user, word) in self.access.credentials.items()
        }
        config = self.home / ".docker" / "config.json"
        config.parent.mkdir(exist_ok=True)
        config.write_text(json.dumps({"auths": auths}))
        config.chmod(0o600)

    def environment(self) -> t.Dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            kept.pop(name, None)
        if self.access.ca_file:
            kept["SSL_CERT_FILE"] = self.access.ca_file
        return {**kept, "HOME": str(self.home), "DOCKER_CONFIG": str(self.home / ".docker"), **self.access.environment}

    def _run(self, *command: str, stdin: str = "", cwd: t.Optional[str] = None) -> Run:
        return run(command, self.limit, self.environment(), stdin, cwd)


class Ours(Client):
    """Our modules, with their arguments on standard input as Ansible's wrapper gives them."""

    name = "lading.oci"

    def copy(self, source: Place, destination: Place) -> Run:
        options = {"src": _ours(source), "dest": _ours(destination)}
        for side, place in (("src", source), ("dest", destination)):
            if place.kind == REGISTRY:
                options[f"{side}_registry"] = self.registry_options()
        return self.module("oci_copy", options)

    def pull(self, source: Place, folder: str, **options: t.Any) -> Run:
        arguments: t.Dict[str, t.Any] = {"src": _ours(source), "dest": folder, **options}
        if source.kind == REGISTRY:
            arguments["src_registry"] = self.registry_options()
        return self.module("oci_pull", arguments)

    def unpack(self, source: Place, folder: str) -> Run:
        return self.pull(source, folder, unpack="rootfs")

    def module(self, name: str, arguments: t.Mapping[str, t.Any]) -> Run:
        internal = {"_ansible_diff": True, "_ansible_remote_tmp": str(self.home)}
        return self._run(
            sys.executable,
            "-m",
            f"{MODULES}.{name}",
            stdin=json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **internal}}),
            cwd=str(self.home),
        )

    def registry_options(self) -> t.Dict[str, t.Any]:
        access = self.access
        options: t.Dict[str, t.Any] = {"plain_http": access.plain_http, "timeout": access.timeout, "retries": access.retries}
        if self.access.ca_file:
            options["ca_path"] = self.access.ca_file
        return options


def _ours(place: Place) -> str:
    prefix = {LAYOUT: "oci:", ARCHIVE: "oci-archive:", REGISTRY: ""}[place.kind]
    return f"{prefix}{place.name}{'@' if place.is_digest else ':'}{place.ref}"


class Oras(Client):
    name = "oras"

    def copy(self, source: Place, destination: Place) -> t.Optional[Run]:
        if destination.kind == ARCHIVE:
            return None
        options = [*self._side("from-", source), *self._side("to-", destination)]
        return self._run(*self._program, "cp", *options, _joined(source), _joined(destination))

    def backup(self, source: Place, path: str) -> Run:
        """From a registry into a layout tar, which ``cp`` does not write."""
        return self._run(*self._program, "backup", *self._side("", source), "--output", path, _joined(source))

    def pull(self, source: Place, folder: str) -> Run:
        return self._run(*self._program, "pull", *self._side("", source), "-o", folder, _joined(source))

    def _side(self, prefix: str, place: Place) -> t.List[str]:
        if place.kind != REGISTRY:
            return [f"--{prefix}oci-layout"]
        options = [f"--{prefix}plain-http"] if self.access.plain_http else []
        return options + ([f"--{prefix}ca-file", self.access.ca_file] if self.access.ca_file else [])

    @property
    def _program(self) -> t.List[str]:
        return [_find("oras")]


class Skopeo(Client):
    name = "skopeo"

    def copy(self, source: Place, destination: Place) -> t.Optional[Run]:
        if any(place.kind != REGISTRY and place.is_digest for place in (source, destination)):
            return None
        policy = self.home / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        options = ["--all"]
        for side, place in (("src", source), ("dest", destination)):
            if place.kind == REGISTRY:
                options.append(f"--{side}-tls-verify={'false' if self.access.plain_http else 'true'}")
        return self._run(_find("skopeo"), "--policy", str(policy), "copy", *options, _skopeo(source), _skopeo(destination))

    def pull(self, source: Place, folder: str) -> None:
        return None


def _skopeo(place: Place) -> str:
    prefix = {LAYOUT: "oci:", ARCHIVE: "oci-archive:", REGISTRY: "docker://"}[place.kind]
    return prefix + _joined(place)


class Crane(Client):
    """It pushes the only image of a layout folder, and pulls into one."""

    name = "crane"

    def copy(self, source: Place, destination: Place) -> t.Optional[Run]:
        insecure = ["--insecure"] if self.access.plain_http else []
        if (source.kind, destination.kind) == (LAYOUT, REGISTRY):
            return self._run(_find("crane"), "push", *insecure, source.name, _joined(destination))
        if (source.kind, destination.kind) == (REGISTRY, LAYOUT):
            return self._run(_find("crane"), "pull", *insecure, "--format=oci", _joined(source), destination.name)
        if (source.kind, destination.kind) == (REGISTRY, REGISTRY):
            return self._run(_find("crane"), "copy", *insecure, _joined(source), _joined(destination))
        return None

    def pull(self, source: Place, folder: str) -> None:
        return None


def _joined(place: Place) -> str:
    return f"{place.name}{'@' if place.is_digest else ':'}{place.ref}"


def _find(name: str) -> str:
    import peers

    return str(peers.find(name))


CLIENTS: t.Dict[str, t.Type[Client]] = {client.name: client for client in (Ours, Oras, Skopeo, Crane)}

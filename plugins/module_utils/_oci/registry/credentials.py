# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Whose credentials a registry gets: the task's, else those that ``docker login`` or ``podman login`` left (config.json, auth.json)."""

from __future__ import annotations

import os
import typing as t

from ..spec.errors import InvalidError
from .authfile import AuthFile, Credential

if t.TYPE_CHECKING:
    from ..spec.reference import RegistryReference
    from .options import RegistryOptions

__all__ = ["Credential", "default_auth_file", "find", "looked_at_before"]


def find(reference: RegistryReference, options: RegistryOptions) -> t.Optional[Credential]:
    """The credential for this repository, None for anonymous access. The first place that has one wins.

    The task's own; the file ``auth_file`` and nothing else; the file of REGISTRY_AUTH_FILE and nothing else; DOCKER_AUTH_CONFIG;
    then the files of the containers tools and of Docker (containers-auth.json(5)). Raises InvalidError for a file or credential
    helper that is broken: another credential, or none, must not be used in its place (CVE-2021-41092).
    """
    if options.password is not None or options.identity_token is not None:
        return Credential(options.username or "", options.password or "", options.identity_token or "")
    for file in _files(options):
        found = file.find(reference)
        if found is not None:
            return found
    return None


def default_auth_file() -> str:
    """Where a login is kept: the file of REGISTRY_AUTH_FILE, else Docker's, which all tools look at, and which outlives a reboot."""
    return os.path.abspath(os.environ.get("REGISTRY_AUTH_FILE") or _default_paths(os.environ)[-1])


def looked_at_before(path: str, registry: str) -> t.Iterator[str]:
    """The places that have something for the registry, and whose word counts before that of the default file ``path``.

    Raises InvalidError, StorageError.
    """
    from .options import RegistryOptions

    for file in _files(RegistryOptions()):
        if os.path.abspath(file.what) == path:
            return
        if file.helper_for(registry) or any(file.entries(registry).values()):
            yield file.what


def _files(options: RegistryOptions) -> t.Iterator[AuthFile]:
    """The places to look, in order; files that are not there are passed over, but not one that the task names."""
    if options.auth_file:
        if not os.path.exists(options.auth_file):
            raise InvalidError(f"auth_file: no such file: {options.auth_file}")
        yield AuthFile.read(options.auth_file)
        return
    environment = os.environ
    if environment.get("REGISTRY_AUTH_FILE"):
        yield from _existing(environment["REGISTRY_AUTH_FILE"])
        return
    if environment.get("DOCKER_AUTH_CONFIG"):
        yield AuthFile.parse(environment["DOCKER_AUTH_CONFIG"].encode("utf-8", "surrogateescape"), "DOCKER_AUTH_CONFIG")
    for path in _default_paths(environment):
        yield from _existing(path)


def _default_paths(environment: t.Mapping[str, str]) -> t.List[str]:
    home = os.path.expanduser("~")
    own = environment.get("XDG_RUNTIME_DIR")
    runtime = os.path.join(own, "containers") if own else f"/run/containers/{os.getuid()}"
    config = environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    docker = environment.get("DOCKER_CONFIG") or os.path.join(home, ".docker")
    return [os.path.join(runtime, "auth.json"), os.path.join(config, "containers", "auth.json"), os.path.join(docker, "config.json")]


def _existing(path: str) -> t.Iterator[AuthFile]:
    if os.path.exists(path):
        yield AuthFile.read(path)

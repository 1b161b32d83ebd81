# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What a request needs to be allowed: resources of a registry with actions (distribution's auth/scope.md)."""

from __future__ import annotations

import typing as t

Scopes = t.Tuple[str, ...]


def repository_scope(repository: str, *actions: str) -> str:
    return f"repository:{repository}:{','.join(actions)}"


def merge_scopes(*scopes: str) -> Scopes:
    """Each resource once, with the actions of all; sorted. An argument may hold several scopes, joined by blanks."""
    return tuple(sorted(f"{name}:{','.join(sorted(actions))}" if actions else name for name, actions in _resources(scopes).items()))


def covers(held: Scopes, wanted: Scopes) -> bool:
    """True when a token that was asked for with ``held`` serves for ``wanted``."""
    have = _resources(held)
    return all(name in have and actions <= have[name] for name, actions in _resources(wanted).items())


def _resources(scopes: t.Iterable[str]) -> t.Dict[str, t.Set[str]]:
    """Actions by ``type:name``; a name may hold a port, so the actions are behind the last colon."""
    resources: t.Dict[str, t.Set[str]] = {}
    for scope in " ".join(scopes).split():
        name, colon, actions = scope.rpartition(":")
        if ":" not in name:
            name, actions = scope, ""
        resources.setdefault(name, set()).update(action for action in actions.split(",") if action)
    return resources

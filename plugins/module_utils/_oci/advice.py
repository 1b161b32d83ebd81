# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What would help, by the names that a task's options have: the library knows registries, and nothing of tasks."""

from __future__ import annotations

import typing as t

from .registry.faults import NoTLS
from .spec.errors import TransportError

# By the first word of an error's location.
_OPTIONS = {
    "source": "src_registry",
    "image": "src_registry",
    "registry": "src_registry",
    "base": "base_registry",
    "destination": "dest_registry",
    "repair": "repair_registry",
}


def name_option(error: TransportError, options: t.Mapping[str, t.Any]) -> None:
    """Let the error say where ``plain_http`` belongs. ``options``: the argument spec of the module."""
    if isinstance(error, NoTLS):
        error.advise(_place_of_plain_http(_OPTIONS.get((error.location or "").partition(" ")[0], ""), options))


def _place_of_plain_http(option: str, options: t.Mapping[str, t.Any]) -> str:
    if "plain_http" in options:
        return "plain_http: true"
    specs = [options, *(spec.get("options") or {} for spec in options.values())]
    own = f"{option}: {{plain_http: true}}, or " if any(option in spec for spec in specs) else ""
    return f"{own}plain_http in registries"


def without_tag(location: t.Optional[str]) -> str:
    """The warning for a manifest that gets no tag in a registry."""
    return f"{location} has no tag: the manifest is reached by its digest only there, and the registry may clear it away"


def nothing_matches(location: t.Optional[str], pattern: t.Optional[str]) -> str:
    """The warning for tags of which none is meant."""
    return f"{location} has no tag" + (f" that tags_matching means ({pattern})" if pattern is not None else "") + ": nothing is copied"

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Which BuildKit a build is done by: another version may give another result."""

from __future__ import annotations

import typing as t

from ..spec.errors import NotFoundError
from .builder import find
from .cli import Buildx


def version_text(buildx: Buildx, name: t.Optional[str], known: t.Any) -> str:
    """Driver and version of the builder. One that is not running has no version: then what is ``known`` of the last build counts."""
    instance = find(buildx, name)
    if instance is None:
        raise NotFoundError(f"there is no builder {name or 'current'!r}: make it with oci_buildx_builder, or set docker_host")
    if not instance.version and isinstance(known, str) and known.startswith(f"{instance.driver} "):
        return known
    return f"{instance.driver} {instance.version}"

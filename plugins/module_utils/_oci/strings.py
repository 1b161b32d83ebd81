# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Options that are strings by name, as annotations, labels and arguments."""

from __future__ import annotations

import typing as t

from .spec.errors import InvalidError


def strings(values: t.Mapping[str, t.Any], what: str) -> t.Dict[str, str]:
    """The mapping, when all its values are strings: what YAML makes of an unquoted ``yes`` or ``1.10`` is not what was written."""
    for key, value in values.items():
        if not isinstance(value, str):
            raise InvalidError(f"{what}: the value of {key!r} is {value!r}, not a string: quote it")
        if not key:
            raise InvalidError(f"{what} has an empty name")
    return dict(values)

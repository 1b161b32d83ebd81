# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a process imported, as ``-X importtime`` tells it on standard error."""

from __future__ import annotations

import pathlib
import re
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
_LINE = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)
_OURS = "ansible_collections.lading.oci."


def names(told: str) -> t.Set[str]:
    """Every module, by its full name."""
    return set(_LINE.findall(told))


def lines(told: str) -> t.Dict[str, int]:
    """How many lines each of our own files has, by module. Each task compiles them: Ansible sends source code."""
    found = {}
    for name in names(told):
        if name.startswith(_OURS):
            place = ROOT.joinpath(*name.split(".")[3:])
            file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            found[name[len(_OURS) :]] = len(file.read_text().splitlines()) if file.exists() else 0
    return found

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A .dockerignore file, and the paths that it is asked for: the first line."""

from __future__ import annotations

from ansible_collections.lading.oci.plugins.module_utils._oci.buildx.ignore import IgnorePatterns

from .common import allowed


def one_input(data: bytes) -> None:
    first, _newline, content = data.partition(b"\n")
    path = "/".join(part for part in first.decode("utf-8", "surrogateescape").split("/") if part not in ("", ".", ".."))
    with allowed():
        patterns = IgnorePatterns.parse(content)
        assert patterns.ignores(path) == IgnorePatterns.parse(content).ignores(path)
        patterns.skips_below(path)

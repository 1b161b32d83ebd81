# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Layers that take away what lower layers have (image-spec layer.md, "Whiteouts")."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .content import tar
from .layer import WHITEOUT, Sink


@dataclass(frozen=True)
class Whiteouts:
    """``paths`` of the image, without slashes at their ends.

    The folders above them get no entries: those would give the folders of lower layers other modes and owners.
    """

    paths: t.Tuple[str, ...]
    mtime: int = 0

    def write_tar(self, sink: Sink) -> None:
        """Write the whole tar."""
        for path in sorted(set(self.paths), key=lambda path: path.encode("utf-8")):
            if not self._is_within_another(path):
                above, slash, name = path.rpartition("/")
                sink.write(tar.encode(tar.Entry(f"{above}{slash}{WHITEOUT}{name}", mode=0, mtime=self.mtime)))
        sink.write(tar.END)

    def _is_within_another(self, path: str) -> bool:
        """Then it is gone already, and its entry would make the folder anew."""
        parts = path.split("/")
        return any("/".join(parts[:number]) in self.paths for number in range(1, len(parts)))

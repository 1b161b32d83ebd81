# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What a copy may make of images: other media types, other compressions (convert.py does it)."""

from __future__ import annotations

import typing as t


class Conversion(t.NamedTuple):
    """``docker``: True for Docker's media types, False for OCI's, None to keep them. ``compression``: gzip, zstd or none for every
    layer that is not so yet, with ``level``; None to keep them."""

    docker: t.Optional[bool] = None
    compression: t.Optional[str] = None
    level: t.Optional[int] = None

    def __bool__(self) -> bool:
        return self.docker is not None or self.compression is not None

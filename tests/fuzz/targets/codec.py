# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressed streams."""

from __future__ import annotations

import io

from ansible_collections.lading.oci.plugins.module_utils._oci.content import codec

from .common import allowed

MOST = 4 * 1024 * 1024


def one_input(data: bytes) -> None:
    with allowed():
        _drain(codec.plain(io.BytesIO(data), "x"))
    for name in (codec.GZIP, codec.ZSTD):
        kept = io.BytesIO()
        deflater = codec.Deflater(kept, name)
        deflater.write(data[: len(data) // 2])
        deflater.write(data[len(data) // 2 :])
        deflater.finish()
        assert b"".join(codec.inflated(io.BytesIO(kept.getvalue()), name, "x")) == data


def _drain(stream: codec.Readable) -> None:
    taken = 0
    while taken < MOST:
        chunk = stream.read(64 * 1024)
        if not chunk:
            return
        assert len(chunk) <= 64 * 1024
        taken += len(chunk)

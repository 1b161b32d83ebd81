# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all targets share."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError


@contextlib.contextmanager
def allowed() -> t.Iterator[None]:
    """The library may refuse its input, with its own error and a message that moves no cursor."""
    try:
        yield
    except OCIError as error:
        message = str(error)
        assert message and message.isprintable(), repr(message)


def with_checksums(data: bytes) -> bytes:
    """A tar whose headers have the checksums that belong to them: a mutation would never get past those."""
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    return b"".join(_summed(block) for block in blocks)


def _summed(block: bytes) -> bytes:
    if len(block) < 512 or block[257:262] != b"ustar":
        return block
    total = sum(block[:148]) + sum(block[156:]) + 8 * 0x20
    return block[:148] + b"%06o\0 " % total + block[156:]

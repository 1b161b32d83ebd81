# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bytes that are nowhere the same, and the same in each run."""

from __future__ import annotations

import random


def noise(seed: int, size: int) -> bytes:
    """What ``Random.randbytes`` gives, which Python 3.8 does not have."""
    return random.Random(seed).getrandbits(size * 8).to_bytes(size, "little")

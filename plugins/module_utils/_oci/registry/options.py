# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""How to reach one registry: plain values, as the modules' options name them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RegistryOptions:
    """``timeout`` in seconds, to connect, between two reads and for a header; ``retries`` after the first try of a request."""

    username: t.Optional[str] = None
    password: t.Optional[str] = field(default=None, repr=False)
    identity_token: t.Optional[str] = field(default=None, repr=False)
    auth_file: t.Optional[str] = None
    auth_hosts: t.Sequence[str] = ()
    ca_path: t.Optional[str] = None
    client_cert: t.Optional[str] = None
    client_key: t.Optional[str] = None
    validate_certs: bool = True
    plain_http: bool = False
    timeout: float = 30
    retries: int = 5

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""One target for each group of parsers: ``one_input(data)`` raises for what must not be, and for nothing else."""

from __future__ import annotations

NAMES = ("reference", "documents", "tar", "challenge", "authfile", "docker_archive", "codec", "ignore")

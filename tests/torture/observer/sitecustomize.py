# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Imported by every Python that a test starts with this folder on PYTHONPATH: what goes to syslog is kept in a file as well."""

from __future__ import annotations

import os
import syslog
import typing as t


def _kept(*arguments: t.Any) -> None:
    with open(os.environ["LADING_SYSLOG"], "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"{arguments[-1]}\n")


if os.environ.get("LADING_SYSLOG"):
    syslog.syslog = _kept  # type: ignore[assignment]

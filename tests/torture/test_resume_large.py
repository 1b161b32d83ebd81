# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""1 GiB that is cut at nine tenths (threat rows 34 and 60): what the next run is sent, counted by a proxy."""

from __future__ import annotations

import pathlib
import typing as t
import uuid

from cutting_proxy import CuttingProxy
from resuming import SENT, Transfer, publish

SIZE_MIB = 1024


def test_a_copy_of_one_gibibyte(ours: t.Any, registry: t.Any, report: t.Callable[..., None], tmp_path: pathlib.Path) -> None:
    published = publish(tmp_path, registry.host, f"resume/{uuid.uuid4().hex[:12]}", SIZE_MIB)
    with CuttingProxy(registry.host) as proxy:
        transfer = Transfer("folder", tmp_path, published, proxy)
        transfer.cut()
        share = transfer.go_on()
    print(f"{share:.1%} were sent by the second run")
    report("resume", [] if share <= SENT else [f"{share:.1%} were sent by the second run"])
    assert transfer.path.is_dir() and transfer.partials() == []

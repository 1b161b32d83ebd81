# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""1 GiB that is cut at nine tenths (threat rows 34 and 60): what the next run is sent, counted by a proxy."""

from __future__ import annotations

import pathlib
import shutil
import typing as t
import uuid

import pytest
import tally as tallies
from cutting_proxy import CuttingProxy
from resuming import SENT, Published, Transfer, publish

SIZE_MIB = 1024


# In one process: what they share takes gigabytes.
pytestmark = pytest.mark.xdist_group("resume-large")


@pytest.fixture(scope="module", name="published")
def _published(request: pytest.FixtureRequest, registry: t.Any, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Published]:
    """Made once, and before any fixture of a test alone; what takes gigabytes goes at the end."""
    if request.config.getoption("--client") != "lading.oci":
        pytest.skip("only of lading.oci")
    folder = tmp_path_factory.mktemp("large")
    yield publish(folder, registry.host, f"resume/{uuid.uuid4().hex[:12]}", SIZE_MIB)
    shutil.rmtree(folder)


@pytest.fixture(name="place")
def _place(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("kind, by", [("folder", "cut"), ("folder", "kill"), ("tar", "cut"), ("file", "cut")])
def test_a_copy_of_one_gibibyte(
    kind: str, by: str, ours: t.Any, published: Published, registry: t.Any, report: t.Any, place: pathlib.Path
) -> None:
    with CuttingProxy(registry.host) as proxy:
        transfer = Transfer(kind, place, published, proxy)
        if by == "kill":
            transfer.kill()
        else:
            transfer.cut()
        share = transfer.go_on()
    print(f"{kind}, {by}: {share:.1%} were sent by the second run")
    report(tallies.KILLS, [] if share <= SENT else [f"{share:.1%} were sent by the second run"])
    transfer.check()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module may return is in its documentation."""

from __future__ import annotations

import types

import pytest
import yaml
from ansible_collections.lading.oci.plugins.modules import (
    oci_attach,
    oci_buildx_build,
    oci_buildx_builder,
    oci_copy,
    oci_info,
    oci_layout_build,
    oci_layout_info,
    oci_layout_prune,
    oci_login,
    oci_manifest,
    oci_pull,
    oci_push,
    oci_tag,
    oci_verify,
)

MODULES = [
    oci_attach,
    oci_buildx_build,
    oci_buildx_builder,
    oci_copy,
    oci_info,
    oci_layout_build,
    oci_layout_info,
    oci_layout_prune,
    oci_login,
    oci_manifest,
    oci_pull,
    oci_push,
    oci_tag,
    oci_verify,
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_that_a_signal_ended_it(module: types.ModuleType) -> None:
    documented = yaml.safe_load(module.RETURN)["interrupted"]
    assert documented["type"] == "bool" and "when a signal" in documented["returned"] and documented["description"]

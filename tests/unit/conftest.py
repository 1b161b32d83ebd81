# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-test forks for each test: what is done here is not done in each child."""

from __future__ import annotations

import gc
import importlib

# The library imports these when it needs them.
for name in ("jsonschema.validators", "requests", "urllib3"):
    importlib.import_module(name)


def pytest_collection_finish() -> None:
    """The garbage collector writes to all that it looks at, and what a child writes to is copied."""
    gc.collect()
    gc.freeze()

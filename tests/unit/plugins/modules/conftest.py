# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry.fake_registry import FakeRegistry


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[FakeRegistry]:
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture(name="warned")
def _warned(monkeypatch: pytest.MonkeyPatch) -> t.List[str]:
    """What modules warn of."""
    texts: t.List[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text, **_more: texts.append(text))
    return texts

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.advice import name_option
from ansible_collections.lading.oci.plugins.module_utils._oci.module import registries_argument_spec, side_argument_spec
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.faults import NoTLS
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import TransportError

BOTH = {"src_registry": side_argument_spec(), "dest_registry": side_argument_spec(), **registries_argument_spec()}
NESTED = {"manifests": {"type": "list", "options": {"src_registry": side_argument_spec()}}, "base_registry": side_argument_spec()}


@pytest.mark.parametrize(
    ("location", "options", "says"),
    [
        ("source h/a:1", BOTH, "set src_registry: {plain_http: true}, or plain_http in registries)"),
        ("destination h/a:1", BOTH, "set dest_registry: {plain_http: true}, or plain_http in registries)"),
        ("image h/a:1", BOTH, "set src_registry: {plain_http: true}, or plain_http in registries)"),
        ("source h/a:1", NESTED, "set src_registry: {plain_http: true}, or plain_http in registries)"),
        ("base h/a:1", NESTED, "set base_registry: {plain_http: true}, or plain_http in registries)"),
        ("repair source h/a:1", {"repair_registry": side_argument_spec()}, "set repair_registry: {plain_http: true}, or"),
        ("source h/a:1", registries_argument_spec(), "set plain_http in registries)"),
        ("registry h", {"plain_http": {"type": "bool"}, **registries_argument_spec()}, "set plain_http: true)"),
        (None, BOTH, "set plain_http in registries)"),
    ],
)
def test_where_plain_http_belongs(location: t.Optional[str], options: t.Dict[str, t.Any], says: str) -> None:
    error = NoTLS("h")
    error.location = location
    assert str(error).endswith("h does not answer with TLS (for a registry without TLS set plain_http)")
    name_option(error, options)
    assert f"h does not answer with TLS (for a registry without TLS {says}" in str(error)


def test_other_errors_stay_as_they_are() -> None:
    error = TransportError("no such host")
    name_option(error, BOTH)
    assert str(error) == "no such host"

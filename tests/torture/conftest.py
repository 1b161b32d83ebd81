# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import signal
import sys
import typing as t

import pytest

HERE = pathlib.Path(__file__).parent
for folder in ("tools", "system", "torture"):
    sys.path.insert(0, str(HERE.parent / folder))

import clients  # noqa: E402
import fault_cases  # noqa: E402
import peers as peer_tools  # noqa: E402
import tally as tallies  # noqa: E402
from registry_server import Registry  # noqa: E402

# Tests that are started in the background have inherited that nothing interrupts them, and so would what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--client", default="lading.oci", help="what is tortured: lading.oci, oras, skopeo or crane")


@pytest.fixture(scope="session", name="package")
def _package() -> t.Callable[[str], pathlib.Path]:
    """``package(name)``: a Debian package, unpacked. One that cannot be had skips the test, or fails it where peers are required."""

    def package(name: str) -> pathlib.Path:
        try:
            return peer_tools.unpacked(name)
        except peer_tools.Unavailable as error:
            if os.environ.get("LADING_REQUIRE_PEERS") == "1":
                pytest.fail(f"{name} is missing: {error}")
            pytest.skip(f"{name} is missing: {error}")

    return package


@pytest.fixture(scope="session", name="tally")
def _tally(tmp_path_factory: pytest.TempPathFactory) -> tallies.Tally:
    return tallies.from_environment(tmp_path_factory.getbasetemp() / "tally.jsonl")


@pytest.fixture(name="client_class")
def _client_class(request: pytest.FixtureRequest) -> t.Type[clients.Client]:
    """The program under test. Only ours has to hold; of a peer it is counted."""
    name = request.config.getoption("--client")
    if name != "lading.oci":
        try:
            peer_tools.find(name)
        except peer_tools.Unavailable as error:
            if os.environ.get("LADING_REQUIRE_PEERS") == "1":
                pytest.fail(f"{name} is missing: {error}")
            pytest.skip(f"{name} is missing: {error}")
    return clients.CLIENTS[name]


@pytest.fixture(name="ours")
def _ours(client_class: t.Type[clients.Client]) -> t.Type[clients.Ours]:
    """For tests that only our modules can take."""
    if client_class is not clients.Ours:
        pytest.skip("only of lading.oci")
    return clients.Ours


@pytest.fixture(scope="session", name="registry")
def _registry() -> t.Iterator[Registry]:
    try:
        registry = Registry()
    except peer_tools.Unavailable as error:
        if os.environ.get("LADING_REQUIRE_PEERS") == "1":
            pytest.fail(f"registry is missing: {error}")
        pytest.skip(f"registry is missing: {error}")
    with registry:
        yield registry


@pytest.fixture(scope="session", name="sample")
def _sample(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> fault_cases.Sample:
    """What is sent through faults, in the registry."""
    return fault_cases.make_sample(tmp_path_factory.mktemp("sample"), registry.host)


@pytest.fixture(name="trials")
def _trials(
    request: pytest.FixtureRequest,
    client_class: t.Type[clients.Client],
    sample: fault_cases.Sample,
    registry: Registry,
    tmp_path: pathlib.Path,
    tally: tallies.Tally,
    report: t.Callable[..., None],
) -> fault_cases.Trials:
    return fault_cases.Trials(request, client_class, sample, registry.host, tmp_path, tally, report)


@pytest.fixture(name="report")
def _report(request: pytest.FixtureRequest, tally: tallies.Tally) -> t.Callable[..., None]:
    """``report(area, problems)``: counts one case of the client under test; ours must have no problem."""
    name = request.config.getoption("--client")

    def report(area: str, problems: t.Sequence[str], case: t.Optional[str] = None) -> None:
        why = "; ".join(problems)
        tally.add(area, not problems, case or request.node.name, name, why=why)
        if name == "lading.oci":
            assert not problems, why

    return report


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, caches or proxies of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

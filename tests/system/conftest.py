# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import sys
import tempfile
import typing as t
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tools"))

import fork_server  # noqa: E402
import go_tools  # noqa: E402
import peers as peer_tools  # noqa: E402
from docker_engine import Engine  # noqa: E402
from registry_server import ReferrersRegistry, Registry  # noqa: E402

# Tests that are started in the background have inherited that nothing interrupts them, and so would what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


# The files that take longest, and so are begun first: the last one would keep all other workers waiting.
LONGEST = ("test_playbooks.py", "test_registry_role.py", "test_examples.py", "test_registry_install.py", "test_progress.py")
assert all(pathlib.Path(__file__).with_name(name).exists() for name in LONGEST)


def pytest_collection_modifyitems(items: t.List[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_sessionfinish() -> None:
    fork_server.stop_all()


class Peers:
    """The other tools. One that cannot be had skips the test by its name, or fails it where they are required."""

    def require(self, name: str) -> pathlib.Path:
        try:
            return _find(name)
        except peer_tools.Unavailable as error:
            if os.environ.get("LADING_REQUIRE_PEERS") == "1":
                pytest.fail(f"{name} is missing: {error}")
            pytest.skip(f"{name} is missing: {error}")


def _find(name: str) -> pathlib.Path:
    if name == "busybox":
        return peer_tools.static_busybox()
    return go_tools.find(name) if name in go_tools.TOOLS else peer_tools.find(name)


@pytest.fixture(scope="session", name="peers")
def _peers() -> Peers:
    return Peers()


def _started(kind: t.Callable[..., t.Any] = Registry, **options: bool) -> t.Iterator[t.Any]:
    try:
        registry = kind(**options)
    except peer_tools.Unavailable as error:
        if os.environ.get("LADING_REQUIRE_PEERS") == "1":
            pytest.fail(f"registry is missing: {error}")
        pytest.skip(f"registry is missing: {error}")
    with registry:
        yield registry


class NamedRegistry(t.NamedTuple):
    """A running registry that LADING_TEST_REGISTRY names."""

    host: str


@pytest.fixture(scope="session", name="registry")
def _registry() -> t.Iterator[t.Union[Registry, NamedRegistry]]:
    """A registry without login or TLS."""
    named = os.environ.get("LADING_TEST_REGISTRY")
    if named:
        yield NamedRegistry(named)
    else:
        yield from _started()


@pytest.fixture(scope="module", name="own_registry")
def _own_registry() -> t.Iterator[Registry]:
    """One that a file's tests have for themselves: all that is in it can be looked at, again and again."""
    yield from _started()


@pytest.fixture(scope="session", name="referrers_registry")
def _referrers_registry() -> t.Iterator[ReferrersRegistry]:
    """One that has the Referrers API and deletes tags, which Debian's has not and does not."""
    yield from _started(ReferrersRegistry)


@pytest.fixture(scope="session", name="cranes_registry")
def _cranes_registry() -> t.Iterator[ReferrersRegistry]:
    """One that has the API, and leaves half of it to its clients."""
    yield from _started(ReferrersRegistry, cranes=True)


@pytest.fixture(scope="session", name="secure_registry")
def _secure_registry() -> t.Iterator[Registry]:
    """htpasswd login over TLS with a private CA."""
    yield from _started(secure=True)


@pytest.fixture(scope="session", name="client_registry")
def _client_registry() -> t.Iterator[Registry]:
    """As the secure one, and it wants a client certificate."""
    yield from _started(secure=True, client_ca=True)


@pytest.fixture(scope="session", name="engine")
def _engine(registry: t.Any) -> t.Iterator[Engine]:
    """A Docker engine with buildx that has the registry as its mirror of Docker Hub."""
    try:
        engine = Engine(mirror=registry.host)
    except peer_tools.Unavailable as error:
        if os.environ.get("LADING_REQUIRE_PEERS") == "1":
            pytest.fail(f"docker engine is missing: {error}")
        pytest.skip(f"docker engine is missing: {error}")
    with engine:
        yield engine


@pytest.fixture(name="docker")
def _docker(engine: Engine, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine, with a configuration of the docker command that no other test uses."""
    config = tmp_path / "docker-config"
    (config / "cli-plugins").mkdir(parents=True)
    plugin = pathlib.Path(engine.environment["DOCKER_CONFIG"], "cli-plugins", "docker-buildx")
    (config / "cli-plugins" / "docker-buildx").symlink_to(plugin.resolve())
    for name, value in {**engine.environment, "DOCKER_CONFIG": str(config)}.items():
        monkeypatch.setenv(name, value)
    return engine


@pytest.fixture(name="repository")
def _repository() -> str:
    """A repository that no other test uses."""
    return f"test/{uuid.uuid4().hex[:12]}"


@pytest.fixture(name="place")
def _place(tmp_path: pathlib.Path, registry: t.Any, repository: str) -> t.Tuple[pathlib.Path, t.Dict[str, str]]:
    """A folder with what the documentation's examples take for granted, and what their names stand for here."""
    from examples import make_place  # needs the collection's own path, which is set when the tests run

    return make_place(tmp_path, registry, repository)


@pytest.fixture(name="folder")
def _folder() -> t.Iterator[pathlib.Path]:
    """One that another user can reach. Those of pytest are closed to others, again by each run that begins."""
    with tempfile.TemporaryDirectory(prefix="lading-test-") as folder:
        pathlib.Path(folder).chmod(0o755)
        yield pathlib.Path(folder)


@pytest.fixture(name="role")
def _role(folder: pathlib.Path, peers: Peers) -> t.Iterator[t.Any]:
    """The role registry with Debian's program."""
    from registry_roles import Role

    role = Role(folder, registry_binary=str(folder / "registry"))
    # The service's user cannot go where the tests keep their tools.
    shutil.copy(peers.require("registry").resolve(), folder / "registry")
    yield role
    role.stop()


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, caches or proxies of whoever runs the tests."""
    # The tools' cache stays where it is: it is found before HOME moves.
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

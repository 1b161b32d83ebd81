# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_buildx_builder with the real docker command and engine."""

from __future__ import annotations

import os
import pathlib
import sys
import typing as t

import pytest
from support import fail, peer, succeed

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tools"))

from buildkit_daemon import BuildKit  # noqa: E402

pytestmark = pytest.mark.usefixtures("docker")
Arguments = t.Dict[str, t.Any]
CONTAINER: Arguments = {
    "name": "mirrored",
    "driver": "docker-container",
    "driver_opts": {"network": "host", "env.LIST": "a,b"},
    "registry_mirrors": [{"registry": "docker.io", "mirrors": ["mirror.example.com"]}],
    "insecure_registries": ["localhost:5000"],
    "buildkitd_flags": ["--debug"],
    "platforms": ["linux/amd64", "linux/arm64"],
}
REMOTE: Arguments = {"name": "farm", "driver": "remote", "endpoint": "tcp://127.0.0.1:9", "driver_opts": {"cacert": "/etc/ca.pem"}}


def builder(arguments: Arguments, check: bool = False) -> t.Dict[str, t.Any]:
    return succeed("oci_buildx_builder", arguments, check)


@pytest.mark.parametrize("arguments", [CONTAINER, REMOTE], ids=["docker-container", "remote"])
def test_check_run_run_absent(arguments: Arguments) -> None:
    planned = builder(arguments, check=True)
    assert planned["actions"] == ["created"] and planned["builder"] == {}
    done = builder(arguments)
    assert done["changed"] and done["diff"] == planned["diff"] and done["builder"]["driver"] == arguments["driver"]
    for check in (True, False):
        again = builder(arguments, check)
        assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"], again["diff"]
    absent = {"name": arguments["name"], "state": "absent"}
    assert builder(absent, check=True)["actions"] == builder(absent)["actions"] == ["removed"]
    assert not builder(absent)["changed"]


@pytest.mark.parametrize(
    "change",
    [
        {"driver_opts": {"network": "none"}},
        {"insecure_registries": ["localhost:5001"]},
        {"buildkitd_flags": ["--debug", "--trace"]},
        {"platforms": ["linux/amd64"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_option_makes_it_anew(change: Arguments) -> None:
    builder(CONTAINER)
    assert builder({**CONTAINER, **change}, check=True)["actions"] == ["removed", "created"]
    assert builder({**CONTAINER, **change})["actions"] == ["removed", "created"]
    assert not builder({**CONTAINER, **change})["changed"]


def test_what_is_not_declared_is_left_alone() -> None:
    builder(CONTAINER)
    assert not builder({"name": "mirrored"})["changed"]


def test_a_configuration_as_text() -> None:
    """buildx keeps it in its own words: that is no difference."""
    arguments = {"name": "text", "buildkitd_config": '# mirrors\n[registry."docker.io"]\n  mirrors = ["a.example.com"]\n'}
    builder(arguments)
    assert not builder(arguments)["changed"]
    arguments["buildkitd_config"] += '\n[registry."b.example.com"]\n  http = true\n'
    assert builder(arguments)["actions"] == ["removed", "created"]


def test_default() -> None:
    builder(REMOTE)
    made = builder({**REMOTE, "default": True})
    assert made["actions"] == ["made the default"]
    assert "default: no\n" in made["diff"]["before"] and made["diff"]["after"] == made["diff"]["before"].replace("no\n", "yes\n")
    done = builder({**REMOTE, "default": True})
    assert not done["changed"] and done["builder"]["default"] and done["diff"]["before"] == done["diff"]["after"]


def test_the_engines_own_builder() -> None:
    found = builder({"name": "default", "driver": "docker"})
    assert not found["changed"] and found["builder"]["status"] == "running"
    builder({**REMOTE, "default": True})
    chosen = builder({"name": "default", "driver": "docker", "default": True}, check=True)
    assert chosen["actions"] == ["made the default"] and chosen["diff"]["before"] != chosen["diff"]["after"]


def test_an_endpoint(docker: t.Any) -> None:
    arguments = {"name": "elsewhere", "endpoint": docker.host}
    assert builder(arguments)["builder"]["endpoint"] == docker.host
    assert not builder(arguments)["changed"]
    assert builder({**arguments, "endpoint": "unix:///nowhere.sock"}, check=True)["actions"] == ["removed", "created"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "nobody", "driver": "docker"}, "there is no builder 'nobody' with the driver docker"),
        ({"name": "default", "driver": "remote", "endpoint": "tcp://127.0.0.1:9"}, "choose another name"),
        ({"name": "default", "state": "absent"}, "cannot be removed"),
        ({"name": "x", "driver": "remote"}, "needs endpoint"),
        ({"name": "x", "driver_opts": {"replicas": 4}}, "driver_opts: the value of 'replicas' is 4, not a string"),
        ({"name": "x", "driver_opts": {"nonsense": "1"}}, "nonsense"),
        ({"name": "x/y"}, "x/y"),
        ({"name": "x", "driver": "kubernetes"}, "ubernetes"),
        ({"name": "x", "docker_cli": "/nowhere/docker"}, "docker_cli: no program at /nowhere/docker"),
        ({"name": "default", "driver": "docker", "docker_host": "unix:///nowhere.sock"}, "docker_host"),
    ],
)
def test_wrong_input_says_so(arguments: Arguments, says: str) -> None:
    message = fail("oci_buildx_builder", arguments)
    assert says in message and "\n" not in message, message


def test_no_plugin(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "empty"))
    message = fail("oci_buildx_builder", {"name": "x"})
    assert "no buildx plugin" in message, message


def test_a_running_daemon(tmp_path: pathlib.Path, docker: t.Any) -> None:
    """The driver remote for real: bootstrap, status, and a build by it."""
    with BuildKit(tmp_path / "s.sock", docker.host) as daemon:
        arguments = {"name": "farm", "driver": "remote", "endpoint": daemon.address, "bootstrap": True}
        done = builder(arguments)
        assert done["builder"]["status"] == "running" and done["builder"]["version"]
        assert not builder(arguments)["changed"]
        (tmp_path / "context").mkdir()
        (tmp_path / "context" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
        build = {
            "context": str(tmp_path / "context"),
            "builder": "farm",
            "tags": ["hello:v1"],
            "outputs": [{"dest": str(tmp_path / "x.tar")}],
        }
        assert succeed("oci_buildx_build", build)["changed"]
        assert not succeed("oci_buildx_build", build)["built"]
        elsewhere = succeed("oci_buildx_build", {**build, "builder": "default"}, check=True)
        assert elsewhere["reasons"] == ["builder: changed"], elsewhere
        assert "v1" in peer("tar", "xOf", tmp_path / "x.tar", "index.json")
    assert os.path.exists(tmp_path / "x.tar")

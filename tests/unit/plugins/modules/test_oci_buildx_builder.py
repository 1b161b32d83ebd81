# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_buildx_builder as Ansible runs it, with a docker that is made up."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.modules import oci_buildx_builder
from ansible_collections.lading.oci.tests.unit.plugins.modules import fake_docker
from ansible_collections.lading.oci.tests.unit.plugins.modules.fake_docker import CLI, FakeDocker, builder, options
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Run

Arguments = t.Dict[str, t.Any]
FARM: Arguments = {"name": "farm", "docker_cli": CLI}


@pytest.fixture(name="docker")
def _docker(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> FakeDocker:
    return fake_docker.install(monkeypatch, tmp_path)


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], docker: FakeDocker) -> Run:
    return Run(oci_buildx_builder.main, capsys)


def test_check_run_run_absent(run: Run, docker: FakeDocker) -> None:
    arguments = {**FARM, "driver_opts": {"network": "host"}, "bootstrap": True, "default": True, "platforms": ["linux/arm/v7"]}
    planned = run.done(arguments, check=True)
    assert planned["actions"] == ["created", "started", "made the default"] and not docker.called("create")
    done = run.done(arguments)
    assert done["diff"] == planned["diff"] and done["actions"] == planned["actions"]
    assert done["builder"]["status"] == "running" and done["builder"]["default"]
    (created,) = docker.called("create")
    given = options(created)
    assert (given["name"], given["driver"]) == (["farm"], ["docker-container"])
    assert (given["driver-opt"], given["platform"]) == (["network=host"], ["linux/arm/v7"])
    docker.builders[-1]["Nodes"][0]["Flags"].append("--allow-insecure-entitlement=network.host")  # buildx adds it by itself
    assert not run.done(arguments)["changed"] and not docker.called("create")
    gone = {**FARM, "state": "absent"}
    assert run.done(gone, check=True)["actions"] == ["removed"] and not docker.called("rm")
    assert run.done(gone)["builder"] == {} and docker.called("rm") == [["--force", "farm"]]
    assert not run.done(gone)["changed"]


@pytest.mark.parametrize(
    "change",
    [
        {"driver_opts": {"network": "none"}},
        {"platforms": ["linux/amd64"]},
        {"buildkitd_flags": ["--debug"]},
        {"buildkitd_config": "debug = true\n"},
        {"registry_mirrors": [{"registry": "docker.io", "mirrors": ["mirror.example.com"]}]},
        {"insecure_registries": ["localhost:5000"]},
        {"endpoint": "ssh://host"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_option_makes_it_anew(change: Arguments, run: Run, docker: FakeDocker) -> None:
    run.done(FARM)
    docker.calls.clear()
    changed = run.done({**FARM, **change})
    assert changed["actions"] == ["removed", "created"]
    # The cache of a container outlives the change of its options.
    assert docker.called("rm") == [["--force", "--keep-state", "farm"]]
    assert not run.done({**FARM, **change})["changed"]
    # What is not declared is left alone.
    assert not run.done(FARM)["changed"]


def test_another_driver_keeps_no_state(run: Run, docker: FakeDocker) -> None:
    run.done(FARM)
    run.done({**FARM, "driver": "remote", "endpoint": "tcp://a:1"})
    assert docker.called("rm") == [["--force", "farm"]]


def test_a_configuration_is_compared_as_it_was_given(run: Run, docker: FakeDocker, tmp_path: pathlib.Path) -> None:
    given = {**FARM, "buildkitd_config": "debug = true\n"}
    run.done(given)
    assert not run.done(given)["changed"]
    stored = tmp_path / "buildx" / "instances" / "farm"
    stored.write_text(stored.read_text().replace("Files", "Others"))
    diff = run.done(given)["diff"]
    assert "configuration: debug = true" in diff["after"] and "debug" not in diff["before"]


@pytest.mark.parametrize("text", ["{}", '{"Nodes": []}', "no json", '{"Nodes": [{"Files": {"buildkitd.toml": "?"}}]}'])
def test_a_broken_file_of_buildx_is_no_reason_to_fail(text: str, run: Run, tmp_path: pathlib.Path) -> None:
    run.done(FARM)
    (tmp_path / "buildx" / "instances" / "farm").write_text(text)
    assert run.done({**FARM, "buildkitd_config": "debug = true\n"})["actions"] == ["removed", "created"]


def test_a_stopped_one_is_started_and_only_that(run: Run, docker: FakeDocker) -> None:
    run.done({**FARM, "bootstrap": True})
    docker.builders[-1]["Nodes"][0]["Status"] = "stopped"
    again = run.done({**FARM, "bootstrap": True})
    assert again["actions"] == ["started"] and "status: stopped" in again["diff"]["before"]


def test_the_engines_own_builder(run: Run, docker: FakeDocker) -> None:
    docker.builders.append(builder("far", "docker"))
    docker.builders.append(builder("dead", "docker", status=""))
    engine = {"docker_cli": CLI, "driver": "docker"}
    done = run.done({**engine, "name": "far", "default": True})
    assert done["actions"] == ["made the default"] and docker.called("use") == [["far"]]
    assert not run.done({**engine, "name": "far", "default": True})["changed"]
    assert "not reached: start it" in run.failed({**engine, "name": "dead"})
    assert "no builder 'farm' with the driver docker" in run.failed({**engine, "name": "farm"})
    assert "cannot be removed" in run.failed({**engine, "name": "far", "state": "absent"})
    assert "choose another name" in run.failed({"docker_cli": CLI, "name": "far"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"driver": "remote"}, "the driver remote needs endpoint"),
        ({"docker_cli": "/no/such/docker"}, "docker_cli: no program at /no/such/docker"),
    ],
)
def test_wrong_input_says_so(change: Arguments, says: str, run: Run) -> None:
    assert says in run.failed({**FARM, **change})


@pytest.mark.parametrize(
    ("err", "says"),
    [
        (
            "unknown command: docker buildx\n",
            "has no buildx plugin: install it (Debian: docker-buildx, or the role lading.oci.buildx with buildx_install",
        ),
        ("ERROR: Cannot connect to the Docker daemon at unix:///x\n", "docker_host names the engine's address"),
        ("first\nERROR: boom\n", "create failed: ERROR: boom"),
        ("", "create failed: exit code 1"),
    ],
)
def test_failures_have_the_programs_own_words(err: str, says: str, run: Run, docker: FakeDocker) -> None:
    docker.failure["create"] = (1, "", err)
    assert says in run.failed(FARM)


def test_no_docker_on_the_path(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "is not on PATH of this host" in run.failed({"name": "farm"})
    program = tmp_path / "docker"
    program.symlink_to(CLI)
    monkeypatch.setattr(fake_docker, "CLI", str(program))
    assert run.done({"name": "farm", "docker_host": "ssh://far"}, check=True)["actions"] == ["created"]

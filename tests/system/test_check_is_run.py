# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each example of the documentation on its own: check mode, the run, the run again. What check mode says is what the run does."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from examples import Tasks, builders_tasks, make_context, make_place, make_toolbox, pushed_by_oras, readme_tasks, tasks_of
from oras_artifacts import Oras, push_chart
from support import Result, succeed, tree_state

PREFIX = "lading.oci."
# Requests are those that were made, by the check or by the run. Backups get their names when they are made.
ONLY_OF_THE_RUN = ("requests", "backup_files")
# What a build will be is not known before it was built (docs: check mode of oci_buildx_build).
UNKNOWN_TO_CHECKS = {
    "oci_buildx_build": ("digest", "outputs", "targets", "base_images", "log"),
    "oci_buildx_builder": ("builder",),
}


def comparable(module: str, result: Result) -> Result:
    found = {key: value for key, value in result.items() if key not in ONLY_OF_THE_RUN and key not in UNKNOWN_TO_CHECKS.get(module, ())}
    for hidden in ("invocation", "warnings", "deprecations"):
        found.pop(hidden, None)
    if isinstance(found.get("stats"), dict):
        found["stats"] = {key: value for key, value in found["stats"].items() if key not in ONLY_OF_THE_RUN}
    # The order in which folders of a pull were changed is that of the disk; the paths are what counts.
    return found


def flat(tasks: Tasks) -> t.Iterator[t.Tuple[str, str, Result]]:
    """Name, module and arguments of each task, those in blocks too."""
    for task in tasks:
        if "block" in task:
            yield from flat(task["block"])
        for key, arguments in task.items():
            if key.startswith(PREFIX):
                yield task["name"], key[len(PREFIX) :], arguments


def states(folder: pathlib.Path, registry: t.Any) -> t.Dict[str, t.Any]:
    """Everything that a check could have changed. What the docker command keeps for itself is not ours."""
    stored = tree_state(pathlib.Path(registry.folder, "data"))
    return {"disk": {name: state for name, state in tree_state(folder).items() if not name.startswith("docker-config")}, "registry": stored}


def check_run_again(tasks: Tasks, folder: pathlib.Path, registry: t.Any) -> int:
    """Raises AssertionError, naming the example, for the first that does not hold. How many there were."""
    count = 0
    for name, module, arguments in flat(tasks):
        given = {"registries": [{"host": registry.host, "plain_http": True}], **arguments}
        if module in ("oci_buildx_builder", "oci_layout_prune"):
            given = arguments
        before = states(folder, registry)
        checked = succeed(module, given, check=True)
        assert states(folder, registry) == before, f"{name}: check mode has written"
        done = succeed(module, given)
        assert comparable(module, checked) == comparable(module, done), name
        for check in (False, True):
            assert not succeed(module, given, check)["changed"], f"{name}: again"
        count += 1
    return count


@pytest.fixture(name="place")
def _place(tmp_path: pathlib.Path, own_registry: t.Any, repository: str) -> t.Tuple[pathlib.Path, t.Dict[str, str]]:
    return make_place(tmp_path, own_registry, repository)


def test_builds_and_copies(place: t.Tuple[pathlib.Path, t.Dict[str, str]], own_registry: t.Any) -> None:
    folder, here = place
    assert check_run_again([*tasks_of("oci_layout_build", here), *tasks_of("oci_copy", here)], folder, own_registry) >= 20


def test_layouts(place: t.Tuple[pathlib.Path, t.Dict[str, str]], own_registry: t.Any) -> None:
    folder, here = place
    make_toolbox(folder, here)
    assert check_run_again([*tasks_of("oci_layout_info", here), *tasks_of("oci_layout_prune", here)], folder, own_registry) == 6


def test_pulls(place: t.Tuple[pathlib.Path, t.Dict[str, str]], own_registry: t.Any, peers: t.Any) -> None:
    folder, here = place
    here = pushed_by_oras(folder, here, peers)
    for _name, module, arguments in flat(tasks_of("oci_layout_build", here)):
        succeed(module, {"registries": [{"host": own_registry.host, "plain_http": True}], **arguments})
    assert check_run_again(tasks_of("oci_pull", here), folder, own_registry) >= 13


def test_the_readme(place: t.Tuple[pathlib.Path, t.Dict[str, str]], own_registry: t.Any, peers: t.Any) -> None:
    folder, here = place
    push_chart(Oras(peers.require("oras"), folder / "by-oras"), here["registry.example.com/"])
    assert check_run_again(readme_tasks(here), folder, own_registry) >= 4


@pytest.mark.usefixtures("docker")
def test_builders(place: t.Tuple[pathlib.Path, t.Dict[str, str]], own_registry: t.Any) -> None:
    folder, here = place
    make_context(folder)
    assert check_run_again(builders_tasks(here), folder, own_registry) == 6

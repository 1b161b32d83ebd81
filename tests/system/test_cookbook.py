# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every task of the cookbook and of the pages on use is one that Ansible would take: the module is there, and so are its options and
their choices."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
import yaml
from ansible_runs import run_ansible

ROOT = pathlib.Path(__file__).resolve().parents[2]
TASK = re.compile(r"`(lading\.oci\.\w+): (\{.*?\})`")
ROW = re.compile(r"\| `(oras|skopeo|crane|regctl|cosign|notation|umoci) ")
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PREFIX = "lading.oci."
Task = t.Dict[str, t.Any]


@pytest.fixture(scope="module", name="options")
def _options() -> t.Dict[str, t.Dict[str, t.Any]]:
    """Of each module, as ansible-doc tells them."""
    names = sorted(f"lading.oci.{path.stem}" for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "__init__")
    done = run_ansible("ansible-doc", ["-j", *names])
    return {name: found["doc"]["options"] for name, found in json.loads(done.stdout).items()}


def unknown(given: t.Any, options: t.Mapping[str, t.Any], path: str) -> t.List[str]:
    """What of a task its module does not take."""
    wrong = []
    for key, value in given.items():
        option = options.get(key)
        if option is None:
            wrong.append(f"{path}{key}")
            continue
        for one in value if isinstance(value, list) else [value]:
            if "choices" in option and one not in option["choices"]:
                wrong.append(f"{path}{key}={one}")
            if isinstance(one, dict) and "suboptions" in option:
                wrong += unknown(one, option["suboptions"], f"{path}{key}.")
    return wrong


def wrong_with(module: str, given: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> t.List[str]:
    """What of a task its module does not take, and what it needs and has not."""
    if module not in options:
        return [f"there is no {module}"]
    required = {name for name, option in options[module].items() if option.get("required")} - set(given)
    return [*unknown(given, options[module], ""), *(f"without {name}" for name in sorted(required))]


def tasks_in(items: t.Iterable[Task]) -> t.Iterator[Task]:
    """Tasks out of plays, blocks and lists of tasks."""
    for item in items:
        inner = [
            task for key in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always") for task in item.get(key, [])
        ]
        if inner or "hosts" in item:
            yield from tasks_in(inner)
        else:
            yield item


def test_every_task(options: t.Dict[str, t.Dict[str, t.Any]]) -> None:
    lines = (ROOT / "docs" / "cookbook.md").read_text().splitlines()
    rows = [line for line in lines if ROW.match(line)]
    assert len(rows) >= 50
    wrong = []
    for row in rows:
        tasks = TASK.findall(row)
        if not tasks and "the same" not in row:
            wrong.append(row)
        for module, text in tasks:
            wrong += [f"{row}: {what}" for what in wrong_with(module, yaml.safe_load(text), options)]
    assert not wrong


@pytest.mark.parametrize(("page", "at_least"), [("air-gap.md", 11), ("migration.md", 17)])
def test_every_task_of_a_page(page: str, at_least: int, options: t.Dict[str, t.Dict[str, t.Any]]) -> None:
    blocks = YAML_BLOCK.findall((ROOT / "docs" / page).read_text())
    tasks = [task for block in blocks for task in tasks_in(yaml.safe_load(block))]
    ours = [(task["name"], module, given) for task in tasks for module, given in task.items() if module.startswith(PREFIX)]
    assert len(ours) >= at_least
    assert not [f"{name}: {what}" for name, module, given in ours for what in wrong_with(module, given, options)]


def test_a_wrong_task_is_noticed(options: t.Dict[str, t.Dict[str, t.Any]]) -> None:
    assert wrong_with(f"{PREFIX}oci_pul", {}, options) == [f"there is no {PREFIX}oci_pul"]
    assert wrong_with(f"{PREFIX}oci_copy", {"src": "A", "dset": "B", "format": "v2"}, options) == ["dset", "format=v2", "without dest"]
    assert wrong_with(f"{PREFIX}oci_push", {"files": [{"scr": "f"}]}, options) == ["files.scr", "without dest"]
    plays = [{"hosts": "all", "tasks": [{"block": [{"name": "a"}], "rescue": [{"name": "b"}]}]}, {"name": "c"}]
    assert [task["name"] for task in tasks_in(plays)] == ["a", "b", "c"]

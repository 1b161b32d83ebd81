# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written in more than one place of the project says the same in each."""

from __future__ import annotations

import ast
import pathlib
import re
import sys
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "tools"))

import matrix  # noqa: E402

MODULES = sorted((ROOT / "plugins" / "modules").glob("oci_*.py"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GROUP_FRAGMENT = "lading.oci.attributes.actiongroup_registry"
ATTRIBUTES = {"lading.oci.attributes", "lading.oci.attributes.info_module"}


def loaded(path: str) -> t.Any:
    return yaml.safe_load((ROOT / path).read_text())


def documentation(module: pathlib.Path) -> t.Dict[str, t.Any]:
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Assign) and [target.id for target in node.targets if isinstance(target, ast.Name)] == ["DOCUMENTATION"]:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError(f"{module.name} has no DOCUMENTATION")


def takes(module: pathlib.Path, function: str) -> bool:
    return f"{function}(" in module.read_text()


def test_the_action_group_is_what_the_documentation_says() -> None:
    grouped = sorted(module.stem for module in MODULES if GROUP_FRAGMENT in documentation(module)["extends_documentation_fragment"])
    assert loaded("meta/runtime.yml")["action_groups"] == {"registry": grouped}


def test_every_module_with_the_registry_options_is_in_the_action_group() -> None:
    with_options = sorted(module.stem for module in MODULES if takes(module, "registries_argument_spec"))
    assert loaded("meta/runtime.yml")["action_groups"]["registry"] == with_options


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_module_says_what_it_supports_and_what_to_see_beside_it(module: pathlib.Path) -> None:
    document = documentation(module)
    assert ATTRIBUTES & set(document["extends_documentation_fragment"])
    assert document["seealso"]


def test_what_is_promised_is_what_is_tested() -> None:
    promised = [pair for pair in matrix.PAIRS if pair.promised]
    assert loaded("meta/runtime.yml")["requires_ansible"] == f">={promised[0].name}.0"
    for pair in promised:
        assert pair.requirement == f"ansible-core ~= {pair.name}.0"
        assert (ROOT / "tests" / "sanity" / f"ignore-{pair.name}.txt").exists()


def test_every_role_that_is_public_names_the_oldest_ansible() -> None:
    oldest = matrix.PAIRS[0].name
    for file in (ROOT / "roles").glob("*/meta/main.yml"):
        assert yaml.safe_load(file.read_text())["galaxy_info"].get("min_ansible_version", oldest) == oldest, file


def test_every_entry_of_the_sanity_ignore_files_has_its_reason() -> None:
    for file in (ROOT / "tests" / "sanity").glob("ignore-*.txt"):
        for line in file.read_text().splitlines():
            assert re.fullmatch(r"\S+ \S+ # \w.{9,}", line), f"{file.name}: {line}"


def test_fragments_have_the_markup_of_changelogs_not_that_of_modules() -> None:
    for file in (ROOT / "changelogs" / "fragments").glob("*.yml"):
        assert re.findall(r"\b(?:C|O|V|M|RV|E)\([^)]*\)", file.read_text()) == [], file.name


def steps(workflow: pathlib.Path) -> t.List[t.Dict[str, t.Any]]:
    document = yaml.safe_load(workflow.read_text())
    return [step for job in document["jobs"].values() for step in job["steps"]]


def test_workflows_run_make_targets_and_nothing_else() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split())
    commands = [step["run"] for workflow in WORKFLOWS for step in steps(workflow) if "run" in step]
    assert {command.split()[1] for command in commands} >= {"test", "test-matrix", "release-check"}
    for command in commands:
        program, target, *_variables = command.split()
        assert program == "make" and target in targets, command


def test_workflows_test_every_pair() -> None:
    jobs = [job for workflow in WORKFLOWS for job in yaml.safe_load(workflow.read_text())["jobs"].values()]
    pairs = [job["strategy"]["matrix"]["pair"] for job in jobs if "strategy" in job]
    assert pairs == [[pair.name for pair in matrix.PAIRS]]


def test_actions_are_pinned_by_their_major_version() -> None:
    used = [step["uses"] for workflow in WORKFLOWS for step in steps(workflow) if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", action)] == []


def test_issue_forms_have_what_github_wants_of_them() -> None:
    forms = [yaml.safe_load(file.read_text()) for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if file.name != "config.yml"]
    assert len(forms) == 2
    for form in forms:
        assert form["name"] and form["description"]
        identities = [item["id"] for item in form["body"] if item["type"] != "markdown"]
        assert identities and len(identities) == len(set(identities))
        for item in form["body"]:
            assert item["type"] in ("markdown", "textarea", "input")
            assert item["attributes"]["value" if item["type"] == "markdown" else "label"]

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every task of the cookbook is one that Ansible would take: the module is there, and so are its options and their choices."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TASK = re.compile(r"`(lading\.oci\.\w+): (\{.*?\})`")
ROW = re.compile(r"\| `(oras|skopeo|crane|regctl|cosign|notation|umoci) ")


@pytest.fixture(scope="module", name="options")
def _options() -> t.Dict[str, t.Dict[str, t.Any]]:
    """Of each module, as ansible-doc tells them."""
    names = sorted(f"lading.oci.{path.stem}" for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "__init__")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": os.environ["PYTHONPATH"].split(os.pathsep)[0]}
    program = pathlib.Path(sys.executable).with_name("ansible-doc")
    done = subprocess.run([str(program), "-j", *names], capture_output=True, text=True, env=environment, check=True, timeout=300)
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
            given = yaml.safe_load(text)
            required = {name for name, option in options[module].items() if option.get("required")} - set(given)
            wrong += [f"{row}: {what}" for what in [*unknown(given, options[module], ""), *(f"without {name}" for name in required)]]
    assert not wrong

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Imports only go down (docs/architecture.md), and each foreign library comes in by one file."""

from __future__ import annotations

import ast
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import copy

HOUSE = pathlib.Path(copy.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
FOREIGN: t.Dict[str, t.Set[str]] = {
    "requests": set(),
    "urllib3": {"registry/pools.py"},
    "jsonschema": {"spec/schema.py"},
    "cryptography": {"signatures/keys.py"},
    "ansible": {"module.py"},
}


def imports(file: pathlib.Path) -> t.Iterator[t.Tuple[str, bool]]:
    """Names of what a file imports: from the house by their path in it, from elsewhere; and whether that is at the top."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        at_top = node in tree.body
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], at_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".", maxsplit=1)[0], at_top
        elif isinstance(node, ast.ImportFrom):
            base = file.relative_to(HOUSE).parts[: -node.level]
            module = (*base, *(node.module.split(".") if node.module else ()))
            yield from (
                ("./" + "/".join(module) if node.module else "./" + "/".join((*module, alias.name)), at_top) for alias in node.names
            )


def layer_of(path: str) -> str:
    return path.split("/")[0] if "/" in path else path


def allowed(importer: str, imported: str) -> bool:
    """May ``importer`` (a path in the house) import ``imported``?"""
    own, other = layer_of(importer), layer_of(imported)
    below = {"spec": {"spec"}, "content": {"spec", "content"}, "registry": {"spec", "registry"}}
    if own == "registry" and imported.startswith("content/store"):
        return True
    if own in below:
        return other in below[own] and not (importer == "content/store.py" and other == "content")
    if other in ("buildx", "rootfs", "signatures") and own != other:
        return False
    # The files at the top of the house: module.py is above all others, and nothing of the house is above it.
    return other in below or (other != "module" and not imported.startswith("module"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_imports_only_go_down(file: pathlib.Path) -> None:
    own = str(file.relative_to(HOUSE))
    for name, at_top in imports(file):
        if name.startswith("./"):
            assert allowed(own, name[2:]), f"{own} imports {name}"
        elif name in FOREIGN:
            assert own in FOREIGN[name], f"{own} imports {name}"
            assert name == "ansible" or not at_top, f"{own} imports {name} before it is needed"


def test_the_rule_can_fail() -> None:
    assert not allowed("spec/digest.py", "content/store")
    assert not allowed("content/layout.py", "registry/repository")
    assert not allowed("registry/auth.py", "content/layout")
    assert not allowed("copy.py", "module")
    assert allowed("module.py", "copy") and allowed("registry/repository.py", "content/store")

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that no package of Debian has, built by Go into the cache folder."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

import peers

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class GoTool:
    """``package`` of ``module``, or with ``source`` the program in that folder beside this file, which needs the module."""

    module: str
    package: str = ""
    source: t.Optional[str] = None


TOOLS = {
    "regctl": GoTool("github.com/regclient/regclient@v0.11.7", "github.com/regclient/regclient/cmd/regctl"),
    "olareg": GoTool("github.com/olareg/olareg@v0.1.2", "github.com/olareg/olareg/cmd/olareg"),
    "crane-registry": GoTool("github.com/google/go-containerregistry@v0.20.6", source="crane_registry"),
}


def find(name: str) -> pathlib.Path:
    """The program: the one on PATH, else one that is built here once. Raises Unavailable where Go is missing or cannot build it."""
    found = shutil.which(name)
    if found:
        return pathlib.Path(found)
    tool = TOOLS[name]
    program = peers.CACHE / "tools" / "go" / tool.module.rpartition("@")[2] / name
    with peers.locked(peers.CACHE):
        if not program.exists():
            if not shutil.which("go"):
                raise peers.Unavailable(f"{name} is built with Go, which is not on PATH")
            _build(tool, program)
    return program


def _build(tool: GoTool, program: pathlib.Path) -> None:
    """Inside of a module of our own that requires the version.

    ``go install`` refuses a go.mod with exclude directives, and like ``go get`` it asks for all versions, which not every proxy lists.
    """
    program.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=mod"}
    with tempfile.TemporaryDirectory() as module:
        if tool.source is not None:
            shutil.copytree(HERE / tool.source, module, dirs_exist_ok=True)
        built = str(pathlib.Path(module, "built"))
        for command in (
            ["mod", "init", "example.com/tool"],
            ["mod", "edit", f"-require={tool.module}"],
            ["build", "-o", built, tool.package or "."],
        ):
            done = subprocess.run(["go", *command], capture_output=True, text=True, cwd=module, env=environment, check=False)
            if done.returncode != 0:
                raise peers.Unavailable(f"go {command[0]} failed: {done.stderr.strip()[-300:]}")
        shutil.move(built, program)

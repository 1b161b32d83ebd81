# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The docker command with its buildx plugin, run without a shell."""

from __future__ import annotations

import os
import re
import typing as t

from ..programs import RunCommand, program_path
from ..spec.errors import ToolError

_NO_PLUGIN = ("is not a docker command", "unknown command: docker buildx", "Usage:  docker [OPTIONS] COMMAND")
_COLOURS = re.compile("\x1b\\[[0-9;]*[A-Za-z]")


class Answer(t.NamedTuple):
    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The program's own last word, which is its error."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


class Buildx:
    """``docker buildx`` on this host. ``host`` is the engine's address (DOCKER_HOST), for all its calls."""

    def __init__(self, run_command: RunCommand, cli: t.Optional[str] = None, host: t.Optional[str] = None) -> None:
        self._run_command = run_command
        self._program = program_path("docker", cli, "docker_cli", "the docker command")
        self._environment = {"NO_COLOR": "1", "BUILDX_METADATA_WARNINGS": "1", **({"DOCKER_HOST": host} if host else {})}
        # Base images are told by the provenance in the metadata file, which the user's environment can turn off.
        if os.environ.get("BUILDX_METADATA_PROVENANCE") != "max":
            self._environment["BUILDX_METADATA_PROVENANCE"] = "min"

    def call(
        self, *arguments: str, cwd: t.Optional[str] = None, environment: t.Optional[t.Mapping[str, str]] = None, plugin: str = "buildx"
    ) -> Answer:
        """Run ``docker buildx ARGUMENTS``, whatever comes of it; its output has no colours."""
        words = [self._program, *([plugin] if plugin else []), *arguments]
        # A "$" or "~" in an argument is the user's own: nothing is expanded.
        code, out, err = self._run_command(
            words, cwd=cwd, environ_update={**self._environment, **(environment or {})}, expand_user_and_vars=False
        )
        return Answer(code, _COLOURS.sub("", out), _COLOURS.sub("", err))

    def must(self, *arguments: str, **options: t.Any) -> str:
        """Standard output of a call that has to succeed. Raises ToolError with the program's own last line."""
        answer = self.call(*arguments, **options)
        if answer.code != 0:
            raise ToolError(f"docker buildx {arguments[0]} failed: {self.explain(answer)}")
        return answer.out

    def explain(self, answer: Answer) -> str:
        """The error of a failed call, with what to do about the usual ones."""
        text = answer.err + answer.out
        # Without the plugin the docker command takes the words for its own: "unknown flag", and its own usage.
        if any(sign in text for sign in _NO_PLUGIN):
            how = "Debian: docker-buildx, or the role lading.oci.buildx with buildx_install: true"
            return f"the docker command has no buildx plugin: install it ({how})"
        if "Cannot connect to the Docker daemon" in text or "error during connect" in text:
            return f"{answer.last_line} (docker_host names the engine's address)"
        return answer.last_line

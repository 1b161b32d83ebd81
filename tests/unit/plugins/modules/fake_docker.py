# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A docker command with buildx for tests without an engine: answers as the real ones do, remembers what it was asked."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import shutil
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule

Answer = t.Tuple[int, str, str]
Document = t.Dict[str, t.Any]
CLI = "/bin/sh"  # any program that is there: it is never run


class FakeDocker:
    """``builders`` as ``ls`` tells them; ``result``: the tar that builds give; ``metadata``: what BuildKit tells of them;
    ``targets``: of the bake files; ``failure``: the answer of the next call of that verb."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.builders: t.List[Document] = [builder("default", "docker", current=True)]
        self.instances = folder / "instances"
        self.result: t.Optional[pathlib.Path] = None
        self.metadata: Document = {}
        self.targets: Document = {}
        self.failure: t.Dict[str, Answer] = {}
        self.on_build: t.Callable[[], None] = lambda: None
        self.calls: t.List[t.List[str]] = []
        self.environment: t.Dict[str, str] = {}

    def run(self, words: t.Sequence[str], environ_update: t.Mapping[str, str], **_options: t.Any) -> Answer:
        assert words[:2] == [CLI, "buildx"]
        verb, *arguments = words[2:]
        self.calls.append([verb, *arguments])
        self.environment = dict(environ_update)
        if verb in self.failure:
            return self.failure.pop(verb)
        return 0, t.cast(str, getattr(self, f"_{verb}")(arguments)), ""

    def called(self, verb: str) -> t.List[t.List[str]]:
        """The arguments of each call of that verb, and none of them again."""
        found = [call[1:] for call in self.calls if call[0] == verb]
        self.calls = [call for call in self.calls if call[0] != verb]
        return found

    def _ls(self, _arguments: t.List[str]) -> str:
        return "".join(json.dumps(item) + "\n" for item in self.builders)

    def _create(self, arguments: t.List[str]) -> str:
        given = options(arguments)
        name, flags = given["name"][0], given.get("buildkitd-flags", [""])[0].split()
        made = builder(name, given["driver"][0], status="inactive", version="", flags=flags)
        node = made["Nodes"][0]
        node["DriverOpts"] = dict(text.partition("=")[::2] for text in given.get("driver-opt", []))
        plain = [word for word in arguments if not word.startswith("--")]
        node["Endpoint"] = plain[0] if plain else "unix:///var/run/docker.sock"
        self.builders.append(made)
        stored: Document = {"Platforms": [_platform(text) for text in _joined(given.get("platform", []))]}
        for path in given.get("buildkitd-config", []):
            # buildx writes the file anew, in its own way.
            content = pathlib.Path(path).read_bytes() + b"# as buildx writes it\n"
            stored["Files"] = {"buildkitd.toml": base64.b64encode(content).decode()}
        self.instances.mkdir(parents=True, exist_ok=True)
        (self.instances / name).write_text(json.dumps({"Nodes": [stored]}))
        return name

    def _inspect(self, arguments: t.List[str]) -> str:
        self._named(arguments[-1])["Nodes"][0].update(Status="running", Version="v0.25.0")
        return ""

    def _use(self, arguments: t.List[str]) -> str:
        for item in self.builders:
            item["Current"] = item["Name"] == arguments[-1]
        return ""

    def _rm(self, arguments: t.List[str]) -> str:
        self.builders.remove(self._named(arguments[-1]))
        return ""

    def _bake(self, _arguments: t.List[str]) -> str:
        return json.dumps({"target": self.targets})

    def _build(self, arguments: t.List[str]) -> str:
        given = options(arguments)
        for output in given["output"]:
            fields = dict(field.partition("=")[::2] for field in output.split(","))
            if "dest" in fields:
                shutil.copy(str(self.result), fields["dest"])
        pathlib.Path(given["metadata-file"][0]).write_text(json.dumps(self.metadata))
        self.on_build()
        return ""

    def _named(self, name: str) -> Document:
        return next(item for item in self.builders if item["Name"] == name)


def builder(
    name: str, driver: str, current: bool = False, status: str = "running", version: str = "v0.25.0", flags: t.Sequence[str] = ()
) -> Document:
    node = {"Name": f"{name}0", "Endpoint": name, "Status": status, "Version": version, "Flags": list(flags)}
    return {"Name": name, "Driver": driver, "Current": current, "Nodes": [node]}


def options(arguments: t.Sequence[str]) -> t.Dict[str, t.List[str]]:
    """The values of ``--name=value`` words, by name."""
    found: t.Dict[str, t.List[str]] = {}
    for word in arguments:
        if word.startswith("--") and "=" in word:
            name, _equals, value = word[2:].partition("=")
            found.setdefault(name, []).append(value)
    return found


def _joined(values: t.Sequence[str]) -> t.List[str]:
    return [text for value in values for text in value.split(",")]


def _platform(text: str) -> Document:
    os_name, architecture, *variant = text.split("/")
    return {"os": os_name, "architecture": architecture, **({"variant": variant[0]} if variant else {})}


def install(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> FakeDocker:
    """The modules that run in this process meet this docker, in a home of their own."""
    for name in list(os.environ):
        if name.startswith(("XDG_", "BUILDX_", "DOCKER_")) or name.endswith(("_proxy", "_PROXY")) or name == "SOURCE_DATE_EPOCH":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BUILDX_CONFIG", str(tmp_path / "buildx"))
    docker = FakeDocker(tmp_path / "buildx")
    monkeypatch.setattr(AnsibleModule, "run_command", lambda _module, words, **more: docker.run(words, **more))
    return docker

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is refused before Ansible converts it; that Ansible's own plugins run it is in tests/system/test_mistakes.py."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.plugin_utils import _checked, _progress
from ansible_collections.lading.oci.plugins.plugin_utils._checked import CheckedAction, mistakes

REGISTRY = "a dictionary is meant, as dest_registry: {plain_http: true} (on the command line dest_registry=plain_http=true)"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"dest_registry": True}, f"dest_registry is True: {REGISTRY}"),
        ({"dest_registry": "needle"}, f"dest_registry is a text: {REGISTRY}"),
        ({"dest_registry": ["needle"]}, f"dest_registry is a list: {REGISTRY}"),
        ({"src_registry": True}, "src_registry is True: "),
        ({"base_registry": 1}, "base_registry is 1: "),
        ({"repair_registry": "x"}, "repair_registry is a text: "),
        (
            {"layers": "rootfs/"},
            "layers is a text: a list of dictionaries is meant, as layers: [{src: rootfs/}] (on the command line layers=src=rootfs/)",
        ),
        ({"layers": [{"src": "a"}, "rootfs/"]}, "layers[1] is a text: a dictionary is meant, as layers[1]: {src: rootfs/}"),
        ({"files": ["site.conf"]}, "files[0] is a text: a dictionary is meant, as files[0]: {src: site.conf}"),
        ({"manifests": ["oci:a:1"]}, "manifests[0] is a text: "),
        (
            {"registries": "localhost:5000"},
            "[{host: localhost:5000, plain_http: true}] (on the command line registries=host=localhost:5000,plain_http=true)",
        ),
        (
            {"config": {"cmd": "/bin/sh -c echo,a"}},
            "config.cmd is a text, which Ansible would cut at its commas: a list is meant, as cmd: [/bin/sh",
        ),
        ({"config": {"entrypoint": "/bin/hello"}}, "config.entrypoint is a text"),
        ({"tag": 2.3}, "tag is the number 2.3, and YAML makes the same of 2.30: put it in quotes"),
        ({"tags": ["v1", 1.1]}, "tags[1] is the number 1.1, and YAML makes the same of 1.10"),
        ({"tags": 1.1}, "tags is the number 1.1"),
        ({"dest_ref": 1.1}, "dest_ref is the number 1.1"),
    ],
    ids=str,
)
def test_what_is_refused(arguments: t.Dict[str, t.Any], says: str) -> None:
    said = list(mistakes(arguments))
    assert len(said) == 1 and says in said[0] and "needle" not in said[0]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"dest_registry": None, "layers": None, "config": None, "tags": None, "tag": None},
        {"dest_registry": {"plain_http": True}, "registries": [{"host": "h"}], "layers": [{"src": "a"}], "tags": ["1.10"], "tag": 2},
        {"dest_registry": "plain_http=true", "layers": "src=rootfs/", "files": ["src=a"], "tags": "v1,1.10"},
        {"dest_registry": ' {"plain_http": true}', "registries": '[{"host": "h"}]', "layers": "", "config": "cmd=/bin/hello"},
        {"config": {"cmd": ["/bin/sh", "-c", "echo,a"], "entrypoint": ""}},
    ],
    ids=str,
)
def test_what_goes_on_to_the_module(arguments: t.Dict[str, t.Any]) -> None:
    assert list(mistakes(arguments)) == []


def test_the_module_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress.ProgressAction, "run", lambda *_arguments: {"ran": True})
    action = CheckedAction.__new__(CheckedAction)
    action._task = types.SimpleNamespace(args={"tag": 1.1})  # type: ignore[assignment]
    said = action.run(None, {})
    assert said["failed"] and not said["changed"] and said["msg"].startswith("tag is the number 1.1")
    action._task.args = {"tag": "1.1"}
    assert action.run(None, {}) == {"ran": True}


def test_each_option_has_an_example() -> None:
    for name, example in _checked._ITEMS.items():
        assert list(mistakes({name: [example[1:-1].replace(": ", "=")]})) == []

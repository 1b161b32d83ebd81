# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments that Ansible would convert without a word, or refuse without their names, before they get to the module."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.module_utils.common.collections import is_sequence
from ansible_collections.lading.oci.plugins.plugin_utils._progress import ProgressAction

_REGISTRIES = ("src_registry", "dest_registry", "base_registry", "repair_registry")
_ONE_REGISTRY = "{plain_http: true}"
# Lists of dictionaries, with one of each.
_ITEMS = {
    "registries": "{host: localhost:5000, plain_http: true}",
    "layers": "{src: rootfs/}",
    "files": "{src: site.conf}",
    "manifests": "{src: oci:app.tar:1.4}",
}
_COMMANDS = ("cmd", "entrypoint")
_NAMES = ("tag", "src_ref", "dest_ref", "base_ref")


class CheckedAction(ProgressAction):
    """The module, when its arguments are of the kinds that it takes."""

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> t.Dict[str, t.Any]:
        wrong = next(mistakes(self._task.args), None)
        if wrong is not None:
            return {"failed": True, "changed": False, "msg": wrong}
        return super().run(tmp, task_vars)


def mistakes(arguments: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """What is wrong with the arguments of a task, each with the name of its option and what is meant."""
    for name in _REGISTRIES:
        yield from _no_dictionary(name, arguments.get(name), _ONE_REGISTRY)
    for name, example in _ITEMS.items():
        yield from _no_dictionaries(name, arguments.get(name), example)
    yield from _strings(arguments.get("config"))
    yield from _numbers(arguments)


def _no_dictionary(name: str, value: t.Any, example: str) -> t.Iterator[str]:
    # Ansible makes dictionaries of name=value and of JSON.
    if not (value is None or isinstance(value, Mapping) or (isinstance(value, str) and ("=" in value or value.lstrip()[:1] in ("", "{")))):
        yield f"{name} is {_kind(value)}: a dictionary is meant, as {name}: {example}{_on_command_line(name, example)}"


def _no_dictionaries(name: str, value: t.Any, example: str) -> t.Iterator[str]:
    if isinstance(value, str) and "=" not in value and value.lstrip()[:1] not in ("", "[", "{"):
        yield f"{name} is {_kind(value)}: a list of dictionaries is meant, as {name}: [{example}]{_on_command_line(name, example)}"
    elif is_sequence(value):
        for number, item in enumerate(value):
            yield from _no_dictionary(f"{name}[{number}]", item, example)


def _on_command_line(name: str, example: str) -> str:
    return "" if "[" in name else f" (on the command line {name}={example.strip('{}').replace(': ', '=').replace(', ', ',')})"


def _kind(value: t.Any) -> str:
    # Never its words: they may be a password.
    return "a text" if isinstance(value, str) else "a list" if is_sequence(value) else f"{value}"


def _strings(config: t.Any) -> t.Iterator[str]:
    for name in _COMMANDS if isinstance(config, Mapping) else ():
        if isinstance(config.get(name), str) and config[name]:
            yield f"config.{name} is a text, which Ansible would cut at its commas: a list is meant, as {name}: [/bin/sh, -c, ...]"


def _numbers(arguments: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    named = [(name, arguments.get(name)) for name in _NAMES]
    tags = arguments.get("tags")
    named += [(f"tags[{number}]", tag) for number, tag in enumerate(tags)] if is_sequence(tags) else [("tags", tags)]
    for name, value in named:
        if isinstance(value, float):
            yield f"{name} is the number {value}, and YAML makes the same of {value}0: put it in quotes"

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Targets of bake files, turned into the options of a build each. The files are read by buildx itself."""

from __future__ import annotations

import os
import typing as t

from ..spec import strictjson
from ..spec.errors import InvalidError, NotFoundError, ToolError
from .cli import Buildx
from .definition import Params, csv_record, is_remote

# ``bake --print`` opens, and empties, the files that outputs name: it must never see the targets' own.
_NO_OUTPUT = "*.output=type=cacheonly"
# Fields of a target that are an option of the module, by that option; the rest is turned below.
_SAME = {"args": "args", "labels": "labels", "tags": "tags", "platforms": "platforms", "target": "target", "network": "network"}
_SAME = {**_SAME, "shm-size": "shm_size", "entitlements": "allow", "no-cache": "no_cache", "no-cache-filter": "no_cache_filter"}
_TURNED = ("context", "dockerfile", "contexts", "secret", "cache-from", "cache-to", "attest", "annotations", "pull", "output")


def read_targets(buildx: Buildx, bake: Params, names: t.Sequence[str]) -> t.Dict[str, t.Dict[str, t.Any]]:
    """The module's options of each target. Raises ToolError for what buildx does not understand, InvalidError for what we do not."""
    folder = os.path.abspath(os.path.expanduser(bake["folder"]))
    if not os.path.isdir(folder):
        raise NotFoundError(f"bake.folder: no such folder: {bake['folder']}")
    words = [f"--file={file}" for file in bake["files"]] + [f"--set={text}" for text in [*bake["set"], _NO_OUTPUT]]
    variables = {name: str(value) for name, value in bake["vars"].items()}
    answer = buildx.call("bake", "--print", *words, "--", *names, cwd=folder, environment=variables)
    if answer.code != 0:
        raise ToolError(f"the bake files in {folder} cannot be read: {buildx.explain(answer)}")
    printed = strictjson.load_object(answer.out.encode("utf-8"), "what docker buildx bake --print says")
    targets = printed.get("target") or {}
    missing = [name for name in names if name not in targets]
    if missing:
        raise InvalidError(f"outputs: bake_target {missing[0]!r} is a group, name its targets ({', '.join(sorted(targets))})")
    return {name: _options(name, targets[name], folder) for name in names}


def merged(target: Params, task: Params) -> t.Dict[str, t.Any]:
    """The task's own options over the target's: mappings are joined, others replaced where the task gives them."""
    found = dict(task)
    for name, value in target.items():
        given = task[name]
        if isinstance(value, dict):
            found[name] = {**value, **(given or {})}
        elif not given or (name == "pull" and given == "missing"):
            found[name] = value
    return found


def _options(name: str, target: Params, folder: str) -> t.Dict[str, t.Any]:
    unknown = sorted(set(target) - set(_SAME) - set(_TURNED))
    if unknown:
        raise InvalidError(
            f"the bake target {name!r} has {unknown[0]}, which is not taken from bake files: give it as an option of the task"
        )
    options = {option: target[field] for field, option in _SAME.items() if field in target}
    options["context"] = _path(str(target.get("context") or "."), folder)
    options["dockerfile"] = target.get("dockerfile") or "Dockerfile"
    options["build_contexts"] = {key: _context(name, key, value, folder) for key, value in (target.get("contexts") or {}).items()}
    options["secrets"] = [_secret(item, folder) for item in target.get("secret") or []]
    options["annotations"] = dict(text.partition("=")[::2] for text in target.get("annotations") or [])
    options["pull"] = "always" if target.get("pull") else "missing"
    for field, option in (("cache-from", "cache_from"), ("cache-to", "cache_to")):
        options[option] = [csv_record(f"{key}={value}" for key, value in sorted(item.items())) for item in target.get(field) or []]
    for item in target.get("attest") or []:
        if item.get("type") not in ("provenance", "sbom"):
            raise InvalidError(f"the bake target {name!r} has an attestation of type {item.get('type')!r}: expected provenance or sbom")
        options[item["type"]] = _attestation(item)
    return options


def _path(text: str, folder: str) -> str:
    return text if is_remote(text) else os.path.normpath(os.path.join(folder, text))


def _context(name: str, key: str, value: str, folder: str) -> str:
    if value.startswith("target:"):
        raise InvalidError(
            f"the bake target {name!r} takes its context {key} from another target: "
            "let that one's output be a layout folder, and give its path here as oci-layout://"
        )
    return value if "://" in value else _path(value, folder)


def _secret(item: Params, folder: str) -> t.Dict[str, t.Any]:
    src = _path(item["src"], folder) if item.get("src") else None
    return {"id": item.get("id") or "", "src": src, "env": item.get("env"), "value": None}


def _attestation(item: Params) -> str:
    fields = csv_record(f"{key}={value}" for key, value in sorted(item.items()) if key != "type")
    return fields or "true"

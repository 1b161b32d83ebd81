# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""One copy by the library alone, without Ansible: ``{"src": ..., "dest": ..., "concurrency": ...}`` on standard input, references as
``oci_copy`` has them (no concurrency: the default). Prints its seconds and requests; with no input it only imports the library.

The time is that of the call: stores opened, plan, run. Python's start and all imports are not in it: a whole task has them.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import (
    DEFAULT_CONCURRENCY,
    CopyOptions,
    Planner,
    apply_copy,
    look_up,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.options import RegistryOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.repository import open_repository
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import reference
from ansible_collections.lading.oci.plugins.module_utils._oci.stats import requests_of

LIBRARY = "ansible_collections.lading.oci.plugins.module_utils._oci"
# Copies import these when they first need them.
for name in ("urllib3", f"{LIBRARY}.transfer", f"{LIBRARY}.registry.download", f"{LIBRARY}.registry.uploads", f"{LIBRARY}.content.sharing"):
    importlib.import_module(name)


def opened(text: str, writing: bool) -> t.Tuple[t.Any, t.Any]:
    """The parsed reference and its store."""
    parsed = reference.parse(text)
    if isinstance(parsed, reference.RegistryReference):
        return parsed, open_repository(parsed, RegistryOptions(plain_http=True), lambda said: print(said, file=sys.stderr), writing)
    return parsed, Archive(parsed.path) if parsed.archive else Layout(parsed.path)


def copy(job: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    start = time.monotonic()
    concurrency = job.get("concurrency", DEFAULT_CONCURRENCY)
    src, source = opened(job["src"], False)
    dest, target = opened(job["dest"], True)
    # As oci_copy has it by default.
    planner = Planner(target, CopyOptions(concurrency, hardlinks=True))
    plan = planner.plan(source, source.resolve(src.target), look_up(target, [dest.target]))
    if plan.changed:
        apply_copy(plan, source, target, concurrency)
    seconds = time.monotonic() - start
    asked = requests_of(source, target)
    return {"seconds": seconds, "requests": sum(sum(side.values()) for side in asked.values())}


def main() -> None:
    text = sys.stdin.read()
    if text:
        print(json.dumps(copy(json.loads(text))))


if __name__ == "__main__":
    main()

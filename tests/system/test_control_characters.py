# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names with line ends and escapes: exact in results, where JSON escapes them, and quoted in messages and diffs (threat rows 6 and 59)."""

from __future__ import annotations

import json
import os
import pathlib
import tarfile
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import Member, MemorySource, member, plain_tar, tar_gz
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images
from support import Result, start_module

NAME = 'a\nok: [localhost] => {"forged": 1}\x1b[2J\x9b31m\u202e'
QUOTED = 'a\\nok: [localhost] => {"forged": 1}\\x1b[2J\\x9b31m\\u202e'


def said(arguments: t.Mapping[str, t.Any]) -> Result:
    """What oci_pull answers: one line without a control character, whatever is in it."""
    internal = {"_ansible_diff": True, "_ansible_remote_tmp": "/tmp"}
    out, err = start_module("oci_pull", {**arguments, **internal}).communicate(timeout=300)
    assert err == "" and out.strip("\n").isprintable(), (out, err)
    result: Result = json.loads(out)
    # Newer versions of Ansible give a warning with its circumstances.
    result["warnings"] = [one if isinstance(one, str) else one["event"]["msg"] for one in result.get("warnings", ())]
    diff = result.get("diff", {})
    lines = [diff.get("before", ""), diff.get("after", ""), *result["warnings"], result.get("msg", "")]
    assert all(NAME not in text and "\x1b" not in text for text in lines), lines
    return result


@pytest.fixture(name="source")
def _source(tmp_path: pathlib.Path) -> str:
    memory, layout = MemorySource(), Layout(str(tmp_path / "layout"))
    versions: t.Dict[str, t.List[Member]] = {
        "old": [member(f"d/{NAME}", b"old"), member("d/kept", b"kept")],
        "new": [member(f"d/{NAME}", b"new"), member("d/kept", b"kept")],
        "without": [member("d/kept", b"kept")],
    }
    for tag, members in versions.items():
        root = memory.artifact(memory.folder("d", tar_gz(*members)))
        apply_copy(plan_copy(memory, root, layout, [tag]), memory, layout)
    return f"oci:{layout.path}"


def test_members_of_a_folder(source: str, tmp_path: pathlib.Path) -> None:
    dest = tmp_path / "dest"
    file = dest / "d" / NAME
    assert said({"src": f"{source}:old", "dest": str(dest)})["changed"] and file.read_bytes() == b"old"
    changed = said({"src": f"{source}:new", "dest": str(dest), "backup": True})
    (backup,) = changed["backup_files"]
    assert backup.startswith(f"{file}.") and pathlib.Path(backup).read_bytes() == b"old" and file.read_bytes() == b"new"
    file.write_bytes(b"changed by somebody")
    kept = said({"src": f"{source}:without", "dest": str(dest), "prune": True})
    assert kept["removed"] == [] and any(f"{dest}/d/{QUOTED} is not in the artifact" in warning for warning in kept["warnings"])
    assert said({"src": f"{source}:new", "dest": str(dest)})["changed"]
    pruned = said({"src": f"{source}:without", "dest": str(dest), "prune": True})
    assert pruned["removed"] == [str(file)] and f"d/{QUOTED}: " in pruned["diff"]["before"] and not file.exists()


def test_an_error_about_a_member(source: str, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "dest" / "d" / NAME
    folder.mkdir(parents=True)
    (folder / "something").write_bytes(b"")
    failed = said({"src": f"{source}:new", "dest": str(tmp_path / "dest")})
    assert failed["failed"] and QUOTED in failed["msg"] and os.listdir(folder) == ["something"]


def test_paths_of_a_root_file_system(tmp_path: pathlib.Path) -> None:
    fifo = f"fifo{NAME}"
    layer = plain_tar(member(NAME, b"content"), member(fifo, kind=tarfile.FIFOTYPE))
    Images(tmp_path / "layout").image(layer, tags=["v1"])
    done = said({"src": f"oci:{tmp_path}/layout:v1", "dest": str(tmp_path / "dest"), "unpack": "rootfs"})
    assert (tmp_path / "dest" / NAME).read_bytes() == b"content"
    assert QUOTED in [change["path"] for change in done["changes"]] and done["skipped_entries"] == [f"fifo{QUOTED}"]
    assert f"{QUOTED}: file " in done["diff"]["after"]

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Peak memory of the modules on one large layer (``make bench``): 1 GiB by default, against a real registry.

Prints one line per step: the peak resident memory of the module's process, interpreter and Ansible's module code included, as the
kernel counted it. Exits 1 when a step is over the limit.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

LIMIT_MIB = 100
SIZE_MIB = int(os.environ.get("LADING_BENCH_MIB", "1024"))
CHUNK = 1024 * 1024


def run(name: str, arguments: t.Dict[str, t.Any]) -> t.Tuple[t.Dict[str, t.Any], float]:
    """The module's answer, and the peak memory of its process in MiB."""
    module = f"ansible_collections.lading.oci.plugins.modules.{name}"
    process = subprocess.Popen([sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
    process.stdin.close()
    output = process.stdout.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return json.loads(output), usage.ru_maxrss / 1024


def write_random(path: pathlib.Path, size_mib: int) -> None:
    with path.open("wb") as file:
        for _number in range(size_mib):
            file.write(os.urandom(CHUNK))


def steps(folder: pathlib.Path, dest: str) -> t.Iterator[t.Tuple[str, str, t.Dict[str, t.Any]]]:
    http = {"plain_http": True}
    layout, tar, data = folder / "layout", folder / "image.tar", folder / "data" / "large.bin"
    files = [{"src": str(data), "media_type": "application/octet-stream"}]
    yield "build empty artifact", "oci_layout_build", {"path": str(folder / "empty"), "tag": "v1", "artifact_type": "application/x"}
    yield "build artifact -> folder", "oci_layout_build", {"path": str(layout), "tag": "v1", "files": files}
    yield "build image -> tar", "oci_layout_build", {"path": str(tar), "tag": "v1", "layers": [{"src": str(data.parent)}]}
    yield "copy folder -> registry", "oci_copy", {"src": f"oci:{layout}:v1", "dest": f"{dest}:folder", "dest_registry": http}
    yield "copy tar -> registry", "oci_copy", {"src": f"oci:{tar}:v1", "dest": f"{dest}:tar", "dest_registry": http}
    yield "copy registry -> folder", "oci_copy", {"src": f"{dest}:tar", "src_registry": http, "dest": f"oci:{folder}/back:v1"}
    yield "copy registry -> tar", "oci_copy", {"src": f"{dest}:folder", "src_registry": http, "dest": f"oci:{folder}/back.tar:v1"}
    yield "pull from registry", "oci_pull", {"src": f"{dest}:folder", "src_registry": http, "dest": str(folder / "files")}
    yield "pull again", "oci_pull", {"src": f"{dest}:folder", "src_registry": http, "dest": str(folder / "files")}


def main() -> int:
    dest = f"{os.environ['LADING_TEST_REGISTRY']}/bench/memory"
    over = 0
    with tempfile.TemporaryDirectory(dir=os.environ.get("LADING_BENCH_DIR")) as name:
        folder = pathlib.Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        (folder / "ansible_collections" / "lading").mkdir(parents=True)
        (folder / "ansible_collections" / "lading" / "oci").symlink_to(pathlib.Path(__file__).resolve().parents[2])
        os.environ["PYTHONPATH"] = str(folder)
        (folder / "data").mkdir()
        write_random(folder / "data" / "large.bin", SIZE_MIB)
        for title, module, arguments in steps(folder, dest):
            result, peak = run(module, arguments)
            if result.get("failed"):
                print(f"{title}: {result['msg']}")
                return 1
            over += peak > LIMIT_MIB
            print(f"{title:28} {SIZE_MIB:5} MiB  peak memory {peak:6.1f} MiB  changed={result['changed']}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make quickstart``: the playbook lading.oci.quickstart twice against a real registry; the second run must change nothing.

    quickstart.py [COLLECTIONS]     the folder that the collection is installed in; without it the checkout is used

Needs LADING_TEST_REGISTRY (registry_server.py sets it), and ansible-core in the environment that runs this.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run_playbook(collections: pathlib.Path, folder: pathlib.Path, registry: str) -> t.Dict[str, t.Any]:
    """Run it once; its counts for localhost. Raises SystemExit with its output when it fails."""
    variables = {"quickstart_folder": str(folder / "work"), "quickstart_registry": registry}
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "NO_PROXY": "*",
    }
    program = pathlib.Path(sys.executable).parent / "ansible-playbook"
    command = [str(program), "lading.oci.quickstart", "--extra-vars", json.dumps(variables)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"the playbook failed:\n{done.stdout}{done.stderr}")
    recap = done.stdout.rpartition("PLAY RECAP")[2].split("\n")[1]
    return {"line": recap, **{key: int(value) for key, _equals, value in (word.partition("=") for word in recap.split()) if value}}


def linked_checkout(folder: pathlib.Path) -> pathlib.Path:
    """The checkout where Ansible looks for it."""
    (folder / "ansible_collections" / "lading").mkdir(parents=True)
    (folder / "ansible_collections" / "lading" / "oci").symlink_to(ROOT)
    return folder


def main() -> int:
    registry = os.environ["LADING_TEST_REGISTRY"]
    with tempfile.TemporaryDirectory(prefix="lading-quickstart-") as name:
        folder = pathlib.Path(name)
        collections = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else linked_checkout(folder)
        (folder / "work").mkdir()
        print(f"A registry is running at {registry}; the playbook lading.oci.quickstart builds, copies and pulls:")
        for number in (1, 2):
            counts = run_playbook(collections, folder, registry)
            print(f"  run {number}: ok={counts['ok']} changed={counts['changed']} failed={counts['failed']}")
        print("What it made:")
        for path in sorted((folder / "work").rglob("*")):
            if path.is_file():
                print(f"  {path.relative_to(folder / 'work')}  {path.stat().st_size} bytes")
        print(f"  {registry}/hello-artifact:v1 and {registry}/site:2.3, in the registry")
        if counts["changed"]:
            print("The second run changed something, which it must not.")
            return 1
    print("Nothing changed in the second run. The registry and the files are gone again; the playbook is playbooks/quickstart.yml.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Threads that import the same module out of a zip, as the library's do on a target, each get all of it."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import zipfile

from ansible_collections.lading.oci.plugins.module_utils._oci import zip_imports

# Run in a process of its own: what it changes would stay.
PROGRAM = """
import importlib.util, sys, threading
spec = importlib.util.spec_from_file_location("zip_imports", sys.argv[1])
zip_imports = importlib.util.module_from_spec(spec)
spec.loader.exec_module(zip_imports)
zip_imports.let_threads_wait()
sys.path.insert(0, sys.argv[2])
errors = []

def use():
    try:
        from package.slow import LAST
    except ImportError as error:
        errors.append(str(error))

threads = [threading.Thread(target=use) for _number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
import package.slow
assert package.__path__ == [sys.argv[2] + "/package"], package.__path__
assert package.slow.__file__.startswith(sys.argv[2]), package.slow.__file__
assert package.slow.OTHER == 7
sys.exit("; ".join(errors) or 0)
"""


def test_a_second_thread_waits_for_a_module_that_is_being_made(tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "payload.zip"
    with zipfile.ZipFile(archive, "w") as payload:
        payload.writestr("package/__init__.py", "")
        payload.writestr("package/other.py", "OTHER = 7\n")
        payload.writestr("package/slow.py", "import time\nfrom .other import OTHER\ntime.sleep(0.3)\nLAST = 1\n")
    command = [sys.executable, "-c", PROGRAM, zip_imports.__file__, str(archive)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands where ansible-test expects the get-pip script that it would download: the same from what Python brings along.

It runs in environments that have no pip yet. What it has installed in a Python's first is kept beside it for those that follow:
ansible-test makes a dozen, and to copy takes a twentieth of the time.
"""

import contextlib
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile


def install(packages):
    subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
    subprocess.check_call([sys.executable, "-m", "pip", "install", *packages])


def keep(site, kept):
    """Whole or not at all: others may do the same at the same time."""
    with tempfile.TemporaryDirectory(dir=str(kept.parent)) as folder:
        new = pathlib.Path(folder, "new")
        shutil.copytree(str(site), str(new))
        with contextlib.suppress(OSError):  # another one was first
            new.rename(kept)


def main():
    packages = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
    site = pathlib.Path(sysconfig.get_paths()["purelib"])
    named = [package for package in packages if not package.startswith("-")]
    kept = pathlib.Path(__file__).resolve().parent / "-".join(["lading", *named, sys.implementation.cache_tag])
    if kept.exists():
        shutil.copytree(str(kept), str(site), dirs_exist_ok=True)
    else:
        install(packages)
        keep(site, kept)


if __name__ == "__main__":
    main()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fuzzes each group of parsers for a while, one after the other.

    run_fuzz.py SECONDS [TARGET ...]

What was found and what is new is in .build/fuzz/TARGET: crash-* are inputs that something is wrong with, seeds/ what reaches more.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FUZZ = ROOT / "tests" / "fuzz"
OUTPUT = ROOT / ".build" / "fuzz"
LAST = re.compile(r"cov: (\d+).*|stat::number_of_executed_units: (\d+)")


def collections() -> pathlib.Path:
    """A folder where Python finds the checkout by the name of the collection."""
    parent = OUTPUT / "collections" / "ansible_collections" / "lading"
    parent.mkdir(parents=True, exist_ok=True)
    if not (parent / "oci").is_symlink():
        (parent / "oci").symlink_to(ROOT)
    return parent.parents[1]


def fuzz(name: str, seconds: str) -> bool:
    folder = OUTPUT / name
    (folder / "seeds").mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(collections())}
    command = [sys.executable, str(FUZZ / "fuzz.py"), name, seconds, str(folder / "seeds")]
    with (folder / "log").open("w") as log:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    told = LAST.findall((folder / "log").read_text(errors="replace"))
    reached = max((int(cov) for cov, _units in told if cov), default=0)
    executed = max((int(units) for _cov, units in told if units), default=0)
    print(f"{name}: {executed} inputs, coverage {reached}, {'nothing found' if done.returncode == 0 else f'see {folder}'}", flush=True)
    return done.returncode == 0


def main() -> int:
    sys.path.insert(0, str(FUZZ))
    from targets import NAMES

    chosen = sys.argv[2:] or NAMES
    results = [fuzz(name, sys.argv[1]) for name in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

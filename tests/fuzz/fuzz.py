# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fuzzes one target, guided by the coverage of the library (atheris, libFuzzer).

    fuzz.py TARGET SECONDS [FOLDER]

Starts from tests/fuzz/corpus/TARGET.zip and keeps what reaches something new in FOLDER, unless it is left out; what fails is written to
crash-*, and is an exit code other than 0.
"""

from __future__ import annotations

import importlib
import pathlib
import sys
import tempfile
import zipfile

import atheris

HERE = pathlib.Path(__file__).resolve().parent
LIBRARY = "ansible_collections.lading.oci.plugins.module_utils._oci"
LONGEST = 64 * 1024
SLOWEST = 10  # seconds for one input


def main() -> None:
    name, seconds = sys.argv[1], int(sys.argv[2])
    folder = sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp(prefix="lading-fuzz-")
    sys.path.insert(0, str(HERE))
    with atheris.instrument_imports(include=[LIBRARY]):
        target = importlib.import_module(f"targets.{name}")
    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}", "-rss_limit_mb=1024", "-print_final_stats=1"]
    seeds = tempfile.mkdtemp(prefix="lading-fuzz-seeds-")
    with zipfile.ZipFile(HERE / "corpus" / f"{name}.zip") as corpus:
        corpus.extractall(seeds)
    atheris.Setup([sys.argv[0], *options, folder, seeds], target.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

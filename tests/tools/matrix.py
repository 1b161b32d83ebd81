# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make test-matrix``: sanity, unit and integration tests with each ansible-core that is promised, and with the next one.

    matrix.py [PAIR ...]      2.19, 2.20, 2.21 and next; all by default

Each has environments of its own below ``.build/matrix``: one for the controller, made by the first Python of the pair that is here, and
one for modules, made by its oldest. The sanity tests run on all Pythons of a pair that are here, without the folders of tests that only
``make test`` runs, where they are looked at. Unit tests of what hosts run are run on its oldest, those of what the controller runs on the
controller's; those of the newest promised pair on all. Modules of the integration tests have its oldest. What is absent is said by name.
A promised ansible-core that cannot be had is a failure; the next one, which is a pre-release, is not. The last line is the sum.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import time
import typing as t

import environment

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".build" / "matrix"
STAGES = ("sanity", "units", "integration")
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Pair:
    """The first of ``pythons`` that is here runs the controller. ``promised``: it is in ``requires_ansible`` of meta/runtime.yml.
    ``all_pythons``: unit tests run on all that it manages."""

    name: str
    requirement: str
    pythons: t.Sequence[t.Tuple[int, int]]
    promised: bool = True
    all_pythons: bool = False


PAIRS = (
    Pair("2.19", "ansible-core ~= 2.19.0", ((3, 11), (3, 12), (3, 13))),
    Pair("2.20", "ansible-core ~= 2.20.0", ((3, 12), (3, 13), (3, 14))),
    Pair("2.21", "ansible-core ~= 2.21.0", ((3, 13), (3, 12), (3, 14)), all_pythons=True),
    Pair("next", "ansible-core >= 2.22.0.dev0", ((3, 13), (3, 14)), promised=False),
)


@dataclasses.dataclass
class Result:
    passed: int = 0
    failed: int = 0
    absent: str = ""


def test(pair: Pair) -> Result:
    folder = ENVIRONMENTS / pair.name
    requirements = folder / "requirements.txt"
    environment.write_requirements(requirements, pair.requirement)
    try:
        environment.make(folder / "venv", requirements, environment.python_of(pair.pythons))
    except environment.Missing as error:
        return Result(failed=int(pair.promised), absent=str(error))
    python = folder / "venv" / "bin" / "python"
    said = subprocess.run([str(python.with_name("ansible")), "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
    print("\n".join(line.strip() for line in said.splitlines() if re.search("^ansible |python version", line)), flush=True)
    command = [str(python), str(ROOT / "tests" / "tools" / "run_tests.py"), "--pair", pair.name, *STAGES]
    command += ["--all-pythons"] if pair.all_pythons else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    process.wait()
    return counted(process.returncode, "".join(lines))


def counted(returncode: int, output: str) -> Result:
    """A run that says nothing of itself has failed."""
    sums = SUMMARY.findall(output)
    if not sums:
        return Result(failed=1)
    passed, failed = map(int, sums[-1])
    return Result(passed, failed or int(returncode != 0))


def main() -> int:
    pairs = {pair.name: pair for pair in PAIRS}
    names = sys.argv[1:] or list(pairs)
    unknown = [name for name in names if name not in pairs]
    if unknown:
        print(f"no such pair: {', '.join(unknown)} (there are {', '.join(pairs)})")
        return 2
    results, lines = {}, []
    for name in names:
        pair, start, used = pairs[name], time.monotonic(), sum(os.times()[:4])
        print(f"\n{pair.requirement}", flush=True)
        result = results[name] = test(pair)
        took = f"[{time.monotonic() - start:.0f} s, {sum(os.times()[:4]) - used:.0f} s of processor time]"
        said = f"absent: {result.absent}" if result.absent else f"{result.passed} passed, {result.failed} failed"
        lines.append(f"ansible-core {name}: {said} {took}")
    print("", *lines, sep="\n")
    failed = sum(result.failed for result in results.values())
    print(f"\n{sum(result.passed for result in results.values())} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

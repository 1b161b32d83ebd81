# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Side by side with oras, crane, skopeo, umoci and buildx (``make bench``): one table, and JSON of all runs.

    bench.py RESULTS.json [WORK ...]    the numbers of the works, or growth, limit, concurrency; none: all

Runs of other works that RESULTS.json has from before stay in it, when they were made with the same programs in the same way.

LADING_BENCH_RUNS (5), LADING_BENCH_SCALE (1: of sizes and counts) and LADING_BENCH_DIR (where it works) change how. Exits 1 when a run
has not done its work, or a program is missing; a goal that is missed is said, and no failure.
"""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import typing as t

sys.path[:0] = [str(pathlib.Path(__file__).parent.parent / "tools")]

import figures  # noqa: E402
import peers  # noqa: E402
from builds import builds  # noqa: E402
from growth import growth  # noqa: E402
from limits import limits  # noqa: E402
from pulls import pulls  # noqa: E402
from registry_server import Registry  # noqa: E402
from stage import Stage  # noqa: E402
from transfers import concurrency, transfers  # noqa: E402
from unchanged import unchanged  # noqa: E402
from work import Work, measure, number_of  # noqa: E402


def works(stage: Stage) -> t.List[Work]:
    found = [*transfers(stage), *unchanged(stage), *builds(stage), *pulls(stage)]
    return [*sorted(found, key=lambda work: int(work.number)), *growth(stage), *limits(stage), *concurrency(stage)]


def chosen(all_works: t.Sequence[Work], words: t.Sequence[str]) -> t.List[Work]:
    """Raises ValueError for a word that is no work's."""
    numbers = list(dict.fromkeys(work.number for work in all_works))
    unknown = sorted(set(words) - set(numbers))
    if unknown:
        raise ValueError(f"no work is called {' or '.join(unknown)}: there are {' '.join(numbers)}")
    return [work for work in all_works if not words or work.number in words]


def facts(scale: float, runs: int) -> t.Dict[str, t.Any]:
    """What the figures belong to."""
    found: t.Dict[str, t.Any] = {"scale": scale, "runs": runs, "cores": os.cpu_count(), "kernel": platform.release().partition("-")[0]}
    found["Python"] = platform.python_version()
    questions = {"oras": "version", "crane": "version", "skopeo": "--version", "umoci": "--version", "registry": "--version"}
    for name, question in questions.items():
        answer = subprocess.run([str(peers.find(name)), question], capture_output=True, text=True, check=False)
        # Some begin with the path that they were started by.
        words = [word for word in (answer.stdout or answer.stderr).splitlines()[0].split() if not word.startswith("/")]
        found[name] = " ".join(words) if any(map(str.isdigit, "".join(words))) else "of a version that it does not tell"
    return found


def kept(path: pathlib.Path, about: t.Mapping[str, t.Any], words: t.Sequence[str]) -> t.Tuple[t.List[figures.Record], t.List[figures.Goal]]:
    """What an earlier run has of the works that are not run now."""
    if not words or not path.exists():
        return [], []
    records, goals, before = figures.read(path)
    if before != about:
        return [], []

    def stays(one: t.Union[figures.Record, figures.Goal]) -> bool:
        return number_of(one.work) not in words

    return list(filter(stays, records)), list(filter(stays, goals))


def main() -> int:
    scale, runs = float(os.environ.get("LADING_BENCH_SCALE") or 1), int(os.environ.get("LADING_BENCH_RUNS") or 5)
    records: t.List[figures.Record] = []
    goals: t.List[figures.Goal] = []
    missing: t.List[str] = []
    with tempfile.TemporaryDirectory(prefix="lading-bench-", dir=os.environ.get("LADING_BENCH_DIR")) as name, Registry() as registry:
        try:
            about = facts(scale, runs)
            path = pathlib.Path(sys.argv[1])
            records, goals = kept(path, about, sys.argv[2:])
            for work in chosen(works(Stage(pathlib.Path(name), registry, scale)), sys.argv[2:]):
                records += measure(work, runs, lambda line: print(line, flush=True))
                goals += work.goals()
                missing += work.missing
                figures.write(path, records, goals, about)
        except (figures.Dishonest, ValueError, peers.Unavailable) as error:
            print(error)
            return 1
    print(figures.table(figures.HEADER, figures.rows(records)))
    print()
    print(figures.table(figures.GOALS_HEADER, figures.verdicts(records, goals)))
    for line in missing:
        print(f"missing: {line}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which small faults in the code no unit test notices.

    mutants.py [--sample N] [--seed N] [--seconds N] [FILE ...]      FILE: a file, or a pattern of files, of plugins/module_utils/_oci

Each unit test of a module's folder is run once to learn which lines it reaches and how long it takes; that is kept until code or tests
change. A file of tests that fails already is left out, and named. Then each mutant, a copy of one module with one fault (mutation.py),
is imported in the module's place in a process of its own, and tests that reach the faulty lines are run until one fails: those that are
named after the module first, as many as the time holds. A mutant that all of them accept has survived, and is printed. Mutants may do
anything, so root sees a file system that can only be written to in .build/mutants (Linux); others should run this as a user who has
nothing to lose.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import re
import sys
import typing as t

import forked
import mutation

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "plugins" / "module_utils" / "_oci"
UNITS = ROOT / "tests" / "unit" / "plugins"
OUTPUT = ROOT / ".build" / "mutants"
COLLECTIONS = OUTPUT / "collections"
HERE = pathlib.PurePath("ansible_collections", "lading", "oci")
AUTHENTICATION = ("auth", "login", "origin", "credentials", "authfile")
DEFAULT_FILES = ["spec/*.py", "content/*.py", "unpack.py", *(f"registry/{name}.py" for name in AUTHENTICATION)]
NO_TESTS = 5  # pytest's exit code
BASELINE_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class Test:
    """``lines``: what it reaches, by file of the library."""

    name: str
    seconds: float
    lines: t.Mapping[str, t.FrozenSet[int]]

    def reaches(self, file: str, lines: t.AbstractSet[int]) -> bool:
        return not lines.isdisjoint(self.lines.get(file, ()))


@dataclasses.dataclass(frozen=True)
class Module:
    """One file under test. ``file``: its path in the library."""

    file: str

    @property
    def path(self) -> pathlib.Path:
        return COLLECTIONS / HERE / "plugins" / "module_utils" / "_oci" / self.file

    @property
    def name(self) -> str:
        return ".".join([*HERE.parts, "plugins", "module_utils", "_oci", *pathlib.PurePath(self.file).with_suffix("").parts])

    def chosen(self, sample: t.Optional[int], seed: int) -> t.List[mutation.Mutant]:
        """All mutants, or the same few each time."""
        found = mutation.mutants(self.path.read_text())
        if sample is None or len(found) <= sample:
            return found
        return sorted(random.Random(f"{seed} {self.file}").sample(found, sample), key=lambda mutant: mutant.number)

    def test_files(self) -> t.List[pathlib.Path]:
        """Those of the same folder; of a file that is in no folder, those that are named after it. Where none of them imports it, those
        of the modules that do, too."""
        own = pathlib.PurePath(self.file)
        found = _test_files(own, whole_folder=bool(own.parent.name))
        if not any(self._imported_by(path) for path in found):
            users = [path.relative_to(LIBRARY) for path in sorted(LIBRARY.rglob("*.py")) if self._imported_by(path)]
            found = sorted({*found, *(path for user in users for path in _test_files(user, whole_folder=bool(user.parent.name)))})
        return found

    def _imported_by(self, path: pathlib.Path) -> bool:
        stem = re.escape(pathlib.PurePath(self.file).stem)
        return re.search(rf"^ *from [\w.]*(\.{stem} import\b|\. ?import [^#]*\b{stem}\b)", path.read_text(), re.MULTILINE) is not None

    def tests(self, mutant: mutation.Mutant, tests: t.Sequence[Test], seconds: float) -> t.List[Test]:
        """The tests to try, nearest first. Lines that no test reaches by itself are those of an import: all tests of the module,
        and those that are named after it, which may look at nothing but a constant."""
        found = [test for test in tests if test.reaches(self.file, mutant.lines)] or [
            test for test in tests if self.file in test.lines or not self._distance(test)[0]
        ]
        result: t.List[Test] = []
        for test in sorted(found, key=self._distance):
            seconds -= test.seconds
            if result and seconds < 0:
                break
            result.append(test)
        return result

    def _distance(self, test: Test) -> t.Tuple[bool, float]:
        path = pathlib.PurePath(test.name.partition("::")[0])
        return not path.stem.startswith(f"test_{pathlib.PurePath(self.file).stem}"), test.seconds


def _test_files(module: pathlib.PurePath, whole_folder: bool) -> t.List[pathlib.Path]:
    return sorted((UNITS / "module_utils" / "_oci" / module.parent).glob("test_*.py" if whole_folder else f"test_{module.stem}*.py"))


def measured(files: t.Iterable[pathlib.Path]) -> t.List[Test]:
    """Every unit test, from what is kept of earlier runs when neither the library nor the tests' helpers have changed."""
    helpers = [path for path in UNITS.rglob("*") if path.is_file() and path.suffix != ".pyc" and not path.name.startswith("test_")]
    common = _hash([*LIBRARY.rglob("*.py"), *helpers])
    result: t.List[Test] = []
    for path in files:
        kept = OUTPUT / f"{path.stem}-{common[:16]}-{_hash([path])[:16]}.json"
        if not kept.exists():
            _measure(path, kept)
        for name, values in json.loads(kept.read_text()).items():
            lines = {file: frozenset(numbers) for file, numbers in values["lines"].items()}
            result.append(Test(name, values["seconds"], lines))
    return result


def _hash(paths: t.Iterable[pathlib.Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _measure(path: pathlib.Path, kept: pathlib.Path) -> None:
    print(f"measuring {path.relative_to(ROOT)}", flush=True)
    file, new = str(HERE / path.relative_to(ROOT)), kept.with_suffix(".new")
    result = forked.run(lambda: forked.measured(file, LIBRARY, new), BASELINE_SECONDS, OUTPUT)
    if result == 0:
        new.replace(kept)
        return
    print(f"{path.relative_to(ROOT)} is left out: it fails without any mutant (exit code {result})", flush=True)
    kept.write_text("{}")


def survives(module: Module, mutant: mutation.Mutant, tests: t.Sequence[Test]) -> bool:
    """Whether all tests accept the mutant. One that hangs or dies has been noticed."""
    code = mutation.code(module.path.read_text(), mutant.number, str(module.path))
    names = [test.name for test in tests]
    limit = 20 + 5 * sum(test.seconds for test in tests)
    result = forked.run(lambda: forked.with_mutant(module.name, module.path, code, names), limit, OUTPUT)
    if result == NO_TESTS:
        raise SystemExit(f"{module.file}: the tests that reach line {min(mutant.lines)} are not there any more")
    return result == 0


def check(module: Module, all_tests: t.Sequence[Test], options: argparse.Namespace) -> int:
    """Tries the mutants of one module, prints what survives, and how many."""
    chosen = module.chosen(options.sample, options.seed)
    survived = []
    for mutant in chosen:
        tests = module.tests(mutant, all_tests, options.seconds)
        if not tests or survives(module, mutant, tests):
            survived.append(mutant)
            print(f"  {module.file}:{mutant}  ({len(tests)} tests)", flush=True)
    print(f"{module.file}: {len(chosen)} mutants, {len(chosen) - len(survived)} killed, {len(survived)} survived", flush=True)
    return len(survived)


def modules(patterns: t.Sequence[str]) -> t.List[Module]:
    found = {pattern: sorted(LIBRARY.glob(pattern)) for pattern in patterns}
    missing = [pattern for pattern, paths in found.items() if not paths]
    if missing:
        raise SystemExit(f"no such file in {LIBRARY.relative_to(ROOT)}: {', '.join(missing)}")
    return [Module(str(path.relative_to(LIBRARY))) for paths in found.values() for path in paths if path.stat().st_size]


def prepare() -> None:
    """From here on Python finds the checkout by the name of the collection, and only .build/mutants can be written to."""
    link = COLLECTIONS / HERE
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT)
    forked.seal(OUTPUT)
    sys.path.insert(0, str(COLLECTIONS))
    sys.dont_write_bytecode = True
    os.environ.update(PYTHONPATH=str(COLLECTIONS), PYTHONDONTWRITEBYTECODE="1")
    os.chdir(COLLECTIONS)
    os.nice(19)


def main() -> int:
    parser = argparse.ArgumentParser(usage="mutants.py [--sample N] [--seed N] [--seconds N] [FILE ...]")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--sample", type=int, help="so many mutants of each file, the same ones each time (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample")
    parser.add_argument("--seconds", type=float, default=10.0, help="so long may the tests of one mutant take")
    options = parser.parse_args()
    chosen = modules(options.files or DEFAULT_FILES)
    prepare()
    tests = measured(sorted({path for module in chosen for path in module.test_files()}))
    survived = sum([check(module, tests, options) for module in chosen])
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())

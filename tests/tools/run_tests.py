# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``make test`` does: every stage, whatever the others say, and one line at the end: ``N passed, N failed``.

    run_tests.py [--pair NAME] [--all-pythons] [STAGE ...]

Stages: sanity, units, coverage, integration, system, lint (these by default), torture, torture-peers. Runs inside the environment
that the Makefile made. Unit tests run on the controller's Python, with ``--all-pythons`` on every one that is here and that this
ansible-core manages. With ``--pair`` trees and logs are below a folder of that name, what hosts run has the oldest Python, in unit
tests and in integration tests, and the sanity tests leave out what only runs on the newest ansible-core: matrix.py uses it.
Each stage works on a copy of the checkout where ansible-test wants it (``.../ansible_collections/lading/oci``, with a git
repository of its own: without it the sanity tests skip everything and call that success). Logs are in ``.build/logs``.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import time
import typing as t
import urllib.request
from xml.etree import ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "torture"))

import environment  # noqa: E402
import peers  # noqa: E402
import tally  # noqa: E402
from docker_engine import Engine  # noqa: E402
from registry_server import Registry  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build"
LOGS = BUILD / "logs"
TAIL_LINES = 150
# The releases of the script that ansible-test 2.19 to 2.21 look for.
GET_PIP_VERSIONS = ("24_2", "25_2")
COVERED = 95  # per cent, of lines and of branches
# Packages of the library in which every type is said and checked (.mypy.ini).
TYPED = ("spec", "content", "registry")
DOCS_OPTIONS = ("--check-extra-docs-refs", "--skip-rstcheck")
# Of the tests: what no pair of the matrix runs.
NEWEST_ONLY = ("bench", "fuzz", "system", "tools", "torture")
SKIPPED_EVERYTHING = "All targets skipped"


@dataclasses.dataclass
class Outcome:
    """``skipped``: what was not run, with the reason."""

    passed: int = 0
    failed: int = 0
    skipped: t.List[str] = dataclasses.field(default_factory=list)

    def add(self, other: Outcome) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


class Stage:
    """One stage: its tree, its log, its commands. ``processor_time``: seconds that its commands, and what they waited for, have used."""

    def __init__(self, name: str, pair: str = "", all_pythons: bool = False) -> None:
        self.name = name
        self.pair = pair
        self.all_pythons = all_pythons
        self.processor_time = 0.0
        self.tree = BUILD / "trees" / pair / name / "ansible_collections" / "lading" / "oci"
        self.log = LOGS / pair / f"{name}.log"

    def prepare(self) -> None:
        copy_checkout(self.tree)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")

    def run(self, *command: str, cwd: t.Optional[pathlib.Path] = None, **environment: str) -> bool:
        """Run one command with its output in the log; True when it succeeded."""
        collections = self.tree.parents[2]
        values = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections), "PYTHONPATH": "", "NO_COLOR": "1", **environment}
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(command, cwd=cwd or self.tree, env=values, **streams)
            _pid, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.processor_time += used.ru_utime + used.ru_stime
            log.write(f"exit code {process.returncode}\n")
        return process.returncode == 0

    def junit(self) -> Outcome:
        """Counts of the JUnit files that the stage's tests left in its tree."""
        outcome = Outcome()
        for file in sorted((self.tree / "tests" / "output" / "junit").glob("*.xml")):
            outcome.add(read_junit(file))
        return outcome


def copy_checkout(tree: pathlib.Path) -> None:
    """The checkout's files, committed or not, with a git repository around them; what ansible-test keeps between runs stays."""
    tree.mkdir(parents=True, exist_ok=True)
    for item in [*tree.iterdir(), *(tree / "tests").glob("*")]:
        if item not in (tree / "tests", tree / "tests" / "output"):
            shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
    shutil.rmtree(tree / "tests" / "output" / "junit", ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=tree, check=True)


def read_junit(file: pathlib.Path) -> Outcome:
    outcome = Outcome()
    for case in ElementTree.parse(file).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif skipped is not None:
            outcome.skipped.append(f"{case.get('name')}: {skipped.get('message') or skipped.text or ''}")
        else:
            outcome.passed += 1
    return outcome


def counted(stage: Stage, succeeded: bool, outcome: Outcome) -> Outcome:
    """A stage that failed, or that ran nothing, is at least one failure."""
    if (not succeeded and not outcome.failed) or (succeeded and not outcome.passed):
        outcome.failed += 1
    if SKIPPED_EVERYTHING in stage.log.read_text():
        outcome.failed += 1
    return outcome


def sanity(stage: Stage) -> Outcome:
    absent = {} if os.environ.get("LADING_REQUIRE_PEERS") == "1" else unreachable_requirements()
    less = [argument for name in absent for argument in ("--skip-test", name)]
    if stage.pair:
        less += [argument for name in NEWEST_ONLY for argument in ("--exclude", f"tests/{name}/")]
    succeeded = stage.run("ansible-test", "sanity", "--local", "--color", "no", *less)
    tests = len(re.findall(r"^Running sanity test ", stage.log.read_text(), re.MULTILINE))
    # ansible-test names the tests that failed in its last line.
    named = re.search(r"The (\d+) sanity test\(s\) listed below", stage.log.read_text())
    failed = int(named.group(1)) if named else 0
    return counted(stage, succeeded, Outcome(max(tests - failed, 0), failed, [f"{name}: {reason}" for name, reason in absent.items()]))


def unreachable_requirements() -> t.Dict[str, str]:
    """Sanity tests for which ansible-test, as its pre-releases do, wants something that is not on PyPI and cannot be fetched here."""
    found = {}
    for file in sorted((ansible_test_folder() / "_data" / "requirements").glob("sanity.*.txt")):
        for address in re.findall(r"^[^#\n]+ @ (https://[^#\s]+)", file.read_text(), re.MULTILINE):
            try:
                urllib.request.urlopen(address, timeout=30).close()
            except OSError as error:
                found[file.name.split(".")[1]] = f"{address} cannot be fetched: {error}"
    return found


def units(stage: Stage) -> Outcome:
    if stage.all_pythons:
        results = [stage.run("ansible-test", "units", "--color", "no", "--venv", "--requirements")]
    elif stage.pair:
        # Modules have the oldest Python; what runs in the controller can only have the controller's.
        folders = pathlib.Path(sys.executable).parent, pairs_hosts(stage.pair).parent
        path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
        results = [run_units(stage, oldest_python(), PATH=path), run_units(stage, own_python(), *tests_of_the_controller(stage))]
    else:
        results = [run_units(stage, own_python())]
    return counted(stage, all(results), stage.junit())


def run_units(stage: Stage, python: str, *tests: str, **values: str) -> bool:
    """In an environment that is there: to have ansible-test make one takes as long as many tests."""
    return stage.run("ansible-test", "units", "--color", "no", "--python", python, *tests, **values)


def tests_of_the_controller(stage: Stage) -> t.List[str]:
    """Those of the plugins that no Python of a host runs."""
    plugins = stage.tree / "tests" / "unit" / "plugins"
    folders = [path for path in sorted(plugins.iterdir()) if path.is_dir() and path.name not in ("modules", "module_utils", "__pycache__")]
    return [f"{folder.relative_to(stage.tree)}/" for folder in folders]


def coverage(stage: Stage) -> Outcome:
    """Two checks: lines, and branches, of the library that the unit tests reach."""
    requirements = BUILD / "coverage-requirements.txt"
    environment.write_requirements(requirements, "ansible-core", "pytest-cov")
    file = stage.tree / "tests" / "output" / "coverage.json"
    options = ("--cov", "--cov-config=tests/coverage.ini", f"--cov-report=json:{file}", "--cov-report=term:skip-covered")
    # In a process that has imported Ansible's controller, modules warn on the terminal and not in their answers.
    options += tuple(f"--ignore=tests/unit/plugins/{kind}" for kind in ("plugin_utils", "lookup", "filter", "test"))
    succeeded = stage.run(
        systems_python("coverage-venv", requirements),
        "-m",
        "pytest",
        *("-q", "-p", "no:cacheprovider", "-n", "1", *options, "tests/unit"),
        PYTHONPATH=str(stage.tree.parents[2]),
    )
    totals = json.loads(file.read_text())["totals"] if file.exists() else {}
    reached = [totals.get(f"percent_{what}_covered", 0.0) for what in ("statements", "branches")]
    with stage.log.open("a") as log:
        log.write("lines {:.1f} %, branches {:.1f} %, each has to be {} % or more\n".format(*reached, COVERED))
    passed = sum(percent >= COVERED for percent in reached)
    return counted(stage, succeeded, Outcome(passed, len(reached) - passed))


def integration(stage: Stage) -> Outcome:
    with registry_host() as host, contextlib.ExitStack() as stack:
        skipped, config = [], {"lading_registry": host}
        try:
            engine = stack.enter_context(Engine(mirror=host))
            config["lading_docker"] = {"environment": engine.environment, "busybox": str(engine.busybox)}
            config["lading_oras"] = str(peers.find("oras"))
        except peers.Unavailable as error:
            if os.environ.get("LADING_REQUIRE_PEERS") == "1":
                raise
            skipped.append(f"roles_build: a Docker engine or oras is missing: {error}")
        (stage.tree / "tests" / "integration" / "integration_config.yml").write_text(json.dumps(config))
        succeeded = stage.run("ansible-test", "integration", *where_modules_run(stage), "--color", "no")
    passed = len(re.findall(r"^Running (\S+) integration test role", stage.log.read_text(), re.MULTILINE))
    failed = 0 if succeeded else 1
    return counted(stage, succeeded, Outcome(passed - failed, failed, skipped))


def where_modules_run(stage: Stage) -> t.Tuple[str, ...]:
    """The newest pair has one Python for all; each pair of the matrix has its oldest for the modules."""
    version, python = (oldest_python(), pairs_hosts(stage.pair)) if stage.pair else (own_python(), keeping_python(stage))
    return "--controller", f"origin:python={own_python()}", "--target", f"controller:python={version}@{python}"


def keeping_python(stage: Stage) -> pathlib.Path:
    """This Python, which keeps what it has compiled of modules. ansible-test passes no environment on."""
    output = stage.tree / "tests" / "output"
    code, python = output / "module-code", output / "python"
    code.mkdir(parents=True, exist_ok=True)
    hook = stage.tree / "tests" / "tools" / "module_code"
    given = shlex.join((f"PYTHONPATH={hook}", f"LADING_TEST_CODE={code}", sys.executable))
    python.write_text(f'#!/bin/sh\nexec env {given} "$@"\n')
    python.chmod(0o755)
    return python


def pairs_hosts(pair: str) -> pathlib.Path:
    """The oldest Python, with what the tests of modules need."""
    return BUILD / "matrix" / pair / "hosts-venv" / "bin" / "python"


def make_pairs_hosts(pair: str) -> None:
    """Before the stages, of which two begin at the same time. Raises environment.Missing."""
    python, oldest = pairs_hosts(pair), oldest_python()
    requirements = BUILD / "matrix" / pair / "hosts-requirements.txt"
    environment.write_requirements(requirements)
    environment.make(python.parents[1], requirements, f"python{oldest}", tuple(map(int, oldest.split("."))))


def own_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def oldest_python() -> str:
    """The oldest that is here of those that this ansible-core runs modules with."""
    return next(version for version in managed_pythons() if shutil.which(f"python{version}"))


@contextlib.contextmanager
def registry_host() -> t.Iterator[str]:
    """The registry that is named by LADING_TEST_REGISTRY, else one of our own."""
    if os.environ.get("LADING_TEST_REGISTRY"):
        yield os.environ["LADING_TEST_REGISTRY"]
        return
    with Registry() as registry:
        yield registry.host


def system(stage: Stage) -> Outcome:
    report = stage.tree / "tests" / "output" / "junit" / "system.xml"
    # A file's tests share what they have built, so they stay together; --durations says where the time goes.
    workers = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--durations=60")
    arguments = ("-q", "-rs", *workers, "-p", "no:cacheprovider", f"--junitxml={report}", "tests/system")
    where = {"PYTHONPATH": str(stage.tree.parents[2]), "LADING_TEST_HOSTS_PYTHON": hosts_python()}
    succeeded = stage.run(sys.executable, "-m", "pytest", *arguments, **where)
    return counted(stage, succeeded, stage.junit())


def hosts_python() -> str:
    """With what modules need, for Ansible's runs."""
    return systems_python("hosts-venv", ROOT / "tests" / "system" / "requirements.txt")


def systems_python(name: str, requirements: pathlib.Path) -> str:
    """That of an environment of this name, as the system's is often a third faster than others; that of the tests where it is too old."""
    system = "/usr/bin/python3"
    if (environment.version_of(system) or (0, 0)) < environment.OLDEST:
        return sys.executable
    environment.make(BUILD / name, requirements, system)
    return str(BUILD / name / "bin" / "python")


def lint(stage: Stage) -> Outcome:
    commands = (
        ("ruff", "check", "--no-cache", "."),
        ("ruff", "format", "--no-cache", "--check", "."),
        ("mypy", "--no-incremental", *(f"plugins/module_utils/_oci/{package}" for package in TYPED)),
        ("yamllint", "--strict", "."),
        ("ansible-lint", "--offline", "--strict"),
        (*("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "all"), *DOCS_OPTIONS, "."),
        ("antsibull-changelog", "lint"),
        ("reuse", "lint", "--quiet"),
    )
    results = [stage.run(*command, MYPYPATH=str(stage.tree.parents[2])) for command in commands]
    return Outcome(sum(results), len(results) - sum(results))


def torture(stage: Stage) -> Outcome:
    """Hostile input, faults, kills and races at length. Prints what was tried and what held; nothing may fail."""
    return _torture(stage, ["lading.oci"])


def torture_peers(stage: Stage) -> Outcome:
    """The same cases for the other tools, where they have such a command: counted, not judged."""
    return _torture(stage, ["oras", "skopeo", "crane"])


def _torture(stage: Stage, clients: t.Sequence[str]) -> Outcome:
    counts = LOGS / f"{stage.name}.jsonl"
    counts.unlink(missing_ok=True)
    results = []
    for client in clients:
        report = stage.tree / "tests" / "output" / "junit" / f"torture-{client}.xml"
        arguments = ("-q", "-rs", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", f"--junitxml={report}", "tests/torture")
        command = (sys.executable, "-m", "pytest", *arguments, "--client", client)
        results.append(stage.run(*command, PYTHONPATH=str(stage.tree.parents[2]), LADING_TORTURE_TALLY=str(counts)))
    print("\n".join(tally.table(tally.read(counts))), flush=True)
    return counted(stage, all(results), stage.junit())


# What is run when nothing is named.
STAGES: t.Dict[str, t.Callable[[Stage], Outcome]] = {
    "sanity": sanity,
    "system": system,
    "units": units,
    "coverage": coverage,
    "integration": integration,
    "lint": lint,
}
LONG_STAGES: t.Dict[str, t.Callable[[Stage], Outcome]] = {"torture": torture, "torture-peers": torture_peers}


def run_stage(name: str, pair: str, all_pythons: bool) -> Outcome:
    stage, start = Stage(name, pair, all_pythons), time.monotonic()
    try:
        stage.prepare()
        outcome = {**STAGES, **LONG_STAGES}[name](stage)
    except Exception as error:  # a stage that breaks is a failure of that stage; the others go on
        with stage.log.open("a") as log:
            log.write(f"{type(error).__name__}: {error}\n")
        outcome = Outcome(failed=1)
    took = f"[{time.monotonic() - start:.0f} s, {stage.processor_time:.0f} s of processor time]"
    print(f"{name}: {outcome.passed} passed, {outcome.failed} failed {took}", flush=True)
    return outcome


def prepare_ansible_test() -> None:
    """ansible-test downloads a get-pip script unless it finds it in its cache."""
    cache = pathlib.Path.home() / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    script = (ROOT / "tests" / "tools" / "get_pip.py").read_text()
    for version in GET_PIP_VERSIONS:
        target = cache / f"get_pip_{version}.py"
        found = target.read_text() if target.exists() else script.splitlines()[0]
        # One that was downloaded is left as it is; one of ours may be older.
        if found != script and script.splitlines()[0] in found:
            target.write_text(script)


def use_real_interpreters() -> None:
    """pyenv's shims answer for Pythons that they then refuse to run: the real ones go before them, first the system's, which is often
    the faster one of two."""
    versions = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv") / "versions"
    folders = ["/usr/bin"] if environment.version_of("/usr/bin/python3") else []
    folders += sorted(str(path) for path in versions.glob("3.*/bin"))
    os.environ["PATH"] = os.pathsep.join([str(pathlib.Path(sys.executable).parent), *folders, os.environ["PATH"]])


def ansible_test_folder() -> pathlib.Path:
    package = importlib.util.find_spec("ansible_test")
    assert package is not None and package.submodule_search_locations
    return pathlib.Path(package.submodule_search_locations[0])


def managed_pythons() -> t.List[str]:
    """Versions of Python that this ansible-core runs modules with, the oldest first, whether they are here or not."""
    named = runpy.run_path(str(ansible_test_folder() / "_util" / "target" / "common" / "constants.py"))
    return [*named["REMOTE_ONLY_PYTHON_VERSIONS"], *named["CONTROLLER_PYTHON_VERSIONS"]]


def show_failure(name: str, pair: str) -> None:
    log = LOGS / pair / f"{name}.log"
    lines = log.read_text(errors="replace").splitlines()
    print(f"\n==== {name}: the last {min(len(lines), TAIL_LINES)} lines of {log.relative_to(ROOT)}")
    print("\n".join(lines[-TAIL_LINES:]))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pair", default="")
    parser.add_argument("--all-pythons", action="store_true")
    parser.add_argument("stages", nargs="*")
    arguments = parser.parse_args()
    names, pair = arguments.stages or list(STAGES), arguments.pair
    unknown = [name for name in names if name not in {**STAGES, **LONG_STAGES}]
    if unknown:
        print(f"no such stage: {', '.join(unknown)} (there are {', '.join([*STAGES, *LONG_STAGES])})")
        return 2
    use_real_interpreters()
    prepare_ansible_test()
    try:
        if pair:
            make_pairs_hosts(pair)
    except environment.Missing as error:
        print(error)
        return 1
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = dict(zip(names, pool.map(lambda name: run_stage(name, pair, arguments.all_pythons), names)))
    for name, outcome in outcomes.items():
        if outcome.failed:
            show_failure(name, pair)
    skipped = [f"{name}: {reason}" for name, outcome in outcomes.items() for reason in outcome.skipped]
    if {"sanity", "units"} & set(names):
        absent = [version for version in managed_pythons() if not shutil.which(f"python{version}")]
        skipped += [f"Python {version}: it is not on this machine" for version in absent]
    if skipped:
        print("\nSkipped:", *skipped, sep="\n  ")
    passed, failed = sum(o.passed for o in outcomes.values()), sum(o.failed for o in outcomes.values())
    print(f"\n{passed} passed, {failed} failed" + (f", {len(skipped)} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unit tests in a process of their own, which has pytest loaded already: as they are, with lines counted, or with a mutant."""

from __future__ import annotations

import ctypes
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
import typing as t

import coverage
import hypothesis
import pytest

# What takes long to import and is not under test: every child has it by then.
for _slow in ("_pytest.cacheprovider", "_pytest.junitxml", "ansible.module_utils.basic", "jsonschema", "requests"):
    importlib.import_module(_slow)

_MEMORY = 3 << 30
_BROKEN = 99
_CLONE_NEWNS = 0x00020000


def seal(writable: pathlib.Path) -> None:
    """For the rest of this process and its children only that folder can be written to, of what is on the root's file system."""
    if os.geteuid() != 0:
        return
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise SystemExit(f"no mount namespace of its own: {os.strerror(ctypes.get_errno())}. Run this as another user than root")
    for options in (["--make-rprivate", "/"], ["--bind", writable, writable], ["-o", "remount,bind,ro", "/"]):
        subprocess.run(["mount", *options], check=True)


def run(work: t.Callable[[], int], seconds: float, folder: pathlib.Path) -> t.Optional[int]:
    """The result of ``work`` in a child, -N when signal N ended it, None when it took too long. It finds an empty TMPDIR."""
    temporary = pathlib.Path(tempfile.mkdtemp(dir=folder))
    temporary.chmod(0o755)  # a test becomes another user than root
    child = os.fork()
    if not child:
        _work(work, temporary)
    try:
        return _wait(child, time.monotonic() + seconds)
    finally:
        _kill_group(child)
        shutil.rmtree(temporary, ignore_errors=True)


def _work(work: t.Callable[[], int], temporary: pathlib.Path) -> t.NoReturn:
    """Never returns into the code of the parent."""
    result = _BROKEN
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        for name in ("TMPDIR", "HOME"):
            os.environ[name] = str(temporary)
        tempfile.tempdir = None
        with open(os.devnull, "r+b") as null:
            for descriptor in (0, 1, 2):
                os.dup2(null.fileno(), descriptor)
        result = work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(result)


def _wait(child: int, deadline: float) -> t.Optional[int]:
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.01)


def _kill_group(child: int) -> None:
    """The child's processes too. It has been waited for, or it is killed and waited for here."""
    try:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def with_mutant(name: str, path: pathlib.Path, code: types.CodeType, tests: t.Sequence[str]) -> int:
    """pytest's exit code, for those tests in that order, when the module ``name`` has this code."""
    sys.meta_path.insert(0, _Finder(name, path, code))
    return _pytest(tests, _InOrder(tests))


def measured(file: str, library: pathlib.Path, result: pathlib.Path) -> int:
    """Runs one file of tests; ``result`` gets, as JSON, for each test its seconds and which lines of the library it reaches."""
    counter = coverage.Coverage(data_file=None, config_file=False, source=[str(library)])
    meter = _Meter(counter)
    counter.start()
    exit_code = _pytest([file], meter)
    counter.stop()
    data = counter.get_data()
    for source in data.measured_files():
        name = os.path.relpath(source, library)
        for line, contexts in data.contexts_by_lineno(source).items():
            for test in filter(None, contexts):
                meter.tests[test]["lines"].setdefault(name, []).append(line)
    result.write_text(json.dumps(meter.tests))
    return exit_code


def _pytest(tests: t.Sequence[str], plugin: object) -> int:
    # Always the same examples, and the first that fails is enough.
    phases = [phase for phase in hypothesis.Phase if phase not in (hypothesis.Phase.shrink, hypothesis.Phase.explain)]
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, phases=phases, deadline=None)
    hypothesis.settings.load_profile("mutants")
    files = dict.fromkeys(test.partition("::")[0] for test in tests)
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", os.getcwd(), *files], [plugin]))


class _InOrder:
    """A plugin: these tests only, in this order."""

    def __init__(self, tests: t.Sequence[str]) -> None:
        self._rank = {name: rank for rank, name in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: t.List[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self._rank), key=lambda item: self._rank[item.nodeid])


class _Meter:
    """A plugin: the time of each test, and the lines that are reached in it."""

    def __init__(self, counter: coverage.Coverage) -> None:
        self.tests: t.Dict[str, t.Dict[str, t.Any]] = {}
        self._counter = counter

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> t.Generator[None, t.Any, t.Any]:
        start = time.monotonic()
        self.tests[item.nodeid] = {"lines": {}}
        self._counter.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self._counter.switch_context("")
            self.tests[item.nodeid]["seconds"] = round(time.monotonic() - start, 4)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds one module, and gives it other code."""

    def __init__(self, name: str, path: pathlib.Path, code: types.CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(
        self, fullname: str, path: t.Optional[t.Sequence[str]], target: t.Optional[types.ModuleType] = None
    ) -> t.Optional[importlib.machinery.ModuleSpec]:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=t.cast(t.Any, self))

    def get_code(self, fullname: str) -> types.CodeType:
        return self._code

    def get_source(self, fullname: str) -> t.Optional[str]:
        return None

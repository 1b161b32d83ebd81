# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that the tests and the quick start need and no machine is asked to have: a registry, oras, crane, skopeo, umoci, cosign,
notation, a terminal and an SSH server.

One on PATH is used as it is. Else Debian's package is downloaded by apt into a cache folder and unpacked there: nothing is installed,
no root is needed. The newer peers come from Debian's newer suites, whose Go binaries run on older releases too.

    peers.py BIN_FOLDER [NAME ...]     links each program into BIN_FOLDER; what cannot be had is said, with the reason
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import typing as t

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lading-oci"
NEWER_SUITES = ("trixie", "sid")
# What a package's program needs beside libc, by soname: the packages that carry it, newest name first.
LIBRARIES = {
    "libgpgme.so.11": ("libgpgme11t64", "libgpgme11"),
    "libgpgme.so.45": ("libgpgme45",),
    "libassuan.so.0": ("libassuan0",),
    "libassuan.so.9": ("libassuan9",),
    "libgpg-error.so.0": ("libgpg-error0",),
    "libdevmapper.so.1.02.1": ("libdevmapper1.02.1",),
    "libsubid.so.4": ("libsubid4",),
    "libsubid.so.5": ("libsubid5",),
    "libevent_core-2.1.so.7": ("libevent-core-2.1-7t64", "libevent-core-2.1-7"),
    "libutempter.so.0": ("libutempter0",),
    "libwrap.so.0": ("libwrap0",),
    "libnsl.so.2": ("libnsl2",),
}


@dataclasses.dataclass(frozen=True)
class Tool:
    """``names``: what it is called on PATH; ``newer``: the release's own package is too old, or is not there."""

    package: str
    names: t.Tuple[str, ...]
    newer: bool = False


TOOLS = {
    "registry": Tool("docker-registry", ("docker-registry", "registry")),
    "oras": Tool("oras", ("oras",), newer=True),
    "crane": Tool("crane", ("crane",), newer=True),
    "skopeo": Tool("skopeo", ("skopeo",)),
    "umoci": Tool("umoci", ("umoci",)),
    "cosign": Tool("cosign", ("cosign",), newer=True),
    "notation": Tool("notation", ("notation",), newer=True),
    "tmux": Tool("tmux", ("tmux",)),
    "sshd": Tool("openssh-server", ("sshd",)),
}


class Unavailable(Exception):
    """The tool cannot be had here; the message says why."""


def find(name: str) -> pathlib.Path:
    """The program, fetched when it must be. Raises Unavailable."""
    tool = TOOLS[name]
    for on_path in tool.names:
        found = shutil.which(on_path)
        if found:
            return pathlib.Path(found)
    with locked(CACHE):
        return _from_package(name, tool)


def unpacked(package: str) -> pathlib.Path:
    """A package of this machine's own release, unpacked into the cache folder once. Raises Unavailable."""
    folder = CACHE / "packages" / package
    with locked(CACHE):
        if not folder.exists():
            new = folder.with_name(f"{package}.new")
            shutil.rmtree(new, ignore_errors=True)
            apt(False).unpack(package, new)
            new.rename(folder)
    return folder


def static_busybox() -> pathlib.Path:
    """A program that runs in an image with nothing else; one on PATH may need libraries. Raises Unavailable."""
    return unpacked("busybox-static") / "bin" / "busybox"


def _from_package(name: str, tool: Tool) -> pathlib.Path:
    folder = CACHE / "tools" / tool.package
    program = folder / "run" / tool.names[0]
    if not program.exists():
        shutil.rmtree(folder, ignore_errors=True)
        apt(tool.newer).unpack(tool.package, folder)
        found = [folder / "usr" / where / tool.names[0] for where in ("bin", "sbin")]
        inner = next((path for path in found if path.exists()), None)
        if inner is None:
            raise Unavailable(f"{name}: the package {tool.package} has no {tool.names[0]}")
        _add_libraries(inner, folder, tool.newer)
        _write_launcher(program, inner, folder)
    _check_runs(name, program)
    return program


def _add_libraries(program: pathlib.Path, folder: pathlib.Path, newer: bool) -> None:
    """Unpack the shared libraries that this machine lacks beside the program."""
    for _round in range(4):  # a library may need another one
        missing = _missing_libraries(program, folder)
        if not missing:
            return
        for soname in missing:
            _unpack_library(soname, folder, newer)
    raise Unavailable(f"{program.name} needs {', '.join(_missing_libraries(program, folder))}")


def _unpack_library(soname: str, folder: pathlib.Path, newer: bool) -> None:
    reasons = []
    for package in LIBRARIES.get(soname, ()):
        try:
            apt(newer).unpack(package, folder)
            return
        except Unavailable as error:
            reasons.append(str(error))
    raise Unavailable(f"no package is known to have {soname} ({'; '.join(reasons)})")


def _missing_libraries(program: pathlib.Path, folder: pathlib.Path) -> t.List[str]:
    libraries = _library_path(folder)
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    answer = subprocess.run(["ldd", str(program)], capture_output=True, text=True, env=environment, check=False)
    return sorted(set(re.findall(r"^\s*(\S+) => not found", answer.stdout, re.MULTILINE)))


def _library_path(folder: pathlib.Path) -> str:
    return ":".join(sorted({str(path.parent) for path in folder.rglob("lib*.so*")}))


def _write_launcher(program: pathlib.Path, inner: pathlib.Path, folder: pathlib.Path) -> None:
    program.parent.mkdir(parents=True)
    libraries = _library_path(folder)
    if not libraries:
        program.symlink_to(inner)
        return
    program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{inner}" "$@"\n')
    program.chmod(0o755)


def _check_runs(name: str, program: pathlib.Path) -> None:
    answer = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    if answer.returncode != 0 and not re.search("version|usage", answer.stdout + answer.stderr):
        shutil.rmtree(program.parent.parent, ignore_errors=True)
        raise Unavailable(f"{name} does not run here: {(answer.stderr or answer.stdout).strip()[:300]}")


class Apt:
    """apt with lists, cache and sources of its own: the machine's are neither needed fresh nor touched."""

    def __init__(self, suites: t.Sequence[str]) -> None:
        self._folder = CACHE / "apt" / "-".join(suites)
        self._suites = suites
        self._updated = False

    def unpack(self, package: str, folder: pathlib.Path) -> None:
        """Download a package and unpack it into ``folder``. Raises Unavailable."""
        self._update()
        folder.mkdir(parents=True, exist_ok=True)
        downloads = self._folder / "downloads"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir()
        self._run("apt-get", "download", f"{package}/{self._newest_suite(package)}", cwd=downloads)
        for file in downloads.glob("*.deb"):
            _checked(["dpkg", "-x", str(file), str(folder)])

    def _newest_suite(self, package: str) -> str:
        """The newest of the suites that has the package: it is the one whose candidate apt prefers."""
        answer = self._run("apt-cache", "madison", package)
        for suite in reversed(self._suites):
            if re.search(rf"\s{re.escape(suite)}/", answer):
                return suite
        raise Unavailable(f"the package {package} is not in {' or '.join(self._suites)}")

    def _update(self) -> None:
        if self._updated:
            return
        for part in ("lists/partial", "cache/archives/partial", "parts"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        mirror = _mirror()
        source = f"Types: deb\nURIs: {mirror.uri}\nSuites: {' '.join(self._suites)}\nComponents: {mirror.components}\n"
        (self._folder / "parts" / "tests.sources").write_text(source + mirror.signed_by)
        self._run("apt-get", "update", "--quiet")
        self._updated = True

    def _run(self, program: str, *arguments: str, cwd: t.Optional[pathlib.Path] = None) -> str:
        settings = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": str(self._folder / "parts"),
            "Dir::State::lists": str(self._folder / "lists"),
            "Dir::Cache": str(self._folder / "cache"),
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        return _checked([program, *options, *arguments], cwd)


@functools.lru_cache(maxsize=None)
def apt(newer: bool) -> Apt:
    """Debian's newer suites, or this machine's own release. Raises Unavailable."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Unavailable("this machine has no apt")
    release = _os_release()
    if not newer:
        return Apt([release.get("VERSION_CODENAME", "")])
    if release.get("ID") != "debian":
        raise Unavailable("the newer suites are Debian's, and this machine is not Debian")
    return Apt(NEWER_SUITES)


def _checked(command: t.Sequence[str], cwd: t.Optional[pathlib.Path] = None) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL, check=False)
    if answer.returncode != 0:
        raise Unavailable(f"{command[0]} {command[-1]} failed: {answer.stderr.strip()[-500:]}")
    return answer.stdout


@dataclasses.dataclass(frozen=True)
class Mirror:
    uri: str
    components: str
    signed_by: str


def _mirror() -> Mirror:
    """Where this machine gets its own release from: the first source that has the release itself."""
    codename = _os_release().get("VERSION_CODENAME", "")
    apt = pathlib.Path("/etc/apt")
    for file in sorted(apt.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            fields = {key: value.strip() for key, value in re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE)}
            if codename and codename in fields.get("Suites", "").split():
                signed = f"Signed-By: {fields['Signed-By']}\n" if fields.get("Signed-By") else ""
                return Mirror(fields["URIs"].split()[0], fields.get("Components", "main"), signed)
    for file in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]:
        text = file.read_text() if file.exists() else ""
        for options, uri, suite, components in re.findall(r"^deb\s+(\[[^\]]*\])?\s*(\S+)\s+(\S+)\s+(.*)$", text, re.MULTILINE):
            if codename and suite == codename:
                signed_by = re.search(r"signed-by=([^\s\]]+)", options)
                return Mirror(uri, components.strip(), f"Signed-By: {signed_by.group(1)}\n" if signed_by else "")
    raise Unavailable("no apt source of this machine's own release was found")


@functools.lru_cache(maxsize=None)
def _os_release() -> t.Dict[str, str]:
    file = pathlib.Path("/etc/os-release")
    text = file.read_text() if file.exists() else ""
    return {key: value.strip('"') for key, value in re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)}


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> t.Iterator[None]:
    """Stages of a test run that go on at the same time fetch each thing once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def link_all(folder: pathlib.Path, names: t.Iterable[str]) -> t.Dict[str, str]:
    """Link what can be had into ``folder``; the reasons for what cannot, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    reasons = {}
    for name in names:
        link = folder / name
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
        try:
            program = find(name)
            assert program.stat().st_mode & stat.S_IXUSR
            link.symlink_to(program)
        except Unavailable as error:
            reasons[name] = str(error)
    return reasons


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    names = sys.argv[2:] or list(TOOLS)
    reasons = link_all(pathlib.Path(sys.argv[1]), names)
    for name in names:
        print(f"{name}: {reasons.get(name) or 'ok'}")
    required = os.environ.get("LADING_REQUIRE_PEERS") == "1"
    return 1 if reasons and required else 0


if __name__ == "__main__":
    sys.exit(main())

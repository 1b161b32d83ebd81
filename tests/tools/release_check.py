# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make release-check``: a release in a scratch copy of the checkout, and what Galaxy, ansible-builder and a user make of it.

Each step is a check: the release itself, what the tarball holds, galaxy-importer, ansible-builder, the installation into an
environment that has ansible-core and requests only, its documentation, and the quick start twice, with changed=0. The last line
is ``N passed, N failed``. What the programs print is in ``.build/logs/release-check.log``.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import typing as t

import environment
import peers
import release
import run_tests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build"
LOG = BUILD / "logs" / "release-check.log"
USER_VENV = BUILD / "release-user-venv"
FIRST = "1.0.0"
SHOWN = 10
# What a user needs: content, how to use it and what it promises, on which terms, and what ansible-builder and Galaxy read.
TOP_LEVEL = {
    *("FILES.json", "MANIFEST.json", "bindep.txt", "requirements.txt"),
    *("meta", "playbooks", "plugins", "roles"),
    *("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "README.md", "SECURITY.md", "changelogs", "docs"),
    *("COPYING", "LICENSES", "REUSE.toml"),
}
# Kinds of plugins by their folders, which have the name that ansible-doc gives them.
DOCUMENTED = ("filter", "lookup", "modules", "test")
EXECUTION_ENVIRONMENT = {
    "version": 3,
    "images": {"base_image": {"name": "quay.io/centos/centos:stream9"}},
    "dependencies": {
        "ansible_core": {"package_pip": "ansible-core"},
        "ansible_runner": {"package_pip": "ansible-runner"},
        "python": "python.txt",
        "system": "system.txt",
    },
}


class Wrong(Exception):
    """What a check has found."""


class Check:
    """A release in the scratch folder ``scratch``."""

    def __init__(self, scratch: pathlib.Path) -> None:
        self.scratch = scratch
        self.checkout = scratch / "checkout" / "ansible_collections" / "lading" / "oci"
        self.collections = scratch / "installed"
        self.installed = self.collections / "ansible_collections" / "lading" / "oci"
        self.tarball = pathlib.Path()

    def run(self, *command: str, cwd: t.Optional[pathlib.Path] = None, **variables: str) -> str:
        """What the command printed. Raises Wrong when it failed."""
        values = {**os.environ, "NO_COLOR": "1", "ANSIBLE_COLLECTIONS_PATH": str(self.collections), **variables}
        done = subprocess.run(
            command,
            cwd=cwd or self.scratch,
            env=values,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        with LOG.open("a") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}exit code {done.returncode}\n")
        if done.returncode != 0:
            raise Wrong(f"{' '.join(command[:3])} failed: {done.stdout.strip()[-1500:]}")
        return done.stdout

    def release(self) -> str:
        run_tests.copy_checkout(self.checkout)
        self.run("git", *("-c", "user.name=check", "-c", "user.email=check@example.com"), "commit", "-qm", "scratch", cwd=self.checkout)
        fragments = [file.stem for file in release.fragments_of(self.checkout)]
        if not fragments:
            self.tarball = release.build(self.checkout)
            return f"{self.tarball.name}, which is released"
        version = _next_version(release.version_of(self.checkout))
        self.run(_program("antsibull-changelog"), "lint", cwd=self.checkout)
        self.run(sys.executable, str(ROOT / "tests" / "tools" / "release.py"), version, str(self.checkout), cwd=self.checkout)
        self.tarball = self.checkout / "dist" / f"lading-oci-{version}.tar.gz"
        if f"## v{version}" not in (self.checkout / "CHANGELOG.md").read_text().replace("\\.", "."):
            raise Wrong(f"CHANGELOG.md says nothing of {version}")
        if release.fragments_of(self.checkout):
            raise Wrong("the fragments are still there")
        return f"{self.tarball.name}, {self.tarball.stat().st_size // 1024} KiB, with a changelog of {len(fragments)} fragments"

    def content(self) -> str:
        with tarfile.open(self.tarball) as tar:
            names = [member.name for member in tar if member.isfile()]
            version = json.load(t.cast(t.IO[bytes], tar.extractfile("MANIFEST.json")))["collection_info"]["version"]
        other = [name for name in names if name.split("/")[0] not in TOP_LEVEL]
        hidden = [name for name in names if any(part.startswith(".") for part in name.split("/"))]
        fragments = [name for name in names if name.startswith("changelogs/") and name != "changelogs/changelog.yaml"]
        compiled = [name for name in names if name.endswith(".pyc")]
        unneeded = sorted({*other, *hidden, *fragments, *compiled})
        if unneeded:
            shown = ", ".join(unneeded[:SHOWN])
            raise Wrong(f"the tarball holds {len(unneeded)} files that no user needs: {shown} (see build_ignore in galaxy.yml)")
        missing = sorted(TOP_LEVEL - {name.split("/")[0] for name in names})
        tracked = self.run("git", "ls-files", *("plugins", "roles", "playbooks", "meta", "docs"), cwd=self.checkout).split()
        missing += sorted(set(tracked) - set(names))
        if missing:
            raise Wrong(f"the tarball lacks {', '.join(missing)}")
        return f"{len(names)} files of version {version}, nothing that users do not need"

    def importer(self) -> str:
        config = self.scratch / "importer.cfg"
        config.write_text("[galaxy-importer]\nREQUIRE_V1_OR_GREATER = True\nCHECK_REQUIRED_TAGS = True\n")
        path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = (sys.executable, "-m", "galaxy_importer.main", str(self.tarball))
        said = self.run(*command, GALAXY_IMPORTER_CONFIG=str(config), PATH=path, LC_ALL="C.UTF-8")
        noted = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR"))]
        if noted or "Importer processing completed successfully" not in said:
            raise Wrong("\n".join(noted) or said[-1500:])
        return "galaxy-importer, no warning"

    def install(self) -> str:
        requirements = self.scratch / "user.txt"
        requirements.write_text("ansible-core\nrequests\n")
        environment.make(USER_VENV, requirements, sys.executable)
        galaxy = str(USER_VENV / "bin" / "ansible-galaxy")
        self.run(galaxy, *("collection", "install", "--offline", "-p", str(self.collections), str(self.tarball)))
        self.run(galaxy, *("collection", "verify", "--offline", "-p", str(self.collections), "lading.oci"))
        return "installed from the tarball, and verified"

    def documentation(self) -> str:
        listed = 0
        for folder in DOCUMENTED:
            kind = "module" if folder == "modules" else folder
            output = self.run(str(USER_VENV / "bin" / "ansible-doc"), *("--json", "--list", "--type", kind, "lading.oci"))
            found = set(json.loads(output))
            expected = {f"lading.oci.{file.stem}" for file in (self.installed / "plugins" / folder).glob("[!_]*.py")}
            if found != expected:
                raise Wrong(f"ansible-doc does not list the same {folder} as there are: {', '.join(sorted(found ^ expected))}")
            listed += len(found)
        roles = json.loads(self.run(str(USER_VENV / "bin" / "ansible-doc"), *("--json", "--list", "--type", "role", "lading.oci")))
        missing = {f"lading.oci.{folder.name}" for folder in (self.installed / "roles").iterdir()} - set(roles)
        if missing:
            raise Wrong(f"ansible-doc does not list the roles {', '.join(sorted(missing))}: argument_specs are missing")
        return f"ansible-doc lists {listed} plugins and {len(roles)} roles"

    def quickstart(self) -> str:
        with run_tests.registry_host() as host:
            command = (str(USER_VENV / "bin" / "python"), str(ROOT / "tests" / "tools" / "quickstart.py"), str(self.collections))
            said = self.run(*command, LADING_TEST_REGISTRY=host)
        return "; ".join(line.strip() for line in said.splitlines() if line.startswith("  run "))

    def builder(self) -> str:
        program, context = _program("ansible-builder"), self.scratch / "context"
        files = {"python": self.scratch / "python.txt", "system": self.scratch / "system.txt"}
        self.run(
            *(program, "introspect", "--write-pip", str(files["python"]), "--write-bindep", str(files["system"])), str(self.collections)
        )
        definition = self.scratch / "execution-environment.yml"
        definition.write_text(json.dumps(EXECUTION_ENVIRONMENT))
        self.run(program, "create", "--file", str(definition), "--context", str(context), "--output-filename", "Containerfile")
        recipe = (context / "Containerfile").read_text()
        for file, wanted in (("requirements.txt", _listed("requirements.txt")), ("bindep.txt", _listed("bindep.txt"))):
            used = (context / "_build" / file).read_text()
            missing = [name for name in wanted if name not in used]
            if missing or not wanted:
                raise Wrong(f"the image's {file} does not have {', '.join(missing) or 'anything'}")
            if file not in recipe:
                raise Wrong(f"the Containerfile does not use {file}")
        return f"ansible-builder finds {', '.join(_listed('requirements.txt') + _listed('bindep.txt'))}"


def _listed(name: str) -> t.List[str]:
    """The names in one of the files of requirements."""
    lines = (ROOT / name).read_text().splitlines()
    return [line.split()[0].rstrip(";") for line in lines if line and not line.startswith("#")]


def _program(name: str) -> str:
    return str(pathlib.Path(sys.executable).parent / name)


def _next_version(current: str) -> str:
    major, minor, _patch = release.numbers(current)
    return FIRST if major < 1 else f"{major}.{minor + 1}.0"


def main() -> int:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.write_text("")
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="lading-release-") as name:
        check = Check(pathlib.Path(name))
        for step in (check.release, check.content, check.importer, check.install, check.documentation, check.quickstart, check.builder):
            try:
                print(f"{step.__name__}: {step()}", flush=True)
                passed += 1
            except (Wrong, environment.Missing, peers.Unavailable, OSError, SystemExit) as error:
                print(f"{step.__name__}: FAILED: {error}", flush=True)
                failed += 1
                if not check.tarball.name:
                    break
        if failed == 0 and check.tarball.name:
            (BUILD / "dist").mkdir(exist_ok=True)
            print(f"The tarball is {shutil.copy(check.tarball, BUILD / 'dist')}, for a look: nothing is released.")
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

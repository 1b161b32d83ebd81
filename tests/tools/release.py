# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make release VERSION=1.0.0``: the version and the changelog of a release, and its tarball in ``dist/``.

    release.py VERSION [CHECKOUT]

Wants a checkout without changes, a version that is greater than that of galaxy.yml and is not released, and fragments to tell of.
Writes galaxy.yml, changelogs/changelog.yaml and CHANGELOG.md, takes the fragments away and builds. It commits and publishes
nothing: it prints the commands that do.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_GALAXY_VERSION = re.compile(r"^version: (\S+)$", re.MULTILINE)


def numbers(version: str) -> t.Tuple[int, ...]:
    if not _VERSION.fullmatch(version):
        raise SystemExit(f"{version!r} is no version of a release: it is MAJOR.MINOR.PATCH, as 1.0.0 (semver.org)")
    return tuple(map(int, version.split(".")))


def version_of(checkout: pathlib.Path) -> str:
    found = _GALAXY_VERSION.search((checkout / "galaxy.yml").read_text())
    if found is None:
        raise SystemExit("galaxy.yml has no line 'version: ...'")
    return found.group(1)


def fragments_of(checkout: pathlib.Path) -> t.List[pathlib.Path]:
    return sorted((checkout / "changelogs" / "fragments").glob("*.yml"))


def check(version: str, checkout: pathlib.Path) -> None:
    """Raises SystemExit that says what is in the way of this release."""
    wanted, changelog = numbers(version), checkout / "changelogs" / "changelog.yaml"
    if wanted < numbers(version_of(checkout)):
        raise SystemExit(f"galaxy.yml has {version_of(checkout)} already, {version} is older")
    if changelog.exists() and re.search(rf"^  {re.escape(version)}:", changelog.read_text(), re.MULTILINE):
        raise SystemExit(f"changelogs/changelog.yaml has {version} already: a release is made once")
    if not fragments_of(checkout):
        raise SystemExit("changelogs/fragments is empty: there is nothing to release")
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=checkout, stdout=subprocess.PIPE, text=True, check=True).stdout
    if changed:
        raise SystemExit(f"the checkout has changes that are not committed:\n{changed}")


def release(version: str, checkout: pathlib.Path) -> pathlib.Path:
    """The tarball."""
    check(version, checkout)
    galaxy = checkout / "galaxy.yml"
    galaxy.write_text(_GALAXY_VERSION.sub(f"version: {version}", galaxy.read_text()))
    run(checkout, "antsibull-changelog", "release", "--version", version)
    # git keeps no empty folder, and the next fragment needs one.
    (checkout / "changelogs" / "fragments").mkdir(exist_ok=True)
    (checkout / "changelogs" / "fragments" / ".keep").touch()
    return build(checkout)


def build(checkout: pathlib.Path) -> pathlib.Path:
    run(checkout, "ansible-galaxy", "collection", "build", "--force", "--output-path", "dist", ".")
    return checkout / "dist" / f"lading-oci-{version_of(checkout)}.tar.gz"


def run(checkout: pathlib.Path, *command: str) -> None:
    """A program of this environment, which may start others of it."""
    programs = str(pathlib.Path(sys.executable).parent)
    done = subprocess.run(command, cwd=checkout, env={**os.environ, "PATH": os.pathsep.join([programs, os.environ["PATH"]])}, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed; git checkout . takes back what was written")


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(__doc__)
        return 2
    version, checkout = sys.argv[1], pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else ROOT
    tarball = release(version, checkout)
    print(f"\n{tarball} is built. Read CHANGELOG.md, then:")
    print(f"  git add --all && git commit --message 'Release {version}' && git tag {version}")
    print(f"  git push && git push origin {version}")
    print(f"  ansible-galaxy collection publish {tarball.relative_to(checkout)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

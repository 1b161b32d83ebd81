# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What make release, make release-check and make test-matrix refuse."""

from __future__ import annotations

import io
import json
import pathlib
import subprocess
import sys
import tarfile
import typing as t

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "tools"))

import environment  # noqa: E402
import matrix  # noqa: E402
import release  # noqa: E402
import release_check  # noqa: E402


def git(folder: pathlib.Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=test@example.com", *arguments], cwd=folder, check=True)


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A committed checkout of version 0.1.0 with a fragment."""
    (tmp_path / "galaxy.yml").write_text("namespace: lading\nversion: 0.1.0\n")
    (tmp_path / "changelogs" / "fragments").mkdir(parents=True)
    (tmp_path / "changelogs" / "fragments" / "1-one.yml").write_text("---\nbugfixes: [one]\n")
    commit(tmp_path)
    return tmp_path


def commit(checkout: pathlib.Path) -> None:
    git(checkout, "init", "--quiet")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "as it is")


def test_a_release_of_a_clean_checkout_with_fragments_is_made(checkout: pathlib.Path) -> None:
    release.check("1.0.0", checkout)
    release.check("0.1.0", checkout)


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0-rc.1", "01.0.0", ""])
def test_what_is_no_version_of_a_release_is_refused(checkout: pathlib.Path, version: str) -> None:
    with pytest.raises(SystemExit, match="MAJOR.MINOR.PATCH"):
        release.check(version, checkout)


def test_an_older_version_is_refused(checkout: pathlib.Path) -> None:
    with pytest.raises(SystemExit, match="galaxy.yml has 0.1.0 already"):
        release.check("0.0.9", checkout)


def test_a_version_that_is_released_is_refused(checkout: pathlib.Path) -> None:
    (checkout / "changelogs" / "changelog.yaml").write_text("---\nreleases:\n  0.1.0:\n    changes: {}\n")
    commit(checkout)
    with pytest.raises(SystemExit, match="has 0.1.0 already"):
        release.check("0.1.0", checkout)
    release.check("0.1.1", checkout)


def test_nothing_to_tell_is_refused(checkout: pathlib.Path) -> None:
    (checkout / "changelogs" / "fragments" / "1-one.yml").unlink()
    commit(checkout)
    with pytest.raises(SystemExit, match="nothing to release"):
        release.check("1.0.0", checkout)


def test_changes_that_are_not_committed_are_named(checkout: pathlib.Path) -> None:
    (checkout / "stray").touch()
    with pytest.raises(SystemExit, match="stray"):
        release.check("1.0.0", checkout)


def packed(folder: pathlib.Path, names: t.Iterable[str]) -> release_check.Check:
    """A check whose tarball holds these files, and whose checkout has no content of its own."""
    check = release_check.Check(folder)
    check.checkout.mkdir(parents=True)
    git(check.checkout, "init", "--quiet")
    check.tarball = folder / "it.tar.gz"
    with tarfile.open(check.tarball, "w:gz") as tar:
        for name in names:
            content = json.dumps({"collection_info": {"version": "1.0.0"}}).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return check


NEEDED = sorted(name if "." in name or name == "COPYING" else f"{name}/changelog.yaml" for name in release_check.TOP_LEVEL)


@pytest.fixture(autouse=True)
def _log(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_check, "LOG", tmp_path / "log")


def test_a_tarball_with_what_users_need_passes(tmp_path: pathlib.Path) -> None:
    assert "version 1.0.0" in packed(tmp_path, NEEDED).content()


@pytest.mark.parametrize(
    "name",
    ["tests/unit/test_it.py", "Makefile", ".yamllint", "plugins/.mypy_cache/x", "changelogs/fragments/1.yml", "plugins/modules/a.pyc"],
)
def test_a_tarball_with_what_no_user_needs_is_found(tmp_path: pathlib.Path, name: str) -> None:
    with pytest.raises(release_check.Wrong, match=name):
        packed(tmp_path, [*NEEDED, name]).content()


def test_a_tarball_that_lacks_something_is_found(tmp_path: pathlib.Path) -> None:
    with pytest.raises(release_check.Wrong, match="lacks COPYING"):
        packed(tmp_path, [name for name in NEEDED if name != "COPYING"]).content()


def test_a_tarball_that_lacks_a_file_of_the_checkout_is_found(tmp_path: pathlib.Path) -> None:
    check = packed(tmp_path, NEEDED)
    (check.checkout / "plugins").mkdir()
    (check.checkout / "plugins" / "forgotten.py").touch()
    git(check.checkout, "add", "--all")
    with pytest.raises(release_check.Wrong, match="lacks plugins/forgotten.py"):
        check.content()


@pytest.mark.parametrize(
    ("returncode", "output", "passed", "failed"),
    [
        (0, "units: 3 passed, 0 failed [1 s]\n\n5 passed, 0 failed, 2 skipped\n", 5, 0),
        (1, "\n4 passed, 2 failed\n", 4, 2),
        (1, "\n4 passed, 0 failed\n", 4, 1),
        (0, "", 0, 1),
    ],
)
def test_a_pair_that_says_nothing_of_itself_has_failed(returncode: int, output: str, passed: int, failed: int) -> None:
    assert matrix.counted(returncode, output) == matrix.Result(passed, failed)


@pytest.mark.parametrize(("promised", "failed"), [(True, 1), (False, 0)])
def test_a_pair_without_its_python_is_said_by_name(
    promised: bool, failed: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "ENVIRONMENTS", tmp_path)
    result = matrix.test(matrix.Pair("9.9", "ansible-core ~= 9.9.0", [(9, 9)], promised))
    assert (result.failed, result.absent) == (failed, "python9.9 with its venv module is not on this machine")


def test_a_python_is_found_by_its_version() -> None:
    own = sys.version_info[:2]
    assert environment.version_of(environment.python_of([own])) == own
    assert environment.version_of(environment.python_of([(9, 9), own])) == own

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The flow that everything serves: build, copy to a real registry, pull back; check mode, run, second run."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from support import Result, succeed, tree_state

NO_REQUESTS = {"source": {}, "destination": {}}
ONE_HEAD = {"HEAD": 1}


@pytest.fixture(name="sources")
def _sources(tmp_path: pathlib.Path) -> pathlib.Path:
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    (rootfs / "bin" / "hello").write_text("#!/bin/sh\necho hello\n")
    (rootfs / "bin" / "hello").chmod(0o755)
    assets = tmp_path / "dist" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "dist" / "site.conf").write_text("listen 80\n")
    (assets / "logo.svg").write_text("<svg/>")
    return tmp_path


def check_run_again(name: str, arguments: t.Dict[str, t.Any]) -> t.Tuple[Result, Result]:
    """Check mode foresees the run to the byte and the line of diff; the second run changes nothing."""
    checked = succeed(name, arguments, check=True)
    done = succeed(name, arguments)
    again = succeed(name, arguments)
    assert checked["changed"] and done["changed"] and not again["changed"]
    assert plan_of(checked) == plan_of(done)
    assert checked["diff"] == done["diff"] and done["diff"]["before"] != done["diff"]["after"]
    assert again["diff"]["before"] == again["diff"]["after"]
    assert again["digest"] == done["digest"] == checked["digest"]
    assert again["stats"]["bytes_transferred"] == 0
    return done, again


def plan_of(result: Result) -> Result:
    return {key: value for key, value in result["stats"].items() if key != "requests"}


@pytest.mark.parametrize("suffix", ["", ".tar"], ids=["folder", "tar"])
def test_image(sources: pathlib.Path, registry: t.Any, repository: str, suffix: str) -> None:
    path = sources / f"hello-world{suffix}"
    build = {
        "path": str(path),
        "tag": "v1",
        "platform": "linux/amd64",
        "layers": [{"src": str(sources / "rootfs") + "/"}],
        "config": {"cmd": ["/bin/hello"], "labels": {"org.opencontainers.image.title": "hello"}},
    }
    built, _again = check_run_again("oci_layout_build", build)
    assert path.is_dir() == (suffix == "")
    assert built["tags"] == {"v1": {"before": None, "after": built["digest"]}}
    written = tree_state(sources)

    dest = f"{registry.host}/{repository}"
    push = {"src": f"oci:{path}:v1", "dest": f"{dest}:v1", "dest_registry": {"plain_http": True}, "tags": ["latest"]}
    pushed, unchanged = check_run_again("oci_copy", push)
    assert pushed["digest"] == built["digest"] and pushed["reference"] == f"{dest}@{built['digest']}"
    assert pushed["stats"]["blobs_transferred"] == 2 and pushed["stats"]["manifests_transferred"] == 1
    assert unchanged["stats"]["requests"] == {"source": {}, "destination": {"HEAD": 2}}, "one HEAD for each of two tags"

    back = {"src": f"{dest}:v1", "src_registry": {"plain_http": True}, "dest": f"oci:{sources / ('back' + suffix)}:v1"}
    pulled, unchanged = check_run_again("oci_copy", back)
    assert pulled["digest"] == built["digest"]
    assert unchanged["stats"]["requests"] == {"source": ONE_HEAD, "destination": {}}

    pinned = {**back, "src": pulled["reference"].replace(f"oci:{sources / ('back' + suffix)}", dest)}
    assert succeed("oci_copy", pinned)["stats"]["requests"]["source"] in ({}, ONE_HEAD)
    unchanged_state = {name: state for name, state in tree_state(sources).items() if not name.startswith("back")}
    assert unchanged_state == written, "reading a layout touches nothing in it"


@pytest.mark.parametrize("suffix", ["", ".tar"], ids=["folder", "tar"])
def test_artifact(sources: pathlib.Path, registry: t.Any, repository: str, suffix: str) -> None:
    path = sources / f"site{suffix}"
    build = {
        "path": str(path),
        "tag": "2.3",
        "artifact_type": "application/vnd.example.site.v1",
        "files": [{"src": "dist/site.conf", "media_type": "text/plain"}, {"src": "dist/assets/"}],
    }
    checked = succeed("oci_layout_build", build, check=True, cwd=sources)
    built = succeed("oci_layout_build", build, cwd=sources)
    again = succeed("oci_layout_build", build, cwd=sources)
    assert built["changed"] and not again["changed"] and plan_of(checked) == plan_of(built)

    dest = f"{registry.host}/{repository}:2.3"
    pushed, unchanged = check_run_again("oci_copy", {"src": f"oci:{path}:2.3", "dest": dest, "dest_registry": {"plain_http": True}})
    assert unchanged["stats"]["requests"] == {"source": {}, "destination": ONE_HEAD}
    for number, (src, options) in enumerate(((dest, {"src_registry": {"plain_http": True}}), (f"oci:{path}:2.3", {}))):
        target = sources / f"pulled{number}"
        pulled, unchanged = check_run_again("oci_pull", {"src": src, "dest": str(target), **options})
        assert pulled["digest"] == pushed["digest"] == built["digest"]
        assert (target / "dist" / "site.conf").read_text() == "listen 80\n"
        assert (target / "dist" / "assets" / "logo.svg").read_text() == "<svg/>"
        expected = {"source": ONE_HEAD, "destination": {}} if options else NO_REQUESTS
        assert unchanged["stats"]["requests"] == expected
        (target / "dist" / "site.conf").write_text("edited by hand\n")
        mended = succeed("oci_pull", {"src": src, "dest": str(target), **options})
        assert mended["changed"] and mended["stats"]["blobs_transferred"] == 1
        assert (target / "dist" / "site.conf").read_text() == "listen 80\n"


def test_a_copy_within_one_registry_is_mounted(sources: pathlib.Path, registry: t.Any, repository: str) -> None:
    build = {"path": str(sources / "x.tar"), "tag": "v1", "layers": [{"src": str(sources / "rootfs") + "/"}]}
    succeed("oci_layout_build", build)
    registries = [{"host": registry.host, "plain_http": True}]
    first = f"{registry.host}/{repository}"
    succeed("oci_copy", {"src": f"oci:{sources}/x.tar:v1", "dest": f"{first}:v1", "registries": registries})
    mounted, _again = check_run_again("oci_copy", {"src": f"{first}:v1", "dest": f"{first}-copy:v1", "registries": registries})
    assert mounted["stats"]["blobs_mounted"] == 2 and mounted["stats"]["blobs_transferred"] == 0

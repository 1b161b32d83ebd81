# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_layout_prune as Ansible runs it, in check mode as in the run."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.modules import oci_layout_info, oci_layout_prune, oci_tag
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.layouts import add_blob, age, as_tar, flip, state
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Run, without_settings

OF_ANSIBLE = ("invocation", "warnings")


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    return Run(oci_layout_prune.main, capsys)


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "layout"


@pytest.fixture(name="images")
def _images(path: pathlib.Path) -> Images:
    images = Images(path)
    images.image(tar_of(a="1"), tags=["v1"])
    images.image(tar_of(a="2"), tags=["v2"])
    return images


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_check_run_again(run: Run, images: Images, path: pathlib.Path, form: str, capsys: t.Any) -> None:
    going = {str(desc.digest): desc.size for desc in images.layout.under(images.layout.resolve("v1"))}
    images.layout.untag("v1")
    place = path if form == "folder" else as_tar(path)
    arguments = {"path": str(place), "keep_younger": 0}
    facts = Run(oci_layout_info.main, capsys).done({"path": str(place)})
    before = state(place)
    planned = run.done(arguments, check=True)
    assert planned["changed"] and state(place) == before
    done = run.done(arguments)
    assert {key: done[key] for key in done if key not in OF_ANSIBLE} == {key: planned[key] for key in planned if key not in OF_ANSIBLE}
    assert {one["digest"]: one["size"] for one in done["removed"]} == going and done["removed_size"] == sum(going.values())
    assert facts["dangling"] == [one["digest"] for one in done["removed"]] and facts["dangling_size"] == done["removed_size"]
    assert done["size"] == facts["size"] - done["removed_size"]
    assert done["diff"]["before"] == "".join(f"blob {one['digest']} ({one['size']} bytes)\n" for one in done["removed"])
    assert done["diff"]["after"] == "" and set(done) <= {*yaml.safe_load(oci_layout_prune.RETURN), "changed", "diff", *OF_ANSIBLE}
    after = state(place)
    again = run.done(arguments)
    assert not again["changed"] and again["removed"] == [] and again["diff"]["before"] == "" and state(place) == after
    left = Layout(str(place)) if form == "folder" else Archive(str(place))
    assert left.names() == ["v2"] and all(left.exists(desc) for desc in left.under(left.resolve("v2")))


def test_what_is_young_stays(run: Run, images: Images, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = add_blob(path, b"left over")
    told = run.done({"path": str(path)})
    assert not told["changed"] and told["kept_young"] == [{"digest": alone, "size": 9}] and told["kept_young_size"] == 9
    age(path, monkeypatch)
    assert [one["digest"] for one in run.done({"path": str(path)})["removed"]] == [alone]


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_what_was_attached_to_a_ref_that_is_gone(run: Run, images: Images, path: pathlib.Path, form: str, capsys: t.Any) -> None:
    one, two = (images.layout.resolve(tag) for tag in ("v1", "v2"))
    of_one, of_two = (images.referrer(desc, "application/vnd.example.sbom", desc.digest) for desc in (one, two))
    place = path if form == "folder" else as_tar(path)
    Run(oci_tag.main, capsys).done({"dest": f"oci:{place}:v1", "state": "absent"})
    run.done({"path": str(place), "keep_younger": 0})
    arguments = {"path": str(place), "keep_younger": 0, "keep_untagged": False}
    planned, done = run.done(arguments, check=True), run.done(arguments)
    assert (
        done["removed_entries"]
        == planned["removed_entries"]
        == [{"digest": of_one.digest, "media_type": of_one.media_type, "artifact_type": ""}]
    )
    assert f"entry {of_one}\n" in done["diff"]["before"] and done["diff"] == planned["diff"]
    left = Layout(str(place)) if form == "folder" else Archive(str(place))
    assert [desc.digest for desc in left.referrers(two)] == [of_two.digest] and not left.exists(of_one)
    assert not run.done(arguments)["changed"]


def test_nothing_where_there_is_nothing(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("none", "none.tar", "empty"):
        told = run.done({"path": str(tmp_path / name)})
        assert told["exists"] is False and not told["changed"]
    assert list((tmp_path / "empty").iterdir()) == [] and not (tmp_path / "none").exists()


def test_a_damaged_manifest(run: Run, images: Images, path: pathlib.Path) -> None:
    add_blob(path, b"left over")
    flip(path, images.layout.resolve("v1"))
    before = state(path)
    for check in (True, False):
        said = run.failed({"path": str(path), "keep_younger": 0}, check)
        assert f"layout {path}: " in said and "nothing is removed" in said and "repair_from" in said
    assert state(path) == before


def test_what_makes_no_sense(run: Run, path: pathlib.Path) -> None:
    assert "keep_younger is -1" in run.failed({"path": str(path), "keep_younger": -1})
    (path.parent / "file").write_text("no tar")
    assert "file" in run.failed({"path": str(path.parent / "file")})


def test_a_reference_where_a_path_is_meant(run: Run, images: Images, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "path is 'oci:" in run.failed({"path": f"oci:{path}:v1"})
    monkeypatch.chdir(path.parent)
    path.rename(path.parent / "oci:site")
    assert run.done({"path": "./oci:site"})["exists"]

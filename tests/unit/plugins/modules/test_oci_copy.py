# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_copy as Ansible runs it, between layouts and a registry: what it returns, in check mode as in the run."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.modules import oci_copy
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry.fake_registry import FakeRegistry
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Run, without_settings


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    return Run(oci_copy.main, capsys)


@pytest.fixture(name="images")
def _images(tmp_path: pathlib.Path) -> Images:
    """v1 and v2 are images, all is an index of the two platforms of v1."""
    images = Images(tmp_path / "source")
    one = images.image(tar_of(a="one"), tags=["v1"])
    images.image(tar_of(a="two"), tags=["v2"])
    images.index(one, images.image(tar_of(a="arm"), platform="linux/arm64"), tags=["all"])
    return images


def test_check_run_again(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    arguments = {"src": f"oci:{tmp_path}/source:v1", "dest": f"oci-archive:{tmp_path}/out.tar:stable", "tags": ["v1"]}
    planned = run.done(arguments, check=True)
    assert planned["changed"] and not (tmp_path / "out.tar").exists()
    done = run.done(arguments)
    root = images.layout.resolve("v1")
    assert done["diff"] == planned["diff"] and done["digest"] == done["source_digest"] == root.digest
    assert done["tags"] == {tag: {"before": None, "after": root.digest} for tag in ("stable", "v1")}
    assert done["diff"]["before"] == "stable: absent\nv1: absent\n"
    assert f"stable: {root.digest}\nv1: {root.digest}\n" in done["diff"]["after"] and f"manifest {root.digest}" in done["diff"]["after"]
    assert done["reference"] == f"oci-archive:{tmp_path}/out.tar@{root.digest}"
    again = run.done(arguments)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    assert Archive(str(tmp_path / "out.tar")).names() == ["stable", "v1"]


def test_many_tags_and_their_removal(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    arguments = {"src": f"oci:{tmp_path}/source", "dest": f"oci:{tmp_path}/out", "all_tags": True}
    done = run.done(arguments)
    assert [item["tag"] for item in done["copies"]] == ["all", "v1", "v2"] and all(item["changed"] for item in done["copies"])
    images.layout.untag("v2")
    gone = run.done({**arguments, "prune": True})
    old = Layout(str(tmp_path / "source")).resolve("v1").digest
    assert gone["tags"]["v2"]["after"] is None and "v2: absent\n" in gone["diff"]["after"]
    assert next(item for item in gone["copies"] if item["tag"] == "v1")["before"] == old
    assert Layout(str(tmp_path / "out")).names() == ["all", "v1"]


def test_some_platforms_and_another_format(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    arguments = {"src": f"oci:{tmp_path}/source:all", "dest": f"oci:{tmp_path}/out:v1", "platforms": ["linux/arm64"], "format": "docker"}
    done = run.done(arguments)
    assert done["digest"] != done["source_digest"] and done["media_type"] == mediatype.DOCKER_MANIFEST
    assert f"{done['digest']} is made of {done['source_digest']}\n" in done["diff"]["after"]
    assert not run.done(arguments)["changed"]


def test_referrers_go_along(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    attached = images.referrer(images.layout.resolve("v1"), "application/vnd.example.sbom")
    arguments = {"src": f"oci:{tmp_path}/source:v1", "dest": f"oci:{tmp_path}/out:v1", "referrers": True}
    done = run.done(arguments)
    assert [(item["digest"], item["changed"]) for item in done["referrers"]] == [(attached.digest, True)]
    assert f"referrer {attached.digest} (application/vnd.example.sbom) of {done['digest']}" in done["diff"]["after"]
    assert not run.done(arguments)["referrers"][0]["changed"]


def test_deep_repairs_what_is_damaged(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    arguments = {"src": f"oci:{tmp_path}/source:v1", "dest": f"oci:{tmp_path}/out:v1"}
    digest = run.done(arguments)["digest"]
    blob = tmp_path / "out" / "blobs" / "sha256" / digest.partition(":")[2]
    blob.chmod(0o644)
    blob.write_bytes(b"x" * blob.stat().st_size)
    repaired = run.done({**arguments, "deep": True})
    assert repaired["changed"] and " repaired\n" in repaired["diff"]["after"]
    assert Layout(str(tmp_path / "out")).fetch_bytes(images.layout.resolve("v1"))


def test_a_registry_and_its_options(run: Run, images: Images, registry: FakeRegistry, tmp_path: pathlib.Path) -> None:
    arguments = {"src": f"oci:{tmp_path}/source:v1", "dest": f"{registry.host}/team/app:v1"}
    own = {**arguments, "dest_registry": {"plain_http": True}}
    assert run.done(own)["changed"]
    shared = {**arguments, "registries": [{"host": "other", "timeout": 1}, {"host": registry.host, "plain_http": True}]}
    assert not run.done(shared)["changed"]
    assert "registry options are given, but this side is a layout" in run.failed({**own, "src_registry": {"plain_http": True}})
    assert "timeout is 0, it must be at least 1" in run.failed({**own, "dest_registry": {"timeout": 0}})
    assert "retries is -1, it must be at least 0" in run.failed({**own, "dest_registry": {"retries": -1}})


def test_what_a_digest_names_and_the_layout_has_is_not_asked_for(
    run: Run, images: Images, registry: FakeRegistry, tmp_path: pathlib.Path
) -> None:
    plain, name = {"plain_http": True}, f"{registry.host}/team/app"
    digest = run.done({"src": f"oci:{tmp_path}/source:v1", "dest": f"{name}:v1", "dest_registry": plain})["digest"]
    out = tmp_path / "out"
    pinned = {"src": f"{name}:v1@{digest}", "src_registry": plain, "dest": f"oci:{out}:v1"}
    first = run.done(pinned)
    assert first["changed"] and first["stats"]["requests"]["source"]["HEAD"] == 1
    registry.seen.clear()
    for checks in (True, False):
        again = run.done(pinned, check=checks)
        assert not again["changed"] and registry.seen == []
    assert {**again, "stats": 0, "diff": 0} == {**first, "stats": 0, "diff": 0, "changed": False, "tags": again["tags"]}
    another = run.done({**pinned, "tags": ["v2"]})
    assert another["changed"] and registry.seen == [] and Layout(str(out)).names() == ["v1", "v2"]


@pytest.mark.parametrize("damage", ["cut", "other", "size"])
def test_a_digest_is_asked_for_when_the_layout_has_something_else(
    damage: str, run: Run, images: Images, registry: FakeRegistry, tmp_path: pathlib.Path
) -> None:
    plain, name = {"plain_http": True}, f"{registry.host}/team/app"
    digest = run.done({"src": f"oci:{tmp_path}/source:v1", "dest": f"{name}:v1", "dest_registry": plain})["digest"]
    out = tmp_path / "out"
    pinned = {"src": f"{name}@{digest}", "src_registry": plain, "dest": f"oci:{out}:v1"}
    whole = run.done(pinned)
    blob, index = out / "blobs" / "sha256" / digest.partition(":")[2], out / "index.json"
    content = blob.read_bytes()
    if damage == "size":
        index.write_text(index.read_text().replace(f'"size":{len(content)}', '"size":7'))
        assert '"size":7' in index.read_text()
    else:
        blob.chmod(0o644)
        blob.write_bytes(content[:-1] if damage == "cut" else content[:-1] + b" ")
    registry.seen.clear()
    again = run.done(pinned)
    assert registry.methods()[0] == "HEAD" and blob.read_bytes() == content
    assert again["digest"] == whole["digest"] and again["changed"] == (damage != "size")


def test_a_source_that_is_still_to_be_made(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    arguments = {"src": f"oci:{tmp_path}/none:v1", "dest": f"oci:{tmp_path}/source:v1", "tags": ["new"]}
    planned = run.done(arguments, check=True)
    digest = images.layout.resolve("v1").digest
    assert planned["tags"] == {"v1": {"before": digest, "after": None}, "new": {"before": None, "after": None}}
    assert planned["changed"] and planned["diff"]["after"] == "v1: still to be made\nnew: still to be made\n"
    assert "is not there: check mode takes it for what an earlier task would make" in str(planned["warnings"])
    assert "source oci:" in run.failed(arguments)


@pytest.mark.parametrize(
    ("dest", "says"),
    [
        ("oci-archive:{tmp}/source:v1", "is a folder, not a tar"),
        ("docker-archive:{tmp}/x.tar:v1", "docker-archive: is for sources"),
        ("oci:{tmp}/out:v1/", "ambiguous"),
        ("oci:{tmp}/out@sha256:" + "0" * 64, "has a digest that is not the source's"),
    ],
)
def test_a_destination_that_cannot_be(dest: str, says: str, run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    assert images.layout.names()
    assert says in run.failed({"src": f"oci:{tmp_path}/source:v1", "dest": dest.format(tmp=tmp_path)})
    assert not (tmp_path / "out").exists()


def test_a_tag_that_the_destination_cannot_take(run: Run, images: Images, registry: FakeRegistry, tmp_path: pathlib.Path) -> None:
    assert images.layout.names()
    arguments = {"src": f"oci:{tmp_path}/source:v1", "dest_registry": {"plain_http": True}}
    assert "not a tag: 'a/b'" in run.failed({**arguments, "dest": f"{registry.host}/app:v1", "tags": ["a/b"]})


@pytest.mark.parametrize("check", [True, False])
def test_a_destination_without_a_tag(
    run: Run, images: Images, registry: FakeRegistry, warned: t.List[str], tmp_path: pathlib.Path, check: bool
) -> None:
    def copied(**more: t.Any) -> t.List[str]:
        plain = {"dest_registry": {"plain_http": True}} if registry.host in more.get("dest", registry.host) else {}
        run.done({"src": f"oci:{tmp_path}/source:v1", "dest": f"{registry.host}/team/app", **plain, **more}, check)
        said, warned[:] = list(warned), []
        return said

    digest = images.layout.resolve("v1").digest
    untagged = f"destination {registry.host}/team/app has no tag: the manifest is reached by its digest only there"
    assert [text.startswith(untagged) for text in copied()] == [True]
    assert copied(dest=f"{registry.host}/team/app:v1") == copied(tags=["v1"]) == copied(all_tags=True, src=f"oci:{tmp_path}/source") == []
    assert copied(dest=f"{registry.host}/team/app@{digest}") == copied(src=f"oci:{tmp_path}/source@{digest}") == []
    assert copied(dest=f"oci:{tmp_path}/one") == [], "a layout of one manifest needs no ref"


def test_tags_of_which_none_is_meant(run: Run, images: Images, warned: t.List[str], tmp_path: pathlib.Path) -> None:
    arguments = {"src": f"oci:{tmp_path}/source", "dest": f"oci:{tmp_path}/out"}
    assert run.done({**arguments, "tags_matching": "semver:>=7"})["copies"] == []
    assert warned == [f"source oci:{tmp_path}/source has no tag that tags_matching means (semver:>=7): nothing is copied"]
    assert run.done({**arguments, "tags_matching": "v.*"})["copies"] and len(warned) == 1


@pytest.mark.parametrize("side", ["src", "dest"])
def test_a_registry_without_tls(run: Run, images: Images, registry: FakeRegistry, tmp_path: pathlib.Path, side: str) -> None:
    """The message has the option that helps, as it can be written."""
    arguments = {"src": f"oci:{tmp_path}/source:v1", "dest": f"oci:{tmp_path}/out:v1", side: f"{registry.host}/team/app:v1"}
    assert f"(for a registry without TLS set {side}_registry: {{plain_http: true}}, or plain_http in registries)" in run.failed(arguments)


def test_a_path_below_a_file(run: Run, images: Images, tmp_path: pathlib.Path) -> None:
    (tmp_path / "use.yml").write_text("x")
    below = f"{tmp_path}/use.yml/x.tar"
    for arguments in (
        {"src": f"oci:{tmp_path}/source:v1", "dest": f"oci:{below}:v1"},
        {"src": f"oci:{below}:v1", "dest": f"oci:{tmp_path}/out"},
    ):
        assert f"{below}: Not a directory ({tmp_path}/use.yml is a file)" in run.failed(arguments)

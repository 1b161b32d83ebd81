# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""One artifact, pulled by ``oras pull`` and by oci_pull: the same files, and where not, why not."""

from __future__ import annotations

import json
import os
import pathlib
import stat
import subprocess
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from oras_artifacts import HELM_CHART, HELM_CONFIG, Oras
from support import Result, fail, peer, succeed, tree_state

HTTP = {"plain_http": True}
FILES = ["a.conf", "big", "empty", "etc", "etc/deep", "etc/deep/b"]
Tree = t.Dict[str, t.Tuple[str, int, t.Union[None, str, bytes]]]


@pytest.fixture(name="oras")
def _oras(peers: t.Any, tmp_path: pathlib.Path) -> Oras:
    return Oras(peers.require("oras"), tmp_path / "work")


@pytest.fixture(name="name")
def _name(registry: t.Any, repository: str) -> str:
    return f"{registry.host}/{repository}"


def tree(root: pathlib.Path) -> Tree:
    """Kind, permission bits and content of everything below a folder; links have no bits of their own."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[str(path.relative_to(root))] = ("link", 0, os.readlink(path))
        else:
            found[str(path.relative_to(root))] = ("folder", mode, None) if path.is_dir() else ("file", mode, path.read_bytes())
    return found


class Both:
    """The same pull twice, each into a folder of its own."""

    def __init__(self, oras: Oras, folder: pathlib.Path) -> None:
        self._oras = oras
        self.theirs, self.ours = folder / "theirs", folder / "ours"

    def pull(self, reference: str, theirs: t.Sequence[str] = (), **ours: t.Any) -> Result:
        self.theirs.mkdir(exist_ok=True)
        peer(self._oras.program, "pull", "--plain-http", reference, "-o", self.theirs, *theirs, cwd=self._oras.work)
        arguments = {"src": reference, "src_registry": HTTP, "dest": str(self.ours), **ours}
        done = succeed("oci_pull", arguments)
        assert not succeed("oci_pull", arguments)["changed"]
        return done

    def equal(self) -> None:
        assert tree(self.ours) == tree(self.theirs) != {}


@pytest.fixture(name="both")
def _both(oras: Oras, tmp_path: pathlib.Path) -> Both:
    return Both(oras, tmp_path)


def make_tree(work: pathlib.Path) -> None:
    (work / "assets" / "inner").mkdir(parents=True)
    (work / "assets" / "inner" / "a.txt").write_text("a")
    (work / "assets" / "run").write_text("#!/bin/sh\n")
    (work / "assets" / "run").chmod(0o755)
    (work / "assets" / "private").write_text("p")
    (work / "assets" / "private").chmod(0o600)
    (work / "assets" / "link").symlink_to("inner/a.txt")


def test_files(oras: Oras, both: Both, name: str) -> None:
    oras.push(f"{name}:v1", {"a.conf:text/plain": b"a", "etc/deep/b": b"b", "empty": b"", "big": 3 * 1024 * 1024})
    done = both.pull(f"{name}:v1")
    both.equal()
    assert [file["title"] for file in done["files"]] == ["a.conf", "etc/deep/b", "empty", "big"] and list(tree(both.ours)) == FILES
    assert (both.ours / "etc" / "deep" / "b").read_bytes() == b"b" and (both.ours / "big").read_bytes() == bytes(3 * 1024 * 1024)


def test_a_folder(oras: Oras, both: Both, name: str) -> None:
    make_tree(oras.work)
    oras.run("push", "--plain-http", f"{name}:v1", "assets/")
    both.pull(f"{name}:v1")
    both.equal()
    assert os.access(both.ours / "assets" / "run", os.X_OK)


def test_from_a_layout(oras: Oras, both: Both) -> None:
    make_tree(oras.work)
    oras.write({"a.conf": b"a"})
    oras.run("push", "--oci-layout", "layout:v1", "a.conf", "assets/")
    oras.run("pull", "--oci-layout", "layout:v1", "-o", str(both.theirs))
    assert succeed("oci_pull", {"src": f"oci:{oras.work}/layout:v1", "dest": str(both.ours)})["changed"]
    both.equal()


def test_the_config(oras: Oras, both: Both, name: str) -> None:
    oras.write({"config.json": b'{"name":"mychart"}'})
    oras.push(f"{name}:v1", {"chart.tgz": b"chart"}, "--config", f"config.json:{HELM_CONFIG}")
    both.pull(f"{name}:v1", ("--config", "meta.json"), config="meta.json")
    both.equal()
    assert (both.ours / "meta.json").read_bytes() == b'{"name":"mychart"}'


def test_the_subject(oras: Oras, both: Both, name: str) -> None:
    oras.push(f"{name}:v1", {"program": b"\x7fELF"})
    oras.attach(f"{name}:sbom", f"{name}:v1", {"sbom.json": b"{}\n"})
    both.pull(f"{name}:sbom")
    both.equal()
    assert os.listdir(both.ours) == ["sbom.json"]
    both.pull(f"{name}:sbom", ("--include-subject",), include_subject=True)
    both.equal()
    assert sorted(os.listdir(both.ours)) == ["program", "sbom.json"]


def test_a_platform(oras: Oras, both: Both, name: str) -> None:
    for architecture in ("amd64", "arm64"):
        oras.push(f"{name}:{architecture}", {"tool": architecture.encode()})
    oras.index(f"{name}:v1", {f"linux/{architecture}": f"{name}:{architecture}" for architecture in ("amd64", "arm64")})
    done = both.pull(f"{name}:v1", ("--platform", "linux/arm64"), platform="linux/arm64")
    both.equal()
    assert (both.ours / "tool").read_bytes() == b"arm64" and done["manifest_digest"] == oras.descriptor(f"{name}:arm64")["digest"]
    message = fail("oci_pull", {"src": f"{name}:v1", "src_registry": HTTP, "dest": str(both.ours / "all")})
    assert "stands for two contents" in message and "platform" in message
    # oras gives up as well, but not before it has written one of the two: which one is chance.
    done_all = subprocess.run(
        [oras.program, "pull", "--plain-http", f"{name}:v1", "-o", both.theirs / "all"], capture_output=True, text=True, check=False
    )
    assert done_all.returncode != 0 and "duplicate name" in done_all.stderr
    assert not (both.ours / "all").exists()


def test_an_index_of_different_files(oras: Oras, both: Both, name: str) -> None:
    for architecture in ("amd64", "arm64"):
        oras.push(f"{name}:{architecture}", {f"tool-{architecture}": architecture.encode()})
    oras.index(f"{name}:v1", {f"linux/{architecture}": f"{name}:{architecture}" for architecture in ("amd64", "arm64")})
    done = both.pull(f"{name}:v1")
    both.equal()
    assert sorted(file["title"] for file in done["files"]) == sorted(os.listdir(both.ours)) == ["tool-amd64", "tool-arm64"]
    assert [(both.ours / f"tool-{architecture}").read_bytes() for architecture in ("amd64", "arm64")] == [b"amd64", b"arm64"]


def test_an_untitled_layer(oras: Oras, both: Both, name: str) -> None:
    """oras leaves it out and says how to copy it; names gives it a file in the same task."""
    oras.push_untitled(f"{name}:v1", {f"chart.tgz:{HELM_CHART}": b"chart"})
    skipped = both.pull(f"{name}:v1")
    assert tree(both.theirs) == {} and not both.ours.exists() and HELM_CHART in skipped["msg"]
    both.pull(f"{name}:v1", names={HELM_CHART: "mychart.tgz"})
    assert tree(both.theirs) == {} and (both.ours / "mychart.tgz").read_bytes() == b"chart"


def test_what_is_equal_is_left_alone(oras: Oras, both: Both, name: str) -> None:
    oras.push(f"{name}:v1", {"a": b"1"})
    both.pull(f"{name}:v1")
    before = tree_state(both.theirs), tree_state(both.ours)
    both.pull(f"{name}:v1")
    # oras writes every file again on each pull; we compare first.
    assert tree_state(both.theirs) != before[0] and tree_state(both.ours) == before[1]


def test_content_that_is_not_what_it_should_be(oras: Oras, both: Both) -> None:
    """oras truncates the file under its own name and then verifies what it wrote; we verify first."""
    oras.write({"a": b"new content"})
    oras.run("push", "--oci-layout", "layout:v1", "a")
    layout = Layout(str(oras.work / "layout"))
    document = json.loads(layout.fetch_bytes(layout.resolve("v1")))
    digest = document["layers"][0]["digest"]
    (oras.work / "layout" / "blobs" / "sha256" / digest.partition(":")[2]).write_bytes(b"bad content")
    for folder in (both.theirs, both.ours):
        folder.mkdir()
        (folder / "a").write_bytes(b"old")
    command = [oras.program, "pull", "--oci-layout", "layout:v1", "-o", both.theirs]
    assert subprocess.run(command, capture_output=True, cwd=oras.work, check=False).returncode != 0
    assert digest in fail("oci_pull", {"src": f"oci:{oras.work}/layout:v1", "dest": str(both.ours)})
    assert (both.theirs / "a").read_bytes() == b"bad content"
    assert (both.ours / "a").read_bytes() == b"old" and os.listdir(both.ours) == ["a"]


def test_a_link_on_the_path(oras: Oras, both: Both, name: str, tmp_path: pathlib.Path) -> None:
    """oras follows a link within the folder; we follow none, because what it leads to can change between look and write."""
    oras.push(f"{name}:v1", {"etc/a": b"1"})
    for folder in (both.theirs, both.ours):
        (folder / "real").mkdir(parents=True)
        (folder / "etc").symlink_to("real")
    peer(oras.program, "pull", "--plain-http", f"{name}:v1", "-o", both.theirs)
    assert (both.theirs / "real" / "a").read_bytes() == b"1"
    assert "etc is a link" in fail("oci_pull", {"src": f"{name}:v1", "src_registry": HTTP, "dest": str(both.ours)})
    assert os.listdir(both.ours / "real") == []


def test_what_a_newer_version_no_longer_has(oras: Oras, both: Both, name: str) -> None:
    """oras leaves every file of an older version there; so do we, until prune is asked for."""
    oras.push(f"{name}:v1", {"keep": b"1", "old/file": b"2"})
    oras.push(f"{name}:v2", {"keep": b"new"})
    both.pull(f"{name}:v1")
    both.pull(f"{name}:v2")
    both.equal()
    (both.ours / "mine").write_bytes(b"mine")
    pruned = both.pull(f"{name}:v2", prune=True, backup=True)
    assert pruned["removed"] == [f"{both.ours}/old/file"] and len(pruned["backup_files"]) == 1
    assert (both.ours / "mine").exists() and (both.theirs / "old" / "file").exists()


def test_special_bits_of_a_folders_members(oras: Oras, both: Both, name: str) -> None:
    make_tree(oras.work)
    (oras.work / "assets" / "run").chmod(0o6777)
    oras.run("push", "--plain-http", f"{name}:v1", "assets/")
    both.pull(f"{name}:v1")
    # oras keeps setuid and setgid. We give what a stranger made no rights of whoever pulls it.
    assert tree(both.theirs)["assets/run"][1] & 0o6000 == 0o6000 and tree(both.ours)["assets/run"][1] == 0o755


def test_the_empty_config(oras: Oras, both: Both, name: str) -> None:
    oras.push(f"{name}:v1", {"a": b"a"})
    both.pull(f"{name}:v1")
    both.equal()
    both.pull(f"{name}:v1", ("--config", "config.json"), config="config.json")
    both.equal()
    assert (both.ours / "config.json").read_bytes() == b"{}"


def test_a_part_of_the_files(oras: Oras, both: Both, name: str) -> None:
    oras.push(f"{name}:v1", {"a.conf": b"a", "etc/b.conf": b"a", "page:text/html": b"<p>"})
    both.pull(f"{name}:v1", include=["**/*.conf"], exclude=["a.*"])
    # oras pulls all or nothing.
    assert list(tree(both.theirs)) == ["a.conf", "etc", "etc/b.conf", "page"] and list(tree(both.ours)) == ["etc", "etc/b.conf"]
    both.pull(f"{name}:v1")
    both.equal()


def test_a_platform_that_is_not_there(oras: Oras, both: Both, name: str) -> None:
    oras.push(f"{name}:amd64", {"tool": b"amd64"})
    oras.index(f"{name}:v1", {"linux/amd64": f"{name}:amd64"})
    command = [oras.program, "pull", "--plain-http", f"{name}:v1", "-o", both.theirs, "--platform", "linux/s390x"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    message = fail("oci_pull", {"src": f"{name}:v1", "src_registry": HTTP, "dest": str(both.ours), "platform": "linux/s390x"})
    assert "has nothing for linux/s390x (it has linux/amd64)" in message and not both.ours.exists()


def test_the_platform_of_a_subject(oras: Oras, both: Both, name: str) -> None:
    for architecture in ("amd64", "arm64"):
        oras.push(f"{name}:{architecture}", {"tool": architecture.encode()})
    oras.index(f"{name}:v1", {f"linux/{architecture}": f"{name}:{architecture}" for architecture in ("amd64", "arm64")})
    oras.attach(f"{name}:signature", f"{name}:v1", {"signature": b"!"})
    command = [oras.program, "pull", "--plain-http", f"{name}:signature", "-o", both.theirs, "--include-subject"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    # oras wants all platforms of what is signed, and they have one file name. We take the one that is asked for.
    options = {"src": f"{name}:signature", "src_registry": HTTP, "dest": str(both.ours), "include_subject": True}
    assert succeed("oci_pull", {**options, "platform": "linux/arm64"})["changed"]
    assert (both.ours / "tool").read_bytes() == b"arm64" and (both.ours / "signature").read_bytes() == b"!"

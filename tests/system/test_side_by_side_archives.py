# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives that other tools wrote: what they read out of them, and what we do."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from support import fail, peer, succeed

Document = t.Dict[str, t.Any]


@pytest.fixture(name="source")
def _source(tmp_path: pathlib.Path) -> Images:
    images = Images(tmp_path / "source")
    images.image(tar_of(one="1"), tar_of(two="2"), tags=["v1"])
    images.image(tar_of(three="3"), tags=["v2"])
    return images


def documents(layout: pathlib.Path, tag: str) -> t.Tuple[Document, Document]:
    """Manifest and config of a layout folder's ref."""
    images = Images(layout)
    manifest = images.json(images.layout.resolve(tag))
    config = layout / "blobs" / "sha256" / manifest["config"]["digest"].partition(":")[2]
    return manifest, json.loads(config.read_text())


def pulled(src: str, tmp_path: pathlib.Path, tag: str = "v1") -> t.Tuple[Document, Document]:
    """Copied by us into a layout, twice."""
    arguments = {"src": src, "dest": f"oci:{tmp_path}/ours:{tag}"}
    planned = succeed("oci_copy", arguments, check=True)
    done = succeed("oci_copy", arguments)
    assert planned["diff"] == done["diff"] and not succeed("oci_copy", arguments)["changed"]
    return documents(tmp_path / "ours", tag)


def test_skopeos_docker_archive(source: Images, tmp_path: pathlib.Path, peers: t.Any) -> None:
    skopeo = peers.require("skopeo")
    archive = tmp_path / "saved.tar"
    peer(skopeo, "--insecure-policy", "copy", f"oci:{source.layout.path}:v1", f"docker-archive:{archive}:example.com/app:v1")
    peer(skopeo, "--insecure-policy", "copy", f"docker-archive:{archive}:example.com/app:v1", f"oci:{tmp_path}/theirs:v1")
    theirs, ours = documents(tmp_path / "theirs", "v1"), pulled(f"docker-archive:{archive}:example.com/app:v1", tmp_path)
    assert ours[1]["rootfs"] == theirs[1]["rootfs"]
    # skopeo compresses the layers on their way; we keep every byte, so that the archive is its own proof.
    assert [layer["mediaType"].rpartition(".")[2] for layer in theirs[0]["layers"]] == ["tar+gzip"] * 2
    assert [layer["digest"] for layer in ours[0]["layers"]] == ours[1]["rootfs"]["diff_ids"]
    compressed = {"src": f"docker-archive:{archive}", "dest": f"oci:{tmp_path}/gzip:v1", "compression": "gzip"}
    assert succeed("oci_copy", compressed)["changed"] and not succeed("oci_copy", compressed)["changed"]
    assert documents(tmp_path / "gzip", "v1")[1] == ours[1]


def test_cranes_tarball(source: Images, registry: t.Any, repository: str, tmp_path: pathlib.Path, peers: t.Any) -> None:
    """crane pull writes docker's form with the registry's own compressed layers: the manifest is the only thing that it leaves out."""
    name = f"{registry.host}/{repository}:v1"
    succeed("oci_copy", {"src": f"oci:{source.layout.path}:v1", "dest": name, "dest_registry": {"plain_http": True}})
    peer(peers.require("crane"), "pull", name, tmp_path / "crane.tar")
    manifest, config = pulled(f"oci:{tmp_path}/crane.tar", tmp_path)
    original = documents(pathlib.Path(source.layout.path), "v1")
    assert config == original[1] and manifest["layers"] == original[0]["layers"]


def test_an_oci_archive_of_several_images(source: Images, tmp_path: pathlib.Path, peers: t.Any) -> None:
    for tag in ("v1", "v2"):
        succeed("oci_copy", {"src": f"oci:{source.layout.path}:{tag}", "dest": f"oci-archive:{tmp_path}/both.tar:{tag}"})
    for name, tag in (("v1", "v1"), ("v2", "v2"), ("@0", "v1"), ("@1", "v2")):
        src = f"oci-archive:{tmp_path}/both.tar:{name}"
        assert pulled(src, tmp_path, tag) == documents(pathlib.Path(source.layout.path), tag)
        theirs = json.loads(peer(peers.require("skopeo"), "inspect", "--raw", f"oci:{source.layout.path}:{tag}"))
        assert theirs == documents(tmp_path / "ours", tag)[0]
    assert "no manifest @2" in fail("oci_copy", {"src": f"oci:{tmp_path}/both.tar:@2", "dest": f"oci:{tmp_path}/ours:x"})


@pytest.mark.parametrize("program", ["gzip", "xz", "zstd"])
def test_packed_by_the_usual_programs(program: str, source: Images, tmp_path: pathlib.Path) -> None:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is missing")
    succeed("oci_copy", {"src": f"oci:{source.layout.path}:v1", "dest": f"oci-archive:{tmp_path}/x.tar:v1"})
    with (tmp_path / "x.packed").open("wb") as packed:
        subprocess.run([found, "--stdout", str(tmp_path / "x.tar")], stdout=packed, check=True)
    assert pulled(f"oci-archive:{tmp_path}/x.packed:v1", tmp_path) == documents(pathlib.Path(source.layout.path), "v1")
    message = fail("oci_copy", {"src": f"oci:{source.layout.path}:v2", "dest": f"oci-archive:{tmp_path}/x.packed:v2"})
    assert f"the tar is {program}-compressed" in message


def test_docker_save(docker: t.Any, source: Images, registry: t.Any, tmp_path: pathlib.Path, repository: str) -> None:
    """The real engine's archive, with the containerd store, of an image that it pulled from the registry."""
    name = f"{registry.host}/{repository}:v1"
    succeed("oci_copy", {"src": f"oci:{source.layout.path}:v1", "dest": name, "dest_registry": {"plain_http": True}})
    peer("docker", "pull", "--quiet", name)
    peer("docker", "save", "--output", tmp_path / "saved.tar", name)
    original = documents(pathlib.Path(source.layout.path), "v1")
    sources = ({"src": f"oci:{tmp_path}/saved.tar", "src_ref": name}, {"src": f"docker-archive:{tmp_path}/saved.tar:{name}"})
    for arguments in sources:
        succeed("oci_copy", {**arguments, "dest": f"oci:{tmp_path}/ours:v1"})
        manifest, config = documents(tmp_path / "ours", "v1")
        assert config == original[1] and manifest["config"]["digest"] == original[0]["config"]["digest"]


def test_what_cannot_be_written_or_found(source: Images, tmp_path: pathlib.Path) -> None:
    src = f"oci:{source.layout.path}:v1"
    assert "can be read only" in fail("oci_copy", {"src": src, "dest": f"docker-archive:{tmp_path}/x.tar:v1"})
    succeed("oci_copy", {"src": src, "dest": f"oci-archive:{tmp_path}/x.tar:v1"})
    dest = f"oci:{tmp_path}/out:v1"
    assert "was not written by docker save" in fail("oci_copy", {"src": f"docker-archive:{tmp_path}/x.tar", "dest": dest})
    assert "no such file" in fail("oci_copy", {"src": f"docker-archive:{tmp_path}/absent.tar", "dest": dest})

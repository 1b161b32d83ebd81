# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives that other tools write, read by skopeo and by us, side by side: the same image, the same layers."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import json
import lzma
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest, mediatype
from support import fail, peer, succeed, tree_state

HTTP = {"plain_http": True}
SKOPEO = ("--insecure-policy", "copy")


@pytest.fixture(name="image")
def _image(tmp_path: pathlib.Path) -> pathlib.Path:
    """A layout of an image of two layers, v1, and one of one layer, v2."""
    (tmp_path / "one").write_text("one\n")
    (tmp_path / "two").write_text("two\n")
    layers = [{"src": str(tmp_path / name), "dest": f"/{name}"} for name in ("one", "two")]
    for tag, some in (("v1", layers), ("v2", layers[:1])):
        succeed("oci_layout_build", {"path": str(tmp_path / "image"), "tag": tag, "platform": "linux/amd64", "layers": some})
    return tmp_path / "image"


@dataclasses.dataclass(frozen=True)
class Read:
    """An image in a layout, all of whose content was verified."""

    root: str
    config: str
    document: t.Dict[str, t.Any]
    layer_types: t.Set[str]


def read(path: pathlib.Path, ref: str) -> Read:
    layout = Layout(str(path))
    root = layout.resolve(ref)
    parsed = manifest.parse(root, layout.fetch_bytes(root))
    assert parsed.config is not None
    for desc in parsed.layers:
        assert layout.fetch_bytes(desc)
    document = json.loads(layout.fetch_bytes(parsed.config))
    return Read(root.digest, parsed.config.digest, {"config": {}, **document}, {desc.media_type for desc in parsed.layers})


def expect_the_image(original: Read, theirs: Read, ours: Read) -> None:
    """skopeo writes the config of an archive anew, with an empty "config", and so gives it another digest; ours stays as it was saved."""
    assert ours.config == original.config
    assert ours.document == theirs.document and ours.document["rootfs"]["diff_ids"]


def both(folder: pathlib.Path, theirs: str, ours: t.Mapping[str, t.Any], skopeo: pathlib.Path) -> t.Tuple[Read, Read]:
    """The same source copied by skopeo and by us, each into a layout; ours twice, the second time without a change."""
    peer(skopeo, *SKOPEO, theirs, f"oci:{folder}/theirs:v1")
    arguments = {**ours, "dest": f"oci:{folder}/ours:v1"}
    before = tree_state(folder)
    checked = succeed("oci_copy", arguments, check=True)
    assert tree_state(folder) == before
    copied = succeed("oci_copy", arguments)
    assert checked["changed"] and copied["changed"] and checked["diff"] == copied["diff"] and checked["digest"] == copied["digest"]
    assert not succeed("oci_copy", arguments)["changed"]
    return read(folder / "theirs", "v1"), read(folder / "ours", "v1")


def test_a_docker_archive_of_skopeo(image: pathlib.Path, tmp_path: pathlib.Path, peers: t.Any) -> None:
    skopeo = peers.require("skopeo")
    peer(skopeo, *SKOPEO, f"oci:{image}:v1", f"docker-archive:{tmp_path}/saved.tar:example.com/app:v1")
    source = f"docker-archive:{tmp_path}/saved.tar:example.com/app:v1"
    theirs, ours = both(tmp_path, source, {"src": source}, skopeo)
    expect_the_image(read(image, "v1"), theirs, ours)
    # skopeo compresses the layers of the archive on their way into a layout; we keep them, and with them the digest of each.
    assert theirs.layer_types == {mediatype.OCI_LAYER_GZIP} and ours.layer_types == {mediatype.OCI_LAYER}
    by_itself = succeed("oci_copy", {"src": f"oci:{tmp_path}/saved.tar", "dest": f"oci:{tmp_path}/ours:v1"})
    assert not by_itself["changed"], "without the prefix the tar says what it is"


def test_one_of_two_images_by_name_and_by_place(image: pathlib.Path, tmp_path: pathlib.Path, peers: t.Any, registry: t.Any) -> None:
    """crane puts several images into one archive, with compressed layers."""
    crane, skopeo = peers.require("crane"), peers.require("skopeo")
    names = [f"{registry.host}/side/{tmp_path.name.replace('_', '-')}:{tag}".lower() for tag in ("v1", "v2")]
    for tag, name in zip(("v1", "v2"), names):
        succeed("oci_copy", {"src": f"oci:{image}:{tag}", "dest": name, "dest_registry": HTTP})
    peer(crane, "pull", "--insecure", *names, tmp_path / "saved.tar")
    saved = f"docker-archive:{tmp_path}/saved.tar"
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        folder.mkdir()
        theirs, ours = both(folder, f"{saved}:{name}", {"src": f"{saved}:@{number}"}, skopeo)
        expect_the_image(read(image, f"v{number + 1}"), theirs, ours)
        assert ours.layer_types == {mediatype.OCI_LAYER_GZIP}
        assert not succeed("oci_copy", {"src": saved, "src_ref": name, "dest": f"oci:{folder}/ours:v1"})["changed"]
    message = fail("oci_copy", {"src": f"docker-archive:{tmp_path}/saved.tar", "dest": f"oci:{tmp_path}/ours:v1"})
    assert "stands for 2 images: say which one is meant (@0" in message


def test_a_place_in_a_layout(image: pathlib.Path, tmp_path: pathlib.Path, peers: t.Any) -> None:
    """The layout's entries are counted from 0, as newer versions of skopeo do; the one of today's stable Debian does not know it."""
    tar = tmp_path / "image.tar"
    for tag in ("v1", "v2"):
        succeed("oci_copy", {"src": f"oci:{image}:{tag}", "dest": f"oci-archive:{tar}:{tag}"})
    for number, tag in enumerate(("v1", "v2")):
        folder = tmp_path / str(number)
        folder.mkdir()
        theirs, ours = both(folder, f"oci:{image}:{tag}", {"src": f"oci-archive:{tar}:@{number}"}, peers.require("skopeo"))
        assert theirs == ours == read(image, tag)
        assert not succeed("oci_copy", {"src": f"oci:{image}", "src_ref": tag, "dest": f"oci:{folder}/ours:v1"})["changed"]


PACKERS = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("suffix", [*PACKERS, "zst"])
def test_compressed_archives(suffix: str, image: pathlib.Path, tmp_path: pathlib.Path, peers: t.Any) -> None:
    pack = PACKERS[suffix] if suffix in PACKERS else pytest.importorskip("zstandard").compress
    skopeo = peers.require("skopeo")
    peer(skopeo, *SKOPEO, f"oci:{image}:v1", f"docker-archive:{tmp_path}/saved.tar:app:v1")
    peer(skopeo, *SKOPEO, f"oci:{image}:v1", f"oci-archive:{tmp_path}/layout.tar:v1")
    for name, kind, ref in (("saved", "docker-archive", "app:v1"), ("layout", "oci-archive", "v1")):
        packed = tmp_path / f"{name}.tar.{suffix}"
        packed.write_bytes(pack((tmp_path / f"{name}.tar").read_bytes()))
        folder = tmp_path / name
        folder.mkdir()
        plain = f"{kind}:{tmp_path}/{name}.tar:{ref}"
        theirs, ours = both(folder, plain, {"src": f"{kind}:{packed}:{ref}"}, skopeo)
        expect_the_image(read(image, "v1"), theirs, ours)


def test_it_is_pulled_from_and_not_written(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    message = fail("oci_copy", {"src": f"oci:{image}:v1", "dest": f"docker-archive:{tmp_path}/new.tar:app:v1"})
    assert "docker-archive: is for sources" in message and "oci-archive:PATH:NAME" in message
    assert not (tmp_path / "new.tar").exists()


def test_one_that_is_still_to_be_made(tmp_path: pathlib.Path) -> None:
    arguments = {"src": f"docker-archive:{tmp_path}/absent.tar:app:v1", "dest": f"oci:{tmp_path}/ours:v1"}
    assert succeed("oci_copy", arguments, check=True)["changed"]
    assert "no such file" in fail("oci_copy", arguments)


def save(names: t.Sequence[str], path: pathlib.Path) -> None:
    done = subprocess.run(["docker", "save", "-o", str(path), *names], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("docker")
def test_what_docker_saves(image: pathlib.Path, tmp_path: pathlib.Path, peers: t.Any) -> None:
    """The engine of today, whose archives are layouts too: its own manifest is the one that counts."""
    for tag in ("v1", "v2"):
        tar = tmp_path / f"{tag}.tar"
        name = f"example.com/app:{tag}"
        succeed("oci_copy", {"src": f"oci:{image}:{tag}", "dest": f"oci-archive:{tar}", "dest_ref": name})
        subprocess.run(["docker", "load", "-i", str(tar)], check=True, capture_output=True, timeout=120)
    save(["example.com/app:v1", "example.com/app:v2"], tmp_path / "saved.tar")
    assert "manifest.json" in subprocess.run(["tar", "tf", str(tmp_path / "saved.tar")], capture_output=True, text=True, check=True).stdout
    for number, tag in enumerate(("v1", "v2")):
        folder = tmp_path / str(number)
        folder.mkdir()
        name = f"example.com/app:{tag}"
        ours_of = {"src": f"oci:{tmp_path}/saved.tar", "src_ref": name}
        theirs, ours = both(folder, f"docker-archive:{tmp_path}/saved.tar:{name}", ours_of, peers.require("skopeo"))
        expect_the_image(read(image, tag), theirs, ours)
        assert ours.root == read(image, tag).root, "the digest that it had before Docker loaded it"
    message = fail("oci_copy", {"src": f"oci:{tmp_path}/saved.tar", "dest": f"oci:{tmp_path}/ours:v1"})
    assert "2" in message and "say which" in message

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives of docker save, old and new, and hostile ones."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import pathlib
import tarfile
import typing as t

import pytest
import zstandard
from ansible_collections.lading.oci.plugins.module_utils._oci.content.docker_archive import SavedImages
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, MismatchError, NotFoundError, OCIError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.manifest import parse
from ansible_collections.lading.oci.plugins.module_utils._oci.verify import verify
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import tar_of

Member = t.Union[bytes, t.Tuple[bytes, str]]
FIRST, SECOND = tar_of(first="1"), tar_of(second="2")


def hex_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def config_of(*layers: bytes, **more: t.Any) -> bytes:
    diff_ids = ["sha256:" + hex_of(layer) for layer in layers]
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **more}).encode()


def write(path: pathlib.Path, members: t.Mapping[str, Member]) -> pathlib.Path:
    """A tar; a member that is (type, target) is a link."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                member.type, member.linkname = content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def entry(config: str, layers: t.Sequence[str], *tags: str) -> t.Dict[str, t.Any]:
    return {"Config": config, "RepoTags": list(tags) or None, "Layers": list(layers)}


def manifest_json(*entries: t.Any) -> bytes:
    return json.dumps(entries).encode()


def old_style(*tags: str) -> t.Dict[str, Member]:
    """As Docker 1.10 to 24 wrote it: a folder for each layer, one of which links to another's."""
    config = config_of(FIRST, SECOND, FIRST)
    layers = ["a/layer.tar", "b/layer.tar", "c/layer.tar"]
    return {
        "a/layer.tar": FIRST,
        "b/layer.tar": SECOND,
        "c/layer.tar": (tarfile.SYMTYPE, "../a/layer.tar"),
        f"{hex_of(config)}.json": config,
        "manifest.json": manifest_json(entry(f"{hex_of(config)}.json", layers, *tags)),
        "repositories": b"{}",
    }


def both(index: t.Any, tag: str = "app:v1", **more: bytes) -> t.Dict[str, Member]:
    """As Docker 25 writes it: a layout, and manifest.json over the same blobs."""
    config = config_of(FIRST)
    blobs = {f"blobs/sha256/{hex_of(content)}": content for content in (FIRST, config, *more.values())}
    document = manifest_json(entry(f"blobs/sha256/{hex_of(config)}", [f"blobs/sha256/{hex_of(FIRST)}"], tag))
    return {
        **blobs,
        "index.json": json.dumps({"schemaVersion": 2, "manifests": index}).encode(),
        "manifest.json": document,
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
    }


def test_an_old_archive(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "old.tar", old_style("app:v1"))
    images = SavedImages(str(path))
    root = images.resolve("app:v1")
    document = parse(root, images.fetch_bytes(root))
    assert document.config is not None and images.fetch_bytes(document.config) == config_of(FIRST, SECOND, FIRST)
    assert [(layer.media_type, images.fetch_bytes(layer)) for layer in document.layers] == [
        (mediatype.OCI_LAYER, content) for content in (FIRST, SECOND, FIRST)
    ]
    target = Layout(str(tmp_path / "layout"))
    apply_copy(plan_copy(images, root, target, ["v1"]), images, target)
    verify(target, root)
    again = SavedImages(str(path), docker_only=True)
    assert again.resolve("app:v1") == root and not plan_copy(again, root, target, ["v1"]).changed


@pytest.mark.parametrize("name", ["app:v1", "docker.io/library/app:v1", "library/app:v1", "v1", "@0", None])
def test_names(name: t.Optional[str], tmp_path: pathlib.Path) -> None:
    images = SavedImages(str(write(tmp_path / "x.tar", old_style("app:v1", "app:other"))))
    assert images.resolve(name) == images.resolve("app:other")
    assert images.names() == ["app:v1", "app:other"]
    assert SavedImages(str(tmp_path / "x.tar")).resolve(images.resolve(name).digest) == images.resolve(name)


def test_several_images(tmp_path: pathlib.Path) -> None:
    configs = [config_of(FIRST), config_of(SECOND)]
    members = {f"{hex_of(config)}.json": config for config in configs}
    entries = [entry(f"{hex_of(config)}.json", [name], f"app:{name}") for config, name in zip(configs, ("one", "two"))]
    path = write(tmp_path / "x.tar", {"one": FIRST, "two": SECOND, **members, "manifest.json": manifest_json(*entries)})
    images = SavedImages(str(path))
    assert images.resolve("app:two") == images.resolve("@1") != images.resolve("app:one")
    for reference, says in ((None, "has 2 images: say which"), ("app:three", "it has app:one, app:two"), ("@2", "which has 2")):
        with pytest.raises(OCIError, match=says):
            images.resolve(reference)


def test_compressed_layers(tmp_path: pathlib.Path) -> None:
    """As crane writes them."""
    packed = [gzip.compress(FIRST), zstandard.compress(SECOND)]
    config = config_of(FIRST, SECOND)
    names = [f"{hex_of(blob)}.tar.gz" for blob in packed]
    members = dict(zip(names, packed))
    path = write(tmp_path / "x.tar", {**members, "config": config, "manifest.json": manifest_json(entry("config", names, "app:v1"))})
    images = SavedImages(str(path))
    root = images.resolve("app:v1")
    layers = parse(root, images.fetch_bytes(root)).layers
    assert [layer.media_type for layer in layers] == [mediatype.OCI_LAYER_GZIP, mediatype.OCI_LAYER_ZSTD]
    verify(images, root)
    members[names[0]] = bz2.compress(FIRST)
    write(path, {**members, "config": config, "manifest.json": manifest_json(entry("config", names, "app:v1"))})
    with pytest.raises(InvalidError, match="compressed with bzip2"):
        SavedImages(str(path)).resolve("app:v1")


@pytest.mark.parametrize("index", [None, []], ids=["null", "empty"])
def test_a_layout_without_entries(index: t.Any, tmp_path: pathlib.Path) -> None:
    """docker save with the graph driver's store, of an image without a name."""
    images = SavedImages(str(write(tmp_path / "x.tar", both(index))))
    assert images.names() == ["app:v1"]
    root = images.resolve("app:v1")
    verify(images, root)


def layout_entry(content: bytes, name: str) -> t.Dict[str, t.Any]:
    return {
        "mediaType": mediatype.OCI_MANIFEST,
        "digest": "sha256:" + hex_of(content),
        "size": len(content),
        "annotations": {"org.opencontainers.image.ref.name": "v1", "io.containerd.image.name": name},
    }


def oci_manifest(layer: bytes) -> bytes:
    def desc(content: bytes, media_type: str) -> t.Dict[str, t.Any]:
        return {"mediaType": media_type, "digest": "sha256:" + hex_of(content), "size": len(content)}

    config = desc(config_of(FIRST), mediatype.OCI_CONFIG)
    document = {"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, "config": config, "layers": [desc(layer, mediatype.OCI_LAYER)]}
    return json.dumps({**document, "annotations": {"of": "the layout"}}).encode()


def test_the_layout_comes_first_when_it_is_whole(tmp_path: pathlib.Path) -> None:
    whole = oci_manifest(FIRST)
    path = write(tmp_path / "x.tar", both([layout_entry(whole, "docker.io/library/app:v1")], manifest=whole))
    assert SavedImages(str(path)).resolve("v1").digest == "sha256:" + hex_of(whole)
    assert SavedImages(str(path), docker_only=True).resolve("v1").digest != "sha256:" + hex_of(whole)
    torn = oci_manifest(b"a layer that is not in the archive")
    path = write(tmp_path / "y.tar", both([layout_entry(torn, "docker.io/library/app:v1")], manifest=torn))
    images = SavedImages(str(path))
    verify(images, images.resolve("v1"))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress, zstandard.compress], ids=["gzip", "xz", "bzip2", "zstd"])
def test_compressed_as_a_whole(pack: t.Callable[[bytes], bytes], tmp_path: pathlib.Path) -> None:
    plain = write(tmp_path / "x.tar", old_style("app:v1"))
    root = SavedImages(str(plain)).resolve("app:v1")
    packed = tmp_path / "x.tar.packed"
    packed.write_bytes(pack(plain.read_bytes()))
    images = SavedImages(str(packed))
    assert images.resolve("app:v1") == root
    verify(images, root)


CONFIG = f"{hex_of(config_of(FIRST, SECOND, FIRST))}.json"
HOSTILE: t.Dict[str, t.Tuple[t.Dict[str, Member], t.Type[OCIError], str]] = {
    "a link out": ({**old_style(), "c/layer.tar": (tarfile.SYMTYPE, "../../etc/passwd")}, InvalidError, "leads out of it"),
    "an absolute link": ({**old_style(), "c/layer.tar": (tarfile.SYMTYPE, "/etc/passwd")}, InvalidError, "leads out of it"),
    "a circle": (
        {**old_style(), "c/layer.tar": (tarfile.SYMTYPE, "../d/layer.tar"), "d/layer.tar": (tarfile.SYMTYPE, "../c/layer.tar")},
        InvalidError,
        "in a circle",
    ),
    "a missing layer": ({name: value for name, value in old_style().items() if name != "b/layer.tar"}, NotFoundError, "no b/layer.tar"),
    "a path out": ({**old_style(), "manifest.json": manifest_json(entry(CONFIG, ["../a", "b", "c"]))}, InvalidError, "outside of itself"),
    "another config": ({**old_style(), CONFIG: config_of(FIRST)}, MismatchError, "has another digest"),
    "too few layers": ({**old_style(), "manifest.json": manifest_json(entry(CONFIG, ["a/layer.tar"]))}, InvalidError, "3 layers"),
    "no list": ({**old_style(), "manifest.json": b"{}"}, InvalidError, "not a list"),
    "no config": ({**old_style(), "manifest.json": manifest_json({"Layers": []})}, InvalidError, "has no Config"),
    "wrong names": ({**old_style(), "manifest.json": b'[{"Config": "x", "RepoTags": [1]}]'}, InvalidError, "not a list of strings"),
    "huge": ({**old_style(), "manifest.json": b"[" + b" " * 5_000_000 + b"]"}, InvalidError, "more than the limit"),
    "before 1.10": ({"repositories": b"{}"}, InvalidError, "older than 1.10"),
    "something else": ({"readme": b"hello"}, InvalidError, "was not written by docker save"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives(case: str, tmp_path: pathlib.Path) -> None:
    members, kind, says = HOSTILE[case]
    path = write(tmp_path / "x.tar", members)
    with pytest.raises(kind, match=says):
        SavedImages(str(path), docker_only=True).resolve("@0")


def test_two_lists(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for _time in range(2):
            member = tarfile.TarInfo("manifest.json")
            member.size = 2
            archive.addfile(member, io.BytesIO(b"[]"))
    with pytest.raises(InvalidError, match=r"manifest\.json twice"):
        SavedImages(str(path)).resolve("@0")


def test_a_layer_that_is_not_what_the_config_says(tmp_path: pathlib.Path) -> None:
    images = SavedImages(str(write(tmp_path / "x.tar", {**old_style("app:v1"), "b/layer.tar": tar_of(second="3")})))
    root = images.resolve("app:v1")
    with pytest.raises(MismatchError, match="another digest"):
        verify(images, root)

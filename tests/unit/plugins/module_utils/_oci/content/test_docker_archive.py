# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import bz2
import gzip
import lzma
import pathlib
import tarfile
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content import codec
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.tar_source import TarSource
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest, mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, MismatchError, NotFoundError, OCIError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.saved import (
    config_of,
    hex_of,
    layer_tar,
    link,
    saved_image,
    write_saved,
    write_tar,
)

ONE, TWO = layer_tar("one"), layer_tar("two")


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "saved.tar"


def layers_of(source: TarSource, root: Descriptor) -> t.Tuple[Descriptor, ...]:
    return manifest.parse(root, source.fetch_bytes(root)).layers


def test_an_image_keeps_its_config_and_its_layers(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write_saved(path, saved_image(ONE, TWO, tags=["alpine:3"]))
    source = TarSource(str(path))
    root = source.resolve(None)
    parsed = manifest.parse(root, source.fetch_bytes(root))
    assert parsed.config == Descriptor.of(config_of(ONE, TWO), mediatype.OCI_CONFIG)
    assert parsed.layers == (Descriptor.of(ONE, mediatype.OCI_LAYER), Descriptor.of(TWO, mediatype.OCI_LAYER))
    target = Layout(str(tmp_path / "layout"))
    apply_copy(plan_copy(source, root, target, ["v1"]), source, target)
    again = Layout(str(tmp_path / "layout"))
    assert again.resolve("v1") == root and [again.fetch_bytes(desc) for desc in parsed.layers] == [ONE, TWO]
    assert not plan_copy(TarSource(str(path)), TarSource(str(path)).resolve("alpine:3"), again, ["v1"]).changed


@pytest.mark.parametrize("name", [None, "alpine:3", "library/alpine:3", "docker.io/library/alpine:3", "3", "other", "other:latest", "@0"])
def test_every_name_of_an_image(path: pathlib.Path, name: t.Optional[str]) -> None:
    write_saved(path, saved_image(ONE, tags=["alpine:3", "other:latest"]))
    source = TarSource(str(path), docker=True)
    assert source.resolve(name) == source.resolve(source.resolve(None).digest)
    assert source.names() == ["docker.io/library/alpine:3", "docker.io/library/other:latest"]


def test_one_of_several_images(path: pathlib.Path) -> None:
    write_saved(path, saved_image(ONE, tags=["a:1"]), saved_image(TWO, tags=["b:2"]), saved_image(ONE, TWO))
    source = TarSource(str(path))
    for name, number, layers in (("a:1", "@0", [ONE]), ("b:2", "@1", [TWO]), ("@2", "@2", [ONE, TWO])):
        root = source.resolve(name)
        assert root == source.resolve(number) and [source.fetch_bytes(desc) for desc in layers_of(source, root)] == layers
    with pytest.raises(InvalidError, match=r"stands for 3 images: say which .*@0 docker.io/library/a:1, @1 docker.io/library/b:2, @2\)"):
        source.resolve(None)
    with pytest.raises(NotFoundError, match=r"no image @3 in the archive: it has 3, counted from @0"):
        source.resolve("@3")
    with pytest.raises(NotFoundError, match=r"no image 'c:1' .*it has docker.io/library/a:1, docker.io/library/b:2"):
        source.resolve("c:1")


def test_one_tag_of_two_images_is_ambiguous(path: pathlib.Path) -> None:
    write_saved(path, saved_image(ONE, tags=["a:1"]), saved_image(TWO, tags=["b:1"]))
    with pytest.raises(InvalidError, match="'1' stands for 2 images"):
        TarSource(str(path)).resolve("1")
    write_saved(path, saved_image(ONE, tags=["a:1"]), saved_image(ONE, tags=["b:1"]))
    assert TarSource(str(path)).resolve("1") == TarSource(str(path)).resolve("a:1")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symlink", "hardlink"])
def test_layers_may_be_links_in_the_tar(path: pathlib.Path, kind: bytes) -> None:
    entry, files = saved_image(ONE, TWO)
    entry["Layers"][1] = "second/layer.tar"
    entry["Layers"] += ["third/layer.tar"]
    real = f"{hex_of(TWO)[:12]}/layer.tar"
    config = config_of(ONE, TWO, TWO)
    entry["Config"] = "config.json"
    # A hard link can only be to a file, and says its name from the tar's root.
    first, second = (f"../{real}", "../second/layer.tar") if kind == tarfile.SYMTYPE else (real, real)
    files.update({"config.json": config, "second/layer.tar": link(first, kind), "third/layer.tar": link(second, kind)})
    write_saved(path, (entry, files))
    source = TarSource(str(path))
    assert [source.fetch_bytes(desc) for desc in layers_of(source, source.resolve(None))] == [ONE, TWO, TWO]


def test_compressed_layers_stay_as_they_are(path: pathlib.Path) -> None:
    entry, files = saved_image(ONE, TWO)
    packed = gzip.compress(ONE)
    files[entry["Layers"][0]] = packed
    write_saved(path, (entry, files))
    source = TarSource(str(path))
    layers = layers_of(source, source.resolve(None))
    assert layers[0] == Descriptor.of(packed, mediatype.OCI_LAYER_GZIP) and source.fetch_bytes(layers[0]) == packed


def test_the_name_of_a_blob_is_its_digest_and_that_is_checked(path: pathlib.Path) -> None:
    entry, files = saved_image(ONE)
    packed = gzip.compress(ONE)
    entry["Layers"] = [f"blobs/sha256/{hex_of(packed)}"]
    write_saved(path, (entry, {**files, entry["Layers"][0]: packed}))
    source = TarSource(str(path))
    assert source.fetch_bytes(layers_of(source, source.resolve(None))[0]) == packed
    write_saved(path, (entry, {**files, entry["Layers"][0]: gzip.compress(TWO)}))
    source = TarSource(str(path))
    with pytest.raises(MismatchError):
        source.fetch_bytes(layers_of(source, source.resolve(None))[0])


def test_a_layer_that_is_another_one_is_not_handed_out(path: pathlib.Path) -> None:
    entry, files = saved_image(ONE)
    files[entry["Layers"][0]] = TWO
    write_saved(path, (entry, files))
    source = TarSource(str(path))
    root = source.resolve(None)
    with pytest.raises(MismatchError, match="another digest"):
        source.fetch_bytes(layers_of(source, root)[0])


def test_content_is_found_without_a_name(path: pathlib.Path) -> None:
    """A pull that remembers the manifest asks for a layer at once."""
    write_saved(path, saved_image(ONE), saved_image(TWO))
    assert TarSource(str(path)).fetch_bytes(Descriptor.of(TWO, mediatype.OCI_LAYER)) == TWO
    absent = Descriptor.of(b"absent", mediatype.OCI_LAYER)
    assert not TarSource(str(path)).exists(absent)
    with pytest.raises(NotFoundError):
        TarSource(str(path)).fetch_bytes(absent)


ENTRY, FILES = saved_image(ONE, TWO)
FIRST = ENTRY["Layers"][0]
HOSTILE: t.Dict[str, t.Tuple[t.Dict[str, t.Any], t.Dict[str, t.Any], str]] = {
    "link out": ({}, {FIRST: link("../../etc/passwd")}, "as a link out of the tar: '../../etc/passwd'"),
    "absolute link": ({}, {FIRST: link("/etc/passwd")}, "as a link out of the tar"),
    "loop": ({}, {FIRST: link("../b/x"), "b/x": link("../" + FIRST)}, "or to itself"),
    "link to nothing": ({}, {FIRST: link("../gone/layer.tar")}, "it is a link to 'gone/layer.tar', which is not there"),
    "device": ({}, {FIRST: link("", tarfile.CHRTYPE)}, "as a device"),
    "missing layer": ({"Layers": ["gone/layer.tar", FIRST]}, {}, "no gone/layer.tar in the tar"),
    "layer outside": ({"Layers": ["../../etc/passwd", FIRST]}, {}, "outside of itself"),
    "missing config": ({"Config": "gone.json"}, {}, "no gone.json in the tar"),
    "config outside": ({"Config": "/etc/passwd"}, {}, "outside of itself"),
    "renamed config": ({}, {ENTRY["Config"]: config_of(ONE, TWO, author="me")}, "has another digest than its name says"),
    "broken config": ({"Config": "c.json"}, {"c.json": b"{}"}, "the config c.json has no rootfs"),
    "huge config": ({"Config": "c.json"}, {"c.json": bytes(5 * 1024 * 1024)}, "more than the limit"),
    "fewer layers": ({"Layers": [FIRST]}, {}, "has 1 layers for .*, which says 2"),
    "xz layer": ({}, {FIRST: lzma.compress(ONE)}, "is compressed with xz, for which images have no media type"),
    "no config": ({"Config": None}, {}, r"manifest.json\[0\] is not an image: it has no Config"),
    "tags no list": ({"RepoTags": "a:1"}, {}, "has RepoTags that are not a list of strings"),
    "broken tag": ({"RepoTags": ["A B"]}, {}, "has RepoTags that are not names of images"),
    "layers no strings": ({"Layers": [1, 2]}, {}, "has Layers that are not a list of strings"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused(what: str, path: pathlib.Path) -> None:
    entry, files, message = HOSTILE[what]
    write_saved(path, ({**ENTRY, **entry}, {**FILES, **files}))
    with pytest.raises(OCIError, match=message):
        TarSource(str(path), docker=True).resolve(None)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"{}", "is not a list of images"),
        (b"[", "not valid JSON"),
        (b'[{"Config": "a", "Config": "b"}]', "stands twice"),
        (b"[" + b" " * 4 * 1024 * 1024 + b"]", "more than the limit"),
        (b"[]", "the archive is empty"),
    ],
    ids=["object", "broken", "names twice", "huge", "empty"],
)
def test_a_manifest_json_that_is_none(path: pathlib.Path, content: bytes, message: str) -> None:
    write_tar(path, [("manifest.json", content)])
    with pytest.raises(OCIError, match=message):
        TarSource(str(path)).resolve(None)


def test_two_manifest_json_are_refused(path: pathlib.Path) -> None:
    write_tar(path, [("manifest.json", b"[]"), ("./manifest.json", b"[]")])
    with pytest.raises(InvalidError, match="the tar has manifest.json twice"):
        TarSource(str(path)).resolve(None)


def test_a_tar_of_an_old_docker_says_so(path: pathlib.Path) -> None:
    write_tar(path, [("repositories", b"{}"), ("abc/layer.tar", ONE)])
    with pytest.raises(InvalidError, match="of a Docker before 1.10 .*load it into a newer one"):
        TarSource(str(path)).resolve(None)


def test_a_tar_of_something_else(path: pathlib.Path) -> None:
    write_tar(path, [("hello", b"hello")])
    with pytest.raises(InvalidError, match="not one of docker save: no manifest.json"):
        TarSource(str(path), docker=True).resolve(None)
    with pytest.raises(InvalidError, match="not an OCI layout"):
        TarSource(str(path)).resolve(None)


def zstd(content: bytes) -> bytes:
    return t.cast(bytes, pytest.importorskip("zstandard").ZstdCompressor().compress(content))


PACKERS = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress, "zstd": zstd}


@pytest.mark.parametrize("name", PACKERS)
def test_a_compressed_archive(path: pathlib.Path, name: str) -> None:
    write_saved(path, saved_image(ONE, tags=["a:1"]))
    root = TarSource(str(path)).resolve("a:1")
    whole = PACKERS[name](path.read_bytes())
    path.write_bytes(whole)
    source = TarSource(str(path))
    assert source.resolve("a:1") == root and source.fetch_bytes(layers_of(source, root)[0]) == ONE
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidError, match=f"the {name} around the tar is broken"):
        TarSource(str(path)).resolve("a:1")


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_around_an_archive(path: pathlib.Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_FREE", 4 * 1024 * 1024)
    path.write_bytes(PACKERS[name](bytes(16 * 1024 * 1024)))
    with pytest.raises(InvalidError, match="bomb"):
        TarSource(str(path)).resolve(None)


def test_the_same_images_have_the_same_digests(path: pathlib.Path) -> None:
    image = saved_image(ONE, TWO, tags=["a:1"])
    first = TarSource(str(write_saved(path, image))).resolve(None)
    entry, files = image
    assert TarSource(str(write_saved(path, ({**entry, "Parent": "x"}, dict(reversed(list(files.items()))))))).resolve(None) == first


def test_errors_say_which_image(path: pathlib.Path) -> None:
    entry, files = saved_image(ONE)
    write_saved(path, ({**entry, "Layers": ["gone"]}, files))
    source = TarSource(str(path))
    source.location = "source docker-archive:saved.tar"
    with pytest.raises(NotFoundError) as caught:
        source.resolve(None)
    assert str(caught.value) == "source docker-archive:saved.tar, image @0: no gone in the tar"


@pytest.mark.parametrize(("count", "more"), [(10, ""), (11, " and 1 more"), (13, " and 3 more")])
def test_ten_names_are_shown_and_the_others_counted(tmp_path: pathlib.Path, count: int, more: str) -> None:
    names = [f"n{number:02}:1" for number in range(count)]
    source = TarSource(str(write_saved(tmp_path / "saved.tar", saved_image(layer_tar("one"), tags=names))))
    with pytest.raises(NotFoundError) as caught:
        source.resolve("absent:1")
    shown = ", ".join(f"docker.io/library/{name}" for name in names[:10])
    assert str(caught.value).endswith(f"(it has {shown}{more})")

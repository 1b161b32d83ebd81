# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a layout has and what is wrong with it: the same facts of a folder and of a tar."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.audit import Facts, audit, verified
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Fetcher
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import EMPTY, Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError, StorageError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.layouts import (
    add_blob,
    as_tar,
    blob,
    edit_index,
    flip,
    stored_at,
)

FORMS = pytest.mark.parametrize("form", ["folder", "tar"])


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "layout"


@pytest.fixture(name="images")
def _images(path: pathlib.Path) -> Images:
    return Images(path)


def facts(path: pathlib.Path, form: str = "folder", verify: bool = False) -> Facts:
    seen = audit(stored_at(path, form))
    return (verified(seen, 4) if verify else seen).facts()


def state_no_platforms(path: pathlib.Path) -> None:
    """In index.json, as most tools do not: then it is in the configs alone."""
    edit_index(path, lambda index: [entry.pop("platform", None) for entry in index["manifests"]])


def errors(found: Facts, of: str) -> t.Dict[str, str]:
    key = "document" if of == "invalid" else "digest"
    return {entry[key]: entry["error"] for entry in found[of]}


@FORMS
def test_what_is_there(images: Images, path: pathlib.Path, form: str) -> None:
    amd64, arm64 = images.image(tar_of(a="1")), images.image(tar_of(a="2"), platform="linux/arm64")
    images.image(tar_of(a="3"), tags=["alone"], platform="linux/riscv64")
    index = images.index(amd64, arm64, images.attestation(amd64), tags=["v1"])
    outer = images.index(index, tags=["outer"])
    sbom = images.referrer(amd64, "application/vnd.example.sbom")
    dangling = add_blob(path, b"nobody wants it")
    state_no_platforms(path)
    found = facts(path, form)
    refs = {ref["ref"]: ref for ref in found["refs"]}
    assert refs["v1"]["digest"] == index.digest and refs["v1"]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert refs["alone"]["platforms"] == ["linux/riscv64"] and refs["alone"]["exists"] and refs["alone"]["artifact_type"] == ""
    assert refs["outer"]["platforms"] == refs["v1"]["platforms"] and refs["outer"]["media_type"] == mediatype.OCI_INDEX
    assert refs[None]["digest"] == sbom.digest and refs[None]["artifact_type"] == "application/vnd.example.sbom"
    assert found["nested_indexes"] == [{"digest": index.digest, "within": outer.digest}]
    attached = {"digest": sbom.digest, "media_type": sbom.media_type, "size": sbom.size, "artifact_type": "application/vnd.example.sbom"}
    assert found["referrers"] == {amd64.digest: [attached]}
    assert found["dangling"] == [dangling] and found["dangling_size"] == 15
    by_digest = {entry["digest"]: entry for entry in found["blobs"]}
    assert by_digest[amd64.digest] == {"digest": amd64.digest, "media_type": amd64.media_type, "size": amd64.size, "reached": True}
    assert by_digest[dangling] == {"digest": dangling, "media_type": None, "size": 15, "reached": False}
    assert found["size"] == sum(entry["size"] for entry in found["blobs"]) and len(by_digest) == len(
        list(blob(path, dangling).parent.iterdir())
    )
    assert not (found["missing"] or found["damaged"] or found["invalid"] or found["foreign"] or found["unfinished"])


@FORMS
def test_everything_sound_stays_without_findings(images: Images, path: pathlib.Path, form: str) -> None:
    image = images.image(tar_of(a="1"), tags=["v1"])
    images.image(tar_of(a="1"), tags=["docker"], docker=True)
    images.referrer(image, "application/vnd.example.sbom")
    found = facts(path, form, verify=True)
    assert not found["damaged"] and not found["invalid"] and not found["missing"]
    pytest.importorskip("jsonschema")
    assert found["validated"] == ["rules", "schemas"]


@FORMS
def test_what_is_missing_is_named_by_what(images: Images, path: pathlib.Path, form: str) -> None:
    image = images.image(tar_of(a="1"), platform="linux/arm64")
    index = images.index(image, tags=["v1"])
    layer, config = (images.json(image)[key] for key in ("layers", "config"))
    blob(path, Digest(layer[0]["digest"])).unlink()
    found = facts(path, form)
    assert found["missing"] == [
        {**{key: layer[0][key] for key in ("digest", "size")}, "media_type": layer[0]["mediaType"], "named_by": [image.digest]}
    ]
    blob(path, image).unlink()
    found = facts(path, form)
    assert [(entry["digest"], entry["named_by"]) for entry in found["missing"]] == [(image.digest, [index.digest])]
    assert found["dangling"] == [config["digest"]], "nobody knows that it is needed"
    assert not found["damaged"] and not found["invalid"]


def test_layers_that_nobody_hands_on_are_not_missed(images: Images, path: pathlib.Path) -> None:
    foreign = Descriptor.of(b"windows", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").to_json()
    config = images.put(b"{}", mediatype.DOCKER_CONFIG)
    images.document({"config": config.to_json(), "layers": [foreign]}, mediatype.DOCKER_MANIFEST, ["v1"])
    assert facts(path)["missing"] == []


@FORMS
@pytest.mark.parametrize("verify", [False, True])
def test_a_damaged_layer(images: Images, path: pathlib.Path, form: str, verify: bool) -> None:
    image = images.image(tar_of(a="1"), tags=["v1"])
    layer = Digest(images.json(image)["layers"][0]["digest"])
    flip(path, layer)
    found = facts(path, form, verify)
    assert ("another digest" in errors(found, "damaged").get(layer, "")) is verify
    with blob(path, layer).open("ab") as file:
        file.write(b"more")
    found = facts(path, form, verify)
    assert list(errors(found, "damaged")) == [layer] and found["damaged"][0]["reached"] and not found["missing"]
    if not verify:
        assert errors(found, "damaged")[layer].endswith(f"and {image.digest} says {images.json(image)['layers'][0]['size']}")


@FORMS
def test_a_damaged_manifest(images: Images, path: pathlib.Path, form: str) -> None:
    image = images.image(tar_of(a="1"), tags=["v1"])
    flip(path, image)
    found = facts(path, form)
    assert "another digest" in errors(found, "damaged")[image.digest] and len(found["dangling"]) == 2
    assert found["refs"][0]["digest"] == image.digest and found["refs"][0]["platforms"] == ["linux/amd64"], "index.json says it"


def test_a_damaged_blob_that_nothing_reaches(images: Images, path: pathlib.Path) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    digest = add_blob(path, b"nobody wants it")
    flip(path, digest)
    (entry,) = facts(path, verify=True)["damaged"]
    assert (entry["digest"], entry["reached"], entry["media_type"], entry["size"]) == (digest, False, None, 15)


@pytest.mark.parametrize("verify", [False, True])
def test_who_has_the_wrong_size(images: Images, path: pathlib.Path, verify: bool) -> None:
    """A blob with its own digest is right, so that what names it is wrong."""
    layer = images.put(b"content", "text/plain")
    document = {"artifactType": "a/b", "config": EMPTY.to_json(), "layers": [{**layer.to_json(), "size": 9}]}
    images.put(b"{}", mediatype.OCI_EMPTY)
    root = images.document(document, mediatype.OCI_MANIFEST, ["v1"])
    found = facts(path, verify=verify)
    if verify:
        assert errors(found, "invalid") == {root.digest: f"says that {layer.digest} has 9 bytes, and it has 7"} and not found["damaged"]
    else:
        assert errors(found, "damaged") == {layer.digest: f"it has 7 bytes, and {root.digest} says 9"}
    edit_index(path, lambda index: index["manifests"][0].update(size=root.size + 1))
    assert f"says that {root.digest} has {root.size + 1} bytes" in errors(facts(path), "invalid")["index.json"]


@FORMS
def test_entries_that_are_no_descriptors(images: Images, path: pathlib.Path, form: str) -> None:
    image = images.image(tar_of(a="1"), tags=["v1"])
    entries = [
        {"mediaType": "application/xml", "size": 7, "digest": "blake3:" + "0" * 64},
        {"mediaType": "x", "digest": image.digest, "size": 1},
    ]
    edit_index(path, lambda index: index["manifests"].extend(entries))
    found = facts(path, form)
    assert [ref["ref"] for ref in found["refs"]] == ["v1"]
    said = [entry["error"] for entry in found["invalid"]]
    assert [entry["document"] for entry in found["invalid"]] == ["index.json"] * 2
    assert said[0].startswith("the entry @1: not a digest that can be verified") and said[1].startswith(
        "the entry @2: it has no valid mediaType"
    )


@FORMS
@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"manifests": [], "layers": []}, "is ambiguous"),
        ({"manifests": 5}, "is not a list"),
        ({"manifests": [], "mediaType": mediatype.DOCKER_LIST}, "says mediaType"),
    ],
)
def test_documents_that_break_the_rules(images: Images, path: pathlib.Path, form: str, document: t.Dict[str, t.Any], says: str) -> None:
    root = images.put(strictjson.dumps({"schemaVersion": 2, **document}), mediatype.OCI_INDEX, ["v1"])
    found = facts(path, form)
    assert says in errors(found, "invalid")[root.digest] and not found["damaged"]


def test_what_only_the_rules_and_schemas_see(images: Images, path: pathlib.Path) -> None:
    config = images.put(
        strictjson.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}), mediatype.OCI_CONFIG
    )
    layer = images.put(tar_of(a="1"), mediatype.OCI_LAYER)
    more = images.document({"config": config.to_json(), "layers": [layer.to_json()]}, mediatype.OCI_MANIFEST, ["v1"])
    assert not facts(path)["invalid"]
    assert errors(facts(path, verify=True), "invalid") == {more.digest: "the document has 1 layers, and its config says 0"}
    pytest.importorskip("jsonschema")
    strange = images.document({"manifests": [], "annotations": {}, "subject": {**EMPTY.to_json(), "urls": 5}}, mediatype.OCI_INDEX, ["v2"])
    assert "breaks the OCI JSON schema at subject.urls" in errors(facts(path, verify=True), "invalid")[strange.digest]


@pytest.mark.parametrize("state", ["missing", "damaged"])
def test_documents_are_judged_without_a_config_that_cannot_be_read(images: Images, path: pathlib.Path, state: str) -> None:
    image = images.image(tar_of(a="1"), tags=["v1"])
    config = Digest(images.json(image)["config"]["digest"])
    state_no_platforms(path)
    if state == "missing":
        blob(path, config).unlink()
    else:
        flip(path, config)
    found = facts(path, verify=True)
    assert not found["invalid"] and [entry["digest"] for entry in found[state]] == [config] and found["refs"][0]["platforms"] == []


def test_the_config_of_a_signature_states_no_platform(images: Images, path: pathlib.Path) -> None:
    """cosign gives its signatures the config of an image, with an empty os and architecture."""
    layer = images.put(b"{}", "application/vnd.dev.cosign.simplesigning.v1+json")
    document = {"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer.digest]}}
    for media_type, name in ((layer.media_type, "signature"), (mediatype.OCI_LAYER, "image")):
        config = images.put(strictjson.dumps(document), mediatype.OCI_CONFIG)
        entries = [{**layer.to_json(), "mediaType": media_type}]
        images.document({"config": config.to_json(), "layers": entries}, mediatype.OCI_MANIFEST, [name])
    found = facts(path, verify=True)
    named = {ref["digest"]: ref["ref"] for ref in found["refs"]}
    assert {named[document]: error for document, error in errors(found, "invalid").items()} == {
        "image": "the config of the document says no os and architecture"
    }


@FORMS
def test_files_that_are_none_of_the_layouts(images: Images, path: pathlib.Path, form: str) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    (path / "README").write_text("mine")
    (path / "blobs" / "sha256" / "README").write_text("mine")
    (path / "blobs" / "sha256" / ("A" * 64)).write_text("no digest")
    (path / "blobs" / "blake3").mkdir()
    (path / "blobs" / "blake3" / ("0" * 64)).write_text("not to be verified")
    (path / "deep").mkdir()
    (path / "deep" / "file").write_text("mine")
    (path / ".lading-0123").write_text("")
    found = facts(path, form)
    if form == "folder":
        assert found["foreign"] == ["README", "deep/", "blobs/blake3/", f"blobs/sha256/{'A' * 64}", "blobs/sha256/README"]
        assert found["unfinished"] == [".lading-0123"]
    else:
        assert [name for name in found["foreign"] if not name.startswith(".")] == [
            "README", f"blobs/blake3/{'0' * 64}", f"blobs/sha256/{'A' * 64}", "blobs/sha256/README", "deep/file"
        ]  # fmt: skip
    assert not found["dangling"]


def test_a_blob_that_is_a_link_is_no_blob(images: Images, path: pathlib.Path) -> None:
    image = images.image(tar_of(a="1"), tags=["v1"])
    place = blob(path, image)
    place.rename(path.parent / "elsewhere")
    place.symlink_to(path.parent / "elsewhere")
    found = facts(path)
    assert found["foreign"] == [f"blobs/sha256/{image.digest.encoded}"] and [entry["digest"] for entry in found["missing"]] == [
        image.digest
    ]


@FORMS
def test_what_docker_save_names_is_reached(images: Images, path: pathlib.Path, form: str) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    of_image = strictjson.dumps(
        {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]}, "rootfs": {"type": "layers", "diff_ids": []}}
    )
    config, layer, other = (add_blob(path, content) for content in (of_image, b"layer", b"other"))
    saved = [
        {
            "Config": f"blobs/sha256/{config.encoded}",
            "RepoTags": None,
            "Layers": [f"blobs/sha256/{layer.encoded}", "blobs/sha256/" + "0" * 64],
        }
    ]
    (path / "manifest.json").write_text(json.dumps(saved))
    found = facts(path, form, verify=True)
    assert found["dangling"] == [other] and not found["invalid"] and not found["damaged"], "a config is no manifest"
    (path / "manifest.json").write_text('{"name": "an application of the web"}')
    assert facts(path, form)["dangling"] == sorted([config, layer, other])


def test_what_docker_save_names_by_a_link_in_the_tar(images: Images, path: pathlib.Path) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    config, layer = add_blob(path, b"config"), add_blob(path, b"layer")
    saved = [{"Config": f"blobs/sha256/{config.encoded}", "RepoTags": None, "Layers": ["old/layer.tar"]}]
    (path / "manifest.json").write_text(json.dumps(saved))
    tar = as_tar(path, ("old/layer.tar", f"../blobs/sha256/{layer.encoded}"))
    found = audit(Archive(str(tar))).facts()
    assert found["dangling"] == [] and found["foreign"] == ["manifest.json", "old/layer.tar"]


@FORMS
def test_what_documents_of_other_kinds_name_is_reached(images: Images, path: pathlib.Path, form: str) -> None:
    """An artifact manifest of ORAS before 1.0, a manifest of Docker's schema 1, and one that our parser refuses."""
    below = images.image(tar_of(a="1"))
    digests = [add_blob(path, content) for content in (b"one", b"two", b"three")]
    old = images.put(
        strictjson.dumps({"blobs": [{"digest": digests[0]}], "x": [{"y": below.digest}]}), "application/vnd.oci.artifact.manifest.v1+json"
    )
    schema1 = images.put(strictjson.dumps({"schemaVersion": 1, "fsLayers": [{"blobSum": digests[1]}]}), mediatype.SCHEMA1_MANIFESTS[0])
    images.index(schema1, tags=["v1"])
    refused = images.put(strictjson.dumps({"schemaVersion": 2, "manifests": [], "layers": [{"digest": digests[2]}]}), mediatype.OCI_INDEX)
    edit_index(path, lambda index: index["manifests"].extend([old.to_json(), refused.to_json()]))
    found = facts(path, form)
    assert found["dangling"] == [] and list(errors(found, "invalid")) == [refused.digest]


def test_no_layout(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("none", "empty", "none.tar"):
        store = Archive(str(tmp_path / name)) if name.endswith(".tar") else Layout(str(tmp_path / name))
        with pytest.raises(NotFoundError):
            audit(store)
    (tmp_path / "empty" / "file").write_text("")
    with pytest.raises(InvalidError, match="is not an OCI layout"):
        audit(Layout(str(tmp_path / "empty")))


@pytest.mark.parametrize(("code", "damaged"), [(5, True), (13, False)], ids=["EIO", "EACCES"])
def test_a_disk_that_cannot_read(images: Images, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, code: int, damaged: bool) -> None:
    image = images.image(tar_of(a="1"), tags=["v1"])
    bad = Digest(images.json(image)["layers"][0]["digest"])
    opened = Layout._open

    def broken(self: Layout, desc: Descriptor) -> t.Any:
        if desc.digest == bad:
            raise OSError(code, "the disk's words")
        return opened(self, desc)

    monkeypatch.setattr(Layout, "_open", broken)
    if damaged:
        assert "the disk's words" in errors(facts(path, verify=True), "damaged")[bad]
    else:
        with pytest.raises(StorageError, match="the disk's words"):
            facts(path, verify=True)


def test_too_much_that_is_not_there(images: Images, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.lading.oci.plugins.module_utils._oci.reach.MAX_NODES", 10)
    entries = [Descriptor.of(b"%d" % number, mediatype.OCI_MANIFEST) for number in range(11)]
    images.index(*entries[:10], tags=["v1"])
    assert len(facts(path)["missing"]) == 10
    images.index(*entries, tags=["v1"])
    with pytest.raises(InvalidError, match="more than 10 blobs that are not there"):
        facts(path)


def test_too_deep(images: Images, path: pathlib.Path) -> None:
    desc = images.image(tar_of(a="1"))
    for _level in range(40):
        desc = images.index(desc)
    images.index(desc, tags=["v1"])
    with pytest.raises(InvalidError, match="nested deeper than 32"):
        facts(path)


def test_a_look_reads_no_layers(images: Images, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = images.image(tar_of(a="1"), tags=["v1"])
    state_no_platforms(path)
    fetched: t.List[str] = []
    fetch = Fetcher.fetch
    monkeypatch.setattr(Fetcher, "fetch", lambda self, desc, have=None: (fetched.append(desc.digest), fetch(self, desc, have))[1])
    facts(path)
    assert set(fetched) == {image.digest, images.json(image)["config"]["digest"]}

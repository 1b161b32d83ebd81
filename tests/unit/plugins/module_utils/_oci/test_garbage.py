# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nothing needs goes out of a layout, and nothing else does, whoever else is at work there."""

from __future__ import annotations

import gzip
import json
import os
import pathlib
import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import garbage
from ansible_collections.lading.oci.plugins.module_utils._oci.content import discard as discarding
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.names import LayoutIndex
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Incoming, bytes_opener
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.garbage import Plan, Wanted, apply_prune, plan_prune
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, MismatchError, NotFoundError, StorageError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.layouts import (
    Store,
    add_blob,
    age,
    as_tar,
    blob,
    blobs_of,
    edit_index,
    flip,
    state,
    stored_at,
)

FORMS = pytest.mark.parametrize("form", ["folder", "tar"])
ALL_AGES = Wanted(0)
REFERENCED = Wanted(0, keep_untagged=False)


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "layout"


@pytest.fixture(name="images")
def _images(path: pathlib.Path) -> Images:
    return Images(path)


def prune(store: Store, wanted: Wanted = ALL_AGES) -> Plan:
    """Planned, done as planned, and nothing is left to do."""
    before = blobs_of(store)
    planned = plan_prune(store, wanted)
    assert blobs_of(store) == before
    done = apply_prune(store, wanted)
    assert (done.blobs, done.entries, done.left) == (planned.blobs, planned.entries, planned.left)
    assert before - blobs_of(store) == set(done.blobs)
    assert not plan_prune(type(store)(store.path), wanted).changed
    return done


def whole(images: Images, desc: Descriptor) -> t.Set[str]:
    """The digests of an image or index and of all that it needs."""
    return {str(found.digest) for found in images.layout.under(desc)}


@FORMS
def test_what_no_ref_reaches_goes(images: Images, path: pathlib.Path, form: str) -> None:
    old = images.image(tar_of(a="old"), tar_of(b="both"), tags=["v1"])
    new = images.image(tar_of(a="new"), tar_of(b="both"), tags=["v1"])
    alone = add_blob(path, b"left over")
    going = (whole(images, old) - whole(images, new)) | {alone}
    store = stored_at(path, form)
    done = prune(store)
    assert set(done.blobs) == going
    assert done.blobs[alone] == 9 and blobs_of(store) == whole(images, new)
    assert store.resolve("v1").digest == new.digest and done.left == sum(desc.size for desc in images.layout.under(new))


@FORMS
def test_nothing_to_do_touches_nothing(images: Images, path: pathlib.Path, form: str) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    store = stored_at(path, form)
    before = state(pathlib.Path(store.path))
    assert not apply_prune(store, ALL_AGES).changed and state(pathlib.Path(store.path)) == before


@FORMS
def test_all_kinds_of_refs_keep_what_they_need(images: Images, path: pathlib.Path, form: str) -> None:
    amd64 = images.image(tar_of(a="1"))
    inner = images.index(amd64, images.image(tar_of(a="2"), platform="linux/arm64"), images.attestation(amd64))
    images.index(inner, tags=["nested"])
    sbom = images.referrer(amd64, "application/vnd.example.sbom")
    images.index(images.referrer(sbom, "application/vnd.example.signature", listed=False), tags=[f"sha256-{sbom.digest.encoded}"])
    before = blobs_of(images.layout)
    store = stored_at(path, form)
    assert not prune(store).changed and blobs_of(store) == before


@FORMS
def test_sparse_layouts_are_valid(images: Images, path: pathlib.Path, form: str) -> None:
    """Some platforms only, a root that is not there, and something to remove."""
    absent, present = images.image(tar_of(a="1"), platform="linux/arm64"), images.image(tar_of(a="2"))
    images.index(absent, present, tags=["v1"])
    images.image(tar_of(a="gone"), tags=["gone"])
    for desc in [*images.layout.under(absent), images.layout.resolve("gone")]:
        blob(path, desc).unlink()
    done = prune(stored_at(path, form))
    assert len(done.blobs) == 2, "the layer and config of a manifest that is not there"


@FORMS
@pytest.mark.parametrize("size", ["same", "other"])
def test_a_damaged_manifest_fails_it(images: Images, path: pathlib.Path, form: str, size: str) -> None:
    image = images.image(tar_of(a="1"), tags=["v1"])
    add_blob(path, b"left over")
    if size == "same":
        flip(path, image)
    else:
        blob(path, image).write_bytes(b"{")
    store = stored_at(path, form)
    before = state(pathlib.Path(store.path))
    for act in (plan_prune, apply_prune):
        with pytest.raises(MismatchError, match=f"{image.digest} cannot be read, so nobody knows what it needs, and nothing is removed"):
            act(store, ALL_AGES)
    assert state(pathlib.Path(store.path)) == before


@FORMS
def test_what_is_not_known_is_kept(images: Images, path: pathlib.Path, form: str) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    kept = [add_blob(path, content) for content in (b"config", b"layer", b"fs layer", b"of an entry that is none")]
    saved = [{"Config": f"blobs/sha256/{kept[0].encoded}", "RepoTags": None, "Layers": [f"blobs/sha256/{kept[1].encoded}"]}]
    (path / "manifest.json").write_text(json.dumps(saved))
    schema1 = images.put(strictjson.dumps({"schemaVersion": 1, "fsLayers": [{"blobSum": kept[2]}]}), mediatype.SCHEMA1_MANIFESTS[0])
    edit_index(path, lambda index: index["manifests"].extend([schema1.to_json(), {"mediaType": "x", "digest": kept[3], "size": 1}]))
    foreign = [path / "README", path / "blobs" / "README", path / "blobs" / "sha256" / "README"]
    for file in foreign:
        file.write_text("mine")
    gone = add_blob(path, b"left over")
    store = stored_at(path, form)
    assert list(prune(store).blobs) == [gone]
    if form == "folder":
        assert all(file.read_text() == "mine" for file in foreign)
    else:
        assert {str(file.relative_to(path)) for file in foreign} <= set(Archive(store.path).opened().members)


def test_links_in_a_tar_stay(images: Images, path: pathlib.Path) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    config, layer = add_blob(path, b"config"), add_blob(path, b"layer")
    saved = [{"Config": f"blobs/sha256/{config.encoded}", "RepoTags": None, "Layers": ["old/layer.tar"]}]
    (path / "manifest.json").write_text(json.dumps(saved))
    gone = add_blob(path, b"left over")
    link = ("old/layer.tar", f"../blobs/sha256/{layer.encoded}")
    store = Archive(str(as_tar(path, link)))
    assert list(prune(store).blobs) == [gone]
    assert Archive(store.path).opened().links == dict([link])


def test_a_compressed_tar_is_not_written(images: Images, path: pathlib.Path) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    tar = as_tar(path)
    tar.write_bytes(gzip.compress(tar.read_bytes()))
    assert not plan_prune(Archive(str(tar)), ALL_AGES).changed
    add_blob(path, b"left over")
    tar = as_tar(path)
    tar.write_bytes(gzip.compress(tar.read_bytes()))
    with pytest.raises(InvalidError, match="it can be read, but not written"):
        plan_prune(Archive(str(tar)), ALL_AGES)


def test_no_layout(tmp_path: pathlib.Path) -> None:
    for store in (Layout(str(tmp_path / "none")), Archive(str(tmp_path / "none.tar"))):
        with pytest.raises(NotFoundError):
            plan_prune(store, ALL_AGES)


# Entries without a name


@FORMS
def test_entries_without_a_name(images: Images, path: pathlib.Path, form: str) -> None:
    """What is attached to what stays, and what a ref reaches anyway, is kept; so is what carries another kind of name."""
    image = images.image(tar_of(a="1"))
    index = images.index(image, tags=["v1"])
    old = images.image(tar_of(a="old"), tags=["old"])
    sbom, old_sbom = (images.referrer(desc, "application/vnd.example.sbom", text) for desc, text in ((image, "of v1"), (old, "of old")))
    signature, old_signature = (images.referrer(desc, "application/vnd.example.signature", desc.digest) for desc in (sbom, old_sbom))
    named = images.image(tar_of(a="named by containerd"))
    images.layout.untag("old")
    images.layout.tag(image, images.layout.fetch_bytes(image), [])
    edit_index(
        path, lambda found: found["manifests"].append({**named.to_json(), "annotations": {"io.containerd.image.name": "docker.io/a/b:1"}})
    )
    store = stored_at(path, form)
    of_old = whole(images, old)
    listed = [entry["digest"] for entry in json.loads((path / "index.json").read_text())["manifests"]]
    assert set(prune(store).blobs) == of_old
    store = stored_at(path, form)
    done = prune(store, REFERENCED)
    assert {desc.digest for desc in done.entries.values()} == {old_sbom.digest, old_signature.digest}
    assert {old_sbom.digest, old_signature.digest} <= set(done.blobs)
    left = type(store)(store.path)
    assert [entry["digest"] for entry in left.index.entries] == [
        digest for digest in listed if digest not in (old_sbom.digest, old_signature.digest)
    ]
    assert {desc.digest for desc in left.referrers(image)} == {sbom.digest} and {desc.digest for desc in left.referrers(sbom)} == {
        signature.digest
    }
    assert left.resolve("v1").digest == index.digest


def test_a_damaged_entry_without_a_name_fails_it(images: Images, path: pathlib.Path) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    flip(path, images.referrer(images.layout.resolve("v1"), "application/vnd.example.sbom"))
    with pytest.raises(MismatchError, match="cannot be read"):
        plan_prune(Layout(str(path)), REFERENCED)


# Others at work


def test_what_is_young_stays_with_what_it_needs(images: Images, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another tool works: layers first, one of which was there, then the manifest, and the name last."""
    images.image(tar_of(a="1"), tags=["v1"])
    old, alone = add_blob(path, b"a layer that was there"), add_blob(path, b"left over")
    untagged = images.image(tar_of(a="by digest"))
    images.layout.tag(untagged, images.layout.fetch_bytes(untagged), [])
    wanted = Wanted(3600, keep_untagged=False)
    plan = plan_prune(images.layout, wanted)
    assert not plan.changed and set(plan.young) == {old, alone}
    age(path, monkeypatch)
    assert set(plan_prune(images.layout, wanted).blobs) == {old, alone} | whole(images, untagged)
    later = time.time()
    config = add_blob(path, b"{}")
    document = {"config": Descriptor(mediatype.OCI_CONFIG, config, 2).to_json(), "layers": [Descriptor("text/plain", old, 22).to_json()]}
    root = add_blob(path, strictjson.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, **document}))
    seen = garbage.inventory_of

    def inventory(store: t.Any) -> t.Any:
        found = seen(store)
        # The files are as old as the clock before it went on says: these two are new by the later one.
        return found._replace(
            blobs={digest: one._replace(touched=later) if digest in (config, root) else one for digest, one in found.blobs.items()}
        )

    monkeypatch.setattr(garbage, "inventory_of", inventory)
    plan = plan_prune(Layout(str(path)), wanted)
    assert set(plan.young) == {config, root, old} and alone in plan.blobs and old not in plan.blobs
    assert {desc.digest for desc in plan.entries.values()} == {untagged.digest}


def test_an_old_file_that_gets_a_name_is_young(images: Images, path: pathlib.Path) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    other = path.parent / "other"
    other.write_bytes(b"linked")
    os.utime(other, (1, 1))
    os.link(other, blob(path, Digest.of(b"linked")))
    assert list(plan_prune(images.layout, Wanted(60)).young) == [Digest.of(b"linked")]


def test_a_clock_that_was_set_back(images: Images, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is of a time to come stays, unless age is to have no meaning."""
    images.image(tar_of(a="1"), tags=["v1"])
    alone = add_blob(path, b"left over")
    age(path, monkeypatch, -7200.0)
    assert list(plan_prune(images.layout, Wanted(1)).young) == [alone]
    assert list(plan_prune(images.layout, ALL_AGES).blobs) == [alone]


def test_a_writer_is_waited_for(images: Images, path: pathlib.Path) -> None:
    """Its blobs are stored and not named yet: whoever removes has to wait until they are."""
    images.image(tar_of(a="1"), tags=["v1"])
    gone = add_blob(path, b"left over")
    content = strictjson.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": []})
    desc, writer = Descriptor.of(content, mediatype.OCI_INDEX), Layout(str(path))
    done: t.List[Plan] = []
    pruning = threading.Thread(target=lambda: done.append(apply_prune(Layout(str(path)), ALL_AGES)))
    with writer.receiving(Incoming(desc, ("v2",), (desc,))):
        writer.push(desc, bytes_opener(desc, content))
        pruning.start()
        pruning.join(0.3)
        assert pruning.is_alive() and blob(path, gone).exists()
        writer.tag(desc, content, ["v2"])
    pruning.join(30)
    assert list(done[0].blobs) == [gone] and Layout(str(path)).fetch_bytes(desc) == content


def test_several_writers_at_once_still_are(images: Images, path: pathlib.Path) -> None:
    root = images.image(tar_of(a="1"), tags=["v1"])
    one, two = Layout(str(path)), Layout(str(path))
    with one.receiving(Incoming(root)), two.receiving(Incoming(root)):
        one.tag(root, one.fetch_bytes(root), ["a"])
        two.tag(root, two.fetch_bytes(root), ["b"])
    assert Layout(str(path)).names() == ["a", "b", "v1"]


def test_a_copy_that_counts_on_what_was_removed(images: Images, path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Between its plan and its first blob somebody prunes: it says so, and a new run brings what is gone."""
    source = Images(tmp_path / "source")
    root = source.image(tar_of(a="1"), tar_of(b="2"), tags=["v1"])
    images.image(tar_of(a="other"), tags=["other"])
    layer = source.layout.under(root)[-1]
    add_blob(path, source.layout.fetch_bytes(layer))
    target = Layout(str(path))
    plan = plan_copy(source.layout, root, target, ["v1"])
    assert [desc.digest for desc in plan.present] == [layer.digest]
    apply_prune(Layout(str(path)), ALL_AGES)
    with pytest.raises(StorageError, match=f"{layer.digest} was in the layout when this was planned, and is gone: run again"):
        apply_copy(plan, source.layout, target)
    assert Layout(str(path)).names() == ["other"]
    target = Layout(str(path))
    apply_copy(plan_copy(source.layout, root, target, ["v1"]), source.layout, target)
    assert all(Layout(str(path)).exists(desc) for desc in source.layout.under(root))


def test_a_copy_of_an_index_that_is_sparse_on_both_sides(images: Images, path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What neither side has is not counted on."""
    absent, present = images.image(tar_of(a="1"), platform="linux/arm64"), images.image(tar_of(a="2"))
    root = images.index(absent, present, tags=["v1"])
    for desc in images.layout.under(absent):
        blob(path, desc).unlink()
    for target in (Layout(str(path)), Archive(str(as_tar(path)))):
        plan = plan_copy(images.layout, root, target, ["v2"])
        assert absent.digest not in {desc.digest for desc in (*plan.present, *plan.missing)}
        apply_copy(plan, images.layout, target)
        assert type(target)(target.path).resolve("v2").digest == root.digest


@FORMS
def test_what_was_named_meanwhile_stays(images: Images, path: pathlib.Path, form: str) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    image = images.image(tar_of(a="2"))
    store = stored_at(path, form)
    assert whole(images, image) == set(plan_prune(store, ALL_AGES).blobs)
    other = type(store)(store.path)
    content = images.layout.fetch_bytes(image)
    with other.receiving(Incoming(image, ("v2",), (), (image,))):
        other.tag(image, content, ["v2"])
    assert not apply_prune(store, ALL_AGES).changed and whole(images, image) <= blobs_of(store)


@FORMS
def test_names_go_before_manifests_and_these_before_what_they_need(
    images: Images, path: pathlib.Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.image(tar_of(a="1"), tags=["v1"])
    image = images.image(tar_of(a="2"))
    inner = images.index(image)
    outer = images.index(inner, images.image(tar_of(a="3")))
    images.layout.tag(outer, images.layout.fetch_bytes(outer), [])
    needs = {desc: whole(images, desc) for desc in (image, inner, outer)}
    store = stored_at(path, form)
    chosen: t.List[t.Tuple[Digest, ...]] = []
    really = discarding.discard

    def noting(store: t.Any, choose: discarding.Choose) -> None:
        def note(index: LayoutIndex) -> discarding.Discarded:
            found = choose(index)
            chosen.append(found.blobs)
            return found

        really(store, note)

    monkeypatch.setattr(garbage, "discard", noting)
    prune(store, REFERENCED)
    order = list(chosen[0])
    below = {desc.digest: {Digest(digest) for digest in needed - {desc.digest}} for desc, needed in needs.items()}
    assert len(order) == 8 and all(order.index(parent) < order.index(child) for parent, children in below.items() for child in children)


def test_a_kill_while_blobs_go_is_gone_on_with(images: Images, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is left without its content, and no manifest without what it needs; the next run removes the rest."""
    images.image(tar_of(a="1"), tags=["v1"])
    image = images.image(tar_of(a="2"))
    index = images.index(image)
    images.layout.tag(index, images.layout.fetch_bytes(index), [])
    unlink = os.unlink
    removed: t.List[str] = []

    def killed(name: t.Any, *args: t.Any, **more: t.Any) -> None:
        if len(str(name)) == 64:
            if len(removed) == 2:
                raise KeyboardInterrupt
            removed.append(str(name))
        unlink(name, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            apply_prune(Layout(str(path)), REFERENCED)
    assert removed == [index.digest.encoded, image.digest.encoded] and Layout(str(path)).names() == ["v1"]
    assert len(Layout(str(path)).index.entries) == 1
    assert len(prune(Layout(str(path)), REFERENCED).blobs) == 2

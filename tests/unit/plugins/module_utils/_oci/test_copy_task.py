# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies that are more than one graph under one name: platforms, formats, referrers, many tags, repairs."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.names import IndexedStore
from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Spool
from ansible_collections.lading.oci.plugins.module_utils._oci.conversion import Conversion
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import CopyOptions, apply_copy, plan_copy, stats_of
from ansible_collections.lading.oci.plugins.module_utils._oci.copy_task import CopyTask, Item, Wanted
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, MismatchError, NotFoundError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.manifest import parse
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.referrers import fallback_tag, index_of
from ansible_collections.lading.oci.plugins.module_utils._oci.tag_selection import parse_filter
from ansible_collections.lading.oci.plugins.module_utils._oci.verify import verify
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of

Make = t.Callable[[], IndexedStore]
ARM, AMD, S390X = (tar_of(name=name) for name in ("arm", "amd", "s390x"))


@pytest.fixture(name="source")
def _source(tmp_path: pathlib.Path) -> Images:
    return Images(tmp_path / "source")


@pytest.fixture(name="dest", params=["folder", "tar"])
def _dest(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Make:
    """Opens the destination anew, as the next task would."""
    return lambda: Archive(str(tmp_path / "dest.tar")) if request.param == "tar" else Layout(str(tmp_path / "dest"))


def platforms(*names: str) -> t.Tuple[Platform, ...]:
    return tuple(Platform.parse(name) for name in names)


def plan(source: Images, dest: IndexedStore, wanted: Wanted, *tags: str, check: bool = False) -> CopyTask:
    task = CopyTask(source.layout, dest, wanted, Spool(None if check else source.layout.path))
    for tag in tags:
        task.add(source.layout.resolve(tag), task.look_up([tag]), tag)
    return task


def copy(source: Images, dest: Make, wanted: Wanted = Wanted(), *tags: str) -> Item:
    """Check, run, check again: the same plan, what it says, and nothing more to do. The first item as it was planned."""
    checked = plan(source, dest(), wanted, *(tags or ("v1",)), check=True)
    task = plan(source, dest(), wanted, *(tags or ("v1",)))
    assert [item.plans for item in checked.items] == [item.plans for item in task.items]
    task.apply()
    again = plan(source, dest(), wanted, *(tags or ("v1",)), check=True)
    assert not again.changed
    for item in task.items:
        assert dest().resolve(item.name) == item.plan.root
        verify(dest(), item.plan.root)
    return task.items[0]


class TestPlatforms:
    @pytest.fixture(name="multi")
    def _multi(self, source: Images) -> t.Dict[str, Descriptor]:
        made = {
            "amd64": source.image(AMD),
            "arm64": source.image(ARM, platform="linux/arm64"),
            "s390x": source.image(S390X, platform="linux/s390x"),
        }
        attestations = {f"about {name}": source.attestation(desc) for name, desc in made.items()}
        root = source.index(*made.values(), *attestations.values(), tags=["v1"], annotations={"kept": "yes"})
        return {**made, **attestations, "root": root}

    def test_one_is_that_manifest(self, source: Images, dest: Make, multi: t.Dict[str, Descriptor]) -> None:
        item = copy(source, dest, Wanted(platforms=platforms("linux/arm64")))
        assert item.plan.root.digest == multi["arm64"].digest and item.source_root.digest == multi["root"].digest
        assert not dest().exists(multi["amd64"]) and not dest().exists(multi["about arm64"])

    def test_several_are_an_index_of_their_own(self, source: Images, dest: Make, multi: t.Dict[str, Descriptor]) -> None:
        item = copy(source, dest, Wanted(platforms=platforms("linux/s390x", "linux/amd64")))
        assert item.plan.root.digest != multi["root"].digest
        document = strictjson.load_object(dest().fetch_bytes(item.plan.root), "the index")
        kept = ("amd64", "s390x", "about amd64", "about s390x")
        assert document["manifests"] == [multi[name].to_json() for name in kept]
        assert document["annotations"] == {"kept": "yes"}
        assert not dest().exists(multi["arm64"]) and not dest().exists(multi["about arm64"])

    def test_all_are_the_same_index(self, source: Images, dest: Make, multi: t.Dict[str, Descriptor]) -> None:
        item = copy(source, dest, Wanted(platforms=platforms("linux/amd64", "linux/arm64", "linux/s390x")))
        assert item.plan.root.digest == multi["root"].digest

    def test_what_is_not_there_says_what_is(self, source: Images, dest: Make, multi: t.Dict[str, Descriptor]) -> None:
        for wanted in (["linux/riscv64"], ["linux/amd64", "linux/riscv64"]):
            with pytest.raises(NotFoundError, match=r"nothing for linux/riscv64 \(it has linux/amd64, linux/arm64, linux/s390x\)"):
                plan(source, dest(), Wanted(platforms=platforms(*wanted)), "v1")

    def test_nested_indexes(self, source: Images, dest: Make, multi: t.Dict[str, Descriptor]) -> None:
        windows = source.index(source.image(tar_of(os="windows"), platform="windows/amd64"))
        source.index(multi["root"], windows, tags=["outer"])
        item = copy(source, dest, Wanted(platforms=platforms("linux/amd64", "linux/arm64")), "outer")
        outer = parse(item.plan.root, dest().fetch_bytes(item.plan.root))
        assert len(outer.manifests) == 1
        inner = parse(outer.manifests[0], dest().fetch_bytes(outer.manifests[0]))
        assert [desc.digest for desc in inner.manifests] == [
            multi[name].digest for name in ("amd64", "arm64", "about amd64", "about arm64")
        ]
        one = copy(source, dest, Wanted(platforms=platforms("windows/amd64")), "outer")
        assert dest().resolve("outer") == one.plan.root

    def test_an_entry_without_platform_has_that_of_its_config(self, source: Images, dest: Make) -> None:
        bare = [
            Descriptor(desc.media_type, desc.digest, desc.size) for desc in (source.image(AMD), source.image(ARM, platform="linux/arm64"))
        ]
        source.index(*bare, tags=["v1"])
        assert copy(source, dest, Wanted(platforms=platforms("linux/arm64"))).plan.root.digest == bare[1].digest

    def test_a_single_image(self, source: Images, dest: Make) -> None:
        image = source.image(AMD, tags=["v1"])
        assert copy(source, dest, Wanted(platforms=platforms("linux/amd64"))).plan.root.digest == image.digest
        with pytest.raises(InvalidError, match="is an image for linux/amd64, not for linux/arm64"):
            plan(source, dest(), Wanted(platforms=platforms("linux/arm64")), "v1")


class TestFormats:
    def test_to_docker_and_back(self, source: Images, dest: Make, tmp_path: pathlib.Path) -> None:
        images = [source.image(AMD, annotations={"a": "b"}), source.image(ARM, platform="linux/arm64/v8")]
        attestation = source.attestation(images[0])
        source.index(*images, attestation, tags=["v1"])
        item = copy(source, dest, Wanted(conversion=Conversion(docker=True)))
        assert item.dropped == (attestation,) and item.plan.root.media_type == mediatype.DOCKER_LIST
        listed = strictjson.load_object(dest().fetch_bytes(item.plan.root), "the list")
        assert list(listed)[:2] == ["schemaVersion", "mediaType"]
        assert [entry["platform"] for entry in listed["manifests"]] == [dict(t.cast(t.Any, image.platform)) for image in images]
        for old, entry in zip(images, listed["manifests"]):
            made = strictjson.load_object(dest().fetch_bytes(Descriptor.parse(entry)), "the manifest")
            before = source.json(old)
            assert made["mediaType"] == mediatype.DOCKER_MANIFEST and "annotations" not in made
            assert made["config"]["digest"] == before["config"]["digest"]
            assert made["config"]["mediaType"] == mediatype.DOCKER_CONFIG
            assert [layer["digest"] for layer in made["layers"]] == [layer["digest"] for layer in before["layers"]]
            assert made["layers"][0]["mediaType"] == "application/vnd.docker.image.rootfs.diff.tar.gzip"
        again = Images(tmp_path / "again")
        back = CopyTask(dest(), again.layout, Wanted(conversion=Conversion(docker=False)), Spool(None))
        root = back.add(item.plan.root, {"v1": None}).plan.root
        back.apply()
        child = again.json(Descriptor.parse(again.json(root)["manifests"][1]))
        assert child == source.json(images[1])

    def test_what_has_the_format_keeps_its_digest(self, source: Images, dest: Make) -> None:
        root = source.index(source.image(AMD), source.attestation(source.image(AMD)), tags=["v1"])
        assert copy(source, dest, Wanted(conversion=Conversion(docker=False))).plan.root.digest == root.digest
        docker = source.index(source.image(AMD, docker=True), tags=["docker"], docker=True)
        assert copy(source, dest, Wanted(conversion=Conversion(docker=True)), "docker").plan.root.digest == docker.digest

    def test_what_docker_has_not(self, source: Images, dest: Make) -> None:
        image = source.image(AMD, tags=["v1"])
        referrer = source.referrer(image, "application/vnd.test")
        source.index(image, referrer, tags=["artifact"])
        with pytest.raises(InvalidError, match="is an artifact, which cannot be had in Docker's format"):
            plan(source, dest(), Wanted(conversion=Conversion(docker=True)), "artifact")
        source.image(AMD, tags=["attached"], subject=Descriptor(image.media_type, image.digest, image.size).to_json())
        with pytest.raises(InvalidError, match="has a subject"):
            plan(source, dest(), Wanted(conversion=Conversion(docker=True)), "attached")
        with pytest.raises(InvalidError, match="would be zstd"):
            plan(source, dest(), Wanted(conversion=Conversion(docker=True, compression="zstd")), "v1")

    @pytest.mark.parametrize("compression", ["zstd", "none"])
    def test_layers_compressed_anew(self, source: Images, dest: Make, compression: str) -> None:
        image = source.image(AMD, tar_of(more="layers"), tags=["v1"])
        item = copy(source, dest, Wanted(conversion=Conversion(compression=compression)))
        made = strictjson.load_object(dest().fetch_bytes(item.plan.root), "the manifest")
        suffix = {"zstd": "+zstd", "none": ""}[compression]
        assert [layer["mediaType"] for layer in made["layers"]] == [mediatype.OCI_LAYER + suffix] * 2
        assert made["config"] == source.json(image)["config"]
        if compression == "none":
            assert dest().fetch_bytes(Descriptor.parse(made["layers"][0])) == AMD

    def test_a_layer_that_the_destination_has_is_not_compressed_again(self, source: Images, dest: Make) -> None:
        source.image(AMD, tags=["v1"], annotations={"first": "1"})
        wanted = Wanted(conversion=Conversion(compression="zstd", level=1))
        first = copy(source, dest, wanted)
        source.image(AMD, tags=["v1"], annotations={"second": "2"})
        task = plan(source, dest(), Wanted(conversion=Conversion(compression="zstd", level=19)), "v1")
        layers = [desc for desc in first.plan.missing if desc.media_type == mediatype.OCI_LAYER_ZSTD]
        assert layers and [desc for desc in task.items[0].plan.missing if desc in layers] == []
        assert stats_of(task.items[0].plan).blobs_transferred == 0

    def test_a_layer_that_the_destination_has_lost_is_made_again(self, source: Images, tmp_path: pathlib.Path) -> None:
        source.image(AMD, tags=["v1"], annotations={"first": "1"})
        wanted = Wanted(conversion=Conversion(compression="zstd"))
        first = copy(source, lambda: Layout(str(tmp_path / "dest")), wanted)
        lost = next(desc for desc in first.plan.missing if desc.media_type == mediatype.OCI_LAYER_ZSTD)
        (tmp_path / "dest" / "blobs" / "sha256" / lost.digest.encoded).unlink()
        source.image(AMD, tags=["v1"], annotations={"second": "2"})
        item = copy(source, lambda: Layout(str(tmp_path / "dest")), wanted)
        assert lost in item.plan.missing

    def test_attestations_of_what_was_compressed_anew_stay_behind(self, source: Images, dest: Make) -> None:
        small = source.image(AMD, compression="none")
        packed = source.image(ARM, platform="linux/arm64")
        about = [source.attestation(small), source.attestation(packed)]
        source.index(small, packed, *about, tags=["v1"])
        item = copy(source, dest, Wanted(conversion=Conversion(compression="gzip")))
        assert item.dropped == (about[0],)
        entries = parse(item.plan.root, dest().fetch_bytes(item.plan.root)).manifests
        assert [desc.digest for desc in entries[1:]] == [packed.digest, about[1].digest]

    def test_a_layer_that_is_not_what_the_config_says(self, source: Images, dest: Make) -> None:
        image = source.json(source.image(AMD))
        other = source.json(source.image(ARM))
        source.document({"config": image["config"], "layers": other["layers"]}, mediatype.OCI_MANIFEST, ["v1"])
        with pytest.raises(MismatchError, match="its image's config says"):
            plan(source, dest(), Wanted(conversion=Conversion(compression="zstd")), "v1")


class TestReferrers:
    @pytest.fixture(name="signed")
    def _signed(self, source: Images) -> t.Dict[str, Descriptor]:
        images = [source.image(AMD), source.image(ARM, platform="linux/arm64")]
        root = source.index(*images, tags=["v1"])
        sbom = source.referrer(root, "application/sbom", annotations={"by": "somebody"})
        return {
            "root": root,
            "image": images[1],
            "sbom": sbom,
            "signature of the sbom": source.referrer(sbom, "application/signature"),
            "signature": source.referrer(images[1], "application/signature", "another"),
        }

    def test_all_of_them(self, source: Images, dest: Make, signed: t.Dict[str, Descriptor]) -> None:
        item = copy(source, dest, Wanted(referrers=True))
        assert {attached.referrer.digest for attached in item.attached} == {
            signed[name].digest for name in ("sbom", "signature of the sbom", "signature")
        }
        found = dest().referrers(signed["root"])
        assert [(desc.digest, desc.artifact_type, desc.annotations) for desc in found] == [
            (signed["sbom"].digest, "application/sbom", {"by": "somebody"})
        ]
        assert [desc.digest for desc in dest().referrers(signed["image"])] == [signed["signature"].digest]

    def test_not_unless_asked_for(self, source: Images, dest: Make, signed: t.Dict[str, Descriptor]) -> None:
        copy(source, dest)
        assert dest().referrers(signed["root"]) == [] and not dest().exists(signed["sbom"])

    def test_by_artifact_type(self, source: Images, dest: Make, signed: t.Dict[str, Descriptor]) -> None:
        item = copy(source, dest, Wanted(referrers=True, artifact_types=("application/sbom",)))
        kept = {signed[name].digest for name in ("sbom", "signature of the sbom")}
        assert {attached.referrer.digest for attached in item.attached} == kept
        assert not dest().exists(signed["signature"])

    def test_what_comes_later(self, source: Images, dest: Make, signed: t.Dict[str, Descriptor]) -> None:
        copy(source, dest, Wanted(referrers=True))
        late = source.referrer(signed["root"], "application/late")
        task = plan(source, dest(), Wanted(referrers=True), "v1")
        changed = [attached.referrer.digest for attached in task.items[0].attached if attached.plan.changed]
        assert changed == [late.digest] and not task.items[0].plan.changed and task.items[0].changed
        task.apply()
        assert {desc.digest for desc in dest().referrers(signed["root"])} == {signed["sbom"].digest, late.digest}

    @pytest.mark.parametrize("dest", ["folder"], indirect=True)  # a tar drops what nothing leads to
    def test_one_that_is_there_and_not_listed(self, source: Images, dest: Make, signed: t.Dict[str, Descriptor]) -> None:
        """A blob in the layout that index.json does not lead to."""
        copy(source, dest)
        content = source.layout.fetch_bytes(signed["sbom"])
        path = pathlib.Path(dest().path) / "blobs" / "sha256" / signed["sbom"].digest.encoded
        path.write_bytes(content)
        item = copy(source, dest, Wanted(referrers=True))
        assert item.attached[0].plan.unlisted and signed["sbom"].digest in {d.digest for d in dest().referrers(signed["root"])}

    def test_lists_under_fallback_tags(self, source: Images, dest: Make) -> None:
        """As regctl writes them: read, and kept where the destination has them."""
        root = source.image(AMD, tags=["v1"])
        first = source.referrer(root, "application/one", listed=False)
        source.put(index_of([first]), mediatype.OCI_INDEX, [fallback_tag(root.digest)])
        copy(source, dest, Wanted(referrers=True))
        assert [desc.digest for desc in dest().referrers(root)] == [first.digest]
        assert dest().lookup(fallback_tag(root.digest)) is None
        copy(source, dest, Wanted(), fallback_tag(root.digest))
        second = source.referrer(root, "application/two")
        copy(source, dest, Wanted(referrers=True))
        listing = dest().resolve(fallback_tag(root.digest))
        entries = parse(listing, dest().fetch_bytes(listing)).manifests
        assert [(desc.digest, desc.artifact_type) for desc in entries][1:] == [(second.digest, "application/two")]

    def test_with_platforms(self, source: Images, dest: Make, signed: t.Dict[str, Descriptor]) -> None:
        item = copy(source, dest, Wanted(referrers=True, platforms=platforms("linux/arm64")))
        assert [attached.referrer.digest for attached in item.attached] == [signed["signature"].digest]

    def test_in_a_circle(self, source: Images, dest: Make) -> None:
        """What is attached to one of two that are attached to the same: each is looked at once."""
        root = source.image(AMD, tags=["v1"])
        first = source.referrer(root, "application/one")
        subject = Descriptor(root.media_type, root.digest, root.size).to_json()
        second = source.document({"manifests": [first.to_json()], "subject": subject}, mediatype.OCI_INDEX, listed=True)
        item = copy(source, dest, Wanted(referrers=True))
        assert {attached.referrer.digest for attached in item.attached} == {first.digest, second.digest}
        assert len(item.attached) == 2

    def test_digest_tags(self, source: Images, dest: Make) -> None:
        root = source.image(AMD, tags=["v1"])
        name = f"sha256-{root.digest.encoded}.sig"
        signature = source.image(tar_of(signature="x"), tags=[name])
        source.image(tar_of(signature="y"), tags=[f"sha256-{'0' * 64}.sig"])
        item = copy(source, dest, Wanted(digest_tags=True))
        assert dest().resolve(name).digest == signature.digest and dest().names() == sorted([name, "v1"])
        assert [attached.subject.digest for attached in item.attached] == [root.digest]

    def test_not_with_another_digest(self) -> None:
        for conversion in (Conversion(docker=True), Conversion(compression="gzip")):
            with pytest.raises(InvalidError, match="referrers belong to the digest"):
                Wanted(referrers=True, conversion=conversion).check()
        with pytest.raises(InvalidError, match="needs referrers"):
            Wanted(artifact_types=("a/b",)).check()


class TestManyTags:
    def test_what_they_share_is_transferred_once(self, source: Images, dest: Make) -> None:
        shared = tar_of(base="shared")
        for tag in ("v1", "v2"):
            source.image(shared, tar_of(tag=tag), tags=[tag])
        source.image(shared, tar_of(tag="v1"), tags=["same-as-v1"])
        task = plan(source, dest(), Wanted(), "v1", "v2", "same-as-v1")
        stats = [stats_of(item.plan) for item in task.items]
        assert [(one.blobs_transferred, one.blobs_present) for one in stats] == [(3, 0), (2, 1), (0, 0)]
        assert stats_of([item.plan for item in task.items]).blobs_transferred == 5
        copy(source, dest, Wanted(), "v1", "v2", "same-as-v1")
        assert sorted(dest().names()) == ["same-as-v1", "v1", "v2"]

    def test_prune(self, source: Images, dest: Make) -> None:
        for tag in ("v1", "v2", "old", "other"):
            source.image(tar_of(tag=tag), tags=[tag])
        copy(source, dest, Wanted(), "v1", "v2", "old", "other")
        source.layout.untag("old")
        task = plan(source, dest(), Wanted(), "v1", "v2")
        matches = parse_filter("v.*|old")
        before = dest().resolve("old").digest
        task.prune(matches)
        assert task.pruned == {"old": before} and task.changed
        task.apply()
        assert sorted(dest().names()) == ["other", "v1", "v2"]

    def test_prune_of_nothing(self, source: Images, dest: Make) -> None:
        source.image(AMD, tags=["v1"])
        task = plan(source, dest(), Wanted(), "v1")
        task.prune(parse_filter(None))
        assert task.pruned == {}

    def test_lists_of_referrers_are_no_tags(self) -> None:
        matches = parse_filter(None)
        assert matches("v1") and matches(f"sha256-{'a' * 64}.sig") and not matches(f"sha256-{'a' * 64}")


def test_a_tag_that_must_not_move(source: Images, dest: Make) -> None:
    source.image(AMD, tags=["v1"])
    copy(source, dest, Wanted(force_tag=False))
    source.image(ARM, tags=["v1"])
    with pytest.raises(InvalidError, match=r"the tag v1 names sha256:.* and would be moved to sha256:.* \(force_tag=false\)"):
        plan(source, dest(), Wanted(force_tag=False), "v1")


def test_nondistributable_layers_by_option(source: Images, dest: Make) -> None:
    config = source.put(b'{"rootfs":{"type":"layers","diff_ids":[]}}', mediatype.OCI_CONFIG)
    foreign = source.put(b"windows", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    source.document({"config": config.to_json(), "layers": [foreign.to_json()]}, mediatype.OCI_MANIFEST, ["v1"])
    item = copy(source, dest)
    assert item.plan.skipped == (foreign,) and not dest().exists(foreign)
    source.document({"config": config.to_json(), "layers": [foreign.to_json()], "annotations": {}}, mediatype.OCI_MANIFEST, ["v1"])
    item = copy(source, dest, Wanted(CopyOptions(nondistributable=True)))
    assert item.plan.skipped == () and dest().fetch_bytes(foreign) == b"windows"


class TestRepairs:
    DEEP = Wanted(CopyOptions(deep=True))

    @pytest.fixture(name="copied")
    def _copied(self, source: Images, dest: Make) -> t.List[Descriptor]:
        source.index(source.image(AMD, tar_of(more="content")), source.image(ARM, platform="linux/arm64"), tags=["v1"])
        return list(copy(source, dest).plan.missing)

    def _damage(self, dest: Make, desc: Descriptor) -> None:
        store = dest()
        if isinstance(store, Layout):
            path = pathlib.Path(store.path) / "blobs" / "sha256" / desc.digest.encoded
            path.chmod(0o644)
            path.write_bytes(bytes(desc.size))
        else:
            path = pathlib.Path(store.path)
            path.write_bytes(path.read_bytes().replace(store.fetch_bytes(desc), bytes(desc.size)))

    def test_every_blob_and_manifest(self, source: Images, dest: Make, copied: t.List[Descriptor]) -> None:
        for desc in copied:
            self._damage(dest, desc)
            ordinary = plan(source, dest(), Wanted(), "v1")
            assert ordinary.changed == mediatype.is_manifest(desc.media_type), "an ordinary run does not hash what a manifest vouches for"
            task = plan(source, dest(), self.DEEP, "v1")
            assert task.items[0].plan.missing == (desc,) and task.items[0].plan.damaged == {desc.digest}
            task.apply()
            verify(dest(), source.layout.resolve("v1"))
            assert not plan(source, dest(), self.DEEP, "v1").changed

    @pytest.mark.parametrize("options", [CopyOptions(), CopyOptions(deep=True)], ids=["ordinary", "deep"])
    def test_lost_and_shortened(self, source: Images, tmp_path: pathlib.Path, options: CopyOptions) -> None:
        source.index(source.image(AMD), tags=["v1"])
        copied = copy(source, lambda: Layout(str(tmp_path / "dest"))).plan.missing
        blobs = tmp_path / "dest" / "blobs" / "sha256"
        (blobs / copied[0].digest.encoded).unlink()
        (blobs / copied[1].digest.encoded).write_bytes(b"short")
        task = plan(source, Layout(str(tmp_path / "dest")), Wanted(options), "v1")
        assert set(task.items[0].plan.missing) == set(copied[:2])
        task.apply()
        verify(Layout(str(tmp_path / "dest")), source.layout.resolve("v1"))

    def test_what_something_new_will_name_is_hashed(self, source: Images, dest: Make) -> None:
        source.image(AMD, tar_of(more="content"), tags=["v1"])
        layer = copy(source, dest).plan.missing[-2]
        self._damage(dest, layer)
        source.image(AMD, tar_of(more="content"), tags=["v1"], annotations={"another": "manifest"})
        item = copy(source, dest)
        assert layer in item.plan.missing and item.plan.damaged == {layer.digest}
        verify(dest(), source.layout.resolve("v1"))

    def test_what_nobody_has_is_left_alone(self, source: Images) -> None:
        lost = source.image(ARM, platform="linux/arm64")
        source.index(source.image(AMD), lost, tags=["v1"])
        pathlib.Path(source.layout.path, "blobs", "sha256", lost.digest.encoded).unlink()
        apply_copy(plan_copy(source.layout, source.layout.resolve("v1"), source.layout, ["v2"]), source.layout, source.layout)
        assert Layout(source.layout.path).resolve("v2") == source.layout.resolve("v1")

    def test_referrers_too(self, source: Images, dest: Make, copied: t.List[Descriptor]) -> None:
        referrer = source.referrer(source.layout.resolve("v1"), "application/sbom", "the SBOM itself")
        wanted = Wanted(CopyOptions(deep=True), referrers=True)
        copy(source, dest, wanted)
        layer = parse(referrer, source.layout.fetch_bytes(referrer)).layers[0]
        self._damage(dest, layer)
        copy(source, dest, wanted)
        verify(dest(), referrer)

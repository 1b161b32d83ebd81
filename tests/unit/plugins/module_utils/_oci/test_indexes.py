# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""indexes and index_entries: what an index is made of, and what changing one entry does to the others."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Overlay
from ansible_collections.lading.oci.plugins.module_utils._oci.indexes import Addition, IndexBuilder, Removal
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource

Document = t.Dict[str, t.Any]
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


class Made(MemorySource):
    """Images, and indexes of them."""

    def image(self, platform: str, salt: str = "", media_type: str = mediatype.OCI_MANIFEST, **config: t.Any) -> Descriptor:
        parts = platform.split("/")
        stated = {"os": parts[0], "architecture": parts[1], **({"variant": parts[2]} if parts[2:] else {}), **config}
        document = {**stated, "rootfs": {"type": "layers", "diff_ids": []}, "salt": salt}
        config_type = mediatype.converted(mediatype.OCI_CONFIG, media_type == mediatype.DOCKER_MANIFEST)
        config_desc = self.add(strictjson.dumps(document), config_type)
        return self.document(media_type, {"config": config_desc.to_json(), "layers": []})

    def attestation(self, of: Descriptor) -> Descriptor:
        made = self.artifact(self.add(f"about {of.digest}".encode()), artifactType="application/x")
        annotations = {"vnd.docker.reference.digest": str(of.digest), "vnd.docker.reference.type": "attestation-manifest"}
        return Descriptor(made.media_type, made.digest, made.size, annotations, platform={"architecture": "unknown", "os": "unknown"})

    def entry(self, platform: str, salt: str = "", **annotations: str) -> Descriptor:
        """An image as another index has it."""
        image, stated = self.image(platform, salt), Platform.parse(platform).to_json()
        return Descriptor(image.media_type, image.digest, image.size, annotations, platform=stated)

    def attested(self, *platforms: str, salt: str = "") -> Descriptor:
        images = [self.entry(platform, salt) for platform in platforms]
        return self.index(*images, *map(self.attestation, images))

    def build(self, *changes: t.Union[Addition, Removal], **options: t.Any) -> Descriptor:
        overlay = Overlay(self)
        root = IndexBuilder(overlay, overlay).build(changes, options.pop("annotations", {}), **options)
        self.contents[root.digest] = overlay.fetch_bytes(root)
        return root

    def read(self, root: Descriptor) -> Document:
        return json.loads(self.contents[root.digest])

    def digests(self, root: Descriptor) -> t.List[str]:
        return [entry["digest"] for entry in self.read(root)["manifests"]]

    def platforms(self, root: Descriptor) -> t.List[t.Optional[str]]:
        return [str(Platform.from_json(entry["platform"])) if "platform" in entry else None for entry in self.read(root)["manifests"]]


@pytest.fixture(name="made")
def _made() -> Made:
    return Made()


def added(number: int, root: Descriptor, platform: t.Optional[str] = None, **more: t.Any) -> Addition:
    return Addition(number, f"manifests[{number}]", root, Platform.parse(platform) if platform else None, **more)


class TestNew:
    def test_the_document(self, made: Made) -> None:
        one, two = made.image("linux/amd64"), made.image("linux/arm/v7")
        items = [added(0, one), added(1, two, annotations={"a": "b"})]
        root = made.build(*items, annotations={"y": "1", "x": "2"}, artifact_type="application/vnd.example.v1")
        assert made.contents[root.digest].decode() == (
            '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","artifactType":"application/vnd.example.v1",'
            f'"manifests":[{{"mediaType":"{one.media_type}","digest":"{one.digest}","size":{one.size},'
            '"platform":{"architecture":"amd64","os":"linux"}},'
            f'{{"mediaType":"{two.media_type}","digest":"{two.digest}","size":{two.size},"annotations":{{"a":"b"}},'
            '"platform":{"architecture":"arm","os":"linux","variant":"v7"}}],"annotations":{"x":"2","y":"1"}}'
        )
        assert made.build(*items, annotations={"x": "2", "y": "1"}, artifact_type="application/vnd.example.v1") == root

    @pytest.mark.parametrize(
        "platform, more, stated",
        [
            (
                "windows/amd64",
                {"os.version": "10.0.20348", "os.features": ["win32k"]},
                {"architecture": "amd64", "os": "windows", "os.version": "10.0.20348", "os.features": ["win32k"]},
            ),
            ("linux/arm64/v8", {}, {"architecture": "arm64", "os": "linux", "variant": "v8"}),
            ("linux/x86_64", {"os.version": 5, "os.features": [5]}, {"architecture": "amd64", "os": "linux"}),
            ("linux/armhf", {"variant": 5}, {"architecture": "arm", "os": "linux", "variant": "v7"}),
            ("unknown/unknown", {}, None),
        ],
    )
    def test_the_platform_is_that_of_the_config(self, made: Made, platform: str, more: Document, stated: t.Optional[Document]) -> None:
        root = made.build(added(0, made.image(platform, **more)))
        assert made.read(root)["manifests"][0].get("platform") == stated

    def test_a_given_platform_is_written_instead(self, made: Made) -> None:
        image = made.image("linux/amd64")
        root = made.build(added(0, image, "linux/amd64"), added(1, image, "linux/riscv64"))
        assert made.platforms(root) == ["linux/amd64", "linux/riscv64"] and made.digests(root) == [image.digest] * 2

    def test_what_is_broken_is_named(self, made: Made) -> None:
        config = made.add(b"[]", mediatype.OCI_CONFIG)
        with pytest.raises(InvalidError, match=rf"^manifests\[3\]: config {config.digest} is not a JSON object$"):
            made.build(added(3, made.artifact(config=config)))

    def test_names_of_the_source_are_left_there(self, made: Made) -> None:
        image = made.image("linux/amd64")
        named = Descriptor(image.media_type, image.digest, image.size, {"org.opencontainers.image.ref.name": "v1"})
        assert "annotations" not in made.read(made.build(added(0, named)))["manifests"][0]

    def test_docker_images_stay_as_they_are(self, made: Made) -> None:
        image = made.image("linux/amd64", media_type=mediatype.DOCKER_MANIFEST)
        root = made.build(added(0, image))
        assert root.media_type == mediatype.OCI_INDEX and made.platforms(root) == ["linux/amd64"]
        assert made.read(root)["manifests"][0]["mediaType"] == mediatype.DOCKER_MANIFEST

    def test_an_artifact_has_a_type_and_no_platform(self, made: Made) -> None:
        typed = made.artifact(made.add(b"1"), artifactType="application/vnd.example.v1")
        older = made.artifact(made.add(b"2"), config=made.add(b"{}", "application/vnd.config.v1"))
        entries = made.read(made.build(added(0, typed), added(1, older)))["manifests"]
        assert [entry["artifactType"] for entry in entries] == ["application/vnd.example.v1", "application/vnd.config.v1"]
        assert not any("platform" in entry for entry in entries)

    def test_the_same_platform_twice(self, made: Made) -> None:
        one, two = made.image("linux/arm64"), made.image("linux/arm64/v8")
        with pytest.raises(InvalidError, match=r"manifests\[0\] and manifests\[1\] are both for linux/arm64, with different content"):
            made.build(added(0, one), added(1, two))
        assert made.digests(made.build(added(0, one), added(1, one))) == [one.digest]
        versions = [made.image("windows/amd64", **{"os.version": version}) for version in ("10.0.17763.1", "10.0.20348.1")]
        assert made.digests(made.build(*(added(number, image) for number, image in enumerate(versions)))) == [v.digest for v in versions]

    def test_an_index_of_nothing(self, made: Made) -> None:
        with pytest.raises(InvalidError, match="no entry would be in the index"):
            made.build(added(0, made.index()))


class TestIndexes:
    def test_all_entries_are_taken_images_first(self, made: Made) -> None:
        one, two = made.attested("linux/amd64", "linux/arm64"), made.attested("linux/s390x")
        root = made.build(added(0, one), added(1, two))
        assert made.digests(root) == [*made.digests(one)[:2], made.digests(two)[0], *made.digests(one)[2:], made.digests(two)[1]]
        assert made.platforms(root) == ["linux/amd64", "linux/arm64", "linux/s390x"] + ["unknown/unknown"] * 3

    def test_entries_are_taken_as_they_are_written(self, made: Made) -> None:
        entry = {**made.entry("linux/amd64", note="theirs").to_json(), "urls": ["https://example.com/x"], "org.example": 1}
        index = made.document(mediatype.DOCKER_LIST, {"manifests": [entry]})
        assert made.read(made.build(added(0, index)))["manifests"] == [entry]
        annotated = made.build(added(0, index, annotations={"mine": "too"}))
        assert made.read(annotated)["manifests"] == [{**entry, "annotations": {"note": "theirs", "mine": "too"}}]

    def test_attestations_get_no_annotations(self, made: Made) -> None:
        index = made.attested("linux/amd64")
        entries = made.read(made.build(added(0, index, annotations={"a": "b"})))["manifests"]
        assert entries[0]["annotations"] == {"a": "b"} and "a" not in entries[1]["annotations"]

    def test_one_platform_with_its_attestations(self, made: Made) -> None:
        index = made.attested("linux/arm/v6", "linux/arm64", "linux/amd64")
        digests = made.digests(index)
        assert made.digests(made.build(added(0, index, "linux/arm64"))) == [digests[1], digests[4]]
        fitting = made.build(added(0, index, "linux/arm/v7"))
        assert made.digests(fitting) == [digests[0], digests[3]] and made.platforms(fitting)[0] == "linux/arm/v6"
        with pytest.raises(NotFoundError, match=r"manifests\[0\]: the index has nothing for linux/s390x \(it has linux/arm/v6, linux/ar"):
            made.build(added(0, index, "linux/s390x"))

    def test_one_platform_of_an_image_for_several(self, made: Made) -> None:
        image = made.image("linux/amd64")
        both = [Descriptor(image.media_type, image.digest, image.size, platform=p.to_json()) for p in (AMD64, ARM64)]
        index = made.index(*both, made.attestation(image))
        assert made.platforms(made.build(added(0, index, "linux/arm64"))) == ["linux/arm64", "unknown/unknown"]

    def test_nested(self, made: Made) -> None:
        index = made.attested("linux/amd64")
        root = made.build(added(0, index, nested=True, annotations={"a": "b"}), added(1, made.image("linux/amd64")))
        assert made.read(root)["manifests"][0] == {**index.to_json(), "annotations": {"a": "b"}}
        assert made.platforms(root) == [None, "linux/amd64"]

    def test_one_platform_several_times_in_one_index(self, made: Made) -> None:
        """As skopeo's images with a zstd twin."""
        index = made.index(made.entry("linux/amd64", "gzip"), made.entry("linux/amd64", "zstd"), made.entry("linux/arm64"))
        root = made.build(added(0, index))
        assert made.digests(root) == made.digests(index)
        assert made.build(added(0, index), current=root) == root
        single = made.build(added(0, made.image("linux/amd64", "new")), current=root)
        assert made.platforms(single) == ["linux/amd64", "linux/arm64"]
        assert made.digests(made.build(added(0, index), current=single)) == made.digests(index)

    def test_an_entry_that_is_listed_twice(self, made: Made) -> None:
        entry, artifact = made.entry("linux/amd64"), made.artifact(made.add(b"1"))
        index = made.index(entry, entry, artifact, artifact, made.entry("linux/arm64"))
        root = made.build(added(0, index))
        assert made.digests(root) == made.digests(index)
        assert made.build(added(0, index), current=root) == root
        assert made.platforms(made.build(added(0, made.image("linux/amd64")), current=root)) == ["linux/amd64", None, None, "linux/arm64"]


class TestAppend:
    def test_one_more(self, made: Made) -> None:
        current = made.attested("linux/amd64")
        root = made.build(added(0, made.image("linux/arm64")), current=current)
        assert made.platforms(root) == ["linux/amd64", "linux/arm64", "unknown/unknown"]
        assert made.build(added(0, made.image("linux/arm64")), current=root) == root

    def test_a_platform_is_replaced_with_its_attestations(self, made: Made) -> None:
        current = made.attested("linux/amd64", "linux/arm64", "linux/s390x")
        old, new = made.digests(current), made.attested("linux/arm64", salt="new")
        root = made.build(added(0, new), current=current)
        assert made.digests(root) == [old[0], made.digests(new)[0], old[2], old[3], old[5], made.digests(new)[1]]
        assert made.build(added(0, new), current=root) == root

    def test_a_single_image_is_the_first_entry(self, made: Made) -> None:
        current, other = made.image("linux/amd64"), made.image("linux/arm64")
        assert made.digests(made.build(added(0, other), current=current)) == [current.digest, other.digest]
        assert made.digests(made.build(added(0, current), current=current)) == [current.digest]

    def test_removal(self, made: Made) -> None:
        current = made.attested("linux/amd64", "linux/arm64")
        digests = made.digests(current)
        root = made.build(Removal(ARM64), current=current)
        assert made.digests(root) == [digests[0], digests[2]]
        assert made.build(Removal(ARM64), current=root) == root
        with pytest.raises(InvalidError, match="no entry would be in the index"):
            made.build(Removal(AMD64), current=root)

    def test_an_attestation_stays_while_its_image_does(self, made: Made) -> None:
        image = made.image("linux/amd64")
        again = [Descriptor(image.media_type, image.digest, image.size, platform=p.to_json()) for p in (AMD64, ARM64)]
        current = made.index(*again, made.attestation(image))
        assert made.platforms(made.build(Removal(ARM64), current=current)) == ["linux/amd64", "unknown/unknown"]

    def test_what_we_do_not_know_is_kept(self, made: Made) -> None:
        subject = made.image("linux/amd64", "subject")
        fields = {"manifests": [made.entry("linux/amd64").to_json()], "subject": subject.to_json(), "org.example": {"a": 1}}
        current = made.document(mediatype.OCI_INDEX, {**fields, "artifactType": "application/x", "annotations": {"b": "1", "a": "1"}})
        root = made.build(added(0, made.image("linux/arm64")), current=current, annotations={"b": "2"})
        document = made.read(root)
        assert document["org.example"] == {"a": 1} and document["subject"] == subject.to_json()
        assert document["artifactType"] == "application/x" and document["annotations"] == {"a": "1", "b": "2"}

    def test_the_bytes_stay_when_nothing_differs(self, made: Made) -> None:
        """Indented, in an order of its own and without a mediaType, as other tools write it."""
        entry = made.entry("linux/amd64")
        content = json.dumps({"manifests": [entry.to_json()], "schemaVersion": 2}, indent=3).encode()
        current = made.add(content, mediatype.OCI_INDEX)
        assert made.build(added(0, made.image("linux/amd64")), current=current) is current
        assert made.build(added(0, made.image("linux/amd64")), current=current, annotations={"a": "b"}) != current

    def test_without_current_nothing_is_kept(self, made: Made) -> None:
        assert made.platforms(made.build(added(0, made.image("linux/arm64")))) == ["linux/arm64"]

    def test_many_entries(self, made: Made) -> None:
        """The time grows with the entries, not with their square: an index of 4 MiB, written by others, holds 20,000."""
        entry = made.entry("linux/amd64").to_json()
        entries = [{**entry, "digest": f"sha256:{number:064x}"} for number in range(3_000)]
        index = made.document(mediatype.OCI_INDEX, {"manifests": entries})
        root = made.build(added(0, index))
        started = time.process_time()
        assert made.build(added(0, index), current=root) == root
        assert made.platforms(made.build(added(0, made.image("linux/amd64")), current=root)) == ["linux/amd64"]
        assert time.process_time() - started < 20

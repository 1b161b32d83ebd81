# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Target
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import Planner, apply_copy, plan_copy, stats_of
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, MismatchError, OCIError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import BLOB, image, store
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

Make = t.Callable[[str], Target]
LAYER = Descriptor.of(BLOB, mediatype.OCI_LAYER)


@pytest.fixture(name="source")
def _source(tmp_path: pathlib.Path) -> Layout:
    layout = Layout(str(tmp_path / "source"))
    store(layout, ["v1"], BLOB, b"second layer")
    return layout


@pytest.fixture(name="make", params=["folder", "tar"])
def _make(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Make:
    suffix, store_class = (".tar", Archive) if request.param == "tar" else ("", Layout)
    return lambda name: t.cast(Target, store_class(str(tmp_path / (name + suffix))))


def put_document(layout: Layout, document: t.Dict[str, t.Any], media_type: str) -> Descriptor:
    """Write a document straight into the layout's folder, tagged ``root``, whatever it refers to."""
    content = strictjson.dumps({"schemaVersion": 2, "mediaType": media_type, **document})
    desc = Descriptor.of(content, media_type)
    path = pathlib.Path(layout.path)
    (path / "blobs" / "sha256" / desc.digest.encoded).write_bytes(content)
    index = json.loads((path / "index.json").read_text())
    index["manifests"].append({**desc.to_json(), "annotations": {"org.opencontainers.image.ref.name": "root"}})
    (path / "index.json").write_text(json.dumps(index))
    return desc


def test_the_plan_says_what_the_run_transfers(source: Layout, make: Make) -> None:
    root = source.resolve("v1")
    plan = plan_copy(source, root, make("dest"), ["v1"])
    assert plan.changed and plan.current == {"v1": None}
    planned = stats_of(plan)
    assert stats_of(plan, apply_copy(plan, source, make("dest"))) == planned
    assert planned.blobs_transferred == 3 and planned.manifests_transferred == 1 and planned.blobs_present == 0
    assert planned.bytes_transferred == sum(desc.size for desc in plan.missing)
    again = plan_copy(source, root, make("dest"), ["v1"])
    assert not again.changed and stats_of(again).bytes_transferred == 0


def test_planning_writes_nothing(source: Layout, make: Make, tmp_path: pathlib.Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    plan_copy(source, source.resolve("v1"), make("dest"), ["v1"])
    assert sorted(tmp_path.rglob("*")) == before


def test_only_what_is_missing_is_read(source: Layout, make: Make) -> None:
    store(make("dest"), ["other"], BLOB)
    plan = plan_copy(source, source.resolve("v1"), make("dest"), ["v1"])
    assert LAYER in plan.present and LAYER not in plan.missing
    os.unlink(os.path.join(source.path, "blobs", "sha256", LAYER.digest.encoded))
    apply_copy(plan, source, make("dest"))
    assert make("dest").fetch_bytes(LAYER) == BLOB


def test_a_stored_manifest_needs_no_descent(source: Layout, make: Make) -> None:
    root = source.resolve("v1")
    apply_copy(plan_copy(source, root, make("dest"), ["v1"]), source, make("dest"))
    plan = plan_copy(source, root, make("dest"), ["v1", "v2"])
    assert plan.missing == () and plan.moving == ("v2",) and plan.changed
    apply_copy(plan, source, make("dest"))
    assert make("dest").resolve("v2") == root


def test_a_moved_tag_says_where_it_was(source: Layout, make: Make) -> None:
    old = store(make("dest"), ["v1"], b"old")
    plan = plan_copy(source, source.resolve("v1"), make("dest"), ["v1"])
    assert plan.current == {"v1": old} and plan.moving == ("v1",)


def test_an_index_brings_all_its_children(source: Layout, make: Make) -> None:
    first = source.resolve("v1")
    second = store(source, [], b"arm layer")
    inner = put_document(source, {"manifests": [second.to_json()]}, mediatype.OCI_INDEX)
    leaf = Descriptor.of(b"<xml/>", "application/xml")
    (pathlib.Path(source.path) / "blobs" / "sha256" / leaf.digest.encoded).write_bytes(b"<xml/>")
    outer = put_document(source, {"manifests": [first.to_json(), inner.to_json(), leaf.to_json()]}, mediatype.DOCKER_LIST)
    plan = plan_copy(source, outer, make("dest"), ["multi"])
    apply_copy(plan, source, make("dest"))
    order = list(plan.missing)
    assert order.index(second) < order.index(inner) < order.index(outer)
    for desc in (first, second, inner, outer, leaf, Descriptor.of(b"arm layer", mediatype.OCI_LAYER)):
        assert make("dest").fetch_bytes(desc) == source.fetch_bytes(desc)


def test_the_subject_is_not_a_child(source: Layout, make: Make) -> None:
    config = Descriptor.of(b"{}", mediatype.OCI_EMPTY)
    (pathlib.Path(source.path) / "blobs" / "sha256" / config.digest.encoded).write_bytes(b"{}")
    absent = Descriptor.of(b"absent", mediatype.OCI_MANIFEST)
    root = put_document(source, {"config": config.to_json(), "layers": [], "subject": absent.to_json()}, mediatype.OCI_MANIFEST)
    plan = plan_copy(source, root, make("dest"), ["attached"])
    assert absent not in plan.missing
    apply_copy(plan, source, make("dest"))
    assert make("dest").resolve("attached") == root


def test_nondistributable_layers_stay_behind(source: Layout, make: Make) -> None:
    config = Descriptor.of(b"{}", mediatype.OCI_EMPTY)
    (pathlib.Path(source.path) / "blobs" / "sha256" / config.digest.encoded).write_bytes(b"{}")
    foreign = Descriptor.of(b"windows", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    root = put_document(source, {"config": config.to_json(), "layers": [foreign.to_json()]}, mediatype.OCI_MANIFEST)
    plan = plan_copy(source, root, make("dest"), ["win"])
    assert plan.skipped == (foreign,) and foreign not in plan.missing
    apply_copy(plan, source, make("dest"))
    assert make("dest").resolve("win") == root and not make("dest").exists(foreign)


def test_wrong_content_ends_the_copy_and_names_nothing(source: Layout, make: Make) -> None:
    victim = pathlib.Path(source.path) / "blobs" / "sha256" / LAYER.digest.encoded
    victim.write_bytes(b"x" * LAYER.size)
    plan = plan_copy(source, source.resolve("v1"), make("dest"), ["v1"])
    with pytest.raises(MismatchError, match="another digest"):
        apply_copy(plan, source, make("dest"))
    assert make("dest").lookup("v1") is None and not make("dest").exists(LAYER)


class TestFromARegistry:
    @pytest.fixture(name="registry")
    def _registry(self) -> t.Iterator[fake.FakeRegistry]:
        registry = fake.FakeRegistry()
        store(fake.Harness(registry).repository(), ["v1"], BLOB, b"second layer")
        registry.seen.clear()
        yield registry
        registry.close()

    def damage(self, registry: fake.FakeRegistry, times: int) -> None:
        registry.fault("GET", f"/blobs/{LAYER.digest}", fake.answer(200, {}, b"x" * len(BLOB)), times=times)

    def test_a_blob_that_was_damaged_once_is_asked_for_once_more(self, registry: fake.FakeRegistry, make: Make) -> None:
        source = fake.Harness(registry).repository()
        self.damage(registry, 1)
        apply_copy(plan_copy(source, source.resolve("v1"), make("dest"), ["v1"]), source, make("dest"))
        assert make("dest").fetch_bytes(LAYER) == BLOB
        assert len(registry.asked("GET", LAYER.digest)) == 2

    def test_a_blob_that_is_wrong_is_not_asked_for_again_and_again(self, registry: fake.FakeRegistry, make: Make) -> None:
        source = fake.Harness(registry).repository()
        self.damage(registry, 9)
        with pytest.raises(MismatchError, match="another digest"):
            apply_copy(plan_copy(source, source.resolve("v1"), make("dest"), ["v1"]), source, make("dest"))
        assert len(registry.asked("GET", LAYER.digest)) == 2
        assert make("dest").lookup("v1") is None

    def test_a_manifest_that_is_none_says_where_it_is(self, registry: fake.FakeRegistry, make: Make) -> None:
        source = fake.Harness(registry).repository()
        source.location = "source of the test"
        root = source.resolve("v1")
        with pytest.raises(InvalidError, match="^source of the test: manifest .* says mediaType"):
            plan_copy(source, Descriptor(mediatype.OCI_INDEX, root.digest, root.size), make("dest"), ["v1"])


class TestToARegistryThatDoesNotKnowTheRepository:
    LAYERS = [b"layer %d" % number for number in range(40)]

    @pytest.fixture(name="registry")
    def _registry(self) -> t.Iterator[fake.FakeRegistry]:
        registry = fake.FakeRegistry()
        yield registry
        registry.close()

    @pytest.fixture(name="many")
    def _many(self, tmp_path: pathlib.Path) -> Layout:
        layout = Layout(str(tmp_path / "many"))
        store(layout, ["v1"], *self.LAYERS)
        return layout

    def copy(self, many: Layout, registry: fake.FakeRegistry) -> t.Tuple[int, int]:
        """How many of its blobs were looked up, and how many were sent."""
        registry.seen.clear()
        target = fake.Harness(registry).repository()
        apply_copy(plan_copy(many, many.resolve("v1"), target, ["v1"]), many, target)
        return len(registry.asked("HEAD", "/blobs/")), len(registry.asked("PUT", "/blobs/uploads/"))

    def test_after_the_first_blobs_it_is_asked_once_whether_it_knows_it(self, many: Layout, registry: fake.FakeRegistry) -> None:
        assert self.copy(many, registry) == (16, 41)
        assert len(registry.asked("GET", "/tags/list")) == 1
        target = fake.Harness(registry).repository()
        assert all(target.fetch_bytes(Descriptor.of(layer, mediatype.OCI_LAYER)) == layer for layer in self.LAYERS)

    def test_what_a_copy_that_broke_off_has_left_is_not_sent_again(self, many: Layout, registry: fake.FakeRegistry) -> None:
        for layer in self.LAYERS[:21]:
            registry.add_blob(layer)
        assert self.copy(many, registry) == (41, 20)
        assert not registry.asked("GET", "/tags/list")

    @pytest.mark.parametrize("status, body", [(200, b'{"tags":null}'), (404, b'{"errors":[{"code":"NOT_FOUND"}]}'), (405, b""), (404, b"")])
    def test_any_other_answer_than_that_it_is_unknown_says_nothing(
        self, many: Layout, registry: fake.FakeRegistry, status: int, body: bytes
    ) -> None:
        registry.fault("GET", "/tags/list", fake.answer(status, {"Content-Type": "application/json"}, body), times=9)
        assert self.copy(many, registry) == (41, 41)

    def test_manifests_that_are_missing_say_nothing_of_blobs(self, registry: fake.FakeRegistry) -> None:
        planner = Planner(fake.Harness(registry).repository())
        for number in range(20):
            assert not planner.has_manifest(Descriptor.of(b"%d" % number, mediatype.OCI_MANIFEST))
        registry.add_blob(self.LAYERS[0])
        layers = [Descriptor.of(layer, mediatype.OCI_LAYER) for layer in self.LAYERS]
        assert planner.stored(layers) == {layers[0].digest}
        assert not registry.asked("GET", "/tags/list")

    def test_few_blobs_are_looked_up_without_that_question(self, source: Layout, registry: fake.FakeRegistry) -> None:
        self.copy(source, registry)
        assert not registry.asked("GET", "/tags/list")


def test_a_missing_child_is_an_error(source: Layout, make: Make) -> None:
    absent = Descriptor.of(b"absent", mediatype.OCI_MANIFEST)
    root = put_document(source, {"manifests": [absent.to_json()]}, mediatype.OCI_INDEX)
    with pytest.raises(OCIError, match="no such file"):
        plan_copy(source, root, make("dest"), ["v1"])


def test_deep_nesting_is_refused(source: Layout, make: Make) -> None:
    desc = source.resolve("v1")
    for _level in range(40):
        desc = put_document(source, {"manifests": [desc.to_json()]}, mediatype.OCI_INDEX)
    with pytest.raises(InvalidError, match="deeper than"):
        plan_copy(source, desc, make("dest"), ["v1"])


def test_each_digest_is_visited_once(source: Layout, make: Make) -> None:
    desc = source.resolve("v1")
    for _level in range(18):
        desc = put_document(source, {"manifests": [desc.to_json()] * 8}, mediatype.OCI_INDEX)
    plan = plan_copy(source, desc, make("dest"), ["v1"])
    assert len(plan.missing) == 18 + 4


def test_the_digest_of_a_tag_is_what_was_planned(source: Layout, make: Make) -> None:
    plan = plan_copy(source, source.resolve("v1"), make("dest"), ["v1"])
    store(source, ["v1"], b"moved meanwhile")
    apply_copy(plan, source, make("dest"))
    assert make("dest").resolve("v1") == plan.root == image(BLOB, b"second layer")[0]

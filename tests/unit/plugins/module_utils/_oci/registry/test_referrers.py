# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists of referrers and deleted tags: what registries answer, and what a client then has to do (distribution-spec)."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError, RegistryError, TransportError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.manifest import parse
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.referrers import fallback_tag, index_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import image, store
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

BLOB = b"a layer" * 100


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[fake.FakeRegistry]:
    registry = fake.FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture(name="harness")
def _harness(registry: fake.FakeRegistry) -> fake.Harness:
    return fake.Harness(registry)


@pytest.fixture(name="subject")
def _subject(registry: fake.FakeRegistry, harness: fake.Harness) -> Descriptor:
    root = store(harness.repository(), ["v1"], BLOB)
    registry.seen.clear()
    return root


def attached(subject: Descriptor, name: str) -> t.Tuple[Descriptor, bytes]:
    """A manifest with a subject, and its bytes."""
    _root, content, _blobs = image(BLOB, name=name)
    document = {**json.loads(content), "artifactType": f"application/{name}"}
    document["subject"] = Descriptor(subject.media_type, subject.digest, subject.size).to_json()
    made = strictjson.dumps(document)
    return Descriptor.of(made, mediatype.OCI_MANIFEST), made


def page(*referrers: Descriptor) -> fake.Action:
    return fake.answer(200, {"Content-Type": mediatype.OCI_INDEX}, index_of(referrers))


class TestReading:
    def test_the_api(self, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor) -> None:
        found = [attached(subject, name)[0] for name in ("one", "two")]
        registry.fault("GET", "/referrers/", page(*found, found[0]))
        assert harness.repository().referrers(subject) == sorted(found, key=lambda desc: desc.digest), "each once, always in one order"
        assert registry.methods() == ["GET"]

    def test_all_pages(self, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor) -> None:
        found = [attached(subject, name)[0] for name in ("one", "two")]
        link = f'</v2/team/app/referrers/{subject.digest}?next=1>; rel="next"'
        headers = {"Content-Type": mediatype.OCI_INDEX, "Link": link}
        registry.fault("GET", "/referrers/[^?]*$", fake.answer(200, headers, index_of(found[:1])))
        registry.fault("GET", r"\?next=1", page(found[1]))
        assert {desc.digest for desc in harness.repository().referrers(subject)} == {desc.digest for desc in found}

    def test_the_next_page_on_another_host_is_not_asked_for(
        self, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor
    ) -> None:
        evil = fake.FakeRegistry()
        headers = {"Content-Type": mediatype.OCI_INDEX, "Link": f'<{evil.url}/x>; rel="next"'}
        registry.fault("GET", "/referrers/", fake.answer(200, headers, index_of([])))
        with pytest.raises(TransportError, match="another host"):
            harness.repository().referrers(subject)
        assert not evil.seen
        evil.close()

    @pytest.mark.parametrize("status", [404, 405, 501])
    def test_without_the_api_it_is_the_fallback_tag(
        self, status: int, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor
    ) -> None:
        registry.fault("GET", "/referrers/", fake.error(status, "UNSUPPORTED"))
        repository = harness.repository()
        assert repository.referrers(subject) == []
        content = index_of([attached(subject, "one")[0]])
        repository.tag(Descriptor.of(content, mediatype.OCI_INDEX), content, [fallback_tag(subject.digest)])
        assert repository.referrers(subject) == [attached(subject, "one")[0]]
        assert len(registry.asked("GET", "/referrers/")) == 1, "a registry without the API is asked once"

    def test_a_repository_that_is_not_there_says_nothing_of_the_api(
        self, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor
    ) -> None:
        registry.fault("GET", "/referrers/", fake.error(404, "NAME_UNKNOWN"))
        registry.fault("GET", "/referrers/", page(attached(subject, "one")[0]))
        repository = harness.repository()
        assert repository.referrers(subject) == [] and len(repository.referrers(subject)) == 1

    def test_another_failure_is_one(self, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor) -> None:
        registry.fault("GET", "/referrers/", fake.error(403, "DENIED"))
        with pytest.raises(RegistryError, match="GET referrers"):
            harness.repository().referrers(subject)

    def test_a_login_page_is_no_list(self, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor) -> None:
        registry.fault("GET", "/referrers/", fake.answer(200, {"Content-Type": "text/html"}, b"<html>"))
        with pytest.raises(TransportError, match="not what a registry answers"):
            harness.repository().referrers(subject)

    def test_a_fallback_tag_that_is_no_index(self, harness: fake.Harness, subject: Descriptor) -> None:
        store(harness.repository(), [fallback_tag(subject.digest)], b"an image")
        with pytest.raises(InvalidError, match="is not an index of referrers"):
            harness.repository().referrers(subject)


class TestWriting:
    def _push(self, harness: fake.Harness, subject: Descriptor, name: str) -> Descriptor:
        desc, content = attached(subject, name)
        harness.repository().tag(desc, content, [])
        return desc

    def _listed(self, harness: fake.Harness, subject: Descriptor) -> t.List[Descriptor]:
        repository = harness.repository()
        listing = repository.resolve(fallback_tag(subject.digest))
        return list(parse(listing, repository.fetch_bytes(listing)).manifests)

    def test_a_registry_that_lists_it_says_so(self, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor) -> None:
        registry.fault("PUT", "/manifests/", fake.header_changed(OCI_Subject=str(subject.digest)))
        self._push(harness, subject, "one")
        assert registry.methods() == ["PUT"]

    def test_one_that_does_not_is_helped(self, harness: fake.Harness, subject: Descriptor) -> None:
        pushed = [self._push(harness, subject, name) for name in ("one", "two", "one")]
        listed = self._listed(harness, subject)
        assert listed == pushed[:2], "each once"
        assert [(desc.artifact_type, desc.annotations) for desc in listed] == [
            ("application/one", {"name": "one"}),
            ("application/two", {"name": "two"}),
        ]

    def test_what_has_no_subject_is_not_listed(self, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor) -> None:
        root, content, _blobs = image(BLOB, text='has the word "subject" in it')
        harness.repository().tag(root, content, [])
        assert registry.methods() == ["PUT"]

    def test_a_fallback_tag_that_is_something_else_stays(self, harness: fake.Harness, subject: Descriptor) -> None:
        other = store(harness.repository(), [fallback_tag(subject.digest)], b"an image")
        with pytest.raises(InvalidError, match="is not an index of referrers"):
            self._push(harness, subject, "one")
        assert harness.repository().resolve(fallback_tag(subject.digest)) == other


class TestUntagging:
    def test_a_tag_goes_and_nothing_else(self, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor) -> None:
        registry.fault("DELETE", "/manifests/v1$", fake.answer(202, {}))
        harness.repository().untag("v1")
        assert [(one.method, one.path) for one in registry.seen] == [("DELETE", "/v2/team/app/manifests/v1")]

    def test_one_that_is_not_there(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.fault("DELETE", "/manifests/", fake.error(404, "MANIFEST_UNKNOWN"))
        harness.repository().untag("absent")
        assert registry.methods() == ["DELETE"]

    @pytest.mark.parametrize("status, code", [(400, "DIGEST_INVALID"), (405, "UNSUPPORTED")])
    def test_a_registry_that_cannot(
        self, status: int, code: str, registry: fake.FakeRegistry, harness: fake.Harness, subject: Descriptor
    ) -> None:
        """The manifest is never deleted in its place: all its other tags would go with it."""
        registry.fault("DELETE", "/manifests/", fake.error(status, code), times=9)
        with pytest.raises(RegistryError, match="does not delete single tags"):
            harness.repository().untag("v1")
        assert len(registry.asked("DELETE")) == 1 and harness.repository().resolve("v1") == subject

    def test_it_asks_for_the_right_to(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.bearer = f"{registry.url}/token"
        registry.scope_in_challenge = False
        registry.fault("DELETE", "/manifests/", fake.answer(202, {}))
        harness.repository().untag("v1")
        registry.fault("DELETE", "/manifests/", fake.answer(401, {"WWW-Authenticate": f'Bearer realm="{registry.bearer}",service="fake"'}))
        registry.fault("DELETE", "/manifests/", fake.answer(202, {}))
        fake.Harness(registry).repository().untag("v1")
        assert "delete" in registry.asked("GET", "/token")[0].path

    def test_what_is_no_tag(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        for name in ("../v1", "sha256:" + "0" * 64):
            with pytest.raises(InvalidError):
                harness.repository().untag(name)
        assert not registry.seen


def test_names_are_all_tags(harness: fake.Harness, subject: Descriptor) -> None:
    store(harness.repository(), ["v2"], BLOB)
    assert harness.repository().names() == ["v1", "v2"]
    with pytest.raises(NotFoundError):
        harness.repository("team/absent").names()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repository over a fake registry: the store's contract, and what a registry may answer to each verb."""

from __future__ import annotations

import io
import json
import os
import threading
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Target, VerifyingReader, bytes_opener
from ansible_collections.lading.oci.plugins.module_utils._oci.registry import lists
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.options import RegistryOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.repository import open_repository
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import (
    InvalidError,
    MismatchError,
    NotFoundError,
    RegistryError,
    TransportError,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import (
    TargetContract,
    image,
    store,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

BLOB = b"0123456789" * 1000
LAYER = Descriptor.of(BLOB, mediatype.OCI_LAYER)


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[fake.FakeRegistry]:
    registry = fake.FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture(name="harness")
def _harness(registry: fake.FakeRegistry) -> fake.Harness:
    return fake.Harness(registry)


@pytest.fixture(name="stored")
def _stored(registry: fake.FakeRegistry, harness: fake.Harness) -> Descriptor:
    root = store(harness.repository(), ["v1"], BLOB)
    registry.seen.clear()
    return root


class TestContract(TargetContract):
    @pytest.fixture(autouse=True)
    def _server(self, registry: fake.FakeRegistry) -> None:
        self.registry = registry

    def target(self) -> Target:
        return fake.Harness(self.registry).repository()


class TestResolve:
    def test_is_one_head_that_accepts_all_types(self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
        repository = harness.repository()
        assert repository.resolve("v1") == stored
        assert dict(repository.requests) == {"HEAD": 1}
        (seen,) = registry.seen
        assert all(media_type in seen.headers["accept"] for media_type in mediatype.ACCEPTED_MANIFESTS)
        assert seen.headers["accept-encoding"] == "identity"

    @pytest.mark.parametrize(
        "changes",
        [
            {"Docker_Content_Digest": None},
            {"Docker_Content_Digest": "sha256:XYZ"},
            {"Content_Type": "text/plain"},
            {"Content_Type": "application/json; charset=utf-8"},
            {"Content_Type": None},
            {"Content_Length": None},
        ],
        ids=str,
    )
    def test_a_head_that_says_too_little_is_made_up_for_by_the_document(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor, changes: t.Dict[str, t.Optional[str]]
    ) -> None:
        registry.fault("HEAD", "/manifests/v1", fake.header_changed(**changes))
        registry.fault("GET", "/manifests/v1", fake.header_changed(**{k: v for k, v in changes.items() if k != "Content_Length"}))
        repository = harness.repository()
        assert repository.resolve("v1") == stored
        assert dict(repository.requests) == {"HEAD": 1, "GET": 1}

    def test_parameters_of_the_content_type_do_not_matter(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor
    ) -> None:
        registry.fault("HEAD", "/manifests/v1", fake.header_changed(Content_Type=f"{mediatype.OCI_MANIFEST}; charset=utf-8"))
        assert harness.repository().resolve("v1") == stored
        assert registry.methods() == ["HEAD"]

    def test_a_digest_must_be_answered_with_that_digest(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor
    ) -> None:
        registry.fault("HEAD", "/manifests/sha256", fake.header_changed(Docker_Content_Digest=Digest.of(b"other")))
        with pytest.raises(MismatchError, match="answers with sha256"):
            harness.repository().resolve(stored.digest)

    def test_a_digest_is_checked_against_the_document(self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
        registry.fault("HEAD", "/manifests/sha256", fake.header_changed(Content_Type=None))
        registry.fault("GET", "/manifests/sha256", fake.answer(200, {}, b'{"manifests": []}'))
        with pytest.raises(MismatchError, match="not the content of"):
            harness.repository().resolve(stored.digest)

    def test_a_claimed_digest_is_checked_against_the_document(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor
    ) -> None:
        registry.fault("HEAD", "/manifests/v1", fake.header_changed(Content_Type=None))
        registry.fault("GET", "/manifests/v1", fake.header_changed(Docker_Content_Digest=Digest.of(b"other")))
        with pytest.raises(MismatchError, match="not the content of"):
            harness.repository().resolve("v1")

    def test_a_document_that_disagrees_with_its_content_type(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor
    ) -> None:
        registry.fault("HEAD", "/manifests/v1", fake.header_changed(Docker_Content_Digest=None))
        registry.fault("GET", "/manifests/v1", fake.header_changed(Content_Type=mediatype.OCI_INDEX))
        with pytest.raises(InvalidError, match="calls itself"):
            harness.repository().resolve("v1")

    def test_schema_1_is_refused(self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
        registry.fault("HEAD", "/manifests/v1", fake.header_changed(Content_Type=mediatype.SCHEMA1_MANIFESTS[1]))
        with pytest.raises(InvalidError, match="schema 1"):
            harness.repository().resolve("v1")

    def test_nothing_to_resolve(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        with pytest.raises(InvalidError, match="needs a tag or digest"):
            harness.repository().resolve(None)
        assert not registry.seen

    def test_not_there(self, harness: fake.Harness, stored: Descriptor) -> None:
        with pytest.raises(NotFoundError, match=r"manifest v2 of 127\.0\.0\.1:[0-9]+/team/app: not found"):
            harness.repository().resolve("v2")

    def test_the_words_of_an_error_are_fetched_because_a_head_has_none(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor
    ) -> None:
        registry.fault("HEAD", "/manifests/", fake.answer(403))
        registry.fault("GET", "/manifests/", fake.error(403, "DENIED", "not for you"))
        with pytest.raises(RegistryError, match="403 Forbidden .*DENIED: not for you") as caught:
            harness.repository().resolve("v1")
        assert (caught.value.status, caught.value.code) == (403, "DENIED")

    def test_a_registry_without_head(self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
        registry.fault("HEAD", "/manifests/", fake.answer(405))
        assert harness.repository().resolve("v1") == stored

    def test_a_login_page(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        page = fake.answer(200, {"Content-Type": "text/html"}, b"<html>please log in</html>")
        registry.fault("HEAD", "/manifests/", page)
        registry.fault("GET", "/manifests/", page)
        with pytest.raises(InvalidError, match="26 bytes of text/html.* login page"):
            harness.repository().resolve("v1")

    @pytest.mark.parametrize("status", [200, 204])
    def test_an_empty_answer(self, registry: fake.FakeRegistry, harness: fake.Harness, status: int) -> None:
        registry.fault("HEAD", "/manifests/", fake.answer(status))
        registry.fault("GET", "/manifests/", fake.answer(status))
        with pytest.raises(TransportError, match=f"the answer is {status} "):
            harness.repository().resolve("v1")

    def test_a_document_that_is_too_large(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.fault("HEAD", "/manifests/", fake.answer(200))
        registry.fault("GET", "/manifests/", fake.answer(200, {}, b" " * (4 * 1024 * 1024 + 1)))
        with pytest.raises(TransportError, match="more than 4194304 bytes"):
            harness.repository().resolve("v1")


class TestContent:
    def test_a_blob_is_looked_for_and_read_under_blobs(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor
    ) -> None:
        repository = harness.repository()
        assert repository.exists(LAYER)
        assert repository.fetch_bytes(LAYER) == BLOB
        assert [(one.method, one.path) for one in registry.seen] == [
            ("HEAD", f"/v2/team/app/blobs/{LAYER.digest}"),
            ("GET", f"/v2/team/app/blobs/{LAYER.digest}"),
        ]

    def test_a_manifest_is_looked_for_and_read_under_manifests(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor
    ) -> None:
        repository = harness.repository()
        assert repository.exists(stored)
        assert repository.fetch_bytes(stored)
        assert {one.path for one in registry.seen} == {f"/v2/team/app/manifests/{stored.digest}"}

    def test_a_size_that_is_not_the_descriptors(self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
        registry.fault("HEAD", "/blobs/", fake.header_changed(Content_Length="9"))
        with pytest.raises(MismatchError, match="has 9 bytes, not 10000"):
            harness.repository().exists(LAYER)

    def test_another_digest_in_the_answer(self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
        registry.fault("HEAD", "/manifests/", fake.header_changed(Docker_Content_Digest=Digest.of(b"other")))
        with pytest.raises(MismatchError, match="answers with"):
            harness.repository().exists(stored)

    def test_an_answer_of_another_length_says_what_came(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor
    ) -> None:
        registry.fault("GET", "/blobs/", fake.answer(200, {"Content-Type": "text/html"}, b"<html>"), times=3)
        with pytest.raises(MismatchError, match="6 bytes of text/html, not the 10000"):
            harness.repository().fetch_bytes(LAYER)

    @pytest.mark.parametrize("status", [204, 206])
    def test_an_answer_that_is_no_content(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor, status: int
    ) -> None:
        registry.fault("GET", "/blobs/", fake.answer(status))
        with pytest.raises(TransportError, match=f"the answer is {status} "):
            harness.repository().fetch_bytes(LAYER)

    def test_a_content_encoding_nobody_asked_for(self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
        registry.fault("GET", "/blobs/", fake.header_changed(Content_Encoding="gzip"))
        with pytest.raises(TransportError, match="Content-Encoding gzip"):
            harness.repository().fetch_bytes(LAYER)

    def test_a_head_that_says_yes_to_what_is_not_there(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor
    ) -> None:
        absent = Descriptor.of(b"absent", mediatype.OCI_LAYER)
        registry.fault("HEAD", "/blobs/", fake.answer(200, {"Content-Length": "6"}))
        repository = harness.repository()
        assert repository.exists(absent)
        with pytest.raises(NotFoundError, match="GET blob sha256:"):
            repository.fetch(absent)


class TestManifests:
    def test_are_put_with_their_bytes_and_type(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        root, content, _blobs = image(BLOB)
        repository = harness.repository()
        repository.push(root, bytes_opener(root, content))
        repository.tag(root, content, ["v1", "v2"])
        puts = registry.asked("PUT")
        assert [one.path for one in puts] == [f"/v2/team/app/manifests/{name}" for name in (root.digest, "v1", "v2")]
        assert {one.body for one in puts} == {content}
        assert {one.headers["content-type"] for one in puts} == {mediatype.OCI_MANIFEST}

    def test_the_answer_names_another_digest(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        root, content, _blobs = image(BLOB)
        registry.fault("PUT", "/manifests/", fake.answer(201, {"Docker-Content-Digest": Digest.of(b"other")}), times=3)
        with pytest.raises(MismatchError, match="it stored sha256"):
            harness.repository().tag(root, content, ["v1"])

    @pytest.mark.parametrize(
        "fault",
        [
            fake.answer(201, {"Docker-Content-Digest": Digest.of(b"other")}),
            fake.error(400, "DIGEST_INVALID"),
            fake.error(400, "MANIFEST_INVALID"),
        ],
        ids=["stored-as-another", "digest", "manifest"],
    )
    def test_what_was_damaged_once_is_sent_once_more(self, registry: fake.FakeRegistry, harness: fake.Harness, fault: fake.Action) -> None:
        root, content, _blobs = image(BLOB)
        registry.fault("PUT", "/manifests/v1", fault)
        harness.repository().tag(root, content, ["v1"])
        assert registry.state.tags["team/app", "v1"] == root.digest
        assert len(registry.asked("PUT", "/manifests/v1")) == 2

    def test_an_empty_200_stores_nothing(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        root, content, _blobs = image(BLOB)
        registry.fault("PUT", "/manifests/", fake.answer(200, {"Content-Type": "text/html"}))
        with pytest.raises(TransportError, match="login page"):
            harness.repository().tag(root, content, ["v1"])

    def test_a_missing_blob_is_named(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        root, content, _blobs = image(BLOB)
        errors = {"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown", "detail": {"digest": str(LAYER.digest)}}]}
        registry.fault("PUT", "/manifests/", fake.answer(400, {}, json.dumps(errors).encode()))
        with pytest.raises(RegistryError, match=f"MANIFEST_BLOB_UNKNOWN: blob unknown: .*{LAYER.digest}"):
            harness.repository().tag(root, content, ["v1"])

    def test_a_bad_tag_is_refused_before_anything_is_sent(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        root, content, _blobs = image(BLOB)
        with pytest.raises(InvalidError, match="not a tag"):
            harness.repository().tag(root, content, ["good", "../bad"])
        assert not registry.seen

    def test_a_put_is_tried_again(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        root, content, _blobs = image(BLOB)
        registry.fault("PUT", "/manifests/", fake.answer(503), times=2)
        harness.repository().tag(root, content, ["v1"])
        assert [one.body for one in registry.asked("PUT")] == [content] * 3


class TestMount:
    def test_takes_a_blob_over(self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
        source, target = harness.repository(), harness.repository("other/copy")
        assert target.mountable(LAYER, source)
        assert target.mount(LAYER, source)
        assert [(one.method, one.path) for one in registry.seen] == [
            ("POST", f"/v2/other/copy/blobs/uploads/?mount={LAYER.digest}&from=team/app")
        ]

    def test_a_session_in_its_place_is_cancelled(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        absent = Descriptor.of(b"absent", mediatype.OCI_LAYER)
        assert not harness.repository("other/copy").mount(absent, harness.repository())
        assert registry.methods() == ["POST", "DELETE"]
        assert not registry.state.uploads

    def test_a_refusal_is_no_error(self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
        registry.fault("POST", "mount=", fake.error(405, "UNSUPPORTED"))
        assert not harness.repository("other/copy").mount(LAYER, harness.repository())

    def test_not_from_another_registry(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        assert not harness.repository().mountable(LAYER, fake.Harness(registry).repository())

    def test_from_itself_is_a_look(self, registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
        assert harness.repository().mount(LAYER, harness.repository())
        assert registry.methods() == ["HEAD"]


class TestTags:
    def _tag(self, harness: fake.Harness, *names: str) -> None:
        root, content, _blobs = image(BLOB)
        harness.repository().tag(root, content, names)

    def test_all_pages(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.page_size = 2
        self._tag(harness, "a", "b", "c", "d", "e")
        assert list(harness.repository().tags()) == ["a", "b", "c", "d", "e"]
        assert len(registry.asked("GET", "tags/list")) == 3

    def test_null_is_none(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.fault("GET", "tags/list", fake.answer(200, {}, b'{"name": "team/app", "tags": null}'))
        assert list(harness.repository().tags()) == []

    def test_the_next_page_on_another_host_is_not_asked_for(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        evil = fake.FakeRegistry()
        self._tag(harness, "a")
        registry.fault("GET", "tags/list", fake.header_changed(Link=f'<{evil.url}/v2/team/app/tags/list?n=1>; rel="next"'))
        with pytest.raises(TransportError, match="another host"):
            list(harness.repository().tags())
        assert not evil.seen
        evil.close()

    def test_a_page_that_repeats(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        self._tag(harness, "a")
        registry.fault("GET", "tags/list", fake.header_changed(Link='</v2/team/app/tags/list?n=1>; rel="next"'), times=99)
        with pytest.raises(TransportError, match="repeats itself"):
            list(harness.repository().tags())
        assert len(registry.asked("GET", "tags/list")) == 2

    def test_a_page_that_is_cut_is_asked_for_again(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        store(harness.repository(), ["v1", "v2"], BLOB)
        registry.seen.clear()
        registry.fault("GET", "/tags/", fake.cut_after(5), times=2)
        assert list(harness.repository().tags()) == ["v1", "v2"]
        assert len(registry.asked("GET", "/tags/")) == 3

    @pytest.mark.parametrize("limit", ["MAX_PAGES", "MAX_ENTRIES"])
    def test_a_list_without_end(
        self, registry: fake.FakeRegistry, harness: fake.Harness, monkeypatch: pytest.MonkeyPatch, limit: str
    ) -> None:
        monkeypatch.setattr(lists, limit, 2)
        registry.page_size = 1
        self._tag(harness, "a", "b", "c", "d", "e")
        with pytest.raises(TransportError, match="more than"):
            list(harness.repository().tags())

    def test_a_tag_that_is_none(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.fault("GET", "tags/list", fake.answer(200, {}, b'{"tags": ["../x"]}'))
        with pytest.raises(InvalidError, match="not a tag"):
            list(harness.repository().tags())

    def test_no_such_repository(self, harness: fake.Harness) -> None:
        with pytest.raises(NotFoundError, match="tags of"):
            list(harness.repository().tags())


def test_repositories_of_one_registry_share_their_connections(registry: fake.FakeRegistry) -> None:
    reference = RegistryReference(registry.host, "team/app")
    options = {"plain_http": True, "auth_hosts": ["auth.example.com"]}
    one = open_repository(reference, RegistryOptions(**options), str)
    same = open_repository(RegistryReference(registry.host, "other/copy"), RegistryOptions(**options), str)
    other = open_repository(reference, RegistryOptions(plain_http=True, username="someone", password="secret"), str)
    assert one.mountable(LAYER, same)
    assert not one.mountable(LAYER, other)
    assert not registry.seen


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.usefixtures("stored")
def test_a_forked_process_has_connections_of_its_own(registry: fake.FakeRegistry) -> None:
    """Two processes on one connection would get each other's answers."""
    ports: t.List[int] = []

    def noted(handler: t.Any) -> None:
        ports.append(handler.client_address[1])
        handler.respond()

    registry.fault("HEAD", "/manifests/", noted, times=3)

    def resolve() -> None:
        options = RegistryOptions(plain_http=True, auth_file="/dev/null")
        open_repository(RegistryReference(registry.host, "team/app"), options, str).resolve("v1")

    resolve()
    child = os.fork()
    if not child:
        try:
            resolve()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    resolve()
    assert ports[0] == ports[2] != ports[1]


def test_threads_push_and_read_at_once(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    repository = harness.repository()
    contents = [bytes([number]) * 50_000 for number in range(16)]
    failures: t.List[BaseException] = []

    def work(content: bytes) -> None:
        desc = Descriptor.of(content, mediatype.OCI_LAYER)
        try:
            repository.push(desc, lambda: VerifyingReader(desc, io.BytesIO(content)))
            assert repository.fetch_bytes(desc) == content
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert dict(repository.requests) == {"POST": 16, "PUT": 16, "GET": 16}


def test_warnings_are_passed_on_once(registry: fake.FakeRegistry, harness: fake.Harness, stored: Descriptor) -> None:
    header = '299 - "goes \\"away\\"\tsoon", 199 - "not this", 299 - "second"'
    registry.fault("HEAD", "/manifests/", fake.header_changed(Warning=header), times=2)
    repository = harness.repository()
    repository.resolve("v1")
    repository.resolve("v1")
    assert harness.warnings == [f'{registry.host}: goes "away" soon', f"{registry.host}: second"]

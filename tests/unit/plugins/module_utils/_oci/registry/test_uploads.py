# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Uploads of blobs, with what a registry and the way to it can do wrong."""

from __future__ import annotations

import io
import json
import pathlib
import tempfile
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Opener, VerifyingReader
from ansible_collections.lading.oci.plugins.module_utils._oci.registry import uploads
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import (
    CancelledError,
    MismatchError,
    RegistryError,
    StorageError,
    TransportError,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.noise import noise
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

MIB = 1024 * 1024
SMALL = b"0123456789" * 1000
LARGE = noise(6, 2560 * 1024)  # nowhere the same, so that what is sent from another offset is seen


class Stream(io.RawIOBase):
    """Not seekable, as content that comes from another registry."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)

    def readinto(self, buffer: t.Any) -> int:
        return self._inner.readinto(buffer)

    seek = None  # type: ignore[assignment]


def on_disk(content: bytes) -> t.Any:
    file = tempfile.TemporaryFile(buffering=0)
    file.write(content)
    file.seek(0)
    return file


class Source:
    """Opens content, counts how often, as a file or as a stream."""

    def __init__(self, content: bytes, stream: bool) -> None:
        self._content = content
        self._raw: t.Any = Stream if stream else on_disk
        self.opened = 0

    def opener(self, desc: Descriptor) -> Opener:
        def opener() -> VerifyingReader:
            self.opened += 1
            return VerifyingReader(desc, self._raw(self._content))

        return opener


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[fake.FakeRegistry]:
    registry = fake.FakeRegistry()
    yield registry
    assert not registry.faults
    registry.close()


@pytest.fixture(name="harness")
def _harness(registry: fake.FakeRegistry) -> fake.Harness:
    return fake.Harness(registry)


@pytest.fixture(name="stream", params=[False, True], ids=["file", "stream"])
def _stream(request: pytest.FixtureRequest) -> bool:
    return request.param


def push(harness: fake.Harness, content: bytes, stream: bool = False, desc: t.Optional[Descriptor] = None) -> Source:
    source = Source(content, stream)
    desc = desc or Descriptor.of(content, mediatype.OCI_LAYER)
    harness.repository().push(desc, source.opener(desc))
    assert harness.registry.state.blobs[desc.digest] == content
    assert not harness.registry.state.uploads
    return source


def uploads_of(registry: fake.FakeRegistry) -> t.List[str]:
    return registry.methods("/blobs/uploads/")


def test_one_post_and_one_put(registry: fake.FakeRegistry, harness: fake.Harness, stream: bool) -> None:
    assert push(harness, SMALL, stream).opened == 1
    post, put = registry.seen
    assert (post.method, post.path, post.headers["content-length"]) == ("POST", "/v2/team/app/blobs/uploads/", "0")
    assert put.path.endswith(f"?_state=a%2Fb&digest={Digest.of(SMALL)}")
    assert put.headers["content-length"] == str(len(SMALL))
    assert put.headers["content-type"] == "application/octet-stream"
    assert "transfer-encoding" not in put.headers


def test_an_empty_blob(registry: fake.FakeRegistry, harness: fake.Harness, stream: bool) -> None:
    push(harness, b"", stream)
    assert registry.asked("PUT")[0].headers["content-length"] == "0"


def test_an_empty_blob_is_verified(harness: fake.Harness, stream: bool) -> None:
    with pytest.raises(MismatchError):
        push(harness, b"x", stream, desc=Descriptor.of(b"", mediatype.OCI_LAYER))
    assert not harness.registry.state.blobs


@pytest.mark.parametrize("location", ["http://{host}/v2/team/app/blobs/uploads/x", "/v2/team/app/blobs/uploads/x", "x"])
def test_locations(registry: fake.FakeRegistry, harness: fake.Harness, location: str) -> None:
    registry.state.uploads["x"] = bytearray()
    registry.fault("POST", "", fake.answer(202, {"Location": location.format(host=registry.host)}))
    push(harness, SMALL)
    assert registry.asked("PUT")[0].path == f"/v2/team/app/blobs/uploads/x?digest={Digest.of(SMALL)}"


@pytest.mark.parametrize("scheme", ["http://", "//"])
def test_a_location_on_another_host(registry: fake.FakeRegistry, harness: fake.Harness, scheme: str) -> None:
    evil = fake.FakeRegistry()
    registry.fault("POST", "", fake.answer(202, {"Location": f"{scheme}{evil.host}/upload?sig=x"}))
    with pytest.raises(TransportError, match=f"wants the upload to go to another host, {evil.host}: refused"):
        push(harness, SMALL)
    assert not evil.seen
    evil.close()


def test_no_location(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("POST", "", fake.answer(202))
    with pytest.raises(TransportError, match="without a Location"):
        push(harness, SMALL)


@pytest.mark.parametrize("content", [b"x" * len(SMALL), SMALL[:-1], SMALL + b"x"], ids=["digest", "short", "long"])
def test_of_a_small_file_with_wrong_content_not_a_byte_is_sent(registry: fake.FakeRegistry, harness: fake.Harness, content: bytes) -> None:
    with pytest.raises(MismatchError):
        push(harness, content, desc=Descriptor.of(SMALL, mediatype.OCI_LAYER))
    assert not any(one.body for one in registry.seen)
    assert not registry.state.blobs and "DELETE" in uploads_of(registry)


@pytest.mark.parametrize("content", [b"x" * len(LARGE), LARGE[:-1], LARGE + b"x"], ids=["digest", "short", "long"])
def test_wrong_content_is_not_completed(registry: fake.FakeRegistry, harness: fake.Harness, content: bytes, stream: bool) -> None:
    with pytest.raises(MismatchError):
        push(harness, content, stream, desc=Descriptor.of(LARGE, mediatype.OCI_LAYER))
    assert all(len(one.body) < len(LARGE) for one in registry.asked("PUT"))
    assert not registry.state.blobs and "DELETE" in uploads_of(registry)


def test_an_error_of_the_source_is_the_sources(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    class Broken(Stream):
        def readinto(self, buffer: t.Any) -> int:
            raise OSError(5, "Input/output error")

    desc = Descriptor.of(SMALL, mediatype.OCI_LAYER)
    with pytest.raises(StorageError, match="Input/output error"):
        harness.repository().push(desc, lambda: VerifyingReader(desc, Broken(b"")))
    assert registry.methods()[0] == "POST"
    assert len(registry.asked("POST")) == 1


def test_an_upload_that_is_stopped_is_cancelled(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    class Stopped(Stream):
        def readinto(self, buffer: t.Any) -> int:
            raise CancelledError("stopped")

    desc = Descriptor.of(SMALL, mediatype.OCI_LAYER)
    with pytest.raises(CancelledError):
        harness.repository().push(desc, lambda: VerifyingReader(desc, Stopped(b"")))
    assert not registry.state.uploads


@pytest.mark.parametrize(
    "fault",
    [
        fake.reset,
        fake.answer(503),
        fake.answer(429, {"Retry-After": "3"}),
        fake.error(404, "BLOB_UPLOAD_UNKNOWN"),
        fake.answer(416),
    ],
    ids=["reset", "503", "429", "404", "416"],
)
def test_a_lost_session_is_followed_by_a_new_one(
    registry: fake.FakeRegistry, harness: fake.Harness, stream: bool, fault: fake.Action
) -> None:
    registry.fault("PUT", "", fault)
    assert push(harness, SMALL, stream).opened == 2
    assert uploads_of(registry) == ["POST", "PUT", "DELETE", "POST", "PUT"]
    first, second = registry.asked("PUT")
    assert first.path != second.path
    assert second.body == SMALL


def test_retry_after_is_kept_to(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("PUT", "", fake.answer(429, {"Retry-After": "3"}))
    push(harness, SMALL)
    assert harness.sleeps == [3.0]


def test_it_ends(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("PUT", "", fake.error(503, "UNAVAILABLE", "disk full"), times=6)
    with pytest.raises(RegistryError, match="503 Service Unavailable .*disk full"):
        push(harness, SMALL)
    assert len(registry.asked("PUT")) == 6


def test_a_refusal_is_final(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("PUT", "", fake.error(400, "SIZE_INVALID"))
    with pytest.raises(RegistryError, match="SIZE_INVALID"):
        push(harness, SMALL)
    assert uploads_of(registry) == ["POST", "PUT", "DELETE"]


def test_what_was_damaged_once_is_sent_once_more(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("PUT", "", fake.error(400, "DIGEST_INVALID"))
    push(harness, SMALL)
    assert uploads_of(registry) == ["POST", "PUT", "DELETE", "POST", "PUT"]


def test_what_is_damaged_twice_is_refused(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("PUT", "", fake.error(400, "DIGEST_INVALID"), times=2)
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        push(harness, SMALL)
    assert len(registry.asked("PUT")) == 2


def test_the_registry_says_that_it_stored_something_else(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("PUT", "", fake.answer(201, {"Docker-Content-Digest": Digest.of(b"other")}))
    with pytest.raises(MismatchError, match="says that it stored"):
        push(harness, SMALL)


def test_an_empty_200_is_no_upload(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("PUT", "", fake.answer(200, {"Content-Type": "text/html"}))
    with pytest.raises(TransportError, match="login page"):
        push(harness, SMALL)


def test_the_login_may_run_out_while_the_body_is_sent(registry: fake.FakeRegistry, stream: bool) -> None:
    registry.basic = "user:password"
    harness = fake.Harness(registry, username="user", password="password")
    registry.fault("PUT", "", fake.answer(401, {"WWW-Authenticate": f'Bearer realm="{registry.url}/token"'}))
    registry.fault("PUT", "", lambda handler: setattr(handler.registry, "basic", "") or handler.respond())
    push(harness, SMALL, stream)
    assert [one.body for one in registry.asked("PUT")] == [SMALL, SMALL]
    assert len(registry.asked("POST", "uploads")) == 2  # the first wanted the login


class TestChunks:
    @pytest.fixture(autouse=True)
    def _limit(self, registry: fake.FakeRegistry) -> None:
        registry.chunk_limit = MIB

    def test_what_is_too_large_goes_in_chunks(self, registry: fake.FakeRegistry, harness: fake.Harness, stream: bool) -> None:
        push(harness, LARGE, stream)
        patches = registry.asked("PATCH")
        assert [one.headers["content-range"] for one in patches] == ["0-1048575", "1048576-2097151", "2097152-2621439"]
        assert b"".join(one.body for one in patches) == LARGE
        assert registry.asked("PUT")[-1].headers["content-length"] == "0"
        assert not harness.sleeps

    def test_chunks_become_smaller_until_they_are_taken(
        self, registry: fake.FakeRegistry, harness: fake.Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uploads, "CHUNK_SIZES", (2 * MIB, MIB))
        push(harness, LARGE)
        assert [len(one.body) for one in registry.asked("PATCH")] == [2 * MIB, MIB, MIB, MIB // 2]

    def test_a_smallest_chunk_is_kept_to(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.fault("POST", "", fake.header_changed(OCI_Chunk_Min_Length=str(2 * MIB)))
        with pytest.raises(RegistryError, match="413"):
            push(harness, LARGE)
        assert not registry.asked("PATCH")

    def test_a_broken_chunk_goes_on_where_the_registry_is(self, registry: fake.FakeRegistry, harness: fake.Harness, stream: bool) -> None:
        push_broken(registry, fake.reset)
        push(harness, LARGE, stream)
        assert uploads_of(registry)[-6:] == ["PATCH", "PATCH", "GET", "PATCH", "PATCH", "PUT"]

    def test_a_chunk_that_is_half_taken_goes_on_in_its_middle(
        self, registry: fake.FakeRegistry, harness: fake.Harness, stream: bool
    ) -> None:
        push_broken(registry, take_half)
        push(harness, LARGE, stream)
        assert [one.headers["content-range"] for one in registry.asked("PATCH")][2] == f"{MIB + MIB // 2}-{2 * MIB + MIB // 2 - 1}"

    def test_out_of_order_goes_on_where_the_registry_is(self, registry: fake.FakeRegistry, harness: fake.Harness, stream: bool) -> None:
        push_broken(registry, lose_last_chunk)
        push(harness, LARGE, stream)
        ranges = [one.headers["content-range"].partition("-")[0] for one in registry.asked("PATCH")]
        assert ranges == ["0", str(MIB), str(MIB // 2), str(MIB // 2 + MIB)]

    def test_an_ambiguous_range_is_not_built_upon(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.fault("PATCH", "", fake.header_changed(Range="0-0"))
        push(harness, LARGE)
        assert len(registry.asked("POST")) == 3

    def test_more_than_was_sent_is_not_built_upon(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.fault("PATCH", "", fake.header_changed(Range="0-99999999"))
        push(harness, LARGE)
        assert len(registry.asked("POST")) == 3

    def test_a_registry_that_never_gets_on(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.fault("PATCH", "", fake.answer(202, {"Range": "0-9"}), times=7)
        with pytest.raises(TransportError, match="takes no more than 10 bytes"):
            push(harness, LARGE)

    def test_a_lost_session_starts_again(self, registry: fake.FakeRegistry, harness: fake.Harness, stream: bool) -> None:
        push_broken(registry, fake.error(404, "BLOB_UPLOAD_UNKNOWN"))
        push(harness, LARGE, stream)
        assert len(registry.asked("POST")) == 3

    def test_sessions_that_are_lost_for_ever(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        lost = fake.error(404, "BLOB_UPLOAD_UNKNOWN")

        def lose_the_second(handler: fake.Handler) -> None:
            if handler.headers["Content-Range"].startswith("0-"):
                handler.respond()
            else:
                lost(handler)

        registry.fault("PATCH", "", lose_the_second, times=12)
        with pytest.raises(RegistryError, match="BLOB_UPLOAD_UNKNOWN"):
            push(harness, LARGE)
        assert len(registry.asked("POST")) == 7

    def test_the_last_request_may_break(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.fault("PUT", "", lambda handler: handler.respond())
        registry.fault("PUT", "", fake.reset)
        push(harness, LARGE)
        assert len(registry.asked("POST")) == 3

    def test_the_last_request_may_be_refused(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        registry.fault("PUT", "", lambda handler: handler.respond())
        registry.fault("PUT", "", fake.error(400, "SIZE_INVALID"))
        with pytest.raises(RegistryError, match="SIZE_INVALID"):
            push(harness, LARGE)

    def test_going_in_chunks_is_no_retry(self, registry: fake.FakeRegistry) -> None:
        push(fake.Harness(registry, retries=0), LARGE)

    def test_wrong_content_never_gets_its_last_chunk(self, registry: fake.FakeRegistry, harness: fake.Harness) -> None:
        with pytest.raises(MismatchError):
            push(harness, b"x" * len(LARGE), stream=True, desc=Descriptor.of(LARGE, mediatype.OCI_LAYER))
        assert not registry.state.blobs
        assert not registry.asked("PUT", "digest=.*")[1:]


def test_connections_that_break_in_the_whole_lead_to_chunks(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("PUT", "", fake.reset, times=2)
    push(harness, LARGE)
    assert uploads_of(registry)[-5:] == ["POST", "PATCH", "PATCH", "PATCH", "PUT"]


def push_broken(registry: fake.FakeRegistry, action: fake.Action) -> None:
    """Let the second PATCH meet the action."""
    registry.fault("PATCH", "", lambda handler: handler.respond())
    registry.fault("PATCH", "", action)


def take_half(handler: fake.Handler) -> None:
    (data,) = handler.registry.state.uploads.values()
    data.extend(handler.body[: len(handler.body) // 2])
    fake.reset(handler)


def lose_last_chunk(handler: fake.Handler) -> None:
    (data,) = handler.registry.state.uploads.values()
    del data[MIB // 2 :]
    handler.query = {}
    handler.respond()


def test_a_registry_may_take_its_time_with_a_large_blob(registry: fake.FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(handler: fake.Handler) -> None:
        time.sleep(0.4)
        handler.respond()

    monkeypatch.setattr(uploads, "_COMMIT_SPEED", len(SMALL))
    registry.fault("PUT", "", slow)
    push(fake.Harness(registry, timeout=0.2, retries=0), SMALL)


def test_errors_show_no_signed_query(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    signed = f"http://{registry.host}/v2/team/app/blobs/uploads/x?signature=deadbeefdeadbeef"
    registry.fault("POST", "", fake.answer(202, {"Location": signed}))
    body = json.dumps({"errors": [{"code": "X", "message": f"no: {signed}"}]}).encode()
    registry.fault("PUT", "", fake.answer(400, {}, body))
    with pytest.raises(RegistryError) as caught:
        push(harness, SMALL)
    assert "deadbeef" not in str(caught.value)


def cut_put(handler: fake.Handler) -> None:
    """Half of a PUT is stored, then the connection breaks."""
    data = next(iter(handler.registry.state.uploads.values()))
    data.extend(handler.body[: MIB + MIB // 2])
    fake.reset(handler)


def test_a_put_that_was_cut_goes_on_in_chunks(registry: fake.FakeRegistry, harness: fake.Harness, stream: bool) -> None:
    """Threat row 41: where the registry has kept what came."""
    registry.fault("PUT", "", cut_put)
    push(harness, LARGE, stream)
    assert uploads_of(registry) == ["POST", "PUT", "GET", "GET", "PATCH", "PUT"]
    (patch,) = registry.asked("PATCH")
    assert patch.headers["content-range"] == f"{MIB + MIB // 2}-{len(LARGE) - 1}"
    assert patch.body == LARGE[MIB + MIB // 2 :]


def test_what_is_left_of_a_put_that_was_cut_goes_in_several_chunks(
    registry: fake.FakeRegistry, harness: fake.Harness, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file, which stands still while the system sends from it."""
    monkeypatch.setattr(uploads, "CHUNK_SIZES", (MIB // 4,))
    registry.fault("PUT", "", cut_put)
    (tmp_path / "content").write_bytes(LARGE)
    desc = Descriptor.of(LARGE, mediatype.OCI_LAYER)
    harness.repository().push(desc, lambda have=None: VerifyingReader(desc, open(tmp_path / "content", "rb", buffering=0), None, have))
    assert b"".join(patch.body for patch in registry.asked("PATCH")) == LARGE[MIB + MIB // 2 :]
    assert len(registry.asked("PATCH")) == 4 and registry.state.blobs[desc.digest] == LARGE


@pytest.mark.parametrize("method", ["PATCH", "GET"])
def test_a_put_that_was_cut_and_cannot_go_on(registry: fake.FakeRegistry, harness: fake.Harness, stream: bool, method: str) -> None:
    """Distribution answers 404, others 400: a new session, and all of it again."""
    registry.fault("PUT", "", cut_put)
    registry.fault(method, "/uploads/", fake.error(400, "BLOB_UPLOAD_INVALID"))
    push(harness, LARGE, stream)
    assert uploads_of(registry)[-3:] == ["DELETE", "POST", "PUT"]
    assert registry.asked("PUT")[-1].body == LARGE

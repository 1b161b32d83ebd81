# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Downloads over connections that break."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Prefix
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import MismatchError, RegistryError, TransportError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.noise import noise
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

BLOB = noise(6, 2560 * 1024)  # nowhere the same, so that bytes of another offset are seen
LAYER = Descriptor.of(BLOB, mediatype.OCI_LAYER)
HALF = 1_000_000


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[fake.FakeRegistry]:
    registry = fake.FakeRegistry()
    registry.add_blob(BLOB)
    yield registry
    registry.close()


@pytest.fixture(name="harness")
def _harness(registry: fake.FakeRegistry) -> fake.Harness:
    return fake.Harness(registry)


def fetch(harness: fake.Harness) -> bytes:
    return harness.repository().fetch_bytes(LAYER)


def ranges(registry: fake.FakeRegistry) -> t.List[t.Optional[str]]:
    return [one.headers.get("range") for one in registry.asked("GET")]


def test_a_cut_is_taken_up_where_it_was(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("GET", "/blobs/", fake.cut_after(HALF))
    assert fetch(harness) == BLOB
    assert ranges(registry) == [None, f"bytes={HALF}-"]


def test_a_cut_before_the_first_byte(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("GET", "/blobs/", fake.cut_after(0))
    assert fetch(harness) == BLOB
    assert ranges(registry) == [None, None]


def test_several_cuts(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("GET", "/blobs/", fake.cut_after(10_000), times=5)
    assert fetch(harness) == BLOB
    assert ranges(registry)[-1] == "bytes=50000-"


def test_progress_renews_the_patience(registry: fake.FakeRegistry) -> None:
    harness = fake.Harness(registry, retries=1)
    registry.fault("GET", "/blobs/", fake.cut_after(1024 * 1024), times=2)
    assert fetch(harness) == BLOB


def test_cuts_for_ever(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("GET", "/blobs/", fake.cut_after(100), times=99)
    with pytest.raises(TransportError, match=r"closed the connection .*tried 6 times"):
        fetch(harness)
    assert len(registry.asked("GET")) == 6


def test_a_range_that_is_ignored(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("GET", "/blobs/", fake.cut_after(HALF))
    registry.fault("GET", "/blobs/", fake.answer(200, {}, BLOB))
    assert fetch(harness) == BLOB
    assert len(registry.asked("GET")) == 2


@pytest.mark.parametrize(
    "second",
    [
        fake.answer(416),
        fake.answer(206, {"Content-Range": f"bytes 0-{len(BLOB) - 1}/{len(BLOB)}"}, BLOB),
        fake.answer(206, {"Content-Range": f"bytes {HALF}-{len(BLOB)}/{len(BLOB) + 1}"}, BLOB[HALF:] + b"x"),
        fake.answer(206, {}, BLOB[HALF:]),
        fake.answer(206, {"Content-Range": "bytes nonsense"}, BLOB[HALF:]),
    ],
    ids=["416", "other offset", "other total", "none", "nonsense"],
)
def test_a_range_that_is_not_answered_as_asked(registry: fake.FakeRegistry, harness: fake.Harness, second: fake.Action) -> None:
    registry.fault("GET", "/blobs/", fake.cut_after(HALF))
    registry.fault("GET", "/blobs/", second)
    assert fetch(harness) == BLOB
    assert ranges(registry) == [None, f"bytes={HALF}-", None]


def test_content_that_changed_meanwhile(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    for _time in range(3):
        registry.fault("GET", "/blobs/", fake.cut_after(HALF))
        registry.fault("GET", "/blobs/", fake.answer(200, {}, b"x" * len(BLOB)))
    with pytest.raises(MismatchError, match="another digest"):
        fetch(harness)
    assert ranges(registry) == [None, f"bytes={HALF}-"] * 3


def test_what_was_damaged_once_is_asked_for_once_more(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("GET", "/blobs/", fake.answer(200, {}, b"x" * len(BLOB)))
    assert fetch(harness) == BLOB
    assert ranges(registry) == [None, None]


def test_an_error_while_it_is_taken_up(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("GET", "/blobs/", fake.cut_after(HALF))
    registry.fault("GET", "/blobs/", fake.answer(503), times=2)
    assert fetch(harness) == BLOB
    registry.fault("GET", "/blobs/", fake.cut_after(HALF))
    registry.fault("GET", "/blobs/", fake.error(403, "DENIED"))
    with pytest.raises(RegistryError, match="DENIED"):
        fetch(harness)


def test_a_body_without_a_length(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    def close_delimited(handler: fake.Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BLOB[:HALF])
        handler.close_connection = True

    registry.fault("GET", "/blobs/", close_delimited)
    assert fetch(harness) == BLOB
    assert ranges(registry)[1] == f"bytes={HALF}-"


def test_a_body_in_chunks(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    def chunked(handler: fake.Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(BLOB), 65536):
            part = BLOB[start : start + 65536]
            handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    registry.fault("GET", "/blobs/", chunked)
    assert fetch(harness) == BLOB


def test_a_body_that_does_not_end(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    def endless(handler: fake.Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BLOB)
        handler.close_connection = True
        try:
            for _number in range(10_000):
                handler.wfile.write(b"x" * 65536)
        except OSError:
            pass

    registry.fault("GET", "/blobs/", endless, times=3)
    with pytest.raises(MismatchError, match="longer than"):
        fetch(harness)


def test_reading_ends_early_without_harm(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    repository = harness.repository()
    with repository.fetch(LAYER) as reader:
        assert reader.read(10) == BLOB[:10]
    assert repository.fetch_bytes(LAYER) == BLOB


def after(count: int) -> Prefix:
    running = LAYER.digest.hasher()
    running.update(BLOB[:count])
    return Prefix(running, count)


def fetch_rest(harness: fake.Harness) -> bytes:
    with harness.repository().fetch(LAYER, after(HALF)) as reader:
        return b"".join(reader.chunks())


def test_the_rest_of_what_an_earlier_run_has(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    """Threat row 34."""
    assert fetch_rest(harness) == BLOB[HALF:]
    assert ranges(registry) == [f"bytes={HALF}-"]


@pytest.mark.parametrize(
    "first",
    [
        fake.answer(416),
        fake.answer(206, {"Content-Range": f"bytes 0-{len(BLOB) - 1}/{len(BLOB)}"}, BLOB),
        fake.answer(206, {}, BLOB[HALF:]),
    ],
    ids=["r34-416", "r34-other-offset", "r34-no-range"],
)
def test_the_rest_is_not_answered_as_asked(registry: fake.FakeRegistry, harness: fake.Harness, first: fake.Action) -> None:
    registry.fault("GET", "/blobs/", first)
    assert fetch_rest(harness) == BLOB[HALF:]
    assert ranges(registry) == [f"bytes={HALF}-", None]


def test_the_rest_where_ranges_are_ignored(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("GET", "/blobs/", fake.answer(200, {}, BLOB))
    assert fetch_rest(harness) == BLOB[HALF:]
    assert len(registry.asked("GET")) == 1


def test_the_rest_of_content_that_has_changed(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    rest = b"x" * (len(BLOB) - HALF)
    registry.fault("GET", "/blobs/", fake.answer(206, {"Content-Range": f"bytes {HALF}-{len(BLOB) - 1}/{len(BLOB)}"}, rest))
    with pytest.raises(MismatchError, match="another digest"):
        fetch_rest(harness)


def test_the_rest_is_cut_too(registry: fake.FakeRegistry, harness: fake.Harness) -> None:
    registry.fault("GET", "/blobs/", fake.reset)
    assert fetch_rest(harness) == BLOB[HALF:]
    registry.fault("GET", "/blobs/", fake.reset, times=99)
    with pytest.raises(TransportError, match="tried 6 times"):
        fetch_rest(harness)

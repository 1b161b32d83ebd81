# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

"""digest, descriptor, manifest, strictjson, platform, timestamp, errors: what other tools wrote is read, what is wrong is refused."""

import base64
import dataclasses
import json
import pathlib
import time
import tracemalloc
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest, mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import EMPTY, Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import (
    InvalidError,
    MismatchError,
    OCIError,
    StorageError,
    located,
    storage_errors,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.graph import MAX_NODES, post_order
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.timestamp import Timestamp

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures"
SHA256 = "sha256:" + "a" * 64


def vectors(name: str, group: str) -> t.List[t.Dict[str, t.Any]]:
    return json.loads((FIXTURES / name).read_text())["groups"][group]


class TestDigest:
    @pytest.mark.parametrize("row", vectors("go-digest-parse.json", "parse"), ids=lambda row: row["Input"][:40])
    def test_the_vectors_of_go_digest(self, row: t.Dict[str, t.Any]) -> None:
        """Where Go knows sha384 we do not: the specification registers sha256 and sha512."""
        if row.get("Err") or row.get("Algorithm") not in ("sha256", "sha512"):
            with pytest.raises(InvalidError):
                Digest(row["Input"])
        else:
            found = Digest(row["Input"])
            assert (found.algorithm, found.encoded) == (row["Algorithm"], row["Encoded"])

    @pytest.mark.parametrize(
        "text",
        [
            SHA256 + "\n",
            SHA256.upper(),
            SHA256[:-1],
            "sha256:" + "\u0661" * 64,
            "sha256:" + "a" * 63 + "\0",
            "sha256:../../../../etc/passwd",
            "sha256-" + "a" * 64,
            "md5:" + "a" * 32,
            None,
            7,
            b"x",
        ],
    )
    def test_what_is_none(self, text: t.Any) -> None:
        with pytest.raises(InvalidError):
            Digest(text)

    def test_both_algorithms(self) -> None:
        assert Digest.of(b"x").algorithm == "sha256" and Digest.of(b"x", "sha512").algorithm == "sha512"
        assert Digest(Digest.of(b"x", "sha512")) == Digest.of(b"x", "sha512")


class TestStrictJson:
    @pytest.mark.parametrize(
        "data",
        [
            b'{"a":1,"a":2}',
            b'{"a":NaN}',
            b'{"a":-Infinity}',
            b'{"a":1e999}',
            b'{"a":' + b"1" * 200_000 + b"}",
            b"[" * 100_000 + b"]" * 100_000,
            b'{"a":"\xff"}',
            b'\xef\xbb\xbf{"a":1}',
            '{"a":1}'.encode("utf-16"),
            b'{"a":"\\ud800"}',
            b"{",
            b"",
            b'{"a":1} {}',
        ],
        ids=["twice", "nan", "infinity", "overflow", "digits", "nested", "utf8", "bom", "utf16", "surrogate", "cut", "empty", "two"],
    )
    def test_what_others_accept_is_refused(self, data: bytes) -> None:
        with pytest.raises(InvalidError, match="the document"):
            strictjson.loads(data, "the document")

    def test_brackets_in_strings_do_not_count(self) -> None:
        text = '{"a":"' + "[" * 200 + '\\"{"}'
        assert strictjson.loads(text.encode(), "x") == json.loads(text)

    def test_a_bracket_after_a_quote_in_a_string_does_not_count(self) -> None:
        text = json.dumps({"a\\": '\\"' + "[" * 100, '"': "\\"})
        assert strictjson.loads(text.encode(), "it") == json.loads(text)
        with pytest.raises(InvalidError, match="nested deeper"):
            strictjson.loads(json.dumps({"a": '"'}).encode()[:-1] + b',"b":' + b"[" * 100 + b"]" * 100 + b"}", "it")

    def test_a_long_string_takes_little_memory(self) -> None:
        for long in ("x" * 500_000, "\n" * 250_000):
            data = json.dumps({"a": long}).encode()
            tracemalloc.start()
            try:
                strictjson.loads(data, "it")
                assert tracemalloc.get_traced_memory()[1] < 8 * len(data)
            finally:
                tracemalloc.stop()

    def test_a_whole_pair_of_surrogates_is_fine(self) -> None:
        assert strictjson.loads(b'"\\ud83d\\ude00"', "x") == "\U0001f600"

    def test_limits(self) -> None:
        with pytest.raises(InvalidError, match="limit of 4"):
            strictjson.loads(b'"abc"', "x", 4)
        with pytest.raises(InvalidError, match="not a JSON object"):
            strictjson.load_object(b"[]", "x")

    @pytest.mark.parametrize("data", [b'"' + b'\\"' * 1_000_000, b'"\\', b'["a\\', b'{"a": "b'], ids=["quotes", "escape", "list", "object"])
    def test_a_string_without_an_end_is_read_once(self, data: bytes) -> None:
        """Threat row 25: each of its escaped quotes was tried as the start of another string, for hours."""
        start = time.process_time()
        with pytest.raises(InvalidError, match="not valid JSON"):
            strictjson.loads(data, "x")
        assert time.process_time() - start < 5

    def test_it_is_written_as_go_does(self) -> None:
        assert strictjson.dumps({"b": "<&>\u2028é", "a": 1}) == '{"b":"\\u003c\\u0026\\u003e\\u2028é","a":1}'.encode()


class TestDescriptor:
    def test_the_examples_of_the_specification(self) -> None:
        for file in sorted(FIXTURES.glob("md-examples/descriptor-*.json")):
            document = json.loads(file.read_text())
            found = Descriptor.parse(document)
            assert (found.media_type, found.digest, found.size) == (document["mediaType"], document["digest"], document["size"])

    @pytest.mark.parametrize(
        "field, value",
        [
            ("mediaType", None),
            ("mediaType", "text"),
            ("mediaType", "text/plain; charset=utf-8"),
            ("mediaType", "text/plain\n"),
            ("digest", "sha256:12"),
            ("digest", None),
            ("size", -1),
            ("size", True),
            ("size", 1.0),
            ("size", "1"),
            ("size", 2**63),
            ("annotations", []),
            ("annotations", {"a": 1}),
            ("artifactType", "no"),
            ("platform", "linux"),
            ("data", "***"),
            ("data", 7),
        ],
    )
    def test_broken_fields(self, field: str, value: t.Any) -> None:
        document = {"mediaType": "text/plain", "digest": SHA256, "size": 1, field: value}
        with pytest.raises(InvalidError):
            Descriptor.parse(document)

    def test_data_must_be_the_content(self) -> None:
        good = {**Descriptor.of(b"abc", "text/plain").to_json(), "data": base64.b64encode(b"abc").decode()}
        assert Descriptor.parse(good).data == b"abc"
        for data in (b"abd", b"ab", b"abcd"):
            with pytest.raises(MismatchError):
                Descriptor.parse({**good, "data": base64.b64encode(data).decode()})

    def test_there_and_back(self) -> None:
        desc = Descriptor("text/plain", Digest(SHA256), 3, {"b": "2", "a": "1"}, "application/x", {"os": "linux", "architecture": "arm"})
        assert Descriptor.parse(desc.to_json()) == desc
        assert list(desc.to_json()["annotations"]) == ["a", "b"]
        assert EMPTY.to_json()["data"] == "e30=" and EMPTY.digest.startswith("sha256:44136fa3")


def image_document(**more: t.Any) -> t.Dict[str, t.Any]:
    config = Descriptor.of(b"{}", mediatype.OCI_CONFIG).to_json()
    return {"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, "config": config, "layers": [], **more}


def parse(document: t.Any, media_type: str = mediatype.OCI_MANIFEST) -> manifest.Manifest:
    content = json.dumps(document).encode()
    return manifest.parse(Descriptor.of(content, media_type), content)


class TestManifest:
    def test_what_buildkit_and_the_specification_wrote(self) -> None:
        seen = 0
        for file in [*FIXTURES.glob("buildkit-exporter/**/*"), *FIXTURES.glob("md-examples/*.json")]:
            if not file.is_file() or file.suffix == ".txt":
                continue
            content = file.read_bytes()
            document = json.loads(content)
            if not isinstance(document, dict) or not ({"manifests", "layers"} & set(document)):
                continue
            media_type = manifest.sniff_media_type(content, file.name)
            found = manifest.parse(Descriptor.of(content, media_type), content)
            assert len(found.layers) == len(document.get("layers") or []) and len(found.manifests) == len(document.get("manifests") or [])
            seen += 1
        assert seen >= 6

    @pytest.mark.parametrize(
        "document, media_type",
        [
            (image_document(manifests=[]), mediatype.OCI_MANIFEST),
            ({"schemaVersion": 2, "manifests": [], "layers": []}, mediatype.OCI_INDEX),
            ({"schemaVersion": 2, "manifests": [], "config": {}}, mediatype.OCI_INDEX),
            (image_document(mediaType=mediatype.OCI_INDEX), mediatype.OCI_MANIFEST),
            (image_document(mediaType=mediatype.DOCKER_MANIFEST), mediatype.OCI_MANIFEST),
            (image_document(mediaType=None), mediatype.DOCKER_MANIFEST),
            (image_document(schemaVersion=1), mediatype.OCI_MANIFEST),
            (image_document(schemaVersion=True), mediatype.OCI_MANIFEST),
            (image_document(schemaVersion="2"), mediatype.OCI_MANIFEST),
            (image_document(fsLayers=[]), mediatype.OCI_MANIFEST),
            (image_document(Manifests=[]), mediatype.OCI_MANIFEST),
            (image_document(config=None), mediatype.OCI_MANIFEST),
            (image_document(layers={}), mediatype.OCI_MANIFEST),
            (image_document(layers=[7]), mediatype.OCI_MANIFEST),
            (image_document(annotations={"a": 1}), mediatype.OCI_MANIFEST),
            (image_document(artifactType="no"), mediatype.OCI_MANIFEST),
            (image_document(), "application/vnd.docker.distribution.manifest.v1+json"),
            (image_document(), "application/json"),
            ([], mediatype.OCI_MANIFEST),
        ],
    )
    def test_documents_that_are_not_exactly_one_thing(self, document: t.Any, media_type: str) -> None:
        with pytest.raises(InvalidError):
            parse(document, media_type)

    def test_null_lists_are_empty(self) -> None:
        assert parse(image_document(layers=None)).layers == ()
        assert parse({"schemaVersion": 2, "manifests": None}, mediatype.OCI_INDEX).manifests == ()

    def test_successors(self) -> None:
        layer = Descriptor.of(b"l", mediatype.OCI_LAYER)
        content = json.dumps(image_document(layers=[layer.to_json()], subject=layer.to_json())).encode()
        desc = Descriptor.of(content, mediatype.OCI_MANIFEST)
        assert [found.media_type for found in manifest.successors(desc, content)] == [mediatype.OCI_CONFIG, mediatype.OCI_LAYER]
        assert manifest.successors(Descriptor.of(content, "application/json"), content) == []

    def test_sniffing(self) -> None:
        assert manifest.sniff_media_type(b'{"manifests":[]}', "x") == mediatype.OCI_INDEX
        assert manifest.sniff_media_type(b'{"config":{}}', "x") == mediatype.OCI_MANIFEST
        for content in (b"{}", b'{"mediaType":"text/html"}', b"<html>"):
            with pytest.raises(InvalidError):
                manifest.sniff_media_type(content, "x")


class TestGraph:
    def test_children_come_first_and_once(self) -> None:
        a, b, c = (Descriptor.of(name, mediatype.OCI_INDEX) for name in (b"a", b"b", b"c"))
        below = {a.digest: [b, c, b], b.digest: [c], c.digest: [a]}
        assert list(post_order(a, lambda desc: below[desc.digest])) == [c, b, a]

    def test_a_graph_without_end_is_refused(self) -> None:
        def deeper(desc: Descriptor) -> t.List[Descriptor]:
            return [Descriptor.of(desc.digest.encode(), mediatype.OCI_INDEX)]

        def wider(desc: Descriptor) -> t.Iterable[Descriptor]:
            if desc != root:
                return []
            return (Descriptor("text/plain", Digest(f"sha256:{number:064x}"), 1) for number in range(MAX_NODES + 1))

        root = Descriptor.of(b"root", mediatype.OCI_INDEX)
        for children in (deeper, wider):
            with pytest.raises(InvalidError, match="deeper than"):
                list(post_order(root, children))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("linux/i686", "linux/386"),
        ("linux/armv5tel", "linux/arm/v5"),
        ("linux/armv6l", "linux/arm/v6"),
        ("linux/armv7l", "linux/arm/v7"),
        ("linux/armv8l", "linux/arm/v8"),
        ("linux/loongarch64", "linux/loong64"),
        ("linux/ppc64el", "linux/ppc64le"),
    ],
)
def test_platforms(text: str, expected: str) -> None:
    assert str(Platform.parse(text)) == expected


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux/arm/foo/bar", "linux/a b", "lin*x/amd64", "linux/amd64\n"])
def test_no_platforms(text: str) -> None:
    with pytest.raises(InvalidError):
        Platform.parse(text)


@pytest.mark.parametrize(
    "text, epoch",
    [
        ("0", 0),
        ("1795467060", 1795467060),
        ("2026-11-23T20:51:00Z", 1795467060),
        ("2026-11-23T20:51:00z", 1795467060),
        ("2026-11-23T21:51:00+01:00", 1795467060),
    ],
)
def test_timestamps(text: str, epoch: int) -> None:
    assert Timestamp.parse(text, "created").epoch == epoch


def test_a_time_is_the_same_wherever_it_is_used() -> None:
    time = Timestamp.parse("0", "created")
    with pytest.raises(dataclasses.FrozenInstanceError):
        time.epoch = 1  # type: ignore[misc]
    assert {time, Timestamp(0)} == {time}


@pytest.mark.parametrize("text", ["", "-1", "now", "2026-11-23", "2026-11-23T20:51:00", "99999999999999", "253402300800", "1.5", "\u0661"])
def test_no_timestamps(text: str) -> None:
    with pytest.raises(InvalidError, match="created is"):
        Timestamp.parse(text, "created")


class TestErrors:
    def test_what_others_wrote_cannot_move_the_cursor(self) -> None:
        shown = str(OCIError("a\x1b[31mb\r\nc\u202ed\ud800"))
        assert shown.isprintable() and "\x1b" not in shown and "\\x1b" in shown

    def test_messages_are_capped(self) -> None:
        assert len(str(OCIError("x" * 100_000))) < 5000

    def test_the_nearest_location_stays(self) -> None:
        with pytest.raises(OCIError) as caught, located("outer"), located("inner"):
            raise OCIError("broke")
        assert str(caught.value) == "inner: broke"

    def test_the_systems_errors_are_translated(self) -> None:
        with pytest.raises(StorageError, match="reading /x: No space left on device"), storage_errors("reading /x"):
            raise OSError(28, "No space left on device")

    def test_which_path_it_was(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "use.yml").write_text("x")
        below = tmp_path / "use.yml" / "deep" / "x.tar"
        told = f"resolving: {below}: Not a directory ({tmp_path / 'use.yml'} is a file)"
        with pytest.raises(StorageError, match=re.escape(told)), storage_errors("resolving"):
            below.read_bytes()

    def test_a_path_is_said_once(self) -> None:
        with pytest.raises(StorageError) as caught, storage_errors("reading /x/y"):
            raise PermissionError(13, "Permission denied", "/x/y")
        assert str(caught.value).startswith("reading /x/y: Permission denied")

    def test_names_below_a_descriptor_are_not_said(self) -> None:
        """They are temp names, or mean nothing without their folder."""
        with pytest.raises(StorageError) as caught, storage_errors("writing"):
            raise OSError(28, "No space left on device", ".lading-1")
        assert str(caught.value) == "writing: No space left on device"

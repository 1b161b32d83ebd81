# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests, indexes and configs that are two things at once, not JSON, too large or without an end (rows 24 to 27 and 29)."""

from __future__ import annotations

import base64
import functools
import hashlib
import typing as t

from clients import Place

from .bench import LAYER, OCI_INDEX, OCI_MANIFEST, Bench, Document, dumps
from .case import ACCEPTED, CONTAINED, COPY, RELAY, Case
from .layouts import parts

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
Fields = t.Callable[[Bench, Document], Document]


def _manifest(bench: Bench) -> Document:
    found = parts(bench)
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": found.config, "layers": [found.layer]}


def _changed(fields: Fields, media_type: str, bench: Bench) -> Place:
    good = _manifest(bench)
    return bench.named(bench.put(dumps({**good, **fields(bench, good)}), media_type))


# Fields that make a good manifest something else.
FIELDS: t.Dict[str, Fields] = {
    "r24-manifest-and-index": lambda b, m: {"manifests": [b.artifact()]},
    "r24-empty-manifests": lambda b, m: {"manifests": []},
    "r24-null-manifests": lambda b, m: {"manifests": None},
    "r24-says-it-is-an-index": lambda b, m: {"mediaType": OCI_INDEX},
    "r24-says-it-is-dockers": lambda b, m: {"mediaType": DOCKER},
    "r24-says-it-is-a-number": lambda b, m: {"mediaType": 5},
    "r24-schema-1": lambda b, m: {"schemaVersion": 1, "fsLayers": []},
    "r24-fs-layers": lambda b, m: {"fsLayers": []},
    "r24-schema-version-as-text": lambda b, m: {"schemaVersion": "2"},
    "r24-schema-version-3": lambda b, m: {"schemaVersion": 3},
    "r24-other-case-layers": lambda b, m: {"Layers": []},
    "r24-other-case-config": lambda b, m: {"CONFIG": m["layers"][0]},
    "r24-other-case-manifests": lambda b, m: {"maniFests": []},
    "r24-other-case-subject": lambda b, m: {"Subject": m["config"]},
    "r25-null-config": lambda b, m: {"config": None},
    "r25-layers-are-an-object": lambda b, m: {"layers": {"0": m["layers"][0]}},
    "r25-layer-is-null": lambda b, m: {"layers": [None]},
    "r25-layer-is-text": lambda b, m: {"layers": [m["layers"][0]["digest"]]},
    "r25-size-is-text": lambda b, m: {"layers": [{**m["layers"][0], "size": "1"}]},
    "r25-size-is-true": lambda b, m: {"layers": [{**m["layers"][0], "size": True}]},
    "r25-size-is-negative": lambda b, m: {"layers": [{**m["layers"][0], "size": -1}]},
    "r25-size-is-2-64": lambda b, m: {"layers": [{**m["layers"][0], "size": 2**64}]},
    "r25-size-is-a-fraction": lambda b, m: {"layers": [{**m["layers"][0], "size": 1.5}]},
    "r25-media-type-is-null": lambda b, m: {"layers": [{**m["layers"][0], "mediaType": None}]},
    "r25-annotations-are-numbers": lambda b, m: {"annotations": {"a": 1}},
    "r25-annotations-are-a-list": lambda b, m: {"layers": [{**m["layers"][0], "annotations": ["a"]}]},
    "r29-data-of-other-content": lambda b, m: {"config": {**m["config"], "data": base64.b64encode(b"{}").decode()}},
    "r29-data-of-the-same-size": lambda b, m: {"config": {**m["config"], "data": base64.b64encode(b" " * m["config"]["size"]).decode()}},
    "r29-data-of-a-layer": lambda b, m: {"layers": [{**m["layers"][0], "data": base64.b64encode(b"evil").decode()}]},
    "r29-data-that-is-not-base64": lambda b, m: {"config": {**m["config"], "data": "!!"}},
    "r29-data-that-is-a-number": lambda b, m: {"config": {**m["config"], "data": 1}},
}


def _bytes(change: t.Callable[[bytes], bytes], bench: Bench) -> Place:
    return bench.named(bench.put(change(dumps(_manifest(bench))), OCI_MANIFEST))


def _index_bytes(change: t.Callable[[bytes], bytes], bench: Bench) -> Place:
    entry = parts(bench).root
    named = {**entry, "annotations": {"org.opencontainers.image.ref.name": "v1"}}
    return bench.finished(change(dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [named]})))


def _with(text: bytes) -> t.Callable[[bytes], bytes]:
    return lambda content: content[:-1] + b"," + text + b"}"


# What makes a good document bad as JSON.
BYTES: t.Dict[str, t.Callable[[bytes], bytes]] = {
    "r25-duplicate-media-type": _with(b'"mediaType":"application/json"'),
    "r25-duplicate-schema-version": _with(b'"schemaVersion":2'),
    "r25-duplicate-escaped": _with(b'"schema\\u0056ersion":2'),
    "r25-duplicate-deep": _with(b'"x":[{"a":{"b":1,"b":2}}]'),
    "r25-nan": _with(b'"x":NaN'),
    "r25-infinity": _with(b'"x":-Infinity'),
    "r25-200000-digits": _with(b'"x":' + b"9" * 200_000),
    "r25-large-exponent": _with(b'"x":1e999999'),
    "r25-long-fraction": _with(b'"x":0.' + b"1" * 200_000),
    "r25-100000-lists": _with(b'"x":' + b"[" * 100_000 + b"]" * 100_000),
    "r25-100000-lists-open": _with(b'"x":' + b"[" * 100_000),
    "r25-100000-objects": _with(b'"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "r25-not-utf8": _with(b'"x":"\xff\xfe"'),
    "r25-overlong-utf8": _with(b'"x":"\xc0\xaf"'),
    "r25-surrogate-bytes": _with(b'"x":"\xed\xa0\x80"'),
    "r25-lone-surrogate": _with(b'"x":"\\ud800"'),
    "r25-utf16": lambda content: content.decode().encode("utf-16"),
    "r25-utf32": lambda content: content.decode().encode("utf-32"),
    "r25-byte-order-mark": lambda content: b"\xef\xbb\xbf" + content,
    "r25-comment": lambda content: b"/* */" + content,
    "r25-comma-last": lambda content: content[:-1] + b",}",
    "r25-two-documents": lambda content: content + content,
    "r25-nul-after": lambda content: content + b"\0",
    "r25-control-character": _with(b'"x":"\n"'),
    "r25-cut": lambda content: content[:-1],
    "r25-empty": lambda content: b"",
    "r25-null": lambda content: b"null",
    "r25-list": lambda content: b"[" + content + b"]",
    "r25-text": lambda content: b'"text"',
    "r26-5-mib": lambda content: content[:-1] + b" " * 5 * 1024 * 1024 + b"}",
    "r26-64-mib": lambda content: content[:-1] + b" " * 64 * 1024 * 1024 + b"}",
    "r26-5-mib-of-text": _with(b'"x":"' + b"x" * 5 * 1024 * 1024 + b'"'),
}


def _index_of(count: int, bench: Bench) -> Place:
    """Entries of which nothing is stored."""
    entries = [{"mediaType": OCI_MANIFEST, "digest": f"sha256:{number:064x}", "size": 2} for number in range(count)]
    return bench.named(bench.index(*entries))


def _index_json_of(count: int, bench: Bench) -> Place:
    """More than a million entries in index.json itself."""
    one = b'{"mediaType":"a/b","digest":"sha256:' + b"0" * 64 + b'","size":2},'
    return bench.finished(b'{"schemaVersion":2,"manifests":[' + (one * count)[:-1] + b"]}")


def _deep(levels: int, bench: Bench) -> Place:
    root = parts(bench).root
    for _level in range(levels):
        root = bench.index(root)
    return bench.named(root)


def _fan_out(wide: int, levels: int, bench: Bench) -> Place:
    """Each index names the one below many times: wide ** levels ways through it."""
    root = parts(bench).root
    for _level in range(levels):
        root = bench.index(*(dict(root, annotations={"n": str(number)}) for number in range(wide)))
    return bench.named(root)


def _loop(bench: Bench) -> Place:
    """An index that names its own digest, which no hash allows: its bytes are others'."""
    name = hashlib.sha256(b"loop").hexdigest()
    itself = {"mediaType": OCI_INDEX, "digest": f"sha256:{name}", "size": 0}
    for _round in range(3):
        content = dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [itself]})
        itself["size"] = len(content)
    (bench.blobs / name).write_bytes(content)
    return bench.named(itself)


def _loop_of_two(bench: Bench) -> Place:
    names = [hashlib.sha256(text).hexdigest() for text in (b"one", b"two")]
    entries = [{"mediaType": OCI_INDEX, "digest": f"sha256:{name}", "size": 222} for name in names]
    for name, other in zip(names, reversed(entries)):
        content = dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [other]})
        (bench.blobs / name).write_bytes(content.ljust(222))
    return bench.named(entries[0])


def _subject_itself(bench: Bench) -> Place:
    """A subject that is not there is fine: it is a weak link."""
    good = _manifest(bench)
    return bench.named(bench.document({**good, "subject": {"mediaType": OCI_MANIFEST, "digest": f"sha256:{'1' * 64}", "size": 3}}))


def _urls(bench: Bench) -> Place:
    """The layer is stored, and the foreign place that it names must not be asked (TEST-NET-1 answers nobody)."""
    found = parts(bench)
    layer = {**found.layer, "urls": ["http://192.0.2.1/evil", "file:///etc/passwd"]}
    return bench.named(bench.document({"config": found.config, "layers": [layer]}))


def _urls_only(media_type: str, bench: Bench) -> Place:
    found = parts(bench)
    bench.path_of(found.layer).unlink()
    layer = {**found.layer, "mediaType": media_type, "urls": ["http://192.0.2.1/evil", "file:///etc/passwd"]}
    return bench.named(bench.document({"config": found.config, "layers": [layer]}))


def _long_text(bench: Bench) -> Place:
    """One string of nearly 4 MiB is a valid document, and may not cost a hundred times of that."""
    text = "x" * 3_900_000
    return bench.named(bench.document({**_manifest(bench), "annotations": {"a": text}}))


def _oci_layout(content: bytes, bench: Bench) -> Place:
    place = parts(bench).place()
    (bench.source / "oci-layout").write_bytes(content)
    return place


LAYOUT_FILES = {
    "version-2": b'{"imageLayoutVersion":"2.0.0"}',
    "version-number": b'{"imageLayoutVersion":1}',
    "empty": b"",
    "list": b"[]",
    "duplicate": b'{"imageLayoutVersion":"2.0.0","imageLayoutVersion":"1.0.0"}',
    "5-mib": b'{"imageLayoutVersion":"1.0.0"' + b" " * 5 * 1024 * 1024 + b"}",
}

# One parser serves all documents; these are read in another way, or asked of it differently.
OF_INDEX_JSON = ("r25-duplicate-deep", "r25-100000-lists", "r25-not-utf8", "r25-lone-surrogate", "r25-cut", "r25-empty", "r25-list")
OF_INDEX_JSON += ("r26-5-mib", "r26-64-mib")

CASES = [
    *(Case(name, COPY, functools.partial(_changed, fields, OCI_MANIFEST)) for name, fields in FIELDS.items()),
    *(Case(f"{name}-of-a-manifest", COPY, functools.partial(_bytes, change)) for name, change in BYTES.items()),
    *(Case(f"{name}-of-index-json", COPY, functools.partial(_index_bytes, BYTES[name])) for name in OF_INDEX_JSON),
    Case("r24-descriptor-says-dockers", COPY, functools.partial(_changed, lambda b, m: {}, DOCKER)),
    Case("r24-descriptor-says-index", COPY, functools.partial(_changed, lambda b, m: {}, OCI_INDEX)),
    Case("r24-descriptor-says-layer", COPY, functools.partial(_changed, lambda b, m: {}, LAYER)),
    *(Case(f"r25-oci-layout-{name}", COPY, functools.partial(_oci_layout, content)) for name, content in LAYOUT_FILES.items()),
    Case("r26-long-text", COPY, _long_text, ACCEPTED),
    Case("r27-20000-absent", COPY, functools.partial(_index_of, 20_000)),
    Case("r27-1000000-entries", COPY, functools.partial(_index_json_of, 1_000_000)),
    Case("r27-20000-entries-of-one-digest", COPY, functools.partial(_index_json_of, 20_000)),
    Case("r27-100-deep", COPY, functools.partial(_deep, 100)),
    Case("r27-2000-deep", COPY, functools.partial(_deep, 2000)),
    Case("r27-30-deep", COPY, functools.partial(_deep, 30), ACCEPTED),
    Case("r27-fan-out-8-18", COPY, functools.partial(_fan_out, 8, 18), CONTAINED),
    Case("r27-names-itself", COPY, _loop),
    Case("r27-two-that-name-each-other", COPY, _loop_of_two),
    Case("r27-subject-is-absent", COPY, _subject_itself, CONTAINED),
    Case("r29-urls", RELAY, _urls, ACCEPTED),
    Case("r29-urls-only", COPY, functools.partial(_urls_only, LAYER)),
]

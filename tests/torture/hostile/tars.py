# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layout tars, and tars of docker save, that want out or are not what they say (row 30)."""

from __future__ import annotations

import functools
import gzip
import os
import typing as t

from clients import Place

from .bench import Bench, digest, dumps
from .case import ACCEPTED, CONTAINED, COPY, REFUSED, Case
from .layouts import Parts, parts
from .rawtar import BLOCK_DEVICE, CHARACTER, END, FIFO, HARD_LINK, file, folder, hard_link, header, padded, pax, symlink

Members = t.Dict[str, bytes]


def _members(found: Parts) -> Members:
    """The records of a good layout tar, by name."""
    found.place()
    names = [path for path in sorted(found.bench.source.rglob("*")) if path.is_file()]
    return {str(path.relative_to(found.bench.source)): _file(found, path.relative_to(found.bench.source)) for path in names}


def _file(found: Parts, path: t.Any) -> bytes:
    return file(str(path), (found.bench.source / path).read_bytes())


def _name(found: Parts, part: str) -> str:
    return "blobs/" + found._asdict()[part]["digest"].replace(":", "/")


Change = t.Callable[[Parts, Members], t.Any]


def _tar(change: Change, bench: Bench) -> Place:
    found = parts(bench)
    members = _members(found)
    added = change(found, members)
    return bench.tarred(b"".join(members.values()) + (added if isinstance(added, bytes) else b"") + END)


def _raw(change: t.Callable[[bytes], bytes], bench: Bench) -> Place:
    found = parts(bench)
    return bench.tarred(change(b"".join(_members(found).values()) + END))


def _replaced(part: str, record: t.Callable[[str, Parts], bytes]) -> Change:
    def change(found: Parts, members: Members) -> None:
        name = part if part in members else _name(found, part)
        members[name] = record(name, found)

    return change


def _secret_layer(kind: t.Callable[[str, str], bytes]) -> Change:
    """The layer has the secret's digest and size, and is a link to it."""

    def change(found: Parts, members: Members) -> bytes:
        secret = found.bench.secret.read_bytes()
        layer = {**found.layer, "digest": digest(secret), "size": len(secret)}
        found.bench.named(found.bench.document({"config": found.config, "layers": [layer]}))
        members.clear()
        members.update({str(path): _file(found, path) for path in _stored(found)})
        return kind("blobs/" + layer["digest"].replace(":", "/"), str(found.bench.secret))

    return change


def _stored(found: Parts) -> t.List[t.Any]:
    return [path.relative_to(found.bench.source) for path in sorted(found.bench.source.rglob("*")) if path.is_file()]


CHANGED: t.Dict[str, t.Tuple[Change, str]] = {
    "r30-layer-is-a-link": (_replaced("layer", lambda name, f: symlink(name, str(f.bench.secret))), REFUSED),
    "r30-layer-is-a-link-within": (_replaced("layer", lambda name, f: symlink(name, "../../oci-layout")), REFUSED),
    "r30-layer-is-a-hard-link-out": (_replaced("layer", lambda name, f: hard_link(name, str(f.bench.secret))), REFUSED),
    "r30-layer-is-a-hard-link-to-nothing": (_replaced("layer", lambda name, f: hard_link(name, "blobs/nothing")), REFUSED),
    "r30-layer-is-a-hard-link-to-another": (_replaced("layer", lambda name, f: hard_link(name, "oci-layout")), REFUSED),
    "r30-secret-as-a-link": (_secret_layer(symlink), REFUSED),
    "r30-secret-as-a-hard-link": (_secret_layer(hard_link), REFUSED),
    "r30-index-is-a-link": (_replaced("index.json", lambda name, f: symlink(name, str(f.bench.source / "index.json"))), REFUSED),
    "r30-oci-layout-is-a-link": (_replaced("oci-layout", lambda name, f: symlink(name, "index.json")), REFUSED),
    "r30-blobs-is-a-link": (lambda f, m: symlink("blobs", str(f.bench.source / "blobs")), REFUSED),
    "r30-layer-is-a-device": (_replaced("layer", lambda name, f: header(name, CHARACTER)), REFUSED),
    "r30-layer-is-a-disk": (_replaced("layer", lambda name, f: header(name, BLOCK_DEVICE)), REFUSED),
    "r30-layer-is-a-fifo": (_replaced("layer", lambda name, f: header(name, FIFO)), REFUSED),
    "r30-layer-is-sparse": (_replaced("layer", lambda name, f: header(name, b"S", 512) + bytes(512)), REFUSED),
    "r30-layer-is-a-folder": (_replaced("layer", lambda name, f: folder(name)), REFUSED),
    "r30-dotdot": (lambda f, m: file("../outside/evil"), REFUSED),
    "r30-dotdot-within": (lambda f, m: file("blobs/../../outside/evil"), REFUSED),
    "r30-absolute": (lambda f, m: file(str(f.bench.outside / "evil")), REFUSED),
    "r30-pax-path": (lambda f, m: pax({"path": "../outside/evil"}) + file("good"), REFUSED),
    "r30-nul": (lambda f, m: pax({"path": "a\0b"}) + file("good"), REFUSED),
    "r30-hard-link-dotdot": (lambda f, m: header("x", HARD_LINK, link="../outside/canary"), REFUSED),
    "r30-index-twice": (lambda f, m: file("index.json", m["index.json"][512:600]), REFUSED),
    "r30-index-twice-with-dot": (lambda f, m: file("./index.json", b"{}"), REFUSED),
    "r30-oci-layout-twice": (lambda f, m: file("oci-layout", b"{}"), REFUSED),
    "r30-index-as-a-file-and-a-link": (lambda f, m: symlink("index.json", "oci-layout"), REFUSED),
    "r30-size-past-the-end": (lambda f, m: header("x", size=2**32), REFUSED),
    "r30-size-negative": (lambda f, m: header("x", size=b"\xff" * 12), REFUSED),
    "r30-pax-size-past-the-end": (lambda f, m: pax({"size": str(2**62)}) + file("x"), REFUSED),
    "r30-pax-header-of-32-mib": (lambda f, m: pax({"comment": "c" * 32 * 1024 * 1024}) + file("x"), REFUSED),
    "r30-layer-flipped": (_replaced("layer", lambda name, f: file(name, b"evil".ljust(f.layer["size"]))), REFUSED),
    "r30-layer-absent": (lambda f, m: bytes(m.pop(_name(f, "layer")) and 0), REFUSED),
    "r30-layer-twice": (lambda f, m: file(_name(f, "layer"), b"evil".ljust(f.layer["size"])), REFUSED),
    "r30-no-index": (lambda f, m: bytes(m.pop("index.json") and 0), REFUSED),
    "r30-no-oci-layout": (lambda f, m: bytes(m.pop("oci-layout") and 0), REFUSED),
    "r30-link-elsewhere": (lambda f, m: symlink("link", "/etc") + file("link/evil"), CONTAINED),
    "r30-newline-in-a-name": (lambda f, m: file("a\nFORGED\nb\x1b[31m"), CONTAINED),
    "r30-other-members": (lambda f, m: file("README", b"x") + folder("more"), ACCEPTED),
}

RAW: t.Dict[str, t.Tuple[t.Callable[[bytes], bytes], str]] = {
    "r30-cut": (lambda tar: tar[:-2000], REFUSED),
    "r30-cut-in-a-header": (lambda tar: tar[:300], REFUSED),
    "r30-empty": (lambda tar: b"", REFUSED),
    "r30-zeros": (lambda tar: bytes(10240), REFUSED),
    "r30-text": (lambda tar: b"text" * 5000, REFUSED),
    "r30-gzip-cut": (lambda tar: gzip.compress(tar)[:-10], REFUSED),
    "r30-gzip-crc": (lambda tar: gzip.compress(tar)[:-8] + b"12345678", REFUSED),
    "r30-gzip-in-gzip": (lambda tar: gzip.compress(gzip.compress(tar)), REFUSED),
    "r30-zstd-rubbish": (lambda tar: b"\x28\xb5\x2f\xfd" + b"x" * 500, REFUSED),
    "r30-xz-rubbish": (lambda tar: b"\xfd7zXZ\x00" + b"x" * 500, REFUSED),
    "r30-zip": (lambda tar: b"PK\x03\x04" + tar, REFUSED),
}


def _saved(change: t.Callable[[t.Dict[str, t.Any], Parts], bytes], bench: Bench) -> Place:
    """A tar of docker save: only ours takes it under the name of a layout tar."""
    found = parts(bench)
    image = {"Config": "config.json", "RepoTags": ["example.com/app:v1"], "Layers": ["layer.tar"]}
    more = change(image, found)
    config, layer = (bench.path_of(desc).read_bytes() for desc in (found.config, found.layer))
    records = file("config.json", config) + (file("layer.tar", layer) if b"layer.tar" not in more[:100] else b"")
    return bench.tarred(more + records + file("manifest.json", dumps([image])) + END)


def _set(key: str, value: t.Any) -> t.Callable[[t.Dict[str, t.Any], Parts], bytes]:
    def change(image: t.Dict[str, t.Any], found: Parts) -> bytes:
        image[key] = value(found) if callable(value) else value
        return b""

    return change


SAVED: t.Dict[str, t.Tuple[t.Callable[[t.Dict[str, t.Any], Parts], bytes], str]] = {
    "r30-saved-config-dotdot": (_set("Config", "../outside/secret"), REFUSED),
    "r30-saved-config-absolute": (_set("Config", lambda f: str(f.bench.secret)), REFUSED),
    "r30-saved-layer-dotdot": (_set("Layers", ["../outside/secret"]), REFUSED),
    "r30-saved-layer-absolute": (_set("Layers", lambda f: [str(f.bench.secret)]), REFUSED),
    "r30-saved-layer-is-a-link-out": (lambda image, f: symlink("layer.tar", str(f.bench.secret)), REFUSED),
    "r30-saved-layer-is-a-relative-link-out": (lambda image, f: symlink("layer.tar", "../outside/secret"), REFUSED),
    "r30-saved-layer-is-a-loop": (lambda image, f: symlink("layer.tar", "layer.tar"), REFUSED),
    "r30-saved-layer-is-a-device": (lambda image, f: header("layer.tar", CHARACTER), REFUSED),
    "r30-saved-no-layers": (_set("Layers", []), REFUSED),
    "r30-saved-layers-are-text": (_set("Layers", "layer.tar"), REFUSED),
    "r30-saved-name-forged": (_set("RepoTags", ["x\nFORGED\n\x1b[2J:v1"]), REFUSED),
    "r30-saved-config-number": (_set("Config", 5), REFUSED),
}


def _compressed(bench: Bench) -> Place:
    return _raw(gzip.compress, bench)


def _random(bench: Bench) -> Place:
    return bench.tarred(padded(os.urandom(5000)))


CASES = [
    *(Case(name, COPY, functools.partial(_tar, change), expected) for name, (change, expected) in CHANGED.items()),
    *(Case(name, COPY, functools.partial(_raw, change), expected) for name, (change, expected) in RAW.items()),
    *(Case(name, COPY, functools.partial(_saved, change), expected) for name, (change, expected) in SAVED.items()),
    Case("r30-random", COPY, _random),
    Case("r30-gzip", COPY, _compressed, ACCEPTED),
]

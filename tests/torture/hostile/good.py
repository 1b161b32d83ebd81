# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is odd and right: whoever refuses this refuses too much."""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import typing as t

import zstandard
from clients import Place, Run

from .bench import OCI_CONFIG, OCI_MANIFEST, TITLE, Bench, dumps
from .case import ACCEPTED, COPY, PULL, UNPACK, Case
from .layouts import parts
from .rawtar import BLOCK, END, file, folder, hard_link, long_names, pax, symlink, whole

TITLES = {
    "spaces": "a file with spaces.txt",
    "unicode": "ünïcode/日本語.txt",
    "two-dots-first": "..foo",
    "two-dots-last": "foo..",
    "three-dots": "...",
    "dot-file": ".hidden/x",
    "percent": "a%2e%2e%2fb",
    "dollar": "$HOME/~",
    "longest": "x" * 255,
    "colon": "a:b",
    "dash": "-rf",
    "quotes": "a'b\"c",
    "glob": "*[a]?",
}


def _titled(title: str, bench: Bench) -> Place:
    return bench.named(bench.artifact(bench.titled(title)))


def _there(name: str, content: bytes = b"content") -> t.Callable[[Bench, Run], t.List[str]]:
    def check(bench: Bench, _run: Run) -> t.List[str]:
        path = bench.out / name
        return [] if path.is_file() and path.read_bytes() == content else [f"{name} is not there as it should be"]

    return check


def _folder(records: t.Sequence[bytes], bench: Bench) -> Place:
    return bench.named(bench.artifact(bench.packed("d", whole(*records))))


def _rootfs(records: t.Sequence[bytes], bench: Bench) -> Place:
    return bench.named(bench.image(whole(*records)))


LONG = "/".join(["n" * 60] * 5)
FOLDERS: t.Dict[str, t.Tuple[t.Sequence[bytes], str]] = {
    "hard-link": ([file("d/a"), hard_link("d/b", "d/a")], "d/b"),
    "link-within": ([folder("d/x"), file("d/x/a"), symlink("d/x/b", "../x/a")], "d/x/a"),
    "pax-name": ([pax({"path": f"d/{LONG}"}), file("d/short")], f"d/{LONG}"),
    "gnu-name": ([long_names(f"d/{LONG}"), file("d/short")], f"d/{LONG}"),
    "unicode": ([file("d/ü日本")], "d/ü日本"),
    "no-folders": ([file("d/x/y/z")], "d/x/y/z"),
    "folder-twice": ([folder("d"), folder("d"), file("d/a")], "d/a"),
    "comment": ([pax({"comment": "c" * 2000}, b"g"), file("d/a")], "d/a"),
    "two-dots-first": ([file("d/..a")], "d/..a"),
}
IMAGES: t.Dict[str, t.Tuple[t.Sequence[bytes], str]] = {
    "hard-link": ([file("a"), hard_link("b", "a")], "b"),
    "leading-dots": ([folder("./"), file("./a")], "a"),
    "leading-slash": ([file("/a")], "a"),
    "usr-merge": ([folder("usr/lib"), symlink("lib", "usr/lib"), file("lib/a")], "usr/lib/a"),
    "absolute-link": ([folder("usr/lib"), symlink("lib", "/usr/lib"), file("lib/a")], "usr/lib/a"),
    "link-above-the-root": ([folder("usr"), symlink("up", "../../../usr"), file("up/a")], "usr/a"),
    "pax-name": ([pax({"path": LONG}), file("short")], LONG),
    "gnu-name": ([long_names(LONG), file("short")], LONG),
    "newline-in-a-name": ([file("a"), file("b\nc")], "a"),
    "file-twice": ([file("a", b"other"), file("a")], "a"),
}


def _packed(pack: t.Callable[[bytes], bytes], suffix: str, bench: Bench) -> Place:
    return bench.named(bench.image(whole(file("a")), pack=pack, suffix=suffix))


def _two_members(tar: bytes) -> bytes:
    return gzip.compress(tar[:BLOCK]) + gzip.compress(tar[BLOCK:])


def _without_end(bench: Bench) -> Place:
    return bench.named(bench.image(whole(file("a"))[: -len(END)]))


def _no_layers(bench: Bench) -> Place:
    return bench.named(bench.artifact())


def _empty_layer(bench: Bench) -> Place:
    return bench.named(bench.artifact(bench.titled("empty", b"")))


def _image_without_layers(bench: Bench) -> Place:
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    return bench.named(bench.document({"config": bench.put(dumps(config), OCI_CONFIG), "layers": []}))


def _empty_config_without_type(bench: Bench) -> Place:
    """image-spec wants an artifactType here, and readers must not mind."""
    config = bench.put(b"{}", "application/vnd.oci.empty.v1+json")
    return bench.named(bench.document({"config": config, "layers": [bench.titled("a")]}))


def _unknown_types(bench: Bench) -> Place:
    layer = bench.titled("a", fields="unknown", nested={"x": [1, 2.5, None, True]})
    layer["mediaType"] = "application/vnd.nobody.knows+this;v=1".partition(";")[0]
    return bench.named(bench.artifact(layer, more={"unknown": [{}]}))


def _index_of_index(bench: Bench) -> Place:
    return bench.named(bench.index(bench.index(bench.artifact(bench.titled("a"))), bench.artifact(bench.titled("b"))))


def _sha512(bench: Bench) -> Place:
    return bench.named(bench.artifact(bench.put(b"content", "text/plain", "sha512", annotations={TITLE: "a"})))


def _extra_files(bench: Bench) -> Place:
    place = parts(bench).place()
    (bench.source / "README").write_text("x")
    (bench.source / "blobs" / "md5").mkdir()
    (bench.source / "blobs" / "md5" / "0").write_text("x")
    (bench.blobs / "not-a-digest").write_text("x")
    (bench.blobs / hashlib.sha256(b"nobody").hexdigest()).write_text("unreferenced and wrong")
    (bench.source / "link").symlink_to("/nowhere")
    os.mkfifo(bench.source / "fifo")
    return place


def _foreign_entries(bench: Bench) -> Place:
    """Unknown entries of index.json must not be an error (image-layout.md)."""
    odd = {"mediaType": "application/xml", "digest": f"sha256:{'0' * 64}", "size": 3, "annotations": {"x": "y"}}
    return bench.named(parts(bench).root, odd, {**odd, "digest": "md5:" + "0" * 32})


def _no_media_type(bench: Bench) -> Place:
    """OCI documents may leave it out."""
    found = parts(bench)
    content = dumps({"schemaVersion": 2, "config": found.config, "layers": [found.layer]})
    return bench.named(bench.put(content, OCI_MANIFEST))


def _pretty(bench: Bench) -> Place:
    """Bytes are kept as they are, whatever their form."""
    found = parts(bench)
    content = b'\n{ "layers" : [] ,\t"config":' + dumps(found.config) + b', "schemaVersion": 2 }\r\n'
    return bench.named(bench.put(content, OCI_MANIFEST))


CASES = [
    *(Case(f"good-title-{name}", PULL, functools.partial(_titled, title), ACCEPTED, check=_there(title)) for name, title in TITLES.items()),
    *(
        Case(f"good-folder-{name}", PULL, functools.partial(_folder, records), ACCEPTED, check=_there(path))
        for name, (records, path) in FOLDERS.items()
    ),
    *(
        Case(f"good-rootfs-{name}", UNPACK, functools.partial(_rootfs, records), ACCEPTED, check=_there(path))
        for name, (records, path) in IMAGES.items()
    ),
    *(
        Case(f"good-rootfs-{name}", UNPACK, functools.partial(_packed, pack, suffix), ACCEPTED, check=_there("a"))
        for name, pack, suffix in (
            ("zstd", zstandard.ZstdCompressor().compress, "+zstd"),
            ("plain", bytes, ""),
            ("gzip-of-two-members", _two_members, "+gzip"),
        )
    ),
    Case("good-rootfs-without-end-records", UNPACK, _without_end, ACCEPTED, check=_there("a")),
    Case("good-artifact-without-layers", COPY, _no_layers, ACCEPTED),
    Case("good-artifact-without-layers-pulled", PULL, _no_layers, ACCEPTED),
    Case("good-empty-layer", PULL, _empty_layer, ACCEPTED, check=_there("empty", b"")),
    Case("good-image-without-layers", COPY, _image_without_layers, ACCEPTED),
    Case("good-empty-config-without-type", PULL, _empty_config_without_type, ACCEPTED, check=_there("a")),
    Case("good-unknown-media-types", PULL, _unknown_types, ACCEPTED, check=_there("a")),
    Case("good-index-of-index", PULL, _index_of_index, ACCEPTED, check=_there("a")),
    Case("good-index-of-index-copied", COPY, _index_of_index, ACCEPTED),
    Case("good-sha512", PULL, _sha512, ACCEPTED, check=_there("a")),
    Case("good-extra-files", COPY, _extra_files, ACCEPTED),
    Case("good-foreign-entries", COPY, _foreign_entries, ACCEPTED),
    Case("good-no-media-type", COPY, _no_media_type, ACCEPTED),
    Case("good-pretty", COPY, _pretty, ACCEPTED),
    Case("good-zstd-copied", COPY, functools.partial(_packed, zstandard.ZstdCompressor().compress, "+zstd"), ACCEPTED),
]

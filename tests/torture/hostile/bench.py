# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where one case plays: a source that it makes, a destination, and what lies outside of both and has to stay as it is."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pathlib
import stat
import typing as t

from clients import ARCHIVE, LAYOUT, Place

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
TITLE = "org.opencontainers.image.title"
REF_NAME = "org.opencontainers.image.ref.name"
UNPACK = "io.deis.oras.content.unpack"
OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
Document = t.Dict[str, t.Any]


def digest(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def dumps(document: t.Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("utf-8", "surrogatepass")


class Bench:
    """``outside`` has the secret and the canary; ``out`` is the destination; ``source`` the layout that ``Bench`` writes."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.outside, self.out, self.source = root / "outside", root / "out", root / "source"
        self.home = root / "home"
        self.outside.mkdir()
        self.canary = self.outside / "canary"
        self.canary.write_text("untouched")
        self.canary.chmod(0o640)
        self.secret = self.outside / "secret"
        self.secret.write_bytes(b"only for root: " + os.urandom(16).hex().encode())
        self.blobs = self.source / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)

    # What a layout is made of.

    def put(self, content: bytes, media_type: str = "text/plain", algorithm: str = "sha256", **fields: t.Any) -> Document:
        """Store a blob; its descriptor, with other fields where the case wants them wrong."""
        name = digest(content, algorithm)
        path = self.source / "blobs" / algorithm / name.partition(":")[2]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return {"mediaType": media_type, "digest": name, "size": len(content), **fields}

    def path_of(self, desc: Document) -> pathlib.Path:
        return self.source.joinpath("blobs", *desc["digest"].split(":"))

    def titled(self, title: str, content: bytes = b"content", **fields: t.Any) -> Document:
        return self.put(content, annotations={TITLE: title}, **fields)

    def packed(self, title: str, tar: bytes, pack: t.Callable[[bytes], bytes] = gzip.compress) -> Document:
        """A layer that is a folder, as oras makes them."""
        return self.put(pack(tar), LAYER + "+gzip", annotations={TITLE: title, UNPACK: "true"})

    def artifact(self, *layers: Document, **more: t.Any) -> Document:
        config = self.put(b"{}", OCI_EMPTY)
        return self.document({"artifactType": "application/vnd.lading.test", "config": config, "layers": list(layers), **more})

    def image(self, *tars: bytes, pack: t.Callable[[bytes], bytes] = gzip.compress, suffix: str = "+gzip", **config: t.Any) -> Document:
        diff_ids = [digest(tar) for tar in tars]
        document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **config}
        layers = [self.put(pack(tar), LAYER + suffix) for tar in tars]
        return self.document({"config": self.put(dumps(document), OCI_CONFIG), "layers": layers})

    def document(self, fields: Document, media_type: str = OCI_MANIFEST, **descriptor: t.Any) -> Document:
        return self.put(dumps({"schemaVersion": 2, "mediaType": media_type, **fields}), media_type, **descriptor)

    def index(self, *entries: Document, **more: t.Any) -> Document:
        return self.document({"manifests": list(entries), **more}, OCI_INDEX)

    def named(self, root: Document, *more: Document, ref: str = "v1") -> Place:
        """Finish the layout: ``root`` is what ``ref`` names."""
        entry = {**root, "annotations": {**root.get("annotations", {}), REF_NAME: ref}}
        return self.finished(dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry, *more]}))

    def finished(self, index: bytes, oci_layout: bytes = OCI_LAYOUT) -> Place:
        (self.source / "index.json").write_bytes(index)
        (self.source / "oci-layout").write_bytes(oci_layout)
        return Place(LAYOUT, str(self.source))

    def tarred(self, content: bytes) -> Place:
        path = self.root / "source.tar"
        path.write_bytes(content)
        return Place(ARCHIVE, str(path))

    # What must stay as it is.

    def surroundings(self) -> t.Dict[str, t.Any]:
        """Everything outside of source, destination and the client's own home."""
        mine = {self.out.name, self.source.name, "source.tar", self.home.name}
        found = {name: True for name in os.listdir(self.root) if name not in mine}
        return {**found, **tree(self.outside)}


def tree(folder: pathlib.Path) -> t.Dict[str, t.Any]:
    """What stands in a folder, by path: kind, permissions, owner, names, content or target. Nothing is followed."""
    found: t.Dict[str, t.Any] = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(parent, name)
            state = os.lstat(path)
            if stat.S_ISLNK(state.st_mode):
                content: t.Any = os.readlink(path)
            else:
                content = pathlib.Path(path).read_bytes() if stat.S_ISREG(state.st_mode) else None
            found[os.path.relpath(path, folder)] = (stat.S_IFMT(state.st_mode), stat.S_IMODE(state.st_mode), state.st_uid, content)
    return found

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts in memory, and tars as only others write them."""

from __future__ import annotations

import gzip
import io
import tarfile
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import EMPTY, EMPTY_CONTENT, TITLE, Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import NotFoundError

UNPACK = "io.deis.oras.content.unpack"
CONTENT_DIGEST = "io.deis.oras.content.digest"
Member = t.Tuple[tarfile.TarInfo, bytes]


class MemorySource(Source):
    """``opened`` lists the content that was read, in order. What ``contents`` holds under a digest need not be right."""

    location = "source memory"

    def __init__(self) -> None:
        self.contents: t.Dict[Digest, bytes] = {EMPTY.digest: EMPTY_CONTENT}
        self.names: t.Dict[str, Descriptor] = {}
        self.opened: t.List[Digest] = []

    def add(self, content: bytes, media_type: str = "text/plain", **annotations: str) -> Descriptor:
        desc = Descriptor.of(content, media_type, annotations)
        self.contents[desc.digest] = content
        return desc

    def file(self, title: str, content: bytes) -> Descriptor:
        return self.add(content, **{TITLE: title})

    def folder(self, title: str, tar: bytes, **annotations: str) -> Descriptor:
        return self.add(tar, mediatype.OCI_LAYER_GZIP, **{TITLE: title, UNPACK: "true", **annotations})

    def artifact(self, *layers: Descriptor, config: Descriptor = EMPTY, **more: t.Any) -> Descriptor:
        document = {"config": config.to_json(), "layers": [desc.to_json() for desc in layers], **more}
        return self.document(mediatype.OCI_MANIFEST, document)

    def index(self, *manifests: Descriptor) -> Descriptor:
        return self.document(mediatype.OCI_INDEX, {"manifests": [desc.to_json() for desc in manifests]})

    def document(self, media_type: str, fields: t.Dict[str, t.Any]) -> Descriptor:
        return self.add(strictjson.dumps({"schemaVersion": 2, "mediaType": media_type, **fields}), media_type)

    def _resolve(self, reference: t.Optional[str]) -> Descriptor:
        if reference not in self.names:
            raise NotFoundError(f"no {reference}")
        return self.names[reference]

    def _exists(self, desc: Descriptor) -> bool:
        return desc.digest in self.contents

    def _open(self, desc: Descriptor) -> io.BytesIO:
        self.opened.append(desc.digest)
        if desc.digest not in self.contents:
            raise NotFoundError(f"no {desc.digest}")
        return io.BytesIO(self.contents[desc.digest])


def member(name: str, content: bytes = b"", mode: int = 0o644, kind: bytes = tarfile.REGTYPE, link: str = "") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, len(content)
    return info, content


def folder(name: str, mode: int = 0o755) -> Member:
    return member(name, mode=mode, kind=tarfile.DIRTYPE)


def symlink(name: str, target: str) -> Member:
    return member(name, kind=tarfile.SYMTYPE, link=target)


def hard_link(name: str, target: str) -> Member:
    return member(name, kind=tarfile.LNKTYPE, link=target)


def plain_tar(*members: Member) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_gz(*members: Member) -> bytes:
    return gzip.compress(plain_tar(*members))

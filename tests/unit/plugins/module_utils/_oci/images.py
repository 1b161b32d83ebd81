# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, indexes and referrers for tests, written straight into a layout folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Incoming, bytes_opener
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import EMPTY, EMPTY_CONTENT, Descriptor

Document = t.Dict[str, t.Any]


def tar_of(**files: str) -> bytes:
    """An uncompressed layer with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return buffer.getvalue()


class Images:
    """Writes into ``layout``; every method gives the descriptor of what it wrote, and names it when a tag is given."""

    def __init__(self, path: t.Any) -> None:
        self.layout = Layout(str(path))

    def put(self, content: bytes, media_type: str, tags: t.Sequence[str] = (), **more: t.Any) -> Descriptor:
        plain = Descriptor.of(content, media_type)
        desc = Descriptor(plain.media_type, plain.digest, plain.size, **more)
        with self.layout.receiving(Incoming(desc, tuple(tags), (desc,))):
            self.layout.push(desc, bytes_opener(desc, content))
            if tags:
                self.layout.tag(desc, content, tags)
        return desc

    def document(self, document: Document, media_type: str, tags: t.Sequence[str] = (), listed: bool = False, **more: t.Any) -> Descriptor:
        content = strictjson.dumps({"schemaVersion": 2, "mediaType": media_type, **document})
        desc = self.put(content, media_type, tags, **more)
        if listed:
            self.layout.tag(desc, content, ())
        return desc

    def image(
        self,
        *layers: bytes,
        tags: t.Sequence[str] = (),
        platform: str = "linux/amd64",
        compression: str = "gzip",
        docker: bool = False,
        **more: t.Any,
    ) -> Descriptor:
        """With a right config; its descriptor states the platform."""
        os, architecture, *variant = platform.split("/")
        fields = {"architecture": architecture, "os": os, **({"variant": variant[0]} if variant else {})}
        diff_ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
        config = {**fields, "config": {"Env": ["A=b"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        base = "application/vnd.docker.image.rootfs.diff.tar" if docker else mediatype.OCI_LAYER
        suffix = {"gzip": ".gzip" if docker else "+gzip", "none": ""}[compression]
        blobs = [self.put(gzip.compress(one, mtime=0) if suffix else one, base + suffix) for one in layers]
        document = {
            "config": self.put(strictjson.dumps(config), mediatype.DOCKER_CONFIG if docker else mediatype.OCI_CONFIG).to_json(),
            "layers": [blob.to_json() for blob in blobs],
            **more,
        }
        return self.document(document, mediatype.DOCKER_MANIFEST if docker else mediatype.OCI_MANIFEST, tags, platform=fields)

    def index(self, *entries: Descriptor, tags: t.Sequence[str] = (), docker: bool = False, **more: t.Any) -> Descriptor:
        media_type = mediatype.DOCKER_LIST if docker else mediatype.OCI_INDEX
        return self.document({"manifests": [entry.to_json() for entry in entries], **more}, media_type, tags)

    def attestation(self, image: Descriptor) -> Descriptor:
        """As BuildKit writes them: an entry for an index."""
        layer = self.put(b'{"about": "%s"}' % image.digest.encode(), "application/vnd.in-toto+json")
        config = self.put(b'{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}', mediatype.OCI_CONFIG)
        annotations = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": str(image.digest)}
        document = {"config": config.to_json(), "layers": [layer.to_json()]}
        unknown = {"architecture": "unknown", "os": "unknown"}
        return self.document(document, mediatype.OCI_MANIFEST, annotations=annotations, platform=unknown)

    def referrer(self, subject: Descriptor, artifact_type: str, text: str = "", listed: bool = True, **more: t.Any) -> Descriptor:
        """An artifact that is attached to ``subject``; ``listed``: in index.json without a name, as oras does."""
        self.put(EMPTY_CONTENT, mediatype.OCI_EMPTY)
        layer = self.put(text.encode() or artifact_type.encode(), "text/plain")
        bare = Descriptor(subject.media_type, subject.digest, subject.size).to_json()
        document = {"artifactType": artifact_type, "config": EMPTY.to_json(), "layers": [layer.to_json()], "subject": bare, **more}
        return self.document(document, mediatype.OCI_MANIFEST, listed=listed)

    def json(self, desc: Descriptor) -> Document:
        return strictjson.load_object(self.layout.fetch_bytes(desc), "a document")

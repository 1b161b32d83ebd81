# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts of the kinds that people pull, made by ``oras push``."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from support import peer

HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
WASM = "application/wasm"
Document = t.Dict[str, t.Any]


class Oras:
    """Pushes to a registry without TLS, from files that are made below ``work``."""

    def __init__(self, program: pathlib.Path, work: pathlib.Path) -> None:
        self.program = program
        self.work = work
        work.mkdir(parents=True, exist_ok=True)

    def run(self, *command: str) -> str:
        return peer(self.program, *command, cwd=self.work)

    def write(self, files: t.Mapping[str, t.Union[bytes, int]]) -> t.List[str]:
        """The files, a number for the size of one that is all holes; their names without a media type."""
        for name, content in files.items():
            path = self.work / name.partition(":")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else b"")
            if isinstance(content, int):
                os.truncate(path, content)
        return list(files)

    def push(self, reference: str, files: t.Mapping[str, t.Union[bytes, int]], *options: str) -> Document:
        """The manifest of an artifact of files; a name may end in a colon and a media type."""
        self.run("push", "--plain-http", *options, reference, *self.write(files))
        return self.manifest(reference)

    def manifest(self, reference: str) -> Document:
        return json.loads(self.run("manifest", "fetch", "--plain-http", reference))

    def descriptor(self, reference: str) -> Document:
        return json.loads(self.run("manifest", "fetch", "--plain-http", "--descriptor", reference))

    def put(self, reference: str, document: Document) -> None:
        (self.work / "manifest.json").write_text(json.dumps(document))
        self.run("manifest", "push", "--plain-http", "--media-type", document["mediaType"], reference, "manifest.json")

    def push_untitled(self, reference: str, files: t.Mapping[str, t.Union[bytes, int]], *options: str) -> Document:
        """As ``helm push`` and the tools of other kinds do it: no layer has a title."""
        document = self.push(reference, files, *options)
        for layer in document["layers"]:
            layer.pop("annotations", None)
        self.put(reference, document)
        return document

    def index(self, reference: str, children: t.Mapping[str, str]) -> None:
        """An index of what stands under other references, by platform."""
        entries = []
        for platform, child in children.items():
            os_name, _slash, architecture = platform.partition("/")
            entries.append({**self.descriptor(child), "platform": {"os": os_name, "architecture": architecture}})
        self.put(reference, {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries})

    def attach(self, reference: str, subject: str, files: t.Mapping[str, bytes]) -> None:
        """An artifact whose subject is another, under a tag of its own."""
        document = self.push(reference, files)
        wanted = ("mediaType", "digest", "size")
        self.put(reference, {**document, "subject": {key: value for key, value in self.descriptor(subject).items() if key in wanted}})


def push_chart(oras: Oras, central: str) -> None:
    """As ``helm push`` makes it. Leaves config.json for others."""
    oras.write({"config.json": b'{"name":"mychart","version":"0.1.0"}'})
    chart = {f"mychart.tgz:{HELM_CHART}": b"a chart"}
    oras.push_untitled(f"{central}charts/mychart:0.1.0", chart, "--config", f"config.json:{HELM_CONFIG}")


def push_examples(oras: Oras, central: str) -> t.Dict[str, str]:
    """What the examples of oci_pull take for granted in the registry ``central``; digests by the name of their layer."""
    push_chart(oras, central)
    oras.push_untitled(f"{central}team/filter:1.0", {f"module:{WASM}": b"\0asm\1\0\0\0"})
    oras.push(f"{central}models/small:1", {"small.gguf": 64 * 1024 * 1024, "LICENSE": b"MIT\n", "README.md": b"A model\n"})
    data = oras.push_untitled(f"{central}team/data:1", {"data": b"data"})
    pages = {"index.html:text/html": b"<p>", "drafts/new.html:text/html": b"<p>?", "style.css:text/css": b"p {}"}
    oras.push(f"{central}team/pages:2", pages)
    platforms = {f"linux/{name}": f"{central}team/tool:{name}" for name in ("amd64", "arm64", "riscv64", "s390x", "ppc64le")}
    for platform, reference in platforms.items():
        oras.push(reference, {"tool": platform.encode()}, "--config", f"config.json:{HELM_CONFIG}")
    oras.index(f"{central}team/tool:3", platforms)
    oras.push(f"{central}team/report:subject", {"program": b"\x7fELF"})
    oras.attach(f"{central}team/report:1", f"{central}team/report:subject", {"report.json": b"{}\n"})
    return {"data": data["layers"][0]["digest"]}

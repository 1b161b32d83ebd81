# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry with one image that stops in the middle of what it is told to, and tells when it does."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import typing as t

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = b"layer" * 1_000_000
CONFIG = b"{}"
BLOB, PUT, BUSY, NOTHING = "blob", "put", "busy", "nothing"


def _descriptor(media_type: str, content: bytes, **more: t.Any) -> t.Dict[str, t.Any]:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content), **more}


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


ROOT = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.lading.test",
        "config": _descriptor("application/vnd.oci.empty.v1+json", CONFIG),
        "layers": [_descriptor("application/octet-stream", LAYER, annotations={"org.opencontainers.image.title": "layer"})],
    }
).encode()


class Stalling(http.server.ThreadingHTTPServer):
    """``at``: BLOB sends half of the layer, PUT takes an upload without an answer, BUSY wants to be asked later, NOTHING stalls nowhere."""

    daemon_threads = True

    def __init__(self, at: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.at = at
        self.stalled = threading.Event()
        self.over = threading.Event()
        self.cancelled = threading.Event()
        self.host = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_request: t.Any) -> None:
        """Clients that go away are what this is for."""

    def __enter__(self) -> Stalling:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()

    def stall(self) -> None:
        self.stalled.set()
        self.over.wait(120)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Stalling
    protocol_version = "HTTP/1.1"

    def log_message(self, *_words: t.Any) -> None:
        """Quiet."""

    def _answer(self, status: int, content: bytes = b"", sent: t.Optional[int] = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:sent])
            self.wfile.flush()

    def do_GET(self) -> None:
        if self.server.at == PUT and ("/blobs/" in self.path or "/manifests/" in self.path):
            self._answer(404)
        elif "/manifests/" in self.path:
            self._answer(200, ROOT, Content_Type=MANIFEST, Docker_Content_Digest=digest(ROOT))
        elif self.path.endswith(digest(CONFIG)):
            self._answer(200, CONFIG)
        elif self.path.endswith(digest(LAYER)):
            self._layer()
        else:
            self._answer(200)

    do_HEAD = do_GET

    def _layer(self) -> None:
        if self.server.at == BUSY:
            self._answer(503, Retry_After="100")
            self.server.stalled.set()
        elif self.server.at == BLOB and self.command == "GET":
            self._answer(200, LAYER, len(LAYER) // 2)
            self.server.stall()
            self.close_connection = True
        else:
            self._answer(200, LAYER)

    def do_POST(self) -> None:
        self._answer(202, Location=f"{self.path}session")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.stall()

    def do_DELETE(self) -> None:
        self.server.cancelled.set()
        self._answer(204)

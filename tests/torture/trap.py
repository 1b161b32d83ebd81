# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry that lures, and a stranger that listens: everything that a client tells either of them is kept."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import io
import itertools
import json
import pathlib
import ssl
import tarfile
import typing as t
import urllib.parse

from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

USER, PASSWORD = "canary-user", "canary pass-word/7"
LOGIN = f"{USER}:{PASSWORD}"
BASIC = base64.b64encode(LOGIN.encode()).decode()
SIGNATURE = "canarysignature0123456789abcdef"
COOKIE = "canary-cookie-0123456789"
REPOSITORY = "team/app"
_CONFIG, _MANIFEST = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.manifest.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class _Handler(fake.Handler):
    """The fake registry for all clients: they ask /v2/ first, and upload in chunks whose length they do not say."""

    def respond(self) -> None:
        if self.path == "/v2/":
            if self._let_in("ping"):
                self.answer(200, {"Content-Type": "application/json"}, b"{}")
            return
        if self.command == "PATCH" and "Content-Range" not in self.headers:
            session = self.path.partition("?")[0].rpartition("/")[2]
            start = len(self.registry.state.uploads.get(session, b""))
            self.headers["Content-Range"] = f"{start}-{start + len(self.body) - 1}"
        super().respond()

    def _let_in(self, repository: str) -> bool:
        sent = self.headers.get("Authorization", "")
        if repository == "ping" and self.registry.bearer and sent[len("Bearer ") :] in self.registry.state.tokens:
            return True
        return super()._let_in(repository)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return super()._read_body()
        parts: t.List[bytes] = []
        while True:
            size = int(self.rfile.readline().partition(b";")[0], 16)
            parts.append(self.rfile.read(size))
            self.rfile.readline()
            if not size:
                return b"".join(parts)


class Server(fake.FakeRegistry):
    """``content``: whether it has the image, as ``REPOSITORY:v1``."""

    def __init__(self, content: bool, first_token: int) -> None:
        super().__init__()
        self._server.RequestHandlerClass = t.cast(
            t.Type[http.server.BaseHTTPRequestHandler], type("Bound", (_Handler,), {"registry": self})
        )
        # Tokens of two servers are never the same.
        self.numbers = itertools.count(first_token)
        self.layer, self.config = image()
        self.layer_digest, self.config_digest = digest_of(self.layer), digest_of(self.config)
        if content:
            self.put_image()

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    def put_image(self, layer: t.Optional[t.Mapping[str, t.Any]] = None) -> None:
        """The image; ``layer``: what its layer's descriptor has on top."""
        self.add_blob(self.layer)
        self.add_blob(self.config)
        self.put_manifest(manifest(self.layer, self.config, layer or {}))

    def put_manifest(self, document: bytes, tag: str = "v1") -> None:
        self.state.manifests[REPOSITORY, digest_of(document)] = (_MANIFEST, document)
        self.state.tags[REPOSITORY, tag] = digest_of(document)

    def told(self) -> str:
        """All that was ever said to it, as one text."""
        lines = []
        for one in self.seen:
            lines += [f"{one.method} {one.path}", *(f"{name}: {value}" for name, value in one.headers.items())]
            lines.append(one.body.decode("latin-1"))
        return "\n".join(lines)

    def use_tls(self, certificate: pathlib.Path, key: pathlib.Path, client_ca: t.Optional[pathlib.Path] = None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(certificate), str(key))
        if client_ca is not None:
            context.load_verify_locations(str(client_ca))
            context.verify_mode = ssl.CERT_OPTIONAL
        self.wrap_tls(context)


@dataclasses.dataclass(frozen=True)
class Trap:
    """``front`` wants a login with LOGIN; ``evil`` has the same content, wants nothing, and must not be told a secret."""

    front: Server
    evil: Server

    def needles(self) -> t.List[str]:
        return [*forms(PASSWORD), BASIC, COOKIE, *self.front.state.tokens]

    def leaks(self, strict: bool = True) -> t.List[str]:
        """What ``evil`` was told and should not have been; ``strict``: not even what it has brought along itself."""
        told = self.evil.told()
        found = [f"another origin was told {needle!r}" for needle in self.needles() if needle in told]
        for one in self.evil.seen if strict else ():
            found += [f"another origin got {name}" for name in ("authorization", "proxy-authorization", "cookie") if name in one.headers]
        return list(dict.fromkeys(found))

    def shown(self, output: str) -> t.List[str]:
        """What ``output`` has and should not have."""
        found = [f"the output has {needle!r}" for needle in [*self.needles(), SIGNATURE] if needle in output]
        return found + (["the output has a raw ESC"] if "\x1b" in output else [])


@contextlib.contextmanager
def set_up(login: str = "basic", evil_content: bool = True) -> t.Iterator[Trap]:
    """``login``: basic; bearer, with the token server in the registry itself; or none."""
    front, evil = Server(True, 1000), Server(evil_content, 9000)
    if login == "basic":
        front.basic = LOGIN
    elif login == "bearer":
        front.bearer, front.token_login = f"{front.url}/token", LOGIN
    try:
        yield Trap(front, evil)
    finally:
        front.close()
        evil.close()


def forms(secret: str) -> t.List[str]:
    """A secret as it may stand in a URL, a form, JSON or base64."""
    encoded = base64.b64encode(secret.encode()).decode()
    return list(dict.fromkeys([secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret), encoded]))


def image() -> t.Tuple[bytes, bytes]:
    """Layer and config of a small image that every client takes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = 7
        tar.addfile(member, io.BytesIO(b"content"))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(stream.getvalue())]},
    }
    return gzip.compress(stream.getvalue(), mtime=0), json.dumps(config).encode()


def manifest(layer: bytes, config: bytes, more: t.Mapping[str, t.Any]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": _LAYER, "digest": digest_of(layer), "size": len(layer), **more}],
    }
    return json.dumps(document).encode()


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def write_layout(folder: pathlib.Path) -> None:
    """The image as a layout folder with the ref v1."""
    layer, config = image()
    document = manifest(layer, config, {})
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for content in (layer, config, document):
        (blobs / digest_of(content).partition(":")[2]).write_bytes(content)
    entry = {"mediaType": _MANIFEST, "digest": digest_of(document), "size": len(document)}
    entry["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures as cosign makes them, for tests."""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.signatures import cosign
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import EMPTY, Descriptor
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

Result = t.Dict[str, t.Any]


def pem(key: t.Any) -> str:
    return t.cast(
        bytes, key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).decode()


def hint(key: t.Any) -> str:
    """What a bundle names the key by."""
    plain = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(plain).digest()).decode()


def sign(key: t.Any, content: bytes) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        made = key.sign(content, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    else:
        made = key.sign(content)
    return base64.b64encode(made).decode()


KEYS: t.Dict[str, t.Callable[[], t.Any]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


class Signer:
    """Signs as cosign does, in each of its forms."""

    def __init__(self, images: Images, key: t.Any) -> None:
        self._images = images
        self.key = key

    def payload(self, digest: str, said: t.Optional[Result] = None, kind: str = "cosign container image signature") -> bytes:
        critical = {"identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": digest}, "type": kind}
        return json.dumps({"critical": critical, "optional": said}).encode()

    def layer(self, content: bytes, signature: t.Optional[str] = None) -> Result:
        notes = {"dev.cosignproject.cosign/signature": sign(self.key, content) if signature is None else signature}
        return self._images.put(content, cosign.SIMPLE_SIGNING, annotations=notes).to_json()

    def tagged(self, of: Descriptor, *layers: Result) -> None:
        contents = [layer["digest"] for layer in layers]
        image = {"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": contents}}
        config = self._images.put(json.dumps(image).encode(), mediatype.OCI_CONFIG)
        document = {"config": config.to_json(), "layers": list(layers)}
        self._images.document(document, mediatype.OCI_MANIFEST, [f"sha256-{of.digest.encoded}.sig"])

    def attached(self, of: Descriptor, artifact_type: str, *layers: Result) -> None:
        self._images.put(b"{}", mediatype.OCI_EMPTY)
        subject = Descriptor(of.media_type, of.digest, of.size).to_json()
        document = {"artifactType": artifact_type, "config": EMPTY.to_json(), "layers": list(layers), "subject": subject}
        self._images.document(document, mediatype.OCI_MANIFEST, listed=True)

    def bundle(self, digest: str, said: t.Optional[Result] = None, predicate: str = "https://sigstore.dev/cosign/sign/v1") -> Result:
        subject: Result = {"digest": {"sha256": digest.partition(":")[2]}, **({"annotations": said} if said else {})}
        statement = {"_type": "https://in-toto.io/Statement/v1", "subject": [subject], "predicateType": predicate, "predicate": {}}
        content, kind = json.dumps(statement).encode(), "application/vnd.in-toto+json"
        signed = f"DSSEv1 {len(kind)} {kind} {len(content)} ".encode() + content
        envelope = {"payload": base64.b64encode(content).decode(), "payloadType": kind, "signatures": [{"sig": sign(self.key, signed)}]}
        document = {"mediaType": cosign.BUNDLE, "verificationMaterial": {"publicKey": {"hint": hint(self.key)}}, "dsseEnvelope": envelope}
        return self._images.put(json.dumps(document).encode(), cosign.BUNDLE).to_json()

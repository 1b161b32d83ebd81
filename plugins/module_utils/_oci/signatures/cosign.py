# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Signatures of cosign by a public key: under a tag named after the digest, attached, or in a bundle (cosign's SIGNATURE_SPEC.md,
BUNDLE_SPEC.md; the DSSE protocol).

What a transparency log says is not asked for. Who has the key has signed, and said of which digest.
"""

from __future__ import annotations

import base64
import binascii
import typing as t

from ..content.store import Source
from ..spec import mediatype, strictjson
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import InvalidError, NotFoundError
from ..spec.manifest import parse
from ..subjects import typed_referrers
from .keys import PublicKey

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
ATTACHED = "application/vnd.dev.cosign.artifact.sig.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_PAYLOAD_TYPE = "cosign container image signature"
_STATEMENT = "application/vnd.in-toto+json"
_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
_MAX_SIGNATURES = 1000  # of one image


class Signature(t.NamedTuple):
    """``content`` was signed with ``signature``; ``digest`` is of the manifest that has it, ``of``: the digest that was signed,
    ``annotations``: what the signer has said of it."""

    digest: Digest
    content: bytes
    signature: bytes
    of: str
    annotations: t.Mapping[str, t.Any]


def signatures_of(source: Source, root: Descriptor) -> t.List[Signature]:
    """All that claim to be of ``root``. What cannot be read as a signature is none. Raises InvalidError for more than can be meant."""
    found: t.List[Signature] = []
    for holder in _holders(source, root):
        document = parse(holder, source.fetch_bytes(holder))
        for layer in document.layers:
            read = _READERS.get(layer.media_type)
            signature = read(source, holder, layer) if read is not None else None
            if signature is not None and signature.of == root.digest:
                found.append(signature)
            if len(found) > _MAX_SIGNATURES:
                raise InvalidError(f"{root.digest} has more than {_MAX_SIGNATURES} signatures")
    return found


def verified(signatures: t.Iterable[Signature], key: PublicKey, annotations: t.Mapping[str, str]) -> t.List[Signature]:
    """Those that the key has made, and that say all of ``annotations``."""
    saying = [one for one in signatures if all(one.annotations.get(name) == value for name, value in annotations.items())]
    return [one for one in saying if key.signed(one.content, one.signature)]


def _holders(source: Source, root: Descriptor) -> t.Iterator[Descriptor]:
    try:
        tagged: t.Optional[Descriptor] = source.resolve(f"{root.digest.algorithm}-{root.digest.encoded}.sig")
    except NotFoundError:
        tagged = None
    if tagged is not None and mediatype.is_image(tagged.media_type):
        yield tagged
    yield from (desc for desc in typed_referrers(source, root) if desc.artifact_type in (ATTACHED, BUNDLE))


def _simple(source: Source, holder: Descriptor, layer: Descriptor) -> t.Optional[Signature]:
    """The layer is what was signed."""
    content = source.fetch_bytes(layer)
    signature = _decoded(layer.annotations.get(_SIGNATURE))
    critical, image = _at(_document(content), "critical"), None
    if isinstance(critical, dict) and critical.get("type") == _PAYLOAD_TYPE:
        image = _at(critical.get("image"), "docker-manifest-digest")
    if signature is None or not isinstance(image, str):
        return None
    said = _at(_document(content), "optional")
    return Signature(holder.digest, content, signature, image, said if isinstance(said, dict) else {})


def _bundled(source: Source, holder: Descriptor, layer: Descriptor) -> t.Optional[Signature]:
    """A DSSE envelope around a statement of in-toto."""
    envelope = _at(_document(source.fetch_bytes(layer)), "dsseEnvelope")
    payload = _decoded(_at(envelope, "payload"))
    signatures = _at(envelope, "signatures")
    if payload is None or _at(envelope, "payloadType") != _STATEMENT or not isinstance(signatures, list) or len(signatures) != 1:
        return None
    statement, signature = _document(payload), _decoded(_at(signatures[0], "sig"))
    subjects = _at(statement, "subject")
    if signature is None or _at(statement, "predicateType") != _PREDICATE or not isinstance(subjects, list) or len(subjects) != 1:
        return None
    digests, said = _at(subjects[0], "digest"), _at(subjects[0], "annotations")
    of = f"sha256:{_at(digests, 'sha256')}"
    return Signature(holder.digest, _authenticated(_STATEMENT, payload), signature, of, said if isinstance(said, dict) else {})


_READERS: t.Mapping[str, t.Callable[[Source, Descriptor, Descriptor], t.Optional[Signature]]] = {
    SIMPLE_SIGNING: _simple,
    BUNDLE: _bundled,
}


def _authenticated(payload_type: str, payload: bytes) -> bytes:
    """What is signed of a DSSE envelope (its protocol.md, "PAE")."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)


def _document(content: bytes) -> t.Any:
    try:
        return strictjson.load_object(content, "a signature")
    except InvalidError:
        return None


def _at(document: t.Any, name: str) -> t.Any:
    return document.get(name) if isinstance(document, dict) else None


def _decoded(text: t.Any) -> t.Optional[bytes]:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Descriptor: the handle of content (image-spec descriptor.md)."""

from __future__ import annotations

import base64
import binascii
import typing as t
from dataclasses import dataclass, field

from . import mediatype
from .digest import Digest
from .errors import InvalidError, MismatchError

TITLE = "org.opencontainers.image.title"
CREATED = "org.opencontainers.image.created"
REF_NAME = "org.opencontainers.image.ref.name"
# oras-go content/file: the layer is the tar of a folder that is to be unpacked; the digest of that tar without compression.
UNPACK = "io.deis.oras.content.unpack"
CONTENT_DIGEST = "io.deis.oras.content.digest"
MAX_SIZE = 2**63 - 1


@dataclass(frozen=True)
class Descriptor:
    """Equal by media type, digest and size; ``size`` in bytes; ``data`` is the embedded content, already verified, or None."""

    media_type: str
    digest: Digest
    size: int
    annotations: t.Mapping[str, str] = field(default_factory=dict, compare=False)
    artifact_type: str = field(default="", compare=False)
    platform: t.Optional[t.Mapping[str, t.Any]] = field(default=None, compare=False)
    data: t.Optional[bytes] = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, document: t.Any, what: str = "descriptor") -> Descriptor:
        """From JSON. Raises InvalidError for a broken field, MismatchError for ``data`` that is not the content."""
        if not isinstance(document, dict):
            raise InvalidError(f"{what} is not a JSON object")
        media_type = document.get("mediaType")
        if not isinstance(media_type, str) or not mediatype.is_valid(media_type):
            raise InvalidError(f"{what} has no valid mediaType: {media_type!r}")
        size = document.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_SIZE:
            raise InvalidError(f"{what} has no valid size: {size!r}")
        digest = Digest(document.get("digest"))
        platform = document.get("platform")
        if platform is not None and not isinstance(platform, dict):
            raise InvalidError(f"{what} has a platform that is not an object")
        return cls(
            media_type=media_type,
            digest=digest,
            size=size,
            annotations=parse_annotations(document.get("annotations"), what),
            artifact_type=_optional_type(document.get("artifactType"), what),
            platform=platform,
            data=_embedded(document.get("data"), digest, size, what),
        )

    @classmethod
    def of(cls, content: bytes, media_type: str, annotations: t.Optional[t.Mapping[str, str]] = None) -> Descriptor:
        """The descriptor of these bytes."""
        return cls(media_type, Digest.of(content), len(content), annotations or {})

    def to_json(self) -> t.Dict[str, t.Any]:
        """Fields in the order that the Go implementations write, so that equal documents have equal digests."""
        fields: t.Dict[str, t.Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            fields["annotations"] = dict(sorted(self.annotations.items()))
        if self.data is not None:
            fields["data"] = base64.b64encode(self.data).decode("ascii")
        if self.platform is not None:
            fields["platform"] = dict(self.platform)
        if self.artifact_type:
            fields["artifactType"] = self.artifact_type
        return fields

    def __str__(self) -> str:
        return f"{self.digest} ({self.media_type}, {self.size} bytes)"


EMPTY_CONTENT = b"{}"
# image-spec manifest.md, "Guidance for an Empty Descriptor"
EMPTY = Descriptor(mediatype.OCI_EMPTY, Digest.of(EMPTY_CONTENT), len(EMPTY_CONTENT), data=EMPTY_CONTENT)


def parse_annotations(document: t.Any, what: str) -> t.Dict[str, str]:
    """An annotations map; null and absence are {} (image-spec annotations.md)."""
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise InvalidError(f"{what} has annotations that are not a map of strings")
    return dict(document)


def _optional_type(value: t.Any, what: str) -> str:
    if value is None or value == "":
        return ""
    if not mediatype.is_valid(value):
        raise InvalidError(f"{what} has no valid artifactType: {value!r}")
    return t.cast(str, value)


def _embedded(value: t.Any, digest: Digest, size: int, what: str) -> t.Optional[bytes]:
    if value is None:
        return None
    try:
        content = base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InvalidError(f"{what} has data that is not base64") from error
    if len(content) != size or Digest.of(content, digest.algorithm) != digest:
        raise MismatchError(f"{what} has data that is not the content of {digest}")
    return content

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What an answer says: warnings, descriptors, that it is none (failures.py: errors)."""

from __future__ import annotations

import http
import re
import typing as t

from ..spec import mediatype
from ..spec.digest import Digest
from ..spec.errors import InvalidError, MismatchError, NotFoundError, TransportError
from .origin import quoted

if t.TYPE_CHECKING:
    from .transport import Response

UNKNOWN = " (no such tag, digest or repository, or none that this login may see; oci_info with gather=tags lists the tags)"
_WARNING = re.compile(r'299\s+-\s+"((?:[^"\\]|\\.)*)"')


def not_found(response: Response, doing: str, hint: str = "") -> NotFoundError:
    response.finish()
    return NotFoundError(f"{doing}: not found{hint}")


def status_text(status: int) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def warnings_of(response: Response) -> t.List[str]:
    """The texts of ``Warning: 299 - "text"`` headers (distribution-spec "Warnings"), made printable."""
    texts = _WARNING.findall(response.headers.get("Warning", "")[:8192])
    return [quoted(re.sub(r"\\(.)", r"\1", text)) for text in texts]


def media_type_of(response: Response) -> str:
    """Content-Type without its parameters."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip()


def manifest_type_of(response: Response) -> t.Optional[str]:
    """The media type, when it is a manifest's; None for one that says nothing. Raises InvalidError for Docker schema 1."""
    media_type = media_type_of(response)
    if media_type in mediatype.SCHEMA1_MANIFESTS:
        raise InvalidError("the registry has a Docker schema 1 manifest there, which is not supported")
    return media_type if mediatype.is_manifest(media_type) else None


def digest_of(response: Response) -> t.Optional[Digest]:
    """Docker-Content-Digest; None when there is none that can be verified."""
    try:
        return Digest(response.headers.get("Docker-Content-Digest", "").strip())
    except InvalidError:
        return None


def size_of(response: Response) -> t.Optional[int]:
    """Content-Length, of a HEAD as well."""
    text = response.headers.get("Content-Length", "").strip()
    return int(text) if text.isdigit() and text.isascii() and len(text) < 20 else None


def wrong_length(response: Response, doing: str, size: int) -> MismatchError:
    """An answer that announces another size than the descriptor's."""
    response.close()
    media_type = quoted(media_type_of(response) or "no content type")
    return MismatchError(f"{doing}: the answer has {response.length} bytes of {media_type}, not the {size} of its descriptor")


def unexpected(response: Response, doing: str) -> TransportError:
    """An answer of success that is none: a login page, an empty 200."""
    size = size_of(response)
    what = f"{status_text(response.status)} with {quoted(media_type_of(response) or 'no content type')}"
    what += f" and {size} bytes" if size is not None else ""
    response.close()
    return TransportError(f"{doing}: the answer is {what}, not what a registry answers (a login page or proxy?)")

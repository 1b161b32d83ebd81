# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What an answer says: errors, warnings, descriptors."""

from __future__ import annotations

import http
import re
import typing as t

from ..spec import mediatype, strictjson
from ..spec.digest import Digest
from ..spec.errors import InvalidError, MismatchError, NotFoundError, OCIError, RegistryError, TransportError
from .origin import quoted

if t.TYPE_CHECKING:
    from .transport import Response

MAX_ERROR = 1024 * 1024
_WARNING = re.compile(r'299\s+-\s+"((?:[^"\\]|\\.)*)"')
_SHOWN_ERRORS = 3
_SHOWN_DETAIL = 300  # characters


def failure(response: Response, doing: str, hint: str = "") -> RegistryError:
    """The error for an answer that is not what was asked for. ``doing`` says what was tried, without secrets.

    Reads the body and is done with it. ``hint`` is added when the registry does not let the caller in.
    """
    body = _error_body(response)
    errors = _registry_errors(body)
    code = next((error["code"] for error in errors if isinstance(error.get("code"), str)), "")
    words = "; ".join(_told(error) for error in errors[:_SHOWN_ERRORS]) or _plain(response, body)
    if hint and response.status in (401, 403):
        words = f"{words}; {hint}" if words else hint
    return RegistryError(f"{doing} failed: {_status(response.status)}{f' ({words})' if words else ''}", response.status, quoted(code))


def not_found(response: Response, doing: str) -> NotFoundError:
    response.finish()
    return NotFoundError(f"{doing}: not found")


def _error_body(response: Response) -> bytes:
    try:
        return response.read_all(MAX_ERROR, "the error")
    except OCIError:
        return b""


def _registry_errors(body: bytes) -> t.List[t.Dict[str, t.Any]]:
    """The ``errors`` of distribution-spec "Error Codes"; [] for any other body."""
    try:
        errors = strictjson.load_object(body, "error", MAX_ERROR).get("errors")
    except InvalidError:
        return []
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _told(error: t.Mapping[str, t.Any]) -> str:
    detail = error.get("detail")
    # Made clean before it is cut: half a secret is one that is not known again.
    shown = quoted(strictjson.dumps(detail).decode("utf-8"))[:_SHOWN_DETAIL] if detail else ""
    return quoted(": ".join(str(part) for part in (error.get("code"), error.get("message"), shown) if part))


def _plain(response: Response, body: bytes) -> str:
    content_type = media_type_of(response) or "no content type"
    if not body:
        return ""
    if content_type == "text/plain":
        return quoted(body.decode("utf-8", "replace"))
    return f"the answer is {quoted(content_type)}, not a registry's"


def _status(status: int) -> str:
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
    what = f"{_status(response.status)} with {quoted(media_type_of(response) or 'no content type')}"
    what += f" and {size} bytes" if size is not None else ""
    response.close()
    return TransportError(f"{doing}: the answer is {what}, not what a registry answers (a login page or proxy?)")

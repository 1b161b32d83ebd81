# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Answers that are errors, in the registry's words."""

from __future__ import annotations

import typing as t

from ..spec import strictjson
from ..spec.errors import InvalidError, OCIError, RegistryError
from .answers import media_type_of, status_text
from .origin import quoted

if t.TYPE_CHECKING:
    from .transport import Response

MAX_ERROR = 1024 * 1024
_SHOWN_ERRORS = 3
_SHOWN_DETAIL = 300  # characters
_NO_LOGIN = "log in with oci_login, docker login or podman login, or give username and password"
_WRONG_LOGIN = "they are wrong, or do not reach for this"
_TLS = "plain_http is set, and the registry may want TLS"


def failure(response: Response, doing: str, hint: str = "") -> RegistryError:
    """The error for an answer that is not what was asked for. ``doing`` says what was tried, without secrets.

    Reads the body and is done with it. ``hint`` is added when the registry does not let the caller in.
    """
    body = _error_body(response)
    errors = _registry_errors(body)
    code = next((error["code"] for error in errors if isinstance(error.get("code"), str)), "")
    words = "; ".join(_told(error) for error in errors[:_SHOWN_ERRORS]) or _plain(response, body)
    if hint and response.status in (401, 403):
        advice = f"{hint}: {_WRONG_LOGIN if hint.startswith('with') else _NO_LOGIN}"
        words = f"{words}; {advice}" if words else advice
    if response.status == 400 and not errors and response.url.startswith("http:"):
        words = f"{words}; {_TLS}" if words else _TLS
    return RegistryError(f"{doing} failed: {status_text(response.status)}{f' ({words})' if words else ''}", response.status, quoted(code))


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
    content_type = media_type_of(response)
    if not body:
        return ""
    # What a server says before it knows what is asked of it has no type.
    if content_type in ("text/plain", ""):
        return quoted(body.decode("utf-8", "replace"))
    return f"the answer is {quoted(content_type)}, not a registry's"

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What a login or a logout makes of docker's config.json, or of the containers tools' auth.json. No I/O."""

from __future__ import annotations

import base64
import json
import re
import typing as t

from ..spec.errors import InvalidError
from .authfile import HUB, HUB_KEY, MAX_SIZE, TOKEN_USER, AuthFile, Credential, parse_document
from .helper import HelperAnswer

_NEVER = re.compile("[\0\ud800-\udfff]")
_CONTROLS = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
_CREDENTIALS = ("auth", "username", "password", "identitytoken", "registrytoken")


def check_credential(credential: Credential) -> None:
    """Refuse what neither an Authorization header nor a file can carry. Raises InvalidError, which shows no secret."""
    # A password may have line ends: that of Google's _json_key is a whole JSON file.
    for name, wrong in (("username", _CONTROLS), ("password", _NEVER), ("identity_token", _CONTROLS)):
        if wrong.search(getattr(credential, name)):
            raise InvalidError(f"{name} has a character that no login can have (a line end?)")
    if not (credential.password or credential.identity_token):
        raise InvalidError("there are no credentials: username and password, or identity_token, are needed")
    if credential.password and not credential.username:
        raise InvalidError("password needs a username")
    if ":" in credential.username:
        raise InvalidError("username has a colon, which would end it")
    if credential.username == TOKEN_USER:
        raise InvalidError(f"the username {TOKEN_USER} stands for an identity token: give it as identity_token")


def same_credential(found: t.Optional[Credential], wanted: Credential) -> bool:
    """True when ``found`` has nothing to be changed in. An identity token may be kept under any user name, unless one is wanted."""
    if found is not None and wanted.identity_token and not wanted.username:
        return found.identity_token == wanted.identity_token
    return found == wanted


def helper_answer(credential: Credential) -> HelperAnswer:
    """As a credential helper keeps it."""
    if credential.identity_token:
        return HelperAnswer(TOKEN_USER, credential.identity_token)
    return HelperAnswer(credential.username, credential.password)


class AuthFileWriter:
    """A changed text of one file. What belongs to others, and fields that we do not know, stay as they are, in their order."""

    def __init__(self, content: bytes, what: str) -> None:
        self.file = AuthFile.parse(content, what)
        self._document = parse_document(content, what)
        self._what = what

    def keys(self, registry: str) -> t.List[str]:
        """The keys that a login is kept under: those that the registry has, for tools differ in which they look at first.

        Without any the one that all of them find: for Docker Hub that is Docker's own.
        """
        return list(self.file.entries(registry)) or [HUB_KEY if registry == HUB else registry]

    def put(self, registry: str, credential: Credential) -> None:
        auths = self._table("auths")
        for key in self.keys(registry):
            auths[key] = {**_others(auths.get(key)), **_fields(credential)}

    def strip(self, registry: str) -> bool:
        """Let the registry's entries stay without credentials, which a helper has; False when none had any."""
        full = [key for key, found in self.file.entries(registry).items() if found is not None]
        for key in full:
            self._table("auths")[key] = _others(self._table("auths")[key])
        return bool(full)

    def remove(self, registry: str) -> bool:
        """Remove the registry's entries; False when there were none."""
        gone = list(self.file.entries(registry))
        for key in gone:
            del self._table("auths")[key]
        return bool(gone)

    def name_helper(self, registry: str, helper: str) -> None:
        self._table("credHelpers")[self.file.helper_key(registry)] = helper

    def content(self) -> bytes:
        """Written as Docker and the containers tools do. Raises InvalidError when nobody would read it again."""
        text = json.dumps(self._document, ensure_ascii=False, allow_nan=False, indent="\t").encode("utf-8")
        if len(text) > MAX_SIZE:
            raise InvalidError(f"{self._what} would have {len(text)} bytes, more than the limit of {MAX_SIZE}")
        return text

    def _table(self, name: str) -> t.Dict[str, t.Any]:
        if self._document.get(name) is None:
            self._document[name] = {}
        return t.cast(t.Dict[str, t.Any], self._document[name])


def _others(entry: t.Any) -> t.Dict[str, t.Any]:
    """The fields of an entry that are no credentials."""
    return {name: value for name, value in entry.items() if name not in _CREDENTIALS} if isinstance(entry, dict) else {}


def _fields(credential: Credential) -> t.Dict[str, str]:
    # The containers tools pass over an identity token without auth, and Docker refuses auth without a user name.
    username = credential.username or TOKEN_USER
    auth = base64.b64encode(f"{username}:{credential.password}".encode("utf-8")).decode("ascii")
    return {"auth": auth, **({"identitytoken": credential.identity_token} if credential.identity_token else {})}

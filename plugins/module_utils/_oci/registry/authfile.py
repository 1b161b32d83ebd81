# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""docker's config.json and the containers tools' auth.json: one format, two dialects (oci-rules 4.3, 4.4)."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import typing as t
from dataclasses import dataclass, field

from ..spec import strictjson
from ..spec.errors import InvalidError, storage_errors
from .helper import HelperAnswer, ask_helper

if t.TYPE_CHECKING:
    from ..spec.reference import RegistryReference

MAX_SIZE = 1024 * 1024
TOKEN_USER = "<token>"  # in place of a user name where there is an identity token
HUB = "docker.io"
HUB_KEY = "https://index.docker.io/v1/"  # what docker login writes for Docker Hub
_HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")
_DOCKER_FILE = "config.json"
_HEADER_SAFE = re.compile(r"[!-~]*", re.ASCII)


@dataclass(frozen=True)
class Credential:
    """What a registry may be told: user and password, an identity token for its token server, or a ready Bearer token."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


UNREADABLE = Credential()


def parse_document(content: bytes, what: str) -> t.Dict[str, t.Any]:
    """What is in a file; an empty one has nothing. Raises InvalidError, which shows nothing of it."""
    try:
        return strictjson.load_object(content or b"{}", what, MAX_SIZE)
    except InvalidError as error:
        # The parser's words may quote the file.
        raise InvalidError(f"{what} is not a JSON object as docker login or podman login write it") from error


class AuthFile:
    """One file. ``what`` names it in errors; ``is_docker`` is the dialect in which ``credsStore`` counts."""

    def __init__(self, document: t.Mapping[str, t.Any], what: str, is_docker: bool) -> None:
        self.what = what
        self._is_docker = is_docker
        self._auths = _table(document, "auths", what)
        self._helpers = _table(document, "credHelpers", what)
        self._store = document.get("credsStore") or ""
        if not isinstance(self._store, str):
            raise InvalidError(f"{what}: credsStore is not a string")

    @classmethod
    def read(cls, path: str) -> AuthFile:
        """Raises InvalidError for a broken file, StorageError for one that cannot be read; neither shows what is in it."""
        with storage_errors(f"reading {path}"), open(path, "rb", opener=_open_at_once) as file:
            if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                # One that nobody writes to would look like a file without credentials.
                raise InvalidError(f"{path} is not a regular file")
            content = file.read(MAX_SIZE + 1) or b""
        return cls.parse(content, path)

    @classmethod
    def parse(cls, content: bytes, what: str) -> AuthFile:
        return cls(parse_document(content, what), what, os.path.basename(what) == _DOCKER_FILE)

    def find(self, reference: RegistryReference) -> t.Optional[Credential]:
        """The credential for the repository, or None. A credential helper, where one is named, is the only one that is asked."""
        helper = self.helper_for(reference.registry)
        if helper:
            return self.ask(helper, reference.registry)
        for key in _keys(reference):
            if key in self._auths:
                found = self._entry(self._auths[key], key)
                if found is not None:
                    return found
        for key, entry in self._auths.items():
            if "://" in key and _host_of(key) in _names(reference.registry):
                found = self._entry(entry, key)
                if found is not None:
                    return found
        return None

    def entries(self, registry: str) -> t.Dict[str, t.Optional[Credential]]:
        """What ``auths`` has for the registry as a whole, by key; None for an entry without credentials. UNREADABLE for a broken one."""
        found: t.Dict[str, t.Optional[Credential]] = {}
        for key, entry in self._auths.items():
            if key in _names(registry) or ("://" in key and _host_of(key) in _names(registry)):
                try:
                    found[key] = self._entry(entry, key)
                except InvalidError:
                    found[key] = UNREADABLE
        return found

    def helper_for(self, registry: str) -> str:
        """The name of the credential helper that has the registry's credentials; '' when they are in the file."""
        for name in (*_names(registry), *([HUB_KEY] if registry == HUB else [])):
            if name in self._helpers:
                # An empty name means: this host's credentials are in the file after all.
                return str(self._helpers[name] or "")
        return self._store if self._is_docker else ""

    def helper_key(self, registry: str) -> str:
        """The key of ``credHelpers`` that counts for the registry, or would."""
        named = [name for name in (*_names(registry), HUB_KEY) if registry == HUB and name in self._helpers]
        return named[0] if named else self.server_for(registry)

    def server_for(self, registry: str) -> str:
        """What a credential helper knows the registry as."""
        return HUB_KEY if registry == HUB and self._is_docker else registry

    def ask(self, helper: str, registry: str) -> t.Optional[Credential]:
        """What the credential helper has for the registry."""
        answer: t.Optional[HelperAnswer] = ask_helper(helper, self.server_for(registry))
        if answer is None:
            return None
        if answer.username == TOKEN_USER:
            return Credential(identity_token=answer.secret)
        return Credential(answer.username, answer.secret)

    def _entry(self, entry: t.Any, key: str) -> t.Optional[Credential]:
        """An entry of ``auths``; None for an empty one, which only marks that a helper has it."""
        if not isinstance(entry, dict):
            raise InvalidError(f"{self.what}: the entry of {key!r} is not an object")
        texts = {name: entry.get(name) or "" for name in ("auth", "username", "password", "identitytoken", "registrytoken")}
        if not all(isinstance(text, str) for text in texts.values()):
            raise InvalidError(f"{self.what}: the entry of {key!r} has something else than strings")
        username, password = texts["username"], texts["password"]
        if texts["auth"]:
            username, password = self._decoded(texts["auth"], key)
        if texts["identitytoken"] and username == TOKEN_USER:
            username = ""
        if not (password or texts["identitytoken"] or texts["registrytoken"]):
            return None
        if not _HEADER_SAFE.fullmatch(texts["registrytoken"]):
            raise InvalidError(f"{self.what}: the registrytoken of {key!r} has characters that no token has")
        if not username and not (texts["identitytoken"] or texts["registrytoken"]):
            raise InvalidError(f"{self.what}: the entry of {key!r} has no user name")
        return Credential(username, password, texts["identitytoken"], texts["registrytoken"])

    def _decoded(self, auth: str, key: str) -> t.Tuple[str, str]:
        try:
            text = base64.b64decode(auth, validate=True).decode("utf-8")
        except (ValueError, binascii.Error) as error:
            raise InvalidError(f"{self.what}: auth of {key!r} is not base64 of user:password") from error
        username, colon, password = text.partition(":")
        if not colon:
            raise InvalidError(f"{self.what}: auth of {key!r} is not base64 of user:password")
        return username, password.rstrip("\0")


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting for somebody who writes to a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def _table(document: t.Mapping[str, t.Any], name: str, what: str) -> t.Dict[str, t.Any]:
    table = document.get(name)
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise InvalidError(f"{what}: {name} is not an object")
    return table


def _names(registry: str) -> t.Tuple[str, ...]:
    return _HUB_HOSTS if registry == HUB else (registry,)


def _keys(reference: RegistryReference) -> t.Iterator[str]:
    """Keys that are for this repository, the closest first: the repository, what it is below, the host."""
    for host in _names(reference.registry):
        parts = reference.repository.split("/")
        for length in range(len(parts), 0, -1):
            yield "/".join((host, *parts[:length]))
    if reference.registry == HUB:
        yield HUB_KEY
    yield from _names(reference.registry)


def _host_of(key: str) -> str:
    """The host of a legacy key that is a URL: without its scheme and path."""
    return key.partition("://")[2].partition("/")[0]

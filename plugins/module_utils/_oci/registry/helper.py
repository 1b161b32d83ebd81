# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Credential helpers: programs ``docker-credential-NAME`` (docker/docker-credential-helpers)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import typing as t

from ..spec import strictjson
from ..spec.errors import InvalidError

_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_NOT_FOUND = b"credentials not found in native keychain"
_SECONDS = 60
_LIMIT = 1024 * 1024


class HelperAnswer(t.NamedTuple):
    """``username`` is ``<token>`` when ``secret`` is an identity token."""

    username: str
    secret: str


def ask_helper(name: str, server: str) -> t.Optional[HelperAnswer]:
    """The helper's credentials for ``server``; None when it says that it has none.

    Any other failure is an InvalidError and not None: going on without, or with others, could send them to the wrong place. What the
    helper prints is never shown.
    """
    if not _NAME.fullmatch(name):
        raise InvalidError(f"not the name of a credential helper: {name!r}")
    program = _program(f"docker-credential-{name}")
    try:
        # Not run_command(): the library knows no AnsibleModule, and a hanging helper must be given up.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            [program, "get"], input=server.encode(), capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidError(f"the credential helper {program} gave no answer for {server} within {_SECONDS} seconds") from error
    except OSError as error:
        raise InvalidError(f"the credential helper {program} could not be run: {error.strerror}") from error
    if done.returncode != 0:
        if _NOT_FOUND in done.stdout:
            return None
        raise InvalidError(f"the credential helper {program} failed for {server} with exit code {done.returncode}")
    return _parsed(done.stdout, program)


def _program(name: str) -> str:
    """Found on PATH only, and in none of its relative folders."""
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(folder)]
    program = shutil.which(name, path=os.pathsep.join(folders))
    if program is None:
        raise InvalidError(f"the credential helper {name} is configured, but it is not on PATH")
    return program


def _parsed(output: bytes, program: str) -> HelperAnswer:
    try:
        document = strictjson.load_object(output, "answer", _LIMIT)
    except InvalidError as error:
        raise InvalidError(f"the credential helper {program} did not answer with JSON") from error
    username, secret = document.get("Username"), document.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str) or not secret:
        raise InvalidError(f"the credential helper {program} answered without Username and Secret")
    return HelperAnswer(username, secret)

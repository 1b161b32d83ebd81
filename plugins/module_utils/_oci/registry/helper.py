# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Credential helpers: programs ``docker-credential-NAME`` (docker/docker-credential-helpers)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
import typing as t

from ..spec import strictjson
from ..spec.errors import InvalidError

_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_SERVER = re.compile(r"[!-~]+", re.ASCII)  # the protocol ends it with a line, so it must not hold one
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
    found = _call(name, "get", server, server.encode())
    return _parsed(found.output, found.program) if found is not None else None


def tell_helper(name: str, server: str, answer: HelperAnswer) -> None:
    """Let the helper keep ``answer`` for ``server``, in place of what it had. Raises InvalidError, as ``ask_helper``."""
    login = {"ServerURL": server, "Username": answer.username, "Secret": answer.secret}
    if _call(name, "store", server, json.dumps(login).encode()) is None:
        raise InvalidError(f"the credential helper {name} stored nothing for {server}")


def clear_helper(name: str, server: str) -> None:
    """Let the helper forget what it has for ``server``, if anything. Raises InvalidError, as ``ask_helper``."""
    _call(name, "erase", server, server.encode())


class _Called(t.NamedTuple):
    program: str
    output: bytes


def _call(name: str, action: str, server: str, content: bytes) -> t.Optional[_Called]:
    """What the helper did with ``content``; None when it knows nothing of ``server``."""
    if not _NAME.fullmatch(name):
        raise InvalidError(f"not the name of a credential helper: {name!r}")
    if not _SERVER.fullmatch(server):
        raise InvalidError(f"not the name of a server, for a credential helper: {server!r}")
    program = _program(f"docker-credential-{name}")
    try:
        code, output = _run(program, action, content)
    except subprocess.TimeoutExpired as error:
        raise InvalidError(f"the credential helper {program} gave no answer for {server} within {_SECONDS} seconds") from error
    except OSError as error:
        raise InvalidError(f"the credential helper {program} could not be run: {error.strerror}") from error
    if code != 0:
        if _NOT_FOUND in output:
            return None
        raise InvalidError(f"the credential helper {program} failed for {server} with exit code {code}")
    return _Called(program, output)


def _run(program: str, action: str, content: bytes) -> t.Tuple[int, bytes]:
    """Exit code and standard output. A helper that takes too long or says too much is ended, with all that it started."""
    # Not run_command(): the library knows no AnsibleModule, and a hanging helper must be given up.
    process = subprocess.Popen(  # pylint: disable=ansible-bad-function
        [program, action],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={name: value for name, value in os.environ.items() if name != "DOCKER_AUTH_CONFIG"},  # it has passwords of others
        start_new_session=True,
    )
    stdin, stdout = t.cast(t.BinaryIO, process.stdin), t.cast(t.BinaryIO, process.stdout)
    deadline = time.monotonic() + _SECONDS
    with stdin, stdout:
        try:
            output = _exchange(stdin, stdout, content, program, deadline)
            return process.wait(max(0.0, deadline - time.monotonic())), output
        except BaseException:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


def _exchange(stdin: t.BinaryIO, stdout: t.BinaryIO, content: bytes, program: str, deadline: float) -> bytes:
    """Both at once: a helper that does not read could otherwise not be given up while it is written to."""
    parts: t.List[bytes] = []
    os.set_blocking(stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(stdin, selectors.EVENT_WRITE)
        selector.register(stdout, selectors.EVENT_READ)
        while sum(map(len, parts)) <= _LIMIT:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired(program, _SECONDS)
            for key, _events in ready:
                if key.fileobj is stdin:
                    content = _sent(stdin, content)
                    if not content:
                        selector.unregister(stdin)
                        stdin.close()
                    continue
                chunk = os.read(stdout.fileno(), 64 * 1024)
                if not chunk:
                    return b"".join(parts)
                parts.append(chunk)
    raise InvalidError(f"the credential helper {program} answered with more than {_LIMIT} bytes")


def _sent(stdin: t.BinaryIO, content: bytes) -> bytes:
    """What of ``content`` is still to be sent; nothing to a helper that does not want it."""
    try:
        return content[os.write(stdin.fileno(), content) :]
    except BrokenPipeError:
        return b""


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

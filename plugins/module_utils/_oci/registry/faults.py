# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Errors of connections, in the library's words."""

from __future__ import annotations

import socket
import ssl
import typing as t

from ..spec.errors import Interrupted, TransportError
from .origin import host_of, quoted


class NoTLS(TransportError):
    """TLS was asked for, and something else was answered. ``advise`` says where ``plain_http`` is set."""

    def __init__(self, host: str) -> None:
        super().__init__("")
        self._host = host
        self.advise("plain_http")

    def advise(self, where: str) -> None:
        self.message = f"{self._host} does not answer with TLS (for a registry without TLS set {where})"


def translated(error: Exception, url: str, timeout: float) -> TransportError:
    """The library's error for one of urllib3 or the socket."""
    cause = _root_cause(error)
    host = host_of(url)
    if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
        return TransportError(f"no such host: {host} (is its name right, and can this host resolve it?)")
    if isinstance(cause, ssl.SSLCertVerificationError):
        detail = quoted(cause.verify_message or cause)
        return TransportError(f"the TLS certificate of {host} is not trusted: {detail} (a private CA is named by ca_path)")
    if isinstance(cause, ssl.SSLError) and "WRONG_VERSION" in str(cause).upper():
        return NoTLS(host)
    if isinstance(cause, ssl.SSLError):
        return Interrupted(f"TLS with {host} failed: {quoted(cause)}")
    if type(cause).__name__ == "IncompleteRead":
        return Interrupted(f"{host} closed the connection before the end of its answer")
    if isinstance(cause, socket.timeout) or "timed out" in str(error).lower():
        return Interrupted(f"{host} gave no answer, or too slow a one, within {timeout:g} seconds")
    hint = " (does a registry run there, and is the port right?)" if isinstance(cause, ConnectionRefusedError) else ""
    failed = Interrupted(f"connection to {host} failed: {quoted(_reason(cause))}{hint}")
    failed.refused = isinstance(cause, ConnectionRefusedError)
    return failed


def _root_cause(error: BaseException) -> BaseException:
    """The innermost error: urllib3 wraps the socket's, several times."""
    seen: t.Set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        # What an error was raised "from None" of has nothing to do with it, as in urllib3 1.
        context = None if error.__suppress_context__ else error.__context__
        wrapped = [getattr(error, "reason", None), *error.args, error.__cause__, context]
        inner = [item for item in wrapped if isinstance(item, BaseException)]
        if not inner:
            return error
        error = inner[0]
    return error


def _reason(cause: BaseException) -> str:
    strerror = getattr(cause, "strerror", None)
    return (
        strerror if isinstance(strerror, str) and strerror else (str(cause).rpartition("object at 0x")[2].partition(": ")[2] or str(cause))
    )

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Storing a blob: one PUT; in chunks where a registry or its front end refuses that (distribution-spec "Pushing blobs").

A PUT that was cut goes on in chunks where the registry has kept what came. Distribution, whose sessions bear their offset, has not.
"""

from __future__ import annotations

import re
import typing as t

from ..spec.errors import Interrupted, MismatchError, OCIError, RegistryError, TransportError
from . import answers
from .client import Call, Client, Payload, swallow
from .failures import failure
from .origin import host_of, resolve, same_origin
from .retry import PASSING, Patience, retry_after
from .transport import Response
from .upload_content import UploadContent

if t.TYPE_CHECKING:
    from ..content.store import Opener
    from ..spec.descriptor import Descriptor
    from .caller import Caller
    from .scopes import Scopes

# Chunks to try, one after the other; nginx takes 1 MiB in one request unless told otherwise.
CHUNK_SIZES = (64 * 1024 * 1024, 8 * 1024 * 1024, 1024 * 1024)
_MONOLITHIC_BREAKS = 2  # broken connections after which the next try goes in chunks, which can be taken up again
_WORTH_ASKING = 1024 * 1024  # bytes below which a blob is sent again sooner than the registry has said how far it got
_LONGEST_MINIMUM = 1024 * 1024 * 1024  # an OCI-Chunk-Min-Length above it is a mistake
_COMMIT_SPEED = 16 * 1024 * 1024  # bytes a second; registries hash or move a blob before they answer its last request
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,19})", re.ASCII)
_OCTETS = "application/octet-stream"


class _Lost(Exception):
    """The session is gone or of no use: start again with a new one. ``asked``: seconds by Retry-After."""

    def __init__(self, error: OCIError, asked: t.Optional[float] = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.asked = asked


class _TooLarge(_Lost):
    """As _Lost, and the next try goes in smaller pieces: at once, and it ends, for there are only so many sizes."""


class Session:
    """An upload session: where its next request goes, and how small a chunk may be. ``url`` is of the registry's origin."""

    def __init__(self, client: Client, response: Response) -> None:
        self._client = client
        self.url = ""
        self.follow(response)
        text = response.headers.get("OCI-Chunk-Min-Length", "").strip()
        self.minimum = min(int(text[:12]), _LONGEST_MINIMUM) if text.isdigit() and text.isascii() else 0

    def follow(self, response: Response) -> None:
        """Take over the Location of an answer. Raises TransportError when it leads to another origin (CVE-2026-50151)."""
        location = response.headers.get("Location")
        if not location:
            if not self.url:
                raise TransportError(f"{self._client.host} starts an upload without a Location")
            return
        url = resolve(response.url, location)
        if not same_origin(url, self._client.transport.url):
            raise TransportError(f"{self._client.host} wants the upload to go to another host, {host_of(url)}: refused")
        self.url = url


class Upload:
    """One blob on its way to one repository: ``run`` returns when the registry has said that it is stored."""

    def __init__(self, client: Client, caller: Caller, repository: str, scopes: Scopes, desc: Descriptor, content: Opener) -> None:
        self._client = client
        self._caller = caller
        self._repository = repository
        self._scopes = scopes
        self._desc = desc
        self._content = content
        self._breaks = 0
        self._damaged = False
        self._chunk = 0  # bytes; 0 is one PUT for all

    def run(self) -> None:
        """Raises MismatchError for wrong content, before its last bytes are sent; RegistryError, TransportError."""
        patience = self._client.patience()
        while True:
            session = self.start()
            try:
                if self._chunk:
                    self._send_chunks(session)
                else:
                    self._send_whole(session)
                return
            except _TooLarge:
                self.cancel(session)
            except _Lost as lost:
                self.cancel(session)
                if not patience.wait(lost.asked):
                    raise lost.error from lost
            except BaseException:
                self.cancel(session)
                raise

    def start(self, query: str = "") -> Session:
        """Open a session. Raises RegistryError."""
        response = self._request("POST", f"/v2/{self._repository}/blobs/uploads/{query}", once=False)
        if response.status != 202:
            raise self._failure(response, "POST")
        session = Session(self._client, response)
        response.finish()
        return session

    def cancel(self, session: Session) -> None:
        """Tell the registry that it may forget the session; whether it does is its own business."""
        swallow(lambda: self._request("DELETE", session.url).finish())

    def _send_whole(self, session: Session) -> None:
        source = UploadContent(self._desc, self._content)
        try:
            response = self._put(session, Payload(lambda: source.at(0, self._desc.size), self._desc.size))
        except Interrupted as error:
            source.close()
            self._breaks += 1
            if self._breaks >= _MONOLITHIC_BREAKS:
                self._use_smaller(session)
            failure = TransportError(f"{self._doing('PUT')}: {error.message}")
            if self._desc.size < _WORTH_ASKING:
                raise _Lost(failure) from error
            self._go_on(session, failure)
            return
        finally:
            source.close()
        if response.status == 413 and self._use_smaller(session):
            raise _TooLarge(self._failure(response, "PUT"))
        self._finish(response)

    def _go_on(self, session: Session, failure: OCIError) -> None:
        """After a PUT that was cut: in chunks, from where the registry got. Any refusal means that it has forgotten the session."""
        patience = self._client.patience()
        before, reached = -1, self._ask_offset(session, failure)
        # It may still be storing what came: until it says the same twice.
        while reached != before:
            if not patience.wait():
                raise _Lost(failure)
            before, reached = reached, self._ask_offset(session, failure)
        try:
            self._send_chunks(session, reached)
        except RegistryError as error:
            raise _Lost(error) from error

    def _use_smaller(self, session: Session) -> bool:
        """Choose the next smaller chunk; False when there is none that the registry takes and the content needs."""
        limit = self._chunk or self._desc.size
        smaller = [size for size in CHUNK_SIZES if max(session.minimum, 1) <= size < limit]
        self._chunk = smaller[0] if smaller else self._chunk
        return bool(smaller)

    def _send_chunks(self, session: Session, offset: int = 0) -> None:
        source = UploadContent(self._desc, self._content)
        patience = self._client.patience()
        try:
            while offset < self._desc.size:
                offset = self._send_chunk(session, source, offset, patience)
        finally:
            source.close()
        try:
            response = self._put(session, None)
        except Interrupted as error:
            raise _Lost(TransportError(f"{self._doing('PUT')}: {error.message}")) from error
        self._finish(response)

    def _send_chunk(self, session: Session, source: UploadContent, offset: int, patience: Patience) -> int:
        """Send the chunk at ``offset``; returns the offset of the next one, as the registry counts."""
        length = min(self._chunk or max(CHUNK_SIZES[0], session.minimum), self._desc.size - offset)
        headers = {"Content-Type": _OCTETS, "Content-Range": f"{offset}-{offset + length - 1}"}
        try:
            payload = Payload(lambda: source.at(offset, length), length)
            response = self._request("PATCH", session.url, headers, payload)
        except Interrupted as error:
            if not patience.wait():
                raise TransportError(f"{self._doing('PATCH')}: {error.message}") from error
            return self._ask_offset(session, error)
        if response.status in (201, 202):
            return self._progress(self._accepted(session, response, offset + length), offset, patience)
        if response.status == 413 and self._use_smaller(session):
            raise _TooLarge(self._failure(response, "PATCH"))
        if response.status == 416 and patience.wait():
            return self._counted(session, response)
        if response.status in PASSING and patience.wait(retry_after(response.headers)):
            return self._ask_offset(session, self._failure(response, "PATCH"))
        if response.status == 404:
            raise _Lost(self._failure(response, "PATCH"))
        raise self._failure(response, "PATCH")

    def _progress(self, reached: int, offset: int, patience: Patience) -> int:
        if reached > offset:
            patience.renew()
        elif not patience.wait():
            raise TransportError(f"{self._doing('PATCH')}: the registry takes no more than {reached} bytes")
        return reached

    def _accepted(self, session: Session, response: Response, sent: int) -> int:
        """The offset after an answer: its Range counts (``0-N``, inclusive); without one, ``sent``."""
        match = _RANGE.fullmatch(response.headers.get("Range", "").strip())
        session.follow(response)
        response.finish()
        end = sent if match is None else int(match.group(1)) + 1
        # "0-0" is said of no byte and of one: not to be told apart, so not to be built upon. Nor is more than was sent.
        if end > sent or (end == 1 and sent > 1):
            raise _Lost(TransportError(f"{self._doing('PATCH')}: the registry counts {end} bytes, which is not what was sent"))
        return end

    def _counted(self, session: Session, response: Response) -> int:
        """As ``_accepted``, of an answer that is of no use without its Range."""
        if not response.headers.get("Range"):
            raise _Lost(self._failure(response, "PATCH"))
        return self._accepted(session, response, self._desc.size)

    def _ask_offset(self, session: Session, error: OCIError) -> int:
        """How far the registry got (distribution-spec end-13)."""
        try:
            response = self._request("GET", session.url)
        except Interrupted as again:
            raise _Lost(error) from again
        if response.status not in (200, 202, 204):
            response.finish()
            raise _Lost(error)
        return self._counted(session, response)

    def _put(self, session: Session, payload: t.Optional[Payload]) -> Response:
        """End the session. The Location's query stays as it is: it may be signed."""
        url = f"{session.url}{'&' if '?' in session.url else '?'}digest={self._desc.digest}"
        return self._request("PUT", url, {"Content-Type": _OCTETS}, payload, grace=self._desc.size / _COMMIT_SPEED)

    def _finish(self, response: Response) -> None:
        """Judge the answer to the last PUT."""
        if response.status in (201, 204):
            stored = answers.digest_of(response)
            response.finish()
            if stored is not None and stored.algorithm == self._desc.digest.algorithm and stored != self._desc.digest:
                raise MismatchError(f"{self._doing('PUT')}: the registry says that it stored {stored}")
            return
        if response.status == 200:
            raise answers.unexpected(response, self._doing("PUT"))
        asked = retry_after(response.headers)
        error = self._failure(response, "PUT")
        if response.status in PASSING or response.status in (404, 416):
            raise _Lost(error, asked)
        if error.code == "DIGEST_INVALID" and not self._damaged:
            # What was sent had been verified, so it was damaged on its way; a registry that says so again means the digest.
            self._damaged = True
            raise _Lost(error)
        raise error

    def _request(
        self,
        method: str,
        url: str,
        headers: t.Optional[t.Mapping[str, str]] = None,
        payload: t.Optional[Payload] = None,
        once: bool = True,
        grace: float = 0,
    ) -> Response:
        call = Call(method, url, self._scopes, headers or {}, payload, once=once, grace=grace)
        return self._client.request(self._caller, call)

    def _doing(self, method: str) -> str:
        return f"{method} of blob {self._desc.digest} to {self._repository}"

    def _failure(self, response: Response, method: str) -> RegistryError:
        return failure(response, self._doing(method), self._caller.hint)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""One repository of a registry: blobs and manifests behind the store interface (distribution-spec).

What a run that finds everything in place does not need is imported where it is needed: Ansible sends source code, which each run compiles.
"""

from __future__ import annotations

import os
import threading
import typing as t

from ..content.store import DOCUMENT_TRIES, Fetcher, Opener, RawReader, Target, again_on_mismatch
from ..spec import manifest, mediatype, strictjson
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest, looks_like_digest
from ..spec.errors import InvalidError, MismatchError, NotFoundError, RegistryError
from ..spec.reference import RegistryReference, check_tag
from ..spec.referrers import listed_as
from . import answers
from .caller import Caller
from .client import Call, Client, bytes_payload, swallow
from .options import RegistryOptions
from .origin import quoted
from .retry import PASSING
from .scopes import merge_scopes, repository_scope

if t.TYPE_CHECKING:
    from .credentials import Credential
    from .lists import Lists
    from .referrer_tags import ReferrerTags
    from .transport import Response

# What a registry says of a document that is not the one whose digest was named, or is none any more.
_DAMAGED = ("DIGEST_INVALID", "MANIFEST_INVALID")
_ACCEPT = ", ".join(mediatype.ACCEPTED_MANIFESTS)
_NO_UNTAG = "this registry does not delete single tags (oci_manifest with state=absent deletes a manifest with all its tags)"


class Repository(Target):
    """Content and names of ``reference``'s repository; the tag and digest of the reference play no part.

    ``requests`` counts all HTTP requests made for it by verb, retries, redirects and token requests among them. ``writing``: it will
    be pushed to, so that every login asks for that too: one token then serves the whole run, and registries that make a repository
    with its first push say 404, not 401, of one that is not there yet.
    """

    remote = True

    def __init__(self, reference: RegistryReference, client: Client, writing: bool = False) -> None:
        self.reference = reference
        self._client = client
        self._caller = Caller(self._credential)
        self.requests = self._caller.requests
        self._base = f"/v2/{reference.repository}"
        self._push_scopes = merge_scopes(repository_scope(reference.repository, "pull", "push"))
        self._scopes = self._push_scopes if writing else merge_scopes(repository_scope(reference.repository, "pull"))
        self._listing = threading.RLock()
        self._made_lists: t.Optional[Lists] = None

    def _credential(self) -> t.Optional[Credential]:
        from .credentials import find

        return find(self.reference, self._client.options)

    def _lists(self) -> Lists:
        from .lists import Lists

        with self._listing:
            if self._made_lists is None:
                self._made_lists = Lists(self.reference.name, self._client.transport.url, self._get_list, self._error)
            return self._made_lists

    def _get_list(self, url: str, what: str) -> Response:
        return self._request("GET", url, document=what)

    def tags(self) -> t.Iterator[str]:
        """All tags, in the registry's order, page by page. Raises NotFoundError when there is no such repository."""
        return self._lists().tags(f"{self._base}/tags/list")

    def _names(self) -> t.List[str]:
        return list(self.tags())

    def _referrers(self, subject: Descriptor) -> t.List[Descriptor]:
        """By the Referrers API; from the index under the fallback tag where a registry has none."""
        found = self._of_registry(subject)
        if found is None:
            found = self._referrer_tags().listed(subject.digest) or []
        return list({desc.digest: desc for desc in found}.values())

    def _of_registry(self, subject: Descriptor) -> t.Optional[t.List[Descriptor]]:
        """What the registry itself lists; None where it lists nothing."""
        return self._lists().referrers(f"{self._base}/referrers/{subject.digest}", subject.digest)

    def _referrer_tags(self) -> ReferrerTags:
        from .referrer_tags import ReferrerTags

        return ReferrerTags(self.reference.name, lambda tag: self._resolve_by_get(tag, None), self.fetch_bytes, self._put_manifest)

    def _untag(self, references: t.Sequence[str]) -> None:
        for name in map(check_tag, references):
            # Deleting the manifest instead would take all other tags of it along (distribution-spec "Deleting tags").
            self._send_delete(name, "tag", _NO_UNTAG)

    def _delete(self, manifests: t.Sequence[Descriptor]) -> None:
        for desc in manifests:
            try:
                document = manifest.parse(desc, self.fetch_bytes(desc))
            except NotFoundError:
                continue
            self._send_delete(desc.digest, "manifest", "this registry does not delete manifests, or is not set up to")
            if document.subject is not None and self._of_registry(document.subject) is None:
                with self._listing:
                    self._referrer_tags().remove(desc, document.subject.digest)

    def _send_delete(self, name: str, kind: str, unsupported: str) -> None:
        scopes = merge_scopes(*self._push_scopes, repository_scope(self.reference.repository, "delete"))
        response = self._request("DELETE", self._manifest_url(name), scopes)
        if response.status in (200, 202, 204, 404):
            response.finish()
            return
        error = self._error(response, self._doing("DELETE", kind, name))
        if error.status in (400, 405, 501):
            raise RegistryError(f"{error.message}: {unsupported}", error.status, error.code)
        raise error

    def is_new(self) -> bool:
        """By the registry's word that it does not know the repository (distribution-spec "Listing Tags", "Error Codes")."""
        response = self._request("GET", f"{self._base}/tags/list?n=1")
        if response.status == 404:
            return self._error(response, f"GET tags of {self.reference.name}").code == "NAME_UNKNOWN"
        response.finish()
        return False

    def mountable(self, desc: Descriptor, source: Fetcher) -> bool:
        return isinstance(source, Repository) and source._client is self._client

    def mount(self, desc: Descriptor, source: Fetcher) -> bool:
        if not isinstance(source, Repository) or not self.mountable(desc, source):
            return False
        origin = source.reference.repository
        if origin == self.reference.repository:
            return self._exists(desc)
        scopes = merge_scopes(*self._push_scopes, repository_scope(origin, "pull"))
        url = f"{self._base}/blobs/uploads/?mount={desc.digest}&from={origin}"
        try:
            response = self._client.request(self._caller, Call("POST", url, scopes))
        except RegistryError:
            return False  # a token for both repositories may be refused where one for the target is not
        if response.status == 202:
            from .uploads import Session

            session = Session(self._client, response)
            response.finish()
            swallow(lambda: self._request("DELETE", session.url, self._push_scopes).finish())
            return False
        response.finish()
        return response.status == 201

    def _resolve(self, reference: t.Optional[str]) -> Descriptor:
        if reference is None:
            raise InvalidError(f"{self.reference.name} needs a tag or digest (host/repository:tag or @sha256:...)")
        digest = Digest(reference) if looks_like_digest(reference) else None
        name = digest or check_tag(reference)
        response = self._request("HEAD", self._manifest_url(name), headers={"Accept": _ACCEPT}, across=True)
        if response.status == 404:
            raise answers.not_found(response, self._doing("HEAD", "manifest", name), answers.UNKNOWN)
        if response.status == 401 or response.status in PASSING:
            # The retries are used up, or the login is: asking once more in another way would only double them.
            raise self._error(response, self._doing("HEAD", "manifest", name))
        if response.status != 200:
            response.finish()
            return self._resolve_by_get(name, digest)
        media_type, size, stored = answers.manifest_type_of(response), answers.size_of(response), answers.digest_of(response)
        response.finish()
        if media_type is None or not size or (stored is None and digest is None):
            return self._resolve_by_get(name, digest)
        if digest is not None and stored is not None and stored != digest:
            raise MismatchError(f"{self._doing('HEAD', 'manifest', name)}: the registry answers with {stored}")
        return Descriptor(media_type, t.cast(Digest, digest or stored), size)

    def _resolve_by_get(self, name: str, digest: t.Optional[Digest]) -> Descriptor:
        """From the document itself, for a HEAD that said too little; and for the words of an error, which a HEAD has not."""
        doing, what = self._doing("GET", "manifest", name), f"the manifest {name}"
        response = self._request("GET", self._manifest_url(name), headers={"Accept": _ACCEPT}, across=True, document=what)
        if response.status == 404:
            raise answers.not_found(response, doing, answers.UNKNOWN)
        if response.status in (200, 204) and not answers.size_of(response) and response.length is not None:
            raise answers.unexpected(response, doing)
        if response.status != 200:
            raise self._error(response, doing)
        claimed, stated = answers.digest_of(response), answers.manifest_type_of(response)
        content_type = answers.media_type_of(response)
        content = response.read_all(strictjson.MAX_DOCUMENT, what)
        _check_claim(doing, content, digest or claimed)
        _check_claim(doing, content, claimed)
        try:
            media_type = manifest.sniff_media_type(content, f"manifest {name}")
        except InvalidError as error:
            raise InvalidError(
                f"{doing}: the answer, {len(content)} bytes of {quoted(content_type or 'no content type')}, is no manifest"
                f" (a login page or proxy?): {error.message}"
            ) from error
        if stated is not None and stated != media_type:
            raise InvalidError(f"{doing}: the answer is called {stated}, and calls itself {media_type}")
        algorithm = (digest or claimed or Digest.of(content)).algorithm
        return Descriptor(media_type, Digest.of(content, algorithm), len(content))

    def _exists(self, desc: Descriptor) -> bool:
        kind = _kind(desc)
        doing = self._doing("HEAD", kind, desc.digest)
        response = self._request("HEAD", self._content_url(desc), headers=_accept(desc), across=True)
        if response.status == 404:
            response.finish()
            return False
        if response.status != 200:
            raise self._error(response, doing)
        size, stored = answers.size_of(response), answers.digest_of(response)
        response.finish()
        if size is not None and size != desc.size:
            raise MismatchError(f"{doing}: the registry says that it has {size} bytes, not {desc.size}")
        if stored is not None and stored.algorithm == desc.digest.algorithm and stored != desc.digest:
            raise MismatchError(f"{doing}: the registry answers with {stored}")
        return True

    def _open(self, desc: Descriptor) -> RawReader:
        from .download import ResumingReader

        response = self._get_content(desc, None)
        if response.length is not None and response.length != desc.size:
            raise answers.wrong_length(response, self._doing("GET", _kind(desc), desc.digest), desc.size)
        return ResumingReader(response, desc.size, lambda offset: self._get_content(desc, offset), self._client.patience())

    def _open_at(self, desc: Descriptor, offset: int) -> RawReader:
        from .download import ResumingReader

        return ResumingReader(None, desc.size, lambda start: self._get_content(desc, start), self._client.patience(), offset)

    def _get_content(self, desc: Descriptor, offset: t.Optional[int]) -> Response:
        """The content; with an offset the answer may be 206 from there on, or 416."""
        doing = self._doing("GET", _kind(desc), desc.digest)
        ranged = {} if offset is None else {"Range": f"bytes={offset}-"}
        response = self._request("GET", self._content_url(desc), headers={**_accept(desc), **ranged}, across=True)
        if response.status == 200 or (ranged and response.status in (206, 416)):
            return response
        if response.status == 404:
            raise answers.not_found(response, doing)
        if response.status < 300:
            raise answers.unexpected(response, doing)
        raise self._error(response, doing)

    def _push(self, desc: Descriptor, content: Opener) -> None:
        if not mediatype.is_manifest(desc.media_type):
            from .uploads import Upload

            Upload(self._client, self._caller, self.reference.repository, self._push_scopes, desc, content).run()
            return
        if desc.size > strictjson.MAX_DOCUMENT:
            raise InvalidError(f"manifest {desc.digest} has {desc.size} bytes, more than the limit of {strictjson.MAX_DOCUMENT}")
        with content() as reader:
            self._put_manifest(desc, b"".join(reader.chunks()), desc.digest)

    def _tag(self, root: Descriptor, manifest: bytes, references: t.Sequence[str]) -> None:
        if Descriptor.of(manifest, root.media_type).size != root.size or Digest.of(manifest, root.digest.algorithm) != root.digest:
            raise MismatchError(f"the manifest to tag is not the content of {root.digest}")
        for name in [check_tag(reference) for reference in references] or [root.digest]:
            self._put_manifest(root, manifest, name)

    def _put_manifest(self, desc: Descriptor, content: bytes, name: str) -> None:
        """Again when the registry got something else: a tag would name it."""
        listed = again_on_mismatch(self.remote, lambda: self._send_manifest(desc, content, name), DOCUMENT_TRIES)
        if b'"subject"' in content and not listed:
            document = manifest.parse(desc, content)
            if document.subject is not None:
                with self._listing:
                    self._referrer_tags().add(listed_as(desc, document), document.subject.digest)

    def _send_manifest(self, desc: Descriptor, content: bytes, name: str) -> bool:
        """True when the registry says that it has listed the manifest with its subject's referrers."""
        doing = self._doing("PUT", "manifest", name)
        response = self._request(
            "PUT", self._manifest_url(name), self._push_scopes, {"Content-Type": desc.media_type}, payload=bytes_payload(content)
        )
        stored = answers.digest_of(response)
        if response.status == 200 and stored is None:
            raise answers.unexpected(response, doing)
        if response.status not in (200, 201, 202, 204):
            error = self._error(response, doing)
            if error.code in _DAMAGED:
                raise MismatchError(error.message) from error
            raise error
        listed = response.headers.get("OCI-Subject") is not None
        response.finish()
        if stored is not None and stored.algorithm == desc.digest.algorithm and stored != desc.digest:
            raise MismatchError(f"{doing}: the registry says that it stored {stored}, not {desc.digest}")
        return listed

    def _request(
        self,
        method: str,
        url: str,
        scopes: t.Optional[t.Tuple[str, ...]] = None,
        headers: t.Optional[t.Mapping[str, str]] = None,
        **more: t.Any,
    ) -> Response:
        return self._client.request(self._caller, Call(method, url, scopes or self._scopes, headers or {}, **more))

    def _content_url(self, desc: Descriptor) -> str:
        return self._manifest_url(desc.digest) if mediatype.is_manifest(desc.media_type) else f"{self._base}/blobs/{desc.digest}"

    def _manifest_url(self, name: str) -> str:
        return f"{self._base}/manifests/{name}"

    def _doing(self, method: str, kind: str, name: str) -> str:
        return f"{method} {kind} {name} of {self.reference.name}"

    def _error(self, response: Response, doing: str) -> RegistryError:
        from .failures import failure

        return failure(response, doing, self._caller.hint)


def _kind(desc: Descriptor) -> str:
    return "manifest" if mediatype.is_manifest(desc.media_type) else "blob"


def _accept(desc: Descriptor) -> t.Dict[str, str]:
    return {"Accept": _ACCEPT} if mediatype.is_manifest(desc.media_type) else {"Accept": "*/*"}


def _check_claim(doing: str, content: bytes, digest: t.Optional[Digest]) -> None:
    if digest is not None and Digest.of(content, digest.algorithm) != digest:
        raise MismatchError(f"{doing}: the answer is not the content of {digest}")


class _Pool:
    """One client for all repositories of a registry that are opened with equal options: one set of connections and tokens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: t.List[Client] = []

    def client(self, host: str, options: RegistryOptions, warn: t.Callable[[str], None]) -> Client:
        with self._lock:
            for client in self._clients:
                if client.host == host and client.options == options:
                    return client
            self._clients.append(Client(host, options, warn))
            return self._clients[-1]

    def forget(self) -> None:
        """In a process that was forked: the one before it goes on with the same connections."""
        self._lock, self._clients = threading.Lock(), []


_POOL = _Pool()
# Ansible's workers are forked from the process that evaluates what a play says.
os.register_at_fork(after_in_child=_POOL.forget)


def open_repository(
    reference: RegistryReference, options: RegistryOptions, warn: t.Callable[[str], None], writing: bool = False
) -> Repository:
    """The repository of a reference; nothing is asked of the registry yet. ``warn`` is told what the registry warns of."""
    return Repository(reference, _POOL.client(reference.host, options, warn), writing)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The lists that a registry gives in pages: tags, what is attached to a manifest (distribution-spec "Content Discovery"), repositories."""

from __future__ import annotations

import re
import typing as t

from ..spec import manifest, mediatype, strictjson
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import InvalidError, RegistryError, TransportError
from ..spec.reference import check_repository, check_tag
from . import answers
from .origin import host_of, resolve, same_origin

if t.TYPE_CHECKING:
    from .transport import Response

MAX_PAGES = 10_000
MAX_ENTRIES = 1_000_000
_NEXT = re.compile(r"<([^<>]*)>\s*;[^,<]*?\brel=\"?next\"?", re.IGNORECASE)
_NO_API = (404, 405, 501)


class Lists:
    """Of the repository ``name`` in the registry whose URL is ``origin``.

    ``get`` asks for a URL or path, and is told what the answer is called; ``failure`` makes the error of an answer, from what was
    being done.
    """

    def __init__(
        self,
        name: str,
        origin: str,
        get: t.Callable[[str, str], Response],
        failure: t.Callable[[Response, str], RegistryError],
    ) -> None:
        self._name = name
        self._origin = origin
        self._get = get
        self._failure = failure
        self._referrers_api: t.Optional[bool] = None  # not known before it was asked

    def tags(self, url: str) -> t.Iterator[str]:
        """All tags, in the registry's order, page by page. Raises NotFoundError when there is no such repository."""
        return self._names(url, "tags", f"the tag list of {self._name}", check_tag)

    def repositories(self, url: str) -> t.Iterator[str]:
        """As ``tags``, of a registry. Raises NotFoundError, RegistryError where it has no such list: no specification asks for it."""
        return self._names(url, "repositories", f"the catalog of {self._name}", check_repository)

    def _names(self, url: str, field: str, what: str, check: t.Callable[[str], str]) -> t.Iterator[str]:
        doing = f"GET {field} of {self._name}"
        seen: t.Set[str] = set()
        for response in self._pages(url, what):
            if response.status == 404:
                raise answers.not_found(response, doing, "" if field == "repositories" else answers.UNKNOWN)
            if response.status != 200:
                raise self._failure(response, doing)
            page = [check(name) for name in _strings_of(response, field, what)]
            if seen and seen.issuperset(page):
                raise TransportError(f"{what} repeats itself")
            yield from (name for name in page if name not in seen)
            seen.update(page)
            _check_count(len(seen), what)

    def referrers(self, url: str, subject: Digest) -> t.Optional[t.List[Descriptor]]:
        """What is attached to ``subject``, by the Referrers API; None when the registry has none."""
        if self._referrers_api is False:
            return None
        what = doing = f"GET referrers of {subject} in {self._name}"
        found: t.List[Descriptor] = []
        for response in self._pages(url, what):
            if response.status in _NO_API:
                # A repository that is not there yet says nothing of the API.
                self._referrers_api = None if self._failure(response, doing).code == "NAME_UNKNOWN" else False
                return None
            if response.status != 200:
                raise self._failure(response, doing)
            if answers.media_type_of(response) != mediatype.OCI_INDEX:
                raise answers.unexpected(response, doing)
            content = response.read_all(strictjson.MAX_DOCUMENT, what)
            found += manifest.parse(Descriptor.of(content, mediatype.OCI_INDEX), content).manifests
            _check_count(len(found), what)
        return found

    def _pages(self, url: str, what: str) -> t.Iterator[Response]:
        """The answers of a list that goes on by Link headers, whatever their status."""
        following: t.Optional[str] = url
        visited: t.Set[str] = set()
        while following is not None:
            if following in visited:
                raise TransportError(f"{what} repeats itself")
            visited.add(following)
            if len(visited) > MAX_PAGES:
                raise TransportError(f"{what} has more than {MAX_PAGES} pages")
            response = self._get(following, what)
            following = self._next_page(response, what)
            yield response

    def _next_page(self, response: Response, what: str) -> t.Optional[str]:
        match = _NEXT.search(response.headers.get("Link", "")[:8192])
        if match is None:
            return None
        url = resolve(response.url, match.group(1))
        if not same_origin(url, self._origin):
            raise TransportError(f"{what} goes on at another host, {host_of(url)}: refused")
        return url


def _check_count(count: int, what: str) -> None:
    if count > MAX_ENTRIES:
        raise TransportError(f"{what} has more than {MAX_ENTRIES} entries")


def _strings_of(response: Response, field: str, what: str) -> t.List[str]:
    found = strictjson.load_object(response.read_all(strictjson.MAX_DOCUMENT, what), what).get(field)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InvalidError(f"{what} is not a list of strings")
    return found

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Lists of what is attached, under tags: for registries without the Referrers API (distribution-spec "Referrers Tag Schema")."""

from __future__ import annotations

import typing as t

from ..spec import manifest, mediatype
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import InvalidError, NotFoundError
from ..spec.referrers import fallback_tag, index_of


class ReferrerTags:
    """Of the repository ``name``. ``find`` resolves a tag, ``fetch`` reads a manifest, ``put`` stores one under a tag."""

    def __init__(
        self,
        name: str,
        find: t.Callable[[str], Descriptor],
        fetch: t.Callable[[Descriptor], bytes],
        put: t.Callable[[Descriptor, bytes, str], None],
    ) -> None:
        self._name = name
        self._find = find
        self._fetch = fetch
        self._put = put

    def listed(self, subject: Digest) -> t.Optional[t.List[Descriptor]]:
        """What the index under the subject's tag lists; None when there is none. Raises InvalidError when the tag names something else."""
        tag = fallback_tag(subject)
        try:
            desc = self._find(tag)
        except NotFoundError:
            return None
        if not mediatype.is_index(desc.media_type):
            raise InvalidError(f"the tag {tag} of {self._name} is not an index of referrers but {desc.media_type}")
        return list(manifest.parse(desc, self._fetch(desc)).manifests)

    def add(self, entry: Descriptor, subject: Digest) -> None:
        entries = self.listed(subject) or []
        if all(one.digest != entry.digest for one in entries):
            self._store([*entries, entry], subject)

    def remove(self, desc: Descriptor, subject: Digest) -> None:
        entries = self.listed(subject) or []
        left = [one for one in entries if one.digest != desc.digest]
        if len(left) < len(entries):
            self._store(left, subject)

    def _store(self, entries: t.Sequence[Descriptor], subject: Digest) -> None:
        content = index_of(entries)
        self._put(Descriptor.of(content, mediatype.OCI_INDEX), content, fallback_tag(subject))

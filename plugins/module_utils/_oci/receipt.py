# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What earlier pulls into one folder learned, so that the next one need not ask for it again.

A cache outside the destination, never needed for a right result: manifests are verified when they are taken from it, and files
are compared with what really stands on disk. Losing it costs the manifests' GETs, and reading a folder's layer to compare.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from .cache import DAMAGE, CacheFile, dumps
from .listing import CONTENT_DIGEST, Listing, Member
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import OCIError

_VERSION = 1
_KEPT_PULLS = 3


class Receipt:
    """The newest pulls into ``destination``, by the digest of their root.

    Never fails: what cannot be read counts as absent, what cannot be written is told by ``warn``.
    """

    def __init__(self, destination: str, warn: t.Callable[[str], None]) -> None:
        self._file = CacheFile("pull", os.fsencode(destination))
        self._warn = warn
        self._stored = self._load()
        self._pulls: t.Dict[str, t.Any] = dict(self._stored)

    def root(self, digest: Digest) -> t.Optional[Descriptor]:
        """The descriptor of a root that was pulled before."""
        pull = self._pulls.get(digest)
        with contextlib.suppress(*DAMAGE):
            return Descriptor.parse(pull["root"]) if pull is not None else None
        return None

    def manifest(self, desc: Descriptor) -> t.Optional[bytes]:
        """The bytes of a manifest that was read before, verified."""
        for pull in self._pulls.values():
            with contextlib.suppress(*DAMAGE):
                content: bytes = pull["manifests"].get(desc.digest, "").encode("utf-8")
                if len(content) == desc.size and Digest.of(content, desc.digest.algorithm) == desc.digest:
                    return content
        return None

    def listing(self, desc: Descriptor, title: str) -> t.Optional[Listing]:
        """What the folder layer holds, when it was pulled under this title before."""
        for pull in self._pulls.values():
            with contextlib.suppress(*DAMAGE):
                rows = pull["folders"].get(_folder_key(desc, title))
                if rows is not None:
                    return tuple(Member(tuple(path), *rest) for path, *rest in rows)
        return None

    def remember(
        self, root: Descriptor, manifests: t.Mapping[Digest, bytes], folders: t.Mapping[t.Tuple[Descriptor, str], Listing]
    ) -> None:
        """Store a pull as the newest; nothing is written when that changes nothing."""
        self._pulls.pop(root.digest, None)
        self._pulls[root.digest] = {
            "root": {"mediaType": root.media_type, "digest": root.digest, "size": root.size},
            "manifests": {digest: content.decode("utf-8") for digest, content in manifests.items()},
            "folders": {_folder_key(desc, title): [list(member) for member in rows] for (desc, title), rows in folders.items()},
        }
        self._pulls = dict(list(self._pulls.items())[-_KEPT_PULLS:])
        # Compared as JSON: tuples and lists are one there.
        if dumps(self._document(self._pulls)) != dumps(self._document(self._stored)):
            self._save()

    def _load(self) -> t.Dict[str, t.Any]:
        with contextlib.suppress(*DAMAGE):
            document = self._file.load()
            return dict(document["pulls"]) if document.get("version") == _VERSION else {}
        return {}

    def _save(self) -> None:
        try:
            self._file.save(self._document(self._pulls))
        except (OCIError, OSError) as error:
            self._warn(
                f"what this pull learned could not be stored in {self._file.folder} ({error}): the next run will read manifests again. "
                "Another place can be named by XDG_CACHE_HOME."
            )

    @staticmethod
    def _document(pulls: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
        return {"version": _VERSION, "pulls": pulls}


def _folder_key(desc: Descriptor, title: str) -> str:
    return " ".join([desc.digest, desc.annotations.get(CONTENT_DIGEST, ""), title])

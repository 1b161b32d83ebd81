# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What earlier pulls into one folder learned, so that the next one need not ask for it again.

A cache outside the destination, never needed for a right result: manifests are verified when they are taken from it, and files
are compared with what really stands on disk. Losing it costs the manifests' GETs, and reading a folder's layer to compare.

It also names what pulls wrote, by their source: what may be pruned later. Losing that means that nothing is removed.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from .cache import DAMAGE, CacheFile
from .listing import Listing, Member
from .spec.descriptor import CONTENT_DIGEST, Descriptor
from .spec.digest import Digest, is_digest
from .spec.errors import OCIError
from .titles import Parts

_VERSION = 1
_KEPT_PULLS = 3
FOLDER = "folder"
_LINK = "-> "
# What was written, by path: the digest of a file, ``-> `` and the target of a link, FOLDER.
Record = t.Dict[Parts, str]


class Receipt:
    """The newest pulls into ``destination``, by the digest of their root.

    Never fails: what cannot be read counts as absent, what cannot be written is told by ``warn``.
    """

    def __init__(self, destination: str, warn: t.Callable[[str], None]) -> None:
        self._file = CacheFile("pull", os.fsencode(destination))
        self._warn = warn
        self._stored = self._load()
        self._pulls: t.Dict[str, t.Any] = dict(self._stored["pulls"])
        self._written: t.Dict[str, t.Any] = dict(self._stored["written"])
        self._noted: t.Set[str] = set()
        self._warned = False

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

    def written(self, name: str) -> t.Optional[Record]:
        """What pulls from the source ``name`` wrote; None when nothing is known of any."""
        rows = self._written.get(name)
        return _record(rows) if isinstance(rows, dict) else None

    def written_by_others(self, name: str) -> t.Set[Parts]:
        """The paths that pulls from other sources wrote."""
        return {parts for other, rows in self._written.items() if other != name and isinstance(rows, dict) for parts in _record(rows)}

    def note(self, name: str, record: Record) -> None:
        """Let ``remember`` store this as what pulls from the source wrote."""
        self._noted.add(name)
        self._written = {**self._written, name: {"/".join(parts): what for parts, what in record.items()}}

    def write_down(self, name: str, record: Record) -> None:
        """As ``note``, at once."""
        self.note(name, record)
        self._store()

    def remember(
        self, root: Descriptor, manifests: t.Mapping[Digest, bytes], folders: t.Mapping[t.Tuple[Descriptor, str], Listing]
    ) -> None:
        """Store a pull as the newest; nothing is written when that changes nothing."""
        self._pulls.pop(root.digest, None)
        self._pulls[root.digest] = {
            "root": {"mediaType": root.media_type, "digest": root.digest, "size": root.size},
            "manifests": {digest: content.decode("utf-8") for digest, content in manifests.items()},
            "folders": {_folder_key(desc, title): _rows(listing) for (desc, title), listing in folders.items()},
        }
        self._pulls = dict(list(self._pulls.items())[-_KEPT_PULLS:])
        self._store()

    def _store(self) -> None:
        """Nothing is written when that changes nothing."""
        document = {"version": _VERSION, "pulls": dict(self._pulls), "written": self._written}
        if document != self._stored or list(self._pulls) != list(self._stored["pulls"]):
            self._save()

    def _merged(self) -> t.Dict[str, t.Any]:
        """What is to be stored, over what other pulls into the folder have stored since this one began."""
        others = self._load()
        pulls = {digest: pull for digest, pull in others["pulls"].items() if digest not in self._pulls}
        noted = {name: rows for name, rows in self._written.items() if name in self._noted}
        kept = [*pulls.items(), *self._pulls.items()][-_KEPT_PULLS:]
        return {"version": _VERSION, "pulls": dict(kept), "written": {**others["written"], **noted}}

    def _load(self) -> t.Dict[str, t.Any]:
        """``written`` is absent in what an older release stored."""
        with contextlib.suppress(*DAMAGE):
            document = self._file.load()
            if document.get("version") == _VERSION:
                return {"version": _VERSION, "pulls": dict(document["pulls"]), "written": dict(document.get("written", {}))}
        return {"version": _VERSION, "pulls": {}, "written": {}}

    def _save(self) -> None:
        try:
            with self._file.updating():
                document = self._merged()
                self._file.save(document)
            self._stored, self._pulls, self._written = document, dict(document["pulls"]), dict(document["written"])
        except (OCIError, OSError) as error:
            if not self._warned:
                self._warn(
                    f"what this pull learned could not be stored in {self._file.folder} ({error}): the next run will read manifests "
                    "again, and cannot prune. Another place can be named by XDG_CACHE_HOME."
                )
            self._warned = True


def _rows(listing: Listing) -> t.List[t.List[t.Any]]:
    """As JSON gives it back."""
    return [[list(member.path), *member[1:]] for member in listing]


def _record(rows: t.Mapping[str, t.Any]) -> Record:
    """Without what is no plain path below the folder, or not in the words of a record."""
    found = {tuple(path.split("/")): what for path, what in rows.items() if isinstance(what, str) and _is_word(what)}
    return {parts: what for parts, what in found.items() if not any(part in ("", ".", "..") or "\0" in part for part in parts)}


def _is_word(what: str) -> bool:
    return is_digest(what) or what == FOLDER or what.startswith(_LINK)


def _folder_key(desc: Descriptor, title: str) -> str:
    return " ".join([desc.digest, desc.annotations.get(CONTENT_DIGEST, ""), title])

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The entries of an index, and what adding, replacing and removing one does to the others (image-spec image-index.md)."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError
from .spec.platform import REFERENCE_DIGEST, Platform, is_attestation, platform_of

KEPT = -1
Key = t.Tuple[Platform, str]


@dataclass(frozen=True)
class Entry:
    """``document`` is what the index says, ``desc`` the same parsed. ``item``: which of ``manifests`` it is of, KEPT for none;
    ``what`` names that in errors."""

    document: t.Mapping[str, t.Any]
    desc: Descriptor
    item: int = KEPT
    what: str = ""

    @property
    def key(self) -> t.Optional[Key]:
        """What an index has one image of: a platform, for Windows with the version; None for all that is no image of a platform."""
        stated = platform_of(self.desc)
        if stated is None or is_attestation(self.desc):
            return None
        version = (self.desc.platform or {}).get("os.version")
        return stated, version if isinstance(version, str) else ""


class Entries:
    """The entries of an index in their order: images first, attestations after them, what was ``kept`` where it was."""

    def __init__(self, kept: t.Iterable[Entry] = ()) -> None:
        self._entries = list(kept)

    @property
    def documents(self) -> t.List[t.Dict[str, t.Any]]:
        return [dict(entry.document) for entry in self._entries]

    def add(self, group: t.Sequence[Entry]) -> None:
        """Add the entries of one item. Those that were kept for the same platforms go, with their attestations.

        Raises InvalidError when another item has brought other content for one of the platforms.
        """
        self._check_unique(group)
        self._insert(self._renewed(group))
        keys = {entry.key for entry in group} - {None}
        self._drop([old for old in self._entries if old.item == KEPT and old.key in keys])

    def remove(self, platform: Platform) -> None:
        """Remove the images of exactly this platform, and their attestations."""
        self._drop([entry for entry in self._entries if entry.key is not None and entry.key[0] == platform])

    def _check_unique(self, group: t.Sequence[Entry]) -> None:
        items = {entry.item for entry in group}
        given = {old.key: old for old in self._entries if old.key is not None and old.item not in (KEPT, *items)}
        for entry in group:
            old = given.get(entry.key)
            if old is not None and entry.key is not None and old.desc.digest != entry.desc.digest:
                platform = " ".join(str(part) for part in entry.key if str(part))
                raise InvalidError(
                    f"{old.what} and {entry.what} are both for {platform}, with different content: leave one out, or give its platform"
                )

    def _renewed(self, group: t.Sequence[Entry]) -> t.List[Entry]:
        """Put those of the group whose content is there already in its place: adding the same again moves nothing. The others."""
        places: t.Dict[t.Any, t.List[int]] = {}
        for place in reversed(range(len(self._entries))):
            places.setdefault(_identity(self._entries[place]), []).append(place)
        new = []
        for entry in group:
            same = places.get(_identity(entry))
            if same:
                self._entries[same.pop()] = entry
            else:
                new.append(entry)
        return new

    def _insert(self, new: t.Sequence[Entry]) -> None:
        """An image before the one that it replaces, else after all images; an attestation at the end."""
        images = [entry for entry in new if not is_attestation(entry.desc)]
        outdated = {old.key for old in self._entries if old.item == KEPT} - {None}
        more = [entry for entry in images if entry.key not in outdated]
        replacing: t.Dict[t.Optional[Key], t.List[Entry]] = {}
        for entry in images:
            if entry.key in outdated:
                replacing.setdefault(entry.key, []).append(entry)
        placed: t.List[Entry] = []
        for old in self._entries:
            if old.item == KEPT:
                placed.extend(replacing.pop(old.key, []))
            placed.append(old)
        end = next((place for place, entry in enumerate(placed) if is_attestation(entry.desc)), len(placed))
        self._entries = [*placed[:end], *more, *placed[end:], *(entry for entry in new if is_attestation(entry.desc))]

    def _drop(self, dropped: t.Sequence[Entry]) -> None:
        taken = {id(entry) for entry in dropped}
        left = [entry for entry in self._entries if id(entry) not in taken]
        gone = {old.desc.digest for old in dropped} - {entry.desc.digest for entry in left}
        self._entries = [entry for entry in left if attested(entry.desc) not in gone]


def _identity(entry: Entry) -> t.Tuple[Digest, t.Optional[Key], t.Optional[str]]:
    """Equal for entries that say the same: the same content, for the same platform, about the same image."""
    return entry.desc.digest, entry.key, attested(entry.desc)


def attested(desc: Descriptor) -> t.Optional[str]:
    """The digest of the manifest that an attestation is about; None for what is none."""
    return desc.annotations.get(REFERENCE_DIGEST) if is_attestation(desc) else None


def with_attestations(entries: t.Sequence[Entry], image: Descriptor) -> t.List[Entry]:
    """The entry that ``image`` is the descriptor of, and the attestations about it."""
    return [entry for entry in entries if entry.desc is image or attested(entry.desc) == image.digest]

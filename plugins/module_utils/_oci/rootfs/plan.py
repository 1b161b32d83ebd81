# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Compare a root file system with the folder that it is to stand in: pure reads."""

from __future__ import annotations

import collections
import contextlib
import os
import stat
import typing as t
from dataclasses import dataclass, field

from ..content import tar
from ..content.beneath import folder
from ..destination import Destination
from ..spec.digest import Digest
from ..spec.errors import InvalidError, NotFoundError, located, storage_errors
from ..titles import Parts
from .disk import ABSENT, KINDS, Digests, Folders, Identity, look, names_in, shown_found, shown_wanted
from .entries import DEVICES, Entry, Listing, Policy
from .image import Image
from .layers import Layers
from .receipt import Receipt, Written


class Change(t.NamedTuple):
    """A path that does not stand on disk as it should. ``anew``: it is made anew, not just given its attributes."""

    entry: Entry
    before: str
    anew: bool

    @property
    def after(self) -> str:
        return shown_wanted(self.entry)


@dataclass(frozen=True)
class RootfsPlan:
    """What an unpacking does. Check mode returns it, the run applies it.

    ``changes`` in the order of ``wanted``. ``removed``: what an older image left, with what stands there, the deepest first.
    ``skipped``: devices and FIFOs that are not asked for. ``layers``: those whose content is needed.
    """

    wanted: Listing
    skipped: t.Tuple[Entry, ...]
    changes: t.Tuple[Change, ...]
    removed: t.Tuple[t.Tuple[Parts, str], ...]
    layers: t.FrozenSet[int]

    @property
    def changed(self) -> bool:
        return bool(self.changes or self.removed)


@dataclass
class Unpacking:
    """The parts that plan and apply work with. ``documents``: what is to be remembered of the image. ``made``: the destination was
    not there before this run."""

    image: Image
    layers: Layers
    policy: Policy
    destination: Destination
    receipt: Receipt
    documents: t.Mapping[Digest, bytes]
    concurrency: int = 8
    made: bool = False
    digests: Digests = field(default_factory=Digests)
    _listing: t.Optional[Listing] = None

    def listing(self) -> Listing:
        """What the layers add up to; they are fetched when no receipt tells."""
        if self._listing is None:
            self._listing = self.receipt.listing(self.image.manifest)
        if self._listing is None:
            self._listing = self.layers.listing(self.concurrency)
        return self._listing


def plan_rootfs(work: Unpacking) -> RootfsPlan:
    """Compare the destination with the image. Raises InvalidError where a folder that is not ours to remove is in the way."""
    wanted, skipped = work.policy.wanted(work.listing())
    destination = work.destination
    with contextlib.ExitStack() as stack:
        stack.enter_context(located(destination.location))
        stack.enter_context(storage_errors(f"looking at {destination.path}"))
        try:
            folders = stack.enter_context(Folders(stack.enter_context(folder(destination.path))))
        except NotFoundError:
            return _planned(wanted, skipped, [_absent(entry) for entry in wanted], ())
        removed = _removed(folders, work.receipt.written(), wanted, skipped)
        comparison = _Comparison(folders, wanted, {path for path, _before in removed}, work.digests)
        return _planned(wanted, skipped, list(comparison.changes(work.made)), removed)


def _planned(
    wanted: Listing, skipped: t.Tuple[Entry, ...], changes: t.Sequence[Change], removed: t.Tuple[t.Tuple[Parts, str], ...]
) -> RootfsPlan:
    contents = frozenset(change.entry.origin[0] for change in changes if change.anew and has_content(change.entry))
    return RootfsPlan(wanted, skipped, tuple(changes), removed, contents)


def _absent(entry: Entry) -> Change:
    """The root folder is made with the destination, and needs its attributes only."""
    return Change(entry, ABSENT, bool(entry.path))


def has_content(entry: Entry) -> bool:
    """Whether making it needs its layer."""
    return entry.kind == tar.FILE and not entry.same and entry.size > 0


def names_of_files(wanted: Listing) -> t.Dict[Parts, int]:
    """How many names each file has, by its first one."""
    return collections.Counter(entry.same or entry.path for entry in wanted if entry.kind == tar.FILE)


def _removed(folders: Folders, written: Written, wanted: Listing, skipped: t.Iterable[Entry]) -> t.Tuple[t.Tuple[Parts, str], ...]:
    """What was written and is not wanted any more, while it is still of the kind that was written; folders only with all they hold."""
    gone: t.Dict[Parts, str] = {}
    kept = {entry.path for entry in wanted} | {entry.path for entry in skipped if written.get(entry.path) in DEVICES}
    # A path sorts before those below it.
    for path in sorted(set(written) - kept, reverse=True):
        found = look(folders, path)
        if found is None or stat.S_IFMT(found.st_mode) != KINDS.get(written[path]):
            continue
        if written[path] == tar.DIRECTORY and any((*path, name) not in gone for name in names_in(folders.open(path))):
            continue
        gone[path] = shown_found(folders.open(path[:-1]), path[-1], found, Entry(path, written[path]), Digests())
    return tuple(gone.items())


class _Comparison:
    """One walk over what is wanted. ``removed``: what will be out of the way."""

    def __init__(self, folders: Folders, wanted: Listing, removed: t.Set[Parts], digests: Digests) -> None:
        self._folders = folders
        self._wanted = wanted
        self._removed = removed
        self._digests = digests
        self._names = names_of_files(wanted)
        # The inodes of files that stand as they should, by their first names.
        self._files: t.Dict[Parts, Identity] = {}
        self._taken: t.Set[Identity] = set()

    def changes(self, made: bool) -> t.Iterator[Change]:
        """``made``: the root folder is there only since this run."""
        absent: t.Optional[Parts] = None
        for entry in self._wanted:
            if absent is not None and entry.path[: len(absent)] == absent:
                yield _absent(entry)
                continue
            absent = None
            change = _absent(entry) if made and not entry.path else self._change(entry)
            if change is None:
                continue
            if change.anew and entry.kind == tar.DIRECTORY:
                # What lies behind a link, or nowhere, does not stand below it.
                absent = entry.path
            yield change

    def _change(self, entry: Entry) -> t.Optional[Change]:
        found = look(self._folders, entry.path)
        if found is None:
            return Change(entry, ABSENT, True)
        name = entry.path[-1] if entry.path else ""
        parent = self._folders.open(entry.path[:-1])
        if stat.S_ISDIR(found.st_mode) and entry.kind != tar.DIRECTORY:
            self._refuse_foreign(entry.path)
        if entry.same:
            return self._hard_link(entry, found, parent)
        before = shown_found(parent, name, found, entry, self._digests)
        identity = (found.st_dev, found.st_ino)
        shared = entry.kind == tar.FILE and identity in self._taken
        if before == shown_wanted(entry) and not shared:
            self._keep(entry, identity)
            return None
        anew = shared or not self._is_repairable(entry, found, before)
        if not anew:
            self._keep(entry, identity)
        return Change(entry, before, anew)

    def _keep(self, entry: Entry, identity: Identity) -> None:
        if entry.kind == tar.FILE:
            self._files[entry.path] = identity
            self._taken.add(identity)

    def _is_repairable(self, entry: Entry, found: os.stat_result, before: str) -> bool:
        """Whether new attributes are enough. Not for a file that has names elsewhere: those would get them too."""
        if stat.S_IFMT(found.st_mode) != KINDS[entry.kind]:
            return False
        if entry.kind == tar.DIRECTORY:
            return True
        return entry.kind == tar.FILE and before.endswith(f"sha256:{entry.sha256}") and found.st_nlink <= self._names[entry.path]

    def _hard_link(self, entry: Entry, found: os.stat_result, parent: int) -> t.Optional[Change]:
        if self._files.get(entry.same) == (found.st_dev, found.st_ino):
            return None
        return Change(entry, shown_found(parent, entry.path[-1], found, entry, self._digests), True)

    def _refuse_foreign(self, path: Parts) -> None:
        """A folder makes way only when all that it holds is removed anyway."""
        foreign = [name for name in names_in(self._folders.open(path)) if (*path, name) not in self._removed]
        if foreign:
            raise InvalidError(
                f"{'/'.join(path)} is to be something else in the image, and is a folder with {min(foreign)!r} in it, which no earlier "
                "run has put there: move it away first"
            )

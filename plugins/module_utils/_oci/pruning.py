# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What earlier pulls from one source wrote and its artifact no longer has: plan its removal, then remove it.

Only what the receipt says that a pull wrote is ever removed, and only while it still is what was written.
"""

from __future__ import annotations

import typing as t

from .destination import Destination
from .destination_view import Found, View
from .receipt import FOLDER, Receipt, Record
from .selection import Item
from .spec.digest import Digest, looks_like_digest
from .spec.errors import InvalidError
from .titles import Parts
from .unpack import ABSENT, Line, Pull, UnpackPlan, shown, wanted_text


class Removal(t.NamedTuple):
    """``what`` stands there, in the words of a Record."""

    parts: Parts
    what: str

    @property
    def line(self) -> Line:
        return Line("/".join(self.parts) + ("/" if self.what == FOLDER else ""), self.what, ABSENT)


class PrunePlan(t.NamedTuple):
    """``removals``: files and links, then folders from the deepest. ``changed_since``: what stays, because it is no longer what was
    written. ``forgotten``: paths that the record need not name any more."""

    removals: t.Tuple[Removal, ...] = ()
    changed_since: t.Tuple[Parts, ...] = ()
    forgotten: t.FrozenSet[Parts] = frozenset()

    @property
    def changed(self) -> bool:
        return bool(self.removals)


class Written:
    """What pulls from the source ``name`` wrote into the destination, kept in the receipt."""

    def __init__(self, receipt: Receipt, name: str) -> None:
        self._receipt = receipt
        self._name = name
        stored = receipt.written(name)
        self.known = stored is not None
        self._record: Record = dict(stored or {})
        self._elsewhere = receipt.written_by_others(name)

    def announce(self, pull: Pull, plan: UnpackPlan) -> None:
        """Note what is about to be written, and store that: a pull that is killed is known to have begun.

        What stands there already, and is as it should be, nobody knows the writer of: it is not noted.
        """
        made = (pair for one in plan.items if one.changed for pair in _made_of(pull, one.item))
        with pull.destination.viewing() as view:
            new = {parts: what for parts, what in made if _differs(view, parts, what)}
        folders = {parts[:length] for parts in new for length in range(1, len(parts))}
        self._record.update({parts: FOLDER for parts in folders if pull.destination.look(parts).stat is None})
        self._record.update(new)
        self._receipt.write_down(self._name, self._record)

    def finish(self, pull: Pull, pruned: PrunePlan) -> None:
        """Leave to the receipt what is still ours: neither what was pruned, nor what others gave its present content."""
        wanted = {parts: what for item in pull.selection.items for parts, what in _made_of(pull, item)}
        self._record = {
            parts: what for parts, what in self._record.items() if parts not in pruned.forgotten and wanted.get(parts, what) == what
        }
        self._receipt.note(self._name, self._record)

    def plan(self, pull: Pull, backup: bool) -> PrunePlan:
        """What is to be removed; ``backup`` tells that a copy of each file stays in its folder. Pure reads."""
        needed = _Needed(pull)
        left = {parts: what for parts, what in self._record.items() if parts not in needed and parts not in self._elsewhere}
        removals: t.List[Removal] = []
        changed_since: t.List[Parts] = []
        gone: t.Set[Parts] = set()
        for parts, what in left.items():
            if what == FOLDER:
                continue
            found = _text_of(pull, parts, what)
            if found == what:
                removals.append(Removal(parts, what))
            elif found == ABSENT:
                gone.add(parts)
            else:
                changed_since.append(parts)
        emptied = {one.parts for one in removals if not (backup and looks_like_digest(one.what))}
        folders, missing = _empty_folders(pull, [parts for parts, what in left.items() if what == FOLDER], emptied)
        removals += [Removal(parts, FOLDER) for parts in folders]
        forgotten = frozenset([*(one.parts for one in removals), *changed_since, *gone, *missing])
        return PrunePlan(tuple(removals), tuple(changed_since), forgotten)

    def apply(self, pull: Pull, backup: bool) -> PrunePlan:
        """Remove what is to be removed. Returns the plan that was carried out, made anew while other pulls are kept out."""
        with pull.destination.writing():
            plan = self.plan(pull, backup)
            for parts, what in plan.removals:
                pull.destination.remove(parts, what == FOLDER)
        return plan


class _Needed:
    """Paths that are to stay: those of the selection, what the artifact has beside it, and the folders above them."""

    def __init__(self, pull: Pull) -> None:
        # Whose inside is not known here, or not selected: all of it stays.
        self._whole = set(pull.selection.others)
        paths = set(pull.selection.others)
        for item in pull.selection.items:
            paths.update([item.parts], (parts for parts, _what in _made_of(pull, item)))
            if item.folder and pull.blobs.known(item) is None:
                self._whole.add(item.parts)
        self._paths = paths.union(*({parts[:length] for length in range(1, len(parts))} for parts in paths))

    def __contains__(self, parts: object) -> bool:
        path = t.cast(Parts, parts)
        return path in self._paths or any(path[:length] in self._whole for length in range(1, len(path)))


def _made_of(pull: Pull, item: Item) -> t.Iterator[t.Tuple[Parts, str]]:
    """Each path of the item, as far as it is known, and what is to stand there."""
    if not item.folder:
        yield item.parts, str(item.desc.digest)
    for member in pull.blobs.known(item) or () if item.folder else ():
        yield (*item.parts, *member.path), wanted_text(member)


def _differs(view: View, parts: Parts, what: str) -> bool:
    found = view.look(parts)
    return found.stat is None if what == FOLDER else _shown_as(view, parts, found, what) != what


def _text_of(pull: Pull, parts: Parts, what: str) -> str:
    """What stands there; below a link that took a folder's place nothing is looked at."""
    try:
        return _shown_as(pull.destination, parts, pull.destination.look(parts), what)
    except InvalidError:
        return "behind a link or a file"


def _shown_as(view: t.Union[Destination, View], parts: Parts, found: Found, what: str) -> str:
    return shown(view, parts, found, Digest(what).algorithm if looks_like_digest(what) else "sha256")


def _empty_folders(pull: Pull, folders: t.Iterable[Parts], gone: t.Set[Parts]) -> t.Tuple[t.List[Parts], t.List[Parts]]:
    """Those that hold nothing once ``gone`` is gone, from the deepest; and those that are not there, or are no folders."""
    empty: t.List[Parts] = []
    missing: t.List[Parts] = []
    gone = set(gone)
    for parts in sorted(folders, key=lambda folder: (-len(folder), folder)):
        if _text_of(pull, parts, FOLDER) != FOLDER:
            missing.append(parts)
        elif all((*parts, name) in gone for name in pull.destination.names(parts)):
            empty.append(parts)
            gone.add(parts)
    return empty, missing

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Pull files out of an artifact: plan (pure reads), then apply what was planned.

Everything is compared with what stands on disk by digest; only what differs is fetched, and it is verified before it gets its
name.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import typing as t

from .content import tar
from .content.beneath import default_mode
from .content.store import Fetcher, again_on_mismatch
from .destination import Destination
from .destination_view import Found, View, refuse_folder
from .folders import FolderBlobs
from .listing import Listing, Member
from .receipt import FOLDER
from .selection import Item, Selection, reading
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, located, storage_errors
from .spec.progress import PROGRESS
from .stats import Stats
from .titles import Parts

if t.TYPE_CHECKING:
    from .destination_batch import Batch

DEFAULT_CONCURRENCY = 8
ABSENT = "absent"
_EXECUTE = 0o100
_FEW = 16  # files that are synced one by one: a sync of the file system is for what others have written, too


class Line(t.NamedTuple):
    """One path of the listing before and after."""

    path: str
    before: str
    after: str


class Difference(t.NamedTuple):
    """A member of a folder that does not stand on disk as it should; ``content``: its bytes do not. ``absent``: nothing stands there."""

    member: Member
    before: str
    content: bool

    @property
    def absent(self) -> bool:
        return self.before == ABSENT


class ItemPlan(t.NamedTuple):
    """``fetch``: the content is needed to make it so. ``lines``: what differs, or the item itself when nothing does."""

    item: Item
    changed: bool
    fetch: bool
    lines: t.Tuple[Line, ...]


class UnpackPlan(t.NamedTuple):
    """What a pull does. Check mode returns it, the run applies it. ``listed``: folder layers fetched only to compare."""

    selection: Selection
    items: t.Tuple[ItemPlan, ...]
    listed: t.FrozenSet[Item] = frozenset()

    @property
    def changed(self) -> bool:
        return any(plan.changed for plan in self.items)

    @property
    def fetches(self) -> t.List[ItemPlan]:
        return [plan for plan in self.items if plan.fetch]


class Pull(t.NamedTuple):
    """The parts that plan and apply work with. ``modes``: whether a file of a folder has to have its member's execute bit.

    ``announce`` is told the plan that is carried out, before the first file is written.
    """

    src: Fetcher
    selection: Selection
    destination: Destination
    blobs: FolderBlobs
    modes: bool = True
    announce: t.Callable[[Pull, UnpackPlan], None] = lambda pull, plan: None


def plan_unpack(pull: Pull) -> UnpackPlan:
    """Compare the destination with the selection.

    A folder that stands on disk while nothing tells what its layer holds is fetched to be compared. Raises InvalidError where
    something in the destination is in the way: a link on the path, a folder where a file is to be.
    """
    plans = tuple(_plan_folder(pull, item) if item.folder else _plan_file(pull, item) for item in pull.selection.items)
    return UnpackPlan(pull.selection, plans, frozenset(pull.blobs.fetched))


def _plan_file(pull: Pull, item: Item) -> ItemPlan:
    found = pull.destination.look(item.parts)
    refuse_folder(found, item.parts, pull.destination.location)
    before, after = shown(pull.destination, item.parts, found, item.desc.digest.algorithm), str(item.desc.digest)
    return ItemPlan(item, before != after, before != after, (Line(item.title, before, after),))


def _plan_folder(pull: Pull, item: Item) -> ItemPlan:
    found = pull.destination.look(item.parts)
    if found.stat is not None and not found.is_folder:
        with located(pull.destination.location):
            raise InvalidError(f"{item.title} is to be a folder, and is a link or a file: remove it first")
    title, digest = item.title + "/", str(item.desc.digest)
    listing = pull.blobs.known(item)
    if found.stat is None:
        fetch = listing is None or any(member.kind == tar.FILE for member in listing)
        return ItemPlan(item, True, fetch, (Line(title, ABSENT, digest),))
    differences = tuple(_differences(pull, item, listing if listing is not None else pull.blobs.read(item)))
    if not differences:
        return ItemPlan(item, False, False, (Line(title, digest, digest),))
    lines = [Line("/".join((*item.parts, *member.path)), before, wanted_text(member)) for member, before, _content in differences]
    return ItemPlan(item, True, any(one.content and not one.member.link for one in differences), tuple(lines))


def _differences(pull: Pull, item: Item, listing: Listing) -> t.Iterator[Difference]:
    with pull.destination.viewing() as view:
        for member in listing:
            yield from _difference(pull, view, (*item.parts, *member.path), member)


def _difference(pull: Pull, view: View, parts: Parts, member: Member) -> t.Iterator[Difference]:
    found = view.look(parts)
    if member.kind == tar.DIRECTORY:
        if found.stat is not None and not found.is_folder:
            with located(pull.destination.location):
                raise InvalidError(f"{'/'.join(parts)} is to be a folder, and is a link or a file: remove it first")
        if not found.is_folder:
            yield Difference(member, ABSENT, False)
        return
    refuse_folder(found, parts, pull.destination.location)
    before = shown(view, parts, found)
    if member.kind == tar.SYMLINK:
        if before != wanted_text(member):
            yield Difference(member, before, False)
    elif before != f"sha256:{member.sha256}":
        yield Difference(member, before, True)
    elif pull.modes and (found.mode ^ default_mode(member.mode)) & _EXECUTE:
        yield Difference(member, f"{before} mode {found.mode:04o}", False)


def shown(view: t.Union[Destination, View], parts: Parts, found: Found, algorithm: str = "sha256") -> str:
    """What stands there, in the words of the diff and of the receipt; for a file that is its digest."""
    if found.is_folder:
        return FOLDER
    if found.is_link:
        return f"-> {found.link}"
    if found.is_file:
        return str(view.digest(parts, algorithm))
    return ABSENT if found.stat is None else "neither file nor folder"


def wanted_text(member: Member) -> str:
    """What is to stand there, in the same words."""
    if member.kind == tar.SYMLINK:
        return f"-> {member.link}"
    return FOLDER if member.kind == tar.DIRECTORY else f"sha256:{member.sha256}"


def apply_unpack(plan: UnpackPlan, pull: Pull, concurrency: int = DEFAULT_CONCURRENCY) -> UnpackPlan:
    """Make it so. Returns the plan that was carried out, made anew while other pulls into the folder are kept out.

    All folder layers are fetched and judged before the first file is written.
    """
    from .transfer import run_all  # here and below: what nothing has changed needs none of

    stop = threading.Event()
    _read_folders(pull, plan, concurrency, stop)
    with pull.destination.writing():
        plan = plan_unpack(pull)
        _read_folders(pull, plan, concurrency, stop)
        pull.announce(pull, plan)
        PROGRESS.expect(one.item.desc for one in plan.fetches if not one.item.folder)
        jobs = [*_file_jobs(pull, plan, stop), *_folder_jobs(pull, plan)]
        run_all(_stopping(stop, lambda job: job()), jobs, concurrency, stop)
        pull.blobs.forget()
    return plan


def _read_folders(pull: Pull, plan: UnpackPlan, concurrency: int, stop: threading.Event) -> None:
    from .transfer import run_all

    unread = [one.item for one in plan.fetches if one.item.folder and not pull.blobs.has_content(one.item)]
    PROGRESS.expect(item.desc for item in unread)
    run_all(_stopping(stop, lambda item: pull.blobs.read(item, stop)), unread, concurrency, stop)


Work = t.TypeVar("Work")
Job = t.Callable[[], None]


def _stopping(stop: threading.Event, work: t.Callable[[Work], object]) -> t.Callable[[Work], None]:
    """``work``, that is not begun after another's failure, and tells the others of its own."""

    def guarded(item: Work) -> None:
        if stop.is_set():
            return
        try:
            work(item)
        except BaseException:
            stop.set()
            raise

    return guarded


def _file_jobs(pull: Pull, plan: UnpackPlan, stop: threading.Event) -> t.List[Job]:
    """One for each content, which may have several titles."""
    by_digest: t.Dict[Digest, t.List[Item]] = {}
    for one in plan.fetches:
        if not one.item.folder:
            by_digest.setdefault(one.item.desc.digest, []).append(one.item)
    return [functools.partial(_write_files, pull, items, stop) for items in by_digest.values()]


def _write_files(pull: Pull, items: t.Sequence[Item], stop: threading.Event) -> None:
    from .transfer import stoppable

    first, *others = items

    def write() -> None:
        with reading(pull.src, first.title):
            pull.destination.fetch_file(first.parts, first.desc, stoppable(pull.src, first.desc, stop))

    again_on_mismatch(pull.src.origin(first.desc).remote, write)
    for item in others:
        pull.destination.copy_file(first.parts, item.parts, first.desc)


def _folder_jobs(pull: Pull, plan: UnpackPlan) -> t.List[Job]:
    return [functools.partial(_write_folder, pull, one.item) for one in plan.items if one.item.folder and one.changed]


def _write_folder(pull: Pull, item: Item) -> None:
    """Folders first, links last: nothing is ever written through a link of the same tar."""
    differences = list(_differences(pull, item, t.cast(Listing, pull.blobs.known(item))))
    for member in sorted(one.member for one in differences if one.member.kind == tar.DIRECTORY):
        pull.destination.make_folder((*item.parts, *member.path), member.mode)
    files = [one for one in differences if one.content]
    if len(files) > _FEW:
        with pull.destination.batch() as batch:
            _write_contents(pull, item, files, batch)
    else:
        _write_contents(pull, item, files, pull.destination)
    for one in differences:
        parts = (*item.parts, *one.member.path)
        if one.member.kind == tar.FILE and not one.content:
            pull.destination.set_mode(parts, one.member.mode)
        elif one.member.kind == tar.SYMLINK:
            pull.destination.make_link(parts, one.member.link)


def _write_contents(pull: Pull, item: Item, files: t.Sequence[Difference], writer: t.Union[Destination, Batch]) -> None:
    wanted = {one.member.path: one.member for one in files if not one.member.link}
    absent = {one.member.path for one in files if one.absent}
    if wanted:
        with located(pull.destination.location), storage_errors(f"unpacking {item.title}"):
            with contextlib.closing(pull.blobs.contents(item, wanted)) as contents:
                for member, content in contents:
                    writer.write_file((*item.parts, *member.path), content, member.mode, member.path in absent)
    copies = [one.member for one in files if one.member.link]
    if copies:
        writer.flush()  # they are copied from files that may be in it
    for member in copies:
        _copy_member(pull, item, member, writer)


def _copy_member(pull: Pull, item: Item, member: Member, writer: t.Union[Destination, Batch]) -> None:
    """A hard link of the tar becomes a file of its own."""
    origin = (*item.parts, *member.link.split("/"))
    content = Descriptor("application/octet-stream", Digest(f"sha256:{member.sha256}"), member.size)
    with pull.destination.verified(origin, content) as reader:
        writer.write_file((*item.parts, *member.path), reader.chunks(), member.mode)


def standing(pull: Pull, item: Item) -> t.Iterator[t.Tuple[Parts, bool]]:
    """Each path, from the destination, that the item is made of, and whether it is a regular file."""
    if not item.folder:
        yield item.parts, True
    for member in pull.blobs.known(item) or () if item.folder else ():
        yield (*item.parts, *member.path), member.kind == tar.FILE


def stats_of(plan: UnpackPlan) -> Stats:
    """What the run transfers. In check mode the content that it fetched to compare counts as well: the run needs it too."""
    files = {one.item.desc.digest: one.item.desc for one in plan.fetches if not one.item.folder}
    folders = {one.item for one in plan.fetches if one.item.folder} | plan.listed
    moved = [*files.values(), *(item.desc for item in folders)]
    present = {one.item.desc.digest: one.item.desc for one in plan.items if not one.changed and one.item not in folders}
    return Stats(
        blobs_transferred=len(moved),
        blobs_present=len(present),
        manifests_transferred=len(plan.selection.read),
        bytes_transferred=sum(desc.size for desc in [*moved, *plan.selection.read]),
        bytes_present=sum(desc.size for desc in present.values()),
    )

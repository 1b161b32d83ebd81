# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Make a folder the root file system that was planned: removals, then what is new, then the attributes of folders.

Each file appears under its name whole and verified. Nothing is synced one by one: the whole is, once, before the receipt says that
it stands; a run after a crash compares everything anyway.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import typing as t

from ..content import tar
from ..content.attributes import give, make_hard_link, make_node, make_symlink, remove, sync
from ..content.beneath import NewFile, folder, folder_beneath, open_beneath, stat_beneath, sweep
from ..content.store import CHUNK
from ..spec.errors import InvalidError, MismatchError, NotFoundError, located, storage_errors
from ..titles import Parts
from .disk import KINDS, Folders
from .entries import DEVICES, Entry
from .plan import Change, RootfsPlan, Unpacking, has_content, names_of_files, plan_rootfs

_WHILE_WRITING = 0o700


def apply_rootfs(work: Unpacking, plan: RootfsPlan) -> RootfsPlan:
    """Make it so. Returns the plan that was carried out, made anew while other pulls into the folder are kept out. Where nothing
    is to do, only the receipt is written.

    All layers that are needed are fetched and verified before anything is written.
    """
    about = (work.image.root, work.image.manifest, work.documents, work.listing(), work.policy.devices)
    if plan.changed:
        work.layers.fetch(plan.layers, work.concurrency)
        work.made = not os.path.lexists(work.destination.path)
        with work.destination.writing():
            plan = plan_rootfs(work)
            work.layers.fetch(plan.layers, work.concurrency)
            unfinished = set(work.receipt.written()) if work.receipt.unfinished else set()
            work.receipt.begin(*about)
            with located(work.destination.location), storage_errors(f"unpacking into {work.destination.path}"):
                with folder(work.destination.path) as root:
                    _Writer(work, plan, root).run(unfinished)
                    sync(root)
    work.layers.forget()
    work.receipt.finish(*about)
    return plan


class _Writer:
    def __init__(self, work: Unpacking, plan: RootfsPlan, root: int) -> None:
        self._work = work
        self._plan = plan
        self._root = root
        self._folders = Folders(root)
        # Folders in which something is made or removed, and so get another time.
        self._touched: t.Set[Parts] = set()
        self._names = names_of_files(plan.wanted)

    def run(self, unfinished: t.Iterable[Parts]) -> None:
        with self._folders:
            self._sweep(unfinished)
            self._open_folders()
            for path, _before in self._plan.removed:
                self._remove(path)
            made = [change.entry for change in self._plan.changes if change.anew]
            for entry in made:
                self._make(entry)
            self._write_contents({entry.origin: entry for entry in made if has_content(entry)})
            for entry in made:
                if entry.same:
                    self._link(entry)
            for change in self._plan.changes:
                if not change.anew and change.entry.kind == tar.FILE:
                    self._repair(change)
            self._finish_folders()

    def _sweep(self, unfinished: t.Iterable[Parts]) -> None:
        """What a killed run left: in the folders that it may have written to."""
        for path in sorted({(), *(path[:-1] for path in unfinished)}):
            parent = self._folders.found(path)
            if parent is not None:
                sweep(parent)

    def _open_folders(self) -> None:
        """Folders that lost their attributes may not let their owner in."""
        for change in self._plan.changes:
            if not change.anew and change.entry.kind == tar.DIRECTORY:
                with _doing("changing the attributes of", change.entry.path):
                    os.fchmod(self._folders.open(change.entry.path), change.entry.mode | _WHILE_WRITING)

    def _remove(self, path: Parts) -> None:
        with _doing("removing", path):
            remove(self._parent(path), path[-1])

    def _parent(self, path: Parts) -> int:
        """The folder that ``path`` is in, which gets its time anew."""
        self._touched.add(path[:-1])
        return self._folders.open(path[:-1])

    def _make(self, entry: Entry) -> None:
        """Everything but files with content, and further names of files, which come later."""
        if not entry.path or entry.same or has_content(entry):
            return
        with _doing("making", entry.path):
            parent, name = self._parent(entry.path), entry.path[-1]
            if entry.kind == tar.FILE:
                self._write_file(entry, ())
                return
            self._clear_folder(parent, entry.path)
            remove(parent, name)
            if entry.kind == tar.DIRECTORY:
                os.mkdir(name, _WHILE_WRITING, dir_fd=parent)
            elif entry.kind == tar.SYMLINK:
                make_symlink(parent, name, entry.link, entry.attributes)
            elif entry.kind in DEVICES:
                make_node(parent, name, KINDS[entry.kind], entry.device, entry.attributes)

    def _write_contents(self, wanted: t.Dict[t.Tuple[int, int], Entry]) -> None:
        for number in sorted({layer for layer, _offset in wanted}):
            for offset, reader in self._work.layers.contents(number):
                entry = wanted.pop((number, offset), None)
                if entry is not None:
                    with _doing("writing", entry.path):
                        self._write_file(entry, _chunks(reader))
        if wanted:
            name = next(iter(wanted.values())).name
            raise MismatchError(f"{name} was not found in its layer again: remove {self._work.receipt.path} and run once more")

    def _write_file(self, entry: Entry, content: t.Iterable[bytes]) -> None:
        parent, running = self._parent(entry.path), hashlib.sha256()
        self._clear_folder(parent, entry.path)
        with NewFile(parent, entry.mode, durable=False) as new:
            for chunk in content:
                running.update(chunk)
                new.write(chunk)
            if running.hexdigest() != entry.sha256:
                raise MismatchError(f"{entry.name} has another content in its layer: remove {self._work.receipt.path} and run once more")
            give(new.fd, entry.attributes)
            new.commit(entry.path[-1])

    def _clear_folder(self, parent: int, path: Parts) -> None:
        """A folder, which a file cannot replace, makes way; it is empty by now."""
        found = stat_beneath(parent, path[-1])
        if found is not None and stat.S_ISDIR(found.st_mode):
            with contextlib.suppress(NotFoundError), folder_beneath(parent, path[-1:]) as descriptor:
                sweep(descriptor)
            remove(parent, path[-1])

    def _link(self, entry: Entry) -> None:
        with _doing("linking", entry.path), folder_beneath(self._root, entry.same[:-1]) as origin:
            parent = self._parent(entry.path)
            self._clear_folder(parent, entry.path)
            make_hard_link(origin, entry.same[-1], parent, entry.path[-1])

    def _repair(self, change: Change) -> None:
        """Give a file its attributes: by a descriptor, so that it is surely the one that was looked at."""
        entry = change.entry
        with _doing("changing the attributes of", entry.path):
            parent = self._folders.open(entry.path[:-1])
            with open_beneath(parent, entry.path[-1:]) as file:
                if os.fstat(file.fileno()).st_nlink > self._names[entry.path]:
                    raise InvalidError(f"{entry.name} got another name while it was looked at: run once more")
                give(file.fileno(), entry.attributes)

    def _finish_folders(self) -> None:
        """The deepest first: a time is the last thing that a folder gets."""
        changed = {change.entry.path for change in self._plan.changes if change.entry.kind == tar.DIRECTORY}
        for entry in reversed(self._plan.wanted):
            if entry.kind == tar.DIRECTORY and (entry.path in changed or entry.path in self._touched):
                with _doing("changing the attributes of", entry.path), folder_beneath(self._root, entry.path) as descriptor:
                    give(descriptor, entry.attributes)


def _chunks(reader: tar.TarReader) -> t.Iterator[bytes]:
    return iter(lambda: reader.read(CHUNK), b"")


@contextlib.contextmanager
def _doing(what: str, path: Parts) -> t.Iterator[None]:
    with storage_errors(f"{what} {'/'.join(path) or 'the root folder'}"):
        yield

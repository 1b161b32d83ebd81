# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The folder that files are pulled into: what stands there, and how something new gets there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
import time
import typing as t

from .content.beneath import (
    TEMP_PREFIX,
    NewFile,
    default_mode,
    folder,
    folder_beneath,
    nearest,
    open_beneath,
    remove_empty,
    remove_file,
    remove_unless_held,
    stat_beneath,
    sweep,
)
from .content.store import CHUNK, Opener, VerifyingReader
from .destination_view import PERMISSIONS, Found, View
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, NotFoundError, located, storage_errors
from .titles import Parts

if t.TYPE_CHECKING:
    from .content.partial import ScratchFile
    from .destination_batch import Batch


class Destination:
    """Paths below ``path``, given by their parts; none is ever reached through a link.

    ``mode``: the permission bits of every file that is written, whatever else is said. With ``backup`` a file that is replaced or
    removed stays beside its place under another name; ``backups`` has those paths. May be used from several threads.
    """

    def __init__(self, path: str, mode: t.Optional[int] = None, backup: bool = False) -> None:
        self.path = os.path.abspath(path)
        self.location = f"destination {self.path}"
        self._mode = mode
        self.backup = backup
        self.backups: t.List[str] = []
        # The umask is read here, before there are threads.
        self._new_mode = default_mode()
        self._digests: t.Dict[t.Tuple[t.Any, ...], Digest] = {}
        self._swept: t.Set[Parts] = set()
        self._sweeping = threading.Lock()

    def look(self, parts: Parts) -> Found:
        """What stands there. Raises InvalidError when a part before the last is a link or no folder."""
        with self.viewing() as view:
            return view.look(parts)

    def digest(self, parts: Parts, algorithm: str) -> Digest:
        """The digest of a regular file, remembered while its inode, size and times stay."""
        with self.viewing() as view:
            return view.digest(parts, algorithm)

    @contextlib.contextmanager
    def viewing(self) -> t.Iterator[View]:
        """``look`` and ``digest`` for many paths, of which those in one folder come after each other."""
        view = View(self)
        try:
            yield view
        finally:
            view.close()

    def digest_of(self, descriptor: int, state: os.stat_result, parts: Parts, algorithm: str) -> Digest:
        """The digest of this open file, remembered while its inode, size and times stay."""
        key = (parts, algorithm, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if key not in self._digests:
            # No larger than needed: for most files the buffer would cost more than the reading.
            size = min(CHUNK, state.st_size + 1)
            chunk = os.read(descriptor, size)
            running = hashlib.new(algorithm, chunk)
            while len(chunk) == size:
                chunk = os.read(descriptor, size)
                running.update(chunk)
            self._digests[key] = Digest.from_hash(running)
        return self._digests[key]

    @contextlib.contextmanager
    def writing(self) -> t.Iterator[None]:
        """Make the folder when it is missing, and keep other pulls out of it."""
        from .content.lock import locked

        with located(self.location), storage_errors(f"making the folder {self.path}"):
            os.makedirs(self.path, exist_ok=True)
        with located(self.location), storage_errors(f"writing into {self.path}"), folder(self.path) as root, locked(root, self.path):
            try:
                yield
            except BaseException as error:
                from .content.partial import is_kept

                if not is_kept(error):
                    with contextlib.suppress(NotFoundError, InvalidError, OSError):
                        self._sweep_partials(root)
                raise
            self._sweep_partials(root)

    def _sweep_partials(self, root: int) -> None:
        """Nothing is to be gone on with: what cut pulls left goes too."""
        for parts in sorted(self._swept):
            with contextlib.suppress(NotFoundError), folder_beneath(root, parts) as parent:
                sweep(parent)

    def write_file(self, parts: Parts, content: t.Iterable[bytes], mode: t.Optional[int] = None, absent: bool = False) -> None:
        """Put a whole new file there; missing folders are made. ``content`` is verified when it ends without an error.
        ``absent``: nothing stood there just now, which a batch believes unless something would have to be kept.

        A file that is replaced hands its owner on, as far as that is allowed, and its permission bits unless ``mode`` gives them,
        less the umask.
        """
        with self.doing("writing", parts), self.parent(parts) as parent, NewFile(parent) as new:
            for chunk in content:
                new.write(chunk)
            self._commit(new, parent, parts, mode)

    def fetch_file(self, parts: Parts, desc: Descriptor, content: Opener) -> None:
        """As ``write_file``, of a blob: what a cut pull has brought of it is gone on with."""
        from .content.partial import BlobFile  # only what is fetched needs it

        where = os.path.join(self.path, *parts[:-1])
        with self.doing("writing", parts), self.parent(parts) as parent, BlobFile(parent, desc, where=where) as new:
            new.fill(content)
            self._commit(new, parent, parts, None)

    def _commit(self, new: NewFile, parent: int, parts: Parts, mode: t.Optional[int]) -> None:
        old = stat_beneath(parent, parts[-1])
        new.mode = self.mode_for(old, mode)
        hand_on_owner(old, new.fd)
        self.keep(parent, parts, old)
        new.commit(parts[-1])

    def flush(self) -> None:
        """Nothing waits here, as it does in a batch: a file has its name when the call that writes it returns."""

    @contextlib.contextmanager
    def batch(self) -> t.Iterator[Batch]:
        """A bracket for writing many files, each of which has its name at its end."""
        from .destination_batch import Batch  # only what is written needs it

        batch = Batch(self)
        try:
            yield batch
            batch.finish()
        finally:
            batch.close()

    def mode_for(self, old: t.Optional[os.stat_result], mode: t.Optional[int]) -> int:
        """The permission bits of a file that takes the place of ``old``; ``mode`` as ``write_file``'s."""
        if self._mode is not None:
            return self._mode
        if mode is not None:
            return default_mode(mode)
        return old.st_mode & PERMISSIONS if old is not None and stat.S_ISREG(old.st_mode) else self._new_mode

    def copy_file(self, origin: Parts, parts: Parts, desc: Descriptor, mode: t.Optional[int] = None) -> None:
        """As ``write_file``, from another file below this folder, which must have the content of ``desc``."""
        with self.verified(origin, desc) as reader:
            self.write_file(parts, reader.chunks(), mode)

    def verified(self, origin: Parts, desc: Descriptor) -> VerifyingReader:
        """A file below this folder, which must have the content of ``desc``."""
        with folder(self.path) as root, self.doing("reading", origin):
            file = open_beneath(root, origin)
        return VerifyingReader(desc, file, self.location)

    def make_folder(self, parts: Parts, mode: int = PERMISSIONS) -> None:
        """Make the folder and those above it; the umask applies."""
        with self.doing("making the folder", parts), self.parent(parts) as parent:
            with folder_beneath(parent, parts[-1:], mode):
                pass

    def make_link(self, parts: Parts, target: str) -> None:
        """Put a symlink there, in place of what is not a folder."""
        from .content.writing import replace_link  # for who writes

        with self.doing("linking", parts), self.parent(parts) as parent:
            self.keep(parent, parts, stat_beneath(parent, parts[-1]))
            replace_link(parent, parts[-1], target)

    def remove(self, parts: Parts, is_folder: bool) -> None:
        """Remove a file or link, or a folder unless something new is in it."""
        with self.doing("removing", parts), folder(self.path) as root, folder_beneath(root, parts[:-1]) as parent:
            if is_folder:
                # Nothing writes into it any more, so nothing else would remove what a killed pull left there.
                with contextlib.suppress(NotFoundError), folder_beneath(parent, parts[-1:]) as inner:
                    sweep(inner)
                remove_empty(parent, parts[-1])
                return
            self.keep(parent, parts, stat_beneath(parent, parts[-1]))
            remove_file(parent, parts[-1])

    def names(self, parts: Parts) -> t.List[str]:
        """What is in a folder, without the temporary files of pulls."""
        with self.doing("listing", parts), folder(self.path) as root, folder_beneath(root, parts) as listed:
            return [name for name in os.listdir(listed) if not name.startswith(TEMP_PREFIX)]

    def keep(self, parent: int, parts: Parts, old: t.Optional[os.stat_result]) -> None:
        """Give what is about to go a second name, as Ansible's modules name backups."""
        if self.backup and old is not None and stat.S_ISREG(old.st_mode):
            from .content.writing import second_name

            name = f"{parts[-1]}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S~')}"
            second_name(parent, parts[-1], name)
            self.backups.append(os.path.join(self.path, *parts[:-1], name))

    def set_mode(self, parts: Parts, mode: int) -> None:
        """Give a file these permission bits, less the umask."""
        with self.doing("changing the mode of", parts), folder(self.path) as root, open_beneath(root, parts) as file:
            os.fchmod(file.fileno(), default_mode(mode))

    def scratch(self, desc: Descriptor) -> ScratchFile:
        """A file for a blob that is unpacked from it, in this folder or, while that does not exist, in the nearest one above."""
        return self._scratch(desc, self.path)

    def scratch_beside(self, desc: Descriptor) -> ScratchFile:
        """As ``scratch``, but what the next run may go on from is in the folder above: the times of this one are part of the content."""
        return self._scratch(desc, os.path.dirname(self.path))

    def _scratch(self, desc: Descriptor, path: str) -> ScratchFile:
        from .content.partial import ScratchFile, partial_name

        with located(self.location), storage_errors(f"making a temporary file for {self.path}"):
            where = _where_kept(path, partial_name(desc))
            if not os.access(where, os.W_OK) or os.stat(where).st_dev != os.stat(nearest(self.path)).st_dev:
                return ScratchFile(None, desc, where, self.path)
            with folder(where) as parent:
                sweep(parent, partials=False)
                return ScratchFile(parent, desc, where, self.path)

    def clear_partials(self, descs: t.Iterable[Descriptor]) -> None:
        """Remove what is left of fetching these: all is in its place, so that a pull which was killed after that may have left it."""
        wanted = list(descs)
        if not wanted:
            return
        from .content.partial import partial_name

        for name in {partial_name(desc) for desc in wanted}:
            for path in (self.path, os.path.dirname(self.path)):
                with contextlib.suppress(NotFoundError, InvalidError, OSError), folder(path) as parent:
                    if stat_beneath(parent, name) is not None:
                        remove_unless_held(parent, name)

    @contextlib.contextmanager
    def parent(self, parts: Parts) -> t.Iterator[int]:
        """The folder that ``parts`` stands in, made when it is missing, without what killed pulls left in it."""
        with folder(self.path) as root, folder_beneath(root, parts[:-1], PERMISSIONS) as parent:
            self._sweep(parent, parts[:-1])
            yield parent

    def _sweep(self, parent: int, parts: Parts) -> None:
        """Remove, once for each folder, what killed pulls left."""
        with self._sweeping:
            if parts in self._swept:
                return
            self._swept.add(parts)
            sweep(parent, partials=False)

    @contextlib.contextmanager
    def doing(self, what: str, parts: Parts) -> t.Iterator[None]:
        """Errors within the bracket say that this was done there."""
        with located(self.location), storage_errors(f"{what} {'/'.join(parts)}"):
            yield


def hand_on_owner(old: t.Optional[os.stat_result], descriptor: int) -> None:
    """A file that is replaced hands its owner on, as far as that is allowed."""
    if old is not None and stat.S_ISREG(old.st_mode):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)


def _where_kept(path: str, name: str) -> str:
    """The folder above or at ``path`` in which a cut pull left ``name``, for the folders below may be newer; else the nearest one."""
    path = above = nearest(path)
    while not os.path.lexists(os.path.join(above, name)):
        if above == os.path.dirname(above):
            return path
        above = os.path.dirname(above)
    return above

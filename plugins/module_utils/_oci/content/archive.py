# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""An image layout in a tar, read by offset and written whole: atomically, and the same content as the same bytes.

Sizes are known before content: a new tar is laid out from the descriptors, and every blob is written at its place, in any order.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import typing as t

from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import InvalidError, NotFoundError, StorageError
from ..spec.strictjson import MAX_DOCUMENT
from . import tar
from .archive_file import BLOBS, INDEX, OCI_LAYOUT_FILE, ArchiveFile
from .beneath import default_mode, folder, sweep
from .compression import NONE
from .lock import locked_file
from .names import OCI_LAYOUT, IndexedStore, LayoutIndex, check_oci_layout
from .partial import WORTH, PartialFile, fill, held_bytes, partial_tar_name
from .store import CHUNK, Incoming, Opener, RawReader, bytes_opener

_FOLDER_PERMISSIONS, _FILE_PERMISSIONS, _LINK_PERMISSIONS = 0o755, 0o644, 0o777


class Archive(IndexedStore):
    """The layout tar at ``path``, which may be absent until the first write; ``file``: the same, open already."""

    is_tar = True

    def __init__(self, path: str, file: t.Optional[ArchiveFile] = None) -> None:
        # A link to the tar stays a link: what it points at is read and replaced.
        self.path = os.path.realpath(path)
        self.location = f"archive {path}"
        self._file = file
        self._opening = threading.Lock()
        self._index: t.Optional[LayoutIndex] = None
        self._writer: t.Optional[_Writer] = None

    @property
    def index(self) -> LayoutIndex:
        if self._index is None:
            self._index = self._read_index(self.opened())
        return self._index

    def opened(self) -> ArchiveFile:
        """The tar's members. Raises NotFoundError when there is no tar."""
        # A second one would close the first, under threads that read from it.
        with self._opening:
            if self._file is None:
                self._file = ArchiveFile(self.path)
            file = self._file
        file.refuse_links()
        return file

    @staticmethod
    def _read_index(file: ArchiveFile) -> LayoutIndex:
        try:
            check_oci_layout(file.slice(OCI_LAYOUT_FILE).read(MAX_DOCUMENT + 1))
            return LayoutIndex.parse(file.slice(INDEX).read(MAX_DOCUMENT + 1))
        except NotFoundError as error:
            raise file.lacking(OCI_LAYOUT_FILE if OCI_LAYOUT_FILE not in file.members else INDEX, "an OCI layout") from error

    def _exists(self, desc: Descriptor) -> bool:
        try:
            member = self.opened().members.get(_blob_name(desc.digest))
        except NotFoundError:
            return False
        return member is not None and member.size == desc.size

    def _open(self, desc: Descriptor) -> RawReader:
        file = self.opened()
        blob = file.slice(_blob_name(desc.digest))
        size = file.members[_blob_name(desc.digest)].size
        if size != desc.size:
            raise InvalidError(f"blob {desc.digest} has {size} bytes, its descriptor says {desc.size}")
        return blob

    @contextlib.contextmanager
    def _receiving(self, incoming: Incoming) -> t.Iterator[None]:
        parent = os.path.dirname(self.path)
        os.makedirs(parent, exist_ok=True)
        with folder(parent) as parent_fd, locked_file(parent_fd, os.path.basename(self.path), self.path):
            sweep(parent_fd, partials=False)
            old = self._reopened()
            new_index = self._read_index(old) if old else LayoutIndex()
            new_index.check_unmoved(incoming.unmoved)
            for root, references in incoming.roots:
                new_index = new_index.tagged(root, references)
            roots = [named.root for named in incoming.roots]
            blobs = self._blobs_after(old, new_index, [*roots, *incoming.kept, *incoming.missing])
            _check_kept(incoming, blobs)
            with _Writer(parent_fd, self.path, old, blobs, incoming.missing, incoming.damaged) as writer:
                self._writer = writer
                try:
                    yield
                finally:
                    self._writer = None
                writer.finish(new_index)
            self._reopened()

    def _reopened(self) -> t.Optional[ArchiveFile]:
        """The tar as it is now, under the lock: another process may have replaced it since it was planned with."""
        if self._file is not None:
            self._file.close()
        self._file = self._index = None
        try:
            file = self.opened()
        except NotFoundError:
            return None
        self.check_writable()
        return file

    def check_writable(self) -> None:
        """Raises InvalidError for a tar that can only be read."""
        compressed = self.opened().compressed
        if compressed != NONE:
            raise InvalidError(f"the tar is {compressed}-compressed: it can be read, but not written; decompress it first")

    def _blobs_after(self, old: t.Optional[ArchiveFile], new_index: LayoutIndex, needed: t.Iterable[Descriptor]) -> t.Set[str]:
        """Members under blobs/ that stay: all but those that the moved or removed names alone had kept reachable."""
        if old is None:
            return set()
        before = {_blob_name(desc.digest) for desc in self._reachable(self._read_index(old).descriptors(), passing=True)}
        after = {_blob_name(desc.digest) for desc in self._reachable([*new_index.descriptors(), *needed], passing=True)}
        return _blobs_of(old) - (before - after)

    def _push(self, desc: Descriptor, content: Opener) -> None:
        writer = self._writer
        if writer is None:
            raise StorageError("the archive is not being written: push belongs into receiving()")
        writer.put(desc, content)

    def _tag(self, root: Descriptor, manifest: bytes, references: t.Sequence[str]) -> None:
        self._push(root, bytes_opener(root, manifest))

    def _untag(self, references: t.Sequence[str]) -> None:
        self._change_index(lambda index: index.untagged(*references))

    def _delete(self, manifests: t.Sequence[Descriptor]) -> None:
        self._change_index(lambda index: index.without({desc.digest for desc in manifests}))

    def _change_index(self, change: t.Callable[[LayoutIndex], LayoutIndex]) -> None:
        """The blobs that what goes alone had kept go with it."""

        def with_blobs(index: LayoutIndex) -> t.Tuple[LayoutIndex, t.Set[str]]:
            changed = change(index)
            return changed, set() if changed is index else _blobs_of(self.opened()) - self._blobs_after(self.opened(), changed, [])

        self.rewrite(with_blobs)

    def rewrite(self, change: t.Callable[[LayoutIndex], t.Tuple[LayoutIndex, t.Set[str]]]) -> None:
        """Write the tar anew, under the lock, with what ``change`` makes of its index and without the members under blobs/ that it
        names. The same index and no members are no change."""
        parent = os.path.dirname(self.path)
        with folder(parent) as parent_fd, locked_file(parent_fd, os.path.basename(self.path), self.path):
            sweep(parent_fd, partials=False)
            old = self._reopened()
            if old is None:
                return
            changed, going = change(self.index)
            if changed is self.index and not going:
                return
            with _Writer(parent_fd, self.path, old, _blobs_of(old) - going, ()) as writer:
                writer.finish(changed)
            self._reopened()


class _Writer:
    """One new tar: every member's place is fixed at the start, its content comes in any order, the name at the end.

    A tar that was cut is gone on with when all its members are at the same places: it is the same file, so it takes no more room.
    """

    def __init__(
        self,
        parent_fd: int,
        path: str,
        old: t.Optional[ArchiveFile],
        keep: t.Set[str],
        missing: t.Sequence[Descriptor],
        damaged: t.FrozenSet[Digest] = frozenset(),
    ) -> None:
        self._old = old
        self._damaged = damaged
        self._awaited: t.Dict[str, Descriptor] = {}
        self._offsets: t.Dict[str, int] = {}
        self._held: t.Dict[str, int] = {}
        self._lock = threading.Lock()
        self._folder, self._name = os.path.split(path)
        self._headers: t.List[t.Tuple[int, bytes]] = []
        self._end = 0
        self._lay_out(keep, {_blob_name(desc.digest): desc for desc in missing})
        self._file = _PartialTar(parent_fd, self._folder, self._name, _mode_of(old), self._regions())
        try:
            self._begin()
        except BaseException:
            self._file.close()
            raise

    def _lay_out(self, keep: t.Set[str], missing: t.Dict[str, Descriptor]) -> None:
        self._awaited = {name: desc for name, desc in missing.items() if name not in keep or self._is_damaged(name, desc)}
        self._append(tar.Entry(OCI_LAYOUT_FILE, size=len(OCI_LAYOUT), mode=_FILE_PERMISSIONS), OCI_LAYOUT)
        names = sorted(keep | set(missing))
        for name in sorted({BLOBS, *(name.rpartition("/")[0] for name in names)}):
            self._append(tar.Entry(name, tar.DIRECTORY, mode=_FOLDER_PERMISSIONS))
        for name in names:
            self._reserve(name)
        for name in self._foreign():
            self._reserve(name)
        for name, target in self._links():
            self._append(tar.Entry(name, tar.SYMLINK, mode=_LINK_PERMISSIONS, link=target))

    def _is_damaged(self, name: str, desc: Descriptor) -> bool:
        return desc.digest in self._damaged or self._old is None or self._old.members[name].size != desc.size

    def _foreign(self) -> t.List[str]:
        """Members that are not the layout's: kept, in their order (image-layout.md allows them)."""
        if self._old is None:
            return []
        return [name for name in self._old.members if name not in (INDEX, OCI_LAYOUT_FILE) and not name.startswith(BLOBS + "/")]

    def _links(self) -> t.List[t.Tuple[str, str]]:
        """Symbolic links that are not the layout's: docker save has some for layers."""
        return [(name, target) for name, target in (self._old.links if self._old else {}).items() if target is not None]

    def _reserve(self, name: str) -> None:
        desc = self._awaited.get(name)
        size = desc.size if desc is not None else t.cast(ArchiveFile, self._old).members[name].size
        self._offsets[name] = self._append(tar.Entry(name, size=size, mode=_FILE_PERMISSIONS))

    def _append(self, entry: tar.Entry, content: bytes = b"") -> int:
        """Note the header (and ``content``) for the end, leave room for the entry's size; the offset of the content."""
        header = tar.encode(entry)
        self._headers.append((self._end, header + content))
        offset = self._end + len(header)
        self._end = offset + entry.size + tar.padding(entry.size)
        return offset

    def _regions(self) -> t.List[t.Tuple[int, int]]:
        """Where the awaited blobs will be: offset and size."""
        return [(self._offsets[name], desc.size) for name, desc in self._awaited.items()]

    def _begin(self) -> None:
        """Everything that is known already. What was kept of an earlier run is taken over before anything is written."""
        if self._file.reused and not self._file.has(self._headers):
            os.ftruncate(self._file.fd, 0)
        elif self._file.reused:
            self._held = {name: held_bytes(self._file.fd, self._offsets[name], desc.size) for name, desc in self._awaited.items()}
        for offset, header in self._headers:
            self._file.write_at(offset, header)
        for name in self._offsets:
            if name not in self._awaited:
                self._copy_old(name)

    def _copy_old(self, name: str) -> None:
        reader, offset = t.cast(ArchiveFile, self._old).slice(name), self._offsets[name]
        for chunk in iter(lambda: reader.read(CHUNK), b""):
            self._file.write_at(offset, chunk)
            offset += len(chunk)

    def put(self, desc: Descriptor, content: Opener) -> None:
        """Write a blob at its place, verified; one that is there already is left."""
        name = _blob_name(desc.digest)
        if name not in self._offsets:
            raise StorageError(f"{desc.digest} was not announced to the archive")
        if name not in self._awaited:
            return
        fill(self._file, self._offsets[name], self._held.get(name, 0), desc, content)
        with self._lock:
            self._awaited.pop(name, None)

    def finish(self, index: LayoutIndex) -> None:
        """index.json, the end records, and the tar's name. Raises StorageError when announced content has not come."""
        if self._awaited:
            raise StorageError(f"{len(self._awaited)} announced blobs were not written, {min(self._awaited)} among them")
        content = index.to_bytes()
        # Behind the blobs nothing of an earlier run stays.
        os.ftruncate(self._file.fd, self._end)
        self._append(tar.Entry(INDEX, size=len(content), mode=_FILE_PERMISSIONS), content)
        self._file.write_at(*self._headers[-1])
        self._file.write_at(self._end, tar.END)
        self._file.commit(self._name)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self._file.end(exc[1])


class _PartialTar(PartialFile):
    """The tar until it has its name. ``regions``: offset and size of what has to be fetched for it."""

    def __init__(self, parent_fd: int, folder_path: str, name: str, mode: int, regions: t.Sequence[t.Tuple[int, int]]) -> None:
        self._regions = regions
        super().__init__(parent_fd, partial_tar_name(name), mode, where=folder_path)

    def has(self, pieces: t.Sequence[t.Tuple[int, bytes]]) -> bool:
        """Whether all the pieces stand at their offsets."""
        return all(os.pread(self.fd, len(piece), offset) == piece for offset, piece in pieces)

    def worth_keeping(self) -> bool:
        """What was copied from the old tar is not: it is still there."""
        return sum(held_bytes(self.fd, offset, size) for offset, size in self._regions) >= WORTH


def _check_kept(incoming: Incoming, blobs: t.Set[str]) -> None:
    for desc in incoming.kept:
        if _blob_name(desc.digest) not in blobs:
            raise StorageError(f"{desc.digest} was in the archive when this was planned, and is gone: run again")


def _blobs_of(file: ArchiveFile) -> t.Set[str]:
    return {name for name in file.members if name.startswith(BLOBS + "/")}


def _blob_name(digest: Digest) -> str:
    return f"{BLOBS}/{digest.algorithm}/{digest.encoded}"


def _mode_of(old: t.Optional[ArchiveFile]) -> int:
    """A replaced tar keeps its permission bits; a new one gets what the umask allows."""
    return stat.S_IMODE(old.status.st_mode) if old else default_mode()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""An image layout in a folder (image-spec image-layout.md).

Blobs are written once: temp file, fsync, rename; what a cut transfer has brought is gone on with. index.json is replaced last,
under a lock, after a sync of the folders that the blobs have their names in, and only when it changes.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import typing as t
from dataclasses import replace

from ..spec import strictjson
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import InvalidError, NotFoundError, StorageError, located, storage_errors
from .beneath import TEMP_PREFIX, NewFile, default_mode, folder, folder_beneath, nearest, open_beneath, stat_beneath, sweep
from .names import OCI_LAYOUT, IndexedStore, LayoutIndex, check_oci_layout
from .store import Fetcher, Incoming, Opener, RawReader, bytes_opener

_INDEX, _OCI_LAYOUT_FILE, _BLOBS = "index.json", "oci-layout", "blobs"
_FOLDER_MODE = 0o777  # the umask applies


class Layout(IndexedStore):
    """The layout in the folder ``path``; a folder that is absent or empty becomes a layout at the first write."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.location = f"layout {path}"
        self._index: t.Optional[LayoutIndex] = None
        self._damaged: t.FrozenSet[Digest] = frozenset()
        self._unmoved: t.Mapping[str, t.Optional[Digest]] = {}

    @property
    def index(self) -> LayoutIndex:
        if self._index is None:
            with folder(self.path) as root:
                self._index = self._read_index(root)
        return self._index

    def _read_index(self, root: int) -> LayoutIndex:
        with contextlib.suppress(NotFoundError):
            return _read_documents(root)
        if _is_unfinished(root):
            raise NotFoundError("the folder is empty, there is no OCI layout in it (is it the right one?)")
        try:
            # Another process may have made the layout between the two looks.
            return _read_documents(root)
        except NotFoundError as error:
            raise InvalidError(f"the folder is not an OCI layout: {error.message}") from error

    def _exists(self, desc: Descriptor) -> bool:
        try:
            with folder(self.path) as root, folder_beneath(root, _folder_of(desc)) as blobs:
                found = stat_beneath(blobs, desc.digest.encoded)
        except NotFoundError:
            return False
        return found is not None and stat.S_ISREG(found.st_mode) and found.st_size == desc.size

    def _open(self, desc: Descriptor) -> RawReader:
        with folder(self.path) as root:
            blob = open_beneath(root, [*_folder_of(desc), desc.digest.encoded])
        size = os.fstat(blob.fileno()).st_size
        if size != desc.size:
            blob.close()
            raise InvalidError(f"blob {desc.digest} has {size} bytes, its descriptor says {desc.size}")
        return blob

    @contextlib.contextmanager
    def _receiving(self, incoming: Incoming) -> t.Iterator[None]:
        self._prepare()
        self._damaged, self._unmoved = incoming.damaged, incoming.unmoved
        try:
            with self._keeping(incoming.kept):
                yield
        except BaseException as error:
            from .partial import is_kept

            if not is_kept(error):
                with contextlib.suppress(NotFoundError, OSError):
                    self._sweep()
            raise
        finally:
            self._damaged, self._unmoved = frozenset(), {}
        self._sweep()
        from .writing import sync_names

        with folder(self.path) as root:
            sync_names(root, _BLOBS)

    @contextlib.contextmanager
    def _keeping(self, kept: t.Iterable[Descriptor]) -> t.Iterator[None]:
        """No blob is removed meanwhile (``discard.py``): neither what is stored and not named yet, nor ``kept``, which has to be there."""
        from .lock import locked  # for who writes

        with folder(self.path) as root, folder_beneath(root, [_BLOBS], create_mode=_FOLDER_MODE) as blobs, locked(
            blobs, self.path, shared=True
        ):
            for desc in kept:
                if not self._exists(desc):
                    raise StorageError(f"{desc.digest} was in the layout when this was planned, and is gone: run again")
            yield

    def _sweep(self) -> None:
        """Nothing is to be gone on with: what cut transfers left goes too."""
        with folder(self.path) as root:
            sweep(root)

    def _prepare(self) -> None:
        """Make the folder a layout, if it is none yet, and clear away what killed writers left."""
        os.makedirs(self.path, exist_ok=True)
        from .lock import locked  # for who writes

        with folder(self.path) as root, locked(root, self.path):
            sweep(root, partials=False)
            try:
                self._index = self._read_index(root)
            except NotFoundError:
                _write(root, _OCI_LAYOUT_FILE, OCI_LAYOUT)
                with folder_beneath(root, [_BLOBS], create_mode=_FOLDER_MODE):
                    pass
                self._index = LayoutIndex()
                _write(root, _INDEX, self._index.to_bytes())

    def _push(self, desc: Descriptor, content: Opener) -> None:
        if self._exists(desc) and desc.digest not in self._damaged:
            return
        from .partial import BlobFile

        with folder(self.path) as root, BlobFile(root, desc, default_mode(), self.path) as blob:
            blob.fill(content)
            with folder_beneath(root, _folder_of(desc), create_mode=_FOLDER_MODE) as blobs:
                blob.commit_into(blobs, desc.digest.encoded, sync_folder=False)

    def _adopt(self, desc: Descriptor, descriptor: int) -> bool:
        from .writing import give_name

        with folder(self.path) as root, folder_beneath(root, _folder_of(desc), create_mode=_FOLDER_MODE) as blobs:
            return give_name(descriptor, blobs, desc.digest.encoded, default_mode())

    def mountable(self, desc: Descriptor, source: Fetcher) -> bool:
        """From another layout folder on the same file system, when nobody but us can write to the blob there."""
        if not isinstance(source, Layout):
            return False
        from .sharing import is_shareable, same_file_system

        if not same_file_system(source.path, nearest(self.path)):
            return False
        with contextlib.suppress(NotFoundError), source.blob_folder(desc) as blobs:
            found = stat_beneath(blobs, desc.digest.encoded)
            return found is not None and is_shareable(found, default_mode())
        return False

    def mount(self, desc: Descriptor, source: Fetcher) -> bool:
        """Verified first, like all that gets a name here."""
        if not isinstance(source, Layout):
            return False
        if self._exists(desc) and desc.digest not in self._damaged:
            return True
        from .sharing import share

        with source.fetch(replace(desc, data=None)) as reader:
            file = t.cast(t.BinaryIO, reader.rewindable())
            with located(self.location), storage_errors(f"writing {desc.digest}"), folder(self.path) as root:
                with folder_beneath(root, _folder_of(desc), create_mode=_FOLDER_MODE) as blobs, source.blob_folder(desc) as origin:
                    return share(file.fileno(), origin, desc.digest.encoded, root, blobs, default_mode())

    @contextlib.contextmanager
    def blob_folder(self, desc: Descriptor) -> t.Iterator[int]:
        """The folder that the blob is in. Raises NotFoundError, InvalidError."""
        with folder(self.path) as root, folder_beneath(root, _folder_of(desc)) as blobs:
            yield blobs

    def drop(self, desc: Descriptor) -> None:
        """Remove a blob that was found to be damaged: one of the right size counts as stored until it is read."""
        with located(self.location), storage_errors(f"removing {desc.digest}"):
            with contextlib.suppress(NotFoundError, FileNotFoundError):
                with folder(self.path) as root, folder_beneath(root, _folder_of(desc)) as blobs:
                    os.unlink(desc.digest.encoded, dir_fd=blobs)

    def _tag(self, root: Descriptor, manifest: bytes, references: t.Sequence[str]) -> None:
        def change(index: LayoutIndex) -> LayoutIndex:
            # Under the lock: of names that have moved, the root is not stored.
            index.check_unmoved(self._unmoved)
            self._push(root, bytes_opener(root, manifest))
            self._damaged -= {root.digest}
            return index.tagged(root, references)

        self.change_index(change)

    def _untag(self, references: t.Sequence[str]) -> None:
        """What was named stays as a blob."""
        self.change_index(lambda index: index.untagged(*references))

    def _delete(self, manifests: t.Sequence[Descriptor]) -> None:
        """As for a ref that goes: they stay as blobs."""
        self.change_index(lambda index: index.without({desc.digest for desc in manifests}))

    def change_index(self, change: t.Callable[[LayoutIndex], LayoutIndex]) -> None:
        """Replace index.json by what ``change`` makes of it, under the lock; the same object is no change."""
        from .lock import locked  # for who writes
        from .writing import sync_names

        with folder(self.path) as root, locked(root, self.path):
            sweep(root)
            old = self._read_index(root)
            self._index = change(old)
            if self._index is not old:
                sync_names(root, _BLOBS)
                _write(root, _INDEX, self._index.to_bytes())


def _folder_of(desc: Descriptor) -> t.List[str]:
    return [_BLOBS, desc.digest.algorithm]


def _read_documents(root: int) -> LayoutIndex:
    check_oci_layout(_read(root, _OCI_LAYOUT_FILE))
    return LayoutIndex.parse(_read(root, _INDEX))


def _read(root: int, name: str) -> bytes:
    """The document, cut one byte after the size that the parser refuses."""
    with open_beneath(root, [name]) as file, storage_errors(f"reading {name}"):
        return io.BufferedReader(t.cast(io.RawIOBase, file)).read(strictjson.MAX_DOCUMENT + 1)


def _write(root: int, name: str, content: bytes) -> None:
    with NewFile(root, default_mode()) as file:
        file.write(content)
        file.commit(name)


def _is_unfinished(root: int) -> bool:
    """True for an empty folder, and for one in which a killed writer was just making a layout."""
    names = {name for name in os.listdir(root) if not name.startswith(TEMP_PREFIX)}
    return names <= {_OCI_LAYOUT_FILE, _BLOBS} and not _has_blobs(root)


def _has_blobs(root: int) -> bool:
    try:
        with folder_beneath(root, [_BLOBS]) as blobs:
            return bool(os.listdir(blobs))
    except NotFoundError:
        return False

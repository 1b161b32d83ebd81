# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What the last build of a layer saw of its files, and made of them, so that the next one need not read what did not change.

A cache, never needed for a right result. A file counts as unchanged while its inode, size, owner, mode and times stay: mtime can be
set, but ctime is the kernel's. A change in the tick of the clock in which the file was read would leave even that (git's index calls such
a file racily clean), so a file that was read so soon after its ctime is read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import typing as t
import zlib

from .cache import DAMAGE, CacheFile, dumps
from .content.compression import DEFAULT_LEVELS, GZIP, Block
from .content.store import Fetcher
from .layer import Compressed, Found, Tree, Unusable
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import OCIError

if t.TYPE_CHECKING:
    from .old_tar import OldTar

_VERSION = 1  # counts what decides a tar's bytes, and a block's, beside the options
_MAX_ROWS = 200_000
_DAYS = 30  # after which nobody is expected to build from there again
_TICK = 100_000_000  # nanoseconds; kernels count in 10 ms or less
_COARSE_TICK = 2_000_000_000  # of file systems that keep no fractions of a second
_COARSE = 1_000_000  # times that are multiples of this are taken for theirs
_UNTRUSTED = -1
_ANY = "application/octet-stream"  # blobs are found by their digest
_CTIME = 4
# Name in the tar, mode, size, mtime, ctime, inode, device, user, group.
Row = t.List[t.Union[str, int]]


class LayerReceipts:
    """``store``: where blobs of earlier builds are. ``used``: whether what those noted counts; ``stored``: whether this one notes
    anything (not in check mode).

    Never fails: what cannot be written is told by ``warn``, once.
    """

    def __init__(self, store: Fetcher, warn: t.Callable[[str], None], used: bool = True, stored: bool = True) -> None:
        self.store = store
        self.used = used
        self.stored = stored
        self._warn: t.Optional[t.Callable[[str], None]] = warn

    def of(self, tree: Tree) -> LayerReceipt:
        return LayerReceipt(tree, self)

    def save(self, file: CacheFile, document: t.Mapping[str, t.Any]) -> None:
        if not self.stored:
            return
        try:
            file.save(document)
            file.forget_older(_DAYS)
        except (OCIError, OSError) as error:
            if self._warn is not None:
                self._warn(
                    f"what this build saw could not be stored in {file.folder} ({error}): the next run will read all files again. "
                    "Another place can be named by XDG_CACHE_HOME."
                )
            self._warn = None


class _Made(t.NamedTuple):
    """A blob that we compressed: of which blocks, and by what."""

    blob: Descriptor
    blocks: t.Tuple[Block, ...]
    by: str


class _Stored(t.NamedTuple):
    """``ends``: where in the tar each row's bytes end; those of the first begin at ``start``."""

    rows: t.Sequence[Row]
    start: int
    ends: t.Sequence[int]
    diff_id: Digest
    made: t.Optional[_Made]


class LayerReceipt:
    """What is known of one tree with its options."""

    def __init__(self, tree: Tree, receipts: LayerReceipts) -> None:
        self._tree = tree
        self._receipts = receipts
        self._file = CacheFile("layer", b"\0".join((os.fsencode(os.path.abspath(tree.source)), os.fsencode(tree.prefix))))
        self._stored = self._load() if receipts.used else None

    @property
    def diff_id(self) -> t.Optional[Digest]:
        """The digest of the tar that the tree was; None when nothing is known."""
        return self._stored.diff_id if self._stored is not None else None

    def noting(self) -> LayerNotes:
        """For one run that reads everything."""
        return LayerNotes()

    def over_old(self, codec: str, level: t.Optional[int], is_known: bool) -> NotesOverOld:
        """For one run over what is known of the tree. ``is_known``: nothing is to be made of a tree that has not changed."""
        return NotesOverOld(t.cast(_Stored, self._stored), lambda: self._open_old(codec, level), is_known)

    def _open_old(self, codec: str, level: t.Optional[int]) -> OldTar:
        """The tar in the blob that the last build made by the same compression: its blocks are what this build would make."""
        from .old_tar import OldTar  # only what has changed needs it

        made = self._stored.made if self._stored is not None else None
        if made is None or made.by != _by(codec, level) or not self._receipts.store.exists(made.blob):
            raise Unusable("there is no such blob")
        return OldTar(self._receipts.store, made.blob, made.blocks)

    def remember(self, notes: LayerNotes, diff_id: Digest) -> None:
        """That the tree is this tar."""
        made = self._stored.made if self._stored is not None and self._stored.diff_id == diff_id else None
        self._save(notes, diff_id, made)

    def remember_made(self, notes: LayerNotes, done: Compressed, codec: str, level: t.Optional[int]) -> None:
        """That the tree is this tar, and this blob."""
        blob = Descriptor(_ANY, done.digest, done.size)
        made = _Made(blob, done.blocks, _by(codec, level)) if done.blocks else None
        self._save(notes, done.content_digest, made)

    def _save(self, notes: LayerNotes, diff_id: Digest, made: t.Optional[_Made]) -> None:
        if len(notes.rows) > _MAX_ROWS:
            return
        content = {
            "time": time.time_ns(),
            "options": _options(self._tree),
            "rows": notes.rows,
            "start": notes.start,
            "ends": notes.ends,
            "diff_id": diff_id,
            "made": [made.blob.digest, made.blob.size, made.blocks, made.by] if made is not None else None,
        }
        text = dumps(content).decode("ascii")
        self._receipts.save(self._file, {"version": _VERSION, "digest": _digest(text), "content": text})

    def _load(self) -> t.Optional[_Stored]:
        with contextlib.suppress(*DAMAGE):
            document = self._file.load()
            # A wrong digit would be a wrong layer.
            if document.get("version") != _VERSION or _digest(document["content"]) != document["digest"]:
                return None
            content = json.loads(document["content"])
            # After the clock was put back, times come again.
            if content["options"] != _options(self._tree) or content["time"] > time.time_ns():
                return None
            made = _parse_made(content["made"]) if content["made"] is not None else None
            return _Stored(list(content["rows"]), content["start"], list(content["ends"]), Digest(content["diff_id"]), made)
        return None


class Unchanged(Exception):
    """Nothing has changed, and nobody needs the bytes."""


class LayerNotes:
    """Notes what a run over the tree sees."""

    def __init__(self) -> None:
        self.rows: t.List[Row] = []
        self.start = 0
        self.ends: t.List[int] = []

    def kept(self, found: Found) -> t.Optional[t.Tuple[int, int]]:
        row = row_of(found)
        if not is_settled(found):
            row[_CTIME] = _UNTRUSTED
        self.rows.append(row)
        return None

    def wrote(self, start: int, end: int) -> None:
        if not self.ends:
            self.start = start
        self.ends.append(end)

    def read(self, start: int, end: int) -> t.Iterable[bytes]:
        raise NotImplementedError  # nothing is kept


class NotesOverOld(LayerNotes):
    """Takes what did not change out of the older tar, which is opened when something did. Raises Unchanged, when that is of use, and
    Unusable."""

    def __init__(self, stored: _Stored, open_old: t.Callable[[], OldTar], is_known: bool) -> None:
        super().__init__()
        self._stored = stored
        self._open_old = open_old
        self._is_known = is_known
        self._old: t.Optional[OldTar] = None
        starts = [stored.start, *stored.ends]
        self._known = {row[0]: (row, start, end) for row, start, end in zip(stored.rows, starts, stored.ends)}
        self._same_so_far = True

    def kept(self, found: Found) -> t.Optional[t.Tuple[int, int]]:
        row = row_of(found)
        known = self._known.get(row[0])
        if known is not None and known[0] == row and self._stands_alone(found):
            self._same_so_far = self._same_so_far and self._stored.rows[len(self.rows)] is known[0]
            self.rows.append(known[0])
            return known[1:]
        self._same_so_far = False
        return super().kept(found)

    def _stands_alone(self, found: Found) -> bool:
        """How a file with several names is stored depends on what comes before it."""
        return self._same_so_far or found.status.st_nlink == 1 or stat.S_ISDIR(found.status.st_mode)

    def read(self, start: int, end: int) -> t.Iterable[bytes]:
        if self._is_known and self._same_so_far and len(self.rows) == len(self._stored.rows):
            raise Unchanged
        if self._old is None:
            self._old = self._open_old()
        return self._old.range(start, end)

    def reuse(self, content: bytes) -> t.Optional[bytes]:
        """The compressed form of a block that the older blob has."""
        return self._old.reuse(content) if self._old is not None else None

    def finish(self) -> None:
        """What was taken was right when this returns."""
        if self._old is not None:
            self._old.finish()

    def close(self) -> None:
        if self._old is not None:
            self._old.close()


def _parse_made(fields: t.Sequence[t.Any]) -> _Made:
    digest, size, blocks, made_by = fields
    return _Made(Descriptor(_ANY, Digest(digest), size), tuple(Block(*block) for block in blocks), made_by)


def row_of(found: Found) -> Row:
    own = found.status
    times = (own.st_mtime_ns, own.st_ctime_ns)
    return [found.name, own.st_mode, own.st_size, *times, own.st_ino, own.st_dev, own.st_uid, own.st_gid]


def is_settled(found: Found) -> bool:
    """Whether any later change of it gets another ctime than it has."""
    ctime = found.status.st_ctime_ns
    return ctime + (_TICK if ctime % _COARSE else _COARSE_TICK) < found.seen


def _options(tree: Tree) -> t.List[t.Any]:
    has_xattrs = hasattr(os, "listxattr")
    return [tree.packed, tree.parents, *tree.attributes, has_xattrs]


def _by(codec: str, level: t.Optional[int]) -> str:
    chosen = DEFAULT_LEVELS.get(codec) if level is None else level
    return f"{codec} {chosen} {zlib.ZLIB_RUNTIME_VERSION}" if codec == GZIP else codec


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()

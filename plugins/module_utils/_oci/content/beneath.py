# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The only way to a path below a folder, to read or to write: by folder descriptor, part by part, never through a link.

Resolve-then-open leaves a race and follows links that others planted (GHSA-8xwf-rjm4-xvhv, CVE-2025-4517); openat with O_NOFOLLOW
on every part does not. A folder that the user names may itself be a link; what lies beneath it may not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import secrets
import stat
import threading
import time
import typing as t

from ..spec.errors import CancelledError, InvalidError, NotFoundError

TEMP_PREFIX = ".lading-"
FOLDER_PREFIX = TEMP_PREFIX + "folder-"  # files of it that get their names together (temp_folder.py)
PARTIAL_PREFIX = TEMP_PREFIX + "partial-"  # what a later run may go on from (partial.py)
_PARTIAL_SECONDS = 7 * 24 * 3600.0  # after which nobody is expected to go on
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# EPERM also where the kernel protects other users' files from being linked to (fs.protected_hardlinks).
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _Temps:
    """The temp names of this process, with the folders that they are in: a run that is ended from outside removes what is left."""

    def __init__(self) -> None:
        self._parents: t.Dict[str, int] = {}
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def making(self, parent: int, name: t.Optional[str] = None) -> t.Iterator[str]:
        """A new name, unless it is given, for what is made within the bracket. Raises CancelledError once they were removed."""
        name = name or TEMP_PREFIX + secrets.token_hex(8)
        with self._lock:
            if self._closed:
                raise CancelledError("stopped, because the run was ended")
            self._parents[name] = parent
            yield name

    def open_new(self, parent: int, name: str) -> int:
        """Make a file in a temp folder, which goes with that folder."""
        with self._lock:
            if self._closed:
                raise CancelledError("stopped, because the run was ended")
            return os.open(name, _CREATE, 0o600, dir_fd=parent)

    def forget(self, name: str) -> None:
        """It has its final name, or is gone."""
        self._parents.pop(name, None)

    def drop(self, parent: int) -> None:
        """Remove those in the folder that this very descriptor is open on."""
        for name in [name for name, folder_fd in list(self._parents.items()) if folder_fd == parent]:
            self.forget(name)
            with contextlib.suppress(OSError):
                if name.startswith(FOLDER_PREFIX):
                    remove_temp_folder(parent, name)
                else:
                    os.unlink(name, dir_fd=parent)

    def close(self) -> None:
        # Whoever holds the lock makes a file, which takes no time: it is not waited for longer than that could be.
        held = self._lock.acquire(timeout=1)
        self._closed = True
        for parent in set(self._parents.values()):
            self.drop(parent)
        if held:
            self._lock.release()


_temps = _Temps()
temp_name, forget_temp, remove_temps = _temps.making, _temps.forget, _temps.close
open_in_temp_folder, drop_temps = _temps.open_new, _temps.drop


@contextlib.contextmanager
def folder(path: str) -> t.Iterator[int]:
    """A descriptor of the folder ``path`` (links in the user's own path are followed). Raises NotFoundError, InvalidError."""
    try:
        descriptor = os.open(path, _DIRECTORY)
    except FileNotFoundError as error:
        raise NotFoundError(f"no such folder: {path}") from error
    except NotADirectoryError as error:
        raise InvalidError(f"not a folder: {path}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def scratch_file(path: str) -> t.BinaryIO:
    """A file without a name, in the folder ``path`` or, while that does not exist, in the nearest one above: on its file system.

    Whatever ends the process, nothing is left over.
    """
    import tempfile  # most runs need none, and it takes as long to import as a module of ours ten times its size

    return t.cast(t.BinaryIO, tempfile.TemporaryFile(dir=nearest(path), prefix=TEMP_PREFIX))


def nameless_file(path: str) -> t.BinaryIO:
    """As ``scratch_file``; where the system can do that, ``give_name`` can keep it."""
    flags = getattr(os, "O_TMPFILE", None)
    if flags is not None:
        with contextlib.suppress(OSError):
            return open(os.open(nearest(path), flags | os.O_RDWR | os.O_CLOEXEC, 0o600), "w+b")
    return scratch_file(path)


def nearest(path: str) -> str:
    """The folder ``path`` or, while that does not exist, the nearest one above."""
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


@contextlib.contextmanager
def folder_beneath(root: int, parts: t.Sequence[str], create_mode: t.Optional[int] = None) -> t.Iterator[int]:
    """A descriptor of the folder ``parts`` below ``root``; with ``create_mode`` missing folders are made (umask applies).

    Raises NotFoundError, and InvalidError when a part is a link or not a folder.
    """
    descriptor = os.dup(root)
    try:
        for number, part in enumerate(parts):
            child = _step(descriptor, part, "/".join(parts[: number + 1]), create_mode)
            os.close(descriptor)
            descriptor = child
        yield descriptor
    finally:
        os.close(descriptor)


def _step(parent: int, part: str, shown: str, create_mode: t.Optional[int]) -> int:
    check_part(part, shown)
    if create_mode is not None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, create_mode, dir_fd=parent)
            os.fsync(parent)
    try:
        return open_folder(parent, part)
    except FileNotFoundError as error:
        raise NotFoundError(f"no such folder: {shown}") from error
    except OSError as error:
        found = stat_beneath(parent, part)
        if found is None or stat.S_ISDIR(found.st_mode):
            raise
        raise InvalidError(f"{shown} is a link or not a folder") from error


def open_folder(parent: int, name: str) -> int:
    """A descriptor of the folder ``name`` in the folder ``parent``. Raises OSError, also for a link."""
    return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


def check_part(part: str, shown: str) -> None:
    """Raises InvalidError for what is no name in a folder."""
    if part in ("", ".", "..") or "/" in part or "\0" in part:
        raise InvalidError(f"not a path below the folder: {shown!r}")


def stat_beneath(parent: int, name: str) -> t.Optional[os.stat_result]:
    """lstat of ``name`` in the folder ``parent``, or None when nothing is there."""
    check_part(name, name)
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def open_beneath(root: int, parts: t.Sequence[str]) -> t.BinaryIO:
    """Open the regular file ``parts`` below ``root`` to read, unbuffered.

    Raises NotFoundError, and InvalidError for a link, a folder, a FIFO or a device, without blocking on it.
    """
    with folder_beneath(root, parts[:-1]) as parent:
        descriptor, _found = open_regular(parent, parts[-1], "/".join(parts))
    return open(descriptor, "rb", buffering=0)


_NewFile = t.TypeVar("_NewFile", bound="NewFile")


class NewFile:
    """A file that appears under its name whole or not at all: temp file beside it, fsync, rename, fsync of the folder.

    As a context manager it removes the temp file on any way out but ``commit``. While it lives it holds a lock, so that
    ``sweep`` can tell a dead writer's file from a living one's. ``mode``: the permission bits that it gets with its name
    (``default_mode()`` for what the umask allows); until then only its owner may read it. Who writes many files that count only
    together does so without ``durable``, and syncs once before what makes them count (``sync``).
    """

    def __init__(self, parent: int, mode: int = 0o600, durable: bool = True) -> None:
        self.mode = mode
        self.durable = durable
        self._parent = os.dup(parent)
        self._temp: t.Optional[str] = None
        try:
            self._temp, self.fd = self._create()
        except BaseException:
            _temps.drop(self._parent)
            os.close(self._parent)
            raise

    def _create(self) -> t.Tuple[t.Optional[str], int]:
        return _create_locked(self._parent)

    @property
    def name(self) -> str:
        """What it is called until it has its name, for a program that is to write it."""
        return t.cast(str, self._temp)

    def write(self, content: bytes) -> None:
        """All of ``content``, at the current position."""
        view = memoryview(content)
        while view:
            view = view[os.write(self.fd, view) :]

    def write_at(self, offset: int, content: t.Union[bytes, memoryview]) -> None:
        """All of ``content`` at ``offset`` bytes; may be called from several threads."""
        view = memoryview(content)
        while view:
            written = os.pwrite(self.fd, view, offset)
            view, offset = view[written:], offset + written

    def commit(self, name: str) -> None:
        """Give the file its name, replacing what is there (a link is replaced, never followed)."""
        self.commit_into(self._parent, name)

    def commit_into(self, folder_fd: int, name: str, sync_folder: bool = True) -> None:
        """As ``commit``, into another folder of the same file system.

        Who gives many files their names in one folder can sync that once (``sync_folder``), before what makes them count.
        """
        check_part(name, name)
        os.fchmod(self.fd, self.mode)
        if self.durable:
            os.fsync(self.fd)
        os.rename(self.name, name, src_dir_fd=self._parent, dst_dir_fd=folder_fd)
        forget_temp(self.name)
        self._temp = None
        if self.durable and sync_folder:
            os.fsync(folder_fd)

    def close(self) -> None:
        if self._temp is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temp, dir_fd=self._parent)
            forget_temp(self._temp)
            self._temp = None
        os.close(self.fd)
        os.close(self._parent)

    def __enter__(self: _NewFile) -> _NewFile:
        return self

    def __exit__(self, *_exc: t.Any) -> None:
        self.close()


def remove_file(parent: int, name: str) -> None:
    """Remove what is no folder; a link itself. That it is gone already is fine."""
    check_part(name, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
        os.fsync(parent)


def remove_empty(parent: int, name: str) -> None:
    """Remove a folder; one that is not empty, or gone already, is left as it is."""
    check_part(name, name)
    try:
        os.rmdir(name, dir_fd=parent)
        os.fsync(parent)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise


def default_mode(bits: int = 0o666) -> int:
    """``bits`` less what the umask takes away, as for any file that a program makes."""
    return bits & ~_umask()


@functools.lru_cache(maxsize=None)
def _umask() -> int:
    # Reading it means setting it, which is not safe while other threads make files: once, at the first use.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _create_locked(parent: int) -> t.Tuple[str, int]:
    """A new locked temp file. A sweeper may take it between creation and lock: then the next name."""
    while True:
        with temp_name(parent) as name:
            descriptor = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            found = stat_beneath(parent, name)
        except BaseException:
            os.close(descriptor)
            raise
        if found is not None and found.st_ino == os.fstat(descriptor).st_ino:
            return name, descriptor
        forget_temp(name)
        os.close(descriptor)


def sweep(parent: int, partials: bool = True) -> None:
    """Remove temp files that killed writers left in the folder: those that nobody holds locked.

    Without ``partials`` what a later run may go on from stays, unless it is a week old.
    """
    for name in os.listdir(parent):
        if name.startswith(TEMP_PREFIX) and (partials or not name.startswith(PARTIAL_PREFIX) or _is_old(parent, name)):
            _sweep_one(parent, name)


def _is_old(parent: int, name: str) -> bool:
    found = stat_beneath(parent, name)
    return found is not None and time.time() - found.st_mtime > _PARTIAL_SECONDS


def _sweep_one(parent: int, name: str) -> None:
    found = stat_beneath(parent, name)
    if found is not None and stat.S_ISLNK(found.st_mode):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        return
    try:
        if found is not None and stat.S_ISDIR(found.st_mode):
            _sweep_temp_folder(parent, name)
        else:
            remove_unless_held(parent, name)
    except OSError:
        # Gone meanwhile, or not a file of ours that we may open: not this sweep's to judge.
        return


def remove_unless_held(parent: int, name: str) -> bool:
    """Remove a regular file that nobody holds locked; False when it was left. Raises OSError.

    Names of partial files come again: it is removed only while the name is still that of the file that was locked.
    """
    descriptor = os.open(name, _READ, dir_fd=parent)
    try:
        opened = os.fstat(descriptor)
        if not stat.S_ISREG(opened.st_mode):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = stat_beneath(parent, name)
        if found is None or found.st_ino != opened.st_ino:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def open_regular(parent: int, name: str, shown: str) -> t.Tuple[int, os.stat_result]:
    """A descriptor to read the regular file ``name`` in the folder ``parent``, and its fstat; errors as ``open_beneath``'s."""
    check_part(name, shown)
    try:
        descriptor = os.open(name, _READ, dir_fd=parent)
    except FileNotFoundError as error:
        raise NotFoundError(f"no such file: {shown}") from error
    except OSError as error:
        found = stat_beneath(parent, name)
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise InvalidError(f"{shown} is a link or not a regular file") from error
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidError(f"{shown} is not a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, found


def _sweep_temp_folder(parent: int, name: str) -> None:
    """Remove a killed writer's folder: one that nobody holds locked, and only what such a writer makes in it."""
    if not name.startswith(FOLDER_PREFIX):
        return
    descriptor = open_folder(parent, name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_temp_folder(parent, name)
    finally:
        os.close(descriptor)


def remove_temp_folder(parent: int, name: str) -> None:
    """Remove a temp folder of ours, and only what its writer makes in it."""
    descriptor = open_folder(parent, name)
    try:
        for inner in os.listdir(descriptor):
            if inner.startswith(TEMP_PREFIX):
                os.unlink(inner, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=parent)

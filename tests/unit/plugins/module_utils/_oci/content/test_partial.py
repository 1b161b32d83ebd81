# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cut transfer leaves, and what the next run makes of it (threat rows 4, 34 and 65)."""

from __future__ import annotations

import fcntl
import os
import pathlib
import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content import partial
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import (
    Incoming,
    Opener,
    Prefix,
    Target,
    VerifyingReader,
    bytes_opener,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import (
    CancelledError,
    MismatchError,
    NotFoundError,
    RegistryError,
    StorageError,
    TransportError,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import image, store
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.noise import noise

MIB = 1024 * 1024
BLOB = noise(7, 4 * MIB - 100)
LAYER = Descriptor.of(BLOB, mediatype.OCI_LAYER)
CUT = 3 * MIB
KINDS = [pytest.param(Layout, "layout", id="folder"), pytest.param(Archive, "image.tar", id="tar")]


class Breaking:
    """Reads ``content``, and raises ``error`` after ``count`` bytes."""

    def __init__(self, content: bytes, count: int, error: BaseException) -> None:
        self._content, self._left, self._error, self._at = content, count, error, 0

    def read(self, size: int) -> bytes:
        if not self._left:
            raise self._error
        chunk = self._content[self._at : self._at + min(size, self._left)]
        self._at, self._left = self._at + len(chunk), self._left - len(chunk)
        return chunk

    def close(self) -> None:
        """Nothing is open."""


def breaking(count: int = CUT, error: t.Optional[BaseException] = None) -> Opener:
    failure = error or TransportError("the link is down")
    return lambda have=None: VerifyingReader(LAYER, Breaking(BLOB, count, failure))


class Counting:
    """Opens the content, and notes from where on it was asked for."""

    def __init__(self, content: bytes = BLOB) -> None:
        self.content = content
        self.offsets: t.List[int] = []

    def __call__(self, have: t.Optional[Prefix] = None) -> VerifyingReader:
        self.offsets.append(have.size if have is not None else 0)
        return bytes_opener(LAYER, self.content)(have)


def write(target: Target, content: Opener) -> None:
    """An image with ``LAYER``, as a copy writes it."""
    root, manifest, blobs = image(BLOB)
    with target.receiving(Incoming(root, ("v1",), (*(desc for desc, _content in blobs), root))):
        for desc, blob in blobs:
            target.push(desc, content if desc.digest == LAYER.digest else bytes_opener(desc, blob))
        target.tag(root, manifest, ["v1"])


def partials(place: pathlib.Path) -> t.List[pathlib.Path]:
    return sorted(place.rglob(".lading-*"))


def cut(target: Target, place: pathlib.Path) -> pathlib.Path:
    with pytest.raises(TransportError):
        write(target, breaking())
    (kept,) = partials(place)
    return kept


@pytest.mark.parametrize("kind, name", KINDS)
def test_the_next_run_goes_on(kind: t.Type[t.Any], name: str, tmp_path: pathlib.Path) -> None:
    kept = cut(kind(str(tmp_path / name)), tmp_path)
    assert kept.name.startswith(".lading-partial-") and kept.stat().st_mode & 0o777 == 0o600
    content = Counting()
    write(kind(str(tmp_path / name)), content)
    assert content.offsets == [CUT]
    assert kind(str(tmp_path / name)).fetch_bytes(LAYER) == BLOB
    assert partials(tmp_path) == []


@pytest.mark.parametrize("kind, name", KINDS)
def test_the_result_has_the_bytes_of_an_uncut_one(kind: t.Type[t.Any], name: str, tmp_path: pathlib.Path) -> None:
    cut(kind(str(tmp_path / name)), tmp_path)
    write(kind(str(tmp_path / name)), Counting())
    (tmp_path / "other").mkdir()
    write(kind(str(tmp_path / "other" / name)), Counting())
    one, other = tmp_path / name, tmp_path / "other" / name
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()] or [pathlib.Path()]
    for path in files:
        assert (one / path).read_bytes() == (other / path).read_bytes()
        assert (one / path).stat().st_mode == (other / path).stat().st_mode


@pytest.mark.parametrize("kind, name", KINDS)
def test_the_message_says_what_is_kept(kind: t.Type[t.Any], name: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(TransportError) as caught:
        write(kind(str(tmp_path / name)), breaking())
    (kept,) = partials(tmp_path)
    assert caught.value.message == f"the link is down; the first {CUT} bytes are kept in {kept}, the next run goes on from there"


@pytest.mark.parametrize("kind, name", KINDS)
@pytest.mark.parametrize(
    "error, stays",
    [
        (TransportError("x"), True),
        (RegistryError("x", 503), True),
        (CancelledError("x"), True),
        (MismatchError("x"), False),
        (NotFoundError("x"), False),
        (StorageError("x"), False),
        (OSError(28, "No space left on device"), False),
        (KeyboardInterrupt(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_after_which_errors_it_is_kept(kind: t.Type[t.Any], name: str, error: BaseException, stays: bool, tmp_path: pathlib.Path) -> None:
    with pytest.raises((type(error), StorageError)):
        write(kind(str(tmp_path / name)), breaking(error=error))
    assert bool(partials(tmp_path)) == stays


@pytest.mark.parametrize("kind, name", KINDS)
def test_a_little_is_not_kept(kind: t.Type[t.Any], name: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(TransportError, match="down$"):
        write(kind(str(tmp_path / name)), breaking(partial.WORTH - 5000))
    assert partials(tmp_path) == []


@pytest.mark.parametrize("kind, name", KINDS)
def test_what_is_damaged_is_fetched_anew(kind: t.Type[t.Any], name: str, tmp_path: pathlib.Path) -> None:
    kept = cut(kind(str(tmp_path / name)), tmp_path)
    with kept.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"damaged")
    content = Counting()
    write(kind(str(tmp_path / name)), content)
    assert content.offsets == [CUT, 0]
    assert kind(str(tmp_path / name)).fetch_bytes(LAYER) == BLOB
    assert partials(tmp_path) == []


@pytest.mark.parametrize("kind, name", KINDS)
def test_wrong_content_is_asked_for_once_more_and_leaves_nothing(kind: t.Type[t.Any], name: str, tmp_path: pathlib.Path) -> None:
    cut(kind(str(tmp_path / name)), tmp_path)
    content = Counting(BLOB[:-1] + b"x")
    with pytest.raises(MismatchError):
        write(kind(str(tmp_path / name)), content)
    assert content.offsets == [CUT, 0]
    assert partials(tmp_path) == []


@pytest.mark.parametrize("kind, name", KINDS)
def test_all_of_it_was_there(kind: t.Type[t.Any], name: str, tmp_path: pathlib.Path) -> None:
    kept = cut(kind(str(tmp_path / name)), tmp_path)
    start = kept.read_bytes().index(BLOB[:4096])
    with kept.open("r+b") as file:
        file.seek(start)
        file.write(BLOB)
    content = Counting()
    write(kind(str(tmp_path / name)), content)
    assert content.offsets == []
    assert kind(str(tmp_path / name)).fetch_bytes(LAYER) == BLOB


def test_a_writer_that_takes_other_content_clears_up(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "layout"
    cut(Layout(str(path)), tmp_path)
    store(Layout(str(path)), ["other"], b"other")
    assert partials(tmp_path) == []


def test_a_tar_of_other_members_is_not_gone_on_with(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "image.tar"
    cut(Archive(str(path)), tmp_path)
    root = store(Archive(str(path)), ["other"], b"other")
    assert Archive(str(path)).resolve("other") == root
    store(Archive(str(tmp_path / "alone.tar")), ["other"], b"other")
    assert path.read_bytes() == (tmp_path / "alone.tar").read_bytes()
    assert partials(tmp_path) == []


def test_other_tars_of_the_folder_keep_theirs(tmp_path: pathlib.Path) -> None:
    kept = cut(Archive(str(tmp_path / "image.tar")), tmp_path)
    store(Archive(str(tmp_path / "other.tar")), ["other"], b"other")
    assert partials(tmp_path) == [kept]
    week = time.time() - 8 * 24 * 3600
    os.utime(kept, (week, week))
    store(Archive(str(tmp_path / "other.tar")), ["more"], b"more")
    assert partials(tmp_path) == []


def test_a_tar_that_is_there_stays_until_the_new_one_is_whole(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "image.tar"
    store(Archive(str(path)), ["old"], b"old layer")
    before = path.read_bytes()
    cut(Archive(str(path)), tmp_path)
    assert path.read_bytes() == before
    content = Counting()
    write(Archive(str(path)), content)
    assert content.offsets == [CUT]
    assert Archive(str(path)).names() == ["old", "v1"]


def plant_link(path: pathlib.Path) -> None:
    (path.parent.parent / "secret").write_bytes(BLOB[:CUT])
    path.symlink_to(path.parent.parent / "secret")


def plant_hard_link(path: pathlib.Path) -> None:
    (path.parent.parent / "secret").write_bytes(BLOB[:CUT])
    os.link(path.parent.parent / "secret", path)


def plant_larger(path: pathlib.Path) -> None:
    path.write_bytes(BLOB + b"more")


def plant_writable(path: pathlib.Path) -> None:
    path.write_bytes(BLOB[:CUT])
    path.chmod(0o666)


def plant_foreign(path: pathlib.Path) -> None:
    path.write_bytes(BLOB[:CUT])
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    "plant",
    [plant_link, plant_hard_link, os.mkfifo, plant_larger, plant_writable, plant_foreign, os.mkdir],
    ids=["r04-link", "r04-hard-link", "r04-fifo", "larger", "writable by others", "foreign", "folder"],
)
def test_what_is_not_surely_ours_is_not_taken(plant: t.Callable[[pathlib.Path], None], tmp_path: pathlib.Path) -> None:
    """Threat row 4: never followed, never written to."""
    if plant is plant_foreign and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    path = tmp_path / "layout"
    store(Layout(str(path)), ["other"], b"other")
    plant(path / partial.partial_name(LAYER))
    content = Counting()
    write(Layout(str(path)), content)
    assert content.offsets == [0]
    assert Layout(str(path)).fetch_bytes(LAYER) == BLOB
    blob = path / "blobs" / "sha256" / LAYER.digest.encoded
    assert blob.stat().st_nlink == 1 and not blob.is_symlink()
    secret = tmp_path / "secret"
    assert not secret.exists() or secret.read_bytes() == BLOB[:CUT]


def test_another_writer_has_it(tmp_path: pathlib.Path) -> None:
    """Then ours is an ordinary temporary file, and the other's is left alone."""
    path = tmp_path / "layout"
    kept = cut(Layout(str(path)), tmp_path)
    with kept.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        content = Counting()
        write(Layout(str(path)), content)
        assert content.offsets == [0]
        assert partials(tmp_path) == [kept]
    assert Layout(str(path)).fetch_bytes(LAYER) == BLOB


def test_two_writers_of_one_blob_at_a_time(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "layout")
    store(Layout(path), ["other"], b"other")
    inside, errors = threading.Barrier(2, timeout=60), []

    def opener(have: t.Optional[Prefix] = None) -> VerifyingReader:
        inside.wait()
        return bytes_opener(LAYER, BLOB)(have)

    def push() -> None:
        try:
            Layout(path).push(LAYER, opener)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=push) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Layout(path).fetch_bytes(LAYER) == BLOB
    assert partials(tmp_path) == []


def test_a_sweeper_leaves_a_new_file_of_the_same_name(tmp_path: pathlib.Path) -> None:
    """What was opened under the name need not be what has it now."""
    from ansible_collections.lading.oci.plugins.module_utils._oci.content import beneath

    first, second = tmp_path / "first", tmp_path / ".lading-partial-x"
    second.write_bytes(b"old")
    real = fcntl.flock

    def replaced(descriptor: int, operation: int) -> None:
        second.rename(first)
        second.write_bytes(b"new")
        real(descriptor, operation)

    with beneath.folder(str(tmp_path)) as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(beneath.fcntl, "flock", replaced)
        beneath.sweep(root)
    assert second.read_bytes() == b"new"


@pytest.mark.parametrize("tail", [0, 1, 5000, 2 * MIB])
def test_zeros_at_the_end_are_not_counted(tail: int, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"#" * 10 + b"x" * 100_000 + b"\0" * tail)
    os.truncate(path, 8 * MIB)
    with path.open("rb") as file:
        assert partial.held_bytes(file.fileno(), 10, 6 * MIB) == 100_000
        assert partial.held_bytes(file.fileno(), 10, 50) == 50
        assert partial.held_bytes(file.fileno(), 7 * MIB, MIB) == 0
        assert partial.held_bytes(file.fileno(), 9 * MIB, MIB) == 0


def test_layouts_are_read_from_an_offset(tmp_path: pathlib.Path) -> None:
    for target in (Layout(str(tmp_path / "layout")), Archive(str(tmp_path / "image.tar"))):
        store(target, ["v1"], BLOB)
        have = Prefix(LAYER.digest.hasher(), CUT)
        have.hash.update(BLOB[:CUT])
        with target.fetch(LAYER, have) as reader:
            assert b"".join(reader.chunks()) == BLOB[CUT:]
        have.hash.update(b"wrong")
        with pytest.raises(MismatchError), target.fetch(LAYER, have) as reader:
            b"".join(reader.chunks())


@pytest.mark.parametrize(("kind", "durable"), [(partial.BlobFile, True), (partial.ScratchFile, False)])
def test_the_disk_has_something_to_do_while_the_rest_comes(
    kind: t.Any, durable: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but what came last was handed to it; of a file that nobody keeps, nothing."""
    content = noise(8, 1000) * 20_000
    desc = Descriptor.of(content, mediatype.OCI_LAYER)
    begun: t.List[t.Tuple[int, int]] = []
    real = os.posix_fadvise
    monkeypatch.setattr(
        os, "posix_fadvise", lambda fd, offset, size, advice: (begun.append((offset, size)), real(fd, offset, size, advice))
    )
    parent = os.open(tmp_path, os.O_RDONLY)
    with kind(parent, desc, where=str(tmp_path), **({} if durable else {"spare": str(tmp_path)})) as file:
        file.fill(bytes_opener(desc, content))
        assert os.pread(file.fd, len(content), 0) == content
    os.close(parent)
    ends = [offset + size for offset, size in begun]
    assert [offset for offset, _size in begun] == [0, *ends[:-1]][: len(begun)], "a gap"
    assert (ends[-1:] > [len(content) - 9 * MIB]) == durable

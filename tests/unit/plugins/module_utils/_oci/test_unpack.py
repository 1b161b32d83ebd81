# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import pathlib
import resource
import stat
import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import destination_batch
from ansible_collections.lading.oci.plugins.module_utils._oci.content.beneath import (
    FOLDER_PREFIX,
    TEMP_PREFIX,
    default_mode,
    sweep,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.content.beneath import folder as folder_of
from ansible_collections.lading.oci.plugins.module_utils._oci.content.temp_folder import TempFolder
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import Stats
from ansible_collections.lading.oci.plugins.module_utils._oci.destination import Destination
from ansible_collections.lading.oci.plugins.module_utils._oci.folders import FolderBlobs
from ansible_collections.lading.oci.plugins.module_utils._oci.plaintar import Limits
from ansible_collections.lading.oci.plugins.module_utils._oci.receipt import Receipt
from ansible_collections.lading.oci.plugins.module_utils._oci.selection import Wanted, select
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import TITLE, Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import (
    InvalidError,
    MismatchError,
    NotFoundError,
    OCIError,
    StorageError,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.unpack import (
    Line,
    Pull,
    UnpackPlan,
    apply_unpack,
    plan_unpack,
    stats_of,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import (
    CONTENT_DIGEST,
    MemorySource,
    folder,
    hard_link,
    member,
    symlink,
    tar_gz,
)

TREE = (folder("d"), member("d/a", b"one"), folder("d/sub"), member("d/sub/run", b"#!", 0o755), symlink("d/sub/up", "../a"))


@pytest.fixture(name="source")
def _source() -> MemorySource:
    return MemorySource()


@pytest.fixture(name="dest")
def _dest(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "dest"


@pytest.fixture(autouse=True)
def _cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pull(
    source: MemorySource,
    root: Descriptor,
    dest: pathlib.Path,
    check: bool = False,
    untitled: str = "skip",
    receipt: bool = True,
    mode: t.Optional[int] = None,
    limits: Limits = Limits(),
) -> UnpackPlan:
    """As the module does it."""
    known = Receipt(str(dest) if receipt else str(dest) + " that nobody pulled to", pytest.fail)
    selection = select(source, root, known, Wanted(untitled))
    destination = Destination(str(dest), mode)
    with FolderBlobs(source, destination, known, limits, keep=not check) as blobs:
        parts = Pull(source, selection, destination, blobs, modes=mode is None)
        plan = plan_unpack(parts)
        if plan.changed and not check:
            plan = apply_unpack(plan, parts)
        if receipt and not check:
            known.remember(root, selection.manifests, blobs.listings)
    return plan


def tree(root: pathlib.Path) -> t.Dict[str, t.Any]:
    """Every path below ``root``: its bytes, its link, or None for a folder."""
    found: t.Dict[str, t.Any] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        found[name] = os.readlink(path) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
    return found


def state(root: pathlib.Path) -> t.Dict[str, t.Tuple[int, int, int]]:
    return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in root.rglob("*")}


def mode_of(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- what is a file


def test_files_by_title(source: MemorySource, dest: pathlib.Path) -> None:
    root = source.artifact(source.file("a.txt", b"a"), source.file("etc/b.conf", b"b"), source.file("empty", b""))
    plan = pull(source, root, dest)
    assert tree(dest) == {"a.txt": b"a", "etc": None, "etc/b.conf": b"b", "empty": b""}
    assert plan.changed and [one.item.title for one in plan.items] == ["a.txt", "etc/b.conf", "empty"]
    assert mode_of(dest / "a.txt") == default_mode() and mode_of(dest / "etc") == default_mode(0o777)


def test_a_titled_config_is_a_file_and_an_untitled_one_is_nothing(source: MemorySource, dest: pathlib.Path) -> None:
    titled = source.artifact(config=source.file("config.json", b"{1}"))
    plain = source.artifact(config=source.add(b"{2}", mediatype.OCI_CONFIG))
    plan = pull(source, source.index(titled, plain), dest, untitled="fail")
    assert tree(dest) == {"config.json": b"{1}"} and plan.selection.skipped == ()


def test_all_children_of_an_index_and_no_subject(source: MemorySource, dest: pathlib.Path) -> None:
    absent = Descriptor.of(b"absent", mediatype.OCI_MANIFEST)
    first = source.artifact(source.file("a", b"1"), subject=absent.to_json())
    second = source.index(source.artifact(source.file("b", b"2")), first)
    pull(source, source.index(first, second), dest)
    assert tree(dest) == {"a": b"1", "b": b"2"}


def test_untitled_layers(source: MemorySource, dest: pathlib.Path) -> None:
    layer = source.add(b"layer", mediatype.OCI_LAYER)
    root = source.artifact(layer, layer, source.file("a", b"1"))
    plan = pull(source, root, dest)
    assert plan.selection.skipped == (layer,) and tree(dest) == {"a": b"1"}
    with pytest.raises(InvalidError, match=layer.digest):
        pull(source, root, dest, untitled="fail")
    pull(source, root, dest, untitled="digest")
    assert tree(dest) == {"a": b"1", f"sha256-{layer.digest.encoded}": b"layer"}


def test_the_empty_layer_is_not_missed(source: MemorySource, dest: pathlib.Path) -> None:
    empty = source.add(b"{}", mediatype.OCI_EMPTY)
    assert not pull(source, source.artifact(empty), dest, untitled="fail").changed
    assert not dest.exists(), "nothing to write, nothing made"


def test_one_content_under_two_titles_is_fetched_once(source: MemorySource, dest: pathlib.Path) -> None:
    root = source.artifact(source.file("a", b"same"), source.file("x/b", b"same"), source.file("a", b"same"))
    plan = pull(source, root, dest)
    assert tree(dest) == {"a": b"same", "x": None, "x/b": b"same"}
    assert source.opened.count(Digest.of(b"same")) == 1 and stats_of(plan).blobs_transferred == 1


@pytest.mark.parametrize("titles", [("a", "a"), ("a", "a/b"), ("a/b/c", "a")])
def test_titles_in_each_others_way(source: MemorySource, dest: pathlib.Path, titles: t.Tuple[str, str]) -> None:
    root = source.artifact(source.file(titles[0], b"1"), source.file(titles[1], b"2"))
    with pytest.raises(InvalidError, match="the title 'a"):
        pull(source, root, dest)
    assert not dest.exists()


def test_a_file_and_a_folder_of_one_name(source: MemorySource, dest: pathlib.Path) -> None:
    blob = tar_gz(*TREE)
    with pytest.raises(InvalidError, match="two contents"):
        pull(source, source.artifact(source.file("d", blob), source.folder("d", blob)), dest)
    with pytest.raises(InvalidError, match="lies below 'd'"):
        pull(source, source.artifact(source.folder("d", blob), source.file("d/other", b"1")), dest)


@pytest.mark.parametrize("title", ["../x", "/x", "a//b", "a/./b", ".", "a\nb", "a\x1b[0m", "x" * 256, ".lading-1"])
def test_a_bad_title_ends_it_before_anything_is_written(source: MemorySource, dest: pathlib.Path, title: str) -> None:
    root = source.artifact(source.file("good", b"1"), source.file(title, b"2"))
    with pytest.raises(InvalidError, match="the title") as caught:
        pull(source, root, dest)
    assert not dest.exists() and str(caught.value).startswith("source memory: ") and "\x1b" not in str(caught.value)


def test_a_graph_without_end_is_refused(source: MemorySource, dest: pathlib.Path) -> None:
    layer = source.file("a", b"1").to_json()
    many = [source.artifact(annotations={"number": str(number)}, layers=[layer] * 20_000) for number in range(6)]
    with pytest.raises(InvalidError, match="more than 100000 layers"):
        pull(source, source.index(*many), dest)


# --- compared by digest


def test_what_is_equal_is_neither_fetched_nor_touched(source: MemorySource, dest: pathlib.Path) -> None:
    root = source.artifact(source.file("a", b"1"), source.file("x/b", b"2"), source.folder("d", tar_gz(*TREE)))
    pull(source, root, dest)
    before, opened = state(dest), len(source.opened)
    (dest / "x" / "b").write_bytes(b"?")
    plan = pull(source, root, dest)
    assert source.opened[opened:] == [Digest.of(b"2")] and (dest / "x" / "b").read_bytes() == b"2"
    after = state(dest)
    assert {path for path in after if after[path] != before.get(path)} == {str(dest / "x"), str(dest / "x" / "b")}
    assert stats_of(plan) == Stats(blobs_transferred=1, blobs_present=2, bytes_transferred=1, bytes_present=1 + len(tar_gz(*TREE)))
    unchanged = pull(source, root, dest)
    assert not unchanged.changed and state(dest) == after


def test_files_of_nobody_stay(source: MemorySource, dest: pathlib.Path) -> None:
    (dest / "d").mkdir(parents=True)
    (dest / "d" / "mine").write_bytes(b"m")
    pull(source, source.artifact(source.folder("d", tar_gz(*TREE))), dest)
    assert (dest / "d" / "mine").read_bytes() == b"m" and (dest / "d" / "a").read_bytes() == b"one"


def test_same_size_other_content(source: MemorySource, dest: pathlib.Path) -> None:
    dest.mkdir()
    (dest / "a").write_bytes(b"2")
    plan = pull(source, source.artifact(source.file("a", b"1")), dest)
    assert plan.items[0].lines == (Line("a", str(Digest.of(b"2")), str(Digest.of(b"1"))),)
    assert (dest / "a").read_bytes() == b"1"


def test_a_sha512_digest(source: MemorySource, dest: pathlib.Path) -> None:
    desc = Descriptor("text/plain", Digest.of(b"1", "sha512"), 1, {TITLE: "a"})
    source.contents[desc.digest] = b"1"
    root = source.artifact(desc)
    assert pull(source, root, dest).changed and not pull(source, root, dest).changed


def test_embedded_content_is_not_fetched(source: MemorySource, dest: pathlib.Path) -> None:
    desc = Descriptor("text/plain", Digest.of(b"1"), 1, {TITLE: "a"}, data=b"1")
    pull(source, source.artifact(desc), dest)
    assert tree(dest) == {"a": b"1"}


# --- check mode


@pytest.mark.parametrize("receipt", [True, False], ids=["receipt", "no-receipt"])
def test_check_mode_foresees_the_run(source: MemorySource, dest: pathlib.Path, receipt: bool, tmp_path: pathlib.Path) -> None:
    old = source.artifact(source.file("a", b"1"), source.folder("d", tar_gz(*TREE)), source.file("same", b"s"))
    changed_tree = (*TREE[:1], member("d/a", b"two"), *TREE[2:], member("d/new", b"n"))
    new = source.artifact(source.file("a", b"2"), source.folder("d", tar_gz(*changed_tree)), source.file("same", b"s"))
    for root in (old, new):
        before = state(tmp_path)
        checked = pull(source, root, dest, check=True, receipt=receipt)
        assert state(tmp_path) == before, "check mode makes nothing"
        done = pull(source, root, dest, receipt=receipt)
        assert checked.changed and stats_of(checked) == stats_of(done)
        assert [one.lines for one in checked.items] == [one.lines for one in done.items]
        assert not pull(source, root, dest, check=True, receipt=receipt).changed
    assert tree(dest)["d/a"] == b"two" and tree(dest)["d/new"] == b"n"


def test_without_a_receipt_a_standing_folder_is_fetched_to_compare(source: MemorySource, dest: pathlib.Path) -> None:
    blob = tar_gz(*TREE)
    root = source.artifact(source.folder("d", blob))
    pull(source, root, dest)
    plan = pull(source, root, dest, receipt=False)
    assert not plan.changed and stats_of(plan).blobs_transferred == 1 and source.opened.count(Digest.of(blob)) == 2
    plan = pull(source, root, dest)
    assert not plan.changed and source.opened.count(Digest.of(blob)) == 2, "the receipt says what is in it"


def test_content_that_was_fetched_to_compare_is_not_fetched_again(source: MemorySource, dest: pathlib.Path) -> None:
    blob = tar_gz(*TREE)
    (dest / "d").mkdir(parents=True)
    assert stats_of(pull(source, source.artifact(source.folder("d", blob)), dest)).blobs_transferred == 1
    assert source.opened.count(Digest.of(blob)) == 1


# --- folders


def test_a_folder(source: MemorySource, dest: pathlib.Path) -> None:
    root = source.artifact(source.folder("d", tar_gz(*TREE)))
    pull(source, root, dest)
    expected = {"d": None, "d/a": b"one", "d/sub": None, "d/sub/run": b"#!", "d/sub/up": "../a"}
    assert tree(dest) == expected
    assert mode_of(dest / "d" / "sub" / "run") == default_mode(0o755) and mode_of(dest / "d" / "a") == default_mode(0o644)
    again = pull(source, root, dest)
    assert not again.changed and again.items[0].lines[0].path == "d/"


def test_only_members_that_differ_are_written(source: MemorySource, dest: pathlib.Path) -> None:
    pull(source, source.artifact(source.folder("d", tar_gz(*TREE))), dest)
    before = state(dest)
    (dest / "d" / "sub" / "up").unlink()
    (dest / "d" / "sub" / "run").write_bytes(b"??")
    plan = pull(source, source.artifact(source.folder("d", tar_gz(*TREE))), dest)
    assert {line.path: line.after for line in plan.items[0].lines} == {
        "d/sub/run": str(Digest.of(b"#!")),
        "d/sub/up": "-> ../a",
    }
    assert state(dest)[str(dest / "d" / "a")] == before[str(dest / "d" / "a")]
    assert tree(dest)["d/sub/run"] == b"#!" and tree(dest)["d/sub/up"] == "../a"


def test_links_folders_and_modes_need_no_content(source: MemorySource, dest: pathlib.Path) -> None:
    root = source.artifact(source.folder("d", tar_gz(*TREE, folder("d/none"))))
    pull(source, root, dest)
    opened = len(source.opened)
    (dest / "d" / "none").rmdir()
    (dest / "d" / "sub" / "up").unlink()
    (dest / "d" / "sub" / "up").symlink_to("/etc/passwd")
    (dest / "d" / "sub" / "run").chmod(0o644)
    plan = pull(source, root, dest)
    assert plan.changed and len(source.opened) == opened and stats_of(plan).blobs_transferred == 0
    assert tree(dest)["d/sub/up"] == "../a" and (dest / "d" / "none").is_dir()
    assert mode_of(dest / "d" / "sub" / "run") == default_mode(0o755)
    assert not pull(source, root, dest).changed


def test_hard_links_become_files_of_their_own(source: MemorySource, dest: pathlib.Path) -> None:
    root = source.artifact(source.folder("d", tar_gz(member("d/a", b"one"), hard_link("d/x/b", "d/a"), hard_link("d/c", "d/x/b"))))
    pull(source, root, dest)
    assert tree(dest) == {"d": None, "d/a": b"one", "d/x": None, "d/x/b": b"one", "d/c": b"one"}
    assert (dest / "d" / "a").stat().st_nlink == 1
    (dest / "d" / "c").write_bytes(b"other")
    opened = len(source.opened)
    assert pull(source, root, dest).changed and (dest / "d" / "c").read_bytes() == b"one"
    assert len(source.opened) == opened, "the file beside it has the content"


def test_a_hostile_folder_is_refused_before_anything_is_written(source: MemorySource, dest: pathlib.Path) -> None:
    hostile = source.folder("d", tar_gz(folder("d"), member("d/ok"), symlink("d/out", "../../etc"), member("d/out/x")))
    with pytest.raises(InvalidError, match="source memory: d: the tar member 'd/out'"):
        pull(source, source.artifact(source.file("good", b"1"), hostile), dest)
    assert not dest.exists()


def test_a_wrong_content_digest_is_refused_before_anything_is_written(source: MemorySource, dest: pathlib.Path) -> None:
    wrong = source.folder("d", tar_gz(*TREE), **{CONTENT_DIGEST: str(Digest.of(b"other"))})
    with pytest.raises(MismatchError, match="annotation"):
        pull(source, source.artifact(wrong), dest)
    assert not dest.exists()


def test_limits_hold_for_folders(source: MemorySource, dest: pathlib.Path) -> None:
    root = source.artifact(source.folder("d", tar_gz(*TREE)))
    for limits in (Limits(entries=2), Limits(bytes=1000)):
        with pytest.raises(InvalidError, match="limit of"):
            pull(source, root, dest, limits=limits)
    assert not dest.exists()


def test_names_that_are_not_utf8(source: MemorySource, dest: pathlib.Path) -> None:
    name = b"d/caf\xe9".decode("utf-8", "surrogateescape")
    root = source.artifact(source.folder("d", tar_gz(member(name, b"1"))))
    pull(source, root, dest)
    assert os.listdir(os.fsencode(dest / "d")) == [b"caf\xe9"]
    assert not pull(source, root, dest).changed


# --- what stands in the destination


def outside(tmp_path: pathlib.Path) -> pathlib.Path:
    folder_outside = tmp_path / "outside"
    folder_outside.mkdir()
    (folder_outside / "file").write_bytes(b"precious")
    return folder_outside


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "FIFO", "socket"])
def test_what_is_replaced_is_not_followed(source: MemorySource, dest: pathlib.Path, tmp_path: pathlib.Path, kind: str) -> None:
    victim = outside(tmp_path) / "file"
    (dest / "d").mkdir(parents=True)
    for path in (dest / "a", dest / "d" / "a"):
        if kind == "symlink":
            path.symlink_to(victim)
        elif kind == "dangling":
            path.symlink_to(tmp_path / "outside" / "new")
        elif kind == "hard link":
            os.link(victim, path)
        else:
            os.mkfifo(path)
    pull(source, source.artifact(source.file("a", b"1"), source.folder("d", tar_gz(*TREE))), dest)
    assert tree(dest)["a"] == b"1" and tree(dest)["d/a"] == b"one"
    assert tree(tmp_path / "outside") == {"file": b"precious"}
    assert (dest / "a").stat().st_nlink == 1


@pytest.mark.parametrize("title", ["link/a", "link/deep/a", "folder/link/a"])
def test_a_link_on_the_way_is_refused(source: MemorySource, dest: pathlib.Path, tmp_path: pathlib.Path, title: str) -> None:
    target = outside(tmp_path)
    (dest / "folder").mkdir(parents=True)
    (dest / "link").symlink_to(target)
    (dest / "folder" / "link").symlink_to(target)
    with pytest.raises(InvalidError, match=r"destination .*link is a link or not a folder"):
        pull(source, source.artifact(source.file("ok", b"1"), source.file(title, b"2")), dest)
    assert tree(target) == {"file": b"precious"} and not (dest / "ok").exists()


@pytest.mark.parametrize("place", ["d", "d/sub"])
def test_a_link_in_place_of_a_folder_is_refused(source: MemorySource, dest: pathlib.Path, tmp_path: pathlib.Path, place: str) -> None:
    (dest / place).parent.mkdir(parents=True)
    (dest / place).symlink_to(outside(tmp_path))
    with pytest.raises(InvalidError, match=f"{place} is to be a folder"):
        pull(source, source.artifact(source.folder("d", tar_gz(*TREE))), dest)
    assert tree(tmp_path / "outside") == {"file": b"precious"}


def test_a_folder_in_place_of_a_file_is_refused(source: MemorySource, dest: pathlib.Path) -> None:
    (dest / "d" / "sub" / "up").mkdir(parents=True)
    with pytest.raises(InvalidError, match="d is a folder"):
        pull(source, source.artifact(source.file("d", b"1")), dest)
    with pytest.raises(InvalidError, match="d/sub/up is a folder"):
        pull(source, source.artifact(source.folder("d", tar_gz(*TREE))), dest)


def test_a_file_in_place_of_a_folder_is_refused(source: MemorySource, dest: pathlib.Path) -> None:
    dest.mkdir()
    (dest / "d").write_bytes(b"file")
    with pytest.raises(InvalidError, match="d is to be a folder"):
        pull(source, source.artifact(source.folder("d", tar_gz(*TREE))), dest)
    with pytest.raises(InvalidError, match="d is a link or not a folder"):
        pull(source, source.artifact(source.file("d/a", b"1")), dest)
    dest_file = dest / "d"
    with pytest.raises(InvalidError, match="not a folder"):
        pull(source, source.artifact(source.file("a", b"1")), dest_file)


def test_a_replaced_file_keeps_its_mode_and_owner(source: MemorySource, dest: pathlib.Path) -> None:
    dest.mkdir()
    (dest / "a").write_bytes(b"old")
    if os.geteuid() == 0:
        os.chown(dest / "a", 12, 34)
    (dest / "a").chmod(0o4604)
    old = (dest / "a").stat()
    pull(source, source.artifact(source.file("a", b"1")), dest)
    new = (dest / "a").stat()
    assert stat.S_IMODE(new.st_mode) == 0o604 and (new.st_uid, new.st_gid) == (old.st_uid, old.st_gid)


def test_a_given_mode_is_there_from_the_start(source: MemorySource, dest: pathlib.Path) -> None:
    pull(source, source.artifact(source.file("a", b"1"), source.folder("d", tar_gz(*TREE))), dest, mode=0o600)
    assert {mode_of(path) for path in dest.rglob("*") if path.is_file() and not path.is_symlink()} == {0o600}
    assert not pull(source, source.artifact(source.folder("d", tar_gz(*TREE))), dest, mode=0o600).changed


LARGE = (*(member(f"d/{number}", b"one") for number in range(40)), *(member(f"d/s{number}/f", b"two", 0o755) for number in range(90)))


def test_a_large_folder_over_what_stands_there(source: MemorySource, dest: pathlib.Path) -> None:
    """The files of many folders, and what each takes over of the file in its place."""
    (dest / "d").mkdir(parents=True)
    (dest / "d" / "0").write_bytes(b"old")
    os.link(dest / "d" / "0", dest / "precious")
    (dest / "d" / "1").symlink_to("../precious")
    if os.geteuid() == 0:
        os.chown(dest / "d" / "0", 12, 34)
    old = (dest / "d" / "0").stat()
    root = source.artifact(source.folder("d", tar_gz(*LARGE, hard_link("d/copy", "d/s3/f"))))
    pull(source, root, dest)
    expected = {"precious": b"old", "d": None, "d/copy": b"two"}
    expected.update({f"d/{number}": b"one" for number in range(40)})
    expected.update({f"d/s{number}": None for number in range(90)}, **{f"d/s{number}/f": b"two" for number in range(90)})
    assert tree(dest) == expected
    new = (dest / "d" / "0").stat()
    assert (new.st_uid, new.st_gid) == (old.st_uid, old.st_gid) and mode_of(dest / "d" / "s7" / "f") == default_mode(0o755)
    assert not pull(source, root, dest).changed


def test_a_fault_in_a_large_folder_names_nothing_unsynced(
    source: MemorySource, dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (dest / "d").mkdir(parents=True)
    (dest / "d" / "0").write_bytes(b"old")
    before = len(os.listdir("/dev/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(destination_batch, "sync", failing)
        with pytest.raises(StorageError, match=f"^destination {dest}: .*Input/output error"):
            pull(source, source.artifact(source.folder("d", tar_gz(*LARGE))), dest)
    files = {name: content for name, content in tree(dest).items() if content is not None}
    assert files == {"d/0": b"old"} and len(os.listdir("/dev/fd")) == before


def test_a_kernel_whose_sync_tells_no_errors(source: MemorySource, dest: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.8 each file has a sync of its own, which does."""
    synced: t.List[int] = []
    monkeypatch.setattr(destination_batch, "_SYNC_TELLS_ERRORS", False)
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_ino), real(descriptor)))
    pull(source, source.artifact(source.folder("d", tar_gz(*LARGE))), dest)
    assert {path.stat().st_ino for path in dest.rglob("*") if path.is_file()} <= set(synced)


def test_the_folder_of_a_living_batch_stays_and_of_a_dead_one_goes(dest: pathlib.Path) -> None:
    dest.mkdir()
    with folder_of(str(dest)) as parent:
        living = TempFolder(parent)
        living.create()
        dead, theirs = dest / (FOLDER_PREFIX + "dead"), dest / (FOLDER_PREFIX + "with a file of others")
        for path in (dead, theirs):
            path.mkdir()
            (path / (TEMP_PREFIX + "1")).write_bytes(b"half")
        (theirs / "mine").write_bytes(b"precious")
        sweep(parent)
        assert {path.name for path in dest.iterdir()} == {living.name, theirs.name} and (theirs / "mine").exists()
        living.close()
    assert [path.name for path in dest.iterdir()] == [theirs.name]


def test_what_a_killed_pull_left_is_removed(source: MemorySource, dest: pathlib.Path) -> None:
    (dest / "d" / "sub").mkdir(parents=True)
    for place in (dest, dest / "d", dest / "d" / "sub"):
        (place / (TEMP_PREFIX + "0")).write_bytes(b"half")
        (place / (TEMP_PREFIX + "1")).symlink_to("../a")
    pull(source, source.artifact(source.file("a", b"1"), source.folder("d", tar_gz(*TREE))), dest)
    assert [path for path in dest.rglob("*") if path.name.startswith(TEMP_PREFIX)] == []


# --- faults


def test_wrong_content_gets_no_name(source: MemorySource, dest: pathlib.Path) -> None:
    desc = source.file("a", b"right")
    root = source.artifact(desc)
    for content in (b"wrong", b"righ", b"right and more"):
        source.contents[desc.digest] = content
        with pytest.raises(MismatchError, match="source memory: a: content of"):
            pull(source, root, dest)
        assert tree(dest) == {}


def test_a_fault_leaves_the_old_file(source: MemorySource, dest: pathlib.Path) -> None:
    desc = source.file("a", b"right")
    dest.mkdir()
    (dest / "a").write_bytes(b"old")
    del source.contents[desc.digest]
    with pytest.raises(NotFoundError, match="source memory"):
        pull(source, source.artifact(desc), dest)
    assert tree(dest) == {"a": b"old"}


def test_a_broken_folder_blob_leaves_nothing(source: MemorySource, dest: pathlib.Path) -> None:
    desc = source.folder("d", tar_gz(*TREE))
    source.contents[desc.digest] = source.contents[desc.digest][:-9] + b"123456789"
    for check in (True, False):
        (dest / "d").mkdir(parents=True, exist_ok=True)
        with pytest.raises(OCIError, match="source memory: d: "):
            pull(source, source.artifact(desc), dest, check=check)
        assert tree(dest) == {"d": None}


@pytest.fixture(name="small_disk")
def _small_disk() -> t.Iterator[None]:
    """No file may have more than 4 KiB, as if the disk were full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("small_disk")
def test_no_room_on_the_disk(source: MemorySource, dest: pathlib.Path) -> None:
    large = os.urandom(5000)
    dest.mkdir()
    (dest / "a").write_bytes(b"old")
    with pytest.raises(StorageError, match=f"^destination {dest}: writing a: File too large"):
        pull(source, source.artifact(source.file("a", large)), dest)
    with pytest.raises(StorageError, match=f"^destination {dest}: writing a temporary file for d: File too large"):
        pull(source, source.artifact(source.folder("d", tar_gz(member("d/a", large)))), dest)
    with pytest.raises(StorageError, match=f"^destination {dest}: writing d/a: File too large"):
        pull(source, source.artifact(source.folder("d", tar_gz(member("d/a", bytes(5000))))), dest)
    assert tree(dest) == {"a": b"old", "d": None}
    root = source.artifact(source.folder("d", tar_gz(member("d/a", large))))
    assert pull(source, root, dest, check=True).changed, "check mode writes nothing, not even temporary files"


def test_an_error_of_the_disk_while_writing_has_a_path(dest: pathlib.Path) -> None:
    dest.mkdir()
    destination = Destination(str(dest))
    with pytest.raises(StorageError, match=f"^destination {dest}: writing into {dest}: Input/output error$"), destination.writing():
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    with destination.writing():  # the lock is free again
        destination.write_file(("a",), [b"content"])
    assert tree(dest) == {"a": b"content"}


def test_pulls_at_the_same_time_do_not_mix(source: MemorySource, dest: pathlib.Path) -> None:
    names = [f"f{number}" for number in range(8)]
    versions = [
        source.artifact(*(source.file(name, f"{name} {version}".encode()) for name in names), source.folder("d", tar_gz(*TREE)))
        for version in range(4)
    ]
    errors: t.List[BaseException] = []

    def work(root: Descriptor) -> None:
        try:
            pull(source, root, dest, receipt=False)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(root,)) for root in versions * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({(dest / name).read_text().split()[1] for name in names}) == 1
    assert sorted(path.name for path in dest.iterdir()) == ["d", *names]


def test_what_was_planned_is_compared_again_under_the_lock(source: MemorySource, dest: pathlib.Path) -> None:
    """Another pull that came in between has replaced a file that was right when this one was planned."""
    first = source.artifact(source.file("a", b"1"), source.file("b", b"1"))
    second = source.artifact(source.file("a", b"2"), source.file("b", b"2"))
    pull(source, first, dest)
    (dest / "b").unlink()
    parts = parts_of(source, first, dest)
    plan = plan_unpack(parts)
    pull(source, second, dest)
    done = apply_unpack(plan, parts)
    assert tree(dest) == {"a": b"1", "b": b"1"} and [one.changed for one in done.items] == [True, True]


def parts_of(source: MemorySource, root: Descriptor, dest: pathlib.Path) -> Pull:
    known, destination = Receipt(str(dest), pytest.fail), Destination(str(dest))
    return Pull(source, select(source, root, known), destination, FolderBlobs(source, destination, known, Limits(), keep=True))


class Slow(MemorySource):
    """Gives the content ``slow`` byte by byte, once the content ``bad`` has failed, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = threading.Event()
        self.given = 0

    def _open(self, desc: Descriptor) -> t.Any:
        if desc.size != 5000:
            self.failed.set()
            raise NotFoundError("bad")
        return self

    def read(self, _size: int) -> bytes:
        assert self.failed.wait(10)
        time.sleep(0.001)
        self.given += 1
        return b"x"

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_first_fault_ends_the_other_transfers(dest: pathlib.Path, kind: str) -> None:
    source = Slow()
    layers = [getattr(source, kind)("slow", b"x" * 5000), getattr(source, kind)("bad", b"bad"), getattr(source, kind)("late", b"late")]
    root = Descriptor.of(source.contents[source.artifact(*layers).digest], mediatype.OCI_MANIFEST)
    known, destination = Receipt(str(dest), pytest.fail), Destination(str(dest))
    document = Descriptor(root.media_type, root.digest, root.size, data=source.contents[root.digest])
    blobs = FolderBlobs(source, destination, known, Limits(), keep=True)
    parts = Pull(source, select(source, document, known), destination, blobs)
    with pytest.raises(NotFoundError, match="source memory: bad: bad"):
        apply_unpack(plan_unpack(parts), parts, concurrency=2)
    assert source.given < 2500


# --- the receipt


def test_the_second_run_reads_nothing(source: MemorySource, dest: pathlib.Path) -> None:
    child = source.artifact(source.file("a", b"1"), source.folder("d", tar_gz(*TREE)))
    root = source.index(child)
    first = pull(source, root, dest)
    assert stats_of(first).manifests_transferred == 2
    assert stats_of(first).bytes_transferred == root.size + child.size + 1 + len(tar_gz(*TREE))
    source.opened.clear()
    second = pull(source, root, dest)
    assert source.opened == [] and not second.changed and stats_of(second).bytes_transferred == 0

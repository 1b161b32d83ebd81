# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import io
import os
import pathlib
import tarfile
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content import archive, tar_source
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive_file import ArchiveFile
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Incoming, bytes_opener
from ansible_collections.lading.oci.plugins.module_utils._oci.content.tar_source import TarSource
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError, OCIError, StorageError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import (
    BLOB,
    TargetContract,
    image,
    store,
)

LAYER = Descriptor.of(BLOB, mediatype.OCI_LAYER)
BLOB_NAME = f"blobs/sha256/{LAYER.digest.encoded}"


class TestContract(TargetContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: pathlib.Path) -> None:
        self.path = tmp_path / "image.tar"

    def target(self) -> Archive:
        return Archive(str(self.path))


@pytest.fixture(name="path")
def _archive(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "image.tar"
    store(Archive(str(path)), ["v1"], BLOB)
    return path


Members = t.List[t.Tuple[tarfile.TarInfo, bytes]]


def read_members(path: pathlib.Path) -> Members:
    with tarfile.open(path) as archive:
        return [(info, archive.extractfile(info).read() if info.isreg() else b"") for info in archive]  # type: ignore[union-attr]


def write_members(path: pathlib.Path, members: Members, form: int = tarfile.PAX_FORMAT) -> None:
    with tarfile.open(path, "w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))


def link(name: str, target: str, kind: bytes) -> t.Tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def test_the_same_content_is_the_same_bytes(tmp_path: pathlib.Path) -> None:
    one, two = tmp_path / "one.tar", tmp_path / "two.tar"
    for path, order in ((one, ["a", "b", "c"]), (two, ["c", "a", "b"])):
        for reference in order:
            store(Archive(str(path)), [reference], reference.encode(), BLOB)
    assert one.read_bytes() == two.read_bytes()


def test_members_carry_nothing_of_the_host(path: pathlib.Path) -> None:
    members = [info for info, _content in read_members(path)]
    assert [info.name for info in members][0] == "oci-layout" and members[-1].name == "index.json"
    assert {(info.mtime, info.uid, info.gid, info.uname) for info in members} == {(0, 0, 0, "")}


def test_nothing_is_written_when_nothing_changes(path: pathlib.Path) -> None:
    before = path.stat()
    archive = Archive(str(path))
    archive.untag("absent")
    assert path.stat().st_ino == before.st_ino and path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_new_ref_keeps_the_others_and_foreign_members(path: pathlib.Path) -> None:
    members = read_members(path)
    extra = tarfile.TarInfo("manifest.json")
    extra.size = 2
    write_members(path, [(extra, b"[]"), *members])
    store(Archive(str(path)), ["v2"], b"other")
    archive = Archive(str(path))
    assert archive.index.names == ["v1", "v2"]
    assert archive.fetch_bytes(LAYER) == BLOB
    assert ("manifest.json", b"[]") in [(info.name, content) for info, content in read_members(path)]


def test_a_moved_ref_leaves_no_orphans_but_foreign_blobs_stay(path: pathlib.Path) -> None:
    foreign = tarfile.TarInfo("blobs/sha256/" + "0" * 64)
    foreign.size = 3
    write_members(path, [*read_members(path), (foreign, b"abc")])
    store(Archive(str(path)), ["v1"], b"new layer")
    names = [info.name for info, _content in read_members(path)]
    assert BLOB_NAME not in names and foreign.name in names


def test_untag_drops_what_only_that_ref_kept(path: pathlib.Path) -> None:
    store(Archive(str(path)), ["v2"], b"other", BLOB)
    Archive(str(path)).untag("v2")
    archive = Archive(str(path))
    assert archive.index.names == ["v1"] and archive.fetch_bytes(LAYER) == BLOB
    assert not archive.exists(Descriptor.of(b"other", mediatype.OCI_LAYER))


def test_a_failed_write_leaves_the_old_tar_and_no_litter(path: pathlib.Path) -> None:
    before = path.read_bytes()
    root, _manifest, _blobs = image(b"new")
    with pytest.raises(OCIError, match="link broke"):
        archive = Archive(str(path))
        with archive.receiving(Incoming(root, ("v2",), (root,))):
            raise OCIError("link broke")
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_announced_content_must_come(path: pathlib.Path) -> None:
    root, _manifest, _blobs = image(b"new")
    with pytest.raises(StorageError, match="were not written"):
        with Archive(str(path)).receiving(Incoming(root, ("v2",), (root,))):
            pass
    assert Archive(str(path)).lookup("v2") is None


def test_what_the_plan_relied_on_must_still_be_there(path: pathlib.Path) -> None:
    root, manifest, _blobs = image(b"new")
    gone = Descriptor.of(b"gone", mediatype.OCI_LAYER)
    with pytest.raises(StorageError, match="run again"):
        archive = Archive(str(path))
        with archive.receiving(Incoming(root, ("v2",), (root,), kept=(gone,))):
            archive.tag(root, manifest, ["v2"])


def test_two_tars_in_one_folder_are_written_at_the_same_time(path: pathlib.Path) -> None:
    other = path.parent / "other.tar"
    root, manifest, blobs = image(b"slow")
    slow = Archive(str(path))
    with slow.receiving(Incoming(root, ("v2",), (*(desc for desc, _content in blobs), root))):
        store(Archive(str(other)), ["v1"], b"quick")
        for desc, content in blobs:
            slow.push(desc, bytes_opener(desc, content))
        slow.tag(root, manifest, ["v2"])
    assert Archive(str(path)).index.names == ["v1", "v2"] and Archive(str(other)).index.names == ["v1"]
    assert sorted(os.listdir(path.parent)) == ["image.tar", "other.tar"]


def test_permission_bits_are_kept(path: pathlib.Path) -> None:
    path.chmod(0o640)
    store(Archive(str(path)), ["v2"], b"other")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_to_the_tar_stays_a_link(path: pathlib.Path) -> None:
    linked = path.parent / "current.tar"
    linked.symlink_to(path.name)
    store(Archive(str(linked)), ["v2"], b"other")
    assert linked.is_symlink() and Archive(str(path)).index.names == ["v1", "v2"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_any_order_prefix_and_format_is_read(path: pathlib.Path, form: int, prefix: str) -> None:
    members = list(reversed(read_members(path)))
    for info, _content in members:
        info.name = prefix + info.name
    write_members(path, members, form)
    assert Archive(str(path)).fetch_bytes(LAYER) == BLOB
    assert Archive(str(path)).lookup("v1") is not None


def test_a_tar_without_folder_members_is_read(path: pathlib.Path) -> None:
    write_members(path, [(info, content) for info, content in read_members(path) if info.isreg()])
    assert Archive(str(path)).fetch_bytes(LAYER) == BLOB


def test_a_hard_link_inside_the_tar_is_read_and_written_as_a_file(path: pathlib.Path) -> None:
    members = read_members(path)
    stored = next(info for info, _content in members if info.name == BLOB_NAME)
    stored.name = "layer.tar"
    write_members(path, [*members, link(BLOB_NAME, "layer.tar", tarfile.LNKTYPE)])
    assert Archive(str(path)).fetch_bytes(LAYER) == BLOB
    store(Archive(str(path)), ["v2"], b"other")
    assert Archive(str(path)).fetch_bytes(LAYER) == BLOB


def test_a_gzip_tar_is_read_and_not_written(path: pathlib.Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert Archive(str(path)).fetch_bytes(LAYER) == BLOB
    before = path.read_bytes()
    with pytest.raises(InvalidError, match="gzip-compressed"):
        store(Archive(str(path)), ["v2"], b"other")
    assert path.read_bytes() == before


def test_a_gzip_bomb_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.lading.oci.plugins.module_utils._oci.content import codec

    monkeypatch.setattr(codec, "_FREE", 4 * 1024 * 1024)
    path = tmp_path / "bomb.tar"
    path.write_bytes(gzip.compress(bytes(16 * 1024 * 1024)))
    with pytest.raises(InvalidError, match="bomb"):
        Archive(str(path)).resolve("v1")


@pytest.mark.parametrize("cut", [10, 300])
def test_a_cut_gzip_is_refused(path: pathlib.Path, cut: int) -> None:
    path.write_bytes(gzip.compress(path.read_bytes())[:-cut])
    with pytest.raises(InvalidError, match="broken"):
        Archive(str(path)).resolve("v1")


@pytest.mark.parametrize(
    "magic, name", [(b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh9", "bzip2")], ids=["xz", "zstd", "bzip2"]
)
def test_broken_compressions_are_named(tmp_path: pathlib.Path, magic: bytes, name: str) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(magic + bytes(1024))
    with pytest.raises(InvalidError, match=f"the {name} around the tar is broken {name}"):
        Archive(str(path)).resolve("v1")


@pytest.mark.parametrize("module, name", [("lzma", "xz"), ("bz2", "bzip2"), ("zstandard", "zstd")])
def test_other_compressions_are_read_and_not_written(path: pathlib.Path, module: str, name: str) -> None:
    packer = pytest.importorskip(module)
    path.write_bytes(packer.compress(path.read_bytes()))
    assert Archive(str(path)).fetch_bytes(LAYER) == BLOB
    with pytest.raises(InvalidError, match=f"{name}-compressed: it can be read, but not written"):
        store(Archive(str(path)), ["v2"], b"other")
    assert os.listdir(path.parent) == [path.name], "what was decompressed has no name"


@pytest.mark.parametrize(
    "extra",
    [
        link("blobs/sha256/" + "1" * 64, "../../../../etc/passwd", tarfile.SYMTYPE),
        link("blobs/sha256/" + "1" * 64, "/etc/passwd", tarfile.LNKTYPE),
        link("index.json", "other.json", tarfile.SYMTYPE),
        link("oci-layout", "", tarfile.FIFOTYPE),
        link("blobs", "/etc", tarfile.SYMTYPE),
        (tarfile.TarInfo("../outside"), b""),
        (tarfile.TarInfo("/absolute"), b""),
        (tarfile.TarInfo("index.json"), b""),
        (tarfile.TarInfo("./oci-layout"), b""),
    ],
    ids=["symlink", "hardlink", "index-link", "fifo", "folder-link", "dotdot", "absolute", "index-twice", "oci-layout-twice"],
)
def test_hostile_members_are_refused(path: pathlib.Path, extra: t.Tuple[tarfile.TarInfo, bytes]) -> None:
    write_members(path, [*read_members(path), extra])
    with pytest.raises(InvalidError):
        Archive(str(path)).resolve("v1")


@pytest.mark.parametrize("cut", [512, 1500, 5000])
def test_a_cut_tar_is_refused(path: pathlib.Path, cut: int) -> None:
    os.truncate(path, path.stat().st_size - 1024 - cut)
    with pytest.raises(InvalidError):
        Archive(str(path)).resolve("v1")


def test_a_cut_is_called_one(path: pathlib.Path) -> None:
    """Wherever it is: what is cut off may be whole members, or the padding behind one."""
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        ends = [member.offset_data + member.size for member in tar.getmembers()]
    for end in [0, ends[-3], ends[-3] + 1, ends[-2], ends[-2] - 1, -(-ends[-2] // 512) * 512, ends[-1] - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(InvalidError, match=r"the tar is cut short.*\(copy it here once more\)"):
            TarSource(str(path)).resolve("v1")
    path.write_bytes(whole[: ends[-1]])
    assert TarSource(str(path)).resolve("v1"), "some tools leave out the zeros at the end"


def test_a_whole_tar_of_other_files_is_not_called_cut(tmp_path: pathlib.Path) -> None:
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    with pytest.raises(InvalidError, match=r"the tar is not an OCI layout: no oci-layout in it$"):
        TarSource(str(tmp_path / "other.tar")).resolve("v1")


@pytest.mark.parametrize("content", [b"", b"not a tar" * 200, bytes(10240)], ids=["empty", "text", "zeros"])
def test_what_is_no_layout_tar_is_left_alone(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(InvalidError):
        store(Archive(str(path)), ["v1"], BLOB)
    assert path.read_bytes() == content


def test_members_are_counted_whatever_their_names(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Archive(str(path)).resolve("v1")
    monkeypatch.setattr("ansible_collections.lading.oci.plugins.module_utils._oci.content.archive_file._MAX_MEMBERS", 20)
    with tarfile.open(path, "a") as archive:
        for _number in range(20):
            archive.addfile(tarfile.TarInfo("same"))
    with pytest.raises(InvalidError, match="more than 20 members"):
        Archive(str(path)).resolve("v1")


def test_a_fifo_does_not_block(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "image.tar")
    with pytest.raises(InvalidError, match="not a regular file"):
        Archive(str(tmp_path / "image.tar")).resolve("v1")


def test_the_folder_of_a_tar_is_made(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a" / "b" / "image.tar"
    store(Archive(str(path)), ["v1"], BLOB)
    assert Archive(str(path)).fetch_bytes(LAYER) == BLOB


def test_a_blob_of_another_size_is_not_opened(path: pathlib.Path) -> None:
    for size in (len(BLOB) - 1, len(BLOB) + 1):
        with pytest.raises(InvalidError, match=f"has {len(BLOB)} bytes, its descriptor says {size}"):
            Archive(str(path)).fetch(Descriptor(mediatype.OCI_LAYER, LAYER.digest, size))


def test_an_absent_archive_is_said_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        Archive(str(tmp_path / "absent.tar")).resolve("v1")


def test_a_nested_manifest_is_found_by_digest(tmp_path: pathlib.Path) -> None:
    from ansible_collections.lading.oci.plugins.module_utils._oci.spec import strictjson

    path = str(tmp_path / "image.tar")
    child = store(Archive(path), ["child"], BLOB)
    document = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [child.to_json()]}
    content = strictjson.dumps(document)
    root = Descriptor.of(content, mediatype.OCI_INDEX)
    archive = Archive(path)
    with archive.receiving(Incoming(root, ("multi",), (root,), (child,))):
        archive.push(root, bytes_opener(root, content))
        archive.tag(root, content, ["multi"])
    Archive(path).untag("child")
    assert Archive(path).resolve(child.digest) == child
    assert Archive(path).fetch_bytes(LAYER) == BLOB
    with pytest.raises(NotFoundError):
        Archive(path).resolve("sha256:" + "0" * 64)


def test_copying_from_the_tar_to_a_folder_keeps_bytes(path: pathlib.Path) -> None:
    from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy

    source, target = Archive(str(path)), Layout(str(path.parent / "layout"))
    apply_copy(plan_copy(source, source.resolve("v1"), target, ["v1"]), source, target)
    assert Layout(str(path.parent / "layout")).resolve("v1") == source.resolve("v1")


@pytest.mark.parametrize("kind", [archive.Archive, tar_source.TarSource])
def test_threads_that_come_first_share_one_file(kind: t.Any, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that opened it for itself would close the other's, which somebody reads from by its number."""
    real, both = archive.ArchiveFile, threading.Barrier(2)
    opened: t.List[ArchiveFile] = []

    def slow(name: str) -> ArchiveFile:
        opened.append(real(name))
        time.sleep(0.2)
        return opened[-1]

    for module in (archive, tar_source):
        monkeypatch.setattr(module, "ArchiveFile", slow)
    store = kind(str(path))

    def read(_number: int) -> bytes:
        both.wait(10)
        return t.cast(bytes, store.fetch_bytes(LAYER))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(read, range(2))) == [BLOB, BLOB]
    assert len(opened) == 1

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

"""store, beneath, lock, tar: the pieces under layouts and tars."""

import errno
import hashlib
import io
import os
import pathlib
import stat
import subprocess
import sys
import tarfile
import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content import tar
from ansible_collections.lading.oci.plugins.module_utils._oci.content.beneath import (
    NewFile,
    default_mode,
    folder,
    folder_beneath,
    open_beneath,
    sweep,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.content.codec import inflated
from ansible_collections.lading.oci.plugins.module_utils._oci.content.lock import locked, locked_file
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source, VerifyingReader
from ansible_collections.lading.oci.plugins.module_utils._oci.content.writing import replace_link
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import (
    CancelledError,
    InvalidError,
    MismatchError,
    NotFoundError,
    StorageError,
)
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource

CONTENT = b"0123456789"
DESC = Descriptor.of(CONTENT, "text/plain")


class TestVerifyingReader:
    def test_the_last_bytes_of_wrong_content_are_never_handed_out(self) -> None:
        reader = VerifyingReader(DESC, io.BytesIO(b"012345678X"))
        assert reader.read(4) == b"0123"
        with pytest.raises(MismatchError, match="another digest"):
            reader.read(100)

    def test_content_that_is_too_short_or_too_long(self) -> None:
        with pytest.raises(MismatchError, match="ends after 9 of 10"):
            list(VerifyingReader(DESC, io.BytesIO(CONTENT[:-1])).chunks())
        with pytest.raises(MismatchError, match="longer"):
            list(VerifyingReader(DESC, io.BytesIO(CONTENT + b"x")).chunks())

    def test_a_wrong_size_counts_although_the_digest_is_right(self) -> None:
        with pytest.raises(MismatchError):
            list(VerifyingReader(Descriptor("text/plain", DESC.digest, 11), io.BytesIO(CONTENT)).chunks())

    def test_empty_content_is_verified_too(self) -> None:
        empty = Descriptor.of(b"", "text/plain")
        assert list(VerifyingReader(empty, io.BytesIO(b"")).chunks()) == []
        with pytest.raises(MismatchError):
            list(VerifyingReader(empty, io.BytesIO(b"x")).chunks())
        with pytest.raises(MismatchError):
            list(VerifyingReader(Descriptor("text/plain", DESC.digest, 0), io.BytesIO(b"")).chunks())

    def test_rewinding_verifies_first(self) -> None:
        found = VerifyingReader(DESC, io.BytesIO(CONTENT)).rewindable()
        assert found is not None and found.read(3) == b"012"
        with pytest.raises(MismatchError):
            VerifyingReader(DESC, io.BytesIO(CONTENT[::-1])).rewindable()

    def test_behind_the_end_there_is_nothing(self) -> None:
        reader = VerifyingReader(DESC, io.BytesIO(CONTENT))
        assert b"".join(reader.chunks()) == CONTENT and reader.read() == b""
        assert VerifyingReader(DESC, io.BytesIO(CONTENT)).read(0) == b""

    def test_a_verified_reader_stays_at_its_end_when_its_file_is_rewound(self) -> None:
        reader = VerifyingReader(DESC, io.BytesIO(CONTENT))
        assert reader.rewindable() is not None and reader.read() == b""

    def test_it_can_be_stopped(self) -> None:
        reader = VerifyingReader(DESC, io.BytesIO(CONTENT))
        reader.stop = threading.Event()
        assert reader.read(1) == b"0"
        reader.stop.set()
        with pytest.raises(CancelledError):
            reader.read(1)

    def test_errors_of_the_disk_are_translated_while_reading(self) -> None:
        class Broken:
            def read(self, size: int) -> bytes:
                raise OSError(errno.EIO, "Input/output error")

            def close(self) -> None:
                """Nothing."""

        with pytest.raises(StorageError, match="source x: .*Input/output error"):
            VerifyingReader(DESC, Broken(), "source x").read(1)


def test_a_source_without_names_has_none() -> None:
    assert Source.names(MemorySource()) == []


class TestBeneath:
    @pytest.fixture(name="root")
    def _root(self, tmp_path: pathlib.Path) -> pathlib.Path:
        (tmp_path / "root" / "a" / "b").mkdir(parents=True)
        (tmp_path / "root" / "a" / "b" / "file").write_bytes(CONTENT)
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "file").write_text("secret")
        return tmp_path / "root"

    def read(self, root: pathlib.Path, *parts: str) -> bytes:
        with folder(str(root)) as descriptor, open_beneath(descriptor, parts) as file:
            return file.read()

    def test_a_file_is_read(self, root: pathlib.Path) -> None:
        assert self.read(root, "a", "b", "file") == CONTENT
        with pytest.raises(NotFoundError):
            self.read(root, "a", "c", "file")

    @pytest.mark.parametrize("parts", [("..", "outside", "file"), ("a", "..", "x"), ("a/b", "file"), ("", "a"), (".",), ("a", "fi\0le")])
    def test_parts_that_are_no_names(self, root: pathlib.Path, parts: t.Tuple[str, ...]) -> None:
        with pytest.raises(InvalidError):
            self.read(root, *parts)

    def test_links_are_not_followed_anywhere(self, root: pathlib.Path) -> None:
        (root / "folder").symlink_to(root.parent / "outside")
        (root / "inside").symlink_to("a")
        (root / "link").symlink_to(root.parent / "outside" / "file")
        for parts in (("folder", "file"), ("link",), ("inside", "b", "file")):
            with pytest.raises(InvalidError, match="is a link"):
                self.read(root, *parts)

    def test_an_error_of_the_disk_is_none_of_the_path(self, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A folder that cannot be opened is no "link or not a folder"; what is one, still is."""
        (root / "link").symlink_to("a")
        opened = os.open

        def broken(path: t.Any, flags: int, *args: t.Any, **options: t.Any) -> int:
            if path in ("b", "link"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return opened(path, flags, *args, **options)

        with folder(str(root)) as descriptor:
            monkeypatch.setattr(os, "open", broken)
            with pytest.raises(OSError, match="Input/output error"), folder_beneath(descriptor, ["a", "b"]):
                pass
            with pytest.raises(InvalidError, match="link is a link or not a folder"), folder_beneath(descriptor, ["link"]):
                pass

    def test_a_fifo_or_folder_does_not_block(self, root: pathlib.Path) -> None:
        os.mkfifo(root / "fifo")
        for name in ("fifo", "a"):
            with pytest.raises(InvalidError, match="not a regular file"):
                self.read(root, name)

    def test_folders_are_made_when_asked(self, root: pathlib.Path) -> None:
        with folder(str(root)) as descriptor:
            with pytest.raises(NotFoundError), folder_beneath(descriptor, ["x", "y"]):
                pass
            with folder_beneath(descriptor, ["x", "y"], create_mode=0o777):
                pass
        assert stat.S_IMODE((root / "x" / "y").stat().st_mode) == default_mode(0o777)

    def test_a_new_file_appears_whole_or_not_at_all(self, root: pathlib.Path) -> None:
        with folder(str(root)) as descriptor:
            with NewFile(descriptor, 0o640) as file:
                file.write(CONTENT)
                temporary = [path for path in root.iterdir() if path.name.startswith(".lading-")]
                assert [stat.S_IMODE(path.stat().st_mode) for path in temporary] == [0o600]
                file.commit("new")
            with pytest.raises(RuntimeError), NewFile(descriptor) as file:
                file.write(CONTENT)
                raise RuntimeError
        assert (root / "new").read_bytes() == CONTENT and stat.S_IMODE((root / "new").stat().st_mode) == 0o640
        assert sorted(os.listdir(root)) == ["a", "new"]

    def test_a_new_file_replaces_a_link_and_not_its_target(self, root: pathlib.Path) -> None:
        (root / "link").symlink_to(root.parent / "outside" / "file")
        with folder(str(root)) as descriptor, NewFile(descriptor) as file:
            file.write(CONTENT)
            file.commit("link")
        assert not (root / "link").is_symlink() and (root.parent / "outside" / "file").read_text() == "secret"

    def test_sweeping_takes_the_dead_and_leaves_the_living(self, root: pathlib.Path) -> None:
        (root / ".lading-dead").write_text("part")
        (root / ".lading-link").symlink_to("nowhere")
        (root / ".lading-folder").mkdir()
        with folder(str(root)) as descriptor, NewFile(descriptor) as living:
            sweep(descriptor)
            living.write(CONTENT)
            living.commit("new")
        assert sorted(os.listdir(root)) == [".lading-folder", "a", "new"]

    def test_replacing_a_link(self, root: pathlib.Path) -> None:
        with folder(str(root)) as descriptor:
            replace_link(descriptor, "link", "one")
            replace_link(descriptor, "link", "two")
        assert os.readlink(root / "link") == "two" and sorted(os.listdir(root)) == ["a", "link"]


class TestLock:
    def test_another_process_waits_and_is_told(self, tmp_path: pathlib.Path) -> None:
        script = "import fcntl,os,sys; d=os.open(sys.argv[1],os.O_RDONLY); fcntl.flock(d,fcntl.LOCK_EX); print('held',flush=True); input()"
        command = [sys.executable, "-c", script, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder, folder(str(tmp_path)) as descriptor:
            assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
            with pytest.raises(StorageError, match="the layout is locked by another process"), locked(descriptor, "the layout", wait=0.1):
                pass
            holder.communicate(b"\n")
            with locked(descriptor, "the layout", wait=5):
                pass
        assert os.listdir(tmp_path) == []

    def test_a_shared_lock_keeps_out_who_wants_it_alone(self, tmp_path: pathlib.Path) -> None:
        with folder(str(tmp_path)) as descriptor:
            with locked(descriptor, "it", shared=True), locked(descriptor, "it", wait=0.1, shared=True):
                with pytest.raises(StorageError, match="it is locked"), locked(descriptor, "it", wait=0.1):
                    pass
            with locked(descriptor, "it", wait=0.1):
                with pytest.raises(StorageError, match="it is locked"), locked(descriptor, "it", wait=0.1, shared=True):
                    pass

    def test_a_refusal_comes_after_the_wait_and_leaves_nothing_open(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "a.tar").touch()
        with folder(str(tmp_path)) as descriptor, locked(descriptor, "it"), locked_file(descriptor, "a.tar", "a.tar"):
            before = len(os.listdir("/dev/fd"))
            for refused in (locked(descriptor, "it", wait=0.1), locked_file(descriptor, "a.tar", "it", wait=0.1)):
                start = time.monotonic()
                with pytest.raises(StorageError, match="it is locked"), refused:
                    pass
                assert time.monotonic() - start >= 0.1
            assert len(os.listdir("/dev/fd")) == before

    def test_a_fifo_of_the_name_keeps_nobody_waiting(self, tmp_path: pathlib.Path) -> None:
        os.mkfifo(tmp_path / "a.tar")
        with folder(str(tmp_path)) as descriptor, locked_file(descriptor, "a.tar", "a.tar", wait=0.1):
            assert stat.S_ISFIFO(os.stat(tmp_path / "a.tar").st_mode)

    def test_files_are_locked_one_by_one(self, tmp_path: pathlib.Path) -> None:
        for name in ("a.tar", "b.tar"):
            (tmp_path / name).write_text(name)
        with folder(str(tmp_path)) as descriptor:
            with locked_file(descriptor, "a.tar", "a.tar"):
                with pytest.raises(StorageError, match="a.tar is locked"), locked_file(descriptor, "a.tar", "a.tar", wait=0.1):
                    pass
                with locked_file(descriptor, "b.tar", "b.tar", wait=0.1), locked_file(descriptor, "new.tar", "new.tar", wait=0.1):
                    pass
            with locked_file(descriptor, "a.tar", "a.tar", wait=0.1):
                pass
        assert sorted(os.listdir(tmp_path)) == ["a.tar", "b.tar"]

    def test_a_replaced_file_is_locked_anew(self, tmp_path: pathlib.Path) -> None:
        """Who waited for the old file must not work beside the one who waits for the new."""
        (tmp_path / "a.tar").write_text("old")
        order: t.List[str] = []

        def second() -> None:
            with folder(str(tmp_path)) as mine, locked_file(mine, "a.tar", "a.tar", wait=10):
                order.append((tmp_path / "a.tar").read_text())

        with folder(str(tmp_path)) as descriptor:
            with locked_file(descriptor, "a.tar", "a.tar"):
                waiting = threading.Thread(target=second)
                waiting.start()
                with NewFile(descriptor) as new:
                    new.write(b"new")
                    new.commit("a.tar")
                with locked_file(descriptor, "a.tar", "the new one", wait=1):
                    pass
                order.append("first")
            waiting.join()
        assert order == ["first", "new"] or order == ["new", "first"]

    def test_a_file_that_is_replaced_while_it_is_waited_for_does_not_stay_open(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "a.tar").write_text("old")
        with folder(str(tmp_path)) as descriptor:
            before = len(os.listdir("/dev/fd"))
            with locked_file(descriptor, "a.tar", "a.tar"):
                waiting = threading.Thread(target=self._lock_once, args=(descriptor,))
                waiting.start()
                deadline = time.monotonic() + 10
                while len(os.listdir("/dev/fd")) < before + 2 and time.monotonic() < deadline:
                    time.sleep(0.01)
                (tmp_path / "new").write_text("new")
                os.replace(tmp_path / "new", tmp_path / "a.tar")
            waiting.join()
            assert len(os.listdir("/dev/fd")) == before

    @staticmethod
    def _lock_once(descriptor: int) -> None:
        with locked_file(descriptor, "a.tar", "a.tar", wait=10):
            pass

    def test_a_file_that_is_made_meanwhile_is_locked_itself(self, tmp_path: pathlib.Path) -> None:
        with folder(str(tmp_path)) as descriptor:
            with locked_file(descriptor, "a.tar", "a.tar"):
                with pytest.raises(StorageError), locked_file(descriptor, "b.tar", "b.tar", wait=0.1):
                    pass
            (tmp_path / "a.tar").write_text("made")
            with locked_file(descriptor, "a.tar", "a.tar", wait=0.1), locked_file(descriptor, "b.tar", "b.tar", wait=0.1):
                pass

    def test_threads_exclude_each_other(self, tmp_path: pathlib.Path) -> None:
        with folder(str(tmp_path)) as descriptor, locked(descriptor, "it"):
            with pytest.raises(StorageError), locked(descriptor, "it", wait=0.1):
                pass


def read_all(content: bytes, length: t.Optional[int] = None) -> t.List[t.Tuple[tar.Entry, bytes]]:
    reader = tar.TarReader(io.BytesIO(content), length)
    return [(entry, b"".join(iter(lambda: reader.read(7), b""))) for entry in reader]


ENTRIES = [
    tar.Entry("plain.txt", size=3, mode=0o640, uid=5, gid=6, mtime=7),
    tar.Entry("folder", tar.DIRECTORY, mode=0o755),
    tar.Entry("x" * 150 + "/" + "y" * 150, size=600),
    tar.Entry("ünïcode", size=1),
    tar.Entry("link", tar.SYMLINK, link="z" * 200),
    tar.Entry("hard", tar.HARD_LINK, link="plain.txt"),
    tar.Entry("ids", uid=3_000_000, gid=4_000_000, mtime=2**40),
]


def encoded(entries: t.Sequence[tar.Entry]) -> bytes:
    return b"".join(tar.encode(e) + b"q" * e.size + bytes(tar.padding(e.size)) for e in entries) + tar.END


class TestTar:
    def test_python_reads_what_we_write(self) -> None:
        with tarfile.open(fileobj=io.BytesIO(encoded(ENTRIES))) as archive:
            for entry, info in zip(ENTRIES, archive):
                assert (info.name, info.size, info.mode, info.uid, info.gid, int(info.mtime), info.linkname) == (
                    entry.name,
                    entry.size,
                    entry.mode,
                    entry.uid,
                    entry.gid,
                    entry.mtime,
                    entry.link,
                )

    def test_we_read_what_we_write(self) -> None:
        found = [entry for entry, _content in read_all(encoded(ENTRIES))]
        assert [(e.name.rstrip("/"), e.kind, e.size, e.uid, e.link) for e in found] == [
            (e.name, e.kind, e.size, e.uid, e.link) for e in ENTRIES
        ]

    def test_the_bytes_are_these(self) -> None:
        assert hashlib.sha256(encoded(ENTRIES)).hexdigest() == "ddfaddd209002d01d1686c0ebc795dcd8805c75ae0a2cf34126316b58dfe3000"

    @pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_we_read_what_python_writes(self, form: int) -> None:
        written = io.BytesIO()
        names = ["short", "a/" * 40 + "name", "p" * 90 + "/" + "q" * 90] + ([] if form == tarfile.USTAR_FORMAT else ["r" * 300, "é"])
        with tarfile.open(fileobj=written, mode="w", format=form) as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = 600
                archive.addfile(info, io.BytesIO(b"c" * 600))
        found = read_all(written.getvalue())
        assert [(entry.name, content) for entry, content in found] == [(name, b"c" * 600) for name in names]

    def test_files_over_eight_gibibytes(self) -> None:
        size = 9 * 1024**3
        for header in (tar.encode(tar.Entry("big", size=size)), gnu_header("big", size)):
            reader = tar.TarReader(io.BytesIO(header))
            assert next(iter(reader)).size == size

    def test_entries_that_lie_about_their_size(self) -> None:
        content = encoded([tar.Entry("a", size=600)])
        for cut in (513, 1000):
            with pytest.raises(InvalidError, match="cut short"):
                read_all(content[:cut], cut)
            with pytest.raises(InvalidError, match="cut short"):
                read_all(content[:cut])
        for size in (-1, 2**62, 10**30):
            body = tar._pax_record("size", str(size))
            header = tar._ustar(b"x", b"", tar.Entry("x", "x"), {"size": len(body), "uid": 0, "gid": 0, "mtime": 0})
            with pytest.raises(InvalidError):
                read_all(header + body + bytes(tar.padding(len(body))) + content, len(content) + 1024)

    def test_a_header_that_would_fill_the_memory(self) -> None:
        for kind in ("x", "g", "L", "K"):
            header = tar._ustar(b"x", b"", tar.Entry("x", kind), {"size": 32 * 1024**2, "uid": 0, "gid": 0, "mtime": 0})
            with pytest.raises(InvalidError, match="extended header of"):
                read_all(header)

    def test_many_headers_before_one_entry(self) -> None:
        body = tar._pax_record("comment", "c" * 1000)
        header = tar._ustar(b"x", b"", tar.Entry("x", "x"), {"size": len(body), "uid": 0, "gid": 0, "mtime": 0})
        record = header + body + bytes(tar.padding(len(body)))
        assert len(read_all(record * 600 + encoded([tar.Entry("a")]))) == 1
        with pytest.raises(InvalidError, match="limit 1048576 before one entry"):
            read_all(record * 1000 + encoded([tar.Entry("a")]))

    @pytest.mark.parametrize("more", [0, 1])
    def test_headers_of_one_entry_have_a_mebibyte(self, more: int) -> None:
        body = b"n" * ((1 << 20) + more)
        content = gnu_header("x", len(body), tarfile.GNUTYPE_LONGNAME) + body + bytes(tar.padding(len(body))) + encoded([tar.Entry("a")])
        if more:
            with pytest.raises(InvalidError, match="extended header of 1048577 bytes"):
                read_all(content)
        else:
            assert [entry.name for entry, _content in read_all(content)] == [body.decode()]

    def test_global_headers_are_small(self) -> None:
        for size, fits in ((1000, True), (20_000, False)):
            body = tar._pax_record("comment", "c" * size)
            header = tar._ustar(b"x", b"", tar.Entry("x", "g"), {"size": len(body), "uid": 0, "gid": 0, "mtime": 0})
            content = header + body + bytes(tar.padding(len(body))) + encoded([tar.Entry("a")])
            if fits:
                assert len(read_all(content)) == 1
            else:
                with pytest.raises(InvalidError, match="global headers"):
                    read_all(content)

    def test_a_header_of_many_records(self) -> None:
        body = b"".join(tar._pax_record(f"k{number}", "v") for number in range(50_000))
        assert len(tar._parse_pax(body)) == 50_000

    @pytest.mark.parametrize("body", [b"x path=a\n", b"99 path=a\n", b"0 p=a\n", b"path=a\n", b"12 size=abc\n", b"99999999999 a=b\n"])
    def test_broken_pax_headers(self, body: bytes) -> None:
        header = tar._ustar(b"x", b"", tar.Entry("x", "x"), {"size": len(body), "uid": 0, "gid": 0, "mtime": 0})
        with pytest.raises(InvalidError):
            read_all(header + body + bytes(tar.padding(len(body))) + encoded([tar.Entry("a")]))

    def test_a_pax_header_of_many_records_is_read_once(self) -> None:
        """Threat row 17: each of 170,000 records was cut off what follows it, which took a minute."""
        body = b"6 a=b\n" * (1024 * 1024 // 6)
        header = tar._ustar(b"x", b"", tar.Entry("x", "x"), {"size": len(body), "uid": 0, "gid": 0, "mtime": 0})
        start = time.process_time()
        ((entry, _content),) = read_all(header + body + bytes(tar.padding(len(body))) + tar.encode(tar.Entry("a")))
        assert entry.pax == {"a": "b"} and time.process_time() - start < 5

    def test_a_pax_key_may_have_any_bytes(self) -> None:
        key = "SCHILY.xattr.user.\udca2"
        ((entry, _content),) = read_all(tar.encode(tar.Entry("a", pax={key: "x"})))
        assert entry.pax == {key: "x"}

    def test_broken_headers(self) -> None:
        good = encoded([tar.Entry("a")])
        with pytest.raises(InvalidError, match="checksum"):
            read_all(b"b" + good[1:])
        with pytest.raises(InvalidError, match="cut short"):
            read_all(good[:100])
        with pytest.raises(InvalidError):
            read_all(b"text " * 300)

    def test_sparse_files_are_refused(self) -> None:
        header = tar._ustar(b"x", b"", tar.Entry("x", "S"), {"size": 0, "uid": 0, "gid": 0, "mtime": 0})
        with pytest.raises(InvalidError, match="sparse"):
            read_all(header + tar.END)
        body = tar._pax_record("GNU.sparse.major", "1")
        pax = tar._ustar(b"x", b"", tar.Entry("x", "x"), {"size": len(body), "uid": 0, "gid": 0, "mtime": 0})
        with pytest.raises(InvalidError, match="sparse"):
            read_all(pax + body + bytes(tar.padding(len(body))) + encoded([tar.Entry("a")]))

    def test_a_tar_without_end_records_is_read(self) -> None:
        assert len(read_all(encoded([tar.Entry("a", size=512)])[: -len(tar.END)])) == 1


def gnu_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def test_gzip_is_checked_to_its_end() -> None:
    import gzip

    packed = gzip.compress(CONTENT)
    assert b"".join(inflated(io.BytesIO(packed + packed), "gzip", "x")) == CONTENT * 2
    for broken in (packed[:-1], packed[:-8] + bytes(8), packed[:5], b"\x1f\x8b" + bytes(20)):
        with pytest.raises(InvalidError, match="x is broken gzip"):
            list(inflated(io.BytesIO(broken), "gzip", "x"))

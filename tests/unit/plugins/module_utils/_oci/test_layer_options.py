# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a layer: compression, paths taken away, owners and extended attributes; files of any size."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import pathlib
import tarfile
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import layer
from ansible_collections.lading.oci.plugins.module_utils._oci.build_options import BuildOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.content import codec, tar
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, OCIError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.test_build import Build, Params, layer_option, params

GIB = 1024**3


@pytest.fixture(name="tree")
def _tree(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "tree" / "bin").mkdir(parents=True)
    (tmp_path / "tree" / "bin" / "run").write_text("#!/bin/sh\n" * 1000)
    return tmp_path / "tree"


def absent(dest: t.Optional[str], **options: t.Any) -> Params:
    return {**layer_option(None, dest=dest, state="absent"), "src": None, **options}


def blob_of(build: Build, number: int = 0) -> bytes:
    return build.layout.fetch_bytes(build.manifest.layers[number])


def zstd() -> t.Any:
    return pytest.importorskip("zstandard")


class TestCompression:
    @pytest.mark.parametrize(
        "name, media_type", [("gzip", mediatype.OCI_LAYER_GZIP), ("zstd", mediatype.OCI_LAYER_ZSTD), ("none", mediatype.OCI_LAYER)]
    )
    def test_the_media_type_follows(self, tree: pathlib.Path, tmp_path: pathlib.Path, name: str, media_type: str) -> None:
        if name == "zstd":
            zstd()
        build = Build(tmp_path / "out", layers=[layer_option(tree, compression=name)])
        assert build.manifest.layers[0].media_type == media_type and codec.sniff(blob_of(build)) == name
        stream = codec.plain(io.BytesIO(blob_of(build)), "the layer")
        plain = b"".join(iter(lambda: stream.read(1024**2), b""))
        assert build.config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(plain).hexdigest()}"]
        assert not Build(tmp_path / "out", layers=[layer_option(tree, compression=name)]).plan.changed

    def test_the_level(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        low, high = (Build(tmp_path / str(level), layers=[layer_option(tree, compression_level=level)]) for level in (1, 9))
        assert low.manifest.layers[0].digest != high.manifest.layers[0].digest
        assert low.config["rootfs"] == high.config["rootfs"]

    def test_a_known_layer_with_another_compression_is_made_anew(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        first = Build(tmp_path / "out", layers=[layer_option(tree)])
        second = Build(tmp_path / "out", layers=[layer_option(tree, compression="none")])
        assert second.plan.changed and second.manifest.layers[0].media_type == mediatype.OCI_LAYER
        assert second.config["rootfs"] == first.config["rootfs"]

    def test_another_level_alone_changes_nothing(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        Build(tmp_path / "out", layers=[layer_option(tree)])
        assert not Build(tmp_path / "out", layers=[layer_option(tree, compression_level=1)]).plan.changed

    def test_known_layers_of_one_content_and_two_compressions(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        both = [layer_option(tree, compression="none"), layer_option(tree, compression="gzip")]
        Build(tmp_path / "out", layers=both)
        assert not Build(tmp_path / "out", layers=both).plan.changed

    @pytest.mark.parametrize(
        "options, says",
        [
            ({"compression_level": 10}, r"layers\[0\].compression_level is 10 with the compression gzip: it has the levels 1 to 9"),
            ({"compression": "zstd", "compression_level": 0}, r"is 0 with the compression zstd: it has the levels 1 to 19"),
            ({"compression": "none", "compression_level": 1}, r"is 1 with the compression none: it has no levels"),
        ],
    )
    def test_levels_that_are_not(self, tree: pathlib.Path, options: Params, says: str) -> None:
        with pytest.raises(InvalidError, match=says):
            BuildOptions(params(layers=[layer_option(tree, **options)]), {})


class TestGivenTars:
    @pytest.fixture(name="plain")
    def _plain(self, tree: pathlib.Path) -> bytes:
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode="w") as archive:
            archive.add(tree, arcname=".")
        return written.getvalue()

    def built(self, folder: pathlib.Path, name: str, content: bytes, **options: t.Any) -> Build:
        (folder / name).write_bytes(content)
        return Build(folder / "out", layers=[layer_option(folder / name, **options)])

    def test_zstd_is_the_blob(self, plain: bytes, tmp_path: pathlib.Path) -> None:
        packed = zstd().ZstdCompressor(level=1).compress(plain)
        for name in ("given.tar.zst", "given.tzst"):
            build = self.built(tmp_path, name, packed)
            assert blob_of(build) == packed and build.manifest.layers[0].media_type == mediatype.OCI_LAYER_ZSTD
            assert build.config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(plain).hexdigest()}"]

    @pytest.mark.parametrize(
        "name, packing", [("a.tar.xz", lzma.compress), ("a.txz", lzma.compress), ("a.tar.bz2", bz2.compress), ("a.tbz2", bz2.compress)]
    )
    def test_others_are_compressed_anew(self, name: str, packing: t.Callable[[bytes], bytes], plain: bytes, tmp_path: pathlib.Path) -> None:
        build = self.built(tmp_path, name, packing(plain))
        assert build.manifest.layers[0].media_type == mediatype.OCI_LAYER_GZIP and gzip.decompress(blob_of(build)) == plain
        assert not self.built(tmp_path, name, packing(plain)).plan.changed

    def test_a_compression_that_is_given_is_made(self, plain: bytes, tmp_path: pathlib.Path) -> None:
        packed = gzip.compress(plain, 1)
        assert blob_of(self.built(tmp_path, "given.tgz", packed, compression="none")) == plain
        again = blob_of(self.built(tmp_path, "given.tgz", packed, compression="gzip"))
        assert again != packed and gzip.decompress(again) == plain

    def test_broken_ones_are_named(self, plain: bytes, tmp_path: pathlib.Path) -> None:
        with pytest.raises(InvalidError, match=r"cut\.tar\.xz is broken xz: it ends too early"):
            self.built(tmp_path, "cut.tar.xz", lzma.compress(plain)[:-8])
        with pytest.raises(InvalidError, match=r"no\.tar\.bz2: this is no tar"):
            self.built(tmp_path, "no.tar.bz2", bz2.compress(b"x" * 2048))


class TestAbsent:
    def test_it_is_a_whiteout(self, tmp_path: pathlib.Path) -> None:
        members = Build(tmp_path / "out", layers=[absent("/etc/motd")], created="7").members()
        assert list(members) == ["etc/.wh.motd"]
        assert members["etc/.wh.motd"].isreg() and (members["etc/.wh.motd"].size, members["etc/.wh.motd"].mtime) == (0, 7)

    def test_consecutive_ones_share_a_layer(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        layers = [absent("/b"), absent("a/"), layer_option(tree), absent("/c"), absent("/d", compression="none")]
        build = Build(tmp_path / "out", layers=layers)
        assert [list(build.members(number)) for number in (0, 2, 3)] == [[".wh.a", ".wh.b"], [".wh.c"], [".wh.d"]]
        assert build.manifest.layers[3].media_type == mediatype.OCI_LAYER
        assert len(build.config["history"]) == len(build.config["rootfs"]["diff_ids"]) == 4
        assert not Build(tmp_path / "out", layers=layers).plan.changed

    def test_what_goes_with_its_folder_has_no_entry(self, tmp_path: pathlib.Path) -> None:
        layers = [absent("/a/b/c"), absent("/a/b"), absent("/a/bc"), absent("/a/bc")]
        assert list(Build(tmp_path / "out", layers=layers).members()) == ["a/.wh.b", "a/.wh.bc"]

    @pytest.mark.parametrize(
        "item, says",
        [
            (absent("/"), "needs a dest, which must not be the top of the image"),
            (absent(None), "needs a dest"),
            (absent("/a/../b"), r"layers\[0\].dest is '/a/../b'"),
            (absent("/etc/.wh.motd"), r"names that start with \.wh\. mark what is taken away"),
            (layer_option("/etc", dest="/a/.wh.b/c"), r"names that start with \.wh\. mark"),
            (absent("/a\0b"), "it is not text that a tar can hold"),
            (layer_option("/etc", dest="/\ud800/a"), "it is not text that a tar can hold"),
            (absent("/a", src="/etc/motd"), "src cannot be given with it"),
            (absent("/a", mode="0644"), "mode cannot be given with it"),
            ({**layer_option(None), "src": None}, r"layers\[0\] needs a src, unless its state is absent"),
        ],
    )
    def test_what_cannot_go_is_said(self, item: Params, says: str) -> None:
        with pytest.raises(OCIError, match=says):
            BuildOptions(params(layers=[item]), {})


class TestAttributes:
    def test_owners_are_kept_when_asked(self, tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if os.geteuid() == 0:
            os.chown(tree / "bin" / "run", 1234, 4321)
        mine = (tree / "bin" / "run").stat()
        options = layer_option(tree, dest="/opt", owner="keep", group="keep")
        members = Build(tmp_path / "out", layers=[options]).members()
        assert (members["opt/bin/run"].uid, members["opt/bin/run"].gid) == (mine.st_uid, mine.st_gid)
        assert (members["opt"].uid, members["opt"].gid) == (0, 0)
        one = Build(tmp_path / "one", layers=[layer_option(tree / "bin" / "run", owner="keep", group=7)]).members()
        assert (one["run"].uid, one["run"].gid) == (mine.st_uid, 7)

    def test_parents_can_be_left_out(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        members = Build(tmp_path / "out", layers=[layer_option(tree, dest="/opt/app", parents=False)]).members()
        assert list(members) == ["opt/app/bin", "opt/app/bin/run"]

    def test_special_bits_are_kept(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        (tree / "bin" / "run").chmod(0o4755)
        (tree / "bin").chmod(0o1777)
        members = Build(tmp_path / "out", layers=[layer_option(tree)]).members()
        assert (members["bin/run"].mode, members["bin"].mode) == (0o4755, 0o1777)

    def test_extended_attributes(self, tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As the system would tell them: not every file system of a test machine has any, and capabilities need root."""
        kept = {"user.note": b"a\xff\0\n", "security.capability": b"\1\0\0\2"}
        there = {**kept, "security.selinux": b"label", "system.posix_acl_access": b"acl", "trusted.overlay.opaque": b"y"}
        monkeypatch.setattr(os, "listxattr", lambda _fd: list(there), raising=False)
        monkeypatch.setattr(os, "getxattr", lambda _fd, name: there[name], raising=False)
        members = Build(tmp_path / "out", layers=[layer_option(tree)]).members()
        for name in ("bin", "bin/run"):
            found = {key[13:]: value for key, value in members[name].pax_headers.items() if key.startswith("SCHILY.xattr.")}
            assert {key: value.encode("utf-8", "surrogateescape") for key, value in found.items()} == kept
        assert members["bin/run"].size == 10000
        without = Build(tmp_path / "two", layers=[layer_option(tree, xattrs=False)]).members()
        assert not without["bin/run"].pax_headers
        one = Build(tmp_path / "three", layers=[layer_option(tree / "bin" / "run")]).members()
        assert "SCHILY.xattr.user.note" in one["run"].pax_headers
        there["user.a=b"] = b""
        with pytest.raises(InvalidError, match="has an extended attribute 'user.a=b', whose name a tar cannot hold"):
            Build(tmp_path / "four", layers=[layer_option(tree)])

    def test_real_extended_attributes(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        try:
            os.setxattr(tree / "bin" / "run", "user.note", b"value")
        except OSError:
            pytest.skip("this file system has no extended attributes")
        members = Build(tmp_path / "out", layers=[layer_option(tree)]).members()
        assert members["bin/run"].pax_headers["SCHILY.xattr.user.note"] == "value"

    def test_a_file_system_without_any(self, tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_fd: int) -> t.List[str]:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "listxattr", refuse, raising=False)
        assert not Build(tmp_path / "out", layers=[layer_option(tree)]).members()["bin/run"].pax_headers


class _Enough(Exception):
    """The head has been seen."""


class _Head:
    """Takes the headers, and no content."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, content: bytes) -> None:
        if len(content) > 4096:
            raise _Enough
        self.content += content


def test_sizes_that_ustar_has_no_room_for(tmp_path: pathlib.Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(9 * GIB)
    sink = _Head()
    with pytest.raises(_Enough):
        layer.Tree(str(tmp_path / "large"), "large").write_tar(sink)
    entry = next(iter(tar.TarReader(io.BytesIO(sink.content))))
    assert (entry.name, entry.kind, entry.size) == ("large", tar.FILE, 9 * GIB)
    with tarfile.open(fileobj=io.BytesIO(sink.content)) as opened:
        info = opened.next()
        assert info is not None and info.size == 9 * GIB


def test_sparse_files_are_stored_whole(tmp_path: pathlib.Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.write(b"start")
        file.truncate(9 * 1024**2)
        file.seek(8 * 1024**2)
        file.write(b"more")
    build = Build(tmp_path / "out", layers=[layer_option(tmp_path / "sparse")])
    assert build.content("sparse") == (tmp_path / "sparse").read_bytes()
    assert not build.members()["sparse"].issparse()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import io
import os
import tarfile
import threading
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content import tar
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import CHUNK
from ansible_collections.lading.oci.plugins.module_utils._oci.listing import Listing, Member, contents, read_listing
from ansible_collections.lading.oci.plugins.module_utils._oci.plaintar import Limits
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, MismatchError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import (
    CONTENT_DIGEST,
    folder,
    hard_link,
    member,
    plain_tar,
    symlink,
    tar_gz,
)

TREE = (folder("d"), member("d/a", b"one"), folder("d/sub", 0o700), member("d/sub/run", b"#!", 0o755), symlink("d/sub/up", "../a"))


def listed(blob: bytes, limits: Limits = Limits(), **annotations: str) -> Listing:
    return read_listing(io.BytesIO(blob), Descriptor.of(blob, mediatype.OCI_LAYER_GZIP, annotations), ("d",), limits)[0]


@pytest.mark.parametrize("pack", [tar_gz, plain_tar])
def test_a_tree(pack: t.Callable[..., bytes]) -> None:
    sha256 = Digest.of(b"one").encoded
    assert listed(pack(*TREE)) == (
        Member((), tar.DIRECTORY, 0o755),
        Member(("a",), tar.FILE, 0o644, 3, sha256),
        Member(("sub",), tar.DIRECTORY, 0o700),
        Member(("sub", "run"), tar.FILE, 0o755, 2, Digest.of(b"#!").encoded),
        Member(("sub", "up"), tar.SYMLINK, link="../a"),
    )


def test_modes_are_narrowed() -> None:
    found = listed(tar_gz(folder("d", 0o7777), member("d/a", mode=0o6777), member("d/b", mode=0), folder("d/c", 0)))
    assert [one.mode for one in found] == [0o755, 0o755, 0o400, 0o700]


def test_a_hard_link_is_a_copy_of_the_file_before_it() -> None:
    found = listed(tar_gz(member("d/a", b"one", 0o755), hard_link("d/b", "d/a"), hard_link("d/c", "d/b")))
    assert [(one.path, one.kind, one.mode, one.size, one.link) for one in found[1:]] == [
        (("a",), tar.FILE, 0o755, 3, ""),
        (("b",), tar.FILE, 0o755, 3, "a"),
        (("c",), tar.FILE, 0o755, 3, "a"),
    ]


def test_a_folder_without_entries_of_its_own() -> None:
    assert [one.path for one in listed(tar_gz(member("d/x/y")))] == [(), ("x", "y")]
    assert listed(tar_gz()) == (Member((), tar.DIRECTORY, 0o755),)
    assert listed(tar_gz(folder("d"), folder("d/"), folder("./d", 0o711))) == (Member((), tar.DIRECTORY, 0o711),)


HOSTILE = {
    "parent": (member("d/../../x"),),
    "absolute": (member("/etc/x"),),
    "other folder": (member("elsewhere/x"),),
    "sibling with its name": (member("d-evil/x"),),
    "file in place of the folder": (member("d", b"x"),),
    "link in place of the folder": (symlink("d", "."),),
    "temporary name": (member("d/.lading-0"),),
    "long part": (member("d/" + "x" * 256),),
    "file twice": (member("d/a", b"1"), member("d/a", b"2")),
    "link, then file of its name": (symlink("d/a", "b"), member("d/a", b"2")),
    "folder, then link of its name": (folder("d/a"), symlink("d/a", "b")),
    "file through a link": (symlink("d/a", "b"), member("d/a/x")),
    "file, then through a link": (member("d/a/x"), symlink("d/a", "b")),
    "file below a file": (member("d/a"), member("d/a/x")),
    "absolute link": (symlink("d/a", "/etc"),),
    "link out": (symlink("d/a", "../x"),),
    "link out behind a link": (folder("d/x"), symlink("d/x/s", ".."), symlink("d/a", "x/s/../../y")),
    "empty link": (symlink("d/a", ""),),
    "hard link out": (hard_link("d/a", "../../etc/passwd"),),
    "absolute hard link": (hard_link("d/a", "/etc/passwd"),),
    "bare hard link": (hard_link("d/a", "passwd"),),
    "hard link to what stands on disk": (hard_link("d/a", "d/earlier"),),
    "hard link to a link": (symlink("d/s", "b"), hard_link("d/a", "d/s")),
    "hard link to a folder": (folder("d/s"), hard_link("d/a", "d/s")),
    "character device": (member("d/a", kind=tarfile.CHRTYPE),),
    "block device": (member("d/a", kind=tarfile.BLKTYPE),),
    "FIFO": (member("d/a", kind=tarfile.FIFOTYPE),),
    "unknown type": (member("d/a", kind=b"Z"),),
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_members(members: t.Any) -> None:
    with pytest.raises(InvalidError, match="tar member"):
        listed(tar_gz(*members))


def test_the_folder_itself_is_a_folder() -> None:
    with pytest.raises(InvalidError, match="'d' is to be the folder itself, and is not a folder"):
        listed(tar_gz(symlink("d", ".")))


def test_a_pax_path_counts() -> None:
    info, content = member("d/harmless")
    info.pax_headers = {"path": "../" * 50 + "x" * 100}
    with pytest.raises(InvalidError, match="tar member"):
        listed(tar_gz((info, content)))


def test_the_content_digest() -> None:
    blob = tar_gz(*TREE)
    assert listed(blob, **{CONTENT_DIGEST: Digest.of(plain_tar(*TREE))})
    assert listed(blob, **{CONTENT_DIGEST: Digest.of(plain_tar(*TREE), "sha512")})
    with pytest.raises(MismatchError, match="its annotation says"):
        listed(blob, **{CONTENT_DIGEST: Digest.of(b"another tar")})
    with pytest.raises(InvalidError, match="not a digest"):
        listed(blob, **{CONTENT_DIGEST: "sha256:short"})


def broken_crc() -> bytes:
    blob = tar_gz(*TREE)
    return blob[:-8] + bytes([blob[-8] ^ 1]) + blob[-7:]


BROKEN = {
    "crc": broken_crc(),
    "cut": tar_gz(*TREE)[:-20],
    "trailing bytes": tar_gz(*TREE) + b"rubbish",
    "cut tar": gzip.compress(plain_tar(*TREE)[:1400]),
    "no tar": gzip.compress(b"x" * 2000),
    "neither": b"PK\3\4" + b"x" * 2000,
    "zstd": b"\x28\xb5\x2f\xfd" + b"x" * 2000,
}


@pytest.mark.parametrize("blob", BROKEN.values(), ids=BROKEN.keys())
def test_broken_blobs(blob: bytes) -> None:
    with pytest.raises(InvalidError):
        listed(blob)


def test_limits() -> None:
    big = tar_gz(member("d/a", bytes(3_000_000)))
    assert listed(big)
    with pytest.raises(InvalidError, match="limit of bytes"):
        listed(big, Limits(bytes=2_000_000))
    many = tar_gz(*(member(f"d/{number}") for number in range(50)))
    assert listed(many, Limits(entries=50))
    with pytest.raises(InvalidError, match="limit of 49 entries"):
        listed(many, Limits(entries=49))


def test_names_may_not_fill_the_memory() -> None:
    for name in ("d/" + "/".join("x" * 20), "d/" + ("x" * 250 + "/") * 10 + "x"):
        assert listed(tar_gz(member(name)), Limits(entries=10))
        with pytest.raises(InvalidError, match="names too long, or too deep, for the limit of 1 entries"):
            listed(tar_gz(member(name)), Limits(entries=1))


def test_a_bomb_is_refused_by_its_ratio() -> None:
    block = gzip.compress(bytes(64 * 1024 * 1024))
    bomb = gzip.compress(tar.encode(tar.Entry("d/a", size=8 * 64 * 1024 * 1024))) + block * 8
    with pytest.raises(InvalidError, match="decompression bomb"):
        listed(bomb)
    assert listed(bomb, Limits(ratio=2000))


def test_the_content_of_files_is_found_again_without_the_headers() -> None:
    big = bytes(range(256)) * 10_000
    blob = tar_gz(*TREE, member("d/big", big), member("d/none"), hard_link("d/same", "d/a"), member("d/last", b"end"))
    desc = Descriptor.of(blob, mediatype.OCI_LAYER_GZIP)
    listing, offsets = read_listing(io.BytesIO(blob), desc, ("d",), Limits(), threaded=True)
    files = {one.path: one for one in listing if one.kind == tar.FILE and not one.link}
    assert list(offsets) == list(files)
    found = {one.path: list(pieces) for one, pieces in contents(io.BytesIO(blob), desc, offsets, files, Limits())}
    assert {path: b"".join(pieces) for path, pieces in found.items()} == {
        ("a",): b"one",
        ("sub", "run"): b"#!",
        ("big",): big,
        ("none",): b"",
        ("last",): b"end",
    }
    assert max(len(piece) for piece in found["big",]) <= CHUNK < len(big)
    some = {path: files[path] for path in [("last",), ("a",)]}
    assert [b"".join(pieces) for _one, pieces in contents(io.BytesIO(blob), desc, offsets, some, Limits())] == [b"one", b"end"]


def test_who_stops_reading_contents_leaves_no_thread() -> None:
    blob = tar_gz(*(member(f"d/{number}", os.urandom(CHUNK)) for number in range(8)))
    desc = Descriptor.of(blob, mediatype.OCI_LAYER_GZIP)
    listing, offsets = read_listing(io.BytesIO(blob), desc, ("d",), Limits())
    before, file = threading.active_count(), io.BytesIO(blob)
    found = contents(file, desc, offsets, {one.path: one for one in listing}, Limits())
    for _number in range(2):
        assert len(b"".join(next(found)[1])) == CHUNK
    found.close()
    assert threading.active_count() == before and file.tell() < len(blob)

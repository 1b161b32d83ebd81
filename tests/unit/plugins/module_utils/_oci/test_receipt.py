# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.cache import cache_folder
from ansible_collections.lading.oci.plugins.module_utils._oci.content import tar
from ansible_collections.lading.oci.plugins.module_utils._oci.listing import Member
from ansible_collections.lading.oci.plugins.module_utils._oci.receipt import Receipt
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor

MANIFEST = b'{"schemaVersion":2,"name":"\xc3\xa9"}'
ROOT = Descriptor.of(MANIFEST, mediatype.OCI_MANIFEST)
LAYER = Descriptor.of(b"layer", mediatype.OCI_LAYER_GZIP, {"io.deis.oras.content.digest": "sha256:x"})
LISTING = (Member((), tar.DIRECTORY, 0o755), Member(("a", "\udce9"), tar.FILE, 0o644, 3, "00"), Member(("l",), tar.SYMLINK, link="a"))


@pytest.fixture(name="cache", autouse=True)
def _cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lading-oci" / "pull"


def receipt(dest: str = "/dest") -> Receipt:
    return Receipt(dest, pytest.fail)


def remember(into: Receipt, number: int = 0) -> Descriptor:
    root = Descriptor.of(MANIFEST + b" " * number, mediatype.OCI_MANIFEST)
    into.remember(root, {root.digest: MANIFEST + b" " * number}, {(LAYER, "d"): LISTING})
    return root


def test_what_was_remembered_is_known_again(cache: pathlib.Path) -> None:
    remember(receipt())
    known = receipt()
    assert known.root(ROOT.digest) == ROOT
    assert known.manifest(ROOT) == MANIFEST
    assert known.listing(LAYER, "d") == LISTING
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()] == [0o600]


def test_what_was_not_is_not() -> None:
    remember(receipt())
    other = Descriptor.of(b"{}", mediatype.OCI_MANIFEST)
    assert receipt().root(other.digest) is None and receipt().manifest(other) is None
    assert receipt().listing(LAYER, "e") is None, "another title"
    assert receipt().listing(Descriptor.of(b"layer", LAYER.media_type), "d") is None, "another digest stated for the tar"
    assert receipt("/other").root(ROOT.digest) is None


def test_only_the_newest_few_are_kept() -> None:
    roots = [remember(receipt(), number) for number in range(5)]
    remember(receipt(), 2)
    assert [receipt().root(root.digest) is not None for root in roots] == [False, False, True, True, True]
    remember(receipt(), 9)
    assert receipt().root(roots[2].digest) is not None, "it was the newest but one"
    assert receipt().root(roots[3].digest) is None


def test_nothing_is_written_when_nothing_changed(cache: pathlib.Path) -> None:
    remember(receipt())
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in cache.iterdir()]
    remember(receipt())
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in cache.iterdir()] == before


def test_what_was_written_is_kept_by_source(cache: pathlib.Path) -> None:
    digest = str(Descriptor.of(b"x", "").digest)
    ours, theirs = {("a", "\udce9"): digest, ("l",): "-> a"}, {("d",): "folder"}
    first = receipt()
    assert first.written("host/ours") is None
    first.write_down("host/ours", ours)
    assert receipt().written("host/ours") == ours, "at once"
    first.note("host/theirs", theirs)
    assert receipt().written("host/theirs") is None
    remember(first)
    assert receipt().written("host/theirs") == theirs and receipt().written("host/ours") == ours
    assert receipt().written_by_others("host/ours") == {("d",)} and receipt().manifest(ROOT) == MANIFEST


def test_a_receipt_of_an_older_release_is_read(cache: pathlib.Path) -> None:
    remember(receipt())
    path = next(cache.iterdir())
    document = json.loads(path.read_bytes())
    assert document["version"] == 1 and document.pop("written") == {}
    path.write_bytes(json.dumps(document).encode())
    assert receipt().manifest(ROOT) == MANIFEST and receipt().written("host/ours") is None


@pytest.mark.parametrize(
    "rows", [{"../a": "folder"}, {"/a": "folder"}, {"a//b": "folder"}, {"": "folder"}, {"a": 1}, {"a": "md5:0"}, {"a\0": "folder"}]
)
def test_a_record_that_cannot_be_names_nothing(rows: t.Dict[str, t.Any]) -> None:
    first = receipt()
    first.write_down("s", {("b",): "folder"})
    first._written["s"].update(rows)
    remember(first)
    assert receipt().written("s") == {("b",): "folder"} and receipt().written_by_others("t") == {("b",)}


def damaged(**changes: t.Any) -> bytes:
    pull = {"root": {"mediaType": ROOT.media_type, "digest": ROOT.digest, "size": ROOT.size}, "manifests": {}, "folders": {}}
    return json.dumps({"version": 1, "pulls": {ROOT.digest: {**pull, **changes}}}).encode()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b"\xff", b'{"version":2}', b'{"version":1}', b'{"version":1,"pulls":[1]}']
    + [b'{"version":1,"pulls":{"x":null}}', damaged(root=None), damaged(root={"digest": 1}), damaged(manifests=[], folders=7)]
    + [b'{"version":1,"pulls":{},"written":[]}', b'{"version":1,"pulls":{},"written":{"host/ours":7}}']
    + [damaged(manifests={ROOT.digest: 1}), damaged(manifests={ROOT.digest: "other"}, folders={LAYER.digest: [[1]]})],
)
def test_a_damaged_receipt_says_nothing(cache: pathlib.Path, content: bytes) -> None:
    remember(receipt())
    next(cache.iterdir()).write_bytes(content)
    known = receipt()
    assert known.root(ROOT.digest) in (None, ROOT) and known.manifest(ROOT) is None and known.listing(LAYER, "d") is None
    assert known.written("host/ours") is None and known.written_by_others("x") == set()
    remember(known)
    assert receipt().manifest(ROOT) == MANIFEST


def test_a_manifest_with_other_bytes_is_not_believed(cache: pathlib.Path) -> None:
    remember(receipt())
    path = next(cache.iterdir())
    path.write_bytes(path.read_bytes().replace(b"schemaVersion", b"schemaVersiox"))
    assert receipt().manifest(ROOT) is None


def test_a_receipt_that_others_may_write_is_not_believed(cache: pathlib.Path) -> None:
    remember(receipt())
    path = next(cache.iterdir())
    path.chmod(0o660)
    assert receipt().root(ROOT.digest) is None
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        assert receipt().root(ROOT.digest) is None
    path.unlink()
    path.symlink_to("/dev/zero")
    assert receipt().root(ROOT.digest) is None


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    warnings: t.List[str] = []
    remember(Receipt("/dest", warnings.append))
    assert len(warnings) == 1 and "XDG_CACHE_HOME" in warnings[0]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for value in ("relative", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder("pull") == "/home/me/.cache/lading-oci/pull"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_folder("pull") == "/var/cache/lading-oci/pull"


def test_two_pulls_at_once_keep_each_others_records() -> None:
    """Both began before either had anything to store: neither forgets what the other wrote, so both can be pruned later."""
    one, two = receipt(), receipt()
    one.write_down("first", {("a",): "folder"})
    two.write_down("second", {("b",): "folder"})
    newest = remember(one, 1)
    remember(two, 2)
    known = receipt()
    assert known.written("first") == {("a",): "folder"} and known.written("second") == {("b",): "folder"}
    assert known.root(newest.digest) == newest

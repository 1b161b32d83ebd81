# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.beneath import TEMP_PREFIX
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Overlay, Spool
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Incoming
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import BLOB, TargetContract, store

LAYER = Descriptor.of(BLOB, mediatype.OCI_LAYER)


class TestContract(TargetContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: pathlib.Path) -> None:
        self.path = tmp_path / "layout"

    def target(self) -> Layout:
        return Layout(str(self.path))


@pytest.fixture(name="path")
def _layout(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "layout"
    store(Layout(str(path)), ["v1"], BLOB)
    return path


def blob(path: pathlib.Path, desc: Descriptor) -> pathlib.Path:
    return path / "blobs" / desc.digest.algorithm / desc.digest.encoded


def edit_index(path: pathlib.Path, change: t.Callable[[t.Dict[str, t.Any]], None]) -> None:
    document = json.loads((path / "index.json").read_text())
    change(document)
    (path / "index.json").write_text(json.dumps(document))


def test_the_files_of_the_specification(path: pathlib.Path) -> None:
    assert sorted(os.listdir(path)) == ["blobs", "index.json", "oci-layout"]
    assert json.loads((path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((path / "index.json").read_text())
    assert index["schemaVersion"] == 2 and index["mediaType"] == mediatype.OCI_INDEX
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": "v1"}
    assert blob(path, LAYER).read_bytes() == BLOB


def test_files_get_what_the_umask_allows(path: pathlib.Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert blob(path, LAYER).stat().st_mode & 0o777 == 0o666 & ~mask
    assert (path / "index.json").stat().st_mode & 0o777 == 0o666 & ~mask


def test_nothing_is_rewritten_when_nothing_changes(path: pathlib.Path) -> None:
    def state() -> t.List[t.Tuple[str, int, int]]:
        files = [file for file in path.rglob("*") if file.is_file()]
        return [(str(file), file.stat().st_ino, file.stat().st_mtime_ns) for file in sorted(files)]

    before = state()
    store(Layout(str(path)), ["v1"], BLOB)
    assert state() == before


def test_foreign_entries_and_annotations_are_kept(path: pathlib.Path) -> None:
    foreign = {"mediaType": "application/xml", "size": 7, "digest": "blake3:" + "0" * 64, "x-unknown": [1]}

    def change(document: t.Dict[str, t.Any]) -> None:
        document["manifests"].insert(0, foreign)
        document["annotations"] = {"com.example": "kept"}
        document["manifests"][1]["annotations"]["com.example.note"] = "mine"

    edit_index(path, change)
    store(Layout(str(path)), ["v2"], b"other")
    index = json.loads((path / "index.json").read_text())
    assert index["annotations"] == {"com.example": "kept"}
    assert index["manifests"][0] == foreign
    assert index["manifests"][1]["annotations"]["com.example.note"] == "mine"
    assert Layout(str(path)).index.names == ["v1", "v2"]


def test_untag_takes_the_name_only(path: pathlib.Path) -> None:
    store(Layout(str(path)), ["v2"], BLOB)
    Layout(str(path)).untag("v2")
    assert Layout(str(path)).index.names == ["v1"]
    before = (path / "index.json").stat().st_ino
    Layout(str(path)).untag("v2")
    assert (path / "index.json").stat().st_ino == before


def test_untag_sweeps_what_a_killed_one_left(path: pathlib.Path) -> None:
    store(Layout(str(path)), ["v2"], BLOB)
    (path / ".lading-0123456789abcdef").write_text('{"schemaVersion": 2')
    Layout(str(path)).untag("v2")
    assert sorted(os.listdir(path)) == ["blobs", "index.json", "oci-layout"]
    assert Layout(str(path)).index.names == ["v1"]


def test_what_a_killed_one_left_is_gone_before_content_comes(path: pathlib.Path) -> None:
    (path / f"{TEMP_PREFIX}dead").write_bytes(BLOB)
    layout = Layout(str(path))
    with layout.receiving(Incoming(layout.resolve("v1"))):
        assert not (path / f"{TEMP_PREFIX}dead").exists(), "its room may be needed"


@pytest.mark.parametrize("more", [0, 1])
def test_an_index_has_4_mebibytes(path: pathlib.Path, more: int) -> None:
    content = (path / "index.json").read_bytes()
    (path / "index.json").write_bytes(content[:-1] + b" " * ((4 << 20) + more - len(content)) + content[-1:])
    if more:
        with pytest.raises(InvalidError, match="more than the limit of 4194304"):
            Layout(str(path)).resolve("v1")
    else:
        assert Layout(str(path)).fetch_bytes(LAYER) == BLOB and Layout(str(path)).index.names == ["v1"]


def put_instead(place: pathlib.Path, kind: str, target: pathlib.Path) -> None:
    if kind == "symlink":
        place.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.mkdir()


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
@pytest.mark.parametrize("kind", ["symlink", "fifo", "folder"])
def test_documents_must_be_regular_files(path: pathlib.Path, name: str, kind: str) -> None:
    (path / name).rename(path.parent / name)
    put_instead(path / name, kind, path.parent / name)
    with pytest.raises(InvalidError):
        Layout(str(path)).resolve("v1")
    with pytest.raises(InvalidError):
        store(Layout(str(path)), ["v2"], b"other")


@pytest.mark.parametrize("kind", ["symlink", "fifo", "folder"])
def test_blobs_must_be_regular_files(path: pathlib.Path, kind: str) -> None:
    victim = blob(path, LAYER)
    victim.rename(path.parent / "elsewhere")
    put_instead(victim, kind, path.parent / "elsewhere")
    assert not Layout(str(path)).exists(LAYER)
    with pytest.raises(InvalidError):
        Layout(str(path)).fetch(LAYER)


@pytest.mark.parametrize("parts", [["blobs"], ["blobs", "sha256"]])
def test_blob_folders_must_not_be_links(path: pathlib.Path, parts: t.List[str]) -> None:
    linked = path.joinpath(*parts)
    linked.rename(path.parent / "elsewhere")
    linked.symlink_to(path.parent / "elsewhere")
    with pytest.raises(InvalidError, match="is a link"):
        Layout(str(path)).fetch(LAYER)
    before = sorted((path.parent / "elsewhere").rglob("*"))
    with pytest.raises(InvalidError, match="is a link"):
        store(Layout(str(path)), ["v2"], b"other")
    assert sorted((path.parent / "elsewhere").rglob("*")) == before


def test_a_damaged_blob_is_never_handed_out(path: pathlib.Path) -> None:
    blob(path, LAYER).write_bytes(b"x" * LAYER.size)
    with pytest.raises(Exception, match="has another digest"):
        Layout(str(path)).fetch_bytes(LAYER)


def test_a_truncated_blob_counts_as_absent_and_is_replaced(path: pathlib.Path) -> None:
    os.truncate(blob(path, LAYER), 3)
    assert not Layout(str(path)).exists(LAYER)
    store(Layout(str(path)), ["v1"], BLOB)
    assert blob(path, LAYER).read_bytes() == BLOB


def test_a_folder_that_is_no_layout_is_left_alone(tmp_path: pathlib.Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InvalidError, match="not an OCI layout"):
        Layout(str(tmp_path)).resolve("v1")
    with pytest.raises(InvalidError, match="not an OCI layout"):
        store(Layout(str(tmp_path)), ["v1"], BLOB)
    assert os.listdir(tmp_path) == ["precious.txt"]


@pytest.mark.parametrize("left_over", [[], ["oci-layout"], ["oci-layout", "blobs"]])
def test_what_a_killed_first_writer_left_is_taken_over(tmp_path: pathlib.Path, left_over: t.List[str]) -> None:
    path = tmp_path / "layout"
    path.mkdir()
    (path / ".lading-0123456789abcdef").write_text("part")
    for name in left_over:
        if name == "blobs":
            (path / name).mkdir()
        else:
            (path / name).write_text('{"imageLayoutVersion":"1.0.0"}')
    assert Layout(str(path)).lookup("v1") is None
    store(Layout(str(path)), ["v1"], BLOB)
    assert sorted(os.listdir(path)) == ["blobs", "index.json", "oci-layout"]
    assert Layout(str(path)).fetch_bytes(LAYER) == BLOB


@pytest.mark.parametrize("version", ['{"imageLayoutVersion":"2.0.0"}', "{}", "[]", "not json"])
def test_other_layout_versions_are_refused(path: pathlib.Path, version: str) -> None:
    (path / "oci-layout").write_text(version)
    with pytest.raises(InvalidError):
        Layout(str(path)).resolve("v1")


def test_errors_carry_the_location(tmp_path: pathlib.Path) -> None:
    layout = Layout(str(tmp_path / "absent"))
    layout.location = "source oci:/x"
    with pytest.raises(NotFoundError) as caught:
        layout.resolve("v1")
    assert str(caught.value).startswith("source oci:/x: no such folder")


@pytest.fixture(name="made")
def _made(tmp_path: pathlib.Path) -> t.Tuple[Overlay, Descriptor]:
    """Content that a run has written to its spool."""
    content = b"new" * 1000
    overlay, file, desc = Overlay(Layout(str(tmp_path / "layout"))), Spool(str(tmp_path)).open(), Descriptor.of(content, LAYER.media_type)
    file.write(content)
    overlay.add_spooled(desc, file)
    return overlay, desc


def needs_nameless_files(overlay: Overlay, desc: Descriptor) -> None:
    if os.fstat(t.cast(int, overlay.nameless(desc))).st_nlink or not hasattr(os, "O_TMPFILE"):
        pytest.skip("this file system has no files without a name")


def test_a_file_of_the_run_gets_its_name(path: pathlib.Path, made: t.Tuple[Overlay, Descriptor], monkeypatch: pytest.MonkeyPatch) -> None:
    overlay, desc = made
    needs_nameless_files(overlay, desc)
    done: t.List[str] = []
    for name in ("fsync", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, _name=name, _real=real, **options: (done.append(_name), _real(*args, **options))[1])
    layout = Layout(str(path))
    assert layout.adopt(desc, overlay) and layout.fetch_bytes(desc) == b"new" * 1000
    assert done == ["fsync", "link", "fsync"]
    assert blob(path, desc).stat().st_ino == os.fstat(t.cast(int, overlay.nameless(desc))).st_ino
    umask = os.umask(0)
    os.umask(umask)
    assert blob(path, desc).stat().st_mode & 0o777 == 0o666 & ~umask
    # What stands there stays: the caller pushes, and that looks at it.
    assert not layout.adopt(desc, overlay) and os.listdir(path / "blobs" / "sha256")


def test_what_cannot_be_named_is_pushed(path: pathlib.Path, made: t.Tuple[Overlay, Descriptor], monkeypatch: pytest.MonkeyPatch) -> None:
    overlay, desc = made

    def refused(*_args: t.Any, **_options: t.Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    layout = Layout(str(path))
    assert not layout.adopt(desc, overlay) and not layout.exists(desc)
    assert not layout.adopt(LAYER, overlay)
    layout.push(desc, lambda have=None: overlay.fetch(desc, have))
    assert layout.fetch_bytes(desc) == b"new" * 1000


def test_without_files_without_a_name(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nameless, opened = getattr(os, "O_TMPFILE", 0), os.open

    def refusing(name: t.Any, flags: int, *args: t.Any, **options: t.Any) -> int:
        if nameless and flags & nameless == nameless:
            raise OSError(95, "Operation not supported")
        return opened(name, flags, *args, **options)

    monkeypatch.setattr(os, "open", refusing)
    overlay, file = Overlay(Layout(str(path))), Spool(str(path)).open()
    file.write(b"new")
    overlay.add_spooled(Descriptor.of(b"new", LAYER.media_type), file)
    assert overlay.fetch_bytes(Descriptor.of(b"new", LAYER.media_type)) == b"new"


def test_the_names_of_many_blobs_are_synced_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before index.json is replaced, and again when all is done: never for each."""
    layout = Layout(str(tmp_path / "layout"))
    store(layout, ["v1"], BLOB)
    named = os.stat(tmp_path / "layout" / "blobs" / "sha256").st_ino
    done: t.List[str] = []
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("names") if os.fstat(fd).st_ino == named else None, sync(fd)))
    monkeypatch.setattr(
        os, "rename", lambda a, b, **folders: (done.append("index" if b == "index.json" else "blob"), rename(a, b, **folders))
    )
    store(layout, ["v2"], *(BLOB + bytes([number]) for number in range(5)))
    assert done.count("blob") == 6 and done[-3:] == ["names", "index", "names"] and done.count("names") == 2

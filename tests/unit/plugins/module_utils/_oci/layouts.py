# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layouts that are damaged, incomplete or full of what nobody needs, as folders and as tars."""

from __future__ import annotations

import io
import json
import os
import pathlib
import tarfile
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest

Store = t.Union[Layout, Archive]
Document = t.Dict[str, t.Any]


def blob(path: pathlib.Path, digest: t.Union[Descriptor, Digest]) -> pathlib.Path:
    """The file of a blob in the layout folder ``path``."""
    found = digest.digest if isinstance(digest, Descriptor) else digest
    return path / "blobs" / found.algorithm / found.encoded


def add_blob(path: pathlib.Path, content: bytes) -> Digest:
    """A blob that nothing names."""
    digest = Digest.of(content)
    blob(path, digest).parent.mkdir(parents=True, exist_ok=True)
    blob(path, digest).write_bytes(content)
    return digest


def flip(path: pathlib.Path, digest: t.Union[Descriptor, Digest]) -> None:
    """Damage one bit, so that the size is right."""
    file = blob(path, digest)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    # Layouts on one file system may have the file in common.
    file.unlink()
    file.write_bytes(content)


def age(path: pathlib.Path, monkeypatch: t.Any, seconds: float = 7200.0) -> None:
    """Let every blob be that old: what the system says of a change cannot be set, so the clock goes on instead."""
    later = max(file.lstat().st_ctime for file in path.rglob("*")) + seconds
    monkeypatch.setattr("time.time", lambda: later)


def edit_index(path: pathlib.Path, change: t.Callable[[Document], None]) -> None:
    document = json.loads((path / "index.json").read_text())
    change(document)
    (path / "index.json").write_text(json.dumps(document))


def blobs_of(store: Store) -> t.Set[str]:
    """What the store has on disk, by digest."""
    if isinstance(store, Archive):
        names = list(Archive(store.path).opened().members)
    else:
        names = [str(file.relative_to(store.path)) for file in pathlib.Path(store.path).rglob("*") if file.is_file()]
    return {":".join(name.split("/")[1:]) for name in names if name.startswith("blobs/")}


def as_tar(path: pathlib.Path, *links: t.Tuple[str, str]) -> pathlib.Path:
    """The layout folder as a tar beside it, with everything in it, and the given symbolic links."""
    tar = path.with_name(path.name + ".tar")
    with tarfile.open(tar, "w") as archive:
        for file in sorted(path.rglob("*")):
            archive.add(file, str(file.relative_to(path)), recursive=False)
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info, io.BytesIO())
    return tar


def stored_at(path: pathlib.Path, form: str) -> Store:
    """The folder, or a tar of it."""
    return Layout(str(path)) if form == "folder" else Archive(str(as_tar(path)))


def state(path: pathlib.Path) -> t.Dict[str, t.Tuple[int, int, bytes]]:
    """Everything below ``path`` that is a file: equal states mean that nothing was touched."""
    files = [file for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file()]
    return {os.fspath(file): (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()) for file in files}

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is moved in benchmarks: images of random bytes and trees of files, written without the code that is measured."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pathlib
import random
import shutil
import tarfile
import tempfile
import typing as t

MIB = 1024 * 1024
# What mixed files are taken from: text, programs, libraries.
SYSTEM = ("/usr/share/doc", "/usr/share/perl", "/usr/lib/python3", "/usr/include", "/usr/bin", "/usr/lib")


class _Hashing:
    """A file that hashes and counts what is written to it."""

    def __init__(self, file: t.IO[bytes]) -> None:
        self._file, self.hashed, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.hashed.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def layout(folder: pathlib.Path, layers: int, size: int, refs: t.Sequence[str] = ("v1",)) -> str:
    """A layout of images, one for each ref, all with the same ``layers`` layers of ``size`` random bytes. The first image's digest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    found = [_layer(blobs, size) for _number in range(layers)]
    entries = []
    for ref in refs:
        config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"ref": ref}}}
        config["rootfs"] = {"type": "layers", "diff_ids": [diff_id for _desc, diff_id in found]}
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _document(blobs, "application/vnd.oci.image.config.v1+json", config),
            "layers": [desc for desc, _diff_id in found],
        }
        entry = _document(blobs, manifest["mediaType"], manifest)
        entries.append({**entry, "annotations": {"org.opencontainers.image.ref.name": ref}})
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    (folder / "index.json").write_text(json.dumps(index))
    return entries[0]["digest"]


def _layer(blobs: pathlib.Path, size: int) -> t.Tuple[t.Dict[str, t.Any], str]:
    """A descriptor and a diff ID. A gzip stream that stores: peers look whether a layer is one."""
    plain, left = hashlib.sha256(), size
    with tempfile.NamedTemporaryFile(dir=blobs, delete=False) as file:
        sink = _Hashing(file)
        with gzip.GzipFile(fileobj=t.cast("t.IO[bytes]", sink), mode="wb", compresslevel=0, mtime=0) as stream:
            while left:
                piece = os.urandom(min(left, MIB))
                plain.update(piece)
                stream.write(piece)
                left -= len(piece)
    os.chmod(file.name, 0o644)
    os.rename(file.name, blobs / sink.hashed.hexdigest())
    media_type = "application/vnd.oci.image.layer.v1.tar+gzip"
    return {"mediaType": media_type, "digest": f"sha256:{sink.hashed.hexdigest()}", "size": sink.size}, f"sha256:{plain.hexdigest()}"


def _document(blobs: pathlib.Path, media_type: str, document: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    content = json.dumps(document).encode()
    name = hashlib.sha256(content).hexdigest()
    (blobs / name).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(content)}


def archive(folder: pathlib.Path, path: pathlib.Path) -> None:
    """The layout folder as a layout tar."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("oci-layout", "index.json", "blobs"):
            tar.add(folder / name, name)


def mixed_tree(folder: pathlib.Path, size: int) -> int:
    """Files of this machine's system, and random ones for a third of ``size`` bytes. What was written, in bytes."""
    written, wanted = 0, size * 2 // 3
    for number, path in enumerate(_system_files()):
        if written >= wanted:
            break
        dest = folder / f"{number % 100:02}" / f"{number}-{path.name}"
        dest.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, dest)
        written += dest.stat().st_size
    (folder / "random").mkdir(parents=True)
    for number in range(max(1, (size - written) // (4 * MIB))):
        content = os.urandom(min(4 * MIB, max(1, size - written)))
        (folder / "random" / str(number)).write_bytes(content)
        written += len(content)
    return written


def _system_files() -> t.Iterator[pathlib.Path]:
    for root in SYSTEM:
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                path = pathlib.Path(folder, name)
                if path.is_file() and not path.is_symlink() and path.stat().st_size < 64 * MIB:
                    yield path


def small_files(folder: pathlib.Path, count: int, size: int = 4096) -> None:
    """``count`` files in folders of 200: half of each is random, half is text that compresses."""
    generator = random.Random(0)
    for number in range(count):
        path = folder / f"{number // 200:04}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generator.randbytes(size // 2) + (b"line %d\n" % number * size)[: size - size // 2])


def tree_state(folder: pathlib.Path) -> t.Dict[str, str]:
    """SHA-256 by name of all files."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".lading")
    }

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where benchmarks run: a folder, a registry, programs with nothing of the user's; and what is asked of the disk after a run."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import tarfile
import typing as t

from clients import ARCHIVE, LAYOUT, Place
from registry_server import Registry

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACCEPTED = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
_PIECE = 1024 * 1024


class Stage:
    """``folder`` is empty at first. ``scale`` of the sizes and counts. ``collections``: what Ansible is to look for collections in."""

    def __init__(self, folder: pathlib.Path, registry: Registry, scale: float) -> None:
        self.folder = folder
        self.registry = registry
        self.scale = scale
        self.home = folder / "home"
        self.home.mkdir()
        self.collections = folder / "collections"
        (self.collections / "ansible_collections" / "lading").mkdir(parents=True)
        (self.collections / "ansible_collections" / "lading" / "oci").symlink_to(ROOT)
        os.environ["PYTHONPATH"] = os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(self.collections)

    def scaled(self, count: int) -> int:
        return max(1, round(count * self.scale))

    @property
    def _stored(self) -> pathlib.Path:
        return self.registry.folder / "data" / "docker" / "registry" / "v2"

    def empty_registry(self) -> None:
        shutil.rmtree(self._stored, ignore_errors=True)

    def forget_repository(self, name: str) -> None:
        shutil.rmtree(self._stored / "repositories" / name, ignore_errors=True)

    def forget_caches(self) -> None:
        """Of our own program; peers have none that matter here."""
        shutil.rmtree(self.home / ".cache", ignore_errors=True)

    def blobs_of_registry(self) -> t.Dict[str, int]:
        """Size by digest of what it has stored. Raises ValueError for content of another digest."""
        return _hashed((f"sha256:{path.parent.name}", path) for path in (self._stored / "blobs").glob("*/*/*/data"))

    def links_of(self, repository: str) -> int:
        """How many blobs and manifests the repository may serve."""
        return sum(1 for _link in (self._stored / "repositories" / repository).glob("_layers/*/*/link"))


def remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def digest_at(place: Place) -> t.Optional[str]:
    """What the place's ref names; a layout's only entry where no entry has the ref, as crane leaves it. None: nothing."""
    if place.kind == LAYOUT:
        index = pathlib.Path(place.name) / "index.json"
        return _named(index.read_bytes(), place.ref) if index.exists() else None
    if place.kind == ARCHIVE:
        if not pathlib.Path(place.name).exists():
            return None
        with tarfile.open(place.name) as tar:
            return _named(t.cast("t.IO[bytes]", tar.extractfile(_member(tar, "index.json"))).read(), place.ref)
    host, _slash, repository = place.name.partition("/")
    with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        connection.request("HEAD", f"/v2/{repository}/manifests/{place.ref}", headers={"Accept": ACCEPTED})
        return connection.getresponse().headers.get("Docker-Content-Digest")


def _named(document: bytes, ref: str) -> t.Optional[str]:
    entries = json.loads(document)["manifests"]
    named = [entry for entry in entries if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == ref]
    chosen = named or (entries if len(entries) == 1 else [])
    return chosen[0]["digest"] if chosen else None


def blobs_at(place: Place) -> t.Dict[str, int]:
    """Size by digest of what a layout has. Raises ValueError for content of another digest."""
    if place.kind == LAYOUT:
        folder = pathlib.Path(place.name)
        return _hashed((f"sha256:{path.name}", path) for path in (folder / "blobs" / "sha256").glob("*"))
    found = {}
    with tarfile.open(place.name) as tar:
        for member in tar:
            if member.isfile() and "/sha256/" in member.name:
                digest = f"sha256:{member.name.rpartition('/')[2]}"
                found[digest] = _checked(digest, t.cast("t.IO[bytes]", tar.extractfile(member)), tar.name)
    return found


def _member(tar: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    """Some tools begin names with ./"""
    return next(member for member in tar if member.name.lstrip("./") == name)


def _hashed(files: t.Iterable[t.Tuple[str, pathlib.Path]]) -> t.Dict[str, int]:
    found = {}
    for digest, path in files:
        with path.open("rb") as file:
            found[digest] = _checked(digest, file, path)
    return found


def _checked(digest: str, file: t.IO[bytes], where: object) -> int:
    hashed, size = hashlib.sha256(), 0
    for piece in iter(lambda: file.read(_PIECE), b""):
        hashed.update(piece)
        size += len(piece)
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise ValueError(f"{where} has content that is not {digest}")
    return size

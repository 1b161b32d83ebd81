# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tars as ``docker save`` and its like write them, made by hand."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import tarfile
import typing as t

Files = t.Dict[str, t.Union[bytes, tarfile.TarInfo]]


def layer_tar(text: str) -> bytes:
    """A layer: an uncompressed tar with one small file."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        info = tarfile.TarInfo("hello")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return whole.getvalue()


def hex_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def config_of(*layers: bytes, **more: t.Any) -> bytes:
    diff_ids = [f"sha256:{hex_of(layer)}" for layer in layers]
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **more}).encode()


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def saved_image(*layers: bytes, tags: t.Optional[t.List[str]] = None, **more: t.Any) -> t.Tuple[t.Dict[str, t.Any], Files]:
    """The entry in manifest.json of one image, and its files, named as Docker before 25 names them."""
    config = config_of(*layers, **more)
    files: Files = {f"{hex_of(config)}.json": config}
    names = [f"{hex_of(layer)[:12]}/layer.tar" for layer in layers]
    files.update(zip(names, layers))
    return {"Config": f"{hex_of(config)}.json", "RepoTags": tags, "Layers": names}, files


def write_tar(path: pathlib.Path, files: t.Iterable[t.Tuple[str, t.Union[bytes, tarfile.TarInfo]]]) -> pathlib.Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name) if isinstance(content, bytes) else content
            info.name = name
            info.size = len(content) if isinstance(content, bytes) else 0
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def write_saved(path: pathlib.Path, *images: t.Tuple[t.Dict[str, t.Any], Files], **more: t.Union[bytes, tarfile.TarInfo]) -> pathlib.Path:
    """A whole tar; ``more``: files beside, ``_json`` in their names is ``.json``."""
    files: Files = {name: content for _entry, some in images for name, content in some.items()}
    files["manifest.json"] = json.dumps([entry for entry, _files in images]).encode()
    files.update({name.replace("_json", ".json"): content for name, content in more.items()})
    return write_tar(path, files.items())

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 at every system call of a removal and of a repair: what is named is whole, the next run completes."""

from __future__ import annotations

import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.audit import audit, verified
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.garbage import Wanted, apply_prune, plan_prune
from ansible_collections.lading.oci.plugins.module_utils._oci.repair import Supply, apply_repair, plan_repair
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.layouts import Store, as_tar, blob, blobs_of, flip
from test_kill import run_and_die

FORMS = pytest.mark.parametrize("form", ["folder", "tar"])
WANTED = Wanted(0, keep_untagged=False)


def opened(path: pathlib.Path) -> Store:
    return Archive(str(path)) if path.is_file() else Layout(str(path))


def at_every_point(
    pristine: pathlib.Path, work: pathlib.Path, act: t.Callable[[Store], object], look: t.Callable[[Store], None]
) -> t.Tuple[pathlib.Path, int]:
    """``act`` on a copy, killed at each of its calls in turn, and looked at by ``look``; the copy on which it ended, and the points."""
    points = 0
    while True:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        path = work / pristine.name
        (shutil.copy if pristine.is_file() else shutil.copytree)(pristine, path)
        killed = run_and_die(lambda place=path: act(opened(place)), points + 1)  # type: ignore[misc]
        look(opened(path))
        if killed:
            act(opened(path))
            look(opened(path))
        litter = [file for file in work.rglob("*") if file.name.startswith(".lading-")]
        assert litter == [], f"after {points} calls"
        if not killed:
            return path, points
        points += 1


def dangling_manifests(store: Store) -> t.Iterator[t.Tuple[Digest, t.Set[str]]]:
    """Each manifest among the blobs, with what it names."""
    for text in blobs_of(store):
        digest = Digest(text)
        content = store.fetch_bytes(Descriptor("text/plain", digest, audit(store).inventory.blobs[digest].size))
        try:
            desc = Descriptor(manifest.sniff_media_type(content, "it"), digest, len(content))
            below = manifest.successors(desc, content)
        except OCIError:
            continue
        yield digest, {str(child.digest) for child in below}


@FORMS
def test_removal(tmp_path: pathlib.Path, form: str) -> None:
    images = Images(tmp_path / "layout")
    images.image(tar_of(a="1"), tar_of(s="shared"), tags=["v1"])
    gone = images.index(images.image(tar_of(a="2"), tar_of(s="shared")), images.image(tar_of(a="3"), platform="linux/arm64"))
    images.layout.tag(gone, images.layout.fetch_bytes(gone), [])
    pristine = tmp_path / "layout" if form == "folder" else as_tar(tmp_path / "layout")

    def look(store: Store) -> None:
        found = verified(audit(store), 1)
        assert not found.missing and not found.damaged and store.names() == ["v1"]
        assert all(needed <= blobs_of(store) for _digest, needed in dangling_manifests(store))

    path, points = at_every_point(pristine, tmp_path / "work", lambda store: apply_prune(store, WANTED), look)
    assert points >= 8 and not plan_prune(opened(path), WANTED).changed and not audit(opened(path)).dangling


@FORMS
def test_repair(tmp_path: pathlib.Path, form: str) -> None:
    stores = []
    for name in ("good", "layout"):
        images = Images(tmp_path / name)
        images.index(images.image(tar_of(a="1")), images.image(tar_of(a="2"), platform="linux/arm64"), tags=["v1"])
        images.image(tar_of(a="3"), tags=["v2"])
        stores.append(images.layout)
    good, layout = stores
    under = layout.under(layout.resolve("v1"))
    flip(tmp_path / "layout", under[1])
    flip(tmp_path / "layout", under[-1])
    blob(tmp_path / "layout", under[2]).unlink()
    pristine = tmp_path / "layout" if form == "folder" else as_tar(tmp_path / "layout")
    sound = {digest for digest, error in verified(audit(opened(pristine)), 1).checked.wrong.items() if error is None}

    def act(store: Store) -> None:
        apply_repair(plan_repair(verified(audit(store), 1), [Supply("good", good)], True, 1), store, 1)

    def look(store: Store) -> None:
        found = verified(audit(store), 1)
        assert {digest for digest, error in found.checked.wrong.items() if error is None} >= sound
        assert store.names() == ["v1", "v2"]

    path, points = at_every_point(pristine, tmp_path / "work", act, look)
    found = verified(audit(opened(path)), 1)
    assert points >= 10 and not found.damaged and not found.missing and blobs_of(opened(path)) == blobs_of(good)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is damaged or missing comes from where it is whole; everything else stays, and what nobody has is told."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.audit import Audit, audit, verified
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import RawReader, Source
from ansible_collections.lading.oci.plugins.module_utils._oci.repair import (
    EMBEDDED,
    Outcome,
    Plan,
    Supply,
    apply_repair,
    plan_repair,
    planned,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import EMPTY, Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, StorageError, TransportError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.layouts import (
    Store,
    add_blob,
    as_tar,
    blob,
    blobs_of,
    edit_index,
    flip,
    state,
    stored_at,
)

FORMS = pytest.mark.parametrize("form", ["folder", "tar"])


@pytest.fixture(name="good")
def _good(tmp_path: pathlib.Path) -> Images:
    return fill(Images(tmp_path / "good"))


@pytest.fixture(name="images")
def _images(tmp_path: pathlib.Path) -> Images:
    """The same, to be damaged."""
    return fill(Images(tmp_path / "layout"))


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "layout"


def fill(images: Images) -> Images:
    images.index(images.image(tar_of(a="1")), images.image(tar_of(a="2"), platform="linux/arm64"), tags=["v1"])
    images.image(tar_of(a="3"), tags=["v2"])
    return images


def part(images: Images, ref: str, *keys: t.Union[str, int]) -> Digest:
    """A digest below a ref, as ``"manifests", 0, "layers", 0``; documents on the way are opened."""
    desc = images.layout.resolve(ref)
    for place in range(0, len(keys), 2):
        found = images.json(desc)[keys[place]]  # type: ignore[index]
        desc = Descriptor.parse(found[keys[place + 1]])
    return desc.digest


def seen_of(store: Store) -> Audit:
    return verified(audit(store), 4)


def supply(name: str, store: Source) -> Supply:
    return Supply(name, store)


def repair(store: Store, *sources: Source, missing: bool = True) -> Outcome:
    """Planned, done as planned; then nothing is left that a source has."""
    before = state(pathlib.Path(store.path))
    supplies = [supply(f"source {number}", source) for number, source in enumerate(sources)]
    plan = plan_repair(seen_of(store), supplies, missing, 4)
    assert state(pathlib.Path(store.path)) == before, "a plan only reads"
    done = apply_repair(plan, store, 4)
    assert done == planned(plan)
    again = plan_repair(seen_of(type(store)(store.path)), supplies, missing, 4)
    assert not again.fixes and [lost.desc for lost in again.lost] == [lost.desc for lost in done.lost]
    return done


def is_sound(store: Store) -> bool:
    found = seen_of(type(store)(store.path))
    return not found.damaged and not found.missing


@FORMS
@pytest.mark.parametrize(
    "keys",
    [("v1",), ("v1", "manifests", 1), ("v1", "manifests", 1, "layers", 0), ("v2",), ("v2", "layers", 0)],
    ids=["index", "manifest", "layer of an index", "image", "layer"],
)
@pytest.mark.parametrize("how", ["damaged", "cut", "missing"])
def test_each_thing_that_can_break(
    images: Images, good: Images, path: pathlib.Path, form: str, keys: t.Tuple[t.Any, ...], how: str
) -> None:
    digest = part(good, *keys)
    if how == "damaged":
        flip(path, digest)
    elif how == "cut":
        blob(path, digest).write_bytes(blob(path, digest).read_bytes()[:20])
    else:
        blob(path, digest).unlink()
    store = stored_at(path, form)
    done = repair(store, good.layout)
    assert [(fixed.desc.digest, fixed.was, fixed.by) for fixed in done.fixed] == [
        (digest, "missing" if how == "missing" else "damaged", "source 0")
    ]
    assert not done.lost and is_sound(store) and blobs_of(store) == blobs_of(good.layout)


@FORMS
def test_everything_but_the_index_is_lost(images: Images, good: Images, path: pathlib.Path, form: str) -> None:
    """What the manifests name that are fetched is fetched as well; children come before what names them."""
    for name in list(blobs_of(images.layout)):
        blob(path, Digest(name)).unlink()
    store = stored_at(path, form)
    plan = plan_repair(seen_of(store), [supply("good", good.layout)], True, 4)
    order = [fix.desc.digest for fix in plan.fixes]
    for root in (good.layout.resolve(ref) for ref in ("v1", "v2")):
        for desc in good.layout.under(root):
            below = good.layout.under(desc)[1:]
            assert all(order.index(child.digest) < order.index(desc.digest) for child in below)
    done = repair(store, good.layout)
    assert {str(fixed.desc.digest) for fixed in done.fixed} == blobs_of(good.layout) and is_sound(store)


@FORMS
def test_only_what_is_broken_is_touched(images: Images, good: Images, path: pathlib.Path, form: str) -> None:
    (path / "README").write_text("mine")
    edit_index(path, lambda index: index.update(annotations={"com.example": "mine"}))
    dangling = add_blob(path, b"nobody wants it")
    layer = part(images, "v2", "layers", 0)
    before = state(path)
    flip(path, layer)
    store = stored_at(path, form)
    repair(store, good.layout)
    if form == "folder":
        after = state(path)
        assert {name for name in before if before[name] != after[name]} == {str(blob(path, layer))} and set(before) == set(after)
        assert before[str(blob(path, layer))][2] == after[str(blob(path, layer))][2]
    else:
        left = Archive(store.path)
        assert "README" in left.opened().members and dangling in blobs_of(left) and left.names() == ["v1", "v2"]
        assert b"com.example" in left.index.to_bytes()


@FORMS
def test_nothing_to_do_asks_nobody(images: Images, path: pathlib.Path, form: str) -> None:
    flip(path, add_blob(path, b"nobody wants it"))
    store = stored_at(path, form)
    assert repair(store, Asked(Layout("/nowhere"))) == Outcome((), ())


def test_what_is_missing_may_stay_so(images: Images, good: Images, path: pathlib.Path) -> None:
    for digest in (part(good, "v1", "manifests", 1), part(good, "v1", "manifests", 1, "layers", 0)):
        blob(path, digest).unlink()
    layer = part(good, "v2", "layers", 0)
    flip(path, layer)
    done = repair(images.layout, good.layout, missing=False)
    assert [fixed.desc.digest for fixed in done.fixed] == [layer] and len(seen_of(images.layout).missing) == 1


@FORMS
def test_what_nobody_has(images: Images, good: Images, path: pathlib.Path, tmp_path: pathlib.Path, form: str) -> None:
    """It is named, with what each source said; the rest is repaired."""
    lost, manifest, layer = part(good, "v1", "manifests", 1, "layers", 0), part(good, "v2"), part(good, "v2", "layers", 0)
    flip(path, lost)
    blob(path, manifest).unlink()
    flip(path, layer)
    blob(tmp_path / "good", lost).unlink()
    other = Images(tmp_path / "other")
    other.image(tar_of(z="z"), tags=["z"])
    store = stored_at(path, form)
    done = repair(store, good.layout, other.layout)
    assert {fixed.desc.digest for fixed in done.fixed} == {manifest, layer}
    (entry,) = done.lost
    assert (entry.desc.digest, entry.was) == (lost, "damaged")
    said = entry.error.split("; ")
    assert (
        len(said) == 2 and said[0].startswith(f"layout {tmp_path}/good: no such file") and said[1].startswith(f"layout {tmp_path}/other: ")
    )
    assert list(seen_of(type(store)(store.path)).damaged) == [lost]


class Asked(Source):
    """``inner``, noting what it is asked; ``fails``: what it does instead of opening content."""

    def __init__(self, inner: Layout, fails: t.Optional[Exception] = None) -> None:
        self.location = "asked"
        self.inner = inner
        self.fails = fails
        self.asked: t.List[Digest] = []

    def _exists(self, desc: Descriptor) -> bool:
        self.asked.append(desc.digest)
        return self.inner.exists(desc)

    def _open(self, desc: Descriptor) -> RawReader:
        if self.fails is not None:
            raise self.fails
        self.asked.append(desc.digest)
        return self.inner._open(desc)

    def _resolve(self, reference: t.Optional[str]) -> Descriptor:
        raise NotImplementedError


def test_sources_are_asked_in_order(images: Images, good: Images, path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    digests = [part(good, "v2", "layers", 0), part(good, "v1", "manifests", 0, "layers", 0)]
    for digest in digests:
        flip(path, digest)
    blob(tmp_path / "good", digests[0]).rename(tmp_path / "aside")
    first, second = Asked(good.layout), Asked(fill(Images(tmp_path / "second")).layout)
    done = repair(images.layout, first, second)
    assert {fixed.desc.digest: fixed.by for fixed in done.fixed} == {digests[0]: "source 1", digests[1]: "source 0"}
    assert digests[1] not in second.asked


@FORMS
@pytest.mark.parametrize("remote", [False, True])
def test_a_source_that_is_damaged_itself(
    images: Images, good: Images, path: pathlib.Path, tmp_path: pathlib.Path, form: str, remote: bool
) -> None:
    """Its word that it has a blob is not believed: the next one is asked, also for a manifest. On disk the plan knows it already."""
    layer, manifest = part(good, "v2", "layers", 0), part(good, "v1", "manifests", 0)
    for digest in (layer, manifest):
        flip(path, digest)
        flip(tmp_path / "good", digest)
    store = stored_at(path, form)
    second = fill(Images(tmp_path / "second")).layout
    bad = Asked(good.layout)
    bad.remote = remote
    plan = plan_repair(seen_of(store), [supply("bad", bad), supply("second", second)], True, 4)
    assert [fix.supplies[0].name for fix in plan.fixes] == (["bad", "second"] if remote else ["second", "second"])
    done = apply_repair(plan, store, 4)
    assert {fixed.desc.digest: fixed.by for fixed in done.fixed} == {layer: "second", manifest: "second"} and is_sound(store)


@FORMS
def test_all_sources_are_damaged(images: Images, good: Images, path: pathlib.Path, tmp_path: pathlib.Path, form: str) -> None:
    layer, manifest = part(good, "v2", "layers", 0), part(good, "v1", "manifests", 0)
    for folder in (path, tmp_path / "good"):
        flip(folder, layer)
        flip(folder, manifest)
    store = stored_at(path, form)
    before = state(pathlib.Path(store.path))
    done = apply_repair(plan_repair(seen_of(store), [supply("bad", good.layout)], True, 4), store, 4)
    assert not done.fixed and {lost.desc.digest for lost in done.lost} == {layer, manifest}
    assert all("another digest" in lost.error for lost in done.lost) and state(pathlib.Path(store.path)) == before


@FORMS
def test_a_network_that_fails_keeps_the_rest_from_nothing(images: Images, good: Images, path: pathlib.Path, form: str) -> None:
    layer, other = part(good, "v2", "layers", 0), part(good, "v1", "manifests", 0, "layers", 0)
    flip(path, layer)
    flip(path, other)
    store = stored_at(path, form)
    bad = Asked(good.layout)
    plan = plan_repair(seen_of(store), [supply("bad", bad)], True, 4)
    good_supply = supply("good", good.layout)
    plan = Plan(tuple(fix._replace(supplies=(good_supply,)) if fix.desc.digest == other else fix for fix in plan.fixes))
    bad.fails = TransportError("the line is dead")
    done = apply_repair(plan, store, 4)
    assert [fixed.desc.digest for fixed in done.fixed] == [other] and "the line is dead" in done.lost[0].error
    assert list(seen_of(type(store)(store.path)).damaged) == [layer]
    assert not list(path.parent.rglob(".lading-*"))


def test_an_error_of_the_disk_is_no_fault_of_a_source(
    images: Images, good: Images, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(path, part(good, "v2", "layers", 0))
    plan = plan_repair(seen_of(images.layout), [supply("good", good.layout)], True, 4)

    def full(*_args: t.Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Layout, "_push", full)
    with pytest.raises(StorageError, match="No space left"):
        apply_repair(plan, images.layout, 4)


def test_what_a_manifest_has_in_itself(images: Images, good: Images, path: pathlib.Path) -> None:
    """An empty config with its data is there again without any source."""
    image = images.layout.resolve("v2")
    images.referrer(image, "application/vnd.example.sbom")
    blob(path, EMPTY).unlink()
    done = repair(images.layout, good.layout)
    assert [(fixed.desc.digest, fixed.by) for fixed in done.fixed] == [(EMPTY.digest, EMBEDDED)] and is_sound(images.layout)


def test_a_blob_that_is_a_link_is_replaced(images: Images, good: Images, path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    layer = part(good, "v2", "layers", 0)
    blob(path, layer).rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("somebody's")
    blob(path, layer).symlink_to(tmp_path / "elsewhere")
    repair(images.layout, good.layout)
    assert not blob(path, layer).is_symlink() and (tmp_path / "elsewhere").read_text() == "somebody's" and is_sound(images.layout)


def test_without_a_look_at_the_content_only_sizes_tell(images: Images, good: Images, path: pathlib.Path) -> None:
    """Also of what only a manifest names that comes from a source."""
    manifest, layer = part(good, "v2"), part(good, "v2", "layers", 0)
    blob(path, manifest).unlink()
    blob(path, layer).write_bytes(b"short")
    flip(path, part(good, "v1", "manifests", 0, "layers", 0))
    plan = plan_repair(audit(images.layout), [supply("good", good.layout)], True, 4)
    assert [(fix.desc.digest, fix.was) for fix in plan.fixes] == [(layer, "damaged"), (manifest, "missing")]


def test_a_damaged_manifest_below_one_that_is_missing(images: Images, good: Images, path: pathlib.Path) -> None:
    index, manifest = part(good, "v1"), part(good, "v1", "manifests", 0)
    blob(path, index).unlink()
    flip(path, manifest)
    plan = plan_repair(audit(images.layout), [supply("good", good.layout)], True, 4)
    assert [(fix.desc.digest, fix.was) for fix in plan.fixes] == [(manifest, "damaged"), (index, "missing")]
    apply_repair(plan, images.layout, 4)
    assert is_sound(images.layout)


def test_a_compressed_tar_is_not_written(images: Images, good: Images, path: pathlib.Path) -> None:
    import gzip

    flip(path, part(good, "v2", "layers", 0))
    tar = as_tar(path)
    tar.write_bytes(gzip.compress(tar.read_bytes()))
    store = Archive(str(tar))
    with pytest.raises(InvalidError, match="it can be read, but not written"):
        plan_repair(seen_of(store), [supply("good", good.layout)], True, 4)


@FORMS
def test_an_index_without_a_valid_entry(images: Images, good: Images, path: pathlib.Path, form: str) -> None:
    """Nobody can know what such an entry means: what it may name is kept, and not repaired."""
    root = part(good, "v1")
    edit_index(path, lambda index: index.update(manifests=[{"digest": root}]))
    flip(path, root)
    assert repair(stored_at(path, form), good.layout) == Outcome((), ())

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What is damaged or missing in a layout, fetched again from where it is whole: by digest, verified, and nothing else is touched."""

from __future__ import annotations

import os
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

from .audit import Audit
from .content.names import IndexedStore
from .content.overlay import Overlay, Spool
from .content.slices import Slice
from .content.store import Incoming, Opener, Source, again_on_mismatch, bytes_opener
from .reach import StoredDocuments, entries_of, reach_of
from .results import diff_of
from .spec import mediatype
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, MismatchError, NotFoundError, OCIError, RegistryError, TransportError, located
from .spec.graph import post_order
from .spec.progress import PROGRESS
from .verify import read_whole

if t.TYPE_CHECKING:
    from .content.archive import Archive

DAMAGED, MISSING = "damaged", "missing"
EMBEDDED = "embedded"
# What a source may say or do, after which the next one is asked.
_OF_SOURCES = (NotFoundError, InvalidError, MismatchError, RegistryError, TransportError)


class Supply(t.NamedTuple):
    """A source to repair from; ``name`` as it was given."""

    name: str
    store: Source


class Fix(t.NamedTuple):
    """``supplies``: those that may have it, in order. ``content``: of a document, which planning has read from the first of them."""

    desc: Descriptor
    was: str
    supplies: t.Tuple[Supply, ...]
    content: t.Optional[bytes] = None


class Fixed(t.NamedTuple):
    desc: Descriptor
    was: str
    by: str


class Lost(t.NamedTuple):
    desc: Descriptor
    was: str
    error: str


class Plan(t.NamedTuple):
    """``fixes``: blobs before manifests, these before the indexes that name them."""

    fixes: t.Tuple[Fix, ...] = ()
    lost: t.Tuple[Lost, ...] = ()


class Outcome(t.NamedTuple):
    fixed: t.Tuple[Fixed, ...]
    lost: t.Tuple[Lost, ...]


def planned(plan: Plan) -> Outcome:
    """What is to come of it."""
    return Outcome(tuple(Fixed(fix.desc, fix.was, fix.supplies[0].name) for fix in plan.fixes), plan.lost)


def plan_repair(seen: Audit, supplies: t.Sequence[Supply], missing: bool, concurrency: int) -> Plan:
    """What of what is reached is ``damaged``, and with ``missing`` what is missing; of the manifests among these, what they name as well.

    Manifests are read from the sources, other blobs are asked for.
    """
    broken = any(digest in seen.reach for digest in seen.damaged) or (missing and seen.missing)
    if not broken or not entries_of(seen.store.index):
        return Plan()
    documents = _Mended(seen, supplies, missing)
    reach = reach_of(seen.store, seen.inventory, documents)
    whole = Audit(seen.store, seen.inventory, reach, seen.checked)
    damaged = {digest for digest in {**seen.damaged, **whole.damaged, **documents.damaged} if digest in reach}
    order = _children_first(damaged | (set(whole.missing) if missing else set()), whole)
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        looked = pool.map(lambda digest: _look(documents, reach.desc(digest), DAMAGED if digest in damaged else MISSING), order)
        found = sorted(looked, key=lambda one: mediatype.is_manifest(one.desc.media_type))
    fixes = tuple(one for one in found if isinstance(one, Fix))
    if fixes and seen.store.is_tar:
        with located(seen.store.location):
            t.cast("Archive", seen.store).check_writable()
    return Plan(fixes, tuple(one for one in found if isinstance(one, Lost)))


def _children_first(digests: t.AbstractSet[Digest], whole: Audit) -> t.List[Digest]:
    def children(desc: Descriptor) -> t.Sequence[Descriptor]:
        document = whole.reach.manifests.get(desc.digest)
        return document.manifests if document is not None else ()

    order: t.Dict[Digest, None] = {}
    for root in entries_of(whole.store.index).values():
        order.update(dict.fromkeys(desc.digest for desc in post_order(root, children)))
    return [*(digest for digest in order if digest in digests), *(digest for digest in whole.reach.edges if digest in digests - set(order))]


class _Mended:
    """The layout's documents; manifests that are damaged, and with ``missing`` those that are not there, as the sources have them."""

    def __init__(self, seen: Audit, supplies: t.Sequence[Supply], missing: bool) -> None:
        self.own = seen.store
        self.supplies = tuple(supplies)
        self.found: t.Dict[Digest, t.Tuple[Supply, bytes]] = {}
        self.failed: t.Dict[Digest, str] = {}
        self._stored = StoredDocuments(seen.store, seen.inventory)
        self.damaged = dict(seen.damaged)
        self._missing = missing

    def size_of(self, digest: Digest) -> t.Optional[int]:
        return self._stored.size_of(digest)

    def read(self, desc: Descriptor) -> t.Optional[bytes]:
        stored = self.size_of(desc.digest) is not None
        if not mediatype.is_manifest(desc.media_type) or not (stored or self._missing):
            return self._stored.read(desc)
        if stored and desc.digest not in self.damaged:
            try:
                return self._stored.read(desc)
            except (InvalidError, MismatchError) as error:
                # Only a source's manifest names it, so nobody has looked at it before.
                self.damaged[desc.digest] = error.message
        return self._fetch(desc)

    def _fetch(self, desc: Descriptor) -> t.Optional[bytes]:
        errors = []
        for supply in self.supplies:
            try:
                content = supply.store.fetch_bytes(desc)
            except _OF_SOURCES as error:
                errors.append(str(error))
                continue
            self.found[desc.digest] = (supply, content)
            return content
        self.failed[desc.digest] = "; ".join(errors)
        return None


def _look(documents: _Mended, desc: Descriptor, was: str) -> t.Union[Fix, Lost]:
    """Who has it."""
    if desc.digest in documents.found:
        supply, content = documents.found[desc.digest]
        return Fix(desc, was, (supply,), content)
    if desc.digest in documents.failed:
        return Lost(desc, was, documents.failed[desc.digest])
    if desc.data is not None:
        return Fix(desc, was, (Supply(EMBEDDED, documents.own),), desc.data)
    errors = []
    for number, supply in enumerate(documents.supplies):
        try:
            if _has(supply.store, desc):
                return Fix(desc, was, documents.supplies[number:])
            errors.append(f"{supply.store.location}: it is not there")
        except _OF_SOURCES as error:
            errors.append(str(error))
    return Lost(desc, was, "; ".join(errors))


def _has(source: Source, desc: Descriptor) -> bool:
    """On its word over a network, where reading it all would be to fetch it twice. Raises what reading raises."""
    if not source.remote:
        read_whole(source, desc)
        return True
    return source.exists(desc)


def apply_repair(plan: Plan, store: IndexedStore, concurrency: int) -> Outcome:
    """Do what the plan says; what a source cannot give after all is lost, and the rest is repaired all the same."""
    if not plan.fixes:
        return planned(plan)
    PROGRESS.expect(fix.desc for fix in plan.fixes)
    return _into_archive(plan, store, concurrency) if store.is_tar else _into_folder(plan, store, concurrency)


def _into_folder(plan: Plan, store: IndexedStore, concurrency: int) -> Outcome:
    failures: t.Dict[Digest, OCIError] = {}
    try:
        with store.receiving(_incoming(store, plan.fixes)):
            outcome = _bring(plan, store.push, concurrency, failures)
            for failure in failures.values():
                if isinstance(failure, (TransportError, RegistryError)):
                    # What has come of a blob stays for the next run when the bracket is left like this.
                    raise failure
    except OCIError as error:
        if not any(error is failure for failure in failures.values()):
            raise
    return outcome


def _into_archive(plan: Plan, store: IndexedStore, concurrency: int) -> Outcome:
    """A tar is laid out before content comes, so first comes what can be had."""
    spooled = _Spooled(store)
    outcome = _bring(plan, spooled.push, concurrency, {})
    had = {fixed.desc.digest for fixed in outcome.fixed}
    fixes = [fix for fix in plan.fixes if fix.desc.digest in had]
    if fixes:
        with store.receiving(_incoming(store, fixes)):
            for fix in fixes:
                store.push(fix.desc, spooled.opener(fix.desc))
    return outcome


def _incoming(store: IndexedStore, fixes: t.Sequence[Fix]) -> Incoming:
    """Under an entry that index.json has, so that it stays as it is."""
    root = next(iter(entries_of(store.index).values()))
    damaged = frozenset(fix.desc.digest for fix in fixes if fix.was == DAMAGED)
    return Incoming(root, missing=tuple(fix.desc for fix in fixes), damaged=damaged)


Push = t.Callable[[Descriptor, Opener], None]


def _bring(plan: Plan, push: Push, concurrency: int, failures: t.Dict[Digest, OCIError]) -> Outcome:
    """``failures`` is filled with what the last source of each lost blob said."""

    def bring(fix: Fix) -> t.Union[Fixed, Lost]:
        for supply in fix.supplies:
            try:
                again_on_mismatch(supply.store.remote, lambda one=supply: push(fix.desc, _opener(fix, one)))  # type: ignore[misc]
                return Fixed(fix.desc, fix.was, supply.name)
            except _OF_SOURCES as error:
                failures[fix.desc.digest] = error
        return Lost(fix.desc, fix.was, str(failures[fix.desc.digest]))

    blobs = [fix for fix in plan.fixes if not mediatype.is_manifest(fix.desc.media_type)]
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        done = list(pool.map(bring, blobs))
    done += [bring(fix) for fix in plan.fixes[len(blobs) :]]
    lost = [*plan.lost, *(one for one in done if isinstance(one, Lost))]
    return Outcome(tuple(one for one in done if isinstance(one, Fixed)), tuple(lost))


def _opener(fix: Fix, supply: Supply) -> Opener:
    if fix.content is not None:
        return bytes_opener(fix.desc, fix.content)
    return lambda have=None: supply.store.fetch(fix.desc, have)


class _Spooled:
    """Content on its way into a tar, in one file without a name, each at a place of its own."""

    def __init__(self, store: IndexedStore) -> None:
        self._overlay = Overlay(store)
        self._file = Spool(t.cast("Archive", store).path).open()
        self._lock = threading.Lock()
        self._end = 0

    def push(self, desc: Descriptor, content: Opener) -> None:
        with self._lock:
            start, self._end = self._end, self._end + desc.size
        offset = start
        with content() as reader:
            for piece in reader.pieces():
                offset += _write_at(self._file.fileno(), piece, offset)
        self._overlay.add(desc, lambda: Slice(self._file.fileno(), start, desc.size))

    def opener(self, desc: Descriptor) -> Opener:
        return lambda have=None: self._overlay.fetch(desc, have)


def _write_at(descriptor: int, piece: memoryview, offset: int) -> int:
    written = 0
    while written < len(piece):
        written += os.pwrite(descriptor, piece[written:], offset + written)
    return written


def repair_result(outcome: Outcome, name: str) -> t.Dict[str, t.Any]:
    """What the module returns of it, in check mode of what is planned."""
    fixed = [(one.desc, one.was) for one in outcome.fixed]
    lost = [(one.desc, one.was) for one in outcome.lost]
    before = [f"{_kind(desc)} {desc}: {was}" for desc, was in [*fixed, *lost]]
    after = [*(f"{_kind(desc)} {desc}: intact" for desc, _was in fixed), *(f"{_kind(desc)} {desc}: {was}" for desc, was in lost)]
    return {
        "changed": bool(fixed),
        "repaired": [{**_named(one.desc), "was": one.was, "source": one.by} for one in outcome.fixed],
        "unrepaired": [{**_named(one.desc), "was": one.was, "error": one.error} for one in outcome.lost],
        "diff": diff_of(name, before, after),
    }


def _kind(desc: Descriptor) -> str:
    return "manifest" if mediatype.is_manifest(desc.media_type) else "blob"


def _named(desc: Descriptor) -> t.Dict[str, t.Any]:
    return {"digest": desc.digest, "media_type": desc.media_type, "size": desc.size}


def what_is_lost(outcome: Outcome) -> str:
    """The words of a task that could not repair everything."""
    first = outcome.lost[0]
    more = f", and {len(outcome.lost) - 1} more" if len(outcome.lost) > 1 else ""
    return f"cannot repair {first.desc.digest}, which is {first.was}{more}: {first.error}"

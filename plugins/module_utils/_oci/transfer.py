# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Carry out what copies have planned: blobs in parallel, then manifests and names."""

from __future__ import annotations

import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

from .content.store import Fetcher, Incoming, Named, Opener, Prefix, Target, VerifyingReader, again_on_mismatch, bytes_opener
from .copy import CopyPlan, Outcome
from .spec import mediatype
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.ending import stopped_by
from .spec.errors import CancelledError
from .spec.progress import PROGRESS

Item = t.TypeVar("Item")


def apply_all(plans: t.Sequence[t.Tuple[CopyPlan, Fetcher]], dst: Target, concurrency: int, unmoved: bool) -> Outcome:
    """See ``copy.apply_copies``."""
    outcome = Outcome()
    changed = [(plan, src) for plan, src in plans if plan.changed]
    if not changed:
        return outcome
    incoming = _incoming([plan for plan, _src in changed])
    with dst.receiving(incoming._replace(unmoved=_named_now(changed)) if unmoved else incoming):
        blobs = [(plan, src, desc) for plan, src in changed for desc in plan.missing if not mediatype.is_manifest(desc.media_type)]
        PROGRESS.expect(desc for plan, _src, desc in blobs if desc.digest not in plan.mounted)
        _transfer_all(blobs, dst, concurrency, outcome)
        for plan, src in changed:
            for desc in plan.missing:
                if mediatype.is_manifest(desc.media_type) and desc.digest != plan.root.digest:
                    dst.push(desc, bytes_opener(desc, plan.manifests[desc.digest]))
            dst.tag(plan.root, _root_bytes(plan, src), plan.moving)
    return outcome


def _named_now(plans: t.Sequence[t.Tuple[CopyPlan, Fetcher]]) -> t.Dict[str, t.Optional[Digest]]:
    current = [item for plan, _src in plans for item in plan.current.items()]
    return {name: desc.digest if desc is not None else None for name, desc in current}


def _incoming(plans: t.Sequence[CopyPlan]) -> Incoming:
    first, *others = plans
    missing = tuple(desc for plan in plans for desc in plan.missing)
    coming = {desc.digest for desc in missing}
    return Incoming(
        first.root,
        tuple(first.current),
        missing,
        tuple(desc for plan in plans for desc in plan.present if desc.digest not in coming),
        tuple(Named(plan.root, tuple(plan.current)) for plan in others),
        frozenset(digest for plan in plans for digest in plan.damaged),
    )


def _root_bytes(plan: CopyPlan, src: Fetcher) -> bytes:
    content = plan.manifests.get(plan.root.digest)
    return content if content is not None else src.fetch_bytes(plan.root)


def _transfer_all(blobs: t.Sequence[t.Tuple[CopyPlan, Fetcher, Descriptor]], dst: Target, concurrency: int, outcome: Outcome) -> None:
    stop = threading.Event()

    def transfer(blob: t.Tuple[CopyPlan, Fetcher, Descriptor]) -> None:
        plan, src, desc = blob
        if stop.is_set():
            return
        try:
            if desc.digest in plan.mounted and dst.mount(desc, src.origin(desc)):
                outcome.mounted.add(desc.digest)
            elif not dst.adopt(desc, src.origin(desc)):
                PROGRESS.expect([desc])  # the registry may have refused to mount it
                opener = stoppable(src, desc, stop)
                again_on_mismatch(src.origin(desc).remote, lambda: dst.push(desc, opener))
        except BaseException:
            stop.set()
            raise

    run_all(transfer, blobs, concurrency, stop)


def run_all(work: t.Callable[[Item], None], items: t.Sequence[Item], concurrency: int, stop: threading.Event) -> None:
    """``work`` on each item, in parallel; the first real error ends the rest (``stop``), their pauses too, and is raised."""

    def stoppable(item: Item) -> None:
        with stopped_by(stop):
            work(item)

    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        futures = [pool.submit(stoppable, item) for item in items]
        try:
            errors = [future.exception() for future in futures]
        except BaseException:
            stop.set()
            raise
    failures = [error for error in errors if error is not None]
    for error in failures:
        if not isinstance(error, CancelledError):
            raise error
    for error in failures:
        raise error


def stoppable(src: Fetcher, desc: Descriptor, stop: t.Optional[threading.Event]) -> Opener:
    """The content, whose reading ends when ``stop`` is set."""

    def opener(have: t.Optional[Prefix] = None) -> VerifyingReader:
        reader = src.fetch(desc, have)
        reader.stop = stop
        return reader

    return opener

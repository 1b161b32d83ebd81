# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The options of an index, checked and turned into what the IndexBuilder takes."""

from __future__ import annotations

import typing as t

from .content.store import Source
from .file_options import created_of, media_type_of
from .indexes import Addition, IndexBuilder, Removal
from .spec.descriptor import CREATED, Descriptor
from .spec.errors import InvalidError
from .spec.platform import Platform
from .spec.reference import Reference
from .strings import strings

Params = t.Mapping[str, t.Any]
# Of an item that is to be there: its reference, its store.
Opened = t.Tuple[Reference, Source]


class IndexOptions:
    """``params`` as the module documents them. Raises InvalidError before anything is read."""

    def __init__(self, params: Params, environment: t.Mapping[str, str]) -> None:
        self.append = bool(params["append"])
        created = created_of(params["created"], environment)
        dated = {CREATED: str(created)} if created else {}
        self._annotations = {**dated, **strings(params["annotations"], "annotations")}
        self._artifact_type = media_type_of(params["artifact_type"], "artifact_type") or ""
        self._items = [_checked(item, number, self.append) for number, item in enumerate(params["manifests"])]

    @property
    def sources(self) -> t.List[Params]:
        """The items that have a source, in order."""
        return [item for item in self._items if item["state"] == "present"]

    def build(self, builder: IndexBuilder, opened: t.Sequence[Opened], current: t.Optional[Descriptor]) -> Descriptor:
        """The root of the index; ``opened`` belongs to ``sources``, ``current`` is what the tag names now."""
        following = iter(opened)
        changes = [
            _addition(item, number, *next(following)) if item["state"] == "present" else Removal(Platform.parse(item["platform"]))
            for number, item in enumerate(self._items)
        ]
        return builder.build(changes, self._annotations, self._artifact_type, current if self.append else None)


def _checked(item: Params, number: int, append: bool) -> Params:
    what = f"manifests[{number}]"
    if item["platform"] is not None:
        Platform.parse(item["platform"])
    if item["nested"] and item["platform"] is not None:
        raise InvalidError(f"{what}: nested takes an index as a whole, platform one image of it: give one or the other")
    if item["state"] == "absent" and not append:
        raise InvalidError(f"{what}: state=absent takes an entry from the index that is there: it needs append")
    strings(item["annotations"], f"{what}.annotations")
    return item


def _addition(item: Params, number: int, parsed: Reference, source: Source) -> Addition:
    platform = Platform.parse(item["platform"]) if item["platform"] is not None else None
    what = f"manifests[{number}] ({parsed})"
    return Addition(number, what, source.resolve(parsed.target), platform, item["annotations"], item["nested"])


def requests_of_all(opened: t.Sequence[Opened]) -> t.Dict[str, int]:
    """HTTP requests by verb, of all the sources together; one that several items share is counted once."""
    total: t.Dict[str, int] = {}
    for source in {id(source): source for _parsed, source in opened}.values():
        for verb, count in source.requests.items():
            total[verb] = total.get(verb, 0) + count
    return total

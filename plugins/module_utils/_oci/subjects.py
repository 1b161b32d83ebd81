# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Which manifests others can be attached to, and what is attached to one of them."""

from __future__ import annotations

import typing as t

from .content.store import Fetcher, Source
from .spec import mediatype
from .spec.descriptor import Descriptor
from .spec.graph import post_order
from .spec.manifest import parse
from .spec.referrers import listed_as


def manifests_under(content: Fetcher, root: Descriptor) -> t.List[Descriptor]:
    """The root and every manifest below it, the root first; only indexes are read."""

    def children(desc: Descriptor) -> t.Sequence[Descriptor]:
        if not mediatype.is_index(desc.media_type):
            return ()
        return [child for child in parse(desc, content.fetch_bytes(desc)).manifests if mediatype.is_manifest(child.media_type)]

    return post_order(root, children)[::-1]


def typed_referrers(source: Source, subject: Descriptor) -> t.List[Descriptor]:
    """What is attached to ``subject``, each with its artifact type: some registries list it by its config's, the empty one, or by none."""
    return [_typed(source, desc) for desc in source.referrers(subject)]


def _typed(source: Source, referrer: Descriptor) -> Descriptor:
    if referrer.artifact_type not in ("", mediatype.OCI_EMPTY):
        return referrer
    return listed_as(referrer, parse(referrer, source.fetch_bytes(referrer)))

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What is returned of manifests that are attached, and of those that go."""

from __future__ import annotations

import typing as t

from .results import Result, content_of, diff_of
from .spec import reference
from .spec.descriptor import Descriptor

if t.TYPE_CHECKING:
    from .attaching import Attachment
    from .removal import Removal


def attachment_result(attachment: Attachment, subject: Descriptor, name: str) -> Result:
    """What a module returns of what it attaches. ``name`` is the destination's."""
    referrer = attachment.referrer
    line = f"referrer {referrer.digest} ({referrer.artifact_type}) of {subject.digest}"
    content = [text for attached in attachment.plans for text in content_of(attached.plan)]
    return {
        "changed": attachment.changed,
        "digest": referrer.digest,
        "reference": f"{name}@{referrer.digest}",
        "artifact_type": referrer.artifact_type,
        "diff": diff_of(name, [] if attachment.changed else [line], [line, *content]),
    }


def removal_result(removal: Removal, dest: reference.Reference) -> Result:
    """What a module returns of manifests that go: a tag that named the first of them goes along wherever it is."""
    named = {dest.tag: removal.gone[0].digest} if dest.tag and removal.gone else {}
    names = {**named, **removal.names}
    gone = [f"manifest {desc.digest}" for desc in removal.gone]
    return {
        "changed": removal.changed,
        "deleted": [desc.digest for desc in removal.gone],
        "tags": {tag: {"before": digest, "after": None} for tag, digest in names.items()},
        "diff": diff_of(dest.name, [*(f"{tag}: {digest}" for tag, digest in names.items()), *gone], [f"{tag}: absent" for tag in names]),
    }

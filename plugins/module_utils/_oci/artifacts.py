# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""An artifact packed beside its destination: a copy of its root from there writes it."""

from __future__ import annotations

import tempfile
import typing as t

from .artifact_files import Artifact
from .content.overlay import Overlay, Spool
from .content.store import Source
from .known import known_layers
from .layer import Tree
from .layer_maker import LayerMaker
from .pack import Packer
from .spec.descriptor import Descriptor
from .spec.manifest import Manifest, parse
from .spec.reference import LayoutReference, Reference
from .spec.referrers import listed_as


class Packed(t.NamedTuple):
    """``root`` of an artifact, its ``document``, and where both can be read."""

    content: Overlay
    root: Descriptor
    document: Manifest

    @property
    def artifact_type(self) -> str:
        """As registries list it: the config's type where it has none of its own."""
        return listed_as(self.root, self.document).artifact_type


def pack(artifact: Artifact, dest: Reference, target: Source, name: t.Optional[str], check_mode: bool) -> Packed:
    """Pack over ``target``. Folders that ``name`` has there already are taken over as they are, whatever library compressed them.

    In check mode nothing is kept of what is compressed. Raises InvalidError, NotFoundError, StorageError.
    """
    near = dest.path if isinstance(dest, LayoutReference) else tempfile.gettempdir()
    overlay, spool = Overlay(target), Spool(None if check_mode else near)
    has_folders = any(isinstance(file.source, Tree) for file in artifact.files)
    known = known_layers(target, name) if has_folders and name is not None else {}
    root = Packer(overlay, LayerMaker(overlay, spool, known)).artifact(artifact)
    return Packed(overlay, root, parse(root, overlay.fetch_bytes(root)))

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What an image is built on: an image of some store, or nothing."""

from __future__ import annotations

import os
import typing as t

from .content.store import Source
from .spec import manifest, mediatype, strictjson
from .spec.descriptor import Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, located
from .spec.image import ImageConfig, check_layers, has_config, parse_config
from .spec.platform import Platform, best, candidates, nothing_for
from .spec.reference import LayoutReference, Reference

Document = t.Mapping[str, t.Any]
_MAX_NESTING = 8
_UNKNOWN_LAYER = {"comment": "a layer of the base, which has no history of it"}


class Base(t.NamedTuple):
    """``layers``: the descriptors as its manifest has them, under OCI's media types; ``digest``: its manifest's, None for no base."""

    config: ImageConfig
    layers: t.Tuple[Document, ...] = ()
    digest: t.Optional[Digest] = None

    @property
    def history(self) -> t.List[Document]:
        """One entry that is not marked empty for each layer. What the config has, when it is so; else made so, as BuildKit does."""
        entries = self.config.history
        surplus = sum(1 for entry in entries if not entry.get("empty_layer")) - len(self.layers)
        for number, entry in enumerate(entries):
            if surplus > 0 and not entry.get("empty_layer"):
                entries[number] = {**entry, "empty_layer": True}
                surplus -= 1
        return [*entries, *([_UNKNOWN_LAYER] * -surplus)]


def scratch(platform: Platform) -> Base:
    """No base: no layers, and a config that says the platform."""
    return Base(ImageConfig(platform.to_json(), (), platform))


def check_apart(base: Reference, dest: LayoutReference) -> None:
    """Raises InvalidError when the base is the ref that is built: each run would put the layers on top once more."""
    if isinstance(base, LayoutReference) and base.tag == dest.tag and _real(base.path) == _real(dest.path):
        raise InvalidError(f"base {base} is the ref that is built: give the result another tag, or the base's digest")


def _real(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))


def load_base(source: Source, reference: t.Optional[str], wanted: t.Optional[Platform]) -> Base:
    """The image that ``reference`` names; of an index that for ``wanted``, or for Linux on this machine's kind of processor.

    Reads manifests and the config, no layer. Raises InvalidError for what is not an image or is for another platform than ``wanted``,
    NotFoundError when an index has nothing for it.
    """
    found = source.resolve(reference)
    with located(source.location):
        root = _image_of(source, found, wanted or Platform.of_host())
        content = source.fetch_bytes(root)
        document = manifest.parse(root, content)
        if document.config is None or not has_config(document):
            kind = document.artifact_type or (document.config.media_type if document.config else "")
            raise InvalidError(f"{root.digest} is an artifact ({kind}), not an image: nothing can be built on it")
        config = parse_config(source.fetch_bytes(document.config), f"the config of {root.digest}")
        check_layers(config, document, f"image {root.digest}")
        _check_platform(config, wanted if root is found else None)
        # As they were read: an own descriptor would lose the fields that we do not know.
        layers = strictjson.load_object(content, f"manifest {root.digest}").get("layers") or []
        return Base(config, tuple(_as_oci(layer) for layer in layers), root.digest)


def _image_of(source: Source, desc: Descriptor, wanted: Platform) -> Descriptor:
    """``desc``, or what an index (of indexes) has for ``wanted``."""
    for _depth in range(_MAX_NESTING):
        if not mediatype.is_index(desc.media_type):
            return desc
        entries = manifest.parse(desc, source.fetch_bytes(desc)).manifests
        chosen = best(entries, wanted)
        if chosen is None:
            raise nothing_for(wanted, entries, f"index {desc.digest}")
        desc = chosen
    raise InvalidError(f"indexes in indexes, deeper than {_MAX_NESTING} levels (at {desc.digest})")


def _check_platform(config: ImageConfig, wanted: t.Optional[Platform]) -> None:
    if config.platform is None:
        raise InvalidError("its config says no platform (os and architecture)")
    if wanted is not None and config.platform not in candidates(wanted):
        raise InvalidError(f"it is an image for {config.platform}, and platform is {wanted}")


def _as_oci(layer: Document) -> Document:
    return {**layer, "mediaType": mediatype.converted(layer["mediaType"], docker=False)}

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What an image has to be before it is used: rules on its documents. Nothing of its layers is read."""

from __future__ import annotations

import fnmatch
import re
import typing as t

from .content.store import Source
from .inspection import labels_of
from .platforms import select_manifest
from .spec import mediatype, strictjson
from .spec.descriptor import CREATED, Descriptor
from .spec.digest import Digest
from .spec.errors import InvalidError, located
from .spec.image import has_config
from .spec.manifest import Manifest, parse
from .spec.platform import Platform, best, is_attestation
from .spec.timestamp import Timestamp
from .subjects import manifests_under

BASE_DIGEST = "org.opencontainers.image.base.digest"
_DAY = 24 * 3600
_CLOCKS = 3600  # seconds that clocks may differ by


class Violation(t.NamedTuple):
    """``rule`` as the option is called; ``digest`` of the manifest that breaks it."""

    rule: str
    digest: Digest
    message: str


class Rules(t.NamedTuple):
    """``annotations``, ``labels``: expressions that values have to match as a whole. ``media_types``: globs for those of layers.
    ``max_size``: bytes of one image, ``max_age``: days."""

    annotations: t.Mapping[str, t.Pattern[str]]
    labels: t.Mapping[str, t.Pattern[str]]
    platforms: t.Tuple[Platform, ...]
    media_types: t.Tuple[str, ...]
    artifact_types: t.Tuple[str, ...]
    base_digests: t.FrozenSet[Digest]
    max_size: t.Optional[int]
    max_age: t.Optional[int]

    @classmethod
    def parse(cls, params: t.Mapping[str, t.Any]) -> Rules:
        """From the options. Raises InvalidError."""
        for name in ("max_size", "max_age"):
            if params[name] is not None and params[name] < 0:
                raise InvalidError(f"policy.{name} is {params[name]}, it must not be negative")
        return cls(
            _expressions(params["annotations"], "annotations"),
            _expressions(params["labels"], "labels"),
            tuple(map(Platform.parse, params["platforms"])),
            tuple(params["media_types"]),
            tuple(params["artifact_types"]),
            frozenset(map(Digest, params["base_digests"])),
            params["max_size"],
            params["max_age"],
        )


def _expressions(given: t.Mapping[str, t.Any], what: str) -> t.Dict[str, t.Pattern[str]]:
    """An empty one matches everything: the name alone has to be there."""
    found = {}
    for name, value in given.items():
        text = ".*" if value in (None, "") else str(value)
        try:
            found[name] = re.compile(text, re.DOTALL)
        except re.error as error:
            raise InvalidError(f"policy.{what}: {name} is {text!r}, which is not a regular expression: {error}") from error
    return found


class _Image(t.NamedTuple):
    """One manifest with its config, {} for an artifact. ``above``: annotations of the index that it is in."""

    desc: Descriptor
    document: Manifest
    config: t.Mapping[str, t.Any]
    above: t.Mapping[str, str]

    def annotation(self, name: str) -> t.Optional[str]:
        return self.document.annotations.get(name, self.above.get(name))

    @property
    def labels(self) -> t.Mapping[str, t.Any]:
        return labels_of(self.config)

    @property
    def created(self) -> t.Optional[int]:
        """Seconds since 1970; None when it says nothing that can be read."""
        for text in (self.config.get("created"), self.annotation(CREATED)):
            if isinstance(text, str) and text:
                try:
                    # Go writes nanoseconds, which some versions of Python do not read.
                    return Timestamp.parse(re.sub(r"\.\d+", "", text), "created").epoch
                except InvalidError:
                    continue
        return None


def violations(source: Source, root: Descriptor, rules: Rules, now: float, platform: t.Optional[Platform] = None) -> t.List[Violation]:
    """What breaks the rules, of every image under ``root``, or of the one for ``platform``. ``now``: seconds since 1970.

    Attestations are no images. Raises NotFoundError, InvalidError, MismatchError for what cannot be read.
    """
    images = list(_images(source, root))
    found = list(_lacking(images, root, rules))
    chosen = select_manifest(source, root, platform).digest if platform is not None else None
    for image in images:
        if chosen not in (None, image.desc.digest):
            continue
        found += [*_named(image, rules), *_typed(image, rules), *_sized(image, rules), *_based(image, rules), *_aged(image, rules, now)]
    return found


def _images(source: Source, root: Descriptor) -> t.Iterator[_Image]:
    above = parse(root, source.fetch_bytes(root)).annotations if mediatype.is_index(root.media_type) else {}
    for desc in manifests_under(source, root):
        if not mediatype.is_image(desc.media_type) or is_attestation(desc):
            continue
        document = parse(desc, source.fetch_bytes(desc))
        config: t.Mapping[str, t.Any] = {}
        if document.config is not None and has_config(document):
            with located(source.location):
                config = strictjson.load_object(source.fetch_bytes(document.config), f"the config of {desc.digest}")
        yield _Image(desc, document, config, above)


def _lacking(images: t.Sequence[_Image], root: Descriptor, rules: Rules) -> t.Iterator[Violation]:
    entries = [image.desc for image in _stating(images)]
    for wanted in rules.platforms:
        if best(entries, wanted) is None:
            yield Violation("platforms", root.digest, f"there is nothing for {wanted}")


def _stating(images: t.Iterable[_Image]) -> t.Iterator[_Image]:
    """Each image, with the platform that its config says: an entry may claim another one, and a single image has no entry."""
    for image in images:
        own = Platform.from_json(image.config)
        if own is not None:
            desc = image.desc
            yield image._replace(desc=Descriptor(desc.media_type, desc.digest, desc.size, platform=own.to_json()))


def _named(image: _Image, rules: Rules) -> t.Iterator[Violation]:
    for rule, what, wanted, value_of in (
        ("annotations", "annotation", rules.annotations, image.annotation),
        ("labels", "label", rules.labels, image.labels.get),
    ):
        for name, expression in wanted.items():
            value = value_of(name)
            if not isinstance(value, str):
                yield Violation(rule, image.desc.digest, f"it has no {what} {name}")
            elif not expression.fullmatch(value):
                yield Violation(
                    rule, image.desc.digest, f"its {what} {name} is {value[:200]!r}, which does not match {expression.pattern!r}"
                )


def _typed(image: _Image, rules: Rules) -> t.Iterator[Violation]:
    if rules.media_types:
        for media_type in dict.fromkeys(layer.media_type for layer in image.document.layers):
            if not any(fnmatch.fnmatchcase(media_type, glob) for glob in rules.media_types):
                yield Violation("media_types", image.desc.digest, f"it has a layer of the media type {media_type}")
    if rules.artifact_types and image.document.artifact_type not in rules.artifact_types:
        kind = image.document.artifact_type or "no artifact type"
        yield Violation("artifact_types", image.desc.digest, f"it has {kind}")


def _sized(image: _Image, rules: Rules) -> t.Iterator[Violation]:
    parts = [*image.document.layers, *([image.document.config] if image.document.config is not None else [])]
    size = sum(part.size for part in parts)
    if rules.max_size is not None and size > rules.max_size:
        yield Violation("max_size", image.desc.digest, f"it has {size} bytes, more than {rules.max_size}")


def _based(image: _Image, rules: Rules) -> t.Iterator[Violation]:
    if not rules.base_digests:
        return
    base = image.annotation(BASE_DIGEST)
    if base is None:
        yield Violation("base_digests", image.desc.digest, f"it does not say its base ({BASE_DIGEST})")
    elif base not in rules.base_digests:
        yield Violation("base_digests", image.desc.digest, f"its base is {base[:200]}")


def _aged(image: _Image, rules: Rules, now: float) -> t.Iterator[Violation]:
    if rules.max_age is None:
        return
    created = image.created
    if created is None:
        yield Violation("max_age", image.desc.digest, "it does not say when it was made")
    elif created > now + _CLOCKS:
        yield Violation("max_age", image.desc.digest, f"it says that it was made in the future, {Timestamp(created)}")
    elif now - created > rules.max_age * _DAY:
        yield Violation("max_age", image.desc.digest, f"it was made at {Timestamp(created)}, more than {rules.max_age} days ago")

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Platform of an image (image-spec image-index.md, "platform"; containerd's normalisation)."""

from __future__ import annotations

import platform as host
import re
import typing as t
from dataclasses import dataclass

from .descriptor import Descriptor
from .errors import InvalidError, NotFoundError

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_OS = {"macos": "darwin"}
# architecture as people and kernels write it -> (GOARCH, default variant)
_ARCHITECTURES = {
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "armv6l": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v8"),
    "loongarch64": ("loong64", ""),
    "ppc64el": ("ppc64le", ""),
}
_IMPLIED_VARIANTS = {("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")}


@dataclass(frozen=True)
class Platform:
    """``os``, ``architecture`` (GOOS and GOARCH values) and ``variant`` ('' when none)."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """``os/architecture[/variant]``, for example ``linux/arm64``. Raises InvalidError."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(_PART.fullmatch(part) for part in parts):
            raise InvalidError(f"not a platform: {text!r} (expected os/architecture or os/architecture/variant, as linux/amd64)")
        os, architecture = parts[0].lower(), parts[1].lower()
        architecture, variant = _ARCHITECTURES.get(architecture, (architecture, ""))
        if len(parts) == 3:
            variant = parts[2].lower()
        if (architecture, variant) in _IMPLIED_VARIANTS:
            variant = ""
        return cls(_OS.get(os, os), architecture, variant)

    @classmethod
    def from_json(cls, document: t.Mapping[str, t.Any]) -> t.Optional[Platform]:
        """From a descriptor's ``platform`` or an image's config; None when it says nothing that can be used."""
        fields = [document.get(name) for name in ("os", "architecture", "variant")]
        os, architecture, variant = (field if isinstance(field, str) else "" for field in fields)
        try:
            return cls.parse("/".join(part for part in (os, architecture, variant) if part)) if os and architecture else None
        except InvalidError:
            return None

    @classmethod
    def of_host(cls) -> Platform:
        """Linux containers on this machine's kind of processor."""
        return cls.parse(f"linux/{host.machine()}")

    def to_json(self) -> t.Dict[str, str]:
        fields = {"architecture": self.architecture, "os": self.os}
        if self.variant:
            fields["variant"] = self.variant
        return fields

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
# What runs where the wanted variant does, best first (containerd's platforms/database.go and compare.go, within one architecture).
_ARM = ("v8", "v7", "v6", "v5")
_AMD64 = ("v4", "v3", "v2", "")


def is_attestation(desc: Descriptor) -> bool:
    """An entry of an index that speaks of another one (BuildKit's attestation-storage.md)."""
    return REFERENCE_TYPE in desc.annotations or platform_of(desc) == Platform("unknown", "unknown")


def platform_of(desc: Descriptor) -> t.Optional[Platform]:
    """The platform that a descriptor states."""
    return Platform.from_json(desc.platform) if desc.platform is not None else None


def candidates(wanted: Platform) -> t.List[Platform]:
    """What runs on ``wanted``, the best first; of its own architecture only."""
    variant = wanted.variant
    variants: t.Sequence[str] = (variant,)
    if wanted.architecture == "arm":
        # Without a variant arm means v7 (containerd's normalisation), on either side.
        variant = variant or "v7"
        variants = [*_ARM[_ARM.index(variant) :], *([""] if variant in ("v8", "v7") else [])] if variant in _ARM else (variant,)
    elif wanted.architecture == "amd64" and variant in _AMD64:
        variants = _AMD64[_AMD64.index(variant) :]
    elif wanted.architecture == "arm64" and variant:
        variants = (variant, "")
    return [Platform(wanted.os, wanted.architecture, one) for one in variants]


def best(entries: t.Sequence[Descriptor], wanted: Platform) -> t.Optional[Descriptor]:
    """The entry of an index that fits ``wanted`` best, the first of equals (image-index.md); None when none does."""
    images = [(desc, platform_of(desc)) for desc in entries if not is_attestation(desc)]
    for candidate in candidates(wanted):
        for desc, stated in images:
            if stated == candidate:
                return desc
    return None


def nothing_for(wanted: Platform, entries: t.Sequence[Descriptor], what: str) -> NotFoundError:
    """The error for an index without ``wanted``: says what there is."""
    stated = [str(found) for desc in entries if not is_attestation(desc) for found in (platform_of(desc),) if found]
    return NotFoundError(f"{what} has nothing for {wanted} (it has {', '.join(dict.fromkeys(stated)) or 'no platforms'})")

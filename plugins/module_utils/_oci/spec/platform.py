# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Platform of an image (image-spec image-index.md, "platform"; containerd's normalisation)."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .errors import InvalidError

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_OS = {"macos": "darwin"}
# architecture as people and kernels write it -> (GOARCH, default variant)
_ARCHITECTURES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
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

    def to_json(self) -> t.Dict[str, str]:
        fields = {"architecture": self.architecture, "os": self.os}
        if self.variant:
            fields["variant"] = self.variant
        return fields

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

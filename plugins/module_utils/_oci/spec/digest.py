# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Digest: an invalid one cannot exist (image-spec descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
import typing as t

from .errors import InvalidError

# Only algorithms that can be verified: content that cannot be checked is never used.
_VALID = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
ALGORITHMS = ("sha256", "sha512")


class Digest(str):
    """``sha256:<64 hex>`` or ``sha512:<128 hex>``. Raises InvalidError for anything else, so a path built from one cannot traverse."""

    def __new__(cls, text: object) -> Digest:
        if isinstance(text, Digest):
            return text
        if not isinstance(text, str) or not _VALID.fullmatch(text):
            raise InvalidError(
                f"not a digest that can be verified: {str(text)[:160]!r} (expected sha256: and 64, or sha512: and 128, of 0-9a-f)"
            )
        return super().__new__(cls, text)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Digest:
        return cls.from_hash(hashlib.new(algorithm, content))

    @classmethod
    def from_hash(cls, running: t.Any) -> Digest:
        """The digest of a running ``hashlib`` object."""
        return cls(f"{running.name}:{running.hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        return self.partition(":")[2]

    def hasher(self) -> t.Any:
        """A fresh ``hashlib`` object of this digest's algorithm."""
        return hashlib.new(self.algorithm)


def is_digest(text: str) -> bool:
    """True for what ``Digest`` takes."""
    return _VALID.fullmatch(text) is not None


def looks_like_digest(text: str) -> bool:
    """True when ``text`` is meant as a digest, valid or not: a tag cannot contain a colon."""
    return text.partition(":")[0] in ALGORITHMS and ":" in text

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Public keys: the only import of cryptography, which is there or is named as missing."""

from __future__ import annotations

import typing as t

from ..spec.errors import InvalidError, MissingLibrary

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


class MissingCryptography(MissingLibrary):
    """A signature that cannot be looked at is not a good one."""

    library = "cryptography"


class PublicKey:
    """A key in PEM: ECDSA, RSA (PKCS #1 v1.5) or Ed25519, with SHA-256. Raises InvalidError, MissingCryptography."""

    def __init__(self, pem: bytes, name: str) -> None:
        try:
            from cryptography.hazmat.primitives.serialization import load_pem_public_key
        except ImportError as error:
            raise MissingCryptography(str(error)) from error
        self.name = name
        try:
            self._key: PublicKeyTypes = load_pem_public_key(pem)
        except ValueError as error:
            raise InvalidError(f"{name} is not a public key in PEM") from error
        self._check_kind()

    def _check_kind(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

        if not isinstance(self._key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey)):
            raise InvalidError(f"{self.name} is a key of a kind that signatures are not verified with (ECDSA, RSA and Ed25519 are)")

    def signed(self, content: bytes, signature: bytes) -> bool:
        """Whether the key's owner has signed this content."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
            elif isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(signature, content, padding.PKCS1v15(), hashes.SHA256())
            else:
                t.cast(t.Any, self._key).verify(signature, content)
        except InvalidSignature:
            return False
        return True

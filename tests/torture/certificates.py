# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates that are good, and bad in one way each."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "127.0.0.1"


class Authority:
    """A CA, whose certificate is ``path``."""

    def __init__(self, folder: pathlib.Path, name: str = "torture CA") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.path = folder / f"{name.replace(' ', '-')}.pem"
        extensions = [(x509.BasicConstraints(ca=True, path_length=None), True), (_key_usage(True), True)]
        certificate = self._sign(self._name, self._key.public_key(), (-1, 2), [*extensions, self._issuer()])
        self.path.write_bytes(_pem(certificate))

    def issue(
        self,
        name: str,
        host: str = HOST,
        days: t.Tuple[float, float] = (-1, 2),
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
        self_signed: bool = False,
    ) -> t.Tuple[pathlib.Path, pathlib.Path]:
        """Files of a certificate and its key; ``days`` from now that it is valid from and to."""
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_key_usage(False), True),
            (x509.ExtendedKeyUsage([purpose]), False),
            (_alternative(host), False),
        ]
        if self_signed:
            certificate = _build(_named(name), _named(name), key.public_key(), days, extensions).sign(key, hashes.SHA256())
        else:
            certificate = self._sign(_named(name), key.public_key(), days, [*extensions, self._issuer()])
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        paths[0].write_bytes(_pem(certificate))
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        paths[1].write_bytes(private)
        return paths

    def _issuer(self) -> t.Tuple[x509.ExtensionType, bool]:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False

    def _sign(
        self, subject: x509.Name, public_key: t.Any, days: t.Tuple[float, float], extensions: t.Sequence[t.Tuple[x509.ExtensionType, bool]]
    ) -> x509.Certificate:
        return _build(self._name, subject, public_key, days, extensions).sign(self._key, hashes.SHA256())


def _build(
    issuer: x509.Name,
    subject: x509.Name,
    public_key: t.Any,
    days: t.Tuple[float, float],
    extensions: t.Sequence[t.Tuple[x509.ExtensionType, bool]],
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    start, end = (now + datetime.timedelta(days=count) for count in days)
    builder = x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number(), start, end)
    for extension, critical in [*extensions, (x509.SubjectKeyIdentifier.from_public_key(public_key), False)]:
        builder = builder.add_extension(extension, critical)
    return builder


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(host: str) -> x509.SubjectAlternativeName:
    try:
        return x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    except ValueError:
        return x509.SubjectAlternativeName([x509.DNSName(host)])


def _key_usage(is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not is_ca, False, False, False, False, is_ca, is_ca, False, False)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)

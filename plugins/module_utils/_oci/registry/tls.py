# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""TLS of one registry: which CAs are trusted, which certificate is shown (containers-certs.d(5), Docker's certs.d)."""

from __future__ import annotations

import os
import ssl
import typing as t

from ..spec.errors import InvalidError

if t.TYPE_CHECKING:
    from .options import RegistryOptions


def ssl_context(host: str, options: RegistryOptions, as_client: bool = True) -> ssl.SSLContext:
    """The context for ``host`` (host[:port], as in the reference): the system's CAs, and those of the options and of certs.d on top.

    ``as_client``: whether client certificates may be shown, those of the options and of certs.d.
    Raises InvalidError that names the file or folder which is not there, or not what it should be.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # SSLKEYLOGFILE would have the keys of the connections written to a file. typeshed knows no None here.
    context.keylog_filename = None  # type: ignore[assignment]
    _trust_certifi_where_the_system_has_nothing(context)
    if options.ca_path:
        _trust(context, options.ca_path, "ca_path")
    _use_certs_d(context, host, as_client)
    if as_client and options.client_cert:
        _show(context, options.client_cert, options.client_key)
    if not options.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trust_certifi_where_the_system_has_nothing(context: ssl.SSLContext) -> None:
    """Some Pythons are built without a path to the system's CAs; requests brings certifi along."""
    paths = ssl.get_default_verify_paths()
    if context.cert_store_stats()["x509_ca"] or (paths.capath and os.path.isdir(paths.capath) and os.listdir(paths.capath)):
        return
    try:
        import certifi
    except ImportError:
        return
    context.load_verify_locations(cafile=certifi.where())


def _trust(context: ssl.SSLContext, path: str, what: str) -> None:
    """Add a file's, or a folder's, certificates to those that are trusted."""
    if os.path.isdir(path):
        files = [os.path.join(path, name) for name in sorted(os.listdir(path))]
        pem = [file for file in files if os.path.isfile(file) and file.endswith((".pem", ".crt", ".cer"))]
        if not pem:
            raise InvalidError(f"{what}: no certificates (*.pem, *.crt, *.cer) in the folder {path}")
    else:
        pem = [path]
    for file in pem:
        try:
            context.load_verify_locations(cafile=file)
        except (OSError, ssl.SSLError) as error:
            raise InvalidError(f"{what}: {_reason(error)}: {file}") from error


def _show(context: ssl.SSLContext, certificate: str, key: t.Optional[str]) -> None:
    for file in (certificate, key):
        if file and not os.path.isfile(file):
            raise InvalidError(f"the client certificate's file is not there: {file}")
    try:
        # An encrypted key would ask for its passphrase on a terminal that no module has.
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise InvalidError(f"the client certificate {certificate} and its key are no pair that can be used: {_reason(error)}") from error


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "not PEM certificates" if "PEM" in str(error) or "NO_CERTIFICATE" in str(error) else str(error.reason or error)
    return getattr(error, "strerror", None) or str(error)


def _use_certs_d(context: ssl.SSLContext, host: str, as_client: bool) -> None:
    """The first ``certs.d/HOST`` folder that exists; they are not merged."""
    for parent in _certs_d_folders():
        folder = os.path.join(parent, host)
        if os.path.isdir(folder):
            _use_folder(context, folder, as_client)
            return


def _certs_d_folders() -> t.List[str]:
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    user = os.path.join(config, "containers", "certs.d")
    return [user, "/etc/containers/certs.d", "/usr/share/containers/certs.d", "/etc/docker/certs.d"]


def _use_folder(context: ssl.SSLContext, folder: str, as_client: bool) -> None:
    """``*.crt`` are CAs; ``X.cert`` with ``X.key`` is a client certificate, and half of a pair an error."""
    names = sorted(os.listdir(folder))
    for name in names:
        path, (stem, extension) = os.path.join(folder, name), os.path.splitext(name)
        if extension == ".crt":
            _trust(context, path, "certs.d")
        elif extension == ".cert":
            if f"{stem}.key" not in names:
                raise InvalidError(f"certs.d: {path} has no {stem}.key beside it")
            if as_client:
                _show(context, path, os.path.join(folder, f"{stem}.key"))
        elif extension == ".key" and f"{stem}.cert" not in names:
            raise InvalidError(f"certs.d: {path} has no {stem}.cert beside it")

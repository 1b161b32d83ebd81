# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a TLS context is made of: options, certs.d, and what says what is wrong with either (threat row 53)."""

from __future__ import annotations

import pathlib
import shutil
import ssl
import subprocess
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.options import RegistryOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.tls import ssl_context
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError

HOST = "registry.example.com:5000"


@pytest.fixture(name="pair", scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """cert.pem and key.pem, and locked.pem: a key that needs a passphrase."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("pair")
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-keyout", "key.pem"]
    lock = [openssl, "pkey", "-in", "key.pem", "-aes128", "-passout", "pass:needle", "-out", "locked.pem"]
    for command in ([*make, "-out", "cert.pem"], lock):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(name="certs_d")
def _certs_d(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "containers" / "certs.d" / HOST
    folder.mkdir(parents=True)
    return folder


def trusted(context: ssl.SSLContext) -> t.List[str]:
    """The CAs that are loaded, by their common names."""
    return [value for ca in context.get_ca_certs() for part in ca["subject"] for name, value in part if name == "commonName"]


def test_verification_is_on_unless_it_is_turned_off() -> None:
    context = ssl_context(HOST, RegistryOptions())
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname and context.minimum_version >= ssl.TLSVersion.TLSv1_2
    loose = ssl_context(HOST, RegistryOptions(validate_certs=False))
    assert loose.verify_mode is ssl.CERT_NONE and not loose.check_hostname


def test_the_environment_says_nothing_of_cas(pair: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(pair / "cert.pem"))
    assert "test" not in trusted(ssl_context(HOST, RegistryOptions()))


def test_a_folder_of_cas(pair: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "cas"
    (folder / "sub.pem").mkdir(parents=True)
    (folder / "README").write_text("no certificate")
    with pytest.raises(InvalidError, match=r"ca_path: no certificates \(\*\.pem, \*\.crt, \*\.cer\) in the folder"):
        ssl_context(HOST, RegistryOptions(ca_path=str(folder)))
    shutil.copy(pair / "cert.pem", folder / "ours.crt")
    assert "test" in trusted(ssl_context(HOST, RegistryOptions(ca_path=str(folder))))


@pytest.mark.parametrize(("content", "says"), [(None, "No such file or directory"), ("no PEM", "not PEM certificates")])
def test_a_ca_that_cannot_be_used(content: t.Optional[str], says: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidError, match=f"ca_path: {says}: {path}"):
        ssl_context(HOST, RegistryOptions(ca_path=str(path)))


def test_a_client_certificate_that_cannot_be_used(pair: pathlib.Path, tmp_path: pathlib.Path) -> None:
    cert = str(pair / "cert.pem")
    with pytest.raises(InvalidError, match="file is not there: /no/such/key"):
        ssl_context(HOST, RegistryOptions(client_cert=cert, client_key="/no/such/key"))
    with pytest.raises(InvalidError, match="are no pair that can be used: ") as caught:
        ssl_context(HOST, RegistryOptions(client_cert=cert, client_key=str(pair / "locked.pem")))
    assert "needle" not in str(caught.value)
    with pytest.raises(InvalidError, match="are no pair that can be used: "):
        ssl_context(HOST, RegistryOptions(client_cert=cert, client_key=cert))


class TestCertsD:
    """containers-certs.d(5)."""

    def test_is_for_its_host_alone(self, certs_d: pathlib.Path, pair: pathlib.Path) -> None:
        shutil.copy(pair / "cert.pem", certs_d / "ca.crt")
        (certs_d / "README").write_text("something else")
        assert "test" in trusted(ssl_context(HOST, RegistryOptions()))
        assert "test" not in trusted(ssl_context("other.example.com", RegistryOptions()))

    def test_a_pair(self, certs_d: pathlib.Path, pair: pathlib.Path) -> None:
        shutil.copy(pair / "cert.pem", certs_d / "client.cert")
        with pytest.raises(InvalidError, match=r"client\.cert has no client\.key beside it"):
            ssl_context(HOST, RegistryOptions())
        shutil.copy(pair / "key.pem", certs_d / "client.key")
        ssl_context(HOST, RegistryOptions())
        (certs_d / "client.cert").unlink()
        with pytest.raises(InvalidError, match=r"client\.key has no client\.cert beside it"):
            ssl_context(HOST, RegistryOptions())

    def test_a_broken_ca(self, certs_d: pathlib.Path) -> None:
        (certs_d / "ca.crt").write_text("no PEM")
        with pytest.raises(InvalidError, match=r"certs\.d: not PEM certificates: .*ca\.crt"):
            ssl_context(HOST, RegistryOptions())


def test_certifi_where_the_system_has_no_cas(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("certifi")
    empty = ssl.DefaultVerifyPaths(None, None, "SSL_CERT_FILE", str(tmp_path), "SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: empty)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert trusted(ssl_context(HOST, RegistryOptions()))

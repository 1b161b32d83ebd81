# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real registry (Distribution) on a free loopback port, with storage that is thrown away.

    registry_server.py COMMAND...     runs COMMAND with LADING_TEST_REGISTRY=HOST:PORT, and stops the registry afterwards

A registry that LADING_TEST_REGISTRY names already is used instead. The registry dies with the process that started it.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import ipaddress
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import typing as t

import go_tools
import peers
import processes

USERNAME, PASSWORD = "tester", "pass word: {needle}"
_START_SECONDS = 20


class Registry:
    """A running registry. ``host`` is HOST:PORT.

    With ``secure`` it has TLS with a private CA (``ca_path``) and Basic login (``username``, ``password``); with ``client_ca`` on top
    it wants a client certificate of that CA (``client_cert``, ``client_key``).
    """

    def __init__(self, secure: bool = False, client_ca: bool = False) -> None:
        self._stack = contextlib.ExitStack()
        self.folder = pathlib.Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lading-registry-")))
        self.secure = secure
        self.username, self.password = (USERNAME, PASSWORD) if secure else ("", "")
        self.ca_path: t.Optional[pathlib.Path] = None
        self.client_cert: t.Optional[pathlib.Path] = None
        self.client_key: t.Optional[pathlib.Path] = None
        self._client_ca = client_ca
        try:
            if secure:
                self._write_secrets()
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        program = str(peers.find("registry"))
        for _try in range(5):  # another process may take the free port first
            self.host = f"127.0.0.1:{processes.free_port()}"
            config = self.folder / "config.yml"
            config.write_text(self._config())
            self._process = processes.start([program, "serve", str(config)], self.folder / "log")
            self._stack.callback(processes.stop, self._process)
            if self._wait():
                return
        raise RuntimeError(f"the registry did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def _config(self) -> str:
        lines = [
            "version: 0.1",
            f'storage: {{filesystem: {{rootdirectory: "{self.folder / "data"}"}}, delete: {{enabled: true}}}}',
            "log: {level: error, accesslog: {disabled: true}}",
            "http:",
            f'  addr: "{self.host}"',
        ]
        if self.secure:
            lines += ["  tls:", f'    certificate: "{self.folder / "server.pem"}"', f'    key: "{self.folder / "server.key"}"']
            lines += [f'    clientcas: ["{self.ca_path}"]'] if self._client_ca else []
            lines += [f'auth: {{htpasswd: {{realm: test, path: "{self.folder / "htpasswd"}"}}}}']
        return "\n".join(lines) + "\n"

    def _wait(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return True
            time.sleep(0.02)
        return False

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            if self._client_ca:
                socket.create_connection((self.host.partition(":")[0], int(self.host.rpartition(":")[2])), 1).close()
                return True
            context = ssl._create_unverified_context()
            connection = (
                http.client.HTTPSConnection(self.host, timeout=5, context=context)
                if self.secure
                else http.client.HTTPConnection(self.host, timeout=5)
            )
            with contextlib.closing(connection):
                connection.request("GET", "/v2/")
                return connection.getresponse().status in (200, 401)
        return False

    def _write_secrets(self) -> None:
        # Only the tests' environment has these; the quick start's registry is a plain one.
        import bcrypt

        hashed = bcrypt.hashpw(self.password.encode(), bcrypt.gensalt(rounds=5)).decode()
        (self.folder / "htpasswd").write_text(f"{self.username}:{hashed}\n")
        authority = _Authority()
        self.ca_path = self.folder / "ca.pem"
        self.ca_path.write_bytes(authority.certificate)
        for name in ("server", "client"):
            certificate, key = authority.issue(name)
            (self.folder / f"{name}.pem").write_bytes(certificate)
            (self.folder / f"{name}.key").write_bytes(key)
        self.client_cert, self.client_key = self.folder / "client.pem", self.folder / "client.key"

    def stop(self) -> None:
        self._stack.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


class _Authority:
    """A private CA that lives as long as the test."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = self._named("lading.oci test CA")
        self.certificate = self._sign(self._name, self._key.public_key(), is_ca=True)

    def issue(self, name: str) -> t.Tuple[bytes, bytes]:
        """Certificate and key, PEM, for ``localhost`` and 127.0.0.1, to serve and to be a client."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self._sign(self._named(name), key.public_key(), is_ca=False), private

    @staticmethod
    def _named(name: str) -> t.Any:
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def _sign(self, subject: t.Any, public_key: t.Any, is_ca: bool) -> bytes:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        now = datetime.datetime.now(datetime.timezone.utc)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        key_usage = x509.KeyUsage(True, False, False, False, False, is_ca, is_ca, False, False)
        builder = (
            x509.CertificateBuilder(self._name, subject, public_key, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(key_usage, critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )
        if not is_ca:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class ReferrersRegistry:
    """A running registry with the Referrers API, whose tags can be deleted, without login or TLS: olareg.

    ``cranes``: crane's own, which has the API too, but neither says that it has listed a manifest nor what an artifact is.
    """

    def __init__(self, cranes: bool = False) -> None:
        program = str(go_tools.find("crane-registry" if cranes else "olareg"))
        self._folder = tempfile.TemporaryDirectory(prefix="lading-registry-")
        port = processes.free_port()
        self.host = f"127.0.0.1:{port}"
        command = [program, "serve", "--addr", "127.0.0.1", "--port", str(port), "--api-delete", "--dir", self._folder.name]
        command = [program, "-address", self.host] if cranes else command
        self._process = processes.start(command, pathlib.Path(self._folder.name, "log"))
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("the registry with the Referrers API did not start")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection(self.host, timeout=5)) as connection:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        return False

    def stop(self) -> None:
        processes.stop(self._process)
        self._folder.cleanup()

    def __enter__(self) -> ReferrersRegistry:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    if os.environ.get("LADING_TEST_REGISTRY"):
        return subprocess.run(sys.argv[1:], check=False).returncode
    try:
        with Registry() as registry:
            return subprocess.run(sys.argv[1:], env={**os.environ, "LADING_TEST_REGISTRY": registry.host}, check=False).returncode
    except peers.Unavailable as error:
        print(f"No registry to be had: {error}. Install docker-registry, or name a running one: LADING_TEST_REGISTRY=HOST:PORT")
        return 1


if __name__ == "__main__":
    sys.exit(main())

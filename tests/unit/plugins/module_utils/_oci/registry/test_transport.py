# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only the wire shows: time-outs, TLS, proxies, blocks, and what is not taken from the environment."""

from __future__ import annotations

import contextlib
import http.server
import io
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import VerifyingReader
from ansible_collections.lading.oci.plugins.module_utils._oci.registry import pools, transport
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.pools import MissingRequests
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import TransportError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import store
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

BLOB = b"0123456789" * 1000
LAYER = Descriptor.of(BLOB, mediatype.OCI_LAYER)


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[fake.FakeRegistry]:
    registry = fake.FakeRegistry()
    store(fake.Harness(registry).repository(), ["v1"], BLOB)
    registry.seen.clear()
    yield registry
    registry.close()


class TestTime:
    def test_no_answer(self, registry: fake.FakeRegistry) -> None:
        registry.fault("GET", "", lambda handler: time.sleep(2))
        with pytest.raises(TransportError, match="no answer, or too slow a one, within 0.3 seconds"):
            fake.Harness(registry, timeout=0.3, retries=0).repository().fetch_bytes(LAYER)

    @pytest.mark.parametrize("before_header", [True, False], ids=["header", "body"])
    def test_a_byte_now_and_then(self, registry: fake.FakeRegistry, before_header: bool) -> None:
        registry.fault("GET", "", fake.drip(0.05, before_header), times=2)
        start = time.monotonic()
        with pytest.raises(TransportError, match="too slow a one"):
            fake.Harness(registry, timeout=0.3, retries=1).repository().fetch_bytes(Descriptor(LAYER.media_type, LAYER.digest, 100_000))
        assert 0.6 < time.monotonic() - start < 3

    def test_interim_answers_for_ever(self, registry: fake.FakeRegistry) -> None:
        def interim(handler: fake.Handler) -> None:
            handler.close_connection = True
            for _number in range(10_000):
                handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

        registry.fault("GET", "", interim)
        with pytest.raises(TransportError, match="more than 1048576 bytes, and no end of the header"):
            fake.Harness(registry, retries=0).repository().fetch_bytes(LAYER)

    def test_a_header_whose_lines_come_fast_enough_but_do_not_end(self, registry: fake.FakeRegistry) -> None:
        def slow(handler: fake.Handler) -> None:
            handler.close_connection = True
            with contextlib.suppress(OSError):
                for _number in range(200):
                    handler.wfile.write(b"HTTP/1.1 100 Continue\r\nX: " + b"x" * 1000 + b"\r\n\r\n")
                    time.sleep(0.05)

        registry.fault("GET", "", slow)
        start = time.monotonic()
        with pytest.raises(TransportError, match="within 0.3 seconds"):
            fake.Harness(registry, timeout=0.3, retries=0).repository().fetch_bytes(LAYER)
        assert time.monotonic() - start < 5

    def test_time_that_the_reader_takes_does_not_count(self, registry: fake.FakeRegistry) -> None:
        content = b"x" * 3_000_000
        desc = Descriptor.of(content, mediatype.OCI_LAYER)
        registry.add_blob(content)
        with fake.Harness(registry, timeout=0.3, retries=0).repository().fetch(desc) as reader:
            assert reader.read(1000)
            time.sleep(0.5)
            assert sum(map(len, reader.chunks())) == len(content) - 1000

    def test_nobody_listens(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            registry = type("Registry", (), {"host": f"127.0.0.1:{unused.getsockname()[1]}"})
            harness = fake.Harness(registry, retries=1)
            says = r"connection to 127.0.0.1:[0-9]+ failed: Connection refused \(does a registry run there, .*\) \(tried 2 times"
            with pytest.raises(TransportError, match=says):
                harness.repository().resolve("v1")

    def test_no_such_host_is_not_tried_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_args: t.Any) -> t.Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        harness = fake.Harness(type("Registry", (), {"host": "registry.invalid"}))
        with pytest.raises(TransportError, match="no such host: registry.invalid"):
            harness.repository().resolve("v1")
        assert not harness.sleeps


class TestEnvironment:
    def test_netrc_and_its_like_are_not_read(
        self, registry: fake.FakeRegistry, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login user password from-netrc\ndefault login user password from-netrc\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none"))
        fake.Harness(registry).repository().resolve("v1")
        assert not any("authorization" in one.headers for one in registry.seen)

    def test_loopback_needs_no_proxy(self, registry: fake.FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        fake.Harness(registry).repository().resolve("v1")

    def test_without_requests(self, registry: fake.FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "urllib3", None)
        with pytest.raises(MissingRequests):
            fake.Harness(registry).repository().resolve("v1")


def test_importing_the_client_does_not_import_requests() -> None:
    code = (
        "import sys; import ansible_collections.lading.oci.plugins.module_utils._oci.registry.repository;"
        "sys.exit('requests' in sys.modules or 'urllib3' in sys.modules)"
    )
    root = str(pathlib.Path(fake.__file__).absolute())
    root = root[: root.index("/ansible_collections/")]
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": root}, check=False).returncode == 0


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers plain requests itself; tunnels CONNECT to ``tunnel``."""

    seen: t.List[t.Tuple[str, str, t.Dict[str, str]]]
    tunnel: t.Tuple[str, int]
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: t.Any) -> None:
        pass

    def do_GET(self) -> None:
        self.seen.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(200)
        self.send_header("Content-Length", str(len(BLOB)))
        self.end_headers()
        self.wfile.write(BLOB)

    def do_CONNECT(self) -> None:
        self.seen.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        upstream = socket.create_connection(self.tunnel)
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=_pump, args=(upstream, self.connection), daemon=True).start()
        _pump(self.connection, upstream)
        self.close_connection = True


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while True:
            data = source.recv(65536)
            if not data:
                return
            target.sendall(data)
    except OSError:
        return


@pytest.fixture(name="proxy")
def _proxy() -> t.Iterator[t.Any]:
    handler = type("Bound", (Proxy,), {"seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    handler.port = server.server_address[1]
    yield handler
    server.shutdown()
    server.server_close()


def test_a_proxy_with_a_login(proxy: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:proxy-password@127.0.0.1:{proxy.port}")
    registry = type("Registry", (), {"host": "registry.invalid:5000"})
    repository = fake.Harness(registry, username="me", password="registry-password").repository()
    assert repository.fetch_bytes(LAYER) == BLOB
    ((_method, url, headers),) = proxy.seen
    assert url == f"http://registry.invalid:5000/v2/team/app/blobs/{LAYER.digest}"
    assert headers["proxy-authorization"] == "Basic dXNlcjpwcm94eS1wYXNzd29yZA=="


def test_a_proxy_that_fails_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:proxy-password@127.0.0.1:1")
    registry = type("Registry", (), {"host": "registry.invalid:5000"})
    with pytest.raises(TransportError) as caught:
        fake.Harness(registry, retries=0).repository().fetch_bytes(LAYER)
    assert "proxy-password" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["http://[needle", "http://user:needle@[::1", "http://user:needle@host:port"])
def test_a_proxy_that_is_none_is_an_error_without_its_password(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    registry = type("Registry", (), {"host": "registry.invalid:5000"})
    with pytest.raises(TransportError) as caught:
        fake.Harness(registry, retries=0).repository().fetch_bytes(LAYER)
    assert "needle" not in str(caught.value)


@pytest.fixture(name="pki", scope="module")
def _pki(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """ca.pem, and a key and certificate for 127.0.0.1, localhost and registry.invalid, which is the client's as well."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("pki")
    config = "[req]\ndistinguished_name=n\n[n]\n[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
    config += "[leaf]\nsubjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.invalid\n"
    (folder / "cnf").write_text(config)
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config", "cnf", "-subj"]
    for command in (
        [*make, "/CN=test ca", "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem"],
        [
            openssl,
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-config",
            "cnf",
            "-subj",
            "/CN=leaf",
            "-keyout",
            "key.pem",
            "-out",
            "csr",
        ],
        [openssl, "x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "2", "-days", "2"]
        + ["-extfile", "cnf", "-extensions", "leaf", "-out", "cert.pem"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


class TestTls:
    @pytest.fixture(name="secure")
    def _secure(self, pki: pathlib.Path) -> t.Iterator[fake.FakeRegistry]:
        registry = self._serve(pki)
        yield registry
        registry.close()

    @staticmethod
    def _serve(pki: pathlib.Path, wants_certificate: bool = False) -> fake.FakeRegistry:
        registry = fake.FakeRegistry()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(pki / "cert.pem"), str(pki / "key.pem"))
        if wants_certificate:
            context.load_verify_locations(str(pki / "ca.pem"))
            context.verify_mode = ssl.CERT_OPTIONAL
        registry.wrap_tls(context)
        registry.add_blob(BLOB)
        return registry

    def test_an_unknown_ca_is_refused_at_once(self, secure: fake.FakeRegistry) -> None:
        harness = fake.Harness(secure, plain_http=False)
        with pytest.raises(TransportError, match="certificate of .* is not trusted.*ca_path"):
            harness.repository().fetch_bytes(LAYER)
        assert not harness.sleeps

    def test_a_private_ca(self, secure: fake.FakeRegistry, pki: pathlib.Path) -> None:
        harness = fake.Harness(secure, plain_http=False, ca_path=str(pki / "ca.pem"))
        assert harness.repository().fetch_bytes(LAYER) == BLOB

    def test_verification_can_be_given_up(self, secure: fake.FakeRegistry) -> None:
        harness = fake.Harness(secure, plain_http=False, validate_certs=False)
        assert harness.repository().fetch_bytes(LAYER) == BLOB

    def test_another_name_is_refused(self, secure: fake.FakeRegistry, pki: pathlib.Path) -> None:
        secure.host = secure.host.replace("127.0.0.1", "127.0.0.2")
        with pytest.raises(TransportError):
            fake.Harness(secure, plain_http=False, ca_path=str(pki / "ca.pem"), retries=0).repository().fetch_bytes(LAYER)
        assert not secure.seen

    def test_a_registry_without_tls(self, registry: fake.FakeRegistry) -> None:
        with pytest.raises(TransportError, match="does not answer with TLS.*plain_http"):
            fake.Harness(registry, plain_http=False, retries=0).repository().resolve("v1")
        assert not registry.seen

    def test_no_way_from_https_to_http(self, secure: fake.FakeRegistry, registry: fake.FakeRegistry, pki: pathlib.Path) -> None:
        secure.fault("GET", "", fake.answer(302, {"Location": f"{registry.url}/v2/team/app/blobs/{LAYER.digest}"}))
        with pytest.raises(TransportError, match="not encrypted: refused"):
            fake.Harness(secure, plain_http=False, ca_path=str(pki / "ca.pem")).repository().fetch_bytes(LAYER)
        assert not registry.seen

    def test_a_client_certificate_is_shown_to_the_registry_alone(self, pki: pathlib.Path) -> None:
        shown: t.List[bool] = []

        def look(handler: fake.Handler) -> None:
            shown.append(bool(handler.connection.getpeercert()))
            handler.respond()

        registry, other = self._serve(pki, wants_certificate=True), self._serve(pki, wants_certificate=True)
        options = {"ca_path": str(pki / "ca.pem"), "client_cert": str(pki / "cert.pem"), "client_key": str(pki / "key.pem")}
        repository = fake.Harness(registry, plain_http=False, **options).repository()
        registry.fault("GET", "", look)
        assert repository.fetch_bytes(LAYER) == BLOB
        registry.fault("GET", "", fake.answer(302, {"Location": f"{other.url}/v2/team/app/blobs/{LAYER.digest}"}))
        other.fault("GET", "", look)
        assert repository.fetch_bytes(LAYER) == BLOB
        assert shown == [True, False]
        registry.close()
        other.close()

    def test_a_client_certificate_of_certs_d_is_not_shown_where_the_registry_leads(
        self, pki: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown: t.List[bool] = []

        def look(handler: fake.Handler) -> None:
            shown.append(bool(handler.connection.getpeercert()))
            handler.respond()

        registry, other = self._serve(pki, wants_certificate=True), self._serve(pki, wants_certificate=True)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        for host in (registry.host, other.host):
            folder = tmp_path / "containers" / "certs.d" / host
            folder.mkdir(parents=True)
            for name, file in (("ca.crt", "ca.pem"), ("own.cert", "cert.pem"), ("own.key", "key.pem")):
                shutil.copy(pki / file, folder / name)
        registry.fault("GET", "", look)
        registry.fault("GET", "", fake.answer(302, {"Location": f"{other.url}/v2/team/app/blobs/{LAYER.digest}"}))
        other.fault("GET", "", look)
        repository = fake.Harness(registry, plain_http=False).repository()
        assert repository.fetch_bytes(LAYER) == BLOB
        assert repository.fetch_bytes(LAYER) == BLOB
        assert fake.Harness(other, plain_http=False).repository().fetch_bytes(LAYER) == BLOB
        assert shown == [True, False]
        registry.close()
        other.close()

    def test_the_environment_cannot_have_the_keys_written(
        self, secure: fake.FakeRegistry, pki: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        assert fake.Harness(secure, plain_http=False, ca_path=str(pki / "ca.pem")).repository().fetch_bytes(LAYER) == BLOB
        assert not (tmp_path / "keys").exists() or "SECRET" not in (tmp_path / "keys").read_text()

    def test_through_a_proxy(self, secure: fake.FakeRegistry, pki: pathlib.Path, proxy: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:proxy-password@127.0.0.1:{proxy.port}")
        proxy.tunnel = ("127.0.0.1", int(secure.host.partition(":")[2]))
        secure.host = "registry.invalid"
        harness = fake.Harness(secure, plain_http=False, ca_path=str(pki / "ca.pem"))
        assert harness.repository().fetch_bytes(LAYER) == BLOB
        ((_method, target, headers),) = proxy.seen
        assert target == "registry.invalid:443"
        assert "proxy-authorization" in headers
        assert not any("proxy-authorization" in one.headers for one in secure.seen)


def test_a_stream_is_read_in_large_blocks(registry: fake.FakeRegistry) -> None:
    sizes: t.List[int] = []

    class Raw(io.BytesIO):
        seek = None  # type: ignore[assignment]

        def read(self, size: t.Optional[int] = -1) -> bytes:
            sizes.append(size or 0)
            return super().read(size)

    content = b"x" * 1_000_000
    desc = Descriptor.of(content, mediatype.OCI_LAYER)
    fake.Harness(registry).repository().push(desc, lambda: VerifyingReader(desc, Raw(content)))
    assert max(sizes) == 65536


def test_connections_are_kept(registry: fake.FakeRegistry) -> None:
    ports: t.Set[int] = set()

    def note(handler: fake.Handler) -> None:
        ports.add(handler.client_address[1])
        handler.respond()

    repository = fake.Harness(registry).repository()
    for method in ("HEAD", "GET"):
        registry.fault(method, "", note, times=3)
    for _number in range(3):
        repository.resolve("v1")
        repository.fetch_bytes(LAYER)
    assert len(ports) == 1


class _Raw:
    """An answer of a urllib3 that wraps what it reads from otherwise than those we know."""

    status, reason = 200, "OK"

    def __init__(self, content: bytes, error: t.Optional[Exception] = None) -> None:
        self.headers = {"Content-Length": str(len(content))}
        self._content = io.BytesIO(content)
        self._error = error
        self.released = False

    def read(self, size: int, decode_content: bool) -> bytes:
        if self._error is not None:
            raise self._error
        return self._content.read(size)

    def release_conn(self) -> None:
        self.released = True


def _response(raw: _Raw) -> transport.Response:
    request = transport.Request("GET", "http://registry.example.com/v2/")
    return transport.Response(raw, request, (OSError,), lambda error, url: transport.Interrupted(f"{url}: {error}"))


def test_an_answer_that_only_urllib3_can_read() -> None:
    raw = _Raw(b"content")
    response, buffer = _response(raw), bytearray(10)
    assert response.read(3) == b"con"
    assert response.readinto(memoryview(buffer)) == 4 and buffer[:4] == b"tent"
    response.finish()
    assert raw.released


def test_an_answer_that_ends_too_soon() -> None:
    raw = _Raw(b"content")
    raw.headers["Content-Length"] = "8"
    response = _response(raw)
    assert response.read(100) == b"content"
    with pytest.raises(transport.Interrupted, match="after 7 of 8 bytes"):
        response.readinto(memoryview(bytearray(1)))


def test_an_error_while_reading_is_one_of_the_connection() -> None:
    with pytest.raises(transport.Interrupted, match="gone"):
        _response(_Raw(b"content", OSError("gone"))).read(1)


class TestProxies:
    def test_socks_without_its_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)
        with pytest.raises(TransportError, match="needs the Python library PySocks"):
            pools.open_pool(("http", "registry.example.com", 80), None, 1, "socks5://proxy:1080")

    def test_an_unknown_kind(self) -> None:
        with pytest.raises(TransportError, match="ftp is none of http, https and socks"):
            pools.open_pool(("http", "registry.example.com", 80), None, 1, "ftp://user:secret@proxy")

    def test_a_login(self) -> None:
        pool = pools.open_pool(("http", "registry.example.com", 80), None, 1, "http://user:pass%20word@proxy:3128")
        assert pool.proxy.host == "proxy" and pool.proxy_headers == {"proxy-authorization": "Basic dXNlcjpwYXNzIHdvcmQ="}

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every option of oci_copy, against real registries where one can show it: each test fails when its option is ignored."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import threading
import time
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import store
from ansible_runs import run_playbook
from support import fail, succeed

HTTP = {"plain_http": True}


@pytest.fixture(name="tar")
def _tar(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "image.tar"
    store(Archive(str(path)), ["v1"], b"one layer", b"another layer")
    return path


@pytest.fixture(name="secured")
def _secured(tar: pathlib.Path, secure_registry: t.Any, repository: str) -> t.Dict[str, t.Any]:
    """Arguments that lack only what lets them in."""
    return {"src": f"oci:{tar}:v1", "dest": f"{secure_registry.host}/{repository}:v1"}


def login(registry: t.Any, **more: t.Any) -> t.Dict[str, t.Any]:
    return {"username": registry.username, "password": registry.password, "ca_path": str(registry.ca_path), **more}


def test_src_ref_and_dest_ref(tar: pathlib.Path, tmp_path: pathlib.Path) -> None:
    colon = tmp_path / "a:b"
    succeed("oci_copy", {"src": f"oci:{tar}", "src_ref": "v1", "dest": f"oci:{colon}", "dest_ref": "example.com/app:v1"})
    assert Layout(str(colon)).index.names == ["example.com/app:v1"]
    message = fail("oci_copy", {"src": f"oci:{tar}", "src_ref": "v2", "dest": f"oci:{colon}"})
    assert "no ref 'v2'" in message


def test_tags(tar: pathlib.Path, registry: t.Any, repository: str) -> None:
    arguments = {"src": f"oci:{tar}:v1", "dest": f"{registry.host}/{repository}:v1", "dest_registry": HTTP, "tags": ["a", "b"]}
    done = succeed("oci_copy", arguments)
    assert set(done["tags"]) == {"v1", "a", "b"}
    for tag in ("v1", "a", "b"):
        source = {"src": f"{registry.host}/{repository}:{tag}", "src_registry": HTTP, "dest": f"oci:{tar.parent}/{tag}:x"}
        assert succeed("oci_copy", source)["digest"] == done["digest"]


def test_a_digest_at_the_destination_must_be_the_sources(tar: pathlib.Path, registry: t.Any, repository: str) -> None:
    digest = Archive(str(tar)).resolve("v1").digest
    arguments = {"src": f"oci:{tar}:v1", "dest_registry": HTTP}
    done = succeed("oci_copy", {**arguments, "dest": f"{registry.host}/{repository}@{digest}"})
    assert done["changed"] and done["tags"] == {}
    assert not succeed("oci_copy", {**arguments, "dest": f"{registry.host}/{repository}@{digest}"})["changed"]
    assert "is not the source's" in fail("oci_copy", {**arguments, "dest": f"{registry.host}/{repository}@sha256:{'0' * 64}"})


def test_username_and_password(secured: t.Dict[str, t.Any], secure_registry: t.Any) -> None:
    anonymous = fail("oci_copy", {**secured, "dest_registry": {"ca_path": str(secure_registry.ca_path)}})
    assert "401" in anonymous and "no credentials" in anonymous
    wrong = fail("oci_copy", {**secured, "dest_registry": login(secure_registry, password="wrong needle")})
    assert "401" in wrong and "needle" not in wrong
    done = succeed("oci_copy", {**secured, "dest_registry": login(secure_registry)})
    assert done["changed"]
    again = succeed("oci_copy", {**secured, "dest_registry": login(secure_registry)})
    assert not again["changed"] and again["stats"]["requests"]["destination"] == {"HEAD": 2}, "the challenge, and the answer"


def test_a_password_needs_its_user(secured: t.Dict[str, t.Any]) -> None:
    assert "required together" in fail("oci_copy", {**secured, "dest_registry": {"password": "x"}})


@pytest.mark.parametrize("kind", ["docker", "containers"])
def test_auth_file(secured: t.Dict[str, t.Any], secure_registry: t.Any, tmp_path: pathlib.Path, kind: str) -> None:
    encoded = base64.b64encode(f"{secure_registry.username}:{secure_registry.password}".encode()).decode()
    repository = secured["dest"].rpartition(":")[0]
    key = f"https://{secure_registry.host}/v2/" if kind == "docker" else repository
    file = tmp_path / "auth.json"
    file.write_text(json.dumps({"auths": {key: {"auth": encoded}}}))
    ca = {"ca_path": str(secure_registry.ca_path)}
    assert succeed("oci_copy", {**secured, "dest_registry": {**ca, "auth_file": str(file)}})["changed"]
    file.write_text(json.dumps({"auths": {}}))
    assert "401" in fail("oci_copy", {**secured, "dest_registry": {**ca, "auth_file": str(file)}})


def test_credentials_of_the_docker_cli(secured: t.Dict[str, t.Any], secure_registry: t.Any) -> None:
    encoded = base64.b64encode(f"{secure_registry.username}:{secure_registry.password}".encode()).decode()
    folder = pathlib.Path(os.environ["HOME"]) / ".docker"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auths": {secure_registry.host: {"auth": encoded}}}))
    assert succeed("oci_copy", {**secured, "dest_registry": {"ca_path": str(secure_registry.ca_path)}})["changed"]


def test_ca_path(secured: t.Dict[str, t.Any], secure_registry: t.Any) -> None:
    without = fail("oci_copy", {**secured, "dest_registry": login(secure_registry, ca_path=None)})
    assert "is not trusted" in without and "ca_path" in without


def test_validate_certs(secured: t.Dict[str, t.Any], secure_registry: t.Any) -> None:
    done = succeed("oci_copy", {**secured, "dest_registry": login(secure_registry, ca_path=None, validate_certs=False)})
    assert done["changed"]


def test_client_cert_and_key(tar: pathlib.Path, client_registry: t.Any, repository: str) -> None:
    arguments = {"src": f"oci:{tar}:v1", "dest": f"{client_registry.host}/{repository}:v1"}
    assert fail("oci_copy", {**arguments, "dest_registry": login(client_registry, retries=0)})
    pair = {"client_cert": str(client_registry.client_cert), "client_key": str(client_registry.client_key)}
    assert succeed("oci_copy", {**arguments, "dest_registry": login(client_registry, **pair)})["changed"]


def test_plain_http_only_when_asked(tar: pathlib.Path, registry: t.Any, secured: t.Dict[str, t.Any], repository: str) -> None:
    arguments = {"src": f"oci:{tar}:v1", "dest": f"{registry.host}/{repository}:v1"}
    assert "plain_http" in fail("oci_copy", {**arguments, "dest_registry": {"retries": 0}})
    assert succeed("oci_copy", {**arguments, "dest_registry": HTTP})["changed"]
    assert fail("oci_copy", {**secured, "dest_registry": {"plain_http": True, "retries": 0}})


def test_registries_by_host(secured: t.Dict[str, t.Any], secure_registry: t.Any, registry: t.Any, repository: str) -> None:
    registries = [
        {"host": "elsewhere.example.com", "username": "u", "password": "not for here"},
        {"host": secure_registry.host, **login(secure_registry)},
        {"host": registry.host, "plain_http": True},
    ]
    assert succeed("oci_copy", {**secured, "registries": registries})["changed"]
    across = {"src": secured["dest"], "dest": f"{registry.host}/{repository}:across", "registries": registries}
    assert succeed("oci_copy", across)["stats"]["blobs_transferred"] == 3
    own = fail("oci_copy", {**secured, "registries": registries, "dest_registry": {"ca_path": str(secure_registry.ca_path)}})
    assert "401" in own, "a side's own options replace the entry"


def test_options_for_a_layout_are_refused(tar: pathlib.Path) -> None:
    arguments = {"src": f"oci:{tar}:v1", "dest": f"oci:{tar.parent}/copy:v1"}
    assert "is a layout" in fail("oci_copy", {**arguments, "src_registry": HTTP})
    assert "is a layout" in fail("oci_copy", {**arguments, "dest_registry": HTTP})


@pytest.mark.parametrize("wrong", [False, True], ids=["let-in", "refused"])
def test_no_secret_is_in_the_output(
    secured: t.Dict[str, t.Any], secure_registry: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, wrong: bool
) -> None:
    """As Ansible runs it, with all that -vvvv and --diff show."""
    password = "wrong needle" if wrong else secure_registry.password
    monkeypatch.setenv("REGISTRY_PASSWORD", password)
    options = login(secure_registry, password="{{ lookup('ansible.builtin.env', 'REGISTRY_PASSWORD') }}")
    task = {"lading.oci.oci_copy": {**secured, "registries": [{"host": secure_registry.host, **options}]}}
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]
    (tmp_path / "playbook.yml").write_text(json.dumps(play))
    done = run_playbook(["-vvvv", "--diff", str(tmp_path / "playbook.yml")])
    assert (done.returncode != 0) == wrong, done.stdout
    output = done.stdout + done.stderr
    encoded = base64.b64encode(f"{secure_registry.username}:{password}".encode()).decode()
    assert "needle" in password and "needle" not in output and encoded not in output


class Edge(ThreadingHTTPServer):
    """A registry that cannot be had for real: one that hangs, that is busy for a while, that counts who comes at once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EdgeHandler)
        self.hang = threading.Event()
        self.busy = 0
        self.seen: t.List[str] = []
        self.inside = self.most = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class EdgeHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Edge

    def handle_any(self) -> None:
        edge = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with edge.lock:
            edge.seen.append(f"{self.command} {self.path}")
            edge.inside += 1
            edge.most = max(edge.most, edge.inside)
            busy = edge.busy > 0
            edge.busy -= busy
        if edge.hang.is_set():
            time.sleep(20)
        if self.command == "PUT" and "/uploads/" in self.path:
            time.sleep(0.15)
        with edge.lock:
            edge.inside -= 1
        self.answer(busy, body)

    def answer(self, busy: bool, body: bytes) -> None:
        status = {"HEAD": 404, "POST": 202, "PUT": 201}.get(self.command, 404)
        self.send_response(503 if busy else status)
        self.send_header("Content-Length", "0")
        if self.command == "POST":
            self.send_header("Location", f"/v2/x/blobs/uploads/{time.monotonic_ns()}")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_arguments: t.Any) -> None:
        """Quiet."""


@pytest.fixture(name="edge")
def _edge() -> t.Iterator[Edge]:
    edge = Edge()
    yield edge
    edge.shutdown()
    edge.server_close()


def to_edge(tar: pathlib.Path, edge: Edge, **options: t.Any) -> t.Dict[str, t.Any]:
    return {"src": f"oci:{tar}:v1", "dest": f"{edge.host}/x:v1", "dest_registry": {"plain_http": True, **options}}


def test_timeout(tar: pathlib.Path, edge: Edge) -> None:
    edge.hang.set()
    start = time.monotonic()
    assert "within 1 seconds" in fail("oci_copy", to_edge(tar, edge, timeout=1, retries=0))
    assert time.monotonic() - start < 10
    assert "timeout is 0" in fail("oci_copy", to_edge(tar, edge, timeout=0))


def test_retries(tar: pathlib.Path, edge: Edge) -> None:
    edge.busy = 2
    assert succeed("oci_copy", to_edge(tar, edge, retries=2))["changed"]
    edge.busy = 2
    assert "503" in fail("oci_copy", to_edge(tar, edge, retries=1))
    edge.busy, edge.seen = 1, []
    fail("oci_copy", to_edge(tar, edge, retries=0))
    # The HEAD, and the GET that asks for the words of the error.
    assert len(edge.seen) <= 2


@pytest.mark.parametrize("concurrency", [1, 3])
def test_concurrency(tmp_path: pathlib.Path, edge: Edge, concurrency: int) -> None:
    path = tmp_path / "many.tar"
    store(Archive(str(path)), ["v1"], *(f"layer {number}".encode() for number in range(6)))
    succeed("oci_copy", {**to_edge(path, edge), "concurrency": concurrency})
    assert edge.most == concurrency
    assert "concurrency is 0" in fail("oci_copy", {**to_edge(path, edge), "concurrency": 0})


def test_auth_hosts(tar: pathlib.Path, edge: Edge) -> None:
    realm = Edge()
    try:
        edge.seen = []
        challenge = f'Bearer realm="http://{realm.host}/token",service="test"'

        def challenged(self: EdgeHandler, busy: bool, body: bytes) -> None:
            if self.server is realm:
                content = json.dumps({"token": "granted"}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                return
            allowed = self.headers.get("Authorization") == "Bearer granted"
            self.send_response(404 if allowed else 401)
            self.send_header("Content-Length", "0")
            self.send_header("WWW-Authenticate", challenge)
            self.end_headers()

        original, EdgeHandler.answer = EdgeHandler.answer, challenged  # type: ignore[method-assign]
        try:
            source = {"src": f"{edge.host}/x:v1", "dest": f"oci:{tar.parent}/new:v1"}
            refused = fail("oci_copy", {**source, "src_registry": {"plain_http": True, "username": "u", "password": "secret needle"}})
            assert "auth_hosts" in refused and realm.host in refused and realm.seen == []
            options = {"plain_http": True, "username": "u", "password": "secret needle", "auth_hosts": [realm.host]}
            assert "not found" in fail("oci_copy", {**source, "src_registry": options})
            assert len(realm.seen) == 1 and realm.seen[0].startswith("GET /token")
            token = {"plain_http": True, "identity_token": "refresh needle", "auth_hosts": [realm.host]}
            assert "not found" in fail("oci_copy", {**source, "src_registry": token})
            assert realm.seen[1] == "POST /token"
        finally:
            EdgeHandler.answer = original  # type: ignore[method-assign]
    finally:
        realm.shutdown()
        realm.server_close()

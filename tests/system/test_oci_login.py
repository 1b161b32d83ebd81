# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins that oras, skopeo and crane use, and theirs as ours, on a real registry with TLS and a password."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import stat
import subprocess
import typing as t

import pytest
import test_kill
from ansible_collections.lading.oci.plugins.module_utils._oci.logins import Login, apply_login, plan_login
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.authfile import AuthFile, Credential
from support import Result, fail, succeed

PEERS = ("oras", "skopeo", "crane")


class Tools:
    """The peers with one file of credentials: ``folder``/config.json."""

    def __init__(self, folder: pathlib.Path, registry: t.Any, peers: t.Any) -> None:
        self.file = folder / "config.json"
        self.registry = registry
        self._peers = peers
        self._certificates = folder.parent / "certificates"
        self._certificates.mkdir()
        shutil.copy(registry.ca_path, self._certificates / "ca.crt")

    def options(self, name: str) -> t.List[str]:
        return {
            "oras": ["--ca-file", str(self.registry.ca_path), "--registry-config", str(self.file)],
            "skopeo": ["--cert-dir", str(self._certificates), "--authfile", str(self.file)],
            "crane": [],
        }[name]

    def run(self, name: str, *arguments: str, told: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DOCKER_CONFIG": str(self.file.parent), "SSL_CERT_FILE": str(self.registry.ca_path)}
        command = [str(self._peers.require(name)), *arguments, *self.options(name)]
        return subprocess.run(command, input=told, env=environment, capture_output=True, text=True, timeout=300, check=False)

    def login(self, name: str) -> None:
        verb = ["auth", "login"] if name == "crane" else ["login"]
        told = ["--username", self.registry.username, "--password-stdin", self.registry.host]
        done = self.run(name, *verb, *told, told=self.registry.password)
        assert done.returncode == 0, done.stderr

    def logout(self, name: str) -> None:
        verb = ["auth", "logout"] if name == "crane" else ["logout"]
        # skopeo and oras log out without a word to the registry.
        options = {"oras": ["--registry-config", str(self.file)], "skopeo": ["--authfile", str(self.file)], "crane": []}[name]
        environment = {**os.environ, "DOCKER_CONFIG": str(self.file.parent)}
        command = [str(self._peers.require(name)), *verb, self.registry.host, *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr

    def digest(self, name: str, reference: str) -> t.Optional[str]:
        """What the peer finds in the registry; None when it is not let in."""
        verbs = {"oras": ["resolve", reference], "crane": ["digest", reference]}
        done = self.run(name, *verbs.get(name, ["inspect", "--format", "{{.Digest}}", f"docker://{reference}"]))
        if done.returncode == 0:
            return done.stdout.strip()
        assert any(word in done.stderr.lower() for word in ("401", "unauthorized", "credential")), done.stderr
        return None


@pytest.fixture(name="tools")
def _tools(tmp_path: pathlib.Path, secure_registry: t.Any, peers: t.Any) -> Tools:
    return Tools(tmp_path / "docker", secure_registry, peers)


@pytest.fixture(name="task")
def _task(tools: Tools) -> Result:
    registry = tools.registry
    login = {"registry": registry.host, "username": registry.username, "password": registry.password}
    return {**login, "ca_path": str(registry.ca_path), "auth_file": str(tools.file)}


def pushed(tools: Tools, tmp_path: pathlib.Path, reference: str) -> str:
    """An image in the registry, there with the credentials of the file; its digest."""
    (tmp_path / "a.txt").write_text("a")
    layer = {"src": str(tmp_path / "a.txt"), "dest": "/a.txt"}
    succeed("oci_layout_build", {"path": str(tmp_path / "layout"), "tag": "v1", "platform": "linux/amd64", "layers": [layer]})
    access = {"ca_path": str(tools.registry.ca_path), "auth_file": str(tools.file)}
    done = succeed("oci_copy", {"src": f"oci:{tmp_path}/layout:v1", "dest": reference, "dest_registry": access})
    return t.cast(str, done["digest"])


def test_every_peer_uses_ours(tools: Tools, task: Result, tmp_path: pathlib.Path, repository: str) -> None:
    done = succeed("oci_login", task)
    assert done["changed"] and done["verified"] and stat.S_IMODE(tools.file.stat().st_mode) == 0o600
    reference = f"{tools.registry.host}/{repository}:v1"
    digest = pushed(tools, tmp_path, reference)
    assert {name: tools.digest(name, reference) for name in PEERS} == dict.fromkeys(PEERS, digest)
    gone = succeed("oci_login", {"registry": tools.registry.host, "auth_file": str(tools.file), "state": "absent"})
    assert gone["changed"] and {tools.digest(name, reference) for name in PEERS} == {None}


@pytest.mark.parametrize("name", PEERS)
def test_theirs_are_ours(tools: Tools, task: Result, name: str) -> None:
    tools.login(name)
    assert not succeed("oci_login", task)["changed"]
    for check in (True, False):
        assert succeed("oci_login", {**task, "state": "absent"}, check)["changed"]
    assert json.loads(tools.file.read_text()).get("auths", {}) == {}
    succeed("oci_login", task)
    tools.logout(name)
    assert not succeed("oci_login", {**task, "state": "absent"})["changed"]


@pytest.mark.parametrize("name", PEERS)
def test_what_others_wrote_stays(tools: Tools, task: Result, name: str) -> None:
    tools.login(name)
    document = json.loads(tools.file.read_text())
    document["HttpHeaders"], document["auths"]["other.example.com"] = {"X-Any": "thing"}, {"auth": "YTpi"}
    tools.file.write_text(json.dumps(document))
    succeed("oci_login", {**task, "state": "absent"})
    succeed("oci_login", task)
    again = json.loads(tools.file.read_text())
    assert again == document and list(again) == list(document)
    tools.login(name)  # which still can read it, and changes nothing that we would
    assert not succeed("oci_login", task)["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_nothing_is_kept_of_a_login_that_failed(tools: Tools, task: Result, check: bool) -> None:
    refused = fail("oci_login", {**task, "password": "needle in vain"}, check)
    assert "401" in refused and "needle" not in refused
    assert "certificate" in fail("oci_login", {**task, "ca_path": None}, check).lower()
    assert "400" in fail("oci_login", {**task, "plain_http": True, "retries": 0}, check)
    assert not tools.file.parent.exists()


def test_a_registry_that_lets_everybody_in(registry: t.Any, tmp_path: pathlib.Path) -> None:
    asked = {"registry": registry.host, "username": "me", "password": "needle in vain", "plain_http": True}
    done = succeed("oci_login", {**asked, "auth_file": str(tmp_path / "auth.json")})
    assert done["changed"] and done["verified"] is False and "lets everybody in" in str(done["warnings"])
    assert "needle" not in str(done)


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_kill_9_at_every_point(tmp_path: pathlib.Path, existing: bool) -> None:
    """The logins of others stay, ours is there or not, and the next run leaves nothing over."""
    file, me, other = tmp_path / "docker" / "config.json", Credential("me", "new"), Credential("you", "x")
    login = Login("one.example.com", me, str(file))
    killed, points = True, 0
    while killed:
        shutil.rmtree(file.parent, ignore_errors=True)
        if existing:
            apply_login(login._replace(registry="two.example.com", credential=other))
        points += 1
        killed = test_kill.run_and_die(lambda: t.cast(None, apply_login(login)), points)
        if existing:
            kept = AuthFile.read(str(file))
            assert kept.entries("two.example.com") == {"two.example.com": other}
            assert kept.entries("one.example.com") in ({}, {"one.example.com": me})
        if plan_login(login).changed:
            apply_login(login)
        assert os.listdir(file.parent) == ["config.json"] and AuthFile.read(str(file)).entries("one.example.com") == {"one.example.com": me}
    assert points >= 8, "the calls that change the disk were not seen"

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins on disk and in credential helpers: what is written, what stays, and what a broken or hostile file does."""

from __future__ import annotations

import base64
import errno
import json
import os
import pathlib
import socket
import stat
import threading
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import logins
from ansible_collections.lading.oci.plugins.module_utils._oci.content.beneath import folder
from ansible_collections.lading.oci.plugins.module_utils._oci.content.lock import locked_file
from ansible_collections.lading.oci.plugins.module_utils._oci.logins import Login, LoginPlan, apply_login, plan_login
from ansible_collections.lading.oci.plugins.module_utils._oci.registry import helper
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.authfile import AuthFile, Credential
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, OCIError, StorageError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference

HOST = "reg.example.com:5000"
ME, OTHER = Credential("me", "needle one"), Credential("you", "needle two")
KEEPER = r"""
echo "$*" >> "{folder}/called"
case "$1" in
store) cat > "{folder}/new"; mv "{folder}/new" "{folder}/kept" ;;
get) read -r server; [ -e "{folder}/kept" ] || {{ echo "credentials not found in native keychain"; exit 1; }}; cat "{folder}/kept" ;;
erase) cat > /dev/null; rm "{folder}/kept" ;;
esac
"""


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "docker" / "config.json"


@pytest.fixture(name="keeper")
def _keeper(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The folder of a credential helper ``keeper``: ``kept`` is what it has, ``called`` how it was called."""
    return make_helper(tmp_path, monkeypatch, "keeper", KEEPER)


def make_helper(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> pathlib.Path:
    where = tmp_path / "bin"
    where.mkdir(exist_ok=True)
    program = where / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{body.format(folder=where)}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{where}:{os.environ['PATH']}")
    return where


def auth(credential: Credential) -> t.Dict[str, str]:
    return {"auth": base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()}


def write(path: pathlib.Path, mode: int = 0o600, **document: t.Any) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    path.chmod(mode)
    return path


def login(path: pathlib.Path, credential: t.Optional[Credential] = ME, registry: str = HOST, by: str = "") -> LoginPlan:
    """Planned and done, which has to be the same; and not again."""
    asked = Login(registry, credential, str(path), by)
    planned = plan_login(asked)
    done = apply_login(asked) if planned.changed else planned
    assert planned == done and not plan_login(asked).changed
    assert "needle" not in repr((asked, done))
    return done


def found(path: pathlib.Path, registry: str = HOST) -> t.Optional[Credential]:
    return AuthFile.read(str(path)).find(RegistryReference(registry, "team/app"))


def mode_of(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


class TestFile:
    def test_a_new_one_is_private(self, path: pathlib.Path) -> None:
        assert login(path).lines == ((HOST, "absent", "me, the given password"),)
        assert found(path) == ME and mode_of(path) == 0o600 and mode_of(path.parent) & 0o077 == 0
        assert os.listdir(path.parent) == ["config.json"]

    def test_a_plan_writes_nothing(self, path: pathlib.Path) -> None:
        assert plan_login(Login(HOST, ME, str(path))).changed and not path.parent.exists()
        write(path, auths={HOST: auth(OTHER)})
        before = path.read_bytes(), path.stat().st_mtime_ns
        assert plan_login(Login(HOST, None, str(path))).changed and (path.read_bytes(), path.stat().st_mtime_ns) == before

    def test_another_password(self, path: pathlib.Path) -> None:
        write(path, auths={HOST: auth(Credential("me", "needle old")), "other": auth(OTHER)})
        assert login(path).lines == ((HOST, "me, another password", "me, the given password"),)
        assert found(path) == ME and found(path, "other") == OTHER

    def test_a_token_in_place_of_a_password(self, path: pathlib.Path) -> None:
        write(path, auths={HOST: auth(ME)})
        token = Credential(identity_token="needle token")
        assert login(path, token).lines == ((HOST, "me, password", "the given identity token"),)
        assert found(path) == token

    def test_logout(self, path: pathlib.Path) -> None:
        assert not login(path, None).changed and not path.parent.exists()
        write(path, auths={HOST: auth(ME), "other": auth(OTHER)}, detachKeys="x")
        assert login(path, None).lines == ((HOST, "me, password", "absent"),)
        assert json.loads(path.read_text()) == {"auths": {"other": auth(OTHER)}, "detachKeys": "x"}

    @pytest.mark.parametrize("content", [b"", b"{}", b'{"auths":null}'])
    def test_an_empty_one(self, path: pathlib.Path, content: bytes) -> None:
        write(path).write_bytes(content)
        login(path)
        assert found(path) == ME

    def test_what_others_could_read_is_made_private(self, path: pathlib.Path) -> None:
        write(path, 0o644, auths={HOST: auth(ME)})
        assert login(path).lines == ((HOST, "me, the given password", "me, the given password"), ("mode", "0644", "0600"))
        assert mode_of(path) == 0o600 and found(path) == ME

    def test_a_logout_alone_leaves_the_mode(self, path: pathlib.Path) -> None:
        write(path, 0o644, auths={"other": auth(ME)})
        assert not login(path, None).changed and mode_of(path) == 0o644

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_its_owner_stays(self, path: pathlib.Path) -> None:
        os.chown(write(path, auths={}), 12345, 12346)
        login(path)
        assert (path.stat().st_uid, path.stat().st_gid, mode_of(path)) == (12345, 12346, 0o600)

    def test_what_a_killed_run_left_is_removed(self, path: pathlib.Path) -> None:
        left = write(path, auths={}).with_name(".lading-0123456789abcdef")
        left.write_text("needle")
        login(path)
        assert not left.exists()

    def test_no_room_on_the_disk(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(path, auths={HOST: auth(OTHER)})

        def full(_descriptor: int, _content: t.Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(StorageError, match=f"writing {path}: No space left"):
                apply_login(Login(HOST, ME, str(path)))
        assert found(path) == OTHER and os.listdir(path.parent) == ["config.json"]

    def test_a_folder_that_cannot_be_made(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OCIError, match="file"):
            apply_login(Login(HOST, ME, str(tmp_path / "file" / "config.json")))

    def test_logins_at_the_same_time(self, path: pathlib.Path) -> None:
        hosts = [f"host{number}.example.com" for number in range(12)]
        threads = [threading.Thread(target=apply_login, args=(Login(host, ME, str(path)),)) for host in hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [found(path, host) for host in hosts] == [ME] * len(hosts)

    def test_one_that_is_held_for_too_long(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(path, auths={})
        monkeypatch.setattr(logins, "_LOCK_SECONDS", 0.1)
        with folder(str(path.parent)) as parent, locked_file(parent, path.name, "the test"):
            with pytest.raises(StorageError, match="locked by another process"):
                apply_login(Login(HOST, ME, str(path)))
        assert found(path) is None


class TestLinks:
    def test_one_is_kept(self, path: pathlib.Path, tmp_path: pathlib.Path) -> None:
        real = write(tmp_path / "secrets" / "any.json", auths={"other": auth(OTHER)})
        path.parent.mkdir()
        path.with_name("second").symlink_to("../secrets/any.json")
        path.symlink_to("second")
        login(path)
        assert path.is_symlink() and path.with_name("second").is_symlink() and not real.is_symlink()
        assert found(real) == ME and found(real, "other") == OTHER and mode_of(real) == 0o600

    def test_the_dialect_is_that_of_the_link(self, path: pathlib.Path, tmp_path: pathlib.Path, keeper: pathlib.Path) -> None:
        real = write(tmp_path / "any.json", credsStore="keeper")
        path.parent.mkdir()
        path.symlink_to(real)
        assert login(path).helper == "keeper" and (keeper / "kept").exists()

    def test_one_to_what_is_still_to_be_made(self, path: pathlib.Path, tmp_path: pathlib.Path) -> None:
        path.parent.mkdir()
        path.symlink_to(tmp_path / "new" / "config.json")
        login(path)
        assert path.is_symlink() and found(tmp_path / "new" / "config.json") == ME

    def test_one_in_a_circle(self, path: pathlib.Path) -> None:
        path.parent.mkdir()
        path.symlink_to(path.name)
        with pytest.raises(InvalidError, match="more than 40 others"):
            plan_login(Login(HOST, ME, str(path)))

    def test_one_of_somebody_else(self, path: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = write(tmp_path / "any.json", auths={})
        path.parent.mkdir()
        path.symlink_to(real)
        if os.geteuid() == 0:
            os.lchown(path, 12345, 12345)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 12345)
        for attempt in (plan_login, apply_login):
            with pytest.raises(InvalidError, match="a link of another user"):
                attempt(Login(HOST, ME, str(path)))
        assert found(real) is None


class TestBroken:
    @pytest.mark.parametrize(
        "content",
        [
            b'{"auths":{"needle":',
            b'["needle"]',
            b'"needle"',
            b'{"auths":["needle"]}',
            b'{"auths":{},"auths":{"needle":{}}}',
            b'{"credHelpers":["needle"]}',
            b'{"credsStore":["needle"]}',
            b'{"needle":NaN}',
            b'{"needle":"\xff"}',
            b'{"needle":"' + b"x" * (1 << 20) + b'"}',
            b'{"needle":' + b"[" * 100 + b"]" * 100 + b"}",
        ],
    )
    @pytest.mark.parametrize("credential", [ME, None])
    def test_it_is_left_alone(self, path: pathlib.Path, content: bytes, credential: t.Optional[Credential]) -> None:
        write(path).write_bytes(content)
        for attempt in (plan_login, apply_login):
            with pytest.raises(InvalidError, match="config.json") as caught:
                attempt(Login(HOST, credential, str(path)))
            assert "needle" not in str(caught.value)
        assert path.read_bytes() == content and os.listdir(path.parent) == ["config.json"]

    @pytest.mark.parametrize("kind", ["folder", "fifo", "socket"])
    def test_what_is_no_file(self, path: pathlib.Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        path.parent.mkdir()
        monkeypatch.chdir(path.parent)
        if kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        for attempt in (plan_login, apply_login):
            with pytest.raises(OCIError, match="config.json"):
                attempt(Login(HOST, ME, str(path)))
        assert not path.is_file() and os.listdir(path.parent) == ["config.json"]

    def test_an_entry_that_is_none_is_mended(self, path: pathlib.Path) -> None:
        write(path, auths={HOST: {"auth": "***needle"}})
        assert login(path).lines == ((HOST, "unreadable", "me, the given password"),)
        write(path, auths={HOST: "needle"})
        assert login(path, None).lines == ((HOST, "unreadable", "absent"),)


class TestHelper:
    def test_the_one_of_the_file(self, path: pathlib.Path, keeper: pathlib.Path) -> None:
        write(path, credsStore="keeper", auths={HOST: {}})
        before = path.read_bytes()
        assert login(path).lines == (("credential helper keeper", "absent", "me, the given password"),)
        assert json.loads((keeper / "kept").read_text()) == {"ServerURL": HOST, "Username": "me", "Secret": "needle one"}
        assert path.read_bytes() == before and found(path) == ME
        assert login(path, OTHER).lines == (("credential helper keeper", "me, another password", "you, the given password"),)
        assert set((keeper / "called").read_text().split("\n")) == {"get", "store", ""}

    def test_credentials_do_not_stay_in_the_file(self, path: pathlib.Path, keeper: pathlib.Path) -> None:
        write(path, credsStore="keeper", auths={HOST: {"email": "x", **auth(ME)}})
        assert login(path).lines[1] == (HOST, "me, the given password", "without credentials")
        assert json.loads(path.read_text()) == {"credsStore": "keeper", "auths": {HOST: {"email": "x"}}}

    def test_the_one_that_is_asked_for(self, path: pathlib.Path, keeper: pathlib.Path) -> None:
        write(path, auths={HOST: auth(ME)}, credHelpers={"other": "none"})
        assert login(path, by="keeper").lines[-1] == ("credHelpers", "absent", "keeper")
        assert json.loads(path.read_text()) == {"auths": {HOST: {}}, "credHelpers": {"other": "none", HOST: "keeper"}}
        assert found(path) == ME and not login(path).changed

    def test_an_identity_token(self, path: pathlib.Path, keeper: pathlib.Path) -> None:
        write(path, credHelpers={HOST: "keeper"})
        login(path, Credential("me", identity_token="needle"))
        assert json.loads((keeper / "kept").read_text())["Username"] == "<token>"
        assert found(path) == Credential(identity_token="needle")

    @pytest.mark.parametrize(("name", "server"), [("config.json", "https://index.docker.io/v1/"), ("auth.json", "docker.io")])
    def test_docker_hub(self, path: pathlib.Path, keeper: pathlib.Path, name: str, server: str) -> None:
        login(path.with_name(name), registry="docker.io", by="keeper")
        assert json.loads((keeper / "kept").read_text())["ServerURL"] == server
        assert json.loads(path.with_name(name).read_text())["credHelpers"] == {server: "keeper"}
        assert found(path.with_name(name), "docker.io") == ME

    def test_logout(self, path: pathlib.Path, keeper: pathlib.Path) -> None:
        write(path, auths={HOST: {}, "other": {}}, credsStore="keeper")
        login(path)
        assert login(path, None).lines[0] == ("credential helper keeper", "me, password", "absent")
        assert not (keeper / "kept").exists() and json.loads(path.read_text()) == {"auths": {"other": {}}, "credsStore": "keeper"}

    def test_logout_of_what_it_never_had(self, path: pathlib.Path, keeper: pathlib.Path) -> None:
        write(path, credsStore="keeper")
        assert not login(path, None).changed and "erase" not in (keeper / "called").read_text()

    @pytest.mark.parametrize("action", ["get", "store", "erase"])
    @pytest.mark.parametrize("fault", ["cat >&2; echo needle; exit 1", "exec >&-; cat; exit 1", "kill -9 $$"])
    def test_one_that_fails(
        self, path: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, action: str, fault: str
    ) -> None:
        make_helper(tmp_path, monkeypatch, "bad", f'[ "$1" = {action} ] && {{{{ {fault}; }}}}\n{KEEPER}')
        write(path, auths={HOST: auth(OTHER)}, credHelpers={HOST: "bad"})
        before = path.read_bytes()
        if action == "erase":
            helper.tell_helper("bad", HOST, helper.HelperAnswer("me", "needle"))
        with pytest.raises(InvalidError, match="docker-credential-bad failed for reg.example.com:5000 with exit code") as caught:
            apply_login(Login(HOST, None if action == "erase" else ME, str(path)))
        assert "needle" not in str(caught.value) and path.read_bytes() == before

    def test_one_that_does_not_read_its_input(self, path: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """More than a pipe holds."""
        make_helper(tmp_path, monkeypatch, "bad", f'[ "$1" = store ] && exec sleep 60\n{KEEPER}')
        write(path, credsStore="bad")
        monkeypatch.setattr(helper, "_SECONDS", 0.5)
        with pytest.raises(InvalidError, match="gave no answer for reg.example.com:5000 within"):
            apply_login(Login(HOST, Credential("me", "needle" * 50_000), str(path)))

    def test_one_that_closes_its_input(self, path: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_helper(tmp_path, monkeypatch, "bad", f'[ "$1" = store ] && exit 2\n{KEEPER}')
        write(path, credsStore="bad")
        with pytest.raises(InvalidError, match="with exit code 2"):
            apply_login(Login(HOST, Credential("me", "needle" * 50_000), str(path)))

    def test_a_long_secret_arrives_whole(self, path: pathlib.Path, keeper: pathlib.Path) -> None:
        long = Credential("me", 'needle \\ " é' * 20_000)
        login(path, long, by="keeper")
        assert found(path) == long

    def test_one_that_is_not_there(self, path: pathlib.Path) -> None:
        with pytest.raises(InvalidError, match="not on PATH"):
            plan_login(Login(HOST, ME, str(path), "absent-helper"))
        with pytest.raises(InvalidError, match="not the name of a credential helper"):
            plan_login(Login(HOST, ME, str(path), "../evil"))

    def test_one_that_stores_nothing(self, path: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_helper(tmp_path, monkeypatch, "bad", 'echo "credentials not found in native keychain"; exit 1')
        write(path, credsStore="bad")
        with pytest.raises(InvalidError, match="helper bad stored nothing"):
            apply_login(Login(HOST, ME, str(path)))

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import os
import pathlib
import signal
import subprocess
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.registry import authfile, helper
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.credentials import Credential, find
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.options import RegistryOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference

APP = RegistryReference("reg.example.com:5000", "team/app", "v1")
HUB = RegistryReference("docker.io", "library/alpine")
VECTORS = pathlib.Path(__file__).parent.parent / "fixtures" / "docker-cli-convert-to-hostname.json"


def entry(user: str = "user", password: str = "pass:word") -> t.Dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture(name="home", autouse=True)
def _home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return home


def write(path: pathlib.Path, **document: t.Any) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def look(reference: RegistryReference = APP, **options: t.Any) -> t.Optional[Credential]:
    return find(reference, RegistryOptions(**options))


def make_helper(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / f"docker-credential-{name}").write_text(f"#!/bin/sh\n{body}\n")
    (folder / f"docker-credential-{name}").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


class TestOrder:
    def test_nothing_anywhere_is_anonymous(self) -> None:
        assert look() is None

    def test_the_task_comes_first(self, home: pathlib.Path) -> None:
        write(home / ".docker" / "config.json", auths={APP.registry: entry()})
        assert look(username="me", password="mine") == Credential("me", "mine")
        assert look(identity_token="token") == Credential(identity_token="token")

    def test_an_auth_file_is_the_only_one(self, home: pathlib.Path, tmp_path: pathlib.Path) -> None:
        write(home / ".docker" / "config.json", auths={APP.registry: entry()})
        other = write(tmp_path / "other.json", auths={})
        assert look(auth_file=str(other)) is None
        with pytest.raises(InvalidError, match="auth_file: no such file"):
            look(auth_file=str(tmp_path / "absent"))

    def test_registry_auth_file_is_the_only_one(self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(home / ".docker" / "config.json", auths={APP.registry: entry()})
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(write(tmp_path / "x.json", auths={APP.registry: entry("other")})))
        found = look()
        assert found is not None and found.username == "other"
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "absent"))
        assert look() is None

    def test_the_files_in_their_order(self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        places = [
            home / ".docker" / "config.json",
            home / ".config" / "containers" / "auth.json",
            tmp_path / "run" / "containers" / "auth.json",
        ]
        for number, place in enumerate(places):
            write(place, auths={APP.registry: entry(str(number))})
            found = look()
            assert found is not None and found.username == str(number)
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {APP.registry: entry("environment")}}))
        found = look()
        assert found is not None and found.username == "environment"

    def test_docker_config_names_the_folder(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "elsewhere" / "config.json", auths={APP.registry: entry()})
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "elsewhere"))
        assert look() == Credential("user", "pass:word")


class TestKeys:
    @pytest.mark.parametrize(
        "key, matches",
        [
            ("reg.example.com:5000", True),
            ("reg.example.com:5000/team", True),
            ("reg.example.com:5000/team/app", True),
            ("https://reg.example.com:5000", True),
            ("https://reg.example.com:5000/v2/", True),
            ("reg.example.com", False),
            ("reg.example.com:5000/te", False),
            ("reg.example.com:5000/other", False),
            ("example.com:5000", False),
            ("evil-reg.example.com:5000", False),
            ("https://evil.com/reg.example.com:5000", False),
        ],
    )
    def test_whose_entry_it_is(self, home: pathlib.Path, key: str, matches: bool) -> None:
        write(home / ".docker" / "config.json", auths={key: entry()})
        assert (look() is not None) == matches

    def test_the_closest_key_wins(self, home: pathlib.Path) -> None:
        write(home / ".config/containers/auth.json", auths={APP.registry: entry("host"), f"{APP.registry}/team": entry("team")})
        found = look()
        assert found is not None and found.username == "team"

    @pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "docker.io/library"])
    def test_docker_hub_has_many_names(self, home: pathlib.Path, key: str) -> None:
        write(home / ".docker" / "config.json", auths={key: entry()})
        assert look(HUB) == Credential("user", "pass:word") and look() is None

    @pytest.mark.parametrize("row", json.loads(VECTORS.read_text())["groups"]["TestConvertToHostname"], ids=lambda row: row["input"])
    def test_the_hosts_that_docker_sees_in_urls(self, row: t.Dict[str, str]) -> None:
        """Without a scheme a path narrows the key for us, as for the containers tools; Docker drops it.

        An IPv6 address without brackets is no host of any reference.
        """
        if row["input"].startswith(("http://", "https://")) and "://::" not in row["input"]:
            assert authfile._host_of(row["input"]) == row["expected"]


class TestEntries:
    @pytest.mark.parametrize(
        "value, expected",
        [
            ({"username": "u", "password": "p"}, Credential("u", "p")),
            ({"auth": base64.b64encode(b"u:p\0\0").decode()}, Credential("u", "p")),
            ({"identitytoken": "t"}, Credential(identity_token="t")),
            ({**entry("<token>", ""), "identitytoken": "t"}, Credential(identity_token="t")),
            ({**entry("u", ""), "identitytoken": "t"}, Credential("u", "", "t")),
            ({"registrytoken": "t"}, Credential(registry_token="t")),
            ({}, None),
        ],
    )
    def test_forms(self, home: pathlib.Path, value: t.Any, expected: t.Optional[Credential]) -> None:
        write(home / ".docker" / "config.json", auths={APP.registry: value})
        assert look() == expected

    @pytest.mark.parametrize(
        "content",
        [
            '{"auths":{"reg.example.com:5000":{"auth":"***needle"}}}',
            '{"auths":{"reg.example.com:5000":{"auth":"bmVlZGxl"}}}',
            '{"auths":{"reg.example.com:5000":{"auth":"Om5lZWRsZQ=="}}}',
            '{"auths":{"reg.example.com:5000":"needle"}}',
            '{"auths":{"reg.example.com:5000":{"registrytoken":"needle\\nX-Header: needle"}}}',
            '{"auths":{"reg.example.com:5000":{"password":["needle"]}}}',
            '{"auths":["needle"]}',
            '{"auths":{"needle":',
            '{"needle":1,"needle":2}',
        ],
    )
    def test_a_broken_file_is_an_error_that_shows_no_secret(self, home: pathlib.Path, content: str) -> None:
        (home / ".docker").mkdir()
        (home / ".docker" / "config.json").write_text(content)
        with pytest.raises(InvalidError, match="config.json") as caught:
            look()
        assert "needle" not in str(caught.value)

    @pytest.mark.parametrize("name", ["config.json", "auth.json"])
    def test_a_fifo_is_not_waited_for(self, tmp_path: pathlib.Path, name: str) -> None:
        os.mkfifo(tmp_path / name)
        with pytest.raises(InvalidError, match=f"{name} is not a regular file"):
            look(auth_file=str(tmp_path / name))

    def test_no_file_at_all(self) -> None:
        assert look(auth_file="/dev/null") is None

    @pytest.mark.parametrize("more", [0, 1])
    def test_a_file_has_a_mebibyte(self, home: pathlib.Path, more: int) -> None:
        path = write(home / ".docker" / "config.json", auths={APP.registry: entry()})
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b" " * ((1 << 20) + more - len(content)) + content[-1:])
        if more:
            with pytest.raises(InvalidError, match="config.json"):
                look()
        else:
            assert look() == Credential("user", "pass:word")

    def test_a_registrytoken_is_one_word(self, home: pathlib.Path) -> None:
        """It goes into a header as it is: a line break in it would be a header of its own."""
        for token in ("needle\nX-Header: needle", "needle\r\nX-Header: needle", "needle needle", "needl\u00e9"):
            write(home / ".docker" / "config.json", auths={APP.registry: {"registrytoken": token}})
            with pytest.raises(InvalidError, match=f"the registrytoken of '{APP.registry}' has characters that no token has") as caught:
                look()
            assert "needl" not in str(caught.value)

    def test_secrets_are_not_in_the_representation(self) -> None:
        assert "needle" not in repr(Credential("u", "needle", "needle", "needle"))
        assert "needle" not in repr(RegistryOptions(password="needle", identity_token="needle"))


class TestHelpers:
    ANSWER = """read server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"asked for $server\\",\\"Secret\\":\\"s\\"}" """

    @pytest.mark.parametrize("reference, server", [(APP, APP.registry), (HUB, "https://index.docker.io/v1/")])
    def test_the_store_of_docker(
        self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, reference: RegistryReference, server: str
    ) -> None:
        make_helper(tmp_path, monkeypatch, "fake", self.ANSWER)
        write(home / ".docker" / "config.json", credsStore="fake", auths={APP.registry: {}})
        assert look(reference) == Credential(f"asked for {server}", "s")

    def test_the_store_is_not_the_containers_tools(
        self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_helper(tmp_path, monkeypatch, "fake", self.ANSWER)
        write(home / ".config" / "containers" / "auth.json", credsStore="fake")
        assert look() is None

    def test_a_helper_for_one_host(self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_helper(tmp_path, monkeypatch, "fake", self.ANSWER)
        write(home / ".docker" / "config.json", credHelpers={APP.registry: "fake", "docker.io": ""}, auths={"docker.io": entry()})
        assert look() == Credential(f"asked for {APP.registry}", "s")
        assert look(HUB) == Credential("user", "pass:word")

    def test_an_identity_token(self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_helper(tmp_path, monkeypatch, "fake", """echo '{"Username":"<token>","Secret":"t"}'""")
        write(home / ".docker" / "config.json", credsStore="fake")
        assert look() == Credential(identity_token="t")

    def test_no_credentials_is_an_answer(self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_helper(tmp_path, monkeypatch, "fake", "echo 'credentials not found in native keychain'; exit 1")
        write(home / ".docker" / "config.json", credsStore="fake", auths={APP.registry: entry()})
        assert look() is None

    @pytest.mark.parametrize("body", ["echo needle; exit 1", "echo needle", """echo '{"Username":"needle"}'""", "echo needle >&2; exit 3"])
    def test_a_failing_helper_ends_the_search(
        self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, body: str
    ) -> None:
        make_helper(tmp_path, monkeypatch, "fake", body)
        write(home / ".docker" / "config.json", credsStore="fake", auths={APP.registry: entry()})
        with pytest.raises(InvalidError, match="docker-credential-fake") as caught:
            look()
        assert "needle" not in str(caught.value)

    def test_a_hanging_helper_is_given_up(self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_helper(tmp_path, monkeypatch, "fake", "exec sleep 30")
        monkeypatch.setattr(helper, "_SECONDS", 0.2)
        write(home / ".docker" / "config.json", credsStore="fake")
        with pytest.raises(InvalidError, match="gave no answer"):
            look()

    def test_one_that_has_answered_and_does_not_end_is_given_up(
        self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_helper(tmp_path, monkeypatch, "fake", f"{self.ANSWER}; exec sleep 30 >&-")
        monkeypatch.setattr(helper, "_SECONDS", 0.5)
        write(home / ".docker" / "config.json", credsStore="fake")
        start = time.monotonic()
        with pytest.raises(InvalidError, match="gave no answer"):
            look()
        assert time.monotonic() - start < 10

    def test_one_that_is_ended_leaves_no_zombie(self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        started: t.List[subprocess.Popen[bytes]] = []

        class Noted(subprocess.Popen):  # type: ignore[type-arg]
            def __init__(self, *args: t.Any, **options: t.Any) -> None:
                super().__init__(*args, **options)
                started.append(self)

        monkeypatch.setattr(subprocess, "Popen", Noted)
        monkeypatch.setattr(helper, "_SECONDS", 0.2)
        make_helper(tmp_path, monkeypatch, "fake", "exec sleep 30")
        write(home / ".docker" / "config.json", credsStore="fake")
        with pytest.raises(InvalidError, match="gave no answer"):
            look()
        assert [process.returncode for process in started] == [-signal.SIGKILL]

    def test_what_a_hanging_helper_started_is_ended_with_it(
        self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        make_helper(tmp_path, monkeypatch, "fake", f"exec 3>'{pipe}'; sleep 60 & sleep 60")
        write(home / ".docker" / "config.json", credsStore="fake")
        monkeypatch.setattr(helper, "_SECONDS", 2)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        with pytest.raises(InvalidError, match="gave no answer"):
            look()
        # It ends when nobody has it open for writing any more.
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""
        os.close(reader)

    def test_one_that_never_stops_talking_is_ended(
        self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_helper(tmp_path, monkeypatch, "fake", "exec cat /dev/zero")
        write(home / ".docker" / "config.json", credsStore="fake", auths={APP.registry: entry()})
        with pytest.raises(InvalidError, match="more than 1048576 bytes"):
            look()

    def test_what_it_is_told(self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        body = f"echo \"$@\" > '{tmp_path}/told'; env >> '{tmp_path}/told'; {self.ANSWER}"
        make_helper(tmp_path, monkeypatch, "fake", body)
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"other.example.com": entry("u", "needle")}}))
        write(home / ".docker" / "config.json", credHelpers={APP.registry: "fake"})
        assert look() == Credential(f"asked for {APP.registry}", "s")
        told = (tmp_path / "told").read_text()
        assert told.startswith("get\n") and "HOME=" in told
        assert "needle" not in told and entry("u", "needle")["auth"] not in told

    @pytest.mark.parametrize("server", ["a\nb", "", "a b", "a\0b", "\x1b[2J"])
    def test_names_of_servers(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
        make_helper(tmp_path, monkeypatch, "fake", self.ANSWER)
        with pytest.raises(InvalidError, match="not the name of a server") as caught:
            helper.ask_helper("fake", server)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("name", ["../evil", "a/b", "a b", "", "x\n", "x\0", "$(id)", "a;b", "*", "absent-helper"])
    def test_names(self, home: pathlib.Path, name: str) -> None:
        write(home / ".docker" / "config.json", credHelpers={APP.registry: name}, auths={})
        if name:
            with pytest.raises(InvalidError, match="credential helper"):
                look()
        else:
            assert look() is None

    def test_helpers_of_the_working_folder_are_not_run(
        self, home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_helper(tmp_path, monkeypatch, "fake", self.ANSWER)
        monkeypatch.chdir(tmp_path / "bin")
        monkeypatch.setenv("PATH", ".:")
        write(home / ".docker" / "config.json", credsStore="fake")
        with pytest.raises(InvalidError, match="not on PATH"):
            look()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_login as Ansible runs it: the registry is asked, then credentials are kept; no result ever has them."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.modules import oci_login
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Result, Run, without_settings

ME = {"username": "me", "password": "needle one"}


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return Run(oci_login.main, capsys)


@pytest.fixture(name="warnings")
def _warnings(monkeypatch: pytest.MonkeyPatch) -> t.List[str]:
    """Those of this test alone: Ansible collects those of a process."""
    warnings: t.List[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, warning: warnings.append(warning))
    return warnings


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[fake.FakeRegistry]:
    registry = fake.FakeRegistry()
    registry.basic = "me:needle one"
    yield registry
    registry.close()


@pytest.fixture(name="task")
def _task(registry: fake.FakeRegistry) -> Result:
    return {"registry": registry.host, "plain_http": True, "retries": 0, **ME}


@pytest.fixture(name="config")
def _config(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "home" / ".docker" / "config.json"


def auth(text: str) -> Result:
    return {"auth": base64.b64encode(text.encode()).decode()}


def write(path: pathlib.Path, **document: t.Any) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


def test_check_run_again(run: Run, task: Result, config: pathlib.Path, warnings: t.List[str]) -> None:
    planned = run.done(task, check=True)
    assert planned["changed"] and planned["verified"] and not config.parent.exists()
    done = run.done(task)
    host = task["registry"]
    assert done["diff"] == planned["diff"] and done["diff"]["before"] == f"{host}: absent\n"
    assert done["diff"]["after"] == f"{host}: me, the given password\n"
    assert (done["auth_file"], done["username"], done["credential_helper"], done["requests"]) == (str(config), "me", None, {"GET": 2})
    assert json.loads(config.read_text()) == {"auths": {host: auth("me:needle one")}}
    before = config.stat()
    again = run.done(task)
    assert not again["changed"] and again["verified"] and again["diff"]["before"] == again["diff"]["after"]
    assert (config.stat().st_ino, config.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not warnings


def test_no_secret_is_told(run: Run, task: Result, config: pathlib.Path) -> None:
    """Neither that of the task nor those that were there, of which Ansible knows nothing."""
    write(config, auths={task["registry"]: auth("me:ancient one"), "other": auth("you:ancient two")})
    for check in (True, False):
        result = run.done(task, check)
        assert result["changed"] and result["diff"]["before"].endswith(": me, another password\n")
        for secret in ("needle", "ancient", *(auth(text)["auth"] for text in ("me:needle one", "me:ancient one", "you:ancient two"))):
            assert secret not in json.dumps(result)
    assert json.loads(config.read_text())["auths"]["other"] == auth("you:ancient two")


@pytest.mark.parametrize("check", [True, False])
def test_what_the_registry_refuses_is_not_kept(run: Run, task: Result, config: pathlib.Path, check: bool) -> None:
    said = run.failed({**task, "password": "needle two"}, check)
    assert f"registry {task['registry']}: GET /v2/" in said and "401" in said and "with the credentials of me" in said
    assert not config.parent.exists()
    write(config, auths={task["registry"]: auth("me:needle one")})
    run.failed({**task, "password": "needle two"}, check)
    assert json.loads(config.read_text()) == {"auths": {task["registry"]: auth("me:needle one")}}


def test_what_was_kept_is_verified_again(run: Run, task: Result, registry: fake.FakeRegistry) -> None:
    run.done(task)
    registry.basic = "me:needle new"
    assert "401" in run.failed(task)


def test_a_registry_that_lets_everybody_in(
    run: Run, task: Result, registry: fake.FakeRegistry, config: pathlib.Path, warnings: t.List[str]
) -> None:
    registry.basic = ""
    done = run.done(task)
    assert done["changed"] and done["verified"] is False and config.exists()
    assert warnings == [f"{task['registry']} lets everybody in: it did not look at the credentials"]


def test_a_registry_without_tls_is_told_nothing(run: Run, task: Result, registry: fake.FakeRegistry, config: pathlib.Path) -> None:
    run.failed({**task, "plain_http": False})
    assert not config.parent.exists() and not registry.seen


def test_a_token_server(run: Run, task: Result, registry: fake.FakeRegistry, config: pathlib.Path) -> None:
    registry.basic, registry.bearer, registry.token_login = "", f"{registry.url}/token", "me:needle one"
    assert run.done(task)["requests"] == {"GET": 3}
    assert "no token: status 401" in run.failed({**task, "password": "needle two"})
    token = {key: value for key, value in task.items() if key not in ME}
    done = run.done({**token, "identity_token": "needle refresh"})
    assert done["requests"] == {"GET": 2, "POST": 1} and done["username"] is None
    assert done["diff"]["before"] == f"{task['registry']}: me, password\n"
    assert json.loads(config.read_text())["auths"][task["registry"]] == {**auth("<token>:"), "identitytoken": "needle refresh"}
    assert not run.done({**token, "identity_token": "needle refresh"})["changed"]


def test_logout(run: Run, task: Result, registry: fake.FakeRegistry, config: pathlib.Path) -> None:
    write(config, auths={task["registry"]: auth("me:needle one"), "other": auth("you:x")})
    out = {"registry": task["registry"], "state": "absent"}
    planned = run.done(out, check=True)
    assert planned["changed"] and len(json.loads(config.read_text())["auths"]) == 2
    done = run.done(out)
    assert done["diff"] == planned["diff"] and done["diff"]["after"] == f"{task['registry']}: absent\n"
    assert json.loads(config.read_text()) == {"auths": {"other": auth("you:x")}}
    assert not run.done(out)["changed"] and done["requests"] == {} and not registry.seen


def test_registries_say_what_the_task_does_not(run: Run, task: Result, tmp_path: pathlib.Path) -> None:
    entry = {"host": task["registry"], "plain_http": True, "retries": 0, "auth_file": str(tmp_path / "auth.json"), **ME}
    defaults = {"registry": task["registry"], "registries": [entry, {"host": "other", "plain_http": True}]}
    done = run.done(defaults)
    assert done["changed"] and done["auth_file"] == entry["auth_file"] and done["username"] == "me"
    assert not run.done({**defaults, **ME})["changed"]
    assert run.done(defaults, check=True)["requests"] == {"GET": 2}


def test_credentials_are_never_of_both(run: Run, task: Result, registry: fake.FakeRegistry, tmp_path: pathlib.Path) -> None:
    registry.basic, registry.bearer = "", f"{registry.url}/token"
    entry = {"host": task["registry"], "plain_http": True, "retries": 0, "auth_file": str(tmp_path / "auth.json"), **ME}
    done = run.done({"registry": task["registry"], "registries": [entry], "identity_token": "needle token"})
    assert done["username"] is None and done["diff"]["after"] == f"{task['registry']}: the given identity token\n"
    assert b"needle+token" in registry.asked("POST", "/token")[0].body


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        ({}, "home/.docker/config.json"),
        ({"DOCKER_CONFIG": "{}/elsewhere"}, "elsewhere/config.json"),
        ({"REGISTRY_AUTH_FILE": "{}/any", "DOCKER_CONFIG": "{}/elsewhere"}, "any"),
    ],
)
def test_where_it_is_kept(
    run: Run, task: Result, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, environment: t.Dict[str, str], where: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert run.done(task)["auth_file"] == str(tmp_path / where) and (tmp_path / where).is_file()


def test_what_is_looked_at_before_is_told(
    run: Run, task: Result, tmp_path: pathlib.Path, config: pathlib.Path, warnings: t.List[str]
) -> None:
    first = write(tmp_path / "run" / "containers" / "auth.json", auths={task["registry"]: auth("you:x")})
    write(tmp_path / "home" / ".config" / "containers" / "auth.json", auths={"other": auth("you:x")})
    run.done({**task, "auth_file": str(config)})
    assert not warnings
    run.done(task)
    assert warnings == [f"{first} has something for {task['registry']} too, and is looked at before {config}"]
    first.write_text("[]")
    assert not run.done(task)["changed"] and f"a file that is looked at before {config} cannot be used: {first}" in warnings[1]


def test_a_credential_helper(run: Run, task: Result, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, config: pathlib.Path) -> None:
    program, kept = tmp_path / "bin" / "docker-credential-fake", tmp_path / "kept"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/called\ncase "$1" in store) cat > {kept} ;; erase) rm {kept} ;;\n'
        f'get) cat {kept} 2>&- || {{ echo "credentials not found in native keychain"; exit 1; }} ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    asked = {**task, "credential_helper": "fake"}
    planned = run.done(asked, check=True)
    assert planned["changed"] and not kept.exists()
    done = run.done(asked)
    assert done["diff"] == planned["diff"] and done["credential_helper"] == "fake"
    assert json.loads(kept.read_text())["Secret"] == "needle one"
    assert json.loads(config.read_text()) == {"credHelpers": {task["registry"]: "fake"}}
    assert not run.done(task)["changed"]
    assert "needle" not in json.dumps(done) + config.read_text() + (tmp_path / "called").read_text()
    assert run.done({"registry": task["registry"], "state": "absent"})["credential_helper"] == "fake" and not kept.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"username": "me"}, "there are no credentials"),
        ({}, "there are no credentials"),
        ({"password": "needle"}, "missing parameter(s) required by 'password': username"),
        ({**ME, "identity_token": "needle"}, "mutually exclusive"),
        ({**ME, "client_cert": "/a"}, "required together: client_cert, client_key"),
        ({**ME, "registry": "https://index.docker.io/v1/"}, "not a registry host"),
        ({**ME, "registry": "reg.example.com/team"}, "not a registry host"),
        ({**ME, "timeout": 0}, "timeout is 0"),
        ({**ME, "retries": -1}, "retries is -1"),
        ({"username": "me\n", "password": "needle"}, "username has a character that no login can have"),
        ({"identity_token": "needle\n"}, "identity_token has a character that no login can have"),
        ({"username": "a:b", "password": "needle"}, "username has a colon"),
    ],
)
def test_what_makes_no_sense(run: Run, registry: fake.FakeRegistry, arguments: Result, says: str) -> None:
    said = run.failed({"registry": registry.host, "plain_http": True, **arguments})
    assert says in said and "needle" not in said and not registry.seen


@pytest.mark.parametrize("content", ["[]", '{"auths": []}', "needle"])
def test_a_broken_file_is_left_alone(run: Run, task: Result, config: pathlib.Path, content: str) -> None:
    write(config).write_text(content)
    for state in ("present", "absent"):
        for check in (True, False):
            said = run.failed({**task, "state": state}, check)
            assert str(config) in said and "needle" not in said
    assert config.read_text() == content

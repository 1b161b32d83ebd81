# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the environment holds: .netrc, proxies with a login, credential helpers (threat rows 48, 52, 56)."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import typing as t

import clients
import pytest
import tally as tallies
import trap as traps
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from clients import LAYOUT, REGISTRY, Access, Place

PROXY_PASSWORD, NETRC_PASSWORD = "canary-proxy-7f3a", "canary-netrc-7f3a"
PROXY_LOGIN = base64.b64encode(f"{traps.USER}:{PROXY_PASSWORD}".encode()).decode()
# What a helper may be, by name: all of them are asked for the password of the registry.
HELPERS = {
    "fails": "echo {needle}; echo {needle} >&2; exit 1",
    "garbage": "echo {needle}",
    "no-secret": """echo '{{"Username":"{needle}","Secret":""}}'""",
    "endless": "exec cat /dev/zero",
    "killed": "kill -9 $$",
    "two-documents": """echo '{{"Username":"u","Secret":"{needle}"}}{{"Username":"u","Secret":"{needle}"}}'""",
}
NAMES = ["../helper", "/bin/helper", "a b", "$(touch owned)", "a;touch owned", "-x", "x\n", "x\u0000", "h\u00e9lper", "x" * 5000, "absent"]


def _pull(client: clients.Client, host: str, tmp_path: pathlib.Path) -> clients.Run:
    done = client.copy(Place(REGISTRY, f"{host}/{traps.REPOSITORY}"), Place(LAYOUT, str(tmp_path / "layout")))
    assert done is not None
    return done


@pytest.mark.parametrize("kind", ["by-home", "by-variable", "default", "beside-a-login"])
def test_netrc(kind: str, client_class: t.Type[clients.Client], report: t.Callable[..., None], tmp_path: pathlib.Path) -> None:
    """r48: its password goes to nobody, and does not take a given one's place."""
    home = tmp_path / "client"
    home.mkdir()
    netrc = home / ("my-netrc" if kind == "by-variable" else ".netrc")
    who = "default" if kind == "default" else "machine 127.0.0.1"
    netrc.write_text(f"{who} login {traps.USER} password {NETRC_PASSWORD}\n")
    netrc.chmod(0o600)
    needle = base64.b64encode(f"{traps.USER}:{NETRC_PASSWORD}".encode()).decode()
    with traps.set_up() as trap:
        given = {trap.front.host: (traps.USER, traps.PASSWORD)} if kind == "beside-a-login" else {}
        access = Access(credentials=given, environment={"NETRC": str(netrc)} if kind == "by-variable" else {})
        where = f"http://{trap.evil.host}/v2/{traps.REPOSITORY}/blobs/{trap.front.layer_digest}"
        if given:
            trap.front.fault("GET", f"/blobs/{trap.front.layer_digest}", fake.answer(307, {"Location": where}))
        done = _pull(client_class(home, access), trap.front.host, tmp_path)
        told = trap.front.told() + trap.evil.told()
        problems = trap.leaks() + (["the password of .netrc was sent"] if needle in told else [])
        problems += [] if done.succeeded == bool(given) else [f"another outcome: {done.output}"]
    report(tallies.CREDENTIALS, problems, f"r48-{kind}")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_proxy(variable: str, ours: t.Type[clients.Ours], report: t.Callable[..., None], tmp_path: pathlib.Path) -> None:
    """r52: the proxy's login goes to the proxy alone, and is in no message; NO_PROXY is heard."""
    with traps.set_up("none") as trap:
        proxy = {variable: f"http://{traps.USER}:{PROXY_PASSWORD}@{trap.evil.host}"}
        trap.evil.fault("HEAD", "registry.invalid", fake.answer(407, {"Proxy-Authenticate": f'Basic realm="{PROXY_LOGIN}"'}))
        trap.evil.fault("GET", "registry.invalid", fake.answer(403, {"Content-Type": "text/plain"}, f"no {PROXY_PASSWORD}".encode()), 9)
        client = ours(tmp_path / "client", Access(environment=proxy, credentials={"registry.invalid": (traps.USER, traps.PASSWORD)}))
        done = _pull(client, "registry.invalid", tmp_path)
        asked = [one for one in trap.evil.seen if "registry.invalid" in one.path]
        problems = (
            [] if asked and all(PROXY_LOGIN in one.headers.get("proxy-authorization", "") for one in asked) else ["the proxy was not asked"]
        )
        problems += ["the registry's login was sent unasked"] if traps.BASIC in trap.evil.told() else []
        problems += [f"shown: {needle}" for needle in (PROXY_PASSWORD, PROXY_LOGIN, *traps.forms(traps.PASSWORD)) if needle in done.output]
        problems += ["it succeeded"] if done.succeeded else []
        # The registry on loopback is reached without the proxy.
        done = _pull(client, trap.front.host, tmp_path)
        problems += [] if done.succeeded else [f"it failed: {done.output}"]
        problems += ["the registry was told the proxy's login"] if "proxy-authorization" in trap.front.told() else []
    report(tallies.CREDENTIALS, problems, f"r52-{variable}")


def _with_helper(home: pathlib.Path, host: str, name: str, body: str, program: str = "docker-credential-canary") -> t.Dict[str, str]:
    """The environment for a config.json that names a helper and has a password beside it, which is not to be used instead."""
    folder = home / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / program).write_text(f"#!/bin/sh\necho \"$@\" >> '{home}/asked'\n{body}\n")
    (folder / program).chmod(0o755)
    config = home / "config"
    config.mkdir(exist_ok=True)
    encoded = base64.b64encode(f"{traps.USER}:{traps.PASSWORD}".encode()).decode()
    (config / "config.json").write_text(json.dumps({"credHelpers": {host: name}, "auths": {host: {"auth": encoded}}}))
    return {"DOCKER_CONFIG": str(config), "PATH": f"{folder}:{os.environ['PATH']}"}


def test_helper(client_class: t.Type[clients.Client], tmp_path: pathlib.Path) -> None:
    """The control: a good helper is asked, and what it says is used."""
    with traps.set_up() as trap:
        answer = json.dumps({"ServerURL": trap.front.host, "Username": traps.USER, "Secret": traps.PASSWORD})
        environment = _with_helper(tmp_path / "client", trap.front.host, "canary", f"cat > /dev/null\necho '{answer}'")
        done = _pull(client_class(tmp_path / "client", Access(environment=environment)), trap.front.host, tmp_path)
        assert done.succeeded, done.output
        assert (tmp_path / "client" / "asked").read_text().splitlines()[0] == "get"


@pytest.mark.parametrize("kind", HELPERS)
def test_bad_helper(kind: str, client_class: t.Type[clients.Client], report: t.Callable[..., None], tmp_path: pathlib.Path) -> None:
    """r56: it fails in one way: the task ends, no other password is sent, and nothing that it said is shown."""
    with traps.set_up() as trap:
        body = HELPERS[kind].format(needle=traps.SIGNATURE)
        environment = _with_helper(tmp_path / "client", trap.front.host, "canary", body)
        done = _pull(client_class(tmp_path / "client", Access(environment=environment), limit=45), trap.front.host, tmp_path)
        problems = _not_used(trap, done, trap.front)
        problems += ["over 512 MiB of memory"] if done.peak_mib > 512 else []
    report(tallies.CREDENTIALS, problems, f"r56-{kind}")


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_name_of_helper(number: int, client_class: t.Type[clients.Client], report: t.Callable[..., None], tmp_path: pathlib.Path) -> None:
    """r56: a name that is none runs no program."""
    home = tmp_path / "client"
    with traps.set_up() as trap:
        environment = _with_helper(home, trap.front.host, NAMES[number], "exit 0", "helper")
        done = _pull(client_class(home, Access(environment=environment), limit=45), trap.front.host, tmp_path)
        problems = _not_used(trap, done, trap.front)
        problems += [f"a program was run: {path.name}" for path in [home / "asked", *tmp_path.rglob("owned")] if path.exists()]
    report(tallies.CREDENTIALS, problems, f"r56-name-{number}")


def _not_used(trap: traps.Trap, done: clients.Run, registry: traps.Server) -> t.List[str]:
    problems = ["it succeeded"] if done.succeeded else []
    problems += ["the password of the file was sent"] if traps.BASIC in registry.told() else []
    problems += ["a traceback"] if done.traceback else []
    return problems + (["timed out"] if done.timed_out else []) + trap.shown(done.output)

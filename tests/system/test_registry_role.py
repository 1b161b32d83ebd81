# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role registry: real registries that it starts, restarts and stops, with TLS and users, and what it leaves alone."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import grp
import importlib
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import time
import typing as t

import processes
import pytest
import yaml
from registry_roles import PASSWORD, ROLE, SECRET, SERVICE_USER, Role, layout, login, secure, tree
from support import fail, succeed


@pytest.fixture(name="secured")
def _secured(role: Role) -> Role:
    secure(role)
    return role


def test_a_registry_from_nothing_to_nothing(secured: Role) -> None:
    """Check mode, the run, the second run; what is pushed and pulled; then it is gone, and what is stored is not."""
    role = secured
    source = layout(role.folder)
    before = tree(role.folder)
    assert role.changes("--check", "--diff") >= 5
    assert tree(role.folder) - before == {"playbook.yml"}

    done = role.run("-vvvv", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    for secret in (PASSWORD, SECRET, "$2y$", "PRIVATE KEY"):
        assert secret not in done.stdout + done.stderr, f"{secret!r} is shown"
    pid = role.pid()
    command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    assert PASSWORD not in command and SECRET not in command
    owner = pathlib.Path(f"/proc/{pid}").stat()
    assert owner.st_uid == (role.folder / "data").stat().st_uid and (owner.st_uid != 0 or SERVICE_USER == "root")
    modes = {
        name: stat.S_IMODE((role.folder / "etc" / name).stat().st_mode) for name in ("config.yml", "htpasswd", "key.pem", "environment")
    }
    assert modes == {"config.yml": 0o640, "htpasswd": 0o640, "key.pem": 0o640, "environment": 0o600}
    kept = (role.folder / "etc" / "environment").read_text()
    made = re.fullmatch(rf"LADING_TEST_VALUE={SECRET}\nREGISTRY_HTTP_SECRET=([0-9a-f]{{64}})\n", kept)
    assert made and made[1] not in done.stdout + done.stderr
    assert f"REGISTRY_HTTP_SECRET={made[1]}" in pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert "No HTTP secret provided" not in (role.folder / "log").read_text()
    assert PASSWORD not in "".join(path.read_text(errors="replace") for path in (role.folder / "etc").rglob("*") if path.is_file())
    assert role.changes() == 0 and role.changes("--check", "--diff") == 0 and role.pid() == pid

    copied = succeed("oci_copy", {"src": f"oci:{source}:v1", "dest": f"{role.host}/app:v1", "dest_registry": login(role)})
    pulled = {"src": f"{role.host}/app:v1", "dest": str(role.folder / "pulled")}
    assert succeed("oci_pull", {**pulled, "src_registry": login(role)})["digest"] == copied["digest"]
    assert (role.folder / "pulled" / "file").read_text() == "hello world!\n"
    assert "401" in fail("oci_pull", {**pulled, "src_registry": login(role, "another")})

    assert role.changes(registry_state="absent") > 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert tree(role.folder / "etc") == set() and (role.folder / "data" / "docker").is_dir()


def test_it_is_restarted_when_something_has_changed_and_only_then(secured: Role) -> None:
    role = secured
    role.variables["registry_delete"] = False
    assert role.changes() > 0
    first = role.pid()
    assert role.changes("--check", registry_delete=True) == 2 and role.pid() == first, "the configuration and the process"

    role.variables["registry_delete"] = True
    done = role.run("--diff")
    assert "-    enabled: false" in done.stdout and "+    enabled: true" in done.stdout
    second = role.pid()
    assert second != first

    role.variables["registry_users"] = [{"name": "deploy", "password": "another"}]
    assert role.changes() == 2 and role.pid() != second
    assert "401" in fail("oci_info", {"src": f"{role.host}/app:v1", "src_registry": login(role)})

    third = role.pid()
    for kind in ("pem", "key"):
        shutil.copy(role.folder / f"renewed.{kind}", role.folder / f"server.{kind}")
    assert role.changes() == 2 and role.pid() != third
    served = ssl.get_server_certificate(("127.0.0.1", int(role.host.rpartition(":")[2])))
    assert served.split() == (role.folder / "renewed.pem").read_text().split()

    fourth = role.pid()
    said = role.refusal(registry_config={"log": {"formatter": "text", "level": "loud"}})
    assert "invalid loglevel loud" in said
    assert role.pid() == fourth and "loud" not in (role.folder / "etc" / "config.yml").read_text()

    # Killed from outside, with a pid file that is stale.
    os.kill(fourth, 9)
    time.sleep(0.2)
    assert role.changes() == 1 and role.pid() != fourth, "and nothing else was changed by what was refused"


def test_the_secret_is_made_once(role: Role) -> None:
    """It is kept when other values change, and gives way to one that is given."""
    kept = role.folder / "etc" / "environment"
    assert role.changes() > 0
    made = kept.read_text()
    assert role.changes(registry_environment={"A": "1"}) == 2 and kept.read_text() == f"A=1\n{made}"
    assert role.changes(registry_environment={"REGISTRY_HTTP_SECRET": SECRET}) == 2
    assert kept.read_text() == f"REGISTRY_HTTP_SECRET={SECRET}\n"


def test_garbage_is_collected(role: Role) -> None:
    assert role.changes() > 0
    source = layout(role.folder)
    plain = {"plain_http": True}
    digest = succeed("oci_copy", {"src": f"oci:{source}:v1", "dest": f"{role.host}/app:v1", "dest_registry": plain})["digest"]
    assert succeed("oci_manifest", {"dest": f"{role.host}/app@{digest}", "state": "absent", "dest_registry": plain})["changed"]
    stored = role.folder / "data" / "docker" / "registry" / "v2" / "blobs"
    blobs, pid = tree(stored), role.pid()
    assert role.changes("--check", tasks_from="garbage_collect") == 0 and tree(stored) == blobs and role.pid() == pid
    done = role.run(tasks_from="garbage_collect")
    assert done.returncode == 0 and re.search(r"changed=([2-9]|\d\d)", done.stdout), done.stdout + done.stderr
    # It is stopped and started: the facts that the first of them has gathered are enough.
    looked = re.findall(r"TASK \[lading.oci.registry : Which Python there is\] \*+\n(\w+)", done.stdout)
    assert looked == ["ok", "skipping"], done.stdout
    assert not [name for name in tree(stored) if name.endswith("/data")] and blobs
    assert role.pid() != pid


@contextlib.contextmanager
def taken_port() -> t.Iterator[int]:
    """One that somebody else listens at."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def error_of(said: str, errors: int = 1) -> str:
    """What the last of the errors of a run says, without what Ansible shows around it."""
    assert said.count("[ERROR]") == errors, said
    return said[said.rindex("[ERROR]") :].partition("\nOrigin:")[0]


def test_a_port_that_is_taken(role: Role) -> None:
    """It is noticed before the registry that runs is stopped."""
    with taken_port() as port:
        said = error_of(role.refusal(registry_port=port))
        assert f"does not run as it is declared: port {port}, address 127.0.0.1: address already in use" in said
        assert not (role.folder / "pid").exists() and not (role.folder / "log").exists()
        assert role.changes() > 0
        pid = role.pid()
        assert f"port {port}, address 127.0.0.1: address already in use" in error_of(role.refusal(registry_port=port))
        assert role.pid() == pid
        assert succeed("oci_info", {"src": f"{role.host}/app:v1", "src_registry": {"plain_http": True}})["images"]
    said = error_of(role.refusal(registry_address="192.0.2.1", registry_port=port, registry_plain_http=True))
    assert "the address 192.0.2.1 is none of this host" in said and role.pid() == pid


def test_it_does_not_start(role: Role) -> None:
    """The error begins with what the registry has said last, and has nothing of earlier starts."""
    with taken_port() as port:
        taken = {"REGISTRY_HTTP_ADDR": f"127.0.0.1:{port}"}
        for _time in range(2):
            said = error_of(role.refusal(registry_environment=taken))
            lines = said.splitlines()
            first = next(line for line in lines if "does not run as it is declared: " in line)
            assert "level=fatal" in first and "address already in use" in first and "ended at once with exit code 1" in first, said
            assert said.count("address already in use") == 1 and len(lines) < 20, said
            assert "ServiceError" not in said
    assert not (role.folder / "pid").exists()


def test_it_does_not_answer(role: Role) -> None:
    """The last lines of the log are in the error, and none from before the process was started."""
    assert role.changes() > 0
    elsewhere = f"127.0.0.1:{processes.free_port()}"
    said = error_of(role.refusal(registry_environment={"REGISTRY_HTTP_ADDR": elsewhere}, registry_start_timeout=1), errors=2)
    assert f"The last lines of its log ({role.folder}/log):" in said
    assert f"listening on {elsewhere}" in said and f"listening on {role.host}" not in said


def test_the_options_are_documented(role: Role) -> None:
    """Every default has an option, and a default that is said is the one that is used."""
    options = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    assert set(defaults) <= set(options)
    assert set(role.variables) <= set(options)
    assert {name: defaults[name] for name, option in options.items() if "default" in option} == {
        name: option["default"] for name, option in options.items() if "default" in option
    }


def test_the_readmes_plays_are_accepted() -> None:
    """Every variable that the README sets is an option, with a choice that there is."""
    options = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    blocks = re.findall(r"```yaml\n(.*?)```", (ROLE / "README.md").read_text(), re.DOTALL)
    given: t.List[t.Tuple[str, t.Any]] = []
    for block in map(yaml.safe_load, blocks):
        plays = block if isinstance(block, list) else [{"roles": [{"vars": block}]}]
        given += [pair for play in plays for role in play["roles"] for pair in role.get("vars", {}).items()]
    assert len(given) >= 15
    assert [name for name, _value in given if name not in options] == []
    assert [pair for pair in given if pair[1] not in options[pair[0]].get("choices", [pair[1]])] == []


def service(role: Role, state: str, *options: str) -> subprocess.CompletedProcess[str]:
    """What the role runs on the host; it answers with a line of JSON."""
    files = ["--pid-file", str(role.folder / "pid"), "--log", str(role.folder / "log")]
    command = [sys.executable, str(ROLE / "files" / "service.py"), state, *files, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_pid_of_something_else(role: Role) -> None:
    """A pid that now belongs to something else is not taken for the registry, and is left alone."""
    (role.folder / "pid").write_text(f"{os.getpid()}\n")
    (role.folder / "pid.state").write_text(json.dumps({"pid": os.getpid(), "birth": "another 1", "fingerprint": "x"}))
    assert json.loads(service(role, "stopped").stdout) == {"changed": False, "restarted": False, "pid": 0, "log_from": 0}
    (role.folder / "pid").unlink()


def listens(address: t.Tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def test_a_process_ends_with_the_last_of_its_threads(role: Role) -> None:
    """The first one can have ended, and /proc call the process a zombie, while another still has the port open."""
    address = "127.0.0.1", processes.free_port()
    server = [sys.executable, str(pathlib.Path(__file__).with_name("lingering_server.py")), str(address[1])]
    first = json.loads(service(role, "started", "--command", *server).stdout)
    deadline = time.monotonic() + 20
    while not listens(address):  # until then it ends as any other
        assert time.monotonic() < deadline
        time.sleep(0.05)
    done = service(role, "started", "--restart", "--command", *server)
    assert done.returncode == 0, done.stdout
    second = json.loads(done.stdout)
    assert second["restarted"] and second["pid"] not in (0, first["pid"])
    assert json.loads(service(role, "stopped").stdout)["changed"]
    socket.create_server(address).close()


def test_a_process_that_ends_before_it_is_looked_at(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is about how it has ended, however soon that was."""
    monkeypatch.syspath_prepend(str(ROLE / "files"))
    script = importlib.import_module("service")
    birth = script.birth

    def late(pid: int) -> str:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return str(birth(pid))

    monkeypatch.setattr(script, "birth", late)
    given = {"user": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name, "environment_file": "", "fingerprint": "", "port": 0}
    files = {"pid_file": str(tmp_path / "pid"), "log": str(tmp_path / "log")}
    starting = script.Service(argparse.Namespace(command=["/bin/false"], **given, **files))
    with pytest.raises(script.ServiceError, match=r"^it said nothing \(/bin/false ended at once with exit code 1\)$"):
        starting.start()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]

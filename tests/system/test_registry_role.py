# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role registry: real registries that it starts, restarts and stops, with TLS and users, and what it leaves alone."""

from __future__ import annotations

import contextlib
import getpass
import grp
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
import typing as t

import processes
import pytest
import yaml
from ansible_runs import run_playbook
from registry_server import _Authority
from support import fail, succeed

ROLE = pathlib.Path(__file__).resolve().parents[2] / "roles" / "registry"
PASSWORD = "pass word: {needle}"
SECRET = "value of the environment"
Variables = t.Dict[str, t.Any]
# A process of root's gives up being root, where there is somebody to become.
SERVICE_USER = "nobody" if os.geteuid() == 0 else getpass.getuser()
PACKAGE_MODULE = """
import json, os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"name": {"type": "str"}, "state": {"type": "str"}}, supports_check_mode=True)
program = os.environ["LADING_TEST_PACKAGE"]
missing = not os.path.exists(program)
if missing and not module.check_mode:
    os.symlink(os.environ["LADING_TEST_PROGRAM"], program)
    with open(program + ".json", "w") as file:
        json.dump(module.params, file)
module.exit_json(changed=missing)
"""


class Role:
    """The role for one registry, whose files are all in one folder."""

    def __init__(self, folder: pathlib.Path, **variables: t.Any) -> None:
        self.folder = folder
        self.host = f"127.0.0.1:{processes.free_port()}"
        group = grp.getgrgid(os.getgid() if SERVICE_USER != "nobody" else 65534).gr_name
        self.variables: Variables = {
            "registry_service": f"registry-{folder.name}",
            "registry_service_manager": "none",
            "registry_install": "binary",
            "registry_user": SERVICE_USER,
            "registry_group": group,
            "registry_config_dir": str(folder / "etc"),
            "registry_storage_dir": str(folder / "data"),
            "registry_unit_dir": str(folder / "units"),
            "registry_pid_file": str(folder / "pid"),
            "registry_log_file": str(folder / "log"),
            "registry_port": int(self.host.rpartition(":")[2]),
            "registry_start_timeout": 20,
            **variables,
        }

    def play(self, tasks: t.Sequence[Variables], *options: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": list(tasks)}
        (self.folder / "playbook.yml").write_text(yaml.safe_dump([{**play, "vars": {**self.variables, **variables}}], sort_keys=False))
        return run_playbook([str(self.folder / "playbook.yml"), *options], ANSIBLE_PIPELINING="1")

    def run(self, *options: str, tasks_from: str = "main", **variables: t.Any) -> subprocess.CompletedProcess[str]:
        return self.play(
            [{"ansible.builtin.include_role": {"name": "lading.oci.registry", "tasks_from": tasks_from}}], *options, **variables
        )

    def changes(self, *options: str, **variables: t.Any) -> int:
        """How many tasks have changed something, of a run that has to succeed."""
        done = self.run(*options, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        counted = re.search(r"changed=(\d+)", done.stdout)
        assert counted
        return int(counted[1])

    def refusal(self, **variables: t.Any) -> str:
        done = self.run(**variables)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def pid(self) -> int:
        pid = int((self.folder / "pid").read_text())
        os.kill(pid, 0)
        return pid

    def stop(self) -> None:
        """A play would take long, and what the play does is tested elsewhere."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(self.pid(), signal.SIGKILL)


@pytest.fixture(name="folder")
def _folder() -> t.Iterator[pathlib.Path]:
    """One that the service's user can reach, which the folders of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="lading-role-") as folder:
        pathlib.Path(folder).chmod(0o755)
        (pathlib.Path(folder) / "units").mkdir()
        yield pathlib.Path(folder)


@pytest.fixture(name="role")
def _role(folder: pathlib.Path, peers: t.Any) -> t.Iterator[Role]:
    role = Role(folder, registry_binary=str(folder / "registry"))
    # The service's user cannot go where the tests keep their tools.
    shutil.copy(peers.require("registry").resolve(), folder / "registry")
    yield role
    role.stop()


@pytest.fixture(name="secured")
def _secured(role: Role) -> Role:
    """With TLS and a user."""
    authority = _Authority()
    (role.folder / "ca.pem").write_bytes(authority.certificate)
    for name in ("server", "renewed"):
        certificate, key = authority.issue(name)
        (role.folder / f"{name}.pem").write_bytes(certificate)
        (role.folder / f"{name}.key").write_bytes(key)
        (role.folder / f"{name}.key").chmod(0o600)
    role.variables.update(
        registry_address="127.0.0.1",
        registry_tls_certificate=str(role.folder / "server.pem"),
        registry_tls_key=str(role.folder / "server.key"),
        registry_users=[{"name": "deploy", "password": PASSWORD}],
        registry_environment={"REGISTRY_HTTP_SECRET": SECRET},
    )
    return role


def login(role: Role, password: str = PASSWORD) -> Variables:
    return {"ca_path": str(role.folder / "ca.pem"), "username": "deploy", "password": password}


def layout(folder: pathlib.Path) -> pathlib.Path:
    (folder / "file").write_text("hello world!\n")
    path = folder / "layout"
    succeed("oci_layout_build", {"path": str(path), "tag": "v1", "files": [{"src": str(folder / "file")}]})
    return path


def tree(folder: pathlib.Path) -> t.Set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


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
    """It is kept, not shown, and gives way to one that is given."""
    kept = role.folder / "etc" / "environment"
    assert role.changes("--check") > 0 and not kept.exists()
    done = role.run("-vvvv", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    made = re.fullmatch(r"REGISTRY_HTTP_SECRET=([0-9a-f]{64})\n", kept.read_text())
    assert made and made[1] not in done.stdout + done.stderr and stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert f"REGISTRY_HTTP_SECRET={made[1]}" in pathlib.Path(f"/proc/{role.pid()}/environ").read_text().split("\0")
    assert "No HTTP secret provided" not in (role.folder / "log").read_text()
    assert role.changes("--check", "--diff") == 0 and role.changes() == 0
    assert role.changes(registry_environment={"A": "1"}) == 2 and kept.read_text() == f"A=1\nREGISTRY_HTTP_SECRET={made[1]}\n"
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
    assert role.changes(tasks_from="garbage_collect") >= 2
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


# What is wrong, and the words that say so.
WRONG: t.List[t.Tuple[Variables, str]] = [
    ({"registry_kind": "harbor"}, "value of registry_kind must be one of"),
    ({"registry_kind": "zot", "registry_install": "package"}, "no distribution has a package of zot"),
    ({"registry_binary_url": "https://example.com/registry"}, "registry_binary_checksum (as sha256:...) belong together"),
    ({"registry_binary_url": "file:///x", "registry_binary_checksum": "sha256:0"}, "registry_binary_checksum is sha256:"),
    ({"registry_install": "package", "registry_binary_url": "file:///x"}, "is for registry_install=binary"),
    ({"registry_tls_certificate": "/x.pem"}, "registry_tls_certificate and registry_tls_key belong together"),
    ({"registry_tls_client_ca": "/x.pem"}, "registry_tls_client_ca needs"),
    ({"registry_tls_certificate": "/no/x.pem", "registry_tls_key": "/no/x.key"}, "there is no /no/x.pem on localhost"),
    ({"registry_address": "0.0.0.0"}, "would go in the clear"),
    ({"registry_retention": [{"repositories": ["**"]}]}, "Distribution has no retention. Use registry_kind=zot"),
    ({"registry_gc_schedule": "daily"}, "is a timer of systemd"),
    ({"registry_gc_schedule": "daily", "registry_kind": "zot"}, "zot collects garbage while it runs"),
    ({"registry_port": 70000}, "registry_port=70000 is no port"),
    ({"registry_htpasswd_cost": 40}, "registry_htpasswd_cost=40 is not from 4 to 31"),
    ({"registry_service": "a b"}, "registry_service=a b has characters"),
    ({"registry_environment": {"A B": "1"}}, "letters, digits and underscores"),
    ({"registry_environment": {"A": "1\n2"}}, "a value has one line"),
    ({"registry_users": [{"name": "a:b", "password": "not shown"}]}, "a name has no colon"),
    ({"registry_users": [{"name": "a", "password": "not shown" * 9}]}, "longer than the 72 bytes"),
    ({"registry_users": [{"name": "a", "hash": "not shown"}]}, "is not bcrypt's"),
    ({"registry_users": [{"name": "a", "passwort": "x"}]}, "registry_users.passwort"),
    ({"registry_storage_dir": "data", "registry_log_file": "log"}, "registry_storage_dir, registry_log_file: write the whole path"),
    ({"registry_tls_certificate": "x.pem", "registry_tls_key": "/x.key"}, "registry_tls_certificate: write the whole path"),
    ({"registry_binary": "/no/program"}, "registry_binary: /no/program is no program on localhost"),
]


@pytest.mark.parametrize("part", range(3))
def test_wrong_options_are_named(role: Role, part: int) -> None:
    """Many of them in one run: a play for each would take minutes."""
    cases = WRONG[part::3]
    tasks: t.List[Variables] = [
        {
            "block": [
                {"ansible.builtin.include_role": {"name": "lading.oci.registry"}, "vars": wrong},
                {"ansible.builtin.fail": {"msg": "taken"}},
            ],
            "rescue": [{"ansible.builtin.set_fact": {f"said_{number}": "{{ ansible_failed_result | to_json }}"}}],
        }
        for number, (wrong, _says) in enumerate(cases)
    ]
    facts = ", ".join(f"said_{number}" for number in range(len(cases)))
    tasks.append({"ansible.builtin.copy": {"dest": str(role.folder / "said.json"), "content": f"{{{{ [{facts}] | to_json }}}}"}})
    done = role.play(tasks, "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(zip((says for _wrong, says in cases), json.loads((role.folder / "said.json").read_text())))
    assert [says for says, text in said.items() if says not in text] == [], said
    assert "not shown" not in done.stdout + done.stderr + "".join(said.values())
    assert not (role.folder / "pid").exists()


def test_a_user_that_is_not_there(role: Role) -> None:
    """Check mode on a host that has nothing of it says that there would be one, and does not fail."""
    done = role.run("--check", registry_user="lading-nobody", registry_group="lading-nobody")
    assert done.returncode == 0, done.stdout + done.stderr
    for task in ("The group of the service", "The user of the service"):
        assert re.search(rf"TASK \[lading.oci.registry : {task}\] \*+\nchanged", done.stdout), done.stdout
    assert not (role.folder / "etc").exists()
    assert "Skipped" not in done.stdout + done.stderr, "what is not there is not searched"
    done = role.run(registry_state="absent")
    assert done.returncode == 0 and "changed=0" in done.stdout and "Skipped" not in done.stdout + done.stderr, done.stdout + done.stderr


def test_a_download(role: Role) -> None:
    """An archive, as the releases of Distribution are, and a checksum that is another."""
    import hashlib
    import tarfile

    with tarfile.open(role.folder / "release.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(role.folder / "registry", "registry")
    (role.folder / "bin").mkdir()
    (role.folder / "bin").chmod(0o755)
    checksum = hashlib.sha256((role.folder / "release.tar.gz").read_bytes()).hexdigest()
    role.variables.update(
        registry_binary=str(role.folder / "bin" / "registry"),
        registry_binary_url=f"file://{role.folder}/release.tar.gz",
        registry_binary_checksum=f"sha256:{checksum}",
    )
    assert "checksum" in role.refusal(registry_binary_checksum="sha256:" + "0" * 64)
    assert tree(role.folder / "bin") == set()
    assert role.changes("--check") > 0 and tree(role.folder / "bin") == set()
    assert role.changes() > 0 and role.pid()
    assert role.changes() == 0


def test_a_package(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package manager is asked for the package, and what it installs is run."""
    library = role.folder / "library"
    library.mkdir()
    (library / "package_of_tests.py").write_text(PACKAGE_MODULE)
    program = role.folder / "docker-registry"
    monkeypatch.setenv("LADING_TEST_PACKAGE", str(program))
    monkeypatch.setenv("LADING_TEST_PROGRAM", str(role.folder / "registry"))
    role.variables.update(registry_install="package", registry_binary=str(program), ansible_package_use="ansible.legacy.package_of_tests")
    assert role.changes("--check") > 0 and not program.exists()
    assert role.changes() > 0 and role.pid()
    assert json.loads((role.folder / "docker-registry.json").read_text()) == {"name": "docker-registry", "state": "present"}
    assert role.changes() == 0


@pytest.mark.parametrize("kind", ["binary", "container"])
def test_units_that_systemd_understands(role: Role, kind: str) -> None:
    """They are rendered and verified; here is no systemd that would run them."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is missing: the units are not verified")
    engine = role.folder / "docker"
    engine.symlink_to("/bin/true")
    variables = {
        "registry_install": kind,
        "registry_service_manager": "systemd",
        # systemd warns of services that are nobody.
        "registry_user": getpass.getuser(),
        "registry_group": grp.getgrgid(os.getgid()).gr_name,
        "registry_container_engine": str(engine),
        "registry_storage_dir": str(role.folder / 'da"ta $HOME %h'),
        "registry_port": 443,
        "registry_gc_schedule": "Sun 03:00",
        "registry_environment": {"REGISTRY_HTTP_SECRET": 'a "b" \\ $c'},
        "registry__fingerprint": "0" * 64,
        "registry_account": {},
        "registry_account_group": {},
    }
    role_of = {"name": "lading.oci.registry"}
    tasks = [
        {"ansible.builtin.include_role": {**role_of, "tasks_from": "account"}, "vars": variables},
        {"ansible.builtin.include_role": {**role_of, "tasks_from": "unit"}, "vars": variables},
        {"ansible.builtin.include_role": {**role_of, "tasks_from": "gc_units"}, "vars": variables},
    ]
    done = role.play(tasks)
    assert done.returncode == 0, done.stdout + done.stderr
    units = sorted((role.folder / "units").iterdir())
    service = role.variables["registry_service"]
    assert [unit.name for unit in units] == [f"{service}-gc.service", f"{service}-gc.timer", f"{service}.service"]
    verified = subprocess.run(["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True, check=False)
    assert verified.returncode == 0 and "Unknown" not in verified.stderr and service not in verified.stderr, verified.stderr
    text = units[-1].read_text()
    assert 'da\\"ta $$HOME %%h' in text and ("CAP_NET_BIND_SERVICE" in text or "NET_BIND_SERVICE" in text)


def test_a_container(role: Role, docker: t.Any, registry: t.Any, repository: str) -> None:
    """Distribution in an image of its own, by a real engine: started once, anew when something changed, and removed."""
    root = role.folder / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy(role.folder / "registry", root / "bin" / "registry")
    linked = subprocess.run(["ldd", str(root / "bin" / "registry")], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+) \(0x", linked):
        (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library[1:])
    (root / "tmp").mkdir()
    image = f"{registry.host}/{repository}:v1"
    build = {"path": str(role.folder / "image"), "tag": "v1", "platform": "linux/amd64", "layers": [{"src": f"{root}/"}]}
    succeed("oci_layout_build", {**build, "config": {"entrypoint": ["/bin/registry"]}})
    succeed("oci_copy", {"src": f"oci:{role.folder}/image:v1", "dest": image, "dest_registry": {"plain_http": True}})
    role.variables.update(registry_install="container", registry_image=image, registry_users=[{"name": "deploy", "password": PASSWORD}])

    def started() -> str:
        argv = ["docker", "container", "inspect", "--format", "{{.Id}} {{.State.Running}}", role.variables["registry_service"]]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()

    assert role.changes("--check") > 0 and started() == ""
    assert role.changes() > 0
    first = started()
    assert first.endswith(" true") and role.changes() == 0 and role.changes("--check") == 0 and started() == first
    plain = {"plain_http": True, "username": "deploy", "password": PASSWORD}
    succeed("oci_copy", {"src": f"oci:{role.folder}/image:v1", "dest": f"{role.host}/app:v1", "dest_registry": plain})
    assert (role.folder / "data" / "docker").stat().st_uid == (role.folder / "data").stat().st_uid
    assert role.changes(registry_delete=False) > 0
    assert started().endswith(" true") and started() != first
    assert role.changes("--check", registry_state="absent") > 0 and started()
    assert role.changes(registry_state="absent") > 0 and started() == ""
    assert role.changes(registry_state="absent") == 0


def test_zot(folder: pathlib.Path) -> None:
    """Retention, users and rules: what zot itself says of the configuration, and an artifact that goes in and comes back."""
    program = shutil.which("zot")
    if not program:
        pytest.skip("zot is missing: no package of Debian has it; put it on PATH to have this tested")
    shutil.copy(program, folder / "zot")
    policy = {"repositories": ["**"], "deleteUntagged": True, "keepTags": [{"patterns": ["v.*"]}, {"mostRecentlyPushedCount": 10}]}
    users = [{"name": "deploy", "password": PASSWORD}]
    role = Role(folder, registry_kind="zot", registry_binary=str(folder / "zot"), registry_retention=[policy], registry_users=users)
    role.variables["registry_delete"] = False
    try:
        assert role.changes() > 0
        pid = role.pid()
        assert role.changes() == 0 and role.pid() == pid
        plain = {"plain_http": True, "username": "deploy", "password": PASSWORD}
        copied = succeed("oci_copy", {"src": f"oci:{layout(folder)}:v1", "dest": f"{role.host}/app:v1", "dest_registry": plain})
        pulled = succeed("oci_pull", {"src": f"{role.host}/app:v1", "dest": str(folder / "pulled"), "src_registry": plain})
        assert pulled["digest"] == copied["digest"]
        assert "403" in fail("oci_manifest", {"dest": f"{role.host}/app@{copied['digest']}", "state": "absent", "dest_registry": plain})
        assert "invalid keys: keeptag" in role.refusal(registry_retention=[{**policy, "keepTag": []}]) and role.pid() == pid
    finally:
        role.stop()


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


def test_a_pid_of_something_else(role: Role) -> None:
    """A pid that now belongs to something else is not taken for the registry, and is left alone."""
    script = [sys.executable, str(ROLE / "files" / "service.py")]
    options = ["--pid-file", str(role.folder / "pid")]
    (role.folder / "pid").write_text(f"{os.getpid()}\n")
    (role.folder / "pid.state").write_text(json.dumps({"pid": os.getpid(), "birth": "another 1", "fingerprint": "x"}))
    done = subprocess.run([*script, "stopped", *options], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"changed": False, "restarted": False, "pid": 0, "log_from": 0}
    (role.folder / "pid").unlink()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role registry: what it installs and refuses, units, containers, and zot."""

from __future__ import annotations

import getpass
import grp
import json
import os
import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest
from registry_roles import PASSWORD, Role, Variables, layout, tree
from support import fail, succeed

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

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example of the modules' documentation and of the README is run, twice: the second time nothing changes."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re
import shlex
import shutil
import typing as t

import pytest
import yaml
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform
from ansible_runs import run_command, run_playbook
from examples import (
    PLUGINS,
    ROOT,
    Tasks,
    adapted,
    builders_tasks,
    make_context,
    make_toolbox,
    plugins_tasks,
    pushed_by_oras,
    readme_tasks,
    tasks_of,
)
from oras_artifacts import Oras, push_chart
from signing_programs import Notation
from support import succeed

CHANGED = re.compile(r"^changed: ", re.MULTILINE)


def run_twice(tasks: Tasks, folder: pathlib.Path, registry: t.Any) -> None:
    """With the registry's options for whatever host the examples name: the real ones have TLS, and logins."""
    for task in tasks:
        for block in (task, *task.get("block", [])):
            block.get("module_defaults", {}).pop("group/lading.oci.registry", None)
            block.get("vars", {}).pop("lading_oci_registries", None)
    play = {
        "hosts": "localhost",
        "tasks": tasks,
        "handlers": [{"name": "Reload the web server", "ansible.builtin.debug": {"msg": "reloaded"}}],
    }
    run_play_twice(play, folder, registry)


def run_play_twice(play: t.Dict[str, t.Any], folder: pathlib.Path, registry: t.Any, changes: bool = True) -> None:
    registries = [{"host": registry.host, "plain_http": True}]
    defaults = {"group/lading.oci.registry": {"registries": registries}}
    play = {"connection": "local", "gather_facts": False, **play, "module_defaults": defaults}
    play["vars"] = {**play.get("vars", {}), "lading_oci_registries": registries}
    playbook = folder / "playbook.yml"
    playbook.write_text(yaml.safe_dump([play], sort_keys=False))
    # Ansible sends its modules anew in each run of the command, which would take as long as the tasks.
    done = run_playbook(["--diff", str(playbook), str(playbook)])
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [CHANGED.findall(run) for run in done.stdout.split("\nPLAY [")[1:]]
    assert len(runs) == 2 and bool(runs[0]) == changes and not runs[1], done.stdout


def expect_counts(arguments: t.Sequence[str]) -> None:
    """Run the command twice: the first time something changes, the second time nothing."""
    for expected in (r"changed=[1-9]", r"changed=0"):
        done = run_command("ansible-playbook", arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(expected, done.stdout.rpartition("PLAY RECAP")[2]), done.stdout


def test_the_modules_examples(place: t.Tuple[pathlib.Path, t.Dict[str, str]], registry: t.Any) -> None:
    folder, here = place
    tasks = [*tasks_of("oci_layout_build", here), *tasks_of("oci_copy", here)]
    assert len(tasks) >= 20
    run_twice(tasks, folder, registry)


def test_the_examples_of_pulls(place: t.Tuple[pathlib.Path, t.Dict[str, str]], registry: t.Any, peers: t.Any) -> None:
    """Of what the examples of builds made, and of what oras pushed."""
    folder, here = place
    here = pushed_by_oras(folder, here, peers)
    tasks = [*tasks_of("oci_layout_build", here), *tasks_of("oci_pull", here)]
    assert len(tasks) >= 15
    run_twice(tasks, folder, registry)
    pulled = {
        "charts/mychart-0.1.0.tgz": b"a chart",
        "data/data.bin": b"data",
        "pages/index.html": b"<p>",
        "report/program": b"\x7fELF",
        "report/report.json": b"{}\n",
        "models/small/LICENSE": b"MIT\n",
    }
    assert {name: (folder / "srv" / name).read_bytes() for name in pulled} == pulled
    assert sorted(os.listdir(folder / "srv" / "models" / "small")) == ["LICENSE", "small.gguf"]
    assert os.listdir(folder / "srv" / "pages") == ["index.html"]
    assert (folder / "opt/proxy/filters/filter.wasm").read_bytes().startswith(b"\0asm")
    assert (folder / "opt/tool/tool").read_bytes() == str(Platform.of_host()).encode()
    assert b"mychart" in (folder / "opt/tool/config.json").read_bytes()


TOOLBOX = ("oci_push", "oci_attach", "oci_tag", "oci_manifest", "oci_info", "oci_verify", "oci_layout_info", "oci_layout_prune")


@pytest.mark.parametrize("module", TOOLBOX)
def test_the_examples_of_the_toolbox(
    module: str, place: t.Tuple[pathlib.Path, t.Dict[str, str]], registry: t.Any, peers: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, here = place
    # A return value is called pinned, too.
    here = {name: value for name, value in here.items() if name != "pinned"}
    here = {**here, '["localhost:5000"]': f'["{registry.host}"]', "/etc/pki/": f"{folder}/", "O=Example": "O=Notary"}
    variables = make_toolbox(folder, here)
    if module == "oci_verify":
        notation = Notation(peers.require("notation"), folder / "notation")
        notation.sign(f"{here['registry.example.com/']}team/app:1.4")
        shutil.copy(notation.certificate("ours"), folder / "signing-ca.pem")
        monkeypatch.setenv("PATH", f"{notation.path.parent}{os.pathsep}{os.environ['PATH']}")
    tasks = tasks_of(module, here)
    assert len(tasks) >= 3
    play = {"hosts": "localhost", "vars": variables, "tasks": tasks}
    run_play_twice(play, folder, registry, changes=not module.endswith("_info"))


def test_the_plugins_examples(place: t.Tuple[pathlib.Path, t.Dict[str, str]], registry: t.Any) -> None:
    """Of the lookups, filters and tests."""
    folder, here = place
    (folder / "srv" / "app").mkdir()
    tasks = [task for kind, name in PLUGINS for task in plugins_tasks(kind, name, here)]
    assert len(tasks) >= 18
    run_twice(tasks, folder, registry)
    assert re.search(r"image: \S+/team/app@sha256:[0-9a-f]{64}$", (folder / "srv" / "app" / "compose.yml").read_text(), re.MULTILINE)


def test_the_readmes_tasks(place: t.Tuple[pathlib.Path, t.Dict[str, str]], registry: t.Any, peers: t.Any) -> None:
    folder, here = place
    push_chart(Oras(peers.require("oras"), folder / "by-oras"), here["registry.example.com/"])
    tasks = readme_tasks(here)
    assert len(tasks) == 5
    run_twice(tasks, folder, registry)


@pytest.mark.usefixtures("docker")
def test_the_builders_examples(place: t.Tuple[pathlib.Path, t.Dict[str, str]], registry: t.Any) -> None:
    folder, here = place
    make_context(folder)
    tasks = builders_tasks(here)
    assert len(tasks) == 6
    run_twice(tasks, folder, registry)


ROLE_READMES = ("README.md", "roles/buildx/README.md", "roles/image_build/README.md", "roles/image_push/README.md")


@pytest.mark.usefixtures("docker")
@pytest.mark.parametrize("readme", ROLE_READMES)
def test_the_roles_examples(readme: str, place: t.Tuple[pathlib.Path, t.Dict[str, str]], registry: t.Any) -> None:
    folder, here = place
    make_context(folder)
    succeed("oci_copy", {"src": f"oci:{folder}/seed:v1", "dest": f"oci:{folder}/srv/images/hello-world.tar:v1"})
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / readme).read_text(), re.DOTALL)
    plays = [play for block in blocks for play in adapted(block, here) if isinstance(play, dict) and "roles" in play]
    assert plays
    for play in plays:
        for role in play["roles"]:
            values = role.get("vars", {})
            # Nothing is installed on this machine, nothing is started without its image; the registry has neither login nor TLS.
            values.pop("buildx_install", None)
            values.get("buildx_builder", {}).pop("bootstrap", None)
            values.pop("image_push_registry", None)
            for secret in values.get("image_build_secrets", []):
                secret["value"] = "a token"
        # Without a builder of its own the role buildx only looks.
        changes = any(role.get("vars") for role in play["roles"])
        run_play_twice({**play, "hosts": "localhost"}, folder, registry, changes)


@pytest.mark.usefixtures("docker")
def test_the_builders_playbook(place: t.Tuple[pathlib.Path, t.Dict[str, str]], registry: t.Any, repository: str) -> None:
    folder, _here = place
    make_context(folder)
    values = {"build_context": f"{folder}/srv/build/hello", "build_dest": f"{folder}/hello.tar", "build_registry": registry.host}
    values = {**values, "build_plain_http": "true", "build_repository": repository}
    expect_counts(["lading.oci.build_and_push", "--extra-vars", json.dumps(values)])


@pytest.mark.usefixtures("docker")
def test_the_readmes_command(tmp_path: pathlib.Path, registry: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands there, in an otherwise empty folder: relative paths start where the user is."""
    block = re.search(r"```sh\n(ansible-playbook lading.oci.build_and_push .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    words = shlex.split(block.group(1).replace("\\\n", " ").replace("localhost:5000", registry.host))
    (tmp_path / "here" / "hello").mkdir(parents=True)
    (tmp_path / "here" / "hello" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PWD", str(tmp_path / "here"))
    expect_counts([*words[1:], "-e", f"build_repository=test/{tmp_path.name}"])
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["hello", "hello-world.tar"]
    assert "build_context is needed" in refused(["lading.oci.build_and_push"])


@pytest.mark.usefixtures("docker")
@pytest.mark.parametrize(
    ("role", "values", "says"),
    [
        ("image_build", {"image_build_context": "/tmp"}, "missing required arguments: image_build_name"),
        ("image_build", {"image_build_context": "/tmp", "image_build_name": "x:v1"}, "image_build_dest is needed"),
        ("image_push", {"image_push_src": "oci:/nowhere:v1"}, "missing required arguments: image_push_dest"),
        ("image_push", {"image_push_src": "oci:/nowhere:v1", "image_push_dest": "localhost:5000/x:v1"}, "/nowhere"),
        ("buildx", {"buildx_builder": {"driver": "remote"}}, "missing required arguments: name found in buildx_builder"),
        ("buildx", {"buildx_builder": {"name": "x", "drivre": "remote"}}, "buildx_builder.drivre"),
        ("buildx", {"buildx_builder": {"name": "x", "driver": "podman"}}, "must be one of: docker-container, docker, kubernetes, remote"),
    ],
)
def test_wrong_input_of_a_role_says_so(role: str, values: t.Dict[str, t.Any], says: str, tmp_path: pathlib.Path) -> None:
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": [{"role": f"lading.oci.{role}", "vars": values}]}
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump([play]))
    assert says in refused([str(tmp_path / "playbook.yml")])


@pytest.mark.usefixtures("docker")
@pytest.mark.parametrize("dockerfile", ["FROM scratch\nCOPY Dockerfile /\n", "FROM scratch\nCOPY nowhere /\n"], ids=["built", "failed"])
def test_no_secret_of_a_build_is_in_the_output(dockerfile: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ansible runs the role, with all that -vvvv and --diff show."""
    monkeypatch.setenv("BUILD_TOKEN", "needle-of-the-environment")
    (tmp_path / "token").write_text("needle-of-a-file")
    (tmp_path / "Dockerfile").write_text(dockerfile)
    given = "{{ lookup('ansible.builtin.pipe', 'printf need; printf le-of-the-task') }}"
    secrets = [{"id": "a", "value": given}, {"id": "b", "env": "BUILD_TOKEN"}, {"id": "c", "src": str(tmp_path / "token")}]
    values = {"image_build_context": str(tmp_path), "image_build_name": "x:v1", "image_build_dest": str(tmp_path / "x.tar")}
    role = {"role": "lading.oci.image_build", "vars": {**values, "image_build_secrets": secrets}}
    (tmp_path / "playbook.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": [role]}]))
    done = run_playbook(["-vvvv", "--diff", str(tmp_path / "playbook.yml")])
    assert (done.returncode != 0) == ("nowhere" in dockerfile), done.stdout
    assert "secret a: a value" in done.stdout or done.returncode != 0
    assert "needle" not in done.stdout + done.stderr


def test_the_examples_of_logins(tmp_path: pathlib.Path, secure_registry: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that -vvvv and --diff show; but for the one of Docker Hub, which is not here."""
    here = {"registry.example.com": secure_registry.host, "/etc/": f"{tmp_path}/etc/", ": deploy": f": {secure_registry.username}"}
    tasks = [task for task in tasks_of("oci_login", here) if task["lading.oci.oci_login"]["registry"] != "docker.io"]
    assert len(tasks) == 3
    monkeypatch.setenv("REGISTRY_PASSWORD", secure_registry.password)
    reached = {"host": secure_registry.host, "ca_path": str(secure_registry.ca_path)}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "module_defaults": {"group/lading.oci.registry": {"registries": [reached]}},
        "vars": {"registry_password": "{{ lookup('ansible.builtin.env', 'REGISTRY_PASSWORD') }}"},
        "tasks": tasks,
    }
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    done = run_playbook(["-vvvv", "--diff", str(tmp_path / "playbook.yml")])
    assert done.returncode == 0 and "changed=3" in done.stdout, done.stdout + done.stderr
    assert f"{secure_registry.username}, the given password" in done.stdout
    login = f"{secure_registry.username}:{secure_registry.password}".encode()
    for secret in ("needle", base64.b64encode(login).decode()):
        assert secret not in done.stdout + done.stderr
    kept = [pathlib.Path(os.environ["HOME"], ".docker", "config.json"), tmp_path / "etc" / "containers" / "auth.json"]
    assert [len(json.loads(path.read_text())["auths"]) for path in kept] == [0, 1]


def refused(arguments: t.Sequence[str]) -> str:
    """The msg of the task that fails."""
    done = run_playbook(arguments)
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout.rpartition("FAILED! => ")[2]

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lookups, filters and tests in real playbooks: with logins, in forked workers, and what is shown of their errors."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
import yaml
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_runs import run_ansible, run_playbook
from examples import PLUGINS
from support import succeed

TAGS = tuple(f"1.{number}" for number in range(12))
Done = subprocess.CompletedProcess


@pytest.fixture(name="images")
def _images(tmp_path: pathlib.Path) -> Images:
    """An image under each of ``TAGS``."""
    images = Images(tmp_path / "play" / "layout")
    for tag in TAGS:
        images.image(tar_of(release=tag), tags=[tag])
    return images


def digests_of(images: Images) -> t.List[Digest]:
    return [images.layout.resolve(tag).digest for tag in TAGS]


def pushed(images: Images, repository: str, **registry: t.Any) -> t.List[str]:
    """References to all of them in the registry."""
    succeed("oci_copy", {"src": f"oci:{images.layout.path}", "dest": repository, "dest_registry": registry, "tags_matching": ".*"})
    return [f"{repository}:{tag}" for tag in TAGS]


class Play:
    """``play(tasks)`` in the folder of the playbook, with variables in a file of their own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def __call__(
        self,
        tasks: t.Sequence[t.Mapping[str, t.Any]],
        values: t.Mapping[str, t.Any],
        *options: str,
        environment: t.Optional[t.Mapping[str, str]] = None,
        **play: t.Any,
    ) -> Done[str]:
        document = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": list(tasks), **play}
        (self.folder / "playbook.yml").write_text(yaml.safe_dump([document], sort_keys=False))
        (self.folder / "vars.json").write_text(json.dumps(values))
        arguments = ["-e", f"@{self.folder / 'vars.json'}", *options, str(self.folder / "playbook.yml")]
        return run_playbook(arguments, **(environment or {}))

    def succeeds(self, tasks: t.Sequence[t.Mapping[str, t.Any]], values: t.Mapping[str, t.Any], *options: str, **play: t.Any) -> str:
        done = self(tasks, values, *options, **play)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(name="play")
def _play(tmp_path: pathlib.Path) -> Play:
    return Play(tmp_path / "play")


def holds(*expressions: str) -> t.Dict[str, t.Any]:
    return {"ansible.builtin.assert": {"that": list(expressions)}}


def shows(expression: str) -> t.Dict[str, t.Any]:
    return {"ansible.builtin.debug": {"msg": "{{ " + expression + " }}"}}


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_the_documentation_is_shown(kind: str, name: str) -> None:
    done = run_ansible("ansible-doc", ["-t", kind, f"lading.oci.{name}"])
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert f"lading.oci.{name}" in done.stdout and "EXAMPLES:" in done.stdout and "RETURN VALUES:" in done.stdout
    listed = json.loads(run_ansible("ansible-doc", ["-t", kind, "-j", f"lading.oci.{name}"]).stdout)[f"lading.oci.{name}"]
    assert listed["doc"]["short_description"] and listed["doc"]["author"] and listed["examples"] and listed["return"]
    assert ("password" in listed["doc"]["options"]) == (kind == "lookup"), "the lookups have what they share"


def test_a_login_with_tls(images: Images, play: Play, secure_registry: t.Any, repository: str) -> None:
    options = {"username": secure_registry.username, "password": secure_registry.password, "ca_path": str(secure_registry.ca_path)}
    references = pushed(images, f"{secure_registry.host}/{repository}", **options)
    values = {"references": references, "digests": digests_of(images), "given": options}
    direct = "username=given.username, password=given.password, ca_path=given.ca_path"
    play.succeeds([holds(f"query('lading.oci.digest', references, {direct}) == digests")], values)
    by_host = {"lading_oci_registries": [{"host": secure_registry.host, **options}]}
    expected = holds("query('lading.oci.digest', references) == digests")
    play.succeeds([expected], {**values, **by_host})
    templates = {name: "{{ given." + name + " }}" for name in options}
    play.succeeds([expected], values, vars={"lading_oci_registries": [{"host": "{{ host }}", **templates}], "host": secure_registry.host})
    unknown = play([expected], values)
    assert unknown.returncode == 2 and "certificate" in unknown.stdout and "Traceback" not in unknown.stdout + unknown.stderr


def test_a_password_in_a_vault(images: Images, play: Play, secure_registry: t.Any, repository: str) -> None:
    options = {"username": secure_registry.username, "ca_path": str(secure_registry.ca_path)}
    references = pushed(images, f"{secure_registry.host}/{repository}", **options, password=secure_registry.password)
    (play.folder / "key").write_text("key of the vault")
    vault = ["--vault-password-file", str(play.folder / "key")]
    encrypted = run_ansible("ansible-vault", ["encrypt_string", *vault, "--name", "password", secure_registry.password])
    assert encrypted.returncode == 0 and encrypted.stdout.startswith("password: !vault"), encrypted.stderr
    (play.folder / "vault.yml").write_text(encrypted.stdout)
    values = {"references": references, "digests": digests_of(images), "given": options}
    entry = {"host": secure_registry.host, **options, "password": "{{ password }}"}
    tasks = [
        holds("query('lading.oci.digest', references, username=given.username, password=password, ca_path=given.ca_path) == digests"),
        {**holds("query('lading.oci.digest', references) == digests"), "vars": {"lading_oci_registries": [entry]}},
    ]
    play.succeeds(tasks, values, *vault, "-e", f"@{play.folder / 'vault.yml'}")


@pytest.mark.parametrize("environment", [{}, {"ANSIBLE_DISPLAY_TRACEBACK": "always"}], ids=["as usual", "with tracebacks"])
@pytest.mark.parametrize("by_host", [False, True], ids=["given", "by host"])
def test_no_secret_is_shown(
    play: Play, secure_registry: t.Any, repository: str, environment: t.Dict[str, str], by_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a login that is refused, of options that are wrong, and of a proxy that does not answer; with all that -vvvv shows."""
    monkeypatch.setenv("http_proxy", "http://someone:needle-of-the-proxy@127.0.0.1:9")
    login = {"username": secure_registry.username, "password": "needle: of the task", "ca_path": str(secure_registry.ca_path)}
    given = ", ".join(f"{name}=given.{name}" for name in login)
    if by_host:
        entries = [{"host": host, **login} for host in (secure_registry.host, "localhost:9")]
        values: t.Dict[str, t.Any] = {"lading_oci_registries": entries, "given": {}}
        tasks = [
            shows(f"lookup('lading.oci.digest', '{secure_registry.host}/{repository}:v1')"),
            shows("lookup('lading.oci.digest', 'localhost:9/app:v1', registries=[{'host': 1, 'password': lading_oci_registries}])"),
        ]
    else:
        values = {"given": login}
        tasks = [
            shows(f"lookup('lading.oci.digest', '{secure_registry.host}/{repository}:v1', {given})"),
            shows(f"lookup('lading.oci.digest', 'localhost:9/app:v1', {given}, retries=given.password)"),
            shows("lookup('lading.oci.tags', 'registry.example.com/app', plain_http=true, retries=0)"),
        ]
    done = play([{**task, "ignore_errors": True} for task in tasks], values, "-vvvv", environment=environment)
    assert done.returncode == 0 and done.stdout.count("FAILED! =>") == len(tasks), done.stdout + done.stderr
    assert f"image {secure_registry.host}/{repository}:v1: " in done.stdout and "401" in done.stdout
    assert "needle" not in done.stdout + done.stderr
    assert environment or "Traceback" not in done.stdout + done.stderr


def test_workers_are_forked_from_a_process_with_connections(images: Images, play: Play, registry: t.Any, repository: str) -> None:
    """The hosts of a play are known before its workers are forked."""
    references = pushed(images, f"{registry.host}/{repository}", plain_http=True)
    values = {"references": references, "digests": digests_of(images), "repository": f"{registry.host}/{repository}"}
    hosts = "{{ query('lading.oci.tags', repository, plain_http=true) | map('regex_replace', '^1.', 'host-') }}"
    each = holds(*(f"query('lading.oci.digest', references, plain_http=true) == digests and {number} >= 0" for number in range(4)))
    inventory = ",".join(f"host-{number}" for number in range(len(TAGS)))
    out = play.succeeds([each], values, "-i", inventory, "--forks", str(len(TAGS)), hosts=hosts)
    assert out.count("All assertions passed") == len(TAGS)


def test_layouts_of_the_playbooks_folder(images: Images, play: Play, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = [
        holds("query('lading.oci.tags', 'oci:layout') == refs | sort"),
        holds("query('lading.oci.digest', refs | map('regex_replace', '^', 'oci:layout:')) == digests"),
        holds("lookup('lading.oci.digest', 'oci:layout:1.3') == digests[3]"),
        holds("lookup('lading.oci.digest', 'oci:layout:9.9', default='none') == 'none'"),
    ]
    play.succeeds(tasks, {"refs": TAGS, "digests": digests_of(images)})


def test_what_a_layout_says_is_no_template(images: Images, play: Play) -> None:
    index = pathlib.Path(images.layout.path, "index.json")
    index.write_text(index.read_text().replace('"1.0"', '"{{ 6 * 7 }}"'))
    out = play.succeeds([shows("query('lading.oci.tags', 'oci:layout') | list"), shows("query('lading.oci.tags', 'oci:layout')[0]")], {})
    assert "{{ 6 * 7 }}" in out and "42" not in out


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("'alpine:3' | lading.oci.oci_reference", "not a fully qualified reference: 'alpine:3'"),
        ("{'registry': 'localhost'} | lading.oci.oci_reference", "kind registry needs repository"),
        ("'localhost/app:v1' | lading.oci.oci_pin('v1')", "not a digest that can be verified: 'v1'"),
        ("'linux' | lading.oci.oci_platform(os='')", "not a platform: '/linux'"),
        ("lookup('lading.oci.digest', 'oci:nowhere:v1')", "/nowhere:v1: "),
        ("lookup('lading.oci.tags', 'oci:nowhere', plain_htp=true)", "plain_htp"),
    ],
)
def test_errors(play: Play, expression: str, says: str) -> None:
    done = play([shows(expression)], {})
    assert done.returncode == 2 and says in done.stdout.replace("\\'", "'") + done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_variables_and_what_is_undefined(play: Play) -> None:
    tasks = [
        holds("image is lading.oci.oci_reference", "(image | lading.oci.oci_reference | lading.oci.oci_reference) == image"),
        holds("image | lading.oci.oci_pin(digest) == 'localhost:5000/app@' ~ digest", "digest is lading.oci.oci_digest"),
        holds("(images | map('lading.oci.oci_pin', digest) | select('lading.oci.oci_reference') | length) == 2"),
        holds("[image, 'alpine'] | reject('lading.oci.oci_reference') == ['alpine']"),
    ]
    values = {"image": "localhost:5000/app:v1", "images": ["localhost/a:1", "localhost/b:1"], "digest": "sha256:" + "0" * 64}
    play.succeeds(tasks, values)
    done = play([shows("nothing | lading.oci.oci_pin('x')")], {})
    assert done.returncode == 2 and "'nothing' is undefined" in done.stdout + done.stderr, done.stdout + done.stderr

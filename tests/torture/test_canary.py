# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Canary secrets in every secret option of every module, run by Ansible at -vvvv: none is seen again (threat rows 54, 55, 57, 65)."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import typing as t

import clients
import lures
import pytest
import tally as tallies
import trap as traps
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from certificates import Authority
from controller import Controller, Watched

WRONG, IDENTITY, IN_FILE, IN_KEY, IN_BUILD = (
    f"canary-{name}-5d2c/7 e" for name in ("wrong", "identity", "auth-file", "client-key", "build")
)
# What a docker command may say of all that it is told; it fails, so that the module shows its words.
DOCKER = """#!/bin/sh
echo "$@" >> "$HOME/docker-arguments"
case "$*" in
"buildx ls"*) echo '{"Current":true,"Driver":"docker","Name":"x","Nodes":[{"Status":"running","Version":"v0.26"}]}' ;;
*version*) echo "github.com/docker/buildx v0.30.1 abc" ;;
*) echo "#1 told $LADING_BUILD_SECRET_0"; echo "ERROR: failed with $LADING_BUILD_SECRET_0" >&2; exit 1 ;;
esac
"""


@pytest.fixture(name="controller")
def _controller(tmp_path: pathlib.Path) -> Controller:
    return Controller(tmp_path)


@contextlib.contextmanager
def _registries() -> t.Iterator[t.Dict[str, traps.Trap]]:
    """By what they do; each wants a login."""
    with contextlib.ExitStack() as stack:
        made = {
            name: stack.enter_context(traps.set_up("bearer" if name == "tokens" else "basic"))
            for name in ("good", "other", "tokens", "repeats", "signs", "denies")
        }
        made["tokens"].front.token_login = ""
        # An answer to HEAD has no body to say it in.
        made["repeats"].front.fault("GET", "/v2/", _repeats, times=float("inf"))
        location = "http://{evil}/v2/" + traps.REPOSITORY + "/blobs/{layer}?X-Amz-Signature={signature}"
        for name in ("signs", "denies"):
            lures._location("GET", "/blobs/{layer}", 307, location)(made[name])
        said = fake.answer(403, {"Content-Type": "text/plain"}, f"bad {traps.SIGNATURE}".encode())
        made["denies"].evil.fault("GET", "/blobs/", said, times=float("inf"))
        yield made


def _repeats(handler: fake.Handler) -> None:
    """It lets nobody in, and says everything that it was told, wherever it can."""
    sent = handler.headers.get("Authorization", "nothing")
    told = base64.b64decode(sent.partition(" ")[2]).decode() if sent.startswith("Basic ") else ""
    body = {"errors": [{"code": sent, "message": f"{sent} is {told}", "detail": {"is": ["x" * 270, told, sent]}}]}
    headers = {"WWW-Authenticate": f'Basic realm="{sent} {told}"', "Warning": f'299 - "{sent} {told}"', "Content-Type": "application/json"}
    handler.answer(401, headers, json.dumps(body).encode())


def _inputs(work: pathlib.Path, registries: t.Mapping[str, traps.Trap]) -> t.Tuple[t.Dict[str, t.Any], t.List[pathlib.Path]]:
    """Variables, and the files that have secrets because they are given."""
    encoded = base64.b64encode(f"{traps.USER}:{IN_FILE}".encode()).decode()
    auth_file, key = work / "auth.json", work / "client.key"
    auth_file.write_text(json.dumps({"auths": {registries["good"].front.host: {"auth": encoded}}}))
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{IN_KEY}\n-----END PRIVATE KEY-----\n")
    certificate, _its_key = Authority(work).issue("client-certificate")
    (work / "bin").mkdir()
    (work / "bin" / "docker").write_text(DOCKER)
    (work / "bin" / "docker").chmod(0o755)
    (work / "context").mkdir()
    (work / "context" / "Dockerfile").write_text("FROM scratch\n")
    (work / "file").write_text("content")
    values: t.Dict[str, t.Any] = {name: f"{trap.front.host}/{traps.REPOSITORY}:v1" for name, trap in registries.items()}
    values.update({f"{name}_host": trap.front.host for name, trap in registries.items()})
    values.update({"user": traps.USER, "password": traps.PASSWORD, "wrong": WRONG, "identity": IDENTITY, "build_secret": IN_BUILD})
    values.update({"work": str(work), "certificate": str(certificate)})
    return values, [auth_file, key, work / "vars.json"]


def _login(word: str = "password") -> t.Dict[str, t.Any]:
    return {"username": "{{ user }}", "password": "{{ " + word + " }}", "plain_http": True, "retries": 0}


def _tasks() -> t.Iterator[t.Tuple[t.Dict[str, t.Any], bool]]:
    """Tasks, and whether each succeeds."""
    copy, pull, build = "lading.oci.oci_copy", "lading.oci.oci_pull", "lading.oci.oci_layout_build"
    image, dest = "oci:{{ work }}/image", {"dest": "oci:{{ work }}/image:v1"}
    yield {copy: {"src": "{{ good }}", **dest}, "check_mode": True}, True
    yield {copy: {"src": "{{ good }}", **dest}}, True
    yield {copy: {"src": image + ":v1", "dest": "{{ other_host }}/pushed:v1", "dest_registry": _login()}}, True
    yield {copy: {"src": "{{ signs }}", "dest": "oci:{{ work }}/signed:v1", "src_registry": _login()}}, True
    yield {pull: {"src": "{{ signs }}", "dest": "{{ work }}/root", "unpack": "rootfs", "src_registry": _login()}}, True
    tokens = {"identity_token": "{{ identity }}", "plain_http": True, "retries": 0}
    yield {copy: {"src": "{{ tokens }}", "dest": "oci:{{ work }}/tokens:v1", "src_registry": tokens}}, True
    base = {"path": "{{ work }}/built", "tag": "v1", "base": "{{ good }}", "layers": [{"src": "{{ work }}/file", "dest": "/file"}]}
    yield {build: base}, True
    yield {copy: {"src": "{{ good }}", "dest": "oci:{{ work }}/async:v1"}, "async": 120, "poll": 0, "register": "started"}, True
    waiting = {"jid": "{{ started.ansible_job_id }}"}
    yield {"async_status": waiting, "register": "job", "until": "job.finished", "retries": 100, "delay": 0.5}, True
    # A new layout: where the digest stands already, nothing is asked for but a HEAD, which cannot repeat anything.
    yield {copy: {"src": "{{ repeats }}", "dest": "oci:{{ work }}/repeated:v1", "src_registry": _login()}}, False
    yield {pull: {"src": "{{ repeats }}", "dest": "{{ work }}/x", "src_registry": _login()}}, False
    yield {build: {**base, "base": "{{ repeats }}", "base_registry": _login()}}, False
    yield {copy: {"src": "{{ denies }}", "dest": "oci:{{ work }}/denied:v1", "src_registry": _login()}}, False
    yield {copy: {"src": "{{ other }}", "dest": "oci:{{ work }}/wrong:v1", "src_registry": _login("wrong")}}, False
    yield {copy: {"src": "{{ good }}", **dest, "src_registry": {"auth_file": "{{ work }}/auth.json", "plain_http": True}}}, False
    pair = {"client_cert": "{{ certificate }}", "client_key": "{{ work }}/client.key"}
    yield {copy: {"src": "{{ good }}", **dest, "src_registry": {**pair, **_login(), "plain_http": False}}}, False
    yield {copy: {"src": "{{ good }}", **dest, "src_registry": {**_login(), "surprise": "{{ password }}"}}}, False
    yield {copy: {"src": "{{ good }}", **dest, "src_registry": {**_login(), "retries": "many"}}}, False
    yield {copy: {"src": "{{ good }}", **dest, "src_registry": {**_login(), "identity_token": "{{ identity }}"}}}, False
    secrets = [{"id": "token", "value": "{{ build_secret }}"}]
    built = {"context": "{{ work }}/context", "outputs": [{"dest": "{{ work }}/buildx.tar"}], "tags": ["x:1"], "secrets": secrets}
    yield {"lading.oci.oci_buildx_build": built}, False
    yield {"lading.oci.oci_buildx_builder": {"name": "canary"}}, False


def _needles(registries: t.Mapping[str, traps.Trap]) -> t.List[str]:
    secrets = [traps.PASSWORD, WRONG, IDENTITY, IN_FILE, IN_KEY, IN_BUILD, traps.SIGNATURE]
    logins = [base64.b64encode(f"{traps.USER}:{word}".encode()).decode() for word in (traps.PASSWORD, WRONG, IN_FILE)]
    tokens = [token for trap in registries.values() for token in trap.front.state.tokens]
    return [*(form for secret in secrets for form in traps.forms(secret)), *logins, *tokens]


def _found(needles: t.Sequence[str], where: str, text: str) -> t.List[str]:
    spots = [(needle, text.find(needle)) for needle in needles if needle in text]
    return [f"{where} has {needle!r}: ...{text[max(at - 200, 0) : at + len(needle)]!r}" for needle, at in spots]


def _everywhere(watched: Watched, controller: Controller, needles: t.Sequence[str], given: t.Sequence[pathlib.Path]) -> t.List[str]:
    problems = _found(needles, "the output", watched.run.output) + _found(needles, "the log", watched.log)
    problems += _found(needles, "syslog", watched.syslog)
    for text in watched.commands:
        problems += _found(needles, "a process", text)
    for path, text in controller.files():
        if path not in given:
            problems += _found(needles, str(path), text)
    return problems


def test_playbook(ours: t.Type[clients.Ours], controller: Controller, report: t.Callable[..., None]) -> None:
    """r55: all modules, in success and in failure, at -vvvv with --diff; in the background as well."""
    with _registries() as registries:
        values, given = _inputs(controller.work, registries)
        expected = [succeeds for _task, succeeds in _tasks()]
        names = [f"task {number}" for number in range(len(expected))]
        tasks = [{"name": name, "ignore_errors": True, **task} for name, (task, _succeeds) in zip(names, _tasks())]
        defaults = {"group/lading.oci.registry": {"registries": [{"host": "{{ good_host }}", **_login()}]}}
        watched = controller.playbook(tasks, values, "-vvvv", "--diff", module_defaults=defaults)
        needles = _needles(registries)
        arguments = (controller.home / "docker-arguments").read_text()
        leaks = [leak for trap in registries.values() for leak in trap.leaks()]
    problems = _everywhere(watched, controller, needles, given) + leaks
    problems += [] if watched.run.succeeded else [f"the playbook failed: {watched.run.output[-3000:]}"]
    output = watched.run.output
    for name, succeeds in zip(names, expected):
        part = output.partition(f"TASK [{name}]")[2].partition("TASK [")[0]
        if ("...ignoring" in part) == succeeds:
            problems.append(f"{name} {'failed' if succeeds else 'succeeded'}: {part[-1500:]}")
        problems += ["a traceback: " + part] if "Traceback (most recent call last)" in part else []
    # What would make a search find nothing.
    assert "--secret=id=token,env=LADING_BUILD_SECRET_0" in arguments and "buildx create" in arguments, arguments
    assert "failed with ***" in output and "are no pair that can be used" in output, output
    assert "Invoked with" in watched.syslog and "TASK [task 0]" in watched.log
    assert any("AnsiballZ_oci_copy" in text for text in watched.commands)
    assert list((controller.home / ".ansible_async").iterdir())
    report(tallies.CREDENTIALS, problems)


def test_ad_hoc(ours: t.Type[clients.Ours], controller: Controller, report: t.Callable[..., None]) -> None:
    """r55: one module by the ansible command, with a password that is wrong."""
    with _registries() as registries:
        values, given = _inputs(controller.work, registries)
        arguments = {"src": "{{ repeats }}", "dest": "oci:{{ work }}/image:v1", "src_registry": _login("wrong")}
        watched = controller.ad_hoc("lading.oci.oci_copy", arguments, values, "-vvvv", "--diff")
        problems = _everywhere(watched, controller, _needles(registries), given)
    problems += ["it succeeded"] if watched.run.succeeded else []
    problems += [] if "401 Unauthorized" in watched.run.output else [f"another error: {watched.run.output}"]
    report(tallies.CREDENTIALS, problems)


def test_files_of_ours(ours: t.Type[clients.Ours], report: t.Callable[..., None], tmp_path: pathlib.Path) -> None:
    """r57, r65: what our modules keep in the user's cache is the user's alone, and holds neither a login nor a signed URL."""
    with _registries() as registries:
        trap = registries["signs"]
        access = clients.Access(credentials={trap.front.host: (traps.USER, traps.PASSWORD)})
        client = ours(tmp_path / "client", access)
        config = client.home / ".docker" / "config.json"
        before = config.read_bytes(), config.stat()
        source = clients.Place(clients.REGISTRY, f"{trap.front.host}/{traps.REPOSITORY}")
        mask = os.umask(0)
        try:
            done = client.unpack(source, str(tmp_path / "root"))
        finally:
            os.umask(mask)
        problems = [] if done.succeeded else [f"it failed: {done.output}"]
        kept = [path for path in (client.home / ".cache").rglob("*") if path.is_file()]
        assert kept
        for path in kept:
            problems += _found(_needles(registries), str(path), path.read_text(errors="surrogateescape"))
            problems += [f"{path} is for others as well"] if path.stat().st_mode & 0o077 else []
        after = config.read_bytes(), config.stat()
        problems += [] if before == after or before[1].st_mtime_ns == after[1].st_mtime_ns else ["config.json was written"]
    report(tallies.CREDENTIALS, problems)

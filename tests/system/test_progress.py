# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Long work says in a real terminal how far it is: the line comes, moves and goes, and nothing is ever left of it."""

from __future__ import annotations

import os
import pathlib
import pty
import re
import shutil
import subprocess
import sys
import threading
import time
import typing as t

import peers as peer_tools
import pytest
import requests
import yaml
from slow_link import SlowLink
from ssh_server import SshServer
from support import Result, succeed
from terminal import Terminal, environment_for

RATE = 1_000_000  # bytes a second
SIZE = 14_000_000
LINE = re.compile(
    r"\[(?P<host>\w+)(, 1 of \d)?\] oci_\w+: (?P<percent>\d+) %, [0-9.]+ [KM]?i?B of 13\.4 MiB"
    r"(, [0-9.]+ [KM]?i?B/s)?(, [0-9:]+ left)?"
)
# All that Ansible prints of these plays, line by line; anything else was garbled.
PLAIN = re.compile(
    r"(PLAY|TASK) .*\*|(ok|changed): \[\w+\]|ASYNC (POLL|OK) on \w+: jid=[\d.j]+( started=True finished=False)?|"
    r"\w+ +: ok=\d .*|\[ERROR\]: .*|"
)
LOCAL = {"ansible_connection": "local"}


def _wanted(find: t.Callable[[], t.Any]) -> t.Any:
    try:
        return find()
    except peer_tools.Unavailable as error:
        if os.environ.get("LADING_REQUIRE_PEERS") == "1":
            pytest.fail(f"missing: {error}")
        pytest.skip(f"missing: {error}")


@pytest.fixture(scope="module", name="ssh")
def _ssh() -> t.Iterator[SshServer]:
    with _wanted(SshServer) as server:
        yield server


@pytest.fixture(autouse=True)
def _needs_tmux() -> None:
    _wanted(lambda: peer_tools.find("tmux"))


@pytest.fixture(name="link")
def _link(registry: t.Any) -> t.Iterator[SlowLink]:
    with SlowLink(registry.host, RATE) as link:
        yield link


class Play:
    """A playbook of one task, for some hosts, and a person's home to run it in."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "home").mkdir()
        # The module's own user may be another one, which has to get at what it copies.
        for path in (folder, *list(folder.parents)[:2]):
            path.chmod(0o755)
        (folder / "big").write_bytes(os.urandom(SIZE))
        (folder / "big").chmod(0o644)
        succeed("oci_layout_build", {"path": str(folder / "layout"), "tag": "v1", "files": [{"src": str(folder / "big"), "title": "big"}]})

    def write(self, arguments: Result, hosts: t.Mapping[str, t.Any], module: str = "oci_copy", **keywords: t.Any) -> t.List[str]:
        """The command that runs it."""
        known = {name: {"ansible_python_interpreter": sys.executable, **variables} for name, variables in hosts.items()}
        (self.folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": known}}))
        task = {"name": "Work", f"lading.oci.{module}": arguments, **keywords}
        (self.folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
        program = pathlib.Path(sys.executable).parent / "ansible-playbook"
        return [str(program), "-i", str(self.folder / "inventory.yml"), str(self.folder / "play.yml")]

    @property
    def environment(self) -> t.Dict[str, str]:
        collections = os.environ["PYTHONPATH"].split(os.pathsep)[0]
        return environment_for(
            self.folder / "home", ANSIBLE_COLLECTIONS_PATH=collections, ANSIBLE_NOCOLOR="1", ANSIBLE_LOG_PATH=str(self.folder / "log")
        )

    def seen(self, command: t.Sequence[str]) -> t.Tuple[t.List[re.Match[str]], str]:
        """Each line of progress that was seen, and all that is left at the end."""
        with Terminal(command, self.environment, columns=120) as terminal:
            left = terminal.finish()
        found = [match for screen in terminal.screens for match in LINE.finditer(screen)]
        return found, left


@pytest.fixture(name="play")
def _play(tmp_path: pathlib.Path) -> Play:
    return Play(tmp_path)


def push(play: Play, host: str, repository: str) -> Result:
    return {
        "src": f"oci:{play.folder}/layout:v1",
        "dest": f"{host}/{repository}-{{{{ inventory_hostname }}}}:v1",
        "dest_registry": {"plain_http": True},
    }


def pull(play: Play, host: str, repository: str) -> Result:
    """Of what is stored now, by the registry's own name."""
    return {"src": f"{host}/{repository}:v1", "src_registry": {"plain_http": True}, "dest": str(play.folder / "pulled")}


def stored(play: Play, host: str, repository: str) -> None:
    arguments = {"src": f"oci:{play.folder}/layout:v1", "dest": f"{host}/{repository}:v1", "dest_registry": {"plain_http": True}}
    succeed("oci_copy", arguments)


def expect_clean(left: str, changed: int = 1) -> None:
    """Nothing but what Ansible prints without it."""
    strange = [line for line in left.splitlines() if not PLAIN.fullmatch(line.rstrip())]
    assert not strange, left
    assert len(re.findall(r"^changed: ", left, re.MULTILINE)) == changed, left


def expect_moving(found: t.Sequence[re.Match[str]], left: str) -> None:
    assert found, left
    percents = [int(match["percent"]) for match in found]
    assert len(set(percents)) >= 2 and percents == sorted(percents), percents
    assert any("left" in match[0] for match in found), found


def test_a_push_from_a_local_host(play: Play, link: SlowLink, repository: str) -> None:
    found, left = play.seen(play.write(push(play, link.host, repository), {"one": LOCAL}))
    expect_moving(found, left)
    expect_clean(left)
    assert "MiB" not in (play.folder / "log").read_text()


def test_a_pull_to_a_host_over_ssh(play: Play, link: SlowLink, registry: t.Any, repository: str, ssh: SshServer) -> None:
    stored(play, registry.host, repository)
    found, left = play.seen(play.write(pull(play, link.host, repository), {"far": ssh.variables}, "oci_pull"))
    expect_moving(found, left)
    expect_clean(left)


def test_async_with_poll(play: Play, link: SlowLink, repository: str) -> None:
    # Ansible's two sides take the home of another place when HOME is not that of the user's entry.
    one = {**LOCAL, "ansible_async_dir": str(play.folder / "jobs")}
    found, left = play.seen(play.write(push(play, link.host, repository), {"one": one}, **{"async": 120, "poll": 2}))
    expect_moving(found, left)
    expect_clean(left)


def test_hosts_take_turns_and_nothing_is_garbled(play: Play, link: SlowLink, repository: str) -> None:
    hosts = {"one": LOCAL, "two": LOCAL, "three": LOCAL}
    found, left = play.seen(play.write(push(play, link.host, repository), hosts))
    assert len({match["host"] for match in found}) >= 2, found
    expect_clean(left, changed=3)


LIBRARIES = str(pathlib.Path(requests.__file__).parents[1])


def python_of_nobody() -> t.Dict[str, str]:
    """That of these tests may be in a folder of root's."""
    for python in (sys.executable, "/usr/bin/python3"):
        works = f"PYTHONPATH={LIBRARIES} {python} -c 'import requests'"
        if not subprocess.run(["su", "nobody", "-s", "/bin/sh", "-c", works], stderr=subprocess.DEVNULL, check=False).returncode:
            return {"ansible_python_interpreter": python}
    pytest.skip("no Python that another user may run has requests")


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("su"), reason="becoming another user needs root and su")
def test_as_another_user(play: Play, link: SlowLink, registry: t.Any, repository: str) -> None:
    stored(play, registry.host, repository)
    for name in ("pulled", "tmp"):
        (play.folder / name).mkdir()
        (play.folder / name).chmod(0o777)
    become = {"become": True, "become_method": "su", "become_user": "nobody", "become_flags": "-s /bin/sh"}
    tmp = str(play.folder / "tmp")
    one = {**LOCAL, "ansible_pipelining": True, "ansible_remote_tmp": tmp, "ansible_system_tmpdirs": [tmp], **python_of_nobody()}
    keywords = {**become, "environment": {"PYTHONPATH": LIBRARIES, "XDG_CACHE_HOME": tmp}}
    found, left = play.seen(play.write(pull(play, link.host, repository), {"one": one}, "oci_pull", **keywords))
    expect_moving(found, left)
    expect_clean(left)


def test_interrupted(play: Play, link: SlowLink, repository: str) -> None:
    with Terminal(play.write(push(play, link.host, repository), {"one": LOCAL}), play.environment, columns=120) as terminal:
        terminal.wait_for(" left")
        terminal.press("C-c")
        left = terminal.finish()
    assert "interrupted" in left and not LINE.search(left), left


def test_a_narrow_terminal(play: Play, link: SlowLink, repository: str) -> None:
    with Terminal(play.write(push(play, link.host, repository), {"one": LOCAL}), play.environment, columns=32) as terminal:
        left = terminal.finish()
    assert any(re.search(r"^\[one\] oci_copy: \d+ %, ", screen, re.MULTILINE) for screen in terminal.screens), terminal.screens
    assert not re.search(r"\[one\] oci_copy|\d MiB|left", left), left


def bytes_on_terminal(play: Play, command: t.Sequence[str]) -> bytes:
    """All that a terminal was sent."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=play.environment, close_fds=True)
    os.close(theirs)
    got: t.List[bytes] = []

    def read() -> None:
        try:
            for block in iter(lambda: os.read(ours, 65536), b""):
                got.append(block)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait(300) == 0, b"".join(got)
    reader.join()
    os.close(ours)
    return b"".join(got)


def expect_untouched(output: bytes) -> None:
    text = output.decode().replace("\r\n", "\n")
    assert "\r" not in text and "\x1b" not in text, text
    expect_clean(text)


def test_short_work_gets_not_a_byte(play: Play, registry: t.Any, repository: str) -> None:
    expect_untouched(bytes_on_terminal(play, play.write(push(play, registry.host, repository), {"one": LOCAL})))


def test_the_raw_terminal_would_show_it(play: Play, link: SlowLink, repository: str) -> None:
    """What the tests beside it look for is there when it ought to be."""
    output = bytes_on_terminal(play, play.write(push(play, link.host, repository), {"one": LOCAL}))
    assert b"\r\x1b[K[one] oci_copy: " in output


@pytest.mark.parametrize("where", ["--extra-vars", "vars", "environment"])
def test_switched_off(play: Play, link: SlowLink, repository: str, where: str) -> None:
    arguments = push(play, link.host, repository)
    variables = {"vars": {"lading_oci_progress": "{{ 'no' }}"}} if where == "vars" else {}
    command = play.write(arguments, {"one": LOCAL}, **variables)
    if where == "--extra-vars":
        command += [where, "lading_oci_progress=false"]
    if where == "environment":
        command = ["env", "TERM=dumb", *command]
    expect_untouched(bytes_on_terminal(play, command))


def test_check_mode_is_quiet_however_long(play: Play, link: SlowLink, registry: t.Any, repository: str) -> None:
    """To know the digest of what would be compressed anew, check mode reads it all, slowly here."""
    image = {"path": str(play.folder / "image"), "tag": "v1", "platform": "linux/amd64", "layers": [{"src": str(play.folder / "big")}]}
    succeed("oci_layout_build", image)
    copied = {"src": f"oci:{play.folder}/image:v1", "dest": f"{registry.host}/{repository}:v1", "dest_registry": {"plain_http": True}}
    succeed("oci_copy", copied)
    arguments = {
        "src": f"{link.host}/{repository}:v1",
        "src_registry": {"plain_http": True},
        "dest": f"oci:{play.folder}/new:v1",
        "compression": "none",
    }
    command = play.write(arguments, {"one": LOCAL})
    begun = time.monotonic()
    expect_untouched(bytes_on_terminal(play, [*command, "--check"]))
    assert time.monotonic() - begun > SIZE / RATE
    assert b"\r\x1b[K[one] oci_copy: " in bytes_on_terminal(play, command)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_piped_output_has_not_a_byte_more(play: Play, link: SlowLink, repository: str, stream: str) -> None:
    """Nor does the terminal get one, when only one of the two leads there: the other's lines may come to the same place."""
    ours, theirs = pty.openpty()
    to = {"stdout": theirs, "stderr": theirs, stream: subprocess.PIPE}
    command = play.write(push(play, link.host, repository), {"one": LOCAL})
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=play.environment, **to)
    piped = b"".join(part or b"" for part in process.communicate(timeout=300))
    os.close(theirs)
    try:
        on_terminal = os.read(ours, 65536)
    except OSError:
        on_terminal = b""
    os.close(ours)
    assert process.returncode == 0
    expect_clean((piped + on_terminal).decode().replace("\r\n", "\n"))
    assert b"\x1b" not in piped + on_terminal

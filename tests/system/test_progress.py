# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Long work says in a real terminal how far it is: the line comes, moves and goes, and nothing is ever left of it.

How long the work takes is for the tests to say: it ends when they open a gate, after they have seen what they wait for. That nothing is
shown is told beside a control, a run that began later and shows a line.
"""

from __future__ import annotations

import os
import pathlib
import pty
import re
import shutil
import subprocess
import sys
import threading
import typing as t

import peers as peer_tools
import pytest
import requests
import yaml
from ansible_runs import ansible_environment, hosts_python
from gated_link import GatedLink
from ssh_server import SshServer
from support import Result, succeed
from terminal import Terminal, environment_for

SIZE = 24_000_000
FIRST = 6_000_000  # bytes that pass before anybody has seen anything
MOST = 14_000_000  # bytes that pass before the gate is opened; what systems and steps take in advance comes on top
DRIP = 100_000  # bytes that pass each time that the terminal was looked at
TIMEOUT = 900  # seconds, of what a gate holds back
LINE = re.compile(
    r"\[(?P<host>\w+)(, 1 of \d)?\] oci_\w+: (?P<percent>\d+) %, [0-9.]+ [KM]?i?B of 22\.9 MiB"
    r"(, [0-9.]+ [KM]?i?B/s)?(?P<left>, [0-9:]+ left)?"
)
# All that Ansible prints of these plays, line by line; anything else was garbled.
PLAIN = re.compile(
    r"(PLAY|TASK) .*\*|(ok|changed): \[\w+\]|ASYNC (POLL|OK) on \w+: jid=[\d.j]+( started=True finished=False)?|"
    r"\w+ +: ok=\d .*|\[ERROR\]: .*|"
)
LOCAL = {"ansible_connection": "local"}
DRAWN = b"\r\x1b[K[one] oci_copy: "
# A callback plugin is there before Ansible forks.
TIMES = """
from ansible.plugins.callback import CallbackBase
from ansible_collections.lading.oci.plugins.plugin_utils import _progress


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "times"
    CALLBACK_TYPE = "aggregate"

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        _progress._FIRST = {first}
"""


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


@pytest.fixture(name="gate")
def _gate(registry: t.Any) -> t.Iterator[GatedLink]:
    with GatedLink(registry.host, FIRST) as gate:
        yield gate


class Play:
    """A playbook of one task, for some hosts, and a person's home to run it in."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "home").mkdir()
        (folder / "big").write_bytes(os.urandom(SIZE))
        (folder / "big").chmod(0o644)
        # Where the modules tell how far they are: whatever is left there at the end was theirs.
        (folder / "told").mkdir(mode=0o777)
        (folder / "told").chmod(0o777)
        succeed("oci_layout_build", {"path": str(folder / "layout"), "tag": "v1", "files": [{"src": str(folder / "big"), "title": "big"}]})

    def write(self, arguments: Result, hosts: t.Mapping[str, t.Any], module: str = "oci_copy", **keywords: t.Any) -> t.List[str]:
        """The command that runs it."""
        own = {"ansible_python_interpreter": hosts_python(), "ansible_system_tmpdirs": [str(self.folder / "told")]}
        known = {name: {**own, **variables} for name, variables in hosts.items()}
        (self.folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": known}}))
        task = {"name": "Work", f"lading.oci.{module}": arguments, **keywords}
        (self.folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
        program = pathlib.Path(sys.executable).parent / "ansible-playbook"
        return [str(program), "-i", str(self.folder / "inventory.yml"), str(self.folder / "play.yml")]

    def shown_after(self, seconds: float) -> t.Dict[str, str]:
        """The environment for plays in which a line comes so much later."""
        (self.folder / "callbacks").mkdir()
        (self.folder / "callbacks" / "times.py").write_text(TIMES.format(first=seconds))
        return {**self.environment, "ANSIBLE_CALLBACK_PLUGINS": str(self.folder / "callbacks")}

    @property
    def environment(self) -> t.Dict[str, str]:
        return environment_for(self.folder / "home", **ansible_environment(), ANSIBLE_LOG_PATH=str(self.folder / "log"))

    def terminal(self, command: t.Sequence[str], columns: int = 120) -> Terminal:
        return Terminal(command, self.environment, columns)

    def expect_nothing_left(self) -> None:
        assert not list((self.folder / "told").glob(".lading-*"))


@pytest.fixture(name="play")
def _play(folder: pathlib.Path) -> Play:
    """In a folder that a module's own user can reach."""
    return Play(folder)


def push(play: Play, host: str, repository: str) -> Result:
    return {
        "src": f"oci:{play.folder}/layout:v1",
        "dest": f"{host}/{repository}-{{{{ inventory_hostname }}}}:v1",
        "dest_registry": {"plain_http": True, "timeout": TIMEOUT},
    }


def pull(play: Play, host: str, repository: str) -> Result:
    """Of what is stored now, by the registry's own name."""
    registry = {"plain_http": True, "timeout": TIMEOUT}
    return {"src": f"{host}/{repository}:v1", "src_registry": registry, "dest": str(play.folder / "pulled")}


def stored(play: Play, host: str, repository: str) -> None:
    arguments = {"src": f"oci:{play.folder}/layout:v1", "dest": f"{host}/{repository}:v1", "dest_registry": {"plain_http": True}}
    succeed("oci_copy", arguments)


def expect_clean(left: str, changed: int = 1) -> None:
    """Nothing but what Ansible prints without it."""
    strange = [line for line in left.splitlines() if not PLAIN.fullmatch(line.rstrip())]
    assert not strange, left
    assert len(re.findall(r"^changed: ", left, re.MULTILINE)) == changed, left


def lines(terminal: Terminal) -> t.List[re.Match[str]]:
    """Each line of progress that was seen so far."""
    return [match for screen in terminal.screens for match in LINE.finditer(screen)]


def moving(found: t.Sequence[re.Match[str]]) -> bool:
    """It came, it said more after that, and how long the rest would take."""
    return len({match["percent"] for match in found}) >= 2 and any(match["left"] for match in found)


def see(terminal: Terminal, gate: GatedLink, seen: t.Callable[[t.Sequence[re.Match[str]]], bool] = moving) -> None:
    """Once the terminal has shown a line, the gate drips until it has shown what is wanted."""
    terminal.wait_until(lambda: bool(lines(terminal)))
    terminal.wait_until(lambda: seen(lines(terminal)), meanwhile=lambda: gate.let_through(DRIP, at_most=MOST))


def expect_moved_and_gone(terminal: Terminal, gate: GatedLink) -> None:
    see(terminal, gate)
    gate.open()
    expect_clean(terminal.finish())
    percents = [int(match["percent"]) for match in lines(terminal)]
    assert percents == sorted(percents), percents


def test_a_push_from_a_local_host(play: Play, gate: GatedLink, repository: str) -> None:
    with play.terminal(play.write(push(play, gate.host, repository), {"one": LOCAL})) as terminal:
        expect_moved_and_gone(terminal, gate)
    assert "MiB" not in (play.folder / "log").read_text()
    play.expect_nothing_left()


def test_a_pull_to_a_host_over_ssh(play: Play, gate: GatedLink, registry: t.Any, repository: str, ssh: SshServer) -> None:
    stored(play, registry.host, repository)
    with play.terminal(play.write(pull(play, gate.host, repository), {"far": ssh.variables}, "oci_pull")) as terminal:
        expect_moved_and_gone(terminal, gate)
    play.expect_nothing_left()


def test_async_with_poll(play: Play, gate: GatedLink, repository: str) -> None:
    # Ansible's two sides take the home of another place when HOME is not that of the user's entry.
    one = {**LOCAL, "ansible_async_dir": str(play.folder / "jobs")}
    with play.terminal(play.write(push(play, gate.host, repository), {"one": one}, **{"async": TIMEOUT, "poll": 2})) as terminal:
        expect_moved_and_gone(terminal, gate)
    play.expect_nothing_left()


def test_hosts_take_turns_and_nothing_is_garbled(play: Play, gate: GatedLink, repository: str) -> None:
    hosts = {"one": LOCAL, "two": LOCAL, "three": LOCAL}
    with play.terminal(play.write(push(play, gate.host, repository), hosts)) as terminal:
        see(terminal, gate, lambda found: len({match["host"] for match in found}) >= 2)
        gate.open()
        expect_clean(terminal.finish(), changed=3)
    play.expect_nothing_left()


LIBRARIES = str(pathlib.Path(requests.__file__).parents[1])


def python_of_nobody() -> t.Dict[str, str]:
    """That of these tests may be in a folder of root's."""
    for python in (sys.executable, "/usr/bin/python3"):
        works = f"PYTHONPATH={LIBRARIES} {python} -c 'import requests'"
        if not subprocess.run(["su", "nobody", "-s", "/bin/sh", "-c", works], stderr=subprocess.DEVNULL, check=False).returncode:
            return {"ansible_python_interpreter": python}
    pytest.skip("no Python that another user may run has requests")


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("su"), reason="becoming another user needs root and su")
def test_as_another_user(play: Play, gate: GatedLink, registry: t.Any, repository: str) -> None:
    stored(play, registry.host, repository)
    for name in ("pulled", "tmp"):
        (play.folder / name).mkdir()
        (play.folder / name).chmod(0o777)
    become = {"become": True, "become_method": "su", "become_user": "nobody", "become_flags": "-s /bin/sh"}
    tmp = str(play.folder / "tmp")
    one = {**LOCAL, "ansible_pipelining": True, "ansible_remote_tmp": tmp, **python_of_nobody()}
    keywords = {**become, "environment": {"PYTHONPATH": LIBRARIES, "XDG_CACHE_HOME": tmp}}
    with play.terminal(play.write(pull(play, gate.host, repository), {"one": one}, "oci_pull", **keywords)) as terminal:
        expect_moved_and_gone(terminal, gate)
    play.expect_nothing_left()


def test_interrupted(play: Play, gate: GatedLink, repository: str) -> None:
    with play.terminal(play.write(push(play, gate.host, repository), {"one": LOCAL})) as terminal:
        see(terminal, gate)
        terminal.press("C-c")
        left = terminal.finish()
        assert "interrupted" in left and not LINE.search(left), left
        # Ansible does not wait for the module, which is ending too.
        terminal.wait_until(lambda: not list((play.folder / "told").glob(".lading-*")))


def test_a_narrow_terminal(play: Play, gate: GatedLink, repository: str) -> None:
    shown = re.compile(r"^\[one\] oci_copy: \d+ %, ", re.MULTILINE)
    with play.terminal(play.write(push(play, gate.host, repository), {"one": LOCAL}), columns=32) as terminal:
        terminal.wait_until(lambda: any(shown.search(screen) for screen in terminal.screens))
        gate.open()
        left = terminal.finish()
    assert not re.search(r"\[one\] oci_copy|\d MiB|left", left), left


class Command:
    """One that runs with ``streams`` on a terminal of which every byte is kept, and the others in a pipe."""

    def __init__(self, command: t.Sequence[str], environment: t.Mapping[str, str], streams: t.Sequence[str] = ("stdout", "stderr")) -> None:
        self._ours, theirs = pty.openpty()
        to = {name: theirs if name in streams else subprocess.PIPE for name in ("stdout", "stderr")}
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, **to)
        os.close(theirs)
        self._got: t.Dict[int, bytes] = {}
        piped = [stream.fileno() for stream in (self._process.stdout, self._process.stderr) if stream]
        self._readers = [threading.Thread(target=self._read, args=(source,)) for source in (self._ours, *piped)]
        for reader in self._readers:
            reader.start()

    def _read(self, source: int) -> None:
        self._got[source] = b""
        try:
            for block in iter(lambda: os.read(source, 65536), b""):
                self._got[source] += block
        except OSError:  # the other end of a terminal is closed
            pass

    def end(self) -> bytes:
        """All that it has written."""
        assert self._process.wait(TIMEOUT) == 0, self._got
        for reader in self._readers:
            reader.join()
        os.close(self._ours)
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()
        return b"".join(self._got.values())


def expect_untouched(output: bytes) -> None:
    text = output.decode().replace("\r\n", "\n")
    assert "\r" not in text and "\x1b" not in text, text
    expect_clean(text)


class Control:
    """A play that shows a line, so that others which began before it and show none have been given the time to."""

    def __init__(self, folder: pathlib.Path, registry: t.Any, repository: str) -> None:
        folder.mkdir()
        self._play, self._registry, self._repository = Play(folder), registry, repository
        self._count = 0

    def shows_a_line(self) -> None:
        self._count += 1
        with GatedLink(self._registry.host, FIRST) as gate:
            arguments = push(self._play, gate.host, f"{self._repository}-control-{self._count}")
            with self._play.terminal(self._play.write(arguments, {"control": LOCAL})) as terminal:
                see(terminal, gate)


@pytest.fixture(name="control")
def _control(tmp_path_factory: pytest.TempPathFactory, registry: t.Any, repository: str) -> Control:
    return Control(tmp_path_factory.mktemp("control") / "play", registry, repository)


def output_of_long_work(command: Command, gate: GatedLink, control: Control) -> bytes:
    """Of one that still works when the control has shown its line."""
    assert gate.held.wait(TIMEOUT)
    control.shows_a_line()
    assert gate.held.is_set()
    gate.open()
    return command.end()


def test_work_that_is_shorter_than_it_takes_to_be_shown_gets_not_a_byte(
    play: Play, gate: GatedLink, repository: str, control: Control
) -> None:
    command = play.write(push(play, gate.host, repository), {"one": LOCAL})
    expect_untouched(output_of_long_work(Command(command, play.shown_after(3600)), gate, control))


def test_the_raw_terminal_would_show_it(play: Play, gate: GatedLink, repository: str, control: Control) -> None:
    """What the tests beside it look for is there when it ought to be."""
    command = play.write(push(play, gate.host, repository), {"one": LOCAL})
    assert DRAWN in output_of_long_work(Command(command, play.shown_after(0.1)), gate, control)


def test_work_with_nothing_to_do_gets_not_a_byte(play: Play, registry: t.Any, repository: str) -> None:
    """However long Ansible and the module take to find that out."""
    stored(play, registry.host, f"{repository}-one")
    command = play.write(push(play, registry.host, repository), {"one": LOCAL})
    output = Command(command, play.shown_after(0)).end()
    assert b"ok: [one]" in output and b"\x1b" not in output and b"oci_copy:" not in output, output


@pytest.mark.parametrize("where", ["--extra-vars", "vars", "environment"])
def test_switched_off(play: Play, gate: GatedLink, repository: str, where: str, control: Control) -> None:
    arguments = push(play, gate.host, repository)
    variables = {"vars": {"lading_oci_progress": "{{ 'no' }}"}} if where == "vars" else {}
    command = play.write(arguments, {"one": LOCAL}, **variables)
    if where == "--extra-vars":
        command += [where, "lading_oci_progress=false"]
    if where == "environment":
        command = ["env", "TERM=dumb", *command]
    expect_untouched(output_of_long_work(Command(command, play.environment), gate, control))


def test_check_mode_is_quiet_however_long(play: Play, registry: t.Any, repository: str, control: Control) -> None:
    """To know the digest of what would be compressed anew, check mode reads it all."""
    image = {"path": str(play.folder / "image"), "tag": "v1", "platform": "linux/amd64", "layers": [{"src": str(play.folder / "big")}]}
    succeed("oci_layout_build", image)
    copied = {"src": f"oci:{play.folder}/image:v1", "dest": f"{registry.host}/{repository}:v1", "dest_registry": {"plain_http": True}}
    succeed("oci_copy", copied)
    for options, shown in ((["--check"], False), ([], True)):
        with GatedLink(registry.host, FIRST) as gate:
            arguments = {
                "src": f"{gate.host}/{repository}:v1",
                "src_registry": {"plain_http": True, "timeout": TIMEOUT},
                "dest": f"oci:{play.folder}/new:v1",
                "compression": "none",
            }
            command = Command([*play.write(arguments, {"one": LOCAL}), *options], play.environment)
            output = output_of_long_work(command, gate, control)
        if shown:
            assert DRAWN in output
        else:
            expect_untouched(output)


@pytest.mark.parametrize("streams", [["stderr"], ["stdout"], []], ids=["stdout is piped", "stderr is piped", "both are"])
def test_piped_output_has_not_a_byte_more(play: Play, gate: GatedLink, repository: str, streams: t.List[str], control: Control) -> None:
    """Nor does the terminal get one, when only one of the two leads there: the other's lines may come to the same place."""
    command = play.write(push(play, gate.host, repository), {"one": LOCAL})
    output = output_of_long_work(Command(command, play.environment, streams), gate, control)
    expect_untouched(output)

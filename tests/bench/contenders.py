# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is measured: the library, the module's process, the whole task, and peers. Each is started as a person would start it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import typing as t

import clients
import measured
from clients import ARCHIVE, LAYOUT, REGISTRY, Client, Place
from figures import OURS, PEER, REFERENCE, Dishonest
from measured import Run
from stage import Stage

LIMIT = 1200  # seconds for one run
_LIBRARY = pathlib.Path(__file__).with_name("library.py")
_PREFIXES = {LAYOUT: "oci:", ARCHIVE: "oci-archive:", REGISTRY: ""}
_QUIET = {
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_LOCALHOST_WARNING": "0",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
    "ANSIBLE_DEPRECATION_WARNINGS": "0",
}


@dataclasses.dataclass(frozen=True)
class Contender:
    """``said``: what the program itself says of a run: its ``seconds`` where its start is not to count, its ``requests``."""

    name: str
    kind: str
    start: t.Callable[[], Run]
    said: t.Callable[[Run], t.Mapping[str, t.Any]] = lambda run: {}


def written(place: Place) -> str:
    """As our options have it."""
    return f"{_PREFIXES[place.kind]}{place.name}{'@' if place.is_digest else ':'}{place.ref}"


def copy_arguments(source: Place, destination: Place, **options: t.Any) -> t.Dict[str, t.Any]:
    """Of ``oci_copy``."""
    arguments: t.Dict[str, t.Any] = {"src": written(source), "dest": written(destination), **options}
    for side, place in (("src", source), ("dest", destination)):
        if place.kind == REGISTRY:
            arguments[f"{side}_registry"] = {"plain_http": True}
    return arguments


class Ours:
    """Makes contenders of our own code."""

    def __init__(self, stage: Stage) -> None:
        self._client = clients.Ours(stage.home, limit=LIMIT)

    def environment(self) -> t.Dict[str, str]:
        return {**self._client.environment(), **_QUIET}

    def _start(self, command: t.Sequence[str], stdin: str = "") -> t.Callable[[], Run]:
        return lambda: measured.run(command, LIMIT, self.environment(), stdin, str(self._client.home))

    def library(self, source: Place, destination: Place, name: str = "library", **job: t.Any) -> Contender:
        """One copy; its time is that of the call."""
        document = json.dumps({"src": written(source), "dest": written(destination), **job})
        return Contender(name, OURS, self._start([sys.executable, str(_LIBRARY)], document), _last_line)

    def nothing(self) -> Contender:
        """The interpreter with the library imported."""
        return Contender("imports alone", REFERENCE, self._start([sys.executable, str(_LIBRARY)]))

    def task(self, module: str, arguments: t.Mapping[str, t.Any], name: str = "task") -> Contender:
        """``ansible``, from its start to its exit."""
        command = [_ansible(), "localhost", "-m", f"lading.oci.{module}", "-a", json.dumps(arguments)]
        return Contender(name, OURS, self._start(command), _answer)

    def ping(self) -> Contender:
        """A task that does nothing."""
        return Contender("task of ping", REFERENCE, self._start([_ansible(), "localhost", "-m", "ansible.builtin.ping"]))

    def module(self, module: str, arguments: t.Mapping[str, t.Any], name: str = "module") -> Contender:
        """The module's process alone."""
        return Contender(name, OURS, lambda: self._client.module(module, arguments), _answer)


def peer(name: str, stage: Stage, start: t.Callable[[Client], t.Optional[Run]]) -> Contender:
    """``start`` gets the peer, and answers with its run."""
    client = clients.CLIENTS[name](stage.home / name, limit=LIMIT)
    return Contender(name, PEER, lambda: t.cast(Run, start(client)))


def repeated(contender: Contender, name: str, starts: t.Sequence[t.Callable[[], Run]]) -> Contender:
    """Processes one after another as one run."""

    def start() -> Run:
        runs = [one() for one in starts]
        return Run(
            all(run.succeeded for run in runs),
            "".join(run.output for run in runs if not run.succeeded),
            sum(run.seconds for run in runs),
            max(run.peak_mib for run in runs),
            cpu=sum(run.cpu for run in runs),
        )

    return dataclasses.replace(contender, name=name, start=start)


def _ansible() -> str:
    return str(pathlib.Path(sys.executable).with_name("ansible"))


def _last_line(run: Run) -> t.Dict[str, t.Any]:
    return t.cast("t.Dict[str, t.Any]", json.loads(run.output.strip().splitlines()[-1]))


def _answer(run: Run) -> t.Dict[str, t.Any]:
    """The module's JSON, wherever it begins in the output. ``requests`` as one number."""
    begin = run.output.find("{")
    if begin < 0:
        raise Dishonest(f"no answer of the module: {run.output[-500:]}")
    answer, _end = json.JSONDecoder().raw_decode(run.output, begin)
    asked = answer.get("stats", {}).get("requests")
    counted = None if asked is None else sum(sum(side.values()) for side in asked.values())
    return {"requests": counted, "answer": answer}

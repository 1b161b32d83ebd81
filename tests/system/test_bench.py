# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark stands on."""

from __future__ import annotations

import hashlib
import os
import pathlib
import socket
import sys
import threading
import time
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench"))

import bench  # noqa: E402
import content  # noqa: E402
import figures  # noqa: E402
import measured  # noqa: E402
import report  # noqa: E402
import stage as stage_module  # noqa: E402
import transfers  # noqa: E402
from clients import ARCHIVE, LAYOUT, REGISTRY, Place  # noqa: E402
from contenders import Contender  # noqa: E402
from registry_server import Registry  # noqa: E402
from slow_link import SlowLink  # noqa: E402
from work import Work, measure  # noqa: E402


@pytest.fixture(name="echo")
def _echo() -> t.Iterator[str]:
    """HOST:PORT of a server that sends back what it gets, on one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                for block in iter(lambda: connection.recv(65536), b""):
                    connection.sendall(block)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _connected(host: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=30)


def test_a_slow_link_delays_each_round_trip_and_the_first_one_twice(echo: str) -> None:
    with SlowLink(echo, delay=0.05) as link, _connected(link.host) as client:
        taken = []
        for _turn in range(2):
            start = time.monotonic()
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            taken.append(time.monotonic() - start)
    assert taken[0] >= 0.19 and taken[1] >= 0.1


def test_a_slow_link_passes_on_every_byte_and_no_faster_than_its_rate(echo: str) -> None:
    content = bytes(range(256)) * 4096
    with SlowLink(echo, delay=0.0, rate=2 * len(content)) as link, _connected(link.host) as client:
        start = time.monotonic()
        threading.Thread(target=lambda: (client.sendall(content), client.shutdown(socket.SHUT_WR)), daemon=True).start()
        received = b"".join(iter(lambda: client.recv(65536), b""))
        seconds = time.monotonic() - start
    assert received == content and seconds >= 0.45


OURS, PEER, REFERENCE = figures.OURS, figures.PEER, figures.REFERENCE
RECORDS = [figures.Record("1", "library", OURS, seconds, 0.5, 40.0, 3) for seconds in (1.0, 9.0, 2.0)]
RECORDS += [figures.Record("1", "oras", PEER, 4.0, 1.0, 50.0), figures.Record("1", "crane", PEER, 2.5, 1.0, 50.0)]
RECORDS += [figures.Record("1", "imports alone", REFERENCE, 0.1, 0.4, 30.0)]


@pytest.mark.parametrize(
    "found, moved, why",
    [("sha256:b", 10, "the destination sha256:b"), (None, 10, "the destination nothing"), ("sha256:a", 0, "0 bytes were moved, of 10")],
)
def test_a_run_that_did_not_do_its_work_fails(found: t.Optional[str], moved: int, why: str) -> None:
    figures.check("sha256:a", "sha256:a", 10, 10)
    with pytest.raises(figures.Dishonest, match=why):
        figures.check("sha256:a", found, moved, 10)


@pytest.mark.parametrize(
    "goal, value",
    [
        (figures.Goal("1", "library", 1.0), 0.8),
        (figures.Goal("1", "library", 1.0, against="oras"), 0.5),
        (figures.Goal("1", "library", 1.0, figures.MEMORY, "imports alone"), 10.0),
        (figures.Goal("1", "library", 1.0, figures.PROCESSOR, "imports alone"), 100.0),
        (figures.Goal("1", "library", 1.0, figures.REQUESTS), 3),
        (figures.Goal("1", "oras", 1.0, figures.REQUESTS), None),
        (figures.Goal("1", "library", 1.0, against="skopeo"), None),
        (figures.Goal("2", "library", 1.0), None),
    ],
)
def test_a_figure_is_of_medians_against_the_best_peer_or_the_one_that_is_named(goal: figures.Goal, value: t.Optional[float]) -> None:
    found = figures.value(RECORDS, goal)
    assert found is None if value is None else found == pytest.approx(value)


def test_goals_are_met_missed_or_not_measured() -> None:
    goals = [figures.Goal("1", "library", 0.8), figures.Goal("1", "library", 0.79), figures.Goal("2", "library", 1.0)]
    assert [line[-1] for line in figures.verdicts(RECORDS, goals)] == ["met", "missed", "not measured"]


def test_runs_begin_with_another_contender_each() -> None:
    assert [figures.order(list("abc"), run) for run in range(4)] == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_table_and_json_have_every_contender_and_run(tmp_path: pathlib.Path) -> None:
    lines = [line.split() for line in figures.table(figures.HEADER, figures.rows(RECORDS)).splitlines()[1:]]
    assert lines[0] == ["1", "library", "2.000", "1.000", "9.000", "0.50", "40.0", "3"]
    assert [line[1] for line in lines] == ["library", "oras", "crane", "imports"] and lines[1][-1] == "-"
    goals = [figures.Goal("1", "library", 0.8)]
    figures.write(tmp_path / "results.json", RECORDS, goals, {"cores": 2})
    assert figures.read(tmp_path / "results.json") == (RECORDS, goals, {"cores": 2})


def test_what_is_not_measured_again_stays(tmp_path: pathlib.Path) -> None:
    records = [figures.Record(work, "library", figures.OURS, 1.0, 1.0, 1.0, None) for work in ("7 copy", "growth: blobs", "8 tar")]
    goals = [figures.Goal("7 copy", "library", 0.5), figures.Goal("8 tar", "library", 0.5)]
    figures.write(tmp_path / "results.json", records, goals, {"runs": 5})
    stays = bench.kept(tmp_path / "results.json", {"runs": 5}, ["7", "growth"])
    assert stays == ([records[2]], [goals[1]])
    assert bench.kept(tmp_path / "results.json", {"runs": 3}, ["7"]) == bench.kept(tmp_path / "results.json", {"runs": 5}, []) == ([], [])
    assert bench.kept(tmp_path / "none.json", {"runs": 5}, ["7"]) == ([], [])


def test_the_documentation_gets_the_figures_between_its_marks() -> None:
    goals = [figures.Goal("1", "library", 0.8)]
    text = report.report(RECORDS, goals, {"cores": 2, "kernel": "6.1"})
    document = report.filled(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", text)
    assert document.startswith("before\n") and document.endswith("\nafter\n") and "old" not in document
    assert "| 1: library: time / best peer | 0.8 | 0.80 | met |" in document and "cores 2; kernel 6.1." in document
    with pytest.raises(ValueError, match="has no <!--"):
        report.filled("before", text)


class _Work(Work):
    """A copy of one file, by contenders that do it, do nothing, do half of it, or fail."""

    name = "0 copy a file"
    CONTENT = b"content" * 100

    def prepare(self) -> None:
        self._source, self._dest = self.stage.folder / "source", self.stage.folder / "dest"
        self._source.write_bytes(self.CONTENT)

    def contenders(self) -> t.List[Contender]:
        return [self.contender]

    def _copy(self, program: str) -> measured.Run:
        return measured.run([sys.executable, "-c", program, str(self._source), str(self._dest)], 60, os.environ)

    def begin(self, program: str) -> _Work:
        self.contender = Contender("copier", OURS, lambda: self._copy(program))
        return self

    def reset(self, contender: Contender) -> None:
        stage_module.remove(self._dest)

    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        found = self._dest.read_bytes() if self._dest.exists() else b""
        figures.check(_digest(self.CONTENT), _digest(found), len(found), len(self.CONTENT))

    def goals(self) -> t.List[figures.Goal]:
        return []

    def end(self) -> None:
        stage_module.remove(self._source)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module", name="own_registry")
def _own_registry(peers: t.Any) -> t.Iterator[Registry]:
    """One that is emptied between runs, which other tests would mind."""
    peers.require("registry")
    with Registry() as registry:
        yield registry


@pytest.fixture(name="stage")
def _stage(tmp_path: pathlib.Path, own_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> stage_module.Stage:
    for name in ("PYTHONPATH", "ANSIBLE_COLLECTIONS_PATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return stage_module.Stage(tmp_path, own_registry, 0.01)


COPY = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])"


def test_each_run_begins_without_what_the_run_before_has_made(stage: stage_module.Stage) -> None:
    said: t.List[str] = []
    records = measure(_Work(stage).begin("import os, sys; assert not os.path.exists(sys.argv[2]); " + COPY), 3, said.append)
    assert len(records) == len(said) == 3 and all(record.seconds > 0 and record.cpu > 0 and record.peak_mib > 1 for record in records)


@pytest.mark.parametrize(
    "program, why",
    [
        ("pass", "0 copy a file, copier: the source has"),
        (COPY + "; open(sys.argv[2], 'ab').write(b'more')", "the destination"),
        (COPY + "; open(sys.argv[2], 'r+b').truncate(9)", "the destination"),
        (COPY + "; sys.exit('went wrong')", "0 copy a file, copier failed: went wrong"),
    ],
)
def test_a_run_that_moves_nothing_or_something_else_or_fails_has_no_figure(stage: stage_module.Stage, program: str, why: str) -> None:
    with pytest.raises(figures.Dishonest, match=why):
        measure(_Work(stage).begin(program), 2, lambda line: None)


def test_content_of_another_digest_is_found_in_layout_tar_and_registry(stage: stage_module.Stage) -> None:
    folder, tar = stage.folder / "layout", stage.folder / "layout.tar"
    digest = content.layout(folder, 2, 100)
    content.archive(folder, tar)
    transfers.push(stage, folder, "bench/checked")
    places = [Place(LAYOUT, str(folder)), Place(ARCHIVE, str(tar)), Place(REGISTRY, f"{stage.registry.host}/bench/checked")]
    assert [stage_module.digest_at(place) for place in places] == [digest] * 3
    sizes = stage_module.blobs_at(places[0])
    assert len(sizes) == 4 and stage_module.blobs_at(places[1]) == sizes and sizes.items() <= stage.blobs_of_registry().items()
    damaged = folder / "blobs" / "sha256" / digest.partition(":")[2]
    damaged.write_bytes(damaged.read_bytes() + b" ")
    content.archive(folder, tar)
    for place in places[:2]:
        with pytest.raises(ValueError, match=f"has content that is not {digest}"):
            stage_module.blobs_at(place)


def test_every_workload_of_the_documentation_is_one_and_others_are_refused(stage: stage_module.Stage) -> None:
    found = bench.works(stage)
    assert list(dict.fromkeys(work.number for work in found)) == [*map(str, range(1, 14)), "growth", "limit", "concurrency"]
    assert {work.number for work in bench.chosen(found, ["1", "growth"])} == {"1", "growth"}
    with pytest.raises(ValueError, match="no work is called 99"):
        bench.chosen(found, ["1", "99"])


@pytest.mark.parametrize("work", ["1 push", "2", "5", "6", "10", "11 pull 20,000 files", "12"])
def test_workloads_measure_real_work(stage: stage_module.Stage, peers: t.Any, work: str) -> None:
    for name in ("oras", "crane", "skopeo"):
        peers.require(name)
    chosen = next(one for one in bench.works(stage) if one.name.startswith(f"{work} ") or one.name == work)
    records = measure(chosen, 1, lambda line: None)
    assert {record.kind for record in records} >= ({OURS} if work == "10" else {OURS, PEER})
    assert all(figures.value(records, goal) is not None for goal in chosen.goals())

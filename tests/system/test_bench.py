# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark stands on."""

from __future__ import annotations

import json
import pathlib
import socket
import sys
import threading
import time
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench"))

import figures  # noqa: E402
from slow_link import SlowLink  # noqa: E402


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


RECORDS = [figures.Record("1", "library", True, seconds, 0.5, 40.0, 3) for seconds in (1.0, 9.0, 2.0)]
RECORDS += [figures.Record("1", "oras", False, 4.0, 1.0, 50.0), figures.Record("1", "crane", False, 2.5, 1.0, 50.0)]


@pytest.mark.parametrize(
    "found, moved, why",
    [("sha256:b", 10, "the destination sha256:b"), (None, 10, "the destination nothing"), ("sha256:a", 0, "0 bytes were moved, of 10")],
)
def test_a_run_that_did_not_do_its_work_fails(found: t.Optional[str], moved: int, why: str) -> None:
    figures.check("sha256:a", "sha256:a", 10, 10)
    with pytest.raises(figures.Dishonest, match=why):
        figures.check("sha256:a", found, moved, 10)


def test_a_figure_is_the_median_over_that_of_the_best_peer() -> None:
    assert figures.ratio(RECORDS, figures.Goal("1", "library", 1.0)) == 0.8
    goals = [figures.Goal("1", "library", 0.8), figures.Goal("1", "library", 0.79), figures.Goal("2", "library", 1.0)]
    assert [line.rpartition(" ")[2] for line in figures.verdicts(RECORDS, goals)] == ["met", "missed", "measured"]


def test_runs_begin_with_another_contender_each() -> None:
    assert [figures.order(list("abc"), run) for run in range(4)] == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_table_and_json_have_every_contender_and_run(tmp_path: pathlib.Path) -> None:
    lines = [line.split() for line in figures.table(RECORDS).splitlines()[1:]]
    assert lines[0] == ["1", "library", "2.000", "1.000", "9.000", "0.50", "40.0", "3"]
    assert [line[1] for line in lines] == ["library", "oras", "crane"] and lines[1][-1] == "-"
    figures.write(tmp_path / "results.json", RECORDS, {"cores": 2})
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["facts"] == {"cores": 2} and [run["seconds"] for run in document["runs"]] == [1.0, 9.0, 2.0, 4.0, 2.5]

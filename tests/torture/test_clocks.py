# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine whose clock is years off, and times that are (threat rows 35, 42, 67): nothing hangs, nothing is skipped, results are equal."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t
import uuid

import clients
import pytest
import tally as tallies
from clients import ARCHIVE, LAYOUT, REGISTRY, Place
from cutting_proxy import CuttingProxy
from fault_proxy import FOR_EVER, Changed, FaultProxy, Late, Respond, Rule
from resuming import SENT, Transfer, publish
from support import Result, succeed

AHEAD, BEHIND, RIGHT = "+20y", "-20y", ""
YEAR = 365 * 24 * 3600
FAR = {
    "Last-Modified": "Fri, 01 Jan 2100 00:00:00 GMT",
    "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "Date": "Thu, 01 Jan 1970 00:00:00 GMT",
}
SECONDS = 30.0  # in which a small task ends


@pytest.fixture(name="clock")
def _clock(package: t.Callable[[str], pathlib.Path], ours: t.Any) -> t.Callable[[str], t.Dict[str, str]]:
    """The environment of a process whose clock is wrong; what counts seconds, and the times of files, stay right."""
    library = next(package("libfaketime").rglob("libfaketimeMT.so.1"))

    def clock(skew: str) -> t.Dict[str, str]:
        fake = {"LD_PRELOAD": str(library), "FAKETIME": skew, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
        return {**os.environ, **(fake if skew else {})}

    return clock


Clock = t.Callable[[str], t.Dict[str, str]]


def client(folder: pathlib.Path, environment: t.Mapping[str, str], retries: int = 2) -> clients.Ours:
    return clients.Ours(folder / "client", clients.Access(environment=environment, retries=retries), SECONDS)


def answer(done: clients.Run) -> Result:
    result: Result = json.loads(done.output)
    assert done.succeeded and not done.timed_out, result
    return result


def test_the_clock_is_wrong(clock: Clock) -> None:
    """The control: a process does see another year, and the same seconds."""
    script = "import datetime, time; print(datetime.datetime.now().year, time.gmtime().tm_year, time.monotonic())"
    for skew, years in ((AHEAD, 20), (BEHIND, -20), (RIGHT, 0)):
        seen = subprocess.run([sys.executable, "-c", script], env=clock(skew), capture_output=True, text=True, check=True).stdout.split()
        year = datetime.datetime.now().year + years
        assert abs(int(seen[0]) - year) <= 1 and abs(int(seen[1]) - year) <= 1
        assert abs(float(seen[2]) - time.monotonic()) < SECONDS


@pytest.mark.parametrize("skew", [AHEAD, BEHIND])
def test_every_task(skew: str, clock: Clock, registry: t.Any, tmp_path: pathlib.Path, report: t.Any) -> None:
    """Build, push with tokens, copy, pull: the digest is that of a right clock, and a run by another clock has nothing to do."""
    (tmp_path / "file").write_bytes(os.urandom(100_000))
    files = [{"src": str(tmp_path / "file")}]
    layers = [{"src": str(tmp_path / "file"), "dest": "/file"}]
    wrong, right = client(tmp_path, clock(skew)), client(tmp_path, clock(RIGHT))
    issued = Changed(body=lambda body: json.dumps({**json.loads(body), "issued_at": "2006-01-02T15:04:05Z", "expires_in": 60}).encode())
    rules = [Rule("GET", "/token", issued, FOR_EVER), Rule("GET", "/blobs/", Changed(FAR), FOR_EVER)]
    problems = []
    with FaultProxy(registry.host, rules, bearer=True) as proxy:
        repository = Place(REGISTRY, f"{proxy.host}/clocks/{uuid.uuid4().hex[:12]}")
        tasks: t.List[t.Callable[[clients.Ours], clients.Run]] = [
            lambda one: one.module("oci_layout_build", {"path": f"{tmp_path}/built", "tag": "v1", "artifact_type": "a/b", "files": files}),
            lambda one: one.module("oci_layout_build", {"path": f"{tmp_path}/built.tar", "tag": "v1", "layers": layers}),
            lambda one: one.copy(Place(LAYOUT, f"{tmp_path}/built"), repository),
            lambda one: one.copy(repository, Place(ARCHIVE, f"{tmp_path}/back.tar")),
            lambda one: one.pull(repository, f"{tmp_path}/files"),
            lambda one: one.unpack(Place(ARCHIVE, f"{tmp_path}/built.tar"), f"{tmp_path}/rootfs"),
        ]
        for number, task in enumerate(tasks):
            first, second = answer(task(wrong)), answer(task(right))
            third = answer(task(wrong))
            problems += [] if first["changed"] else [f"task {number} says that there is nothing to do"]
            problems += [f"task {number} again: {one}" for one in (second, third) if one["changed"] or one["digest"] != first["digest"]]
        tokens = len(proxy.asked("GET", "/token"))
        problems += [] if tokens < 4 * len(tasks) else [f"{tokens} tokens were asked for"]
    for path in ("files/file", "rootfs/file"):
        problems += [] if (tmp_path / path).read_bytes() == (tmp_path / "file").read_bytes() else [f"{path} has wrong bytes"]
    report(tallies.FAULTS, problems)


@pytest.mark.parametrize("skew", [AHEAD, BEHIND, RIGHT])
def test_a_date_to_try_again_at(skew: str, clock: Clock, registry: t.Any, sample: t.Any, tmp_path: pathlib.Path, report: t.Any) -> None:
    """What a registry asks for by its own clock is waited for: not years, and not at all a hurry that uses up the tries."""
    busy = Late(503, 2)
    with FaultProxy(registry.host, [Rule("HEAD", "/manifests/", busy), Rule("GET", "/blobs/", busy, 2)]) as proxy:
        place = Place(REGISTRY, f"{proxy.host}/{sample.repository}")
        done = client(tmp_path, clock(skew), retries=1).copy(place, Place(LAYOUT, f"{tmp_path}/copy"))
        heads = proxy.asked("HEAD", "/manifests/")
    problems = [] if done.succeeded else [done.output]
    problems += [] if len(heads) == 2 and 2 <= heads[1].at - heads[0].at < SECONDS else [f"asked at {[one.at for one in heads]}"]
    report(tallies.FAULTS, problems)


@pytest.mark.parametrize("skew", [AHEAD, BEHIND])
def test_a_date_of_a_registry_without_a_clock(
    skew: str, clock: Clock, registry: t.Any, sample: t.Any, tmp_path: pathlib.Path, report: t.Any
) -> None:
    """Without its Date nobody can know: the own pauses, or an error that says how long, and never a wait of years."""
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    busy = Respond(503, {"Retry-After": until.strftime("%a, %d %b %Y %H:%M:%S GMT")})
    with FaultProxy(registry.host, [Rule("HEAD", "/manifests/", busy)]) as proxy:
        place = Place(REGISTRY, f"{proxy.host}/{sample.repository}")
        done = client(tmp_path, clock(skew)).copy(place, Place(LAYOUT, f"{tmp_path}/copy"))
        heads = proxy.asked("HEAD", "/manifests/")
    if skew == AHEAD:
        problems = [] if done.succeeded and heads[1].at - heads[0].at >= 0.25 else [f"{done.output} at {[one.at for one in heads]}"]
    else:
        problems = [] if not done.succeeded and "(Retry-After)" in done.output else [done.output]
    report(tallies.FAULTS, problems + (["it took too long"] if done.timed_out else []))


@pytest.mark.parametrize("skew", [AHEAD, BEHIND])
def test_what_is_kept_of_a_cut_transfer(skew: str, clock: Clock, registry: t.Any, tmp_path: pathlib.Path, report: t.Any) -> None:
    """By a clock that is ahead it is a week old, and begun anew; by one that is behind it comes from the future, and is gone on with."""
    published = publish(tmp_path, registry.host, f"clocks/{uuid.uuid4().hex[:12]}", 8)
    with CuttingProxy(registry.host) as proxy:
        transfer = Transfer("folder", tmp_path, published, proxy)
        transfer.cut()
        proxy.heal()
        problems = [] if succeed(transfer.module, transfer.arguments, env=clock(skew))["changed"] else ["it had nothing to do"]
        share = proxy.down / published.size
    most = SENT if skew == BEHIND else 1 + SENT
    transfer.check()
    report(tallies.FAULTS, problems + ([] if share <= most else [f"{share:.1%} were sent by the second run"]))


@pytest.mark.parametrize("unpack", ["files", "rootfs"])
@pytest.mark.parametrize("years", [60, -60])
def test_times_of_files(years: int, unpack: str, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """Receipts, blobs and pulled files from another age: what was changed, with its size and time as they were, is put right."""
    (tmp_path / "file").write_bytes(b"right content")
    layout = {"path": f"{tmp_path}/layout", "tag": "v1", "artifact_type": "a/b", "files": [{"src": f"{tmp_path}/file"}]}
    if unpack == "rootfs":
        layout = {"path": f"{tmp_path}/layout", "tag": "v1", "layers": [{"src": f"{tmp_path}/file", "dest": "/file"}]}
    succeed("oci_layout_build", layout)
    pull = {"src": f"oci:{tmp_path}/layout:v1", "dest": f"{tmp_path}/out", "unpack": unpack}
    succeed("oci_pull", pull)
    moment = time.time() + years * YEAR
    age(moment, pathlib.Path(os.environ["HOME"], ".cache"), tmp_path / "layout")
    if unpack == "files":
        age(moment, tmp_path / "out")
    unchanged = succeed("oci_pull", pull)
    problems = [f"it changed something: {unchanged}"] if unchanged["changed"] else []
    file = tmp_path / "out" / "file"
    before = file.stat()
    file.write_bytes(b"wrong content")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    problems += [] if succeed("oci_pull", pull)["changed"] else ["what was changed was skipped"]
    problems += [] if file.read_bytes() == b"right content" else ["the content is wrong"]
    (tmp_path / "file").write_bytes(b"other content")
    age(moment, tmp_path / "file")
    problems += (
        [] if succeed("oci_layout_build", layout)["changed"] and succeed("oci_pull", pull)["changed"] else ["new content was skipped"]
    )
    problems += [] if file.read_bytes() == b"other content" else ["the new content did not come"]
    report(tallies.DISK, problems)


def age(moment: float, *paths: pathlib.Path) -> None:
    """Give everything there another time."""
    for path in paths:
        assert path.exists()
        for one in [path, *path.rglob("*")]:
            os.utime(one, (moment, moment), follow_symlinks=False)

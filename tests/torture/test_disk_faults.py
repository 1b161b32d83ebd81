# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real file systems: full, out of inodes or quota, read-only (threat row 62); what modes, sizes and signals do to a run (66, 67)."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import typing as t

import clients
import pytest
import tally as tallies
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from quota import MIB, Quota
from support import succeed, tree_state

Options = t.Dict[str, t.Any]


class Mounted:
    """A file system in a mount namespace, which ends with the process that holds it. ``seen``: where it is found from outside."""

    def __init__(self, folder: pathlib.Path, options: str, kind: str = "tmpfs", device: str = "tmpfs") -> None:
        folder.mkdir()
        self.folder = folder
        script = 'mount -t "$1" -o "$2" "$3" "$4" && echo ready && exec cat'
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", kind, options, device, str(folder)]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            pytest.skip(f"no {kind} in a mount namespace: that takes root with CAP_SYS_ADMIN ({self._holder.communicate()[1].strip()})")
        self.seen = pathlib.Path(f"/proc/{self._holder.pid}/root{folder}")
        self.prefix = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt")

    def remount(self, options: str) -> None:
        subprocess.run([*self.prefix, "mount", "-o", f"remount,{options}", str(self.folder)], check=True)

    def __enter__(self) -> Mounted:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._holder.communicate()


class Prefixed(clients.Ours):
    """Our modules, started by another program."""

    prefix: t.Tuple[str, ...] = ()

    def _run(self, *command: str, stdin: str = "", cwd: t.Optional[str] = None) -> clients.Run:
        return super()._run(*self.prefix, *command, stdin=stdin, cwd=cwd)


@pytest.fixture(name="source")
def _source(tmp_path: pathlib.Path) -> pathlib.Path:
    """An old artifact of 400 KiB, a new one of 40 files and 4 MiB, and an image of these."""
    source, files = tmp_path / "source", tmp_path / "files"
    files.mkdir()
    for number in range(40):
        (files / f"f{number:02}").write_bytes(os.urandom(100_000))
    paths = [{"src": str(path)} for path in sorted(files.iterdir())]
    succeed("oci_layout_build", {"path": str(source), "tag": "old", "artifact_type": "a/b", "files": paths[:4]})
    succeed("oci_layout_build", {"path": str(source), "tag": "new", "artifact_type": "a/b", "files": paths})
    succeed("oci_layout_build", {"path": str(source), "tag": "image-old", "layers": [{"src": str(files / "f00"), "dest": "/d/f00"}]})
    succeed("oci_layout_build", {"path": str(source), "tag": "image-new", "layers": [{"src": f"{files}/", "dest": "/d"}]})
    return source


def task(kind: str, source: pathlib.Path, folder: pathlib.Path, version: str) -> t.Tuple[str, Options]:
    src = f"oci:{source}:{version}"
    return {
        "folder": ("oci_copy", {"src": src, "dest": f"oci:{folder}/layout:v1", "tags": [version], "hardlinks": False}),
        "tar": ("oci_copy", {"src": src, "dest": f"oci-archive:{folder}/layout.tar:v1", "tags": [version]}),
        "pull": ("oci_pull", {"src": src, "dest": f"{folder}/pulled"}),
        "rootfs": ("oci_pull", {"src": f"oci:{source}:image-{version}", "dest": f"{folder}/pulled", "unpack": "rootfs"}),
    }[kind]


def names(kind: str, folder: pathlib.Path, aside: pathlib.Path) -> t.Dict[str, str]:
    """Names and digests in the layout; everything is read and verified. {} for what is no layout."""
    if kind not in ("folder", "tar"):
        return {}
    if kind == "tar":
        # By its own path: links are followed to find a tar, and the way into another namespace is one.
        shutil.copy(folder / "layout.tar", aside / "copy.tar")
    store = Layout(str(folder / "layout")) if kind == "folder" else Archive(str(aside / "copy.tar"))
    for desc in store._reachable(store.index.descriptors()):
        store.fetch_bytes(desc)
    return {name: str(store.resolve(name).digest) for name in store.index.names}


FAULTS = {
    "size": ("size=3m", "size=64m", "No space left on device"),
    "inodes": ("nr_inodes=24", "nr_inodes=10000", "No space left on device"),
    "read-only": ("size=64m", "rw", "Read-only file system"),
}


# Not (tar, inodes): a tar is one inode.
ON_DISK = [(kind, fault) for kind in ("folder", "tar", "pull", "rootfs") for fault in FAULTS]
ON_DISK = [case for case in ON_DISK if case != ("tar", "inodes")]


@pytest.mark.parametrize("kind, fault", ON_DISK)
def test_file_systems(kind: str, fault: str, source: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    options, remedy, words = FAULTS[fault]
    with Mounted(tmp_path / "mounted", options) as disk:
        client = Prefixed(tmp_path / "client")
        client.prefix = disk.prefix
        assert client.module(*task(kind, source, disk.folder, "old")).succeeded
        if fault == "read-only":
            disk.remount("ro")
        before, state = names(kind, disk.seen, tmp_path), tree_state(disk.seen)
        done = client.module(*task(kind, source, disk.folder, "new"))
        message = json.loads(done.output).get("msg", "") if not done.traceback else "a traceback"
        problems = ["it succeeded"] if done.succeeded else []
        problems += [] if words in message and "destination" in message and str(disk.folder) in message else [f"the error is {message}"]
        problems += [] if names(kind, disk.seen, tmp_path) == before else ["the names are other ones"]
        problems += ["something was touched"] if fault == "read-only" and tree_state(disk.seen) != state else []
        problems += [f"left behind: {path}" for path in disk.seen.rglob(".lading-*")]
        disk.remount(remedy)
        done = client.module(*task(kind, source, disk.folder, "new"))
        problems += [] if done.succeeded else [f"the next run: {done.output}"]
        problems += [f"left behind by the next run: {path}" for path in disk.seen.rglob(".lading-*")]
        report(tallies.DISK, problems)


@pytest.fixture(name="btrfs")
def _btrfs(package: t.Callable[[str], pathlib.Path], tmp_path: pathlib.Path, ours: t.Any) -> t.Iterator[Mounted]:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(256 * MIB)
    make = sorted(package("btrfs-progs").rglob("mkfs.btrfs"))[0]
    subprocess.run([make, "--quiet", image], check=True, capture_output=True)
    with Mounted(tmp_path / "mounted", "loop", "btrfs", str(image)) as disk:
        yield disk


def test_the_quota_is_one(btrfs: Mounted) -> None:
    """The control: a write beyond it fails, and with more of it the same write succeeds."""
    quota = Quota(btrfs.folder, btrfs.seen)
    quota.limit(MIB)
    with pytest.raises(OSError) as error:
        (quota.seen / "file").write_bytes(os.urandom(4 * MIB))
    assert error.value.errno == errno.EDQUOT
    quota.limit(64 * MIB)
    (quota.seen / "file").write_bytes(os.urandom(4 * MIB))


@pytest.mark.parametrize("kind", ["folder", "tar", "pull", "rootfs"])
def test_quota(kind: str, btrfs: Mounted, source: pathlib.Path, tmp_path: pathlib.Path, report: t.Any) -> None:
    """Threat row 62: a real quota that is used up in the middle."""
    quota, client = Quota(btrfs.folder, btrfs.seen), Prefixed(tmp_path / "client")
    client.prefix = btrfs.prefix
    quota.limit(3 * MIB)
    assert client.module(*task(kind, source, quota.path, "old")).succeeded
    before = names(kind, quota.seen, tmp_path)
    done = client.module(*task(kind, source, quota.path, "new"))
    message = json.loads(done.output).get("msg", "") if not done.traceback else "a traceback"
    problems = ["it succeeded"] if done.succeeded else []
    told = "Disk quota exceeded" in message and "destination" in message and str(quota.path) in message
    problems += [] if told else [f"the error is {message}"]
    problems += [] if names(kind, quota.seen, tmp_path) == before else ["the names are other ones"]
    problems += [f"left behind: {path}" for path in quota.seen.rglob(".lading-*")]
    quota.limit(64 * MIB)
    done = client.module(*task(kind, source, quota.path, "new"))
    problems += [] if done.succeeded else [f"the next run: {done.output}"]
    problems += [f"left behind by the next run: {path}" for path in quota.seen.rglob(".lading-*")]
    state = tree_state(quota.seen)
    assert client.module(*task(kind, source, quota.path, "new")).succeeded
    problems += [] if tree_state(quota.seen) == state else ["a third run wrote something"]
    report(tallies.DISK, problems)


@pytest.mark.parametrize("kind", ["folder", "tar", "pull", "rootfs"])
def test_file_size_limit(kind: str, source: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """RLIMIT_FSIZE, as a quota that is hit in the middle of a file."""
    (tmp_path / "disk").mkdir()
    client = Prefixed(tmp_path / "client")
    client.prefix = ("prlimit", "--fsize=50000")
    done = client.module(*task(kind, source, tmp_path / "disk", "new"))
    message = json.loads(done.output).get("msg", "") if not done.traceback else "a traceback"
    problems = [] if "File too large" in message and str(tmp_path) in message else [f"the error is {message}"]
    problems += [f"left behind: {path}" for path in (tmp_path / "disk").rglob(".lading-*")]
    client.prefix = ()
    problems += [] if client.module(*task(kind, source, tmp_path / "disk", "new")).succeeded else ["the next run failed"]
    report(tallies.DISK, problems)


STORM = (
    "import atexit, runpy, signal, sys\n"
    "atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)\n"
    "signal.signal(signal.SIGALRM, lambda *_args: None)\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
    "runpy.run_module(sys.argv.pop(), run_name='__main__')\n"
)


@pytest.mark.parametrize("kind", ["folder", "tar", "pull", "rootfs"])
def test_signals_in_every_call(kind: str, source: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """EINTR a thousand times a second."""
    name, options = task(kind, source, tmp_path, "new")
    given = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_remote_tmp": str(tmp_path)}})
    command = [sys.executable, "-c", STORM, f"{clients.MODULES}.{name}"]
    done = clients.run(command, 120, os.environ, given)
    problems = [] if done.succeeded else [done.output]
    report(tallies.DISK, problems + ([] if not succeed(name, options)["changed"] else ["the next run changed something"]))


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077], ids=lambda mask: f"{mask:03o}")
def test_modes(mask: int, source: pathlib.Path, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """Threat row 66: files and folders have what the umask leaves; what is remembered is its owner's alone."""
    home = tmp_path / "home"
    home.mkdir()
    for kind in ("folder", "tar", "pull"):
        name, options = task(kind, source, tmp_path / "out", "new")
        succeed(name, options, umask=mask, env={**os.environ, "HOME": str(home)})
    problems = []
    for path in (tmp_path / "out").rglob("*"):
        wanted = (0o777 if path.is_dir() else 0o666) & ~mask
        if stat.S_IMODE(path.stat().st_mode) != wanted:
            problems.append(f"{path} has {stat.S_IMODE(path.stat().st_mode):03o}, not {wanted:03o}")
    problems += [f"{path} is open to others" for path in home.rglob("*.json") if stat.S_IMODE(path.stat().st_mode) & 0o077]
    report(tallies.DISK, problems)


def test_five_gib(tmp_path: pathlib.Path, ours: t.Type[clients.Ours], report: t.Any) -> None:
    """Threat row 67: a sparse file beyond 2^32 bytes is read whole to plan its build, in little memory."""
    layout = tmp_path / "layout"
    (tmp_path / "small").write_bytes(b"small")
    built = {"path": str(layout), "tag": "v1", "artifact_type": "a/b", "files": [{"src": f"{tmp_path}/small"}]}
    client = ours(tmp_path / "client")
    assert client.module("oci_layout_build", built).succeeded
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(5 * 1024**3)
    done = client.module("oci_layout_build", {**built, "_ansible_check_mode": True, "tag": "large", "files": [{"src": str(large)}]})
    problems = [] if done.succeeded and json.loads(done.output)["stats"]["bytes_transferred"] > 5 * 1024**3 else [done.output]
    problems += [f"{done.peak_mib:.0f} MiB"] if done.peak_mib > 150 else []
    report(tallies.DISK, problems)


def test_the_storm_is_one() -> None:
    """The control: handlers do run."""
    script = "import signal, time\nseen = []\nsignal.signal(signal.SIGALRM, lambda *_args: seen.append(1))\n"
    script += "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\ntime.sleep(0.5)\n"
    script += "signal.setitimer(signal.ITIMER_REAL, 0)\nassert len(seen) > 5\n"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0

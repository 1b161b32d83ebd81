# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real BuildKit daemon for the driver ``remote``, built by Go into the cache folder: no package of Debian has it alone."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import peers
import processes

_MODULE = "github.com/moby/buildkit/cmd/buildkitd@v0.25.1"
_START_SECONDS = 30


def program() -> pathlib.Path:
    """Raises Unavailable where Go is missing or cannot build it."""
    found = shutil.which("buildkitd")
    if found:
        return pathlib.Path(found)
    folder = peers.CACHE / "tools" / "buildkitd"
    with peers.locked(peers.CACHE):
        if not (folder / "buildkitd").exists():
            if not shutil.which("go"):
                raise peers.Unavailable("it is built with Go, which is not on PATH")
            _compile(folder)
    return folder / "buildkitd"


def _compile(folder: pathlib.Path) -> None:
    """Inside of a module of our own: ``go install`` refuses one whose go.mod has exclude directives."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    with tempfile.TemporaryDirectory() as module:
        built = str(pathlib.Path(module, "buildkitd"))
        package = _MODULE.partition("@")[0]
        for command in (["mod", "init", "example.com/daemon"], ["get", _MODULE], ["build", "-o", built, package]):
            done = subprocess.run(["go", *command], capture_output=True, text=True, cwd=module, env=environment, check=False)
            if done.returncode != 0:
                raise peers.Unavailable(f"go {command[0]} failed: {done.stderr.strip()[-300:]}")
        shutil.move(built, folder / "buildkitd")


class BuildKit:
    """A running daemon below ``folder``; runc is looked for on ``path``."""

    def __init__(self, folder: pathlib.Path, path: str) -> None:
        binary = program()
        folder.mkdir()
        self._socket = folder / "s.sock"
        self.address = f"unix://{self._socket}"
        command = [str(binary), "--addr", self.address, "--root", str(folder / "root"), "--oci-worker-snapshotter", "native"]
        command += ["--containerd-worker=false", "--oci-worker-gc=false"]
        self._process = processes.start(command, folder / "log", {**os.environ, "PATH": path})
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"buildkitd did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self._socket))
            return True
        return False

    def stop(self) -> None:
        processes.stop(self._process)

    def __enter__(self) -> BuildKit:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

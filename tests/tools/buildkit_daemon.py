# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real BuildKit daemon for the driver ``remote``, built by Go into the cache folder: no package of Debian has it alone."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import time

import go_tools
import processes

_START_SECONDS = 30


class BuildKit:
    """A running daemon below ``folder``; runc is looked for on ``path``."""

    def __init__(self, folder: pathlib.Path, path: str) -> None:
        binary = go_tools.find("buildkitd")
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

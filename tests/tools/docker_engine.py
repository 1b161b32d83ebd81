# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Docker engine with buildx, on a socket and in folders of its own, and everything of it gone afterwards.

    docker_engine.py COMMAND...     runs COMMAND with DOCKER_HOST and the docker command on PATH, and stops the engine afterwards

Engine, containerd, runc and buildx come from Debian's packages, unpacked into the cache folder: nothing is installed. The engine needs
root. It makes no bridge and no firewall rule: builds and containers see no network but that of the engine's side.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t

import peers
import processes

NEWER_PACKAGES = ("docker.io", "docker-cli", "containerd", "docker-buildx")
# The newer suites' builds of these want a newer libc than a stable release has.
OWN_PACKAGES = ("runc", "iptables", "libip4tc2", "libip6tc2", "libxtables12", "libnftnl11", "libnfnetlink0")
OWN_PACKAGES += ("libnetfilter-conntrack3", "libmnl0")
_START_SECONDS = 60


def packages() -> pathlib.Path:
    """The folder that the packages are unpacked in. Raises Unavailable."""
    folder = peers.CACHE / "tools" / "docker-engine"
    with peers.locked(peers.CACHE):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            for newer, names in ((True, NEWER_PACKAGES), (False, OWN_PACKAGES)):
                for name in names:
                    peers.apt(newer).unpack(name, folder)
            (folder / "complete").touch()
    return folder


class Engine:
    """A running engine. ``environment`` is what a docker command needs to reach it; ``busybox`` a static program for images.

    ``mirror``: HOST:PORT of a registry without TLS that is asked for Docker Hub's images first.
    """

    def __init__(self, mirror: t.Optional[str] = None) -> None:
        if os.geteuid() != 0:
            raise peers.Unavailable("a Docker engine needs root")
        self._files = packages()
        self._stack = contextlib.ExitStack()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lading-docker-"))
        self._stack.callback(self._remove)
        self.busybox = peers.static_busybox()
        self.environment = self._environment()
        try:
            self._link_plugin()
            self._start(mirror)
        except BaseException:
            self.stop()
            raise

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    def _environment(self) -> t.Dict[str, str]:
        binaries = [str(self._files / part) for part in ("usr/bin", "usr/sbin")]
        return {
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(self.folder / "config"),
            "PATH": os.pathsep.join([*binaries, os.environ["PATH"]]),
        }

    def _link_plugin(self) -> None:
        folder = self.folder / "config" / "cli-plugins"
        folder.mkdir(parents=True)
        (folder / "docker-buildx").symlink_to(self._files / "usr" / "libexec" / "docker" / "cli-plugins" / "docker-buildx")

    def _start(self, mirror: t.Optional[str]) -> None:
        config = {
            "features": {"containerd-snapshotter": True},
            "data-root": str(self.folder / "data"),
            "exec-root": str(self.folder / "exec"),
            "pidfile": str(self.folder / "pid"),
            "hosts": [self.host],
            "iptables": False,
            "ip6tables": False,
            "bridge": "none",
            "registry-mirrors": [f"http://{mirror}"] if mirror else [],
        }
        (self.folder / "daemon.json").write_text(json.dumps(config))
        libraries = ":".join(sorted({str(path.parent) for path in self._files.rglob("lib*.so*")}))
        environment = {**os.environ, **self.environment, "LD_LIBRARY_PATH": libraries}
        command = [str(self._files / "usr" / "sbin" / "dockerd"), "--config-file", str(self.folder / "daemon.json")]
        process = processes.start(command, self.folder / "log", environment)
        self._stack.callback(processes.stop, process)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the Docker engine did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        command = [str(self._files / "usr" / "bin" / "docker"), "version"]
        return subprocess.run(command, capture_output=True, env={**os.environ, **self.environment}, check=False).returncode == 0

    def _remove(self) -> None:
        """Without what an engine that was killed has left mounted."""
        mounted = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
        for point in sorted((point for point in mounted if point.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        self._stack.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    try:
        with Engine(os.environ.get("LADING_TEST_REGISTRY")) as engine:
            return subprocess.run(sys.argv[1:], env={**os.environ, **engine.environment}, check=False).returncode
    except peers.Unavailable as error:
        print(f"No Docker engine to be had: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""An SSH server on loopback with keys of its own, which lets in who started it: a host that is not local."""

from __future__ import annotations

import getpass
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import typing as t

import peers
import processes

# A server that root starts wants a user and a folder that no machine is asked to have: it gets them in a file system view of its own.
_AS_ROOT = """
mount -t tmpfs none /run && mkdir -m 0755 /run/sshd || exit 1
grep -q ^sshd: /etc/passwd || { (cat /etc/passwd; echo sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin) >"$1/passwd"
    mount --bind "$1/passwd" /etc/passwd || exit 1; }
exec "$2" -D -e -f "$1/config"
"""


class SshServer:
    """A running server; ``variables`` are those of an inventory's host that is reached through it. Raises Unavailable."""

    def __init__(self) -> None:
        for name in ("ssh", "ssh-keygen", *(["unshare"] if os.getuid() == 0 else [])):
            if not shutil.which(name):
                raise peers.Unavailable(f"{name} is not on PATH")
        program = str(peers.find("sshd"))
        self._folder = tempfile.TemporaryDirectory(prefix="lading-ssh-")
        folder = pathlib.Path(self._folder.name)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        port = processes.free_port()
        (folder / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nStrictModes no\n"
            "PidFile none\nSubsystem sftp internal-sftp\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        )
        command = [program, "-D", "-e", "-f", str(folder / "config")]
        if os.getuid() == 0:
            command = ["unshare", "--mount", "sh", "-c", _AS_ROOT, "sh", str(folder), program]
        self._process = processes.start(command, folder / "log")
        self.variables: t.Dict[str, t.Any] = {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(folder / "user"),
            "ansible_ssh_common_args": "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            # A socket's path has to be short, and the homes of tests are deep.
            "ansible_control_path_dir": str(folder / "cp"),
        }
        self._wait(port, folder / "log")

    def _wait(self, port: int, log: pathlib.Path) -> None:
        until = time.monotonic() + 10
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.05)
        said = log.read_text(errors="replace").strip()
        self.__exit__()
        raise peers.Unavailable(f"sshd does not start here: {said[-300:]}")

    def __enter__(self) -> SshServer:
        return self

    def __exit__(self, *_exc: object) -> None:
        processes.stop(self._process)
        self._folder.cleanup()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real terminal, of tmux, in which one command runs: what a person would see of it, while it runs and after."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import time
import typing as t
import uuid

import peers

_END = "command ended with"


class Terminal:
    """``screens`` are all that differ from the one before; they are looked at several times a second."""

    def __init__(self, command: t.Sequence[str], environment: t.Mapping[str, str], columns: int = 100) -> None:
        self._tmux = [str(peers.find("tmux")), "-L", f"lading-{uuid.uuid4().hex}", "-f", os.devnull]
        self.screens: t.List[str] = []
        # Ctrl-C is for the command, not for this shell.
        shell = f"trap : INT; {shlex.join(command)}; echo {_END} $?; exec sleep 600"
        size = ("-x", str(columns), "-y", "40")
        subprocess.run([*self._tmux, "new-session", "-d", *size, "sh", "-c", shell], check=True, env=dict(environment))

    def look(self) -> str:
        """All there is, what has scrolled away too."""
        answer = subprocess.run([*self._tmux, "capture-pane", "-p", "-J", "-S", "-"], stdout=subprocess.PIPE, text=True, check=True)
        text = answer.stdout.rstrip()
        if not self.screens or self.screens[-1] != text:
            self.screens.append(text)
        return text

    def wait_until(self, happened: t.Callable[[], bool], meanwhile: t.Callable[[], object] = lambda: None, seconds: float = 180) -> None:
        """Looks until it has happened; ``meanwhile`` is called after each look. Raises TimeoutError."""
        until = time.monotonic() + seconds
        self.look()
        while not happened():
            if time.monotonic() > until:
                raise TimeoutError(f"it did not happen; {len(self.screens)} screens, the last:\n{self.screens[-1]}")
            meanwhile()
            time.sleep(0.1)
            self.look()

    def finish(self) -> str:
        """What is left when the command has ended."""
        self.wait_until(lambda: _END in self.screens[-1])
        return self.screens[-1].partition(_END)[0].rstrip()

    def press(self, key: str) -> None:
        subprocess.run([*self._tmux, "send-keys", key], check=True)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_exc: object) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, stderr=subprocess.DEVNULL)


def environment_for(home: pathlib.Path, **more: str) -> t.Dict[str, str]:
    """What a person's shell would have, and no more."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm-256color", **more}

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this machine can do at best: SHA-256, and one blob to and from the registry by curl. No copy can be faster than both allow."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import typing as t
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import measured
from contenders import LIMIT, Contender
from figures import REFERENCE, Dishonest, Goal
from stage import Stage, remove
from work import Work

MIB = 1024 * 1024


class Limit(Work):
    """1 GiB: hashed by ``openssl``, sent by ``curl -T``, received by ``curl``, copied and synced by ``dd``."""

    name = "limit: 1 GiB"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._folder = stage.folder / "limit"
        self._file, self._copy = self._folder / "file", self._folder / "copy"

    def prepare(self) -> None:
        self._folder.mkdir()
        hashed = hashlib.sha256()
        with self._file.open("wb") as file:
            for _number in range(self.stage.scaled(1024)):
                piece = os.urandom(MIB)
                hashed.update(piece)
                file.write(piece)
        self._digest = f"sha256:{hashed.hexdigest()}"
        self._size = self._file.stat().st_size
        self._parts = [self._folder / f"part{number}" for number in range(os.cpu_count() or 1)]
        for part in self._parts:
            part.write_bytes(self._file.read_bytes()[: self._size // len(self._parts)])

    @property
    def _blob(self) -> str:
        return f"http://{self.stage.registry.host}/v2/bench/limit/blobs/{self._digest}"

    def contenders(self) -> t.Sequence[Contender]:
        for program in ("curl", "openssl"):
            if shutil.which(program) is None:
                self.missing.append(program)
        found = []
        if "openssl" not in self.missing:
            found += [
                Contender("openssl sha256, one core", REFERENCE, lambda: self._run("openssl", "dgst", "-sha256", str(self._file))),
                Contender("openssl sha256, all cores", REFERENCE, self._hash_on_all_cores),
            ]
        if "curl" not in self.missing:
            found += [
                Contender("curl -T to the registry", REFERENCE, self._send),
                Contender(
                    "curl from the registry, to a file", REFERENCE, lambda: self._run("curl", "-fsS", "-o", str(self._copy), self._blob)
                ),
            ]
        return [*found, Contender("dd, synced", REFERENCE, self._write)]

    def _run(self, *command: str) -> measured.Run:
        return measured.run(command, LIMIT, os.environ)

    def _hash_on_all_cores(self) -> measured.Run:
        with ThreadPoolExecutor(len(self._parts)) as pool:
            runs = list(pool.map(lambda part: self._run("openssl", "dgst", "-sha256", str(part)), self._parts))
        longest = max(runs, key=lambda run: run.seconds)
        return measured.Run(
            all(run.succeeded for run in runs), longest.output, longest.seconds, longest.peak_mib, cpu=sum(run.cpu for run in runs)
        )

    def _write(self) -> measured.Run:
        return self._run("dd", f"if={self._file}", f"of={self._copy}", "bs=1M", "conv=fsync", "status=none")

    def _send(self) -> measured.Run:
        host = self.stage.registry.host
        with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as connection:
            connection.request("POST", "/v2/bench/limit/blobs/uploads/")
            address = connection.getresponse().headers["Location"]
        address = urllib.parse.urljoin(f"http://{host}", address)
        address += ("&" if "?" in address else "?") + urllib.parse.urlencode({"digest": self._digest})
        return self._run("curl", "-fsS", "-H", "Content-Type: application/octet-stream", "-T", str(self._file), address)

    def reset(self, contender: Contender) -> None:
        remove(self._copy)
        if contender.name.startswith("curl from"):
            if not self._send().succeeded:
                raise RuntimeError("the registry did not take the blob")
        else:
            self.stage.empty_registry()

    def check(self, contender: Contender, said: t.Mapping[str, t.Any]) -> None:
        if contender.name.startswith("curl -T") and self._digest not in self.stage.blobs_of_registry():
            raise Dishonest("the blob is not at the registry")
        if contender.name.startswith(("curl from", "dd")) and self._copy.stat().st_size != self._size:
            raise Dishonest(f"{self._copy.stat().st_size} bytes were written, of {self._size}")

    def goals(self) -> t.Sequence[Goal]:
        return []

    def end(self) -> None:
        remove(self._folder)


def limits(stage: Stage) -> t.List[Work]:
    return [Limit(stage)]

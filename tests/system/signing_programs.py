# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""cosign and notation, each with keys and a configuration of its own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

# No transparency log and no authority: the key alone.
SIGNING_CONFIG = '{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}'
TRUSTED_ROOT = '{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'


class Program:
    """A program with a configuration of its own."""

    def __init__(self, path: pathlib.Path, folder: pathlib.Path, **environment: str) -> None:
        self.folder = folder
        folder.mkdir()
        self._path = path
        self._environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), **environment}

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._path), *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**self._environment, **environment},
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )

    def must(self, *words: str, **environment: str) -> str:
        done = self.run(*words, **environment)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout


class Cosign(Program):
    old = ("--new-bundle-format=false", "--tlog-upload=false", "--use-signing-config=false")
    FORMS: t.Mapping[str, t.Tuple[str, ...]] = {
        "tag": old,
        "referrer": (*old, "--registry-referrers-mode=oci-1-1"),
        "bundle": ("--signing-config=signing.json",),
    }

    def __init__(self, path: pathlib.Path, folder: pathlib.Path) -> None:
        super().__init__(path, folder, COSIGN_PASSWORD="")
        (folder / "signing.json").write_text(SIGNING_CONFIG)
        (folder / "root.json").write_text(TRUSTED_ROOT)
        self.must("generate-key-pair")
        self.key = folder / "cosign.pub"

    def sign(self, image: str, form: str, *more: str) -> None:
        words = ("sign", "--key=cosign.key", "--trusted-root=root.json", "--allow-http-registry", *self.FORMS[form], *more, image)
        self.must(*words, **({"COSIGN_EXPERIMENTAL": "1"} if form == "referrer" else {}))

    def verifies(self, image: str, form: str, key: pathlib.Path, *more: str) -> bool:
        found = ("--experimental-oci11",) if form == "referrer" else ()
        words = (
            "verify",
            f"--key={key}",
            "--trusted-root=root.json",
            "--insecure-ignore-tlog",
            "--allow-http-registry",
            *found,
            *more,
            image,
        )
        return self.run(*words, COSIGN_EXPERIMENTAL="1" if found else "0").returncode == 0


class Notation(Program):
    def __init__(self, path: pathlib.Path, folder: pathlib.Path) -> None:
        super().__init__(path, folder)
        self.path = path
        for name in ("ours", "others"):
            self.must("cert", "generate-test", name)

    def certificate(self, name: str) -> str:
        return str(self.folder / "notation" / "localkeys" / f"{name}.crt")

    def sign(self, image: str, *more: str) -> None:
        self.must("sign", "--insecure-registry", "--key=ours", *more, image)

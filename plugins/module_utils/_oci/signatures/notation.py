# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Signatures of Notary Project, judged by its own program ``notation`` (its specifications: signature-specification.md,
trust-store-trust-policy.md).

The program gets one signature at a time, in a scratch layout that has only what it reads, with a trust policy that has only what was
asked for. So it needs neither the registry nor a login, and nothing that somebody has configured for it counts.
"""

from __future__ import annotations

import os
import re
import typing as t

from ..content.layout import Layout
from ..content.store import Incoming, Named, Source, bytes_opener
from ..programs import RunCommand, program_path
from ..spec import strictjson
from ..spec.descriptor import Descriptor
from ..spec.errors import InvalidError, ToolError
from ..spec.manifest import parse
from ..subjects import typed_referrers

SIGNATURE = "application/vnd.cncf.notary.signature"
LEVELS = ("strict", "permissive")
_MAX_SIGNATURES = 100  # of one image, as notation itself has it
_STORE = "lading"
_NEEDED = "signatures of Notary Project are judged by the program notation, which"
_REASON = re.compile(r"Signature \S+ failed verification with error: (.*)")
# It gives these as a reason, too, but they are no judgement.
_CERTIFICATE = re.compile(r"(failed to read the trusted certificate) (\d+)\.crt")


class Trust(t.NamedTuple):
    """Whom to believe: ``certificates`` by the names of their files, in PEM or DER, of authorities or of signers themselves,
    ``identities`` of signers, as ``x509.subject: C=..., ST=..., O=...`` (() for all), and what the signer has to have said."""

    certificates: t.Mapping[str, bytes]
    identities: t.Tuple[str, ...] = ()
    metadata: t.Mapping[str, str] = {}
    level: str = LEVELS[0]

    def policy(self) -> bytes:
        """A trust policy that covers whatever is looked at."""
        statement = {
            "name": _STORE,
            "registryScopes": ["*"],
            "signatureVerification": {"level": self.level},
            "trustStores": [f"ca:{_STORE}"],
            "trustedIdentities": list(self.identities) or ["*"],
        }
        return strictjson.dumps({"version": "1.0", "trustPolicies": [statement]})


class Attached(t.NamedTuple):
    """A signature as it is stored: its manifest, and all documents that are needed to look at it, by descriptor."""

    manifest: Descriptor
    documents: t.Mapping[Descriptor, bytes]


def signatures_of(source: Source, root: Descriptor) -> t.List[Attached]:
    """All that are attached to ``root``. Raises InvalidError for more than can be meant, NotFoundError, MismatchError."""
    manifests = [desc for desc in typed_referrers(source, root) if desc.artifact_type == SIGNATURE]
    if len(manifests) > _MAX_SIGNATURES:
        raise InvalidError(f"{root.digest} has more than {_MAX_SIGNATURES} signatures of Notary Project")
    signed = source.fetch_bytes(root) if manifests else b""
    found = []
    for desc in manifests:
        content = source.fetch_bytes(desc)
        document = parse(desc, content)
        parts = [*document.layers, *([document.config] if document.config is not None else [])]
        documents = {part: source.fetch_bytes(part) for part in parts}
        found.append(Attached(desc, {root: signed, desc: content, **documents}))
    return found


class Notation:
    """The program. ``cli``: its path, None for the one on PATH. ``scratch``: a folder for what it reads; the caller removes it."""

    def __init__(self, run_command: RunCommand, scratch: str, cli: t.Optional[str] = None) -> None:
        """Raises NotFoundError: a signature that cannot be looked at is not a good one."""
        self._run_command = run_command
        self._scratch = scratch
        self._program = program_path("notation", cli, "notation_cli", _NEEDED)
        self._runs = 0

    def refusal(self, root: Descriptor, signature: Attached, trust: Trust) -> t.Optional[str]:
        """Why the signature is not good for ``root``; None when it is. Raises ToolError when the program cannot say."""
        self._runs += 1
        folder = os.path.join(self._scratch, str(self._runs))
        _write_layout(os.path.join(folder, "layout"), root, signature)
        _write_trust(os.path.join(folder, "notation"), trust)
        said = [f"--user-metadata={name}={value}" for name, value in trust.metadata.items()]
        code, out, err = self._run_command(
            [self._program, "verify", "--verbose", "--oci-layout", "--scope=lading/oci", *said, f"layout@{root.digest}"],
            cwd=folder,
            environ_update=_environment(folder),
            expand_user_and_vars=False,
        )
        if code == 0:
            return None
        unread, reason = _CERTIFICATE.search(err), _REASON.search(err)
        if unread is not None:
            raise ToolError(f"{self._program}: {unread.group(1)} {list(trust.certificates)[int(unread.group(2))]}")
        if reason is None:
            lines = [line.strip() for line in (err or out).splitlines() if line.strip()] or [f"exit code {code}"]
            raise ToolError(f"{self._program} could not judge the signature {signature.manifest.digest}: {lines[-1]}")
        return reason.group(1).strip()


def _environment(folder: str) -> t.Dict[str, str]:
    """What it is configured by, and where it may write, is below ``folder``. Layouts are an experimental feature of it."""
    return {
        "NOTATION_EXPERIMENTAL": "1",
        "HOME": folder,
        "XDG_CONFIG_HOME": folder,
        "XDG_CACHE_HOME": folder,
        "NOTATION_CONFIG": os.path.join(folder, "notation"),
        "NOTATION_CACHE": os.path.join(folder, "cache"),
        "NOTATION_LIBEXEC": os.path.join(folder, "libexec"),
        "NO_COLOR": "1",
    }


def _write_layout(folder: str, root: Descriptor, signature: Attached) -> None:
    """No more than it reads: of what was signed, only the manifest."""
    layout, documents = Layout(folder), signature.documents
    with layout.receiving(Incoming(signature.manifest, missing=tuple(documents), also=(Named(root, ()),))):
        for desc, content in documents.items():
            layout.push(desc, bytes_opener(desc, content))
        for desc in (root, signature.manifest):
            layout.tag(desc, documents[desc], ())


def _write_trust(folder: str, trust: Trust) -> None:
    _write(folder, "trustpolicy.json", trust.policy())
    for number, certificate in enumerate(trust.certificates.values()):
        _write(os.path.join(folder, "truststore", "x509", "ca", _STORE), f"{number}.crt", certificate)


def _write(folder: str, name: str, content: bytes) -> None:
    os.makedirs(folder, 0o700, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content)

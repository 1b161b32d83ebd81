# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What oci_verify gives the program notation, and what it makes of its answers. The real one judges in tests/system/test_signatures.py."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.signatures import notation
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import EMPTY, Descriptor
from ansible_collections.lading.oci.plugins.modules import oci_verify
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Result, Run, without_settings

# Keeps what it is given, and answers with the next of the answers that were laid out for it.
PROGRAM = """#!/bin/sh
number=1
while [ -e {folder}/$number.argv ]; do number=$((number + 1)); done
printf '%s\\n' "$@" >{folder}/$number.argv
env >{folder}/$number.env
cp -r . {folder}/$number.given
cat {folder}/$number.says >&2
exit "$(cat {folder}/$number.code)"
"""
REFUSED = "level=warning msg=Signature sha256:abc failed verification with error: the certificate is of nobody\nError: all failed\n"


class Program:
    """A program that answers what it is told to."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.path = folder / "notation"
        self.path.write_text(PROGRAM.format(folder=folder))
        self.path.chmod(0o700)
        self._answers = 0

    def answers(self, code: int, says: str = "") -> None:
        self._answers += 1
        (self.folder / f"{self._answers}.code").write_text(str(code))
        (self.folder / f"{self._answers}.says").write_text(says)

    def runs(self) -> int:
        return len(list(self.folder.glob("*.argv")))

    def argv(self, run: int = 1) -> t.List[str]:
        return (self.folder / f"{run}.argv").read_text().splitlines()

    def given(self, path: str, run: int = 1) -> t.Any:
        return json.loads((self.folder / f"{run}.given" / path).read_text())


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    return Run(oci_verify.main, capsys)


@pytest.fixture(name="program")
def _program(tmp_path: pathlib.Path) -> Program:
    return Program(tmp_path / "bin")


class Signed(Images):
    def __init__(self, path: pathlib.Path) -> None:
        super().__init__(path)
        self.src = f"oci:{path}:v1"
        layer = self.put(b"layer", mediatype.OCI_LAYER).to_json()
        config = self.put(b"{}", mediatype.OCI_CONFIG).to_json()
        self.root = self.document({"config": config, "layers": [layer]}, mediatype.OCI_MANIFEST, ["v1"])

    def sign(self, envelope: bytes) -> Descriptor:
        layer = self.put(envelope, "application/jose+json").to_json()
        config = self.put(b"{}", notation.SIGNATURE).to_json()
        document = {"config": config, "layers": [layer], "subject": self.root.to_json()}
        return self.document(document, mediatype.OCI_MANIFEST, listed=True)


@pytest.fixture(name="signed")
def _signed(tmp_path: pathlib.Path) -> Signed:
    return Signed(tmp_path / "layout")


def asked(signed: Signed, program: t.Optional[Program], tmp_path: pathlib.Path, **more: t.Any) -> Result:
    (tmp_path / "ca.pem").write_bytes(b"certificate")
    wanted = {"certificates": [str(tmp_path / "ca.pem")], **more}
    return {"src": signed.src, "notary_signatures": [wanted], **({"notation_cli": str(program.path)} if program else {})}


def test_a_good_signature(run: Run, signed: Signed, program: Program, tmp_path: pathlib.Path) -> None:
    signature = signed.sign(b"envelope")
    program.answers(0)
    more = {"identities": ["x509.subject:C=US,ST=WA,O=Us"], "metadata": {"scan": "passed"}, "level": "permissive"}
    found = run.done(asked(signed, program, tmp_path, **more))
    assert found["verified"] and not found["changed"]
    assert found["notary_signatures"] == [{"certificates": [str(tmp_path / "ca.pem")], "digest": signature.digest}]
    assert program.argv()[0] == "verify" and program.argv()[-1] == f"layout@{signed.root.digest}"
    assert "--user-metadata=scan=passed" in program.argv()
    (statement,) = program.given("notation/trustpolicy.json")["trustPolicies"]
    assert statement["trustedIdentities"] == more["identities"] and statement["signatureVerification"] == {"level": "permissive"}
    assert (program.folder / "1.given/notation/truststore/x509/ca/lading/0.crt").read_bytes() == b"certificate"


def test_what_it_is_given(run: Run, signed: Signed, program: Program, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One signature at a time, the manifest that was signed without its layers, and no setting of the user's."""
    monkeypatch.setenv("NOTATION_CONFIG", "/the/users/own")
    signatures = {signed.sign(b"one").digest, signed.sign(b"two").digest}
    program.answers(1, REFUSED)
    program.answers(0)
    (good,) = run.done(asked(signed, program, tmp_path))["notary_signatures"]
    judged = []
    for number in (1, 2):
        root, signature = program.given("layout/index.json", number)["manifests"]
        judged.append(signature["digest"])
        assert root["digest"] == signed.root.digest
        blobs = {path.name for path in (program.folder / f"{number}.given/layout/blobs/sha256").iterdir()}
        assert signed.root.digest.encoded in blobs and EMPTY.digest.encoded in blobs and len(blobs) == 4
        environment = dict(line.split("=", 1) for line in (program.folder / f"{number}.env").read_text().splitlines() if "=" in line)
        assert "/the/users/own" not in environment.values() and environment["HOME"] == environment["XDG_CONFIG_HOME"]
        assert not pathlib.Path(environment["HOME"]).exists(), "left behind"
    assert set(judged) == signatures and good["digest"] == judged[1]


def test_what_is_refused(run: Run, signed: Signed, program: Program, tmp_path: pathlib.Path) -> None:
    signed.sign(b"envelope")
    for check in (False, True):
        program.answers(1, REFUSED)
        failed = run(asked(signed, program, tmp_path), check)
        assert failed["failed"] and "the certificate is of nobody" in failed["msg"] and "(notary_signatures)" in failed["msg"]
    program.answers(1, REFUSED)
    told = run.done({**asked(signed, program, tmp_path), "fail": False})
    assert not told["verified"] and told["notary_signatures"] == [] and told["violations"][0]["rule"] == "notary_signatures"


def test_what_is_not_signed(run: Run, signed: Signed, program: Program, tmp_path: pathlib.Path) -> None:
    assert "(it has none)" in run.failed(asked(signed, program, tmp_path))
    assert program.runs() == 0


def test_each_item_asks_for_one_more(run: Run, signed: Signed, program: Program, tmp_path: pathlib.Path) -> None:
    signed.sign(b"envelope")
    arguments = asked(signed, program, tmp_path)
    program.answers(0)
    program.answers(1, REFUSED)
    told = run.done({**arguments, "notary_signatures": arguments["notary_signatures"] * 2, "fail": False})
    assert not told["verified"] and len(told["notary_signatures"]) == len(told["violations"]) == 1


def test_a_program_that_cannot_judge(run: Run, signed: Signed, program: Program, tmp_path: pathlib.Path) -> None:
    """That is an error, also where what is wrong is only to be told."""
    signed.sign(b"envelope")
    program.answers(1, "Warning: experimental\nError: x509: malformed certificate\n")
    program.answers(3)
    for says in ("Error: x509: malformed certificate", "exit code 3"):
        assert says in run.failed({**asked(signed, program, tmp_path), "fail": False})


@pytest.mark.parametrize("cli", [None, "/none/at/all"])
def test_without_the_program(
    cli: t.Optional[str], run: Run, signed: Signed, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a pass, also where there is no signature to look at."""
    monkeypatch.setenv("PATH", str(tmp_path))
    more = {"notation_cli": cli} if cli else {}
    message = run.failed({**asked(signed, None, tmp_path), **more, "fail": False})
    assert "notation_cli" in message


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"certificates": []}, "nobody would be trusted"),
        ({"certificates": ["/none/at/all"]}, "/none/at/all"),
        ({"metadata": {"a=b": "c"}}, "notary_signatures[0].metadata"),
        ({"metadata": {"": "c"}}, "notary_signatures[0].metadata"),
        ({"level": "audit"}, "strict, permissive"),
    ],
)
def test_what_cannot_be_asked_for(run: Run, signed: Signed, program: Program, tmp_path: pathlib.Path, wanted: Result, says: str) -> None:
    assert says in run.failed({**asked(signed, program, tmp_path, **wanted), "fail": False})


def test_too_many(run: Run, signed: Signed, program: Program, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notation, "_MAX_SIGNATURES", 2)
    for number in range(3):
        signed.sign(b"%d" % number)
    assert "more than 2 signatures" in run.failed({**asked(signed, program, tmp_path), "fail": False})
    assert program.runs() == 0

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_verify as Ansible runs it: rules that are kept or broken, signatures that are good or are not."""

from __future__ import annotations

import builtins
import hashlib
import json
import pathlib
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.signatures import cosign
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.modules import oci_verify
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.signatures.signing import KEYS, Signer, pem, sign
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Result, Run, without_settings
from cryptography.hazmat.primitives.asymmetric import dsa

OLD, NEW = "2020-01-02T03:04:05.678901234Z", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
BASE = "sha256:" + "b" * 64


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    without_settings(monkeypatch, tmp_path / "home")
    return Run(oci_verify.main, capsys)


class Made(Images):
    """``v1`` is an index of an image for amd64 and one for arm64."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__(path)
        self.src = f"oci:{path}:v1"
        parts = [self.labelled(name) for name in ("amd64", "arm64")]
        notes = {"org.opencontainers.image.base.digest": BASE, "team": "blue"}
        self.root = self.index(*parts, self.attestation(parts[0]), tags=["v1"], annotations=notes)

    def labelled(self, architecture: str, tags: t.Sequence[str] = (), created: str = NEW) -> Descriptor:
        labels = {"version": "1.4", "arch": architecture}
        rootfs = {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar_of(a=architecture)).hexdigest()]}
        config = {"os": "linux", "architecture": architecture, "created": created, "config": {"Labels": labels}, "rootfs": rootfs}
        layers = [self.put(tar_of(a=architecture), mediatype.OCI_LAYER).to_json()]
        document = {"config": self.put(json.dumps(config).encode(), mediatype.OCI_CONFIG).to_json(), "layers": layers}
        platform = {"os": "linux", "architecture": architecture}
        return self.document(document, mediatype.OCI_MANIFEST, tags, platform=platform)


@pytest.fixture(name="made")
def _made(tmp_path: pathlib.Path) -> Made:
    return Made(tmp_path / "layout")


KEPT: t.List[Result] = [
    {"annotations": {"team": "blue|green"}},
    {"annotations": {"team": ""}},
    {"labels": {"version": "1[.].*"}},
    {"platforms": ["linux/amd64", "linux/aarch64"]},
    {"media_types": ["application/vnd.oci.image.layer.*"]},
    {"max_size": "1MB"},
    {"base_digests": [BASE]},
    {"max_age": 1},
]


@pytest.mark.parametrize("policy", KEPT, ids=str)
def test_a_rule_that_is_kept(run: Run, made: Made, policy: Result) -> None:
    found = run.done({"src": made.src, "policy": policy})
    assert found["verified"] and not found["changed"] and found["violations"] == [] and found["digest"] == made.root.digest
    assert found["pinned"] == made.src.replace(":v1", f"@{made.root.digest}")


BROKEN: t.List[t.Tuple[Result, str]] = [
    ({"annotations": {"team": "red"}}, "its annotation team is 'blue', which does not match 'red'"),
    ({"annotations": {"team": "blu"}}, "does not match"),
    ({"annotations": {"owner": ""}}, "it has no annotation owner"),
    ({"labels": {"arch": "amd64"}}, "its label arch is 'arm64'"),
    ({"platforms": ["linux/amd64", "linux/s390x"]}, "there is nothing for linux/s390x"),
    ({"media_types": ["application/vnd.docker.*"]}, "a layer of the media type application/vnd.oci.image.layer.v1.tar"),
    ({"artifact_types": ["application/vnd.example"]}, "it has no artifact type"),
    ({"max_size": "10"}, "more than 10"),
    ({"base_digests": ["sha256:" + "a" * 64]}, f"its base is {BASE}"),
]


@pytest.mark.parametrize(("policy", "says"), BROKEN, ids=str)
def test_a_rule_that_is_broken(run: Run, made: Made, policy: Result, says: str) -> None:
    (rule,) = policy
    for check in (False, True):
        failed = run({"src": made.src, "policy": policy}, check)
        assert failed["failed"] and says in failed["msg"] and "must not be used" in failed["msg"] and f"({rule})" in failed["msg"]
    told = run.done({"src": made.src, "policy": policy, "fail": False})
    assert not told["verified"] and {violation["rule"] for violation in told["violations"]} == {rule}


@pytest.mark.parametrize(
    ("created", "says"), [(OLD, "more than 30 days ago"), ("2999-01-01T00:00:00Z", "in the future"), ("", "does not say")]
)
def test_age(run: Run, tmp_path: pathlib.Path, created: str, says: str) -> None:
    Made(tmp_path / "layout").labelled("amd64", ["old"], created)
    assert says in run.failed({"src": f"oci:{tmp_path}/layout:old", "policy": {"max_age": 30}})


def test_a_base_that_is_not_said(run: Run, made: Made, tmp_path: pathlib.Path) -> None:
    made.labelled("amd64", ["alone"])
    assert "it does not say its base" in run.failed({"src": f"oci:{tmp_path}/layout:alone", "policy": {"base_digests": [BASE]}})


def test_one_platform_only(run: Run, made: Made) -> None:
    arguments = {"src": made.src, "policy": {"labels": {"arch": "amd64"}}}
    assert run.done({**arguments, "platform": "linux/amd64"})["verified"]
    assert "arm64" in run.failed({**arguments, "platform": "linux/arm64"})


def test_a_platform_is_what_the_config_says(run: Run, made: Made, tmp_path: pathlib.Path) -> None:
    """An entry of an index may claim anything."""
    liar = made.labelled("arm64")
    claimed = Descriptor(liar.media_type, liar.digest, liar.size, platform={"os": "linux", "architecture": "s390x"})
    made.index(claimed, tags=["liar"])
    assert "nothing for linux/s390x" in run.failed({"src": f"oci:{tmp_path}/layout:liar", "policy": {"platforms": ["linux/s390x"]}})


@pytest.fixture(name="signer")
def _signer(made: Made) -> Signer:
    return Signer(made, KEYS["P-256"]())


def asked(made: Made, signer: Signer, **more: t.Any) -> Result:
    return {"src": made.src, "signatures": [{"key_content": pem(signer.key), **more}]}


FORMS: t.Dict[str, t.Callable[[Signer, Descriptor, t.Optional[Result]], None]] = {
    "tag": lambda signer, of, said: signer.tagged(of, signer.layer(signer.payload(of.digest, said))),
    "referrer": lambda signer, of, said: signer.attached(of, cosign.ATTACHED, signer.layer(signer.payload(of.digest, said))),
    "bundle": lambda signer, of, said: signer.attached(of, cosign.BUNDLE, signer.bundle(of.digest, said)),
}


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("kind", sorted(KEYS))
def test_a_good_signature(run: Run, made: Made, tmp_path: pathlib.Path, form: str, kind: str) -> None:
    signer, other = Signer(made, KEYS[kind]()), Signer(made, KEYS[kind]())
    assert "it has no signature by key_content (it has none)" in run.failed(asked(made, signer))
    FORMS[form](signer, made.root, None)
    (tmp_path / "key.pub").write_text(pem(signer.key))
    found = run.done({"src": made.src, "signatures": [{"key": str(tmp_path / "key.pub")}]})
    assert found["verified"] and found["signatures"][0]["key"] == str(tmp_path / "key.pub")
    assert "(it has 1 of others)" in run.failed(asked(made, other))


@pytest.mark.parametrize("form", sorted(FORMS))
def test_what_the_signer_has_said(run: Run, made: Made, signer: Signer, form: str) -> None:
    FORMS[form](signer, made.root, {"scan": "passed", "by": "us"})
    assert run.done(asked(made, signer, annotations={"scan": "passed"}))["verified"]
    assert "that says scan=failed" in run.failed(asked(made, signer, annotations={"scan": "failed"}))
    assert "that says more=x" in run.failed(asked(made, signer, annotations={"more": "x"}))


def test_one_signature_does_not_serve_for_two_keys(run: Run, made: Made, signer: Signer) -> None:
    FORMS["tag"](signer, made.root, None)
    other = Signer(made, KEYS["P-256"]())
    both = [{"key_content": pem(signer.key)}, {"key_content": pem(other.key)}]
    told = run.done({"src": made.src, "signatures": both, "fail": False})
    assert not told["verified"] and len(told["signatures"]) == len(told["violations"]) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda signer, of: signer.tagged(of, signer.layer(signer.payload(BASE))),
        lambda signer, of: signer.tagged(of, signer.layer(signer.payload(of.digest, kind="something else"))),
        lambda signer, of: signer.tagged(of, signer.layer(signer.payload(of.digest), sign(signer.key, b"other"))),
        lambda signer, of: signer.tagged(of, signer.layer(signer.payload(of.digest), "not base64!")),
        lambda signer, of: signer.tagged(of, signer.layer(b"not json")),
        lambda signer, of: signer.tagged(of, signer.layer(b'{"critical": 1}')),
        lambda signer, of: signer.attached(of, cosign.BUNDLE, signer.bundle(BASE)),
        lambda signer, of: signer.attached(of, cosign.BUNDLE, signer.bundle(of.digest, predicate="https://slsa.dev/provenance/v1")),
        lambda signer, of: signer.attached(of, "application/vnd.example", signer.layer(signer.payload(of.digest))),
    ],
    ids=[
        "of another image",
        "of another kind",
        "of other content",
        "not base64",
        "not json",
        "no image",
        "another's bundle",
        "attestation",
        "type",
    ],
)
def test_what_is_no_signature_of_it(run: Run, made: Made, signer: Signer, spoil: t.Callable[[Signer, Descriptor], None]) -> None:
    spoil(signer, made.root)
    assert "it has no signature by key_content" in run.failed(asked(made, signer))


def test_without_the_library(run: Run, made: Made, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a pass."""
    arguments = asked(made, signer, annotations={})
    FORMS["tag"](signer, made.root, None)
    real = builtins.__import__

    def refuse(name: str, *more: t.Any, **named: t.Any) -> t.Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert "cryptography" in run.failed({**arguments, "fail": False})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "everything would be let through"),
        ({"policy": {"max_age": -1}}, "must not be negative"),
        ({"policy": {"labels": {"a": "("}}}, "not a regular expression"),
        ({"policy": {"platforms": ["x"]}}, "not a platform"),
        ({"policy": {"base_digests": ["x"]}}, "not a digest"),
        ({"signatures": [{"key_content": "x"}]}, "key_content is not a public key in PEM"),
        ({"signatures": [{"key": "/none/at/all"}]}, "/none/at/all"),
        ({"signatures": [{}]}, "key, key_content"),
        ({"signatures": [{"key_content": pem(dsa.generate_private_key(1024))}]}, "of a kind that signatures are not verified with"),
        ({"src": "oci:/none/at/all:v1", "policy": {"max_age": 1}}, "/none/at/all"),
    ],
)
def test_what_cannot_be_looked_at(run: Run, made: Made, arguments: Result, says: str) -> None:
    assert says in run.failed({"src": made.src, "fail": False, **arguments})

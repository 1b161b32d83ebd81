# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures beside the programs that people make them with, cosign and notation: what they sign oci_verify lets through, what these
modules have carried or attached they verify."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.signatures.signing import KEYS, Signer, pem
from support import Result, fail, succeed

PLAIN = {"plain_http": True}
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
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


@pytest.fixture(name="cosign")
def _cosign(tmp_path: pathlib.Path, peers: t.Any) -> Cosign:
    return Cosign(peers.require("cosign"), tmp_path / "cosign")


@pytest.fixture(name="notation")
def _notation(tmp_path: pathlib.Path, peers: t.Any) -> Notation:
    return Notation(peers.require("notation"), tmp_path / "notation")


@pytest.fixture(name="image", params=["image", "index"])
def _image(request: pytest.FixtureRequest, tmp_path: pathlib.Path, registry: t.Any, repository: str) -> str:
    """The repository with the digest of what is to be signed there."""
    images = Images(tmp_path / "source")
    if request.param == "image":
        images.image(tar_of(hello="hello"), tags=["v1"])
    else:
        parts = [images.image(tar_of(hello=architecture), platform=f"linux/{architecture}") for architecture in ("amd64", "arm64")]
        images.index(*parts, tags=["v1"])
    text = f"{registry.host}/{repository}"
    done = succeed("oci_copy", {"src": f"oci:{tmp_path}/source:v1", "dest": f"{text}:v1", "dest_registry": PLAIN})
    return f"{text}@{done['digest']}"


def verified(src: str, **more: t.Any) -> Result:
    reach = {} if src.startswith("oci") else {"src_registry": PLAIN}
    return succeed("oci_verify", {"src": src, **reach, **more}, check=True)


def refused(src: str, **more: t.Any) -> str:
    reach = {} if src.startswith("oci") else {"src_registry": PLAIN}
    return fail("oci_verify", {"src": src, **reach, **more})


def carried(image: str, places: t.Iterable[str]) -> t.Iterator[str]:
    """The image with all that belongs to it, in other places; a second copy finds nothing to do."""
    for place in places:
        reach = {} if place.startswith("oci") else {"dest_registry": PLAIN}
        arguments = {"src": image, "src_registry": PLAIN, "dest": place, "referrers": True, "digest_tags": True, **reach}
        assert succeed("oci_copy", arguments)["changed"] and not succeed("oci_copy", arguments)["changed"]
        yield place


@pytest.mark.parametrize("form", sorted(Cosign.FORMS))
def test_what_cosign_has_signed(
    form: str, image: str, cosign: Cosign, tmp_path: pathlib.Path, registry: t.Any, referrers_registry: t.Any, repository: str
) -> None:
    """Also in a layout, a tar, and a registry with another API, where cosign verifies what oci_copy has brought."""
    ours = [{"key": str(cosign.key), "annotations": {"scan": "passed"}}]
    assert "(it has none)" in refused(image, signatures=ours)
    cosign.sign(image, form, "-a", "scan=passed")
    assert verified(image, signatures=ours)["signatures"][0]["key"] == str(cosign.key)
    assert "that says scan=failed" in refused(image, signatures=[{"key": str(cosign.key), "annotations": {"scan": "failed"}}])
    assert "(it has 1 of others)" in refused(image, signatures=[{"key_content": pem(KEYS["P-256"]())}])
    other = f"{referrers_registry.host}/{repository}:v1"
    for place in carried(image, [f"oci:{tmp_path}/layout:v1", f"oci-archive:{tmp_path}/image.tar:v1", other]):
        assert verified(place, signatures=ours)["verified"]
    assert cosign.verifies(other, form, cosign.key, "-a", "scan=passed") and not cosign.verifies(
        other, form, cosign.key, "-a", "scan=failed"
    )


@pytest.mark.parametrize("form", sorted(Cosign.FORMS))
def test_cosign_takes_the_signatures_that_the_unit_tests_make(
    form: str, cosign: Cosign, tmp_path: pathlib.Path, registry: t.Any, repository: str
) -> None:
    """So that what those prove is proved of real ones."""
    images = Images(tmp_path / "signed")
    root = images.image(tar_of(hello="hello"), tags=["v1"])
    signer = Signer(images, KEYS["P-256"]())
    (tmp_path / "key.pub").write_text(pem(signer.key))
    if form == "tag":
        signer.tagged(root, signer.layer(signer.payload(root.digest)))
    elif form == "referrer":
        signer.attached(root, "application/vnd.dev.cosign.artifact.sig.v1+json", signer.layer(signer.payload(root.digest)))
    else:
        signer.attached(root, BUNDLE, signer.bundle(root.digest))
    text = f"{registry.host}/{repository}:v1"
    copied = {"src": f"oci:{tmp_path}/signed:v1", "dest": text, "dest_registry": PLAIN, "referrers": True, "digest_tags": True}
    succeed("oci_copy", copied)
    assert cosign.verifies(text, form, tmp_path / "key.pub") and not cosign.verifies(text, form, cosign.key)


def test_a_signature_that_is_made_in_one_place_and_attached_in_another(
    image: str, cosign: Cosign, tmp_path: pathlib.Path, registry: t.Any, repository: str
) -> None:
    """Who has the key needs no login, who attaches needs no key."""
    cosign.sign(image, "bundle", "--upload=false", "--bundle=made.json")
    attached = {"dest": image, "artifact_type": BUNDLE, "files": [{"src": str(cosign.folder / "made.json"), "media_type": BUNDLE}]}
    assert not cosign.verifies(image, "bundle", cosign.key)
    for changed in (True, False):
        assert succeed("oci_attach", {**attached, "dest_registry": PLAIN})["changed"] is changed
    assert cosign.verifies(image, "bundle", cosign.key)
    assert verified(image, signatures=[{"key": str(cosign.key)}])["verified"]


def test_what_notation_has_signed(
    image: str, notation: Notation, tmp_path: pathlib.Path, referrers_registry: t.Any, repository: str
) -> None:
    def trusting(name: str, **more: t.Any) -> Result:
        return {"notation_cli": str(notation.path), "notary_signatures": [{"certificates": [notation.certificate(name)], **more}]}

    assert "(it has none)" in refused(image, **trusting("ours"))
    notation.sign(image, "--user-metadata=scan=passed")
    signed = verified(image, **trusting("ours", metadata={"scan": "passed"}, identities=["x509.subject:C=US,ST=WA,O=Notary"]))
    assert signed["notary_signatures"][0]["certificates"] == [notation.certificate("ours")]
    assert "does not contain any trusted certificate" in refused(image, **trusting("others"))
    assert "does not match the X.509 trusted identities" in refused(
        image, **trusting("ours", identities=["x509.subject:C=US,ST=WA,O=Other"])
    )
    assert "metadata" in refused(image, **trusting("ours", metadata={"scan": "failed"}))
    assert "invalid identity" in refused(image, **trusting("ours", identities=["x509.subject:nonsense"]), fail=False)
    (tmp_path / "no.pem").write_text("no certificate")
    certificates = [notation.certificate("ours"), str(tmp_path / "no.pem")]
    message = refused(image, notation_cli=str(notation.path), notary_signatures=[{"certificates": certificates}], fail=False)
    assert f"failed to read the trusted certificate {tmp_path}/no.pem" in message
    other = f"{referrers_registry.host}/{repository}:v1"
    for place in carried(image, [f"oci:{tmp_path}/layout:v1", f"oci-archive:{tmp_path}/image.tar:v1", other]):
        assert verified(place, **trusting("ours"))["verified"]
        assert "does not contain any trusted certificate" in refused(place, **trusting("others"))
    assert "(it has none)" in refused(f"oci:{tmp_path}/source:v1", **trusting("ours"))

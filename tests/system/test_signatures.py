# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures beside the programs that people make them with, cosign and notation: what they sign oci_verify lets through, what these
modules have carried or attached they verify."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.signatures.signing import KEYS, Signer, pem
from signing_programs import Cosign, Notation
from support import Result, fail, succeed

PLAIN = {"plain_http": True}
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


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

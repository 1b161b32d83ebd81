# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts, tags and what is attached beside regctl: what one side does, the other side sees, in registries and layouts."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from support import Result, peer, succeed

SITE, SBOM = "application/vnd.example.site.v1", "application/vnd.example.sbom"


class Place(t.NamedTuple):
    """A repository or layout as each side names it; ``reach`` with ``dest_`` or ``src_`` before it."""

    ours: str
    theirs: str
    reach: t.Mapping[str, t.Any]

    def dest(self, tag: str, **more: t.Any) -> Result:
        return {"dest": f"{self.ours}:{tag}", **({"dest_registry": self.reach} if self.reach else {}), **more}

    def info(self, tag: str, **more: t.Any) -> Result:
        arguments = {"src": f"{self.ours}:{tag}", **({"src_registry": self.reach} if self.reach else {}), **more}
        return t.cast(Result, succeed("oci_info", arguments)["images"][0])


@pytest.fixture(name="place", params=["tag", "api", "layout"])
def _place(request: pytest.FixtureRequest, tmp_path: pathlib.Path, repository: str) -> Place:
    """A registry without the Referrers API, one with it, or a layout; each has an image ``v1``."""
    if request.param == "layout":
        place = Place(f"oci:{tmp_path}/layout", f"ocidir://{tmp_path}/layout", {})
    else:
        host = request.getfixturevalue("registry" if request.param == "tag" else "referrers_registry").host
        place = Place(f"{host}/{repository}", f"{host}/{repository}", {"plain_http": True})
    Images(tmp_path / "source").image(tar_of(hello="hello"), tags=["v1"])
    succeed("oci_copy", place.dest("v1", src=f"oci:{tmp_path}/source:v1"))
    return place


@pytest.fixture(name="regctl")
def _regctl(place: Place, peers: t.Any) -> t.Callable[..., str]:
    program = peers.require("regctl")
    host = place.theirs.partition("/")[0]

    def run(*words: t.Union[str, pathlib.Path]) -> str:
        reach = () if place.theirs.startswith("ocidir:") else ("--host", f"reg={host},tls=disabled")
        return peer(program, *words, *reach)

    return run


@pytest.fixture(name="sbom")
def _sbom(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "sbom.json"
    path.write_text('{"packages": []}\n')
    return path


def test_regctl_gets_what_was_pushed(place: Place, regctl: t.Callable[..., str], sbom: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pushed = succeed("oci_push", place.dest("site", files=[{"src": str(sbom), "media_type": "text/plain"}], artifact_type=SITE))
    (tmp_path / "got").mkdir()
    regctl("artifact", "get", f"{place.theirs}:site", "--output", tmp_path / "got")
    assert (tmp_path / "got" / "sbom.json").read_bytes() == sbom.read_bytes()
    assert regctl("image", "digest", f"{place.theirs}:site").strip() == pushed["digest"]


def test_what_regctl_has_put(place: Place, regctl: t.Callable[..., str], sbom: pathlib.Path, tmp_path: pathlib.Path) -> None:
    regctl("artifact", "put", "--file", sbom, "--file-title", "--strip-dirs", "--artifact-type", SITE, f"{place.theirs}:site")
    found = place.info("site")
    assert found["artifact_type"] == SITE and found["digest"] == regctl("image", "digest", f"{place.theirs}:site").strip()
    pull = {"src": f"{place.ours}:site", "dest": str(tmp_path / "pulled"), **({"src_registry": place.reach} if place.reach else {})}
    assert succeed("oci_pull", pull)["changed"] and not succeed("oci_pull", pull)["changed"]
    assert (tmp_path / "pulled" / "sbom.json").read_bytes() == sbom.read_bytes()


def test_what_is_attached(place: Place, regctl: t.Callable[..., str], sbom: pathlib.Path) -> None:
    """Each finds the other's, and what is removed by one is gone for both. In a layout regctl looks under a tag alone, which it makes:
    that is kept up where it is."""

    def theirs() -> t.Set[str]:
        return set(regctl("artifact", "list", f"{place.theirs}:v1", "--format", "{{range .Descriptors}}{{.Digest}} {{end}}").split())

    regctl("artifact", "put", "--file", sbom, "--file-title", "--artifact-type", SITE, "--subject", f"{place.theirs}:v1")
    (first,) = theirs()
    ours = place.dest("v1", artifact_type=SBOM, files=[{"src": str(sbom)}])
    second = succeed("oci_attach", ours)["digest"]
    assert theirs() == {first, second} == {one["digest"] for one in place.info("v1", gather=["referrers"])["referrers"]}
    assert not succeed("oci_attach", ours)["changed"]
    gone = place.dest("v1", artifact_type=SBOM, state="absent")
    assert succeed("oci_attach", gone)["changed"] and not succeed("oci_attach", gone)["changed"]
    assert theirs() == {first}


def test_tags(place: Place, regctl: t.Callable[..., str]) -> None:
    succeed("oci_tag", place.dest("v1", tags=["v2", "latest"]))
    assert set(regctl("tag", "ls", place.theirs).split()) == {"v1", "v2", "latest"}
    regctl("image", "copy", f"{place.theirs}:v1", f"{place.theirs}:v3")
    assert not succeed("oci_tag", place.dest("v1", tags=["v3"]))["changed"]
    regctl("tag", "delete", f"{place.theirs}:v2")
    assert not place.info("v2")["exists"] and place.info("v1")["exists"], "the image went with its tag"

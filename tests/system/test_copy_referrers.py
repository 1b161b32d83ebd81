# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is attached travels: through the Referrers API, through fallback tags, through layouts, as oras and regctl see them."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from support import peer, succeed

Result = t.Dict[str, t.Any]
SBOM, SIGNATURE = "application/vnd.test.sbom", "application/vnd.test.signature"


@pytest.fixture(
    name="hosts", params=["registry", "referrers_registry", "cranes_registry"], ids=["fallback tags", "Referrers API", "half of it"]
)
def _hosts(request: pytest.FixtureRequest) -> str:
    """A registry of each kind."""
    return str(request.getfixturevalue(request.param).host)


@pytest.fixture(name="signed")
def _signed(tmp_path: pathlib.Path) -> t.Tuple[pathlib.Path, t.Dict[str, Descriptor]]:
    """A layout with an index, an SBOM of it, a signature of that SBOM, and a signature of one of its images."""
    images = Images(tmp_path / "signed")
    arm = images.image(tar_of(arch="arm64"), platform="linux/arm64")
    root = images.index(images.image(tar_of(arch="amd64")), arm, tags=["v1"])
    sbom = images.referrer(root, SBOM)
    made = {
        "root": root,
        "arm": arm,
        "sbom": sbom,
        "of sbom": images.referrer(sbom, SIGNATURE),
        "of arm": images.referrer(arm, SIGNATURE, "2"),
    }
    return tmp_path / "signed", made


def copy(src: str, dest: str, **options: t.Any) -> Result:
    """Check, run, run: one plan, and nothing more to do."""
    sides = {f"{side}_registry": {"plain_http": True} for side, text in (("src", src), ("dest", dest)) if not text.startswith("oci")}
    arguments = {"src": src, "dest": dest, **sides, **options}
    checked = succeed("oci_copy", arguments, check=True)
    done = succeed("oci_copy", arguments)
    same = ("changed", "digest", "tags", "referrers", "diff", "dropped")
    assert {key: checked.get(key) for key in same} == {key: done.get(key) for key in same}
    without = [{key: value for key, value in one["stats"].items() if key != "requests"} for one in (checked, done)]
    assert without[0] == without[1]
    again = succeed("oci_copy", arguments)
    assert not again["changed"] and not any(one["changed"] for one in again["referrers"])
    return done


def discovered(oras: pathlib.Path, *reference: str) -> t.Set[str]:
    """Digests of all referrers that oras finds, at any depth."""
    found: t.Set[str] = set()

    def walk(nodes: t.Iterable[t.Dict[str, t.Any]]) -> None:
        for node in nodes:
            found.add(node["digest"])
            walk(node.get("referrers") or node.get("manifests") or [])

    walk(json.loads(peer(oras, "discover", "--format", "json", *reference)).get("referrers") or [])
    return found


def test_to_a_registry_and_back(signed: t.Any, hosts: str, repository: str, tmp_path: pathlib.Path, peers: t.Any) -> None:
    layout, made = signed
    oras = peers.require("oras")
    dest = f"{hosts}/{repository}:v1"
    done = copy(f"oci:{layout}:v1", dest, referrers=True)
    assert {one["digest"] for one in done["referrers"]} == {made[name].digest for name in ("sbom", "of sbom", "of arm")}
    assert discovered(oras, "--plain-http", dest) == {made["sbom"].digest, made["of sbom"].digest}
    assert discovered(oras, "--plain-http", f"{hosts}/{repository}@{made['arm'].digest}") == {made["of arm"].digest}
    for back in (f"oci:{tmp_path}/back", f"oci:{tmp_path}/back.tar"):
        returned = copy(dest, f"{back}:v1", referrers=True)
        assert {one["digest"] for one in returned["referrers"]} == {one["digest"] for one in done["referrers"]}
        path = back[len("oci:") :]
        assert discovered(oras, "--oci-layout", f"{path}:v1") == {made["sbom"].digest, made["of sbom"].digest}


def test_between_registries_of_both_kinds(signed: t.Any, registry: t.Any, referrers_registry: t.Any, repository: str, peers: t.Any) -> None:
    layout, made = signed
    places = [f"{registry.host}/{repository}/a:v1", f"{referrers_registry.host}/{repository}/b:v1", f"{registry.host}/{repository}/c:v1"]
    source = f"oci:{layout}:v1"
    for dest in places:
        copy(source, dest, referrers=True)
        assert discovered(peers.require("oras"), "--plain-http", dest) == {made["sbom"].digest, made["of sbom"].digest}
        source = dest


def test_what_oras_attaches_later(signed: t.Any, hosts: str, repository: str, tmp_path: pathlib.Path, peers: t.Any) -> None:
    layout, _made = signed
    there, mirror = f"{hosts}/{repository}:v1", f"{hosts}/{repository}/mirror:v1"
    copy(f"oci:{layout}:v1", there, referrers=True)
    copy(there, mirror, referrers=True)
    (tmp_path / "report.txt").write_text("passed")
    oras = peers.require("oras")
    peer(oras, "attach", "--plain-http", "--artifact-type", "application/vnd.test.report", there, "report.txt", cwd=tmp_path)
    done = copy(there, mirror, referrers=True)
    assert [one["artifact_type"] for one in done["referrers"] if one["changed"]] == ["application/vnd.test.report"]
    assert done["stats"]["manifests_transferred"] == 1
    assert discovered(oras, "--plain-http", mirror) == discovered(oras, "--plain-http", there)


def test_filter_by_artifact_type(signed: t.Any, hosts: str, repository: str, peers: t.Any) -> None:
    layout, made = signed
    dest = f"{hosts}/{repository}:v1"
    done = copy(f"oci:{layout}:v1", dest, referrers=True, artifact_types=[SBOM])
    assert {one["digest"] for one in done["referrers"]} == {made["sbom"].digest, made["of sbom"].digest}
    assert discovered(peers.require("oras"), "--plain-http", f"{hosts}/{repository}@{made['arm'].digest}") == set()


def test_a_manifest_with_a_subject_is_listed_by_whoever_copies_it(signed: t.Any, registry: t.Any, repository: str, peers: t.Any) -> None:
    """distribution-spec "Pushing Manifests with Subject": without the API the client has to do it."""
    layout, made = signed
    base = f"{registry.host}/{repository}"
    copy(f"oci:{layout}:v1", f"{base}:v1")
    copy(f"oci:{layout}@{made['sbom'].digest}", f"{base}:sbom")
    assert discovered(peers.require("oras"), "--plain-http", f"{base}:v1") == {made["sbom"].digest}


def test_regctls_layouts(signed: t.Any, registry: t.Any, repository: str, tmp_path: pathlib.Path, peers: t.Any) -> None:
    """regctl lists referrers in a layout under fallback tags: read from there, and kept up there."""
    layout, made = signed
    regctl = peers.require("regctl")
    there = f"{registry.host}/{repository}:v1"
    copy(f"oci:{layout}:v1", there, referrers=True, artifact_types=[SBOM])
    peer(regctl, "registry", "set", registry.host, "--tls", "disabled")
    peer(regctl, "image", "copy", "--referrers", there, f"ocidir://{tmp_path}/regctl:v1")
    copied = copy(f"oci:{tmp_path}/regctl:v1", f"oci:{tmp_path}/ours:v1", referrers=True)
    assert {one["digest"] for one in copied["referrers"]} == {made["sbom"].digest, made["of sbom"].digest}
    late = Images(layout).referrer(made["root"], "application/vnd.test.late")
    done = copy(f"oci:{layout}:v1", f"oci:{tmp_path}/regctl:v1", referrers=True)
    assert late.digest in {one["digest"] for one in done["referrers"] if one["changed"]}
    listed = json.loads(peer(regctl, "artifact", "list", f"ocidir://{tmp_path}/regctl:v1", "--format", "{{ json . }}"))
    assert {one["digest"] for one in listed["descriptors"]} == {made["sbom"].digest, late.digest}


def test_the_corpus_with_its_referrers(registry: t.Any, referrers_registry: t.Any, repository: str, peers: t.Any) -> None:
    """zot's layout, oras's convention: what oras finds there, it finds where we copied it."""
    layout = pathlib.Path(__file__).parent / "fixtures" / "layouts" / "zot-artifacts"
    oras = peers.require("oras")
    expected = discovered(oras, "--oci-layout", f"{layout}:foobar")
    assert expected
    for host in (registry.host, referrers_registry.host):
        copy(f"oci:{layout}:foobar", f"{host}/{repository}:foobar", referrers=True)
        assert discovered(oras, "--plain-http", f"{host}/{repository}:foobar") == expected


def test_many_tags_with_referrers_and_digest_tags(hosts: str, repository: str, tmp_path: pathlib.Path, peers: t.Any) -> None:
    images = Images(tmp_path / "source")
    roots = {tag: images.image(tar_of(tag=tag), tags=[tag]) for tag in ("v1", "v2")}
    sbom = images.referrer(roots["v2"], SBOM)
    images.image(tar_of(signature="x"), tags=[f"sha256-{roots['v1'].digest.encoded}.sig"])
    done = copy(f"oci:{tmp_path}/source", f"{hosts}/{repository}", tags_matching="v[0-9]", referrers=True, digest_tags=True)
    assert {one["tag"]: one["digest"] for one in done["copies"]} == {tag: root.digest for tag, root in roots.items()}
    listed = [tag for tag in peer(peers.require("crane"), "ls", f"{hosts}/{repository}").split() if not tag.startswith("sha256-")]
    assert listed == ["v1", "v2"]
    assert peer(peers.require("crane"), "digest", f"{hosts}/{repository}:sha256-{roots['v1'].digest.encoded}.sig")
    assert discovered(peers.require("oras"), "--plain-http", f"{hosts}/{repository}:v2") == {sbom.digest}

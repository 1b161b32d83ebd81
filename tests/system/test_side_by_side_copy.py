# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same copies by oras, skopeo, crane and by us. Where a result differs, the test says how, and why (docs/differences.md)."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from support import fail, peer, succeed, tree_state

Result = t.Dict[str, t.Any]
HTTP = {"plain_http": True}


class Sources(t.NamedTuple):
    """A layout, and the same content in a registry's repository."""

    images: Images
    repository: str
    made: t.Dict[str, Descriptor]


@pytest.fixture(name="sources")
def _sources(tmp_path: pathlib.Path, registry: t.Any, repository: str) -> Sources:
    """An index of three platforms with attestations, as ``v1``; two more tags."""
    images = Images(tmp_path / "source")
    made = {
        "amd64": images.image(tar_of(arch="amd64"), tar_of(base="1")),
        "arm64": images.image(tar_of(arch="arm64"), platform="linux/arm64"),
        "arm": images.image(tar_of(arch="arm"), platform="linux/arm/v7"),
    }
    about = [images.attestation(made[name]) for name in ("amd64", "arm64", "arm")]
    made["root"] = images.index(made["amd64"], made["arm64"], made["arm"], *about, tags=["v1"])
    made["single"] = images.image(tar_of(arch="amd64"), tar_of(base="2"), tags=["v2"])
    images.image(tar_of(latest="yes"), tags=["latest"])
    name = f"{registry.host}/{repository}"
    succeed("oci_copy", {"src": f"oci:{images.layout.path}", "dest": name, "all_tags": True, "dest_registry": HTTP})
    return Sources(images, name, made)


def copy(src: str, dest: str, **options: t.Any) -> Result:
    """Check, run, run."""
    sides = {f"{side}_registry": HTTP for side, text in (("src", src), ("dest", dest)) if not text.startswith("oci")}
    arguments = {"src": src, "dest": dest, **sides, **options}
    checked = succeed("oci_copy", arguments, check=True)
    done = succeed("oci_copy", arguments)
    for one in (checked, done):
        one["stats"].pop("requests")
    same = ("changed", "digest", "tags", "copies", "diff", "dropped", "stats")
    assert {key: checked.get(key) for key in same} == {key: done.get(key) for key in same}
    assert not succeed("oci_copy", arguments)["changed"]
    return done


def blobs(layout: pathlib.Path) -> t.Set[str]:
    return {path.name for path in (layout / "blobs" / "sha256").iterdir()}


def test_registry_to_layout(sources: Sources, tmp_path: pathlib.Path, peers: t.Any) -> None:
    peer(peers.require("oras"), "cp", "--from-plain-http", "--to-oci-layout", f"{sources.repository}:v1", f"{tmp_path}/oras:v1")
    peer(peers.require("crane"), "pull", "--format=oci", f"{sources.repository}:v1", f"{tmp_path}/crane")
    done = copy(f"{sources.repository}:v1", f"oci:{tmp_path}/ours:v1")
    assert blobs(tmp_path / "ours") == blobs(tmp_path / "oras") == blobs(tmp_path / "crane")
    assert done["digest"] == sources.made["root"].digest
    # oras also leaves an empty folder "ingest" behind, and lists every manifest in index.json, in no order.
    assert (tmp_path / "oras" / "ingest").is_dir()
    assert len(json.loads((tmp_path / "oras" / "index.json").read_text())["manifests"]) > 1
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == ["blobs", "index.json", "oci-layout"]
    assert len(json.loads((tmp_path / "ours" / "index.json").read_text())["manifests"]) == 1


@pytest.mark.parametrize("platform, name", [("linux/arm64", "arm64"), ("linux/arm/v7", "arm"), ("linux/amd64", "amd64")])
def test_one_platform(platform: str, name: str, sources: Sources, tmp_path: pathlib.Path, peers: t.Any) -> None:
    theirs = f"{sources.repository}:theirs-{name}"
    peer(peers.require("crane"), "copy", "--platform", platform, f"{sources.repository}:v1", theirs)
    oras = ["cp", "--from-plain-http", "--platform", platform, "--to-oci-layout", f"{sources.repository}:v1", f"{tmp_path}/oras:v1"]
    peer(peers.require("oras"), *oras)
    done = copy(f"{sources.repository}:v1", f"{sources.repository}:ours-{name}", platforms=[platform])
    assert done["digest"] == sources.made[name].digest == peer(peers.require("crane"), "digest", theirs).strip()
    assert done["digest"] == peer(peers.require("oras"), "resolve", "--oci-layout", f"{tmp_path}/oras:v1").strip()
    assert done["source_digest"] == sources.made["root"].digest


def test_several_platforms(sources: Sources, peers: t.Any) -> None:
    crane = peers.require("crane")
    wanted = ["linux/amd64", "linux/arm64"]
    theirs = f"{sources.repository}:theirs"
    peer(crane, "index", "filter", f"{sources.repository}:v1", *(word for name in wanted for word in ("--platform", name)), "-t", theirs)
    done = copy(f"{sources.repository}:v1", f"{sources.repository}:ours", platforms=wanted)
    index = json.loads(peer(crane, "manifest", f"{sources.repository}:ours"))
    filtered = json.loads(peer(crane, "manifest", theirs))
    images = [entry["digest"] for entry in index["manifests"] if entry["platform"]["os"] != "unknown"]
    assert images == [entry["digest"] for entry in filtered["manifests"]] == [sources.made[name].digest for name in ("amd64", "arm64")]
    # crane drops the attestations of the platforms that stay; we keep them.
    about = [entry["annotations"]["vnd.docker.reference.digest"] for entry in index["manifests"][2:]]
    assert about == images and len(filtered["manifests"]) == 2
    assert done["digest"] == peer(crane, "digest", f"{sources.repository}:ours").strip() != sources.made["root"].digest
    for digest in images:
        peer(crane, "validate", "--remote", f"{sources.repository}@{digest}")


def test_the_hosts_own_platform(sources: Sources, tmp_path: pathlib.Path, peers: t.Any) -> None:
    peer(
        peers.require("skopeo"),
        "--insecure-policy",
        "copy",
        "--preserve-digests",
        f"oci:{sources.images.layout.path}:v1",
        f"dir:{tmp_path}/dir",
    )
    copy(f"{sources.repository}:v1", f"oci:{tmp_path}/ours:v1", platforms=["host"])
    theirs = json.loads((tmp_path / "dir" / "manifest.json").read_text())
    ours = Images(tmp_path / "ours")
    assert ours.json(ours.layout.resolve("v1")) == theirs


def test_docker_format(sources: Sources, tmp_path: pathlib.Path, peers: t.Any) -> None:
    skopeo = peers.require("skopeo")
    command = ["--insecure-policy", "copy", "--all", "--format", "v2s2", f"oci:{sources.images.layout.path}:v2", f"dir:{tmp_path}/dir"]
    peer(skopeo, *command)
    done = copy(f"oci:{sources.images.layout.path}:v2", f"{sources.repository}:docker", format="docker")
    assert json.loads(peer(peers.require("crane"), "manifest", f"{sources.repository}:docker")) == json.loads(
        (tmp_path / "dir" / "manifest.json").read_text()
    )
    back = copy(f"{sources.repository}:docker", f"{sources.repository}:oci", format="oci")
    assert back["digest"] == sources.made["single"].digest != done["digest"]
    many = copy(f"{sources.repository}:v1", f"{sources.repository}:docker-list", format="docker")
    # An index with attestations is refused by skopeo for v2s2; we leave the attestations out, and say so.
    refused = [
        skopeo,
        "--insecure-policy",
        "copy",
        "--all",
        "--format",
        "v2s2",
        f"oci:{sources.images.layout.path}:v1",
        f"dir:{tmp_path}/many",
    ]
    assert subprocess.run(refused, capture_output=True, check=False).returncode != 0
    assert len(many["dropped"]) == 3
    listed = json.loads(peer(peers.require("crane"), "manifest", f"{sources.repository}:docker-list"))
    assert listed["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json" and len(listed["manifests"]) == 3
    peer(peers.require("crane"), "validate", "--remote", f"{sources.repository}:docker-list")


def test_compression(sources: Sources, tmp_path: pathlib.Path, peers: t.Any) -> None:
    skopeo = peers.require("skopeo")
    command = [
        "--insecure-policy",
        "copy",
        "--dest-compress-format",
        "zstd",
        f"oci:{sources.images.layout.path}:v2",
        f"oci:{tmp_path}/skopeo:v2",
    ]
    peer(skopeo, *command)
    copy(f"{sources.repository}:v2", f"{sources.repository}:zstd", compression="zstd")
    copy(f"{sources.repository}:zstd", f"oci:{tmp_path}/ours.tar:v2")
    ours = json.loads(peer(peers.require("crane"), "manifest", f"{sources.repository}:zstd"))
    assert [layer["mediaType"].rpartition("+")[2] for layer in ours["layers"]] == ["zstd", "zstd"]
    assert ours["config"]["digest"] == sources.images.json(sources.made["single"])["config"]["digest"]
    theirs = Images(tmp_path / "skopeo")
    manifest = theirs.json(theirs.layout.resolve("v2"))
    assert [layer["mediaType"] for layer in manifest["layers"]] == [layer["mediaType"] for layer in ours["layers"]]
    # Two libraries for zstd give two digests for one content. skopeo also writes the config anew, which we do not: the image's ID stays.
    config = json.loads((tmp_path / "skopeo" / "blobs" / "sha256" / manifest["config"]["digest"].partition(":")[2]).read_text())
    assert config["rootfs"]["diff_ids"] == peer_diff_ids(peers, f"{sources.repository}:zstd")
    plain = copy(f"{sources.repository}:zstd", f"oci:{tmp_path}/plain:v2", compression="none")
    assert plain["changed"]
    unpacked = Images(tmp_path / "plain")
    layers = unpacked.json(unpacked.layout.resolve("v2"))["layers"]
    assert [layer["digest"] for layer in layers] == peer_diff_ids(peers, f"{sources.repository}:v2")


def peer_diff_ids(peers: t.Any, reference: str) -> t.List[str]:
    return json.loads(peer(peers.require("crane"), "config", reference))["rootfs"]["diff_ids"]


def test_backup_and_restore(sources: Sources, tmp_path: pathlib.Path, registry: t.Any, repository: str, peers: t.Any) -> None:
    oras, crane = peers.require("oras"), peers.require("crane")
    peer(oras, "backup", "--plain-http", "--output", tmp_path / "theirs.tar", sources.repository)
    done = copy(sources.repository, f"oci:{tmp_path}/ours.tar", all_tags=True)
    assert [one["tag"] for one in done["copies"]] == ["latest", "v1", "v2"]
    for tag in ("latest", "v1", "v2"):
        assert peer(oras, "resolve", "--oci-layout", f"{tmp_path}/ours.tar:{tag}") == peer(crane, "digest", f"{sources.repository}:{tag}")
    # Each restores what the other has backed up.
    peer(oras, "restore", "--plain-http", "--input", tmp_path / "ours.tar", f"{registry.host}/{repository}/by-oras")
    copy(f"oci:{tmp_path}/theirs.tar", f"{registry.host}/{repository}/by-us", all_tags=True)
    for where in ("by-oras", "by-us"):
        assert peer(crane, "ls", f"{registry.host}/{repository}/{where}").split() == ["latest", "v1", "v2"]
    # The same backup again is the same bytes: oras writes the tar anew, with other times.
    first = (tmp_path / "theirs.tar").read_bytes()
    peer(oras, "backup", "--plain-http", "--output", tmp_path / "theirs.tar", sources.repository)
    assert (tmp_path / "theirs.tar").read_bytes() != first
    before = tree_state(tmp_path)
    assert not succeed("oci_copy", {"src": sources.repository, "src_registry": HTTP, "dest": f"oci:{tmp_path}/ours.tar", "all_tags": True})[
        "changed"
    ]
    assert tree_state(tmp_path) == before


def test_all_tags_and_no_clobber(sources: Sources, registry: t.Any, repository: str, peers: t.Any) -> None:
    crane = peers.require("crane")
    ours = f"{registry.host}/{repository}/ours"
    peer(crane, "copy", "--all-tags", sources.repository, f"{registry.host}/{repository}/theirs")
    done = copy(sources.repository, ours, all_tags=True)
    for tag in ("latest", "v1", "v2"):
        assert peer(crane, "digest", f"{ours}:{tag}") == peer(crane, "digest", f"{registry.host}/{repository}/theirs:{tag}")
    assert done["stats"]["bytes_transferred"] and done["stats"]["blobs_mounted"] and done["stats"]["blobs_transferred"] == 0
    peer(crane, "tag", f"{ours}:v1", "v2")
    arguments = {"src": sources.repository, "dest": ours, "all_tags": True, "src_registry": HTTP, "dest_registry": HTTP}
    # crane copy --no-clobber passes over such a tag without a word; a task that says what should be there cannot.
    peer(crane, "copy", "--all-tags", "--no-clobber", sources.repository, ours)
    assert peer(crane, "digest", f"{ours}:v2") == peer(crane, "digest", f"{ours}:v1")
    message = fail("oci_copy", {**arguments, "force_tag": False})
    assert "the tag v2 names" in message and "force_tag=false" in message
    assert peer(crane, "digest", f"{ours}:v2") == peer(crane, "digest", f"{ours}:v1")


def test_nothing_to_do_is_one_look_at_each_tag(sources: Sources, tmp_path: pathlib.Path) -> None:
    copy(sources.repository, f"oci:{tmp_path}/ours", all_tags=True)
    again = succeed("oci_copy", {"src": sources.repository, "src_registry": HTTP, "dest": f"oci:{tmp_path}/ours", "all_tags": True})
    assert again["stats"]["requests"] == {"source": {"GET": 1, "HEAD": 3}, "destination": {}}


def test_prune(sources: Sources, referrers_registry: t.Any, registry: t.Any, repository: str, tmp_path: pathlib.Path, peers: t.Any) -> None:
    crane = peers.require("crane")
    dest = f"{referrers_registry.host}/{repository}"
    copy(sources.repository, dest, all_tags=True)
    for tag in ("v9", "other"):
        peer(crane, "tag", f"{dest}:v2", tag)
    done = copy(sources.repository, dest, tags_matching="v.*", prune=True)
    assert done["tags"]["v9"] == {"before": sources.made["single"].digest, "after": None}
    assert peer(crane, "ls", dest).split() == ["latest", "other", "v1", "v2"]
    for layout in (f"oci:{tmp_path}/pruned", f"oci:{tmp_path}/pruned.tar"):
        copy(sources.repository, layout, all_tags=True)
        done = copy(sources.repository, layout, tags_matching="latest|v2", prune=True)
        assert not done["changed"], "v1 does not match, so it is not this task's to remove"
        copy(f"{sources.repository}:v2", f"{layout}:v3")
        assert copy(sources.repository, layout, all_tags=True, prune=True)["tags"]["v3"]["after"] is None
    there = f"{registry.host}/{repository}/kept"
    copy(sources.repository, there, all_tags=True)
    peer(crane, "tag", f"{there}:v2", "old")
    arguments = {"src": sources.repository, "src_registry": HTTP, "dest": there, "dest_registry": HTTP, "all_tags": True, "prune": True}
    assert "this registry does not delete single tags" in fail("oci_copy", arguments)
    assert peer(crane, "digest", f"{there}:v2").strip() == sources.made["single"].digest
    nothing = {**arguments, "all_tags": False, "tags_matching": "semver:>=5"}  # a switch that is off is not given
    assert "prune would remove all" in fail("oci_copy", nothing)


def test_deep_repairs(sources: Sources, registry: t.Any, repository: str, tmp_path: pathlib.Path) -> None:
    # Content that no other test has: it stays damaged in the registry.
    image = sources.images.image(tar_of(only=repository), tags=["v2"])
    copy(f"oci:{sources.images.layout.path}:v2", f"{sources.repository}:v2")
    layer = sources.images.json(image)["layers"][0]["digest"].partition(":")[2]
    copy(f"{sources.repository}:v2", f"oci:{tmp_path}/ours:v2")
    blob = tmp_path / "ours" / "blobs" / "sha256" / layer
    blob.chmod(0o644)
    blob.write_bytes(bytes(blob.stat().st_size))
    assert not succeed("oci_copy", {"src": f"{sources.repository}:v2", "src_registry": HTTP, "dest": f"oci:{tmp_path}/ours:v2"})["changed"]
    done = copy(f"{sources.repository}:v2", f"oci:{tmp_path}/ours:v2", deep=True)
    assert done["stats"]["blobs_transferred"] == 1 and "repaired" in done["diff"]["after"]
    dest = f"{registry.host}/{repository}/damaged:v2"
    copy(f"oci:{sources.images.layout.path}:v2", dest)
    stored = next(pathlib.Path(registry.folder).rglob(f"{layer}/data"))
    stored.unlink()
    done = copy(f"oci:{sources.images.layout.path}:v2", dest, deep=True)
    assert done["stats"]["blobs_transferred"] == 1
    stored.write_bytes(bytes(stored.stat().st_size))
    arguments = {"src": f"oci:{sources.images.layout.path}:v2", "dest": dest, "dest_registry": HTTP, "deep": True}
    message = fail("oci_copy", arguments)
    assert "the store keeps what it has" in message and layer in message


WRONG: t.List[t.Tuple[Result, str]] = [
    ({"platforms": ["linux"]}, "not a platform"),
    ({"platforms": ["linux/riscv64"]}, "has nothing for linux/riscv64 (it has linux/amd64, linux/arm64, linux/arm/v7)"),
    ({"referrers": True, "format": "docker"}, "referrers belong to the digest"),
    ({"artifact_types": ["a/b"]}, "needs referrers"),
    ({"compression_level": 3}, "compression_level needs compression"),
    ({"compression": "gzip", "compression_level": 10}, "it has the levels 1 to 9"),
    ({"compression": "none", "compression_level": 1}, "it has no levels"),
    ({"prune": True}, "prune needs all_tags or tags_matching"),
    ({"all_tags": True}, "copy tags under their own names"),
    ({"tags_matching": "("}, "copy tags under their own names"),
    ({"tags_matching": "v1", "all_tags": True}, "all_tags and tags_matching exclude each other"),
]


@pytest.mark.parametrize("options, says", WRONG, ids=[str(sorted(options)) for options, _says in WRONG])
def test_wrong_options(options: Result, says: str, sources: Sources, tmp_path: pathlib.Path) -> None:
    arguments = {"src": f"oci:{sources.images.layout.path}:v1", "dest": f"oci:{tmp_path}/dest:v1", **options}
    for check in (True, False):
        assert says in fail("oci_copy", arguments, check)
    assert not (tmp_path / "dest").exists()

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What we write the other tools read, what they write we read, and the digests are equal on both sides."""

from __future__ import annotations

import json
import os
import pathlib
import tarfile
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.options import RegistryOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.repository import Repository, open_repository
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, reference
from support import peer, succeed

HTTP = {"plain_http": True}
LAYOUTS = pathlib.Path(__file__).parent / "fixtures" / "layouts"
SKOPEO = ("--insecure-policy",)
FORMS = pytest.mark.parametrize("suffix", ["", ".tar"], ids=["folder", "tar"])


@pytest.fixture(name="sources")
def _sources(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "rootfs" / "bin").mkdir(parents=True)
    (tmp_path / "rootfs" / "bin" / "hello").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "rootfs" / "bin" / "hello").chmod(0o755)
    (tmp_path / "rootfs" / "link").symlink_to("bin/hello")
    (tmp_path / "site.conf").write_text("listen 80 & <more>\n")
    (tmp_path / "assets" / "inner").mkdir(parents=True)
    (tmp_path / "assets" / "inner" / "a.txt").write_text("a")
    (tmp_path / "assets" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "assets" / "run").chmod(0o755)
    return tmp_path


def build_image(folder: pathlib.Path, suffix: str, platform: str = "linux/amd64") -> t.Tuple[pathlib.Path, str]:
    path = folder / f"image{suffix}"
    options = {"path": str(path), "tag": "v1", "platform": platform, "layers": [{"src": str(folder / "rootfs") + "/"}]}
    return path, succeed("oci_layout_build", options)["digest"]


@FORMS
class TestOurs:
    def test_skopeo_reads_it(self, sources: pathlib.Path, suffix: str, peers: t.Any) -> None:
        path, digest = build_image(sources, suffix)
        transport = "oci-archive" if suffix else "oci"
        found = json.loads(peer(peers.require("skopeo"), "inspect", f"{transport}:{path}:v1"))
        assert found["Digest"] == digest and found["Architecture"] == "amd64"
        copied = sources / "by-skopeo"
        preserve = ("copy", "--preserve-digests", f"{transport}:{path}:v1", f"oci:{copied}:v1")
        peer(peers.require("skopeo"), *SKOPEO, *preserve)
        assert Layout(str(copied)).resolve("v1").digest == digest

    def test_oras_reads_it(self, sources: pathlib.Path, suffix: str, peers: t.Any, registry: t.Any, repository: str) -> None:
        path, digest = build_image(sources, suffix)
        oras = peers.require("oras")
        dest = f"{registry.host}/{repository}:v1"
        copied = peer(oras, "cp", "--to-plain-http", "--from-oci-layout", f"{path}:v1", dest)
        assert f"Digest: {digest}" in copied
        unchanged = succeed("oci_copy", {"src": f"oci:{path}:v1", "dest": dest, "dest_registry": HTTP})
        assert not unchanged["changed"], "what oras copied is what we would have"

    def test_oras_pulls_our_artifact(self, sources: pathlib.Path, suffix: str, peers: t.Any) -> None:
        files = [{"src": "site.conf"}, {"src": "assets/"}]
        succeed("oci_layout_build", {"path": f"site{suffix}", "tag": "v1", "files": files}, cwd=sources)
        peer(peers.require("oras"), "pull", "--oci-layout", f"site{suffix}:v1", "-o", "out", cwd=sources)
        assert (sources / "out" / "site.conf").read_text() == "listen 80 & <more>\n"
        assert (sources / "out" / "assets" / "inner" / "a.txt").read_text() == "a"
        assert os.access(sources / "out" / "assets" / "run", os.X_OK)


def test_umoci_unpacks_our_image(sources: pathlib.Path, peers: t.Any) -> None:
    path, _digest = build_image(sources, "")
    umoci = peers.require("umoci")
    assert peer(umoci, "list", "--layout", path).split() == ["v1"]
    peer(umoci, "unpack", "--rootless", "--image", f"{path}:v1", sources / "bundle")
    assert (sources / "bundle" / "rootfs" / "bin" / "hello").read_text() == "#!/bin/sh\necho hello\n"
    assert os.readlink(sources / "bundle" / "rootfs" / "link") == "bin/hello"


def test_every_peer_reads_our_repository(sources: pathlib.Path, peers: t.Any, registry: t.Any, repository: str) -> None:
    path, digest = build_image(sources, ".tar")
    dest = f"{registry.host}/{repository}:v1"
    succeed("oci_copy", {"src": f"oci:{path}:v1", "dest": dest, "dest_registry": HTTP})
    assert peer(peers.require("crane"), "digest", "--insecure", dest).strip() == digest
    peer(peers.require("crane"), "validate", "--insecure", "--remote", dest)
    skopeo = json.loads(peer(peers.require("skopeo"), "inspect", "--tls-verify=false", f"docker://{dest}"))
    assert skopeo["Digest"] == digest
    assert digest in peer(peers.require("oras"), "manifest", "fetch", "--plain-http", "--descriptor", dest)


def test_the_same_artifact_has_the_digest_that_oras_gives_it(sources: pathlib.Path, peers: t.Any) -> None:
    created = "2026-11-23T20:51:00Z"
    pushed = ("push", "--oci-layout", "theirs:v1", "--artifact-type", "application/vnd.example.v1")
    annotation = ("--annotation", f"org.opencontainers.image.created={created}", "--annotation", "note=<a> & b")
    peer(peers.require("oras"), *pushed, *annotation, "site.conf:text/plain", "rootfs/bin/hello", cwd=sources)
    options = {
        "artifact_type": "application/vnd.example.v1",
        "files": [{"src": "site.conf", "media_type": "text/plain"}, {"src": "rootfs/bin/hello"}],
        "annotations": {"note": "<a> & b"},
        "created": created,
    }
    ours = succeed("oci_layout_build", {"path": "ours", "tag": "v1", **options}, cwd=sources)
    assert ours["digest"] == Layout(str(sources / "theirs")).resolve("v1").digest


def test_we_pull_what_oras_pushed(sources: pathlib.Path, peers: t.Any, registry: t.Any, repository: str) -> None:
    dest = f"{registry.host}/{repository}:v1"
    peer(peers.require("oras"), "push", "--plain-http", dest, "site.conf:text/plain", "assets/", cwd=sources)
    arguments = {"src": dest, "src_registry": HTTP, "dest": str(sources / "out")}
    assert succeed("oci_pull", arguments)["changed"]
    assert (sources / "out" / "site.conf").read_text() == "listen 80 & <more>\n"
    assert (sources / "out" / "assets" / "inner" / "a.txt").read_text() == "a"
    assert os.access(sources / "out" / "assets" / "run", os.X_OK)
    assert not succeed("oci_pull", arguments)["changed"]


def test_we_read_what_skopeo_wrote(sources: pathlib.Path, peers: t.Any) -> None:
    path, digest = build_image(sources, ".tar")
    theirs = sources / "theirs.tar"
    peer(peers.require("skopeo"), *SKOPEO, "copy", "--preserve-digests", f"oci-archive:{path}:v1", f"oci-archive:{theirs}:x:v2")
    copied = succeed("oci_copy", {"src": f"oci:{theirs}", "src_ref": "x:v2", "dest": f"oci:{sources}/back:v2"})
    assert copied["digest"] == digest


def test_we_read_what_umoci_wrote(sources: pathlib.Path, peers: t.Any) -> None:
    umoci = peers.require("umoci")
    peer(umoci, "init", "--layout", sources / "theirs")
    peer(umoci, "new", "--image", f"{sources}/theirs:v1")
    peer(umoci, "insert", "--rootless", "--image", f"{sources}/theirs:v1", sources / "rootfs", "/")
    copied = succeed("oci_copy", {"src": f"oci:{sources}/theirs:v1", "dest": f"oci:{sources}/back.tar:v1"})
    found = peer(peers.require("skopeo"), "inspect", "--format", "{{.Digest}}", f"oci-archive:{sources}/back.tar:v1")
    assert found.strip() == copied["digest"]


def test_we_read_what_crane_and_oras_wrote(sources: pathlib.Path, peers: t.Any, registry: t.Any, repository: str) -> None:
    """Two platforms become an index in the registry by crane; crane and oras save it as layouts; all have one digest."""
    crane, dest = peers.require("crane"), f"{registry.host}/{repository}"
    children = []
    for platform in ("linux/amd64", "linux/arm64"):
        path, _digest = build_image(sources, ".tar", platform)
        tag = platform.rpartition("/")[2]
        succeed("oci_copy", {"src": f"oci:{path}:v1", "dest": f"{dest}:{tag}", "dest_registry": HTTP})
        children += ["-m", f"{dest}:{tag}"]
    peer(crane, "index", "append", "--insecure", *children, "-t", f"{dest}:multi")
    digest = peer(crane, "digest", "--insecure", f"{dest}:multi").strip()
    peer(crane, "pull", "--insecure", "--format=oci", f"{dest}:multi", sources / "by-crane")
    peer(peers.require("oras"), "cp", "--from-plain-http", "--to-oci-layout", f"{dest}:multi", f"{sources}/by-oras:multi")
    for src in (f"oci:{sources}/by-crane", f"oci:{sources}/by-oras:multi", f"{dest}:multi"):
        options = {} if src.startswith("oci:") else {"src_registry": HTTP}
        copied = succeed("oci_copy", {"src": src, "dest": f"oci:{sources}/ours.tar:multi", **options})
        assert copied["digest"] == digest
    peer(peers.require("oras"), "cp", "--from-oci-layout", "--to-oci-layout", f"{sources}/ours.tar:multi", f"{sources}/again:multi")
    assert Layout(str(sources / "again")).resolve("multi").digest == digest


def test_an_extracted_and_packed_layout_is_read(sources: pathlib.Path) -> None:
    """``tar cf x.tar ./`` of a layout: prefixes, and an order of its own (oras-go#851)."""
    path, digest = build_image(sources, "")
    with tarfile.open(sources / "packed.tar.gz", "w:gz") as archive:
        archive.add(path, arcname="./")
    assert Archive(str(sources / "packed.tar.gz")).resolve("v1").digest == digest


BUILDKIT = LAYOUTS.parent / "buildkit"


@pytest.mark.parametrize("name", ["two-names.tar", "two-platforms"])
@pytest.mark.parametrize("ref", ["v1", "docker.io/library/hello-world:v1", "docker.io/library/other:v1"])
def test_we_read_what_buildkit_wrote(name: str, ref: str, tmp_path: pathlib.Path, peers: t.Any, registry: t.Any, repository: str) -> None:
    """The same ref.name twice, for two image names with one tag; an index with attestations."""
    dest = f"{registry.host}/{repository}:v1"
    arguments = {"src": f"oci:{BUILDKIT / name}", "src_ref": ref, "dest": dest, "dest_registry": HTTP}
    done = succeed("oci_copy", arguments)
    assert not succeed("oci_copy", arguments)["changed"]
    assert f"Digest: {done['digest']}" in peer(
        peers.require("oras"), "cp", "--from-oci-layout", "--to-plain-http", f"{BUILDKIT / name}:v1", f"{dest}-by-oras"
    )
    pulled = succeed("oci_pull", {"src": f"oci:{BUILDKIT / name}", "src_ref": ref, "dest": str(tmp_path / "files")})
    assert not pulled["changed"] and "lading.oci.oci_copy" in pulled["msg"]


def corpus() -> t.Iterator[t.Any]:
    for folder in ("zot-artifacts", "zot-images", "regclient-testrepo"):
        for name in Layout(str(LAYOUTS / folder)).index.names:
            yield pytest.param(folder, name, id=f"{folder}-{name[:24]}")


@pytest.mark.parametrize("folder, name", list(corpus()))
def test_real_layouts_go_to_a_registry_and_back(
    folder: str, name: str, tmp_path: pathlib.Path, peers: t.Any, registry: t.Any, repository: str
) -> None:
    source = Layout(str(LAYOUTS / folder))
    root = source.resolve(name)
    there = opened(f"{registry.host}/{repository}")
    apply_copy(plan_copy(source, root, there, [name]), source, there)
    assert there.resolve(name) == root
    assert not plan_copy(source, root, opened(f"{registry.host}/{repository}"), [name]).changed
    for target in (Layout(str(tmp_path / "back")), Archive(str(tmp_path / "back.tar"))):
        again = opened(f"{registry.host}/{repository}")
        apply_copy(plan_copy(again, again.resolve(name), target, ["back"]), again, target)
        assert target.resolve("back").digest == root.digest
        for desc in target._reachable([target.resolve("back")]):
            if not mediatype.is_nondistributable(desc.media_type):
                assert target.fetch_bytes(desc) == source.fetch_bytes(desc)
    fetched = peer(peers.require("oras"), "manifest", "fetch", "--plain-http", "--descriptor", f"{registry.host}/{repository}:{name}")
    assert root.digest in fetched


def opened(name: str) -> Repository:
    parsed = reference.parse(name)
    assert isinstance(parsed, reference.RegistryReference)
    return open_repository(parsed, RegistryOptions(plain_http=True), lambda text: None)

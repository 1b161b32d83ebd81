# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same image by umoci, by crane and by us: the same files, modes and config, however it is compressed and dated."""

from __future__ import annotations

import gzip
import io
import json
import os
import pathlib
import tarfile
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.codec import plain
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest
from support import Result, fail, peer, run_module, succeed, tree_state

HTTP = {"plain_http": True}
BUILDKIT = pathlib.Path(__file__).parent / "fixtures" / "buildkit"
FOLDERS = pytest.mark.parametrize("form", ["folder", "tar", "registry"])


@pytest.fixture(name="sources")
def _sources(tmp_path: pathlib.Path) -> pathlib.Path:
    rootfs = tmp_path / "rootfs"
    for folder in ("etc", "usr/bin", "var/cache/apt"):
        (rootfs / folder).mkdir(parents=True)
    (rootfs / "etc" / "motd").write_text("welcome\n")
    (rootfs / "usr" / "bin" / "hello").write_text("#!/bin/sh\n")
    (rootfs / "usr" / "bin" / "hello").chmod(0o4755)
    os.link(rootfs / "usr" / "bin" / "hello", rootfs / "usr" / "bin" / "hi")
    (rootfs / "bin").symlink_to("usr/bin")
    (rootfs / "var" / "cache" / "apt" / "list").write_text("a")
    app = tmp_path / "app"
    (app / "share").mkdir(parents=True)
    (app / "share" / "data").write_text("data")
    (app / "run").write_text("#!/bin/sh\n")
    (app / "run").chmod(0o750)
    (tmp_path / "add.tar").write_bytes(packed(app))
    return tmp_path


def packed(folder: pathlib.Path) -> bytes:
    """What a person gives ``crane append``."""
    written = io.BytesIO()

    def of_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(fileobj=written, mode="w") as archive:
        archive.add(folder, arcname="opt/app", filter=of_root)
    return written.getvalue()


def build(path: t.Union[str, pathlib.Path], **arguments: t.Any) -> Result:
    """Check mode, then the run, then once more: the three agree."""
    given = {"path": str(path), "tag": "v1", **arguments}
    checked = succeed("oci_layout_build", given, check=True)
    done = succeed("oci_layout_build", given)
    assert (checked["digest"], checked["changed"], checked["diff"]) == (done["digest"], done["changed"], done["diff"])
    again = succeed("oci_layout_build", given)
    assert not again["changed"] and again["digest"] == done["digest"]
    return {**done, "again": again}


def base(sources: pathlib.Path) -> pathlib.Path:
    path = sources / "base"
    config = {"env": {"PATH": "/usr/bin", "LANG": "C"}, "cmd": ["hello"], "labels": {"base": "1"}}
    layers = [{"src": f"{sources}/rootfs"}]
    succeed("oci_layout_build", {"path": str(path), "tag": "v1", "platform": "linux/amd64", "layers": layers, "config": config})
    return path


class Image:
    """One image of a layout folder, as it is read by hand."""

    def __init__(self, path: pathlib.Path, tag: str = "v1") -> None:
        self.layout = Layout(str(path))
        self.root = self.layout.resolve(tag)
        self.manifest = manifest.parse(self.root, self.layout.fetch_bytes(self.root))
        assert self.manifest.config is not None
        self.config = json.loads(self.layout.fetch_bytes(self.manifest.config))

    def layer(self, number: int) -> t.Dict[str, tarfile.TarInfo]:
        desc = self.manifest.layers[number]
        stream = plain(io.BytesIO(self.layout.fetch_bytes(desc)), "a layer")
        # umoci leaves out the records that end a tar.
        content = b"".join(iter(lambda: stream.read(1024 * 1024), b"")) + bytes(1024)
        with tarfile.open(fileobj=io.BytesIO(content)) as opened:
            return {info.name.strip("./"): info for info in opened if info.name.strip("./")}


def unpacked(peers: t.Any, image: pathlib.Path, bundle: pathlib.Path) -> t.Dict[str, t.Tuple[int, str]]:
    """Mode and content of all that umoci makes of an image."""
    peer(peers.require("umoci"), "unpack", "--rootless", "--image", f"{image}:v1", bundle)
    found = {}
    for path in sorted((bundle / "rootfs").rglob("*")):
        mode = path.lstat().st_mode
        content = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(bundle / "rootfs"))] = (mode, content)
    assert found
    return found


def test_umoci_makes_the_same_of_files_config_and_whiteouts(sources: pathlib.Path, peers: t.Any) -> None:
    umoci, theirs = peers.require("umoci"), sources / "theirs"
    peer(umoci, "init", "--layout", theirs)
    peer(umoci, "new", "--image", f"{theirs}:v1")
    peer(umoci, "insert", "--rootless", "--image", f"{theirs}:v1", sources / "rootfs", "/")
    peer(umoci, "insert", "--rootless", "--image", f"{theirs}:v1", "--whiteout", "/var/cache/apt")
    peer(umoci, "insert", "--rootless", "--image", f"{theirs}:v1", sources / "app", "/opt/app")
    options = ("--config.env", "LANG=C.UTF-8", "--config.cmd", "hello", "--config.user", "1000", "--config.workingdir", "/opt")
    more = ("--config.label", "team=a", "--config.exposedports", "80/tcp", "--config.volume", "/data", "--config.stopsignal", "SIGINT")
    peer(umoci, "config", "--image", f"{theirs}:v1", *options, *more)
    layers = [
        {"src": f"{sources}/rootfs"},
        {"dest": "/var/cache/apt", "state": "absent"},
        {"src": f"{sources}/app", "dest": "/opt/app"},
    ]
    config = {"env": {"LANG": "C.UTF-8"}, "cmd": ["hello"], "user": "1000", "working_dir": "/opt", "labels": {"team": "a"}}
    config = {**config, "exposed_ports": ["80/tcp"], "volumes": ["/data"], "stop_signal": "SIGINT"}
    build(sources / "ours", layers=layers, config=config)
    ours, other = Image(sources / "ours"), Image(theirs)
    # Digests differ: umoci stamps the time of the day, and the mtimes of the files.
    assert ours.config["config"] == other.config["config"]
    assert len(ours.manifest.layers) == len(other.manifest.layers) == 3
    assert unpacked(peers, sources / "ours", sources / "a") == unpacked(peers, theirs, sources / "b")
    assert not (sources / "a" / "rootfs" / "var" / "cache" / "apt").exists()
    whiteouts = [{name: (info.mode, info.size, info.type) for name, info in image.layer(1).items()} for image in (ours, other)]
    assert whiteouts[0] == whiteouts[1] == {"var/cache/.wh.apt": (0, 0, tarfile.REGTYPE)}


def test_crane_makes_the_same_on_a_base(sources: pathlib.Path, peers: t.Any, registry: t.Any, repository: str) -> None:
    crane, name = peers.require("crane"), f"{registry.host}/{repository}"
    succeed("oci_copy", {"src": f"oci:{base(sources)}:v1", "dest": f"{name}:base", "dest_registry": HTTP})
    peer(crane, "append", "--insecure", "-b", f"{name}:base", "-f", sources / "add.tar", "-t", f"{name}:appended")
    words = ("--env", "LANG=C.UTF-8", "--env", "A=1", "--entrypoint", "/opt/app/run", "--label", "team=a", "--user", "1000")
    peer(
        crane, "mutate", "--insecure", *words, "--workdir", "/opt", "--exposed-ports", "80/tcp", "-t", f"{name}:theirs", f"{name}:appended"
    )
    succeed("oci_copy", {"src": f"{name}:theirs", "dest": f"oci:{sources}/theirs:v1", "src_registry": HTTP})
    config = {"env": {"LANG": "C.UTF-8", "A": "1"}, "entrypoint": ["/opt/app/run"], "labels": {"team": "a"}, "user": "1000"}
    config = {**config, "working_dir": "/opt", "exposed_ports": ["80/tcp"]}
    layers = [{"src": str(sources / "add.tar")}]
    done = build(sources / "ours", base=f"{name}:base", base_registry=HTTP, layers=layers, config=config)
    ours, theirs = Image(sources / "ours"), Image(sources / "theirs")
    # Digests differ: crane's gzip is Go's, and it writes no step for a changed config.
    assert ours.config["rootfs"] == theirs.config["rootfs"]
    assert ours.manifest.layers[0] == theirs.manifest.layers[0]
    assert ours.config["config"] == theirs.config["config"]
    assert unpacked(peers, sources / "ours", sources / "a") == unpacked(peers, sources / "theirs", sources / "b")
    assert done["again"]["stats"]["requests"]["source"] == {"HEAD": 1, "GET": 2}
    succeed("oci_copy", {"src": f"oci:{sources}/ours:v1", "dest": f"{name}:ours", "dest_registry": HTTP})
    peer(crane, "validate", "--insecure", "--remote", f"{name}:ours")
    skopeo = peers.require("skopeo")
    inspected = json.loads(peer(skopeo, "inspect", "--tls-verify=false", f"docker://{name}:ours"))
    assert inspected["Digest"] == done["digest"] and inspected["Labels"] == {"base": "1", "team": "a"}
    filesystems = []
    for tag in ("ours", "theirs"):
        peer(crane, "export", "--insecure", f"{name}:{tag}", sources / f"{tag}.export")
        with tarfile.open(sources / f"{tag}.export") as opened:
            filesystems.append({info.name: (info.mode, info.type, info.linkname, info.size) for info in opened})
    assert filesystems[0] == filesystems[1]


@FOLDERS
def test_every_kind_of_base(form: str, sources: pathlib.Path, peers: t.Any, registry: t.Any, repository: str) -> None:
    path, name = base(sources), f"{registry.host}/{repository}:v1"
    more: t.Dict[str, t.Any] = {}
    if form == "folder":
        text = f"oci:{path}:v1"
    elif form == "tar":
        text = f"oci-archive:{sources}/base.tar:v1"
        succeed("oci_copy", {"src": f"oci:{path}:v1", "dest": text})
    else:
        text, more = name, {"registries": [{"host": registry.host, "plain_http": True}]}
        succeed("oci_copy", {"src": f"oci:{path}:v1", "dest": text, "dest_registry": HTTP})
    layers = [{"src": f"{sources}/app", "dest": "/opt/app"}]
    done = {end: build(sources / f"ours{end}", base=text, layers=layers, **more) for end in ("", ".tar")}
    assert done[""]["digest"] == done[".tar"]["digest"] and done[""]["base"] == Layout(str(path)).resolve("v1").digest
    assert done[""]["stats"]["blobs_transferred"] == 3
    again = done[".tar"]["again"]["stats"]
    assert again["bytes_transferred"] == 0
    assert again["requests"] == {"source": {"HEAD": 1, "GET": 2} if form == "registry" else {}, "destination": {}}
    assert unpacked(peers, sources / "ours", sources / "bundle")["opt/app/share/data"][1] == "data"
    found = json.loads(peer(peers.require("skopeo"), "inspect", "--config", f"oci-archive:{sources}/ours.tar:v1"))
    assert found["config"]["Cmd"] == ["hello"] and len(found["rootfs"]["diff_ids"]) == 2


def test_a_base_in_the_same_layout(sources: pathlib.Path) -> None:
    path = base(sources)
    layers = [{"src": f"{sources}/app", "dest": "/opt/app"}]
    done = build(path, tag="v2", base=f"oci:{path}", base_ref="v1", layers=layers)
    assert done["stats"]["blobs_present"] == 1 and done["tags"]["v2"]["before"] is None
    says = fail("oci_layout_build", {"path": str(path), "tag": "v1", "base": f"oci:{path}:v1", "layers": layers})
    assert "is the ref that is built" in says


@pytest.mark.parametrize("name", ["two-platforms", "two-names.tar"])
def test_a_base_of_several_platforms(name: str, sources: pathlib.Path, peers: t.Any) -> None:
    """As BuildKit writes them, attestations and all."""
    arguments = {"base": f"oci:{BUILDKIT / name}", "base_ref": "docker.io/library/hello-world:v1", "config": {"user": "5"}}
    platforms = ("linux/amd64", "linux/arm64") if name == "two-platforms" else ("linux/amd64",)
    for platform in platforms:
        path = sources / platform.replace("/", "-")
        build(path, platform=platform, **arguments)
        found = json.loads(peer(peers.require("skopeo"), "inspect", "--config", f"oci:{path}:v1"))
        assert found["architecture"] == platform.partition("/")[2] and found["config"]["User"] == "5"
    says = fail("oci_layout_build", {"path": f"{sources}/none", "tag": "v1", "platform": "linux/s390x", **arguments})
    assert "linux/s390x" in says and "base oci:" in says and not (sources / "none").exists()


def test_a_docker_base_and_zstd(sources: pathlib.Path, peers: t.Any, registry: t.Any, repository: str) -> None:
    """skopeo converts to Docker's types for us; our zstd layer goes through crane, skopeo's and umoci's hands."""
    skopeo, name = peers.require("skopeo"), f"{registry.host}/{repository}"
    options = ("--insecure-policy", "copy", "--dest-tls-verify=false", "--format", "v2s2")
    peer(skopeo, *options, f"oci:{base(sources)}:v1", f"docker://{name}:docker")
    layers = [{"src": f"{sources}/app", "dest": "/opt/app", "compression": "zstd", "compression_level": 9}]
    build(sources / "ours", base=f"{name}:docker", base_registry=HTTP, layers=layers)
    raw = json.loads(peer(skopeo, "inspect", "--raw", f"oci:{sources}/ours:v1"))
    kinds = [layer["mediaType"].rpartition(".")[2] for layer in raw["layers"]]
    assert kinds == ["tar+gzip", "tar+zstd"] and "docker" not in json.dumps(raw)
    succeed("oci_copy", {"src": f"oci:{sources}/ours:v1", "dest": f"{name}:ours", "dest_registry": HTTP})
    peer(peers.require("crane"), "export", "--insecure", f"{name}:ours", sources / "export.tar")
    with tarfile.open(sources / "export.tar") as opened:
        assert opened.getmember("opt/app/run").mode == 0o750
    peer(skopeo, "--insecure-policy", "copy", f"oci:{sources}/ours:v1", f"oci:{sources}/by-skopeo:v1")


def test_a_base_that_an_earlier_task_would_make(sources: pathlib.Path) -> None:
    arguments = {"path": f"{sources}/ours", "tag": "v1", "base": f"oci:{sources}/later:v1", "config": {"user": "5"}}
    before = tree_state(sources)
    checked = run_module("oci_layout_build", arguments, check=True)
    assert checked["changed"] and checked["digest"] is None and "is not there: check mode takes it" in str(checked["warnings"])
    assert tree_state(sources) == before
    assert "base oci:" in fail("oci_layout_build", arguments) and tree_state(sources) == before


def test_extended_attributes_arrive(sources: pathlib.Path, peers: t.Any) -> None:
    value = b"any \xff bytes"
    try:
        os.setxattr(sources / "app" / "run", "user.note", value)
    except OSError:
        pytest.skip("this file system has no extended attributes")
    for xattrs in (True, False):
        path = sources / f"ours-{xattrs}"
        build(path, layers=[{"src": f"{sources}/app", "xattrs": xattrs}])
        unpacked(peers, path, sources / f"bundle-{xattrs}")
        run = sources / f"bundle-{xattrs}" / "rootfs" / "run"
        assert [os.getxattr(run, name) for name in os.listxattr(run) if name == "user.note"] == ([value] if xattrs else [])


@pytest.mark.parametrize(
    "given, says",
    [
        ({"base": "debian:12"}, "not a fully qualified reference"),
        ({"base": "oci:/nowhere:v1"}, "base oci:/nowhere:v1: "),
        ({"base": "oci:/nowhere:v1", "base_registry": {}}, "registry options are given, but this side is a layout"),
        ({"base_ref": "v1"}, "base_ref belongs to base, which is not given"),
        (
            {"base": "localhost:5000/a:1", "files": [{"src": "/etc/hosts"}]},
            "config makes an image, files and artifact_type",
        ),
        ({"layers": [{"state": "absent", "dest": "/"}]}, "layers[0] has state absent and needs a dest"),
        ({"layers": [{"src": "/etc", "compression": "xz"}]}, "value of compression must be one of"),
    ],
)
def test_what_cannot_be_done_is_said(sources: pathlib.Path, given: t.Dict[str, t.Any], says: str) -> None:
    assert says in fail("oci_layout_build", {"path": str(sources / "new"), "tag": "v1", "config": {"cmd": ["x"]}, **given})
    assert not (sources / "new").exists()


def test_a_given_tar_is_kept_byte_for_byte(sources: pathlib.Path, peers: t.Any) -> None:
    """crane append takes it so too."""
    blob = gzip.compress((sources / "add.tar").read_bytes(), 1, mtime=0)
    (sources / "add.tar.gz").write_bytes(blob)
    build(sources / "ours", layers=[{"src": f"{sources}/add.tar.gz"}])
    peer(
        peers.require("crane"), "append", "--oci-empty-base", "-f", sources / "add.tar.gz", "-o", sources / "theirs.tar", "-t", "local/x:v1"
    )
    with tarfile.open(sources / "theirs.tar") as opened:
        names = [member.name for member in opened.getmembers() if member.name.endswith(".tar.gz")]
        assert len(names) == 1 and t.cast(t.IO[bytes], opened.extractfile(names[0])).read() == blob
    assert Image(sources / "ours").layout.fetch_bytes(Image(sources / "ours").manifest.layers[0]) == blob


def test_a_layer_of_many_blocks_is_read_by_everybody(sources: pathlib.Path, peers: t.Any) -> None:
    """Compressed blocks and stored ones, of small files and of large ones."""
    tree = sources / "many"
    (tree / "small").mkdir(parents=True)
    for number in range(400):
        (tree / "small" / f"{number}").write_text(f"{number} is a number\n" * 200)
    (tree / "text").write_text("".join(f"{number:x} " for number in range(600_000)))
    (tree / "random").write_text(os.urandom(1_500_000).hex())
    (tree / "bytes").write_bytes(os.urandom(2_000_000))
    build(sources / "ours", layers=[{"src": str(tree)}])
    image = Image(sources / "ours")
    peer(peers.require("umoci"), "unpack", "--rootless", "--image", f"{sources}/ours:v1", sources / "bundle")
    for path in sorted(tree.rglob("*")):
        assert path.is_dir() or (sources / "bundle" / "rootfs" / path.relative_to(tree)).read_bytes() == path.read_bytes()
    # Docker's archives have plain layers, by their diff_ids: skopeo inflates ours, and checks.
    peer(peers.require("skopeo"), "copy", "--insecure-policy", f"oci:{sources}/ours:v1", f"docker-archive:{sources}/saved.tar:app:v1")
    with tarfile.open(sources / "saved.tar") as saved:
        names = saved.getnames()
    assert f"{image.config['rootfs']['diff_ids'][0].partition(':')[2]}.tar" in names
    blob = sources / "ours" / "blobs" / "sha256" / image.manifest.layers[0].digest.encoded
    assert gzip.decompress(blob.read_bytes())[-1024:] == bytes(1024)
    peer(peers.require("busybox"), "gunzip", "-t", blob)


def unpacked_layers(path: pathlib.Path) -> t.List[bytes]:
    image = Image(path)
    return [gzip.decompress(image.layout.fetch_bytes(desc)) for desc in image.manifest.layers]


def test_again_with_one_file_changed(sources: pathlib.Path) -> None:
    """What is not read again makes no difference: neither to the answer, nor in check mode."""
    layers = [{"src": f"{sources}/rootfs"}, {"src": f"{sources}/app", "dest": "/opt/app"}]
    for number in range(300):
        (sources / "app" / "share" / f"{number}").write_text(f"{number}\n" * 3000)
    assert build(sources / "ours", layers=layers)["changed"] and not build(sources / "ours", layers=layers)["changed"]
    (sources / "app" / "share" / "77").write_text("other\n")
    done, fresh = build(sources / "ours", layers=layers), build(sources / "fresh", layers=layers, checksum=True)
    assert done["changed"] and done["digest"] == fresh["digest"]
    assert unpacked_layers(sources / "ours") == unpacked_layers(sources / "fresh")
    assert not build(sources / "ours", layers=layers, checksum=True)["changed"]

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""layer, given, pack and build_options together: from files and options to an image or artifact."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pathlib
import socket
import tarfile
import typing as t
import zlib

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci import layer
from ansible_collections.lading.oci.plugins.module_utils._oci.base import load_base
from ansible_collections.lading.oci.plugins.module_utils._oci.build_options import BuildOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.content import codec
from ansible_collections.lading.oci.plugins.module_utils._oci.content.chained import Chained
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Overlay, Spool
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy, stats_of
from ansible_collections.lading.oci.plugins.module_utils._oci.known import known_layers
from ansible_collections.lading.oci.plugins.module_utils._oci.layer_maker import LayerMaker
from ansible_collections.lading.oci.plugins.module_utils._oci.pack import Packer
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest, mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, OCIError, StorageError

Params = t.Dict[str, t.Any]


def layer_option(src: t.Any, **options: t.Any) -> Params:
    nothing = {"dest": None, "parents": None, "state": "present", "mode": None, "compression": None, "compression_level": None}
    return {"src": str(src), "owner": 0, "group": 0, "xattrs": True, **nothing, **options}


def file_option(src: t.Any, **options: t.Any) -> Params:
    return {"src": str(src), "title": None, "media_type": None, "annotations": {}, **options}


def params(**given: t.Any) -> Params:
    nothing = {"platform": None, "layers": [], "config": None, "artifact_type": None, "files": [], "annotations": {}, "created": None}
    return {"base": None, "base_ref": None, "base_registry": None, **nothing, **given}


class Build:
    """One build into a layout, as the module does it."""

    def __init__(
        self,
        path: pathlib.Path,
        environment: t.Optional[t.Mapping[str, str]] = None,
        check: bool = False,
        source: t.Optional[Source] = None,
        **given: t.Any,
    ) -> None:
        """``source`` is the store of the base, which has it under the name ``base``."""
        target = Layout(str(path))
        options = BuildOptions(params(base="base" if source else None, **given), environment or {})
        base = load_base(source, "base", options.platform) if source else None
        overlay = Overlay(Chained([target, source]) if source else target)
        packer = Packer(overlay, LayerMaker(overlay, Spool(None if check else str(path)), known_layers(target, "v1")))
        self.root = options.pack(packer, base)
        self.plan = plan_copy(overlay, self.root, target, ["v1"])
        self.stats = stats_of(self.plan)
        if self.plan.changed and not check:
            apply_copy(self.plan, overlay, target)
        self.layout = Layout(str(path))

    @property
    def manifest(self) -> manifest.Manifest:
        return manifest.parse(self.root, self.layout.fetch_bytes(self.root))

    @property
    def config(self) -> Params:
        return json.loads(self.layout.fetch_bytes(t.cast(Descriptor, self.manifest.config)))

    def members(self, number: int = 0) -> t.Dict[str, tarfile.TarInfo]:
        content = self.layout.fetch_bytes(self.manifest.layers[number])
        with tarfile.open(fileobj=io.BytesIO(content)) as opened:
            return {info.name: info for info in opened}

    def content(self, name: str, number: int = 0) -> bytes:
        blob = self.layout.fetch_bytes(self.manifest.layers[number])
        with tarfile.open(fileobj=io.BytesIO(blob)) as opened:
            return t.cast(t.IO[bytes], opened.extractfile(name)).read()


@pytest.fixture(name="tree")
def _tree(tmp_path: pathlib.Path) -> pathlib.Path:
    tree = tmp_path / "tree"
    (tree / "b" / "inner").mkdir(parents=True)
    (tree / "a.txt").write_text("a")
    (tree / "b" / "run").write_text("#!/bin/sh\n")
    (tree / "b" / "run").chmod(0o755)
    (tree / "b" / "inner" / "ünïcode").write_text("u")
    (tree / "a.txt").chmod(0o640)
    (tree / "link").symlink_to("b/run")
    os.link(tree / "a.txt", tree / "z-hard")
    return tree


class TestTree:
    def test_entries_are_sorted_parents_first_and_carry_nothing_of_the_host(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        members = Build(tmp_path / "out", layers=[layer_option(tree)]).members()
        assert list(members) == ["a.txt", "b", "b/inner", "b/inner/ünïcode", "b/run", "link", "z-hard"]
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members.values()} == {(0, 0, "", "", 0)}
        assert members["a.txt"].mode == 0o640 and members["b/run"].mode == 0o755
        assert members["link"].issym() and members["link"].linkname == "b/run"
        assert members["z-hard"].islnk() and members["z-hard"].linkname == "a.txt"

    def test_the_digest_does_not_depend_on_times_or_order(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        first = Build(tmp_path / "one", layers=[layer_option(tree)])
        for path in tree.rglob("*"):
            os.utime(path, (1, 1), follow_symlinks=False)
        assert Build(tmp_path / "two", layers=[layer_option(tree)]).root == first.root

    def test_the_bytes_are_these(self, tmp_path: pathlib.Path) -> None:
        """On every Python and host: a change here changes every user's digests."""
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree" / "file").write_text("content\n")
        (tmp_path / "tree" / "file").chmod(0o644)
        written = io.BytesIO()
        layer.Tree(str(tmp_path / "tree"), "opt").write_tar(written)
        assert hashlib.sha256(written.getvalue()).hexdigest() == "4c940879e0d4ae9cc95bb90fbad7de27d5df4d85dcb194e340b980f3905c2691"

    @pytest.mark.parametrize("call", ["open", "stat"])
    def test_what_cannot_be_read_is_named(self, tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        """The system says names below the folder alone."""
        real = getattr(os, call)

        def refuse(path: t.Any, *more: t.Any, **options: t.Any) -> t.Any:
            if path == "inner" and options.get("dir_fd") is not None:
                raise PermissionError(13, "Permission denied", path)
            return real(path, *more, **options)

        monkeypatch.setattr(layer.os, call, refuse)
        with pytest.raises(StorageError, match=f"^reading {tree}: {tree}/b/inner: Permission denied"):
            layer.Tree(str(tree)).write_tar(io.BytesIO())

    def test_dest_makes_parents(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        members = Build(tmp_path / "out", layers=[layer_option(tree, dest="/opt/app/")]).members()
        assert list(members)[:3] == ["opt", "opt/app", "opt/app/a.txt"]
        assert members["opt"].isdir() and members["opt"].mode == 0o755

    @pytest.mark.parametrize("dest, name", [(None, "a.txt"), ("/etc/", "etc/a.txt"), ("/etc/app.conf", "etc/app.conf")])
    def test_dest_of_a_file(self, tree: pathlib.Path, tmp_path: pathlib.Path, dest: t.Optional[str], name: str) -> None:
        build = Build(tmp_path / "out", layers=[layer_option(tree / "a.txt", dest=dest)])
        assert build.content(name) == b"a"

    def test_mode_owner_and_group(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        options = layer_option(tree, mode="0604", owner="1000", group=100)
        members = Build(tmp_path / "out", layers=[options]).members()
        assert members["a.txt"].mode == members["b/run"].mode == 0o604 and members["b"].mode == 0o705
        assert {(m.uid, m.gid) for m in members.values()} == {(1000, 100)}

    def test_created_is_every_time(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        build = Build(tmp_path / "out", layers=[layer_option(tree)], created="2026-11-23T21:51:00+01:00")
        assert {m.mtime for m in build.members().values()} == {1795467060}
        assert build.config["created"] == build.config["history"][0]["created"] == "2026-11-23T20:51:00Z"
        by_environment = Build(tmp_path / "two", {"SOURCE_DATE_EPOCH": "1795467060"}, layers=[layer_option(tree)])
        assert by_environment.root == build.root
        assert "created" not in Build(tmp_path / "three", layers=[layer_option(tree)]).config

    @pytest.mark.parametrize("kind", ["fifo", "socket"])
    def test_what_a_layer_cannot_hold(self, tree: pathlib.Path, tmp_path: pathlib.Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tree)
        if kind == "fifo":
            os.mkfifo("b/odd")
        else:
            socket.socket(socket.AF_UNIX).bind("b/odd")
        with pytest.raises(InvalidError, match=f"b/odd is a {kind}|b/odd is a FIFO"):
            Build(tmp_path / "out", layers=[layer_option(tree)])
        assert not (tmp_path / "out").exists()

    def test_whiteouts_and_undecodable_names_are_refused(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        (tree / ".wh.a").write_text("")
        with pytest.raises(InvalidError, match=r"\.wh\."):
            Build(tmp_path / "out", layers=[layer_option(tree)])
        (tree / ".wh.a").unlink()
        (tree / os.fsdecode(b"caf\xe9")).write_text("")
        with pytest.raises(InvalidError, match="not UTF-8"):
            Build(tmp_path / "out", layers=[layer_option(tree)])

    def test_a_file_that_grows_is_an_error(self, tree: pathlib.Path) -> None:
        def sink(content: bytes) -> None:
            with (tree / "a.txt").open("a") as file:
                file.write("more")

        class Growing:
            write = staticmethod(sink)

        with pytest.raises(InvalidError, match="changed its size"):
            layer.Tree(str(tree)).write_tar(Growing())

    def test_a_link_in_place_of_a_folder_is_not_followed(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        (tree / "b").rename(tmp_path / "elsewhere")
        (tree / "b").symlink_to(tmp_path / "elsewhere")
        members = Build(tmp_path / "out", layers=[layer_option(tree)]).members()
        assert members["b"].issym() and "b/run" not in members


class TestGivenTar:
    @pytest.fixture(name="given")
    def _given(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
        path = tmp_path / "given.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(tree, arcname=".")
        return path

    def test_a_plain_tar_is_the_layer(self, given: pathlib.Path, tmp_path: pathlib.Path) -> None:
        build = Build(tmp_path / "out", layers=[layer_option(given)])
        plain = given.read_bytes()
        assert build.config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(plain).hexdigest()}"]
        assert gzip.decompress(build.layout.fetch_bytes(build.manifest.layers[0])) == plain

    def test_a_gzip_tar_is_the_blob(self, given: pathlib.Path, tmp_path: pathlib.Path) -> None:
        packed = tmp_path / "given.tgz"
        packed.write_bytes(gzip.compress(given.read_bytes(), 1))
        build = Build(tmp_path / "out", layers=[layer_option(packed)])
        assert build.layout.fetch_bytes(build.manifest.layers[0]) == packed.read_bytes()
        assert build.config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(given.read_bytes()).hexdigest()}"]
        assert not Build(tmp_path / "out", layers=[layer_option(packed)]).plan.changed

    @pytest.mark.parametrize(
        "content",
        [b"", b"text" * 400, gzip.compress(b"text" * 400), gzip.compress(bytes(2048))[:-3]],
        ids=["empty", "text", "packed text", "cut"],  # not the content: gzip has the time of the day in it
    )
    def test_what_is_called_tar_must_be_one(self, tmp_path: pathlib.Path, content: bytes) -> None:
        (tmp_path / "no.tar").write_bytes(content)
        with pytest.raises(InvalidError, match="no.tar"):
            Build(tmp_path / "out", layers=[layer_option(tmp_path / "no.tar")])

    def test_other_options_are_refused(self, given: pathlib.Path, tmp_path: pathlib.Path) -> None:
        for option in ({"dest": "/opt"}, {"mode": "0644"}, {"owner": "5"}):
            with pytest.raises(InvalidError, match="unpack it first"):
                Build(tmp_path / "out", layers=[layer_option(given, **option)])


class TestImage:
    def test_config_and_manifest(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        config = {
            "cmd": ["/bin/hello", "--all"],
            "entrypoint": ["/init"],
            "env": {"B": "2", "A": "1"},
            "labels": {"b": "2", "a": "<1>"},
            "user": "1000:100",
            "working_dir": "/srv",
            "exposed_ports": ["80/tcp", "53/udp"],
            "volumes": ["/data"],
            "stop_signal": "SIGINT",
        }
        given = {"layers": [layer_option(tree)], "platform": "linux/arm64/v8", "config": config, "annotations": {"k": "v"}}
        build = Build(tmp_path / "out", **given)
        assert build.config["config"] == {
            "User": "1000:100",
            "ExposedPorts": {"53/udp": {}, "80/tcp": {}},
            "Env": ["A=1", "B=2"],
            "Entrypoint": ["/init"],
            "Cmd": ["/bin/hello", "--all"],
            "Volumes": {"/data": {}},
            "WorkingDir": "/srv",
            "Labels": {"a": "<1>", "b": "2"},
            "StopSignal": "SIGINT",
        }
        assert (build.config["os"], build.config["architecture"], "variant" in build.config) == ("linux", "arm64", False)
        assert build.manifest.annotations == {"k": "v"}
        assert build.manifest.layers[0].media_type == mediatype.OCI_LAYER_GZIP
        assert len(build.config["history"]) == len(build.config["rootfs"]["diff_ids"]) == 1

    def test_the_default_platform_is_the_targets(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        assert Build(tmp_path / "out", layers=[layer_option(tree)]).config["architecture"] == machine

    def test_a_second_build_changes_nothing_whatever_zlib_does(
        self, tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = Build(tmp_path / "out", layers=[layer_option(tree)])
        monkeypatch.setitem(codec.DEFAULT_LEVELS, codec.GZIP, 1)
        again = Build(tmp_path / "out", layers=[layer_option(tree)])
        assert first.plan.changed and not again.plan.changed and again.root == first.root
        assert again.stats.bytes_transferred == 0

    def test_only_the_changed_layer_is_made_again(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        layers = [layer_option(tree), layer_option(tree / "a.txt", dest="/etc/")]
        first = Build(tmp_path / "out", layers=layers)
        (tree / "b" / "run").write_text("changed\n")
        second = Build(tmp_path / "out", layers=layers)
        assert second.plan.changed and second.stats.blobs_transferred == 2 and second.stats.blobs_present == 1
        assert second.manifest.layers[1] == first.manifest.layers[1]

    def test_check_mode_foresees_the_run_and_writes_nothing(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        before = sorted(tmp_path.rglob("*"))
        checked = Build(tmp_path / "out", check=True, layers=[layer_option(tree)])
        assert sorted(tmp_path.rglob("*")) == before
        done = Build(tmp_path / "out", layers=[layer_option(tree)])
        assert checked.root == done.root and checked.stats == done.stats and checked.plan.missing == done.plan.missing

    def test_a_damaged_layout_is_built_anew(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        first = Build(tmp_path / "out", layers=[layer_option(tree)])
        blobs = tmp_path / "out" / "blobs" / "sha256"
        (blobs / first.manifest.layers[0].digest.encoded).unlink()
        (blobs / first.root.digest.encoded).unlink()
        Build(tmp_path / "out", layers=[layer_option(tree)])
        # The index names the root already: what is missing is only seen by who looks deeper.
        second = Build(tmp_path / "out", layers=[layer_option(tree)], annotations={"new": "one"})
        assert second.members()


class TestArtifact:
    def test_files_and_folders(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        files = [file_option(tree / "a.txt", media_type="text/plain", annotations={"k": "v"}), file_option(f"{tree}/b/")]
        build = Build(tmp_path / "out", artifact_type="application/vnd.example.v1", files=files)
        document = build.manifest
        assert document.artifact_type == "application/vnd.example.v1"
        assert t.cast(Descriptor, document.config).media_type == mediatype.OCI_EMPTY
        one, folder = document.layers
        assert (one.media_type, dict(one.annotations)) == ("text/plain", {"k": "v", "org.opencontainers.image.title": "a.txt"})
        assert build.layout.fetch_bytes(one) == b"a"
        assert folder.media_type == mediatype.OCI_LAYER_GZIP and folder.annotations["io.deis.oras.content.unpack"] == "true"
        plain = zlib.decompress(build.layout.fetch_bytes(folder), 31)
        assert folder.annotations["io.deis.oras.content.digest"] == f"sha256:{hashlib.sha256(plain).hexdigest()}"
        assert list(build.members(1)) == ["b", "b/inner", "b/inner/ünïcode", "b/run"]
        assert not Build(tmp_path / "out", artifact_type="application/vnd.example.v1", files=files).plan.changed

    def test_a_folder_with_a_type_of_its_own_is_known_again(
        self, tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = [file_option(f"{tree}/b/", media_type="application/vnd.example.tar")]
        Build(tmp_path / "out", files=files)
        monkeypatch.setitem(codec.DEFAULT_LEVELS, codec.GZIP, 1)
        assert not Build(tmp_path / "out", files=files).plan.changed

    def test_default_types_are_those_of_oras(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        document = Build(tmp_path / "out", files=[file_option(tree / "a.txt")]).manifest
        assert document.artifact_type == "application/vnd.unknown.artifact.v1"
        assert document.layers[0].media_type == mediatype.OCI_LAYER

    def test_without_files_the_artifact_is_empty(self, tmp_path: pathlib.Path) -> None:
        document = Build(tmp_path / "out", artifact_type="application/vnd.example.v1").manifest
        assert [found.media_type for found in document.layers] == [mediatype.OCI_EMPTY]

    def test_created(self, tmp_path: pathlib.Path) -> None:
        document = Build(tmp_path / "out", artifact_type="application/vnd.example.v1", created="0").manifest
        assert document.annotations == {"org.opencontainers.image.created": "1970-01-01T00:00:00Z"}

    def test_titles(self, tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tree)

        def titles(*files: Params) -> t.List[str]:
            build = Build(tmp_path / "out", files=list(files))
            return [found.annotations["org.opencontainers.image.title"] for found in build.manifest.layers]

        assert titles(file_option("./b/run"), file_option("b/inner/")) == ["b/run", "b/inner"]
        assert titles(file_option(tree / "b" / "run"), file_option("a.txt", title="etc/x")) == ["run", "etc/x"]
        for bad in ("../x", "/x", "a//b", "", "a/../b", "a\nb", "."):
            with pytest.raises(InvalidError, match="title"):
                titles(file_option("a.txt", title=bad))
        with pytest.raises(InvalidError, match="gives no title"):
            titles(file_option("../tree/a.txt"))
        with pytest.raises(InvalidError, match="two files have the title"):
            titles(file_option("a.txt"), file_option(tree / "a.txt"))

    def test_a_file_that_changes_after_it_was_hashed_is_not_published(self, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
        target = Layout(str(tmp_path / "out"))
        overlay = Overlay(target)
        root = BuildOptions(params(files=[file_option(tree / "a.txt")]), {}).pack(Packer(overlay, LayerMaker(overlay, Spool(None), {})))
        plan = plan_copy(overlay, root, target, ["v1"])
        (tree / "a.txt").write_text("b")
        with pytest.raises(OCIError, match="another digest"):
            apply_copy(plan, overlay, target)
        assert Layout(str(tmp_path / "out")).lookup("v1") is None


@pytest.mark.parametrize(
    "given, says",
    [
        ({}, "nothing to build"),
        ({"files": [{}], "layers": [{}]}, "one or the other"),
        ({"artifact_type": "application/x", "platform": "linux/amd64"}, "one or the other"),
        ({"artifact_type": "not a type"}, "artifact_type is not a media type"),
        ({"config": {"env": {"A": 1}}}, "config.env: the value of 'A' is 1, not a string"),
        ({"config": {"env": {"A=B": "1"}}}, "is not a name for a variable"),
        ({"config": {"labels": {"a": True}}}, "config.labels: the value of 'a' is True"),
        ({"config": {"exposed_ports": ["http"]}}, "'http' is not a port"),
        ({"config": {"cmd": ["x"]}, "annotations": {"a": 1.1}}, "annotations: the value of 'a' is 1.1"),
        ({"config": {"cmd": ["x"]}, "platform": "amd64"}, "not a platform"),
        ({"config": {"cmd": ["x"]}, "created": "yesterday"}, "created is 'yesterday'"),
        ({"config": {"cmd": ["x"]}, "created": "2026-11-23T20:51:00"}, "created is"),
        ({"layers": [layer_option("/nowhere/at/all")]}, r"layers\[0\].src: no such file or folder: /nowhere"),
        ({"layers": [layer_option("/", mode="rw")]}, r"layers\[0\].mode is 'rw'"),
        ({"layers": [layer_option("/", owner="root")]}, r"layers\[0\].owner is 'root': expected a numeric id"),
        ({"layers": [layer_option("/", group=-1)]}, r"layers\[0\].group"),
        ({"layers": [layer_option("/", dest="/a/../b")]}, r"layers\[0\].dest"),
        ({"files": [file_option("/nowhere")]}, r"files\[0\].src: no such"),
        ({"files": [file_option("/etc", media_type="x")]}, r"files\[0\].media_type"),
        ({"files": [file_option("/etc", annotations={"a": 1})]}, r"files\[0\].annotations"),
    ],
)
def test_bad_options_are_named(given: Params, says: str) -> None:
    with pytest.raises(OCIError, match=says):
        BuildOptions(params(**given), {})

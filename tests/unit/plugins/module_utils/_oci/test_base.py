# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""base and runtime: images on top of images."""

from __future__ import annotations

import gzip
import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.base import check_apart
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, reference
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError, OCIError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.test_build import Build, Params, layer_option

TARS = [bytes(1024 * number) for number in (2, 3)]
HISTORY = [{"created_by": "ADD a"}, {"created_by": "ENV b", "empty_layer": True}, {"created_by": "ADD c"}]
RUNTIME = {
    "User": "1000",
    "Env": ["PATH=/bin", "LANG=C", "TERM=x"],
    "Entrypoint": ["/init"],
    "Cmd": ["--all"],
    "Labels": {"b": "1", "a": "2"},
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}},
    "WorkingDir": "/srv",
    "OnBuild": ["RUN x"],
    "Tty": None,
}


class Store(MemorySource):
    """A store with the image ``base``."""

    def __init__(self, docker: bool = False, platform: str = "amd64", **fields: t.Any) -> None:
        super().__init__()
        self.docker = docker
        self.names["base"] = self.image(platform, **fields)

    def image(self, architecture: str = "amd64", **fields: t.Any) -> Descriptor:
        layer_type, config_type, manifest_type = (
            mediatype.converted(name, self.docker) for name in (mediatype.OCI_LAYER_GZIP, mediatype.OCI_CONFIG, mediatype.OCI_MANIFEST)
        )
        self.layers = [self.add(gzip.compress(tar, mtime=0), layer_type) for tar in TARS]
        rootfs = {"type": "layers", "diff_ids": [Digest.of(tar) for tar in TARS]}
        document = {"created": "2020-01-01T00:00:00Z", "author": "them", "architecture": architecture, "os": "linux", "os.version": "7"}
        config = json.dumps({**document, "config": RUNTIME, "rootfs": rootfs, "history": HISTORY, "x-more": [1], **fields})
        config_desc = self.add(config.encode(), config_type)
        layers = [{**desc.to_json(), "x-kept": number} for number, desc in enumerate(self.layers)]
        return self.document(manifest_type, {"config": config_desc.to_json(), "layers": layers, "annotations": {"theirs": "1"}})


@pytest.fixture(name="file")
def _file(tmp_path: pathlib.Path) -> Params:
    (tmp_path / "file").write_text("ours")
    return layer_option(tmp_path / "file")


def test_layers_and_config_come_along(tmp_path: pathlib.Path, file: Params) -> None:
    source = Store()
    build = Build(tmp_path / "out", source=source, layers=[file], created="0")
    assert list(build.manifest.layers[:2]) == source.layers and len(build.manifest.layers) == 3
    assert build.config["rootfs"]["diff_ids"][:2] == [Digest.of(tar) for tar in TARS] and len(build.config["rootfs"]["diff_ids"]) == 3
    assert build.config["history"][:3] == HISTORY and len(build.config["history"]) == 4
    assert build.config["config"] == {name: value for name, value in RUNTIME.items() if value is not None}
    assert (build.config["author"], build.config["os.version"], build.config["x-more"]) == ("them", "7", [1])
    assert build.config["created"] == "1970-01-01T00:00:00Z" and build.manifest.annotations == {}
    for desc in source.layers:
        assert build.layout.fetch_bytes(desc) == source.contents[desc.digest]
    document = json.loads(build.layout.fetch_bytes(build.root))
    assert [layer.get("x-kept") for layer in document["layers"]] == [0, 1, None]


def test_the_bases_time_is_not_ours(tmp_path: pathlib.Path, file: Params) -> None:
    assert "created" not in Build(tmp_path / "out", source=Store(), layers=[file]).config


def test_a_second_build_reads_manifest_and_config_only(tmp_path: pathlib.Path, file: Params) -> None:
    given = {"layers": [file], "config": {"user": "5"}}
    checked = Build(tmp_path / "out", source=Store(), check=True, **given)
    assert not (tmp_path / "out").exists()
    done = Build(tmp_path / "out", source=Store(), **given)
    assert checked.root == done.root and checked.stats == done.stats
    source = Store()
    again = Build(tmp_path / "out", source=source, **given)
    assert not again.plan.changed and len(source.opened) == 2
    assert not {desc.digest for desc in source.layers} & set(source.opened)


def test_layers_that_the_layout_has_are_not_read(tmp_path: pathlib.Path, file: Params) -> None:
    Build(tmp_path / "out", source=Store(), layers=[file])
    source = Store(author="others")
    build = Build(tmp_path / "out", source=source, layers=[file])
    assert build.plan.changed and build.config["author"] == "others"
    assert not {desc.digest for desc in source.layers} & set(source.opened)


def test_docker_types_become_ocis(tmp_path: pathlib.Path, file: Params) -> None:
    source = Store(docker=True)
    build = Build(tmp_path / "out", source=source, layers=[file])
    assert build.root.media_type == mediatype.OCI_MANIFEST
    assert t.cast(Descriptor, build.manifest.config).media_type == mediatype.OCI_CONFIG
    assert {layer.media_type for layer in build.manifest.layers} == {mediatype.OCI_LAYER_GZIP}
    assert [layer.digest for layer in build.manifest.layers[:2]] == [layer.digest for layer in source.layers]


@pytest.mark.parametrize("parents, above", [(None, []), (False, []), (True, ["usr", "usr/bin"])])
def test_folders_of_the_base_are_left_alone(tmp_path: pathlib.Path, file: Params, parents: t.Optional[bool], above: t.List[str]) -> None:
    """An entry for /bin would make a folder of the link that it is."""
    build = Build(tmp_path / "out", source=Store(), layers=[{**file, "dest": "/usr/bin/", "parents": parents}])
    assert list(build.members(2)) == [*above, "usr/bin/file"]


def test_a_base_alone_is_an_image(tmp_path: pathlib.Path) -> None:
    build = Build(tmp_path / "out", source=Store(), annotations={"ours": "1"})
    assert build.manifest.annotations == {"ours": "1"} and build.config["history"] == HISTORY


class TestPlatform:
    @pytest.fixture(name="source")
    def _source(self) -> Store:
        source = Store()
        entries = []
        for architecture in ("arm64", "amd64", "s390x"):
            desc = source.image(architecture)
            entries.append(Descriptor(desc.media_type, desc.digest, desc.size, platform={"os": "linux", "architecture": architecture}))
        source.names["base"] = source.index(*entries)
        return source

    def test_an_index_gives_what_is_asked_for(self, source: Store, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Build(tmp_path / "one", source=source, platform="linux/s390x").config["architecture"] == "s390x"
        monkeypatch.setattr("platform.machine", lambda: "aarch64")
        assert Build(tmp_path / "two", source=source).config["architecture"] == "arm64"
        with pytest.raises(NotFoundError, match=r"memory: index sha256:\S+ has nothing for linux/ppc64 \(it has linux/arm64, linux/amd64"):
            Build(tmp_path / "three", source=source, platform="linux/ppc64")

    def test_indexes_in_indexes(self, source: Store, tmp_path: pathlib.Path) -> None:
        inner = source.names["base"]
        platform = {"os": "linux", "architecture": "s390x"}
        source.names["base"] = source.index(Descriptor(inner.media_type, inner.digest, inner.size, platform=platform))
        assert Build(tmp_path / "out", source=source, platform="linux/s390x").config["architecture"] == "s390x"
        for _level in range(9):
            inner = source.names["base"]
            source.names["base"] = source.index(Descriptor(inner.media_type, inner.digest, inner.size, platform=platform))
        with pytest.raises(InvalidError, match="deeper than 8 levels"):
            Build(tmp_path / "out", source=source, platform="linux/s390x")

    def test_a_single_image_has_its_own(self, tmp_path: pathlib.Path) -> None:
        source = Store(platform="s390x")
        assert Build(tmp_path / "one", source=source).config["architecture"] == "s390x"
        assert not Build(tmp_path / "one", source=source, platform="linux/s390x").plan.changed
        with pytest.raises(InvalidError, match="source memory: it is an image for linux/s390x, and platform is linux/amd64"):
            Build(tmp_path / "two", source=source, platform="linux/amd64")


class TestConfig:
    def built(self, folder: pathlib.Path, **config: t.Any) -> Params:
        self.build = Build(folder / "out", source=Store(), config=config)
        return self.build.config["config"]

    def test_variables_and_labels_by_name(self, tmp_path: pathlib.Path) -> None:
        config = self.built(
            tmp_path, env={"LANG": "C.UTF-8", "TERM": None, "B": "2", "A": "=1", "NO": None}, labels={"a": "3", "b": None, "c": "4"}
        )
        assert config["Env"] == ["PATH=/bin", "LANG=C.UTF-8", "A==1", "B=2"]
        assert config["Labels"] == {"a": "3", "c": "4"}

    def test_ports_and_volumes_are_joined(self, tmp_path: pathlib.Path) -> None:
        config = self.built(tmp_path, exposed_ports=["53/udp", "80/tcp"], volumes=["/cache"])
        assert config["ExposedPorts"] == {"53/udp": {}, "80/tcp": {}} and config["Volumes"] == {"/cache": {}, "/data": {}}

    def test_the_rest_is_replaced_and_what_is_not_known_kept(self, tmp_path: pathlib.Path) -> None:
        config = self.built(tmp_path, user="5", working_dir="/opt", stop_signal="SIGINT", cmd=["-v"])
        assert (config["User"], config["WorkingDir"], config["StopSignal"], config["Cmd"]) == ("5", "/opt", "SIGINT", ["-v"])
        assert (config["Entrypoint"], config["OnBuild"]) == (["/init"], ["RUN x"])

    def test_a_new_entrypoint_drops_the_arguments_of_the_old(self, tmp_path: pathlib.Path) -> None:
        config = self.built(tmp_path, entrypoint=["/run"])
        assert config["Entrypoint"] == ["/run"] and "Cmd" not in config
        assert self.built(tmp_path, entrypoint=["/run"], cmd=["x"])["Cmd"] == ["x"]

    def test_what_is_empty_takes_away(self, tmp_path: pathlib.Path) -> None:
        config = self.built(tmp_path, entrypoint=[], cmd=[], user="", working_dir="")
        assert not {"Entrypoint", "Cmd", "User", "WorkingDir"} & set(config)

    def test_it_is_a_step_without_a_layer(self, tmp_path: pathlib.Path) -> None:
        self.built(tmp_path, user="5")
        assert self.build.config["history"] == [*HISTORY, {"created_by": "lading.oci.oci_layout_build", "empty_layer": True}]

    @pytest.mark.parametrize(
        "field, broken, kind",
        [
            ("Env", "A=1", "list of strings"),
            ("Env", [1], "list of strings"),
            ("Labels", [], "map of strings"),
            ("Labels", {"a": 1}, "map of strings"),
            ("Volumes", ["/x"], "map of objects"),
            ("ExposedPorts", {"80": None}, "map of objects"),
        ],
    )
    def test_a_broken_one_is_said(self, field: str, broken: t.Any, kind: str, tmp_path: pathlib.Path) -> None:
        given = {"env": {"A": "1"}, "labels": {"a": "1"}, "volumes": ["/v"], "exposed_ports": ["80"]}
        with pytest.raises(InvalidError, match=f"the config of the base has {field} that is not a {kind}"):
            Build(tmp_path / "out", source=Store(config={field: broken}), config=given)

    def test_null_needs_a_base(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(InvalidError, match="config.env: the value of 'A' is None, not a string"):
            Build(tmp_path / "out", config={"env": {"A": None}})


@pytest.mark.parametrize(
    "history, expected",
    [
        (None, ["-", "-"]),
        ([], ["-", "-"]),
        ("broken", ["-", "-"]),
        (HISTORY[:2], ["ADD a", "(ENV b)", "-"]),
        ([*HISTORY, {"created_by": "ADD d"}], ["(ADD a)", "(ENV b)", "ADD c", "ADD d"]),
    ],
)
def test_history_has_one_entry_for_each_layer(history: t.Any, expected: t.List[str], tmp_path: pathlib.Path, file: Params) -> None:
    build = Build(tmp_path / "out", source=Store(history=history), layers=[file])
    shown = []
    for entry in build.config["history"]:
        text = entry.get("created_by", "-")
        shown.append(f"({text})" if entry.get("empty_layer") else text)
    assert shown == [*expected, "lading.oci.oci_layout_build"]


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "has 2 layers, and its config says 0"),
        ({"rootfs": {"type": "other"}}, "no rootfs of the type 'layers'"),
        ({"os": None}, "its config says no platform"),
    ],
)
def test_what_is_no_good_base(fields: Params, says: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InvalidError, match=f"source memory: .*{says}"):
        Build(tmp_path / "out", source=Store(**fields))
    assert not (tmp_path / "out").exists()


def test_an_artifact_is_no_base(tmp_path: pathlib.Path) -> None:
    source = Store()
    source.names["base"] = source.artifact(source.file("a", b"a"), artifactType="application/vnd.example.v1")
    with pytest.raises(InvalidError, match=r"is an artifact \(application/vnd.example.v1\), not an image: nothing can be built on it"):
        Build(tmp_path / "out", source=source)


def test_content_that_is_wrong_is_not_published(tmp_path: pathlib.Path, file: Params) -> None:
    source = Store()
    source.contents[source.layers[1].digest] = b"x" * source.layers[1].size
    with pytest.raises(OCIError, match="has another digest"):
        Build(tmp_path / "out", source=source, layers=[file])
    assert Layout(str(tmp_path / "out")).lookup("v1") is None


def test_the_ref_that_is_built_is_no_base(tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "out")
    dest = reference.LayoutReference(f"{tmp_path}/out", "v2")
    for same in (f"oci:{tmp_path}/out:v2", f"oci:{tmp_path}/./out:v2", f"oci:{tmp_path}/link:v2"):
        with pytest.raises(InvalidError, match="is the ref that is built: give the result another tag, or the base's digest"):
            check_apart(reference.parse(same), dest)
    for other in (f"oci:{tmp_path}/out:v1", f"oci:{tmp_path}/two:v2", f"oci:{tmp_path}/out@sha256:{'0' * 64}", "localhost:5000/out:v2"):
        check_apart(reference.parse(other), dest)

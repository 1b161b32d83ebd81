# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every option of oci_layout_build through the module, seen with skopeo's and oras's eyes."""

from __future__ import annotations

import io
import json
import os
import pathlib
import tarfile
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest
from support import fail, peer, succeed, tree_state

CREATED = "2026-11-23T20:51:00Z"


@pytest.fixture(name="files")
def _files(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "tree" / "run").chmod(0o750)
    return tmp_path


def members(path: pathlib.Path, number: int = 0) -> t.List[tarfile.TarInfo]:
    layout = Layout(str(path))
    root = layout.resolve("v1")
    layer = manifest.parse(root, layout.fetch_bytes(root)).layers[number]
    with tarfile.open(fileobj=io.BytesIO(layout.fetch_bytes(layer))) as archive:
        return archive.getmembers()


def test_an_image(files: pathlib.Path, peers: t.Any) -> None:
    path = files / "image"
    arguments = {
        "path": str(path),
        "tag": "v1",
        "platform": "linux/arm/v7",
        "layers": [
            {"src": str(files / "tree"), "dest": "/opt/app", "mode": "0644", "owner": 1000, "group": "100"},
            {"src": str(files / "tree" / "run"), "dest": "/usr/bin/"},
        ],
        "config": {
            "cmd": ["--all"],
            "entrypoint": ["/usr/bin/run"],
            "env": {"LANG": "C.UTF-8"},
            "labels": {"team": "a"},
            "user": "1000:100",
            "working_dir": "/opt/app",
            "exposed_ports": ["8080/tcp"],
            "volumes": ["/data"],
            "stop_signal": "SIGQUIT",
        },
        "annotations": {"note": "here"},
        "created": CREATED,
    }
    done = succeed("oci_layout_build", arguments)
    assert not succeed("oci_layout_build", arguments)["changed"]
    skopeo = peers.require("skopeo")
    config = json.loads(peer(skopeo, "inspect", "--config", "--raw", f"oci:{path}:v1"))
    assert (config["architecture"], config["variant"], config["os"], config["created"]) == ("arm", "v7", "linux", CREATED)
    assert config["config"] == {
        "User": "1000:100",
        "ExposedPorts": {"8080/tcp": {}},
        "Env": ["LANG=C.UTF-8"],
        "Entrypoint": ["/usr/bin/run"],
        "Cmd": ["--all"],
        "Volumes": {"/data": {}},
        "WorkingDir": "/opt/app",
        "Labels": {"team": "a"},
        "StopSignal": "SIGQUIT",
    }
    assert json.loads(peer(skopeo, "inspect", "--raw", f"oci:{path}:v1"))["annotations"] == {"note": "here"}
    found = {info.name: info for info in members(path)}
    run = found["opt/app/run"]
    assert (run.mode, run.uid, run.gid, run.mtime) == (0o644, 1000, 100, 1795467060)
    assert [(info.name, info.mode) for info in members(path, 1)] == [("usr", 0o755), ("usr/bin", 0o755), ("usr/bin/run", 0o750)]
    assert done["tags"]["v1"]["after"] == done["digest"]


def test_an_artifact(files: pathlib.Path, peers: t.Any) -> None:
    path = files / "artifact.tar"
    file = {"src": str(files / "tree" / "run"), "title": "bin/run", "media_type": "text/x-shellscript", "annotations": {"os": "any"}}
    arguments = {"path": str(path), "tag": "v1", "artifact_type": "application/vnd.example.v1", "files": [file], "annotations": {"a": "b"}}
    succeed("oci_layout_build", arguments)
    found = json.loads(peer(peers.require("oras"), "manifest", "fetch", "--oci-layout", f"{path}:v1"))
    assert found["artifactType"] == "application/vnd.example.v1" and found["annotations"] == {"a": "b"}
    assert found["layers"][0]["mediaType"] == "text/x-shellscript"
    assert found["layers"][0]["annotations"] == {"org.opencontainers.image.title": "bin/run", "os": "any"}


def test_source_date_epoch(files: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795467060")
    layers = [{"src": str(files / "tree")}]
    by_environment = succeed("oci_layout_build", {"path": str(files / "one"), "tag": "v1", "layers": layers})
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    by_option = succeed("oci_layout_build", {"path": str(files / "two"), "tag": "v1", "layers": layers, "created": CREATED})
    assert by_environment["digest"] == by_option["digest"]


def with_jsonschema(folder: pathlib.Path, content: str) -> t.Dict[str, str]:
    """An environment in which jsonschema is a file of ours."""
    folder.mkdir()
    (folder / "jsonschema.py").write_text(content)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])}


def test_validation(files: pathlib.Path) -> None:
    """With jsonschema and without; it is not even looked for when there is nothing to publish."""
    arguments = {"path": str(files / "layout"), "tag": "v1", "layers": [{"src": str(files / "tree")}]}
    assert succeed("oci_layout_build", arguments, check=True)["validated"] == ["rules", "schemas"]
    absent = with_jsonschema(files / "absent", "raise ImportError('not here')\n")
    assert succeed("oci_layout_build", arguments, env=absent)["validated"] == ["rules"]
    refusing = with_jsonschema(files / "refusing", "raise SystemExit('imported')\n")
    again = succeed("oci_layout_build", arguments, env=refusing)
    assert not again["changed"] and again["validated"] == []


def test_state_absent(files: pathlib.Path) -> None:
    for path in (files / "layout", files / "layout.tar"):
        for tag in ("v1", "v2"):
            succeed("oci_layout_build", {"path": str(path), "tag": tag, "artifact_type": f"application/{tag}"})
        before = tree_state(files)
        checked = succeed("oci_layout_build", {"path": str(path), "tag": "v1", "state": "absent"}, check=True)
        assert checked["changed"] and tree_state(files) == before
        removed = succeed("oci_layout_build", {"path": str(path), "tag": "v1", "state": "absent"})
        assert removed["changed"] and removed["diff"] == checked["diff"] and removed["tags"]["v1"]["after"] is None
        assert not succeed("oci_layout_build", {"path": str(path), "tag": "v1", "state": "absent"})["changed"]
        assert not succeed("oci_layout_build", {"path": str(path), "tag": "v2", "artifact_type": "application/v2"})["changed"]


@pytest.mark.parametrize(
    "given, says",
    [
        ({"tag": "not a ref"}, "not a ref name"),
        ({"path": "/dev/null"}, "/dev/null"),
        ({"path": "/proc/never/x"}, "/proc/never/x"),
        ({"path": "/etc"}, "not an OCI layout"),
        ({"artifact_type": None}, "nothing to build"),
        ({"files": [{"src": "/nowhere"}]}, "files[0].src: no such file or folder: /nowhere"),
    ],
)
def test_what_cannot_be_done_is_said(files: pathlib.Path, given: t.Dict[str, t.Any], says: str) -> None:
    arguments = {"path": str(files / "new"), "tag": "v1", "artifact_type": "application/x", **given}
    assert says in fail("oci_layout_build", arguments)
    assert not (files / "new").exists()

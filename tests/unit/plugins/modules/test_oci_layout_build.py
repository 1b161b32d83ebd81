# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_layout_build as Ansible runs it: indexes out of options, refs that go, options that do not go together."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.chained import Chained
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Overlay
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.indexes import Addition, IndexBuilder
from ansible_collections.lading.oci.plugins.module_utils._oci.module import open_layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import platform_of
from ansible_collections.lading.oci.plugins.modules import oci_layout_build
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.noise import noise
from ansible_collections.lading.oci.tests.unit.plugins.modules.module_runs import Run

Arguments = t.Dict[str, t.Any]


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Run(oci_layout_build.main, capsys)


@pytest.fixture(name="arguments")
def _arguments(tmp_path: pathlib.Path) -> Arguments:
    images = Images(tmp_path / "images")
    for platform in ("amd64", "arm64"):
        images.image(tar_of(a=platform), platform=f"linux/{platform}", tags=[platform])
    return {"path": str(tmp_path / "out"), "tag": "v1", "manifests": [{"src": f"oci:{tmp_path}/images:amd64"}]}


def platforms(path: t.Union[str, pathlib.Path]) -> t.List[str]:
    store = open_layout(str(path))
    root = store.resolve("v1")
    return [str(platform_of(desc)) for desc in manifest.parse(root, store.fetch_bytes(root)).manifests]


def test_an_index_of_images(run: Run, arguments: Arguments, tmp_path: pathlib.Path) -> None:
    planned = run.done(arguments, check=True)
    assert planned["changed"] and not (tmp_path / "out").exists()
    done = run.done({**arguments, "created": "2026-11-23T20:51:00Z", "annotations": {"a": "b"}})
    assert done["changed"] and platforms(tmp_path / "out") == ["linux/amd64"]
    store = Layout(str(tmp_path / "out"))
    found = manifest.parse(store.resolve("v1"), store.fetch_bytes(store.resolve("v1")))
    assert found.annotations == {"a": "b", "org.opencontainers.image.created": "2026-11-23T20:51:00Z"}


def test_append_and_remove(run: Run, arguments: Arguments, tmp_path: pathlib.Path) -> None:
    run.done(arguments)
    more = {**arguments, "append": True, "manifests": [{"src": f"oci:{tmp_path}/images:arm64", "annotations": {"x": "y"}}]}
    assert run.done(more)["changed"] and platforms(tmp_path / "out") == ["linux/amd64", "linux/arm64"]
    assert not run.done(more)["changed"]
    less = {**arguments, "append": True, "manifests": [{"state": "absent", "platform": "linux/amd64"}]}
    assert run.done(less)["changed"] and platforms(tmp_path / "out") == ["linux/arm64"]


class Meanwhile:
    """Another task that has changed the index before this one writes: each time that this one has made its own, ``times`` times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, images: Images, store: t.Callable[[], t.Any], times: float) -> None:
        self._real, self._images, self._store, self._left = oci_layout_build.apply_copy, images, store, times
        self.tries = 0
        monkeypatch.setattr(oci_layout_build, "apply_copy", self._apply)

    def _apply(self, *args: t.Any, **options: t.Any) -> t.Any:
        self.tries += 1
        if self.tries <= self._left:
            other = self._images.image(tar_of(a=str(self.tries)), platform=f"linux/other{self.tries}")
            overlay = Overlay(self._store())
            builder = IndexBuilder(overlay, Chained([overlay, self._images.layout]))
            root = builder.build([Addition(0, "other", other)], {}, "", self._store().lookup("v1"))
            target = self._store()
            self._real(
                plan_copy(Chained([overlay, self._images.layout]), root, target, ["v1"]), Chained([overlay, self._images.layout]), target
            )
        return self._real(*args, **options)


@pytest.mark.parametrize("suffix", ["", ".tar"], ids=["folder", "tar"])
@pytest.mark.parametrize("there", [True, False], ids=["existing", "new"])
def test_an_index_that_changes_while_it_is_appended_to(
    there: bool, suffix: str, run: Run, arguments: Arguments, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entries of both are there, and other content of the layout too."""
    arguments["path"] += suffix
    if there:
        run.done(arguments)
    images = Images(tmp_path / "others")
    meanwhile = Meanwhile(monkeypatch, images, lambda: open_layout(arguments["path"]), 3)
    done = run.done({**arguments, "append": True, "manifests": [{"src": f"oci:{tmp_path}/images:arm64"}]})
    assert done["changed"] and meanwhile.tries == 4
    found = [f"linux/other{number}" for number in (1, 2, 3)]
    assert platforms(arguments["path"]) == [*(["linux/amd64"] if there else []), *found, "linux/arm64"]
    names = [path.name for path in tmp_path.rglob(".lading-*")]
    assert done["tags"]["v1"]["before"] is not None and names == []


def test_an_index_that_never_stands_still(run: Run, arguments: Arguments, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile = Meanwhile(monkeypatch, Images(tmp_path / "others"), lambda: open_layout(arguments["path"]), float("inf"))
    monkeypatch.setattr(oci_layout_build, "_APPENDS_AT_ONCE", 2)
    message = run.failed({**arguments, "append": True})
    assert meanwhile.tries == 3 and "the ref 'v1' named sha256:" in message and message.endswith("now: run again")
    assert platforms(arguments["path"]) == ["linux/other1", "linux/other2", "linux/other3"]


def test_without_append_the_last_one_wins(run: Run, arguments: Arguments, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Meanwhile(monkeypatch, Images(tmp_path / "others"), lambda: open_layout(arguments["path"]), 1)
    run.done(arguments)
    assert platforms(arguments["path"]) == ["linux/amd64"]


def test_a_ref_goes(run: Run, arguments: Arguments, tmp_path: pathlib.Path) -> None:
    digest = run.done(arguments)["digest"]
    gone = {"path": arguments["path"], "tag": "v1", "state": "absent"}
    for check in (True, False):
        result = run.done(gone, check)
        assert result["changed"] and result["tags"] == {"v1": {"before": digest, "after": None}}
        assert result["diff"]["after"] == "v1: absent\n"
    assert not run.done(gone)["changed"] and Layout(str(tmp_path / "out")).names() == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"manifests": [], "append": True}, "append keeps the other entries of an index"),
        ({"files": [{"src": "/etc/hostname"}]}, "manifests makes an index, files an image or artifact"),
        ({"platform": "linux/amd64"}, "manifests makes an index, platform an image or artifact"),
        ({"manifests": [{"src": "oci:/x:v1", "platform": "nothing"}]}, "not a platform"),
        ({"manifests": [{"src": "oci:/x:v1", "nested": True, "platform": "linux/arm"}]}, "nested takes an index as a whole"),
        ({"manifests": [{"state": "absent", "platform": "linux/arm"}]}, "it needs append"),
        ({"manifests": [{"src": "oci:/x:v1", "annotations": {"a": 1}}]}, "manifests[0].annotations: the value of 'a' is 1"),
        ({"artifact_type": "none"}, "artifact_type"),
        ({"created": "yesterday"}, "created is 'yesterday'"),
        ({"path": "oci:out"}, "path is 'oci:out': a path is meant, without oci: and without a ref, as path: out"),
        ({"path": "oci-archive:out.tar:1", "state": "absent"}, "as path: out.tar ("),
        ({"manifests": [{"src": "oci:/no/such:v1"}]}, "source oci:/no/such"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_input_says_so(change: Arguments, says: str, run: Run, arguments: Arguments, tmp_path: pathlib.Path) -> None:
    assert says in run.failed({**arguments, **change})
    assert not (tmp_path / "out").exists()


def test_an_image_and_an_artifact(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "hello.conf").write_text("x")
    image = {"path": str(tmp_path / "out"), "tag": "v1", "platform": "linux/amd64", "layers": [{"src": str(tmp_path / "hello.conf")}]}
    assert run.done({**image, "config": {"cmd": ["/bin/hello"], "env": {"A": "b"}}})["changed"]
    artifact = {"path": str(tmp_path / "out"), "tag": "v2", "artifact_type": "a/b", "files": [{"src": str(tmp_path / "hello.conf")}]}
    assert run.done(artifact)["changed"] and not run.done(artifact)["changed"]
    assert Layout(str(tmp_path / "out")).names() == ["v1", "v2"]


def test_the_disk_works_while_a_large_layer_is_made(run: Run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in check mode, which writes none."""
    (tmp_path / "large").write_bytes(noise(9, 20 * 1024 * 1024))
    begun: t.List[int] = []
    real = os.posix_fadvise
    monkeypatch.setattr(os, "posix_fadvise", lambda *args: (begun.append(args[2]), real(*args)))
    image = {"path": str(tmp_path / "out"), "tag": "v1", "platform": "linux/amd64", "layers": [{"src": str(tmp_path / "large")}]}
    assert run.done(image, check=True)["changed"] and not begun
    assert run.done(image)["changed"] and sum(begun) > 10 * 1024 * 1024
    assert not run.done(image)["changed"]

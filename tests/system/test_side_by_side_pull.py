# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same artifact by ``oras pull`` and by oci_pull: the same files. Where the two differ, the test says so and why."""

from __future__ import annotations

import os
import pathlib
import stat
import subprocess
import typing as t

import pytest
from oras_artifacts import HELM_CHART, HELM_CONFIG, Oras
from support import Result, fail, succeed, tree_state

HTTP = {"plain_http": True}
# Kind, permission bits and content of a path.
Tree = t.Dict[str, t.Tuple[str, int, t.Union[None, str, bytes]]]


def tree(root: pathlib.Path) -> Tree:
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            # A link has no permissions of its own.
            found[str(path.relative_to(root))] = ("link", 0, os.readlink(path))
        else:
            found[str(path.relative_to(root))] = ("folder", mode, None) if path.is_dir() else ("file", mode, path.read_bytes())
    return found


class Sides:
    """``theirs`` and ``ours``: a folder for each. Every pull of ours is run twice, and the second one must change nothing."""

    def __init__(self, oras: Oras, folder: pathlib.Path) -> None:
        self.oras = oras
        self.theirs, self.ours = folder / "theirs", folder / "ours"

    def oras_pull(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.theirs.mkdir(exist_ok=True)
        command = [str(self.oras.program), "pull", "-o", ".", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.theirs, check=False, timeout=300)

    def pull(self, reference: str, *theirs: str, **ours: t.Any) -> Result:
        done = self.oras_pull("--plain-http", reference, *theirs)
        assert done.returncode == 0, done.stdout + done.stderr
        arguments = self.arguments(reference, **ours)
        result = succeed("oci_pull", arguments)
        assert not succeed("oci_pull", arguments)["changed"]
        return result

    def arguments(self, reference: str, **options: t.Any) -> t.Dict[str, t.Any]:
        return {"src": reference, "src_registry": HTTP, "dest": str(self.ours), **options}

    def same(self) -> Tree:
        """What both have."""
        found = tree(self.ours)
        assert found == tree(self.theirs)
        return found


@pytest.fixture(name="sides")
def _sides(peers: t.Any, tmp_path: pathlib.Path) -> Sides:
    return Sides(Oras(peers.require("oras"), tmp_path / "work"), tmp_path)


@pytest.fixture(name="repo")
def _repo(registry: t.Any, repository: str) -> str:
    return f"{registry.host}/{repository}"


def test_files(sides: Sides, repo: str) -> None:
    files = {"a.conf:text/plain": b"a", "etc/deep/b.conf": b"b", "again/a.conf": b"a", "empty": b"", "model.gguf": 20 * 1024 * 1024}
    sides.oras.push(f"{repo}:v1", files)
    sides.pull(f"{repo}:v1")
    assert sorted(name for name, (kind, _mode, _content) in sides.same().items() if kind == "file") == sorted(
        name.partition(":")[0] for name in files
    )


def make_folder(path: pathlib.Path) -> None:
    (path / "inner" / "empty").mkdir(parents=True)
    for name, mode in {"inner/a.txt": 0o644, "run": 0o755, "private": 0o600, "readonly": 0o444}.items():
        (path / name).write_text(name)
        (path / name).chmod(mode)
    (path / "link").symlink_to("inner/a.txt")
    (path / "inner").chmod(0o750)


def test_a_folder(sides: Sides, repo: str) -> None:
    make_folder(sides.oras.work / "assets")
    sides.oras.run("push", "--plain-http", f"{repo}:v1", "assets/")
    sides.pull(f"{repo}:v1")
    found = sides.same()
    assert found["assets/run"] == ("file", 0o755, b"run") and found["assets/link"] == ("link", 0, "inner/a.txt")
    assert found["assets/private"][1] == 0o600 and found["assets/inner"][1] == 0o750
    os.utime(sides.theirs / "assets" / "run", ns=(0, 0))
    before = tree_state(sides.theirs), tree_state(sides.ours)
    sides.pull(f"{repo}:v1")
    # oras writes every file again each time. What is equal we do not touch, so that nothing has to be reloaded.
    assert tree_state(sides.theirs) != before[0] and tree_state(sides.ours) == before[1]


def test_special_bits_of_a_folders_members(sides: Sides, repo: str) -> None:
    make_folder(sides.oras.work / "assets")
    (sides.oras.work / "assets" / "run").chmod(0o6777)
    sides.oras.run("push", "--plain-http", f"{repo}:v1", "assets/")
    sides.pull(f"{repo}:v1")
    # oras leaves setuid and setgid to whoever made the artifact, less the umask. We give no stranger's file the rights of its owner.
    assert (tree(sides.theirs)["assets/run"][1], tree(sides.ours)["assets/run"][1]) == (0o6755, 0o755)


def test_from_a_layout(sides: Sides) -> None:
    make_folder(sides.oras.work / "assets")
    sides.oras.write({"a.conf": b"a"})
    sides.oras.run("push", "--oci-layout", "layout:v1", "a.conf", "assets/")
    layout = sides.oras.work / "layout"
    assert sides.oras_pull("--oci-layout", f"{layout}:v1").returncode == 0
    succeed("oci_pull", {"src": f"oci:{layout}:v1", "dest": str(sides.ours)})
    assert "a.conf" in sides.same()


def test_the_config(sides: Sides, repo: str) -> None:
    sides.oras.write({"config.json": b'{"name":"mychart"}'})
    sides.oras.push(f"{repo}:v1", {"chart.tgz": b"chart"}, "--config", f"config.json:{HELM_CONFIG}")
    sides.pull(f"{repo}:v1")
    assert list(sides.same()) == ["chart.tgz"], "unasked neither writes it"
    sides.pull(f"{repo}:v1", "--config", "meta/config.json", config="meta/config.json")
    assert sides.same()["meta/config.json"][2] == b'{"name":"mychart"}'


def test_the_empty_config(sides: Sides, repo: str) -> None:
    sides.oras.push(f"{repo}:v1", {"a": b"a"})
    sides.pull(f"{repo}:v1", "--config", "config.json", config="config.json")
    assert sides.same()["config.json"][2] == b"{}"


def test_the_subject(sides: Sides, repo: str) -> None:
    sides.oras.push(f"{repo}:v1", {"program": b"\x7fELF"})
    sides.oras.attach(f"{repo}:sbom", f"{repo}:v1", {"sbom.json": b"{}\n"})
    sides.oras.attach(f"{repo}:signature", f"{repo}:sbom", {"signature": b"!"})
    sides.pull(f"{repo}:signature")
    assert list(sides.same()) == ["signature"]
    sides.pull(f"{repo}:signature", "--include-subject", include_subject=True)
    assert list(sides.same()) == ["program", "sbom.json", "signature"]


def push_platforms(sides: Sides, repo: str, title: str) -> None:
    for architecture in ("amd64", "arm64"):
        sides.oras.push(f"{repo}:{architecture}", {title.format(architecture): architecture.encode()})
    sides.oras.index(f"{repo}:v1", {f"linux/{architecture}": f"{repo}:{architecture}" for architecture in ("amd64", "arm64")})


def test_a_platform(sides: Sides, repo: str) -> None:
    push_platforms(sides, repo, "tool")
    result = sides.pull(f"{repo}:v1", "--platform", "linux/arm64", platform="linux/arm64")
    assert sides.same()["tool"][2] == b"arm64"
    assert result["manifest_digest"] == sides.oras.descriptor(f"{repo}:arm64")["digest"]
    assert result["digest"] == sides.oras.descriptor(f"{repo}:v1")["digest"]


def test_a_platform_that_is_not_there(sides: Sides, repo: str) -> None:
    push_platforms(sides, repo, "tool")
    assert sides.oras_pull("--plain-http", f"{repo}:v1", "--platform", "linux/s390x").returncode != 0
    message = fail("oci_pull", sides.arguments(f"{repo}:v1", platform="linux/s390x"))
    assert "linux/s390x" in message and "it has linux/amd64, linux/arm64" in message
    assert tree(sides.theirs) == tree(sides.ours) == {}


def test_all_of_an_index(sides: Sides, repo: str) -> None:
    push_platforms(sides, repo, "tool-{}")
    sides.pull(f"{repo}:v1")
    assert list(sides.same()) == ["tool-amd64", "tool-arm64"]


def test_one_title_with_two_contents(sides: Sides, repo: str) -> None:
    push_platforms(sides, repo, "tool")
    theirs = sides.oras_pull("--plain-http", f"{repo}:v1")
    assert theirs.returncode != 0 and "duplicate name" in theirs.stderr
    message = fail("oci_pull", sides.arguments(f"{repo}:v1"))
    assert "'tool' stands for two contents" in message and "choose one with platform" in message
    # All titles are judged before the first file: where oras may have written one of the two, we have written none.
    assert not sides.ours.exists()


def test_an_untitled_layer(sides: Sides, repo: str) -> None:
    sides.oras.push_untitled(f"{repo}:v1", {f"chart.tgz:{HELM_CHART}": b"chart"})
    skipped = sides.pull(f"{repo}:v1")
    assert sides.same() == {} and HELM_CHART in skipped["msg"] and len(skipped["skipped_layers"]) == 1
    # oras has no way to name it; its users copy to a layout and look for the blob.
    sides.pull(f"{repo}:v1", names={HELM_CHART: "mychart.tgz"})
    assert tree(sides.theirs) == {} and tree(sides.ours)["mychart.tgz"][2] == b"chart"


def test_a_part_of_the_files(sides: Sides, repo: str) -> None:
    sides.oras.push(f"{repo}:v1", {"a.conf": b"a", "etc/b.conf": b"b", "page:text/html": b"<p>"})
    sides.pull(f"{repo}:v1", include=["**/*.conf"], exclude=["a.*"])
    # oras pulls all or nothing.
    assert [name for name, entry in tree(sides.ours).items() if entry[0] == "file"] == ["etc/b.conf"]
    everything = tree(sides.theirs)
    assert {"a.conf", "etc/b.conf", "page"} <= everything.keys() and everything["etc/b.conf"] == tree(sides.ours)["etc/b.conf"]


def test_content_that_is_not_its_digests(sides: Sides) -> None:
    sides.oras.write({"a": b"new content"})
    sides.oras.run("push", "--oci-layout", "layout:v1", "a")
    layout = sides.oras.work / "layout"
    blob = next(path for path in (layout / "blobs" / "sha256").iterdir() if path.read_bytes() == b"new content")
    blob.chmod(0o644)
    blob.write_bytes(b"bad content")
    for folder in (sides.theirs, sides.ours):
        folder.mkdir()
        (folder / "a").write_bytes(b"old content")
    assert sides.oras_pull("--oci-layout", f"{layout}:v1").returncode != 0
    assert blob.name in fail("oci_pull", {"src": f"oci:{layout}:v1", "dest": str(sides.ours)})
    # oras truncates the file, writes to it, and verifies at last. We verify before the file gets its name.
    assert tree(sides.theirs)["a"][2] == b"bad content" and tree(sides.ours)["a"][2] == b"old content"


def test_a_link_on_the_way(sides: Sides, repo: str) -> None:
    sides.oras.push(f"{repo}:v1", {"etc/a": b"1"})
    for folder in (sides.theirs, sides.ours):
        (folder / "real").mkdir(parents=True)
        (folder / "etc").symlink_to("real")
    assert sides.oras_pull("--plain-http", f"{repo}:v1").returncode == 0
    # oras follows a link that stays in the folder. We follow none: another process may turn it while we write.
    assert "etc is a link" in fail("oci_pull", sides.arguments(f"{repo}:v1"))
    assert "real/a" in tree(sides.theirs) and "real/a" not in tree(sides.ours)

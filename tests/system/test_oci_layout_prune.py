# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""oci_layout_info and oci_layout_prune on layouts of real tools, which read them afterwards, and remove the same."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import pathlib
import shutil
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.audit import audit, verified
from ansible_collections.lading.oci.plugins.module_utils._oci.content.archive import Archive
from ansible_collections.lading.oci.plugins.module_utils._oci.content.beneath import folder
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.plugins.module_utils._oci.content.lock import locked
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.garbage import Wanted, apply_prune
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import OCIError
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import store
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.layouts import add_blob, as_tar, blob, blobs_of, flip, state
from support import Result, fail, peer, succeed

HTTP = {"plain_http": True}
FIXTURES = pathlib.Path(__file__).parent / "fixtures"
BY_OTHERS = [*sorted((FIXTURES / "layouts").iterdir()), FIXTURES / "buildkit" / "two-platforms", FIXTURES / "buildkit" / "two-names.tar"]
SKOPEO = ("--insecure-policy",)


class Made(t.NamedTuple):
    """A layout folder that several tools have written into. ``refs``: what each ref is, ``gone``: refs that were removed again."""

    path: pathlib.Path
    refs: t.Dict[str, str]
    gone: t.List[str]


@pytest.fixture(name="made")
def _made(tmp_path: pathlib.Path, peers: t.Any) -> Made:
    path, oras = tmp_path / "layout", peers.require("oras")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "big").write_bytes(b"shared" * 100000)
    digests: t.Dict[str, str] = {}
    for name, platform in itertools.product(("image-v1", "image-v2"), ("linux/amd64", "linux/arm64")):
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / "file").write_text(f"{name} {platform}")
        layers = [{"src": f"{tmp_path}/shared/"}, {"src": f"{tmp_path}/own/"}]
        build = {"path": str(tmp_path / "built"), "tag": f"{name}-{platform[6:]}", "platform": platform, "layers": layers}
        succeed("oci_layout_build", build)
    for name in ("image-v1", "image-v2"):
        items = [{"src": f"oci:{tmp_path}/built:{name}-{arch}"} for arch in ("amd64", "arm64")]
        digests[name] = succeed("oci_layout_build", {"path": str(path), "tag": name, "manifests": items})["digest"]
    for name in ("files-v1", "files-v2"):
        (tmp_path / "file.txt").write_text(name)
        peer(oras, "push", "--oci-layout", f"{path}:{name}", "file.txt:text/plain", cwd=tmp_path)
    for name in ("image-v1", "files-v2"):
        (tmp_path / "sbom.txt").write_text(f"sbom of {name}")
        attach = ("attach", "--oci-layout", f"{path}:{name}", "--artifact-type", "application/vnd.example.sbom")
        peer(oras, *attach, "sbom.txt:text/plain", cwd=tmp_path)
    copy = ("copy", f"oci:{tmp_path}/built:image-v1-amd64", f"oci:{path}:by-skopeo")
    peer(peers.require("skopeo"), *SKOPEO, *copy)
    for entry in json.loads((path / "index.json").read_text())["manifests"]:
        name = entry.get("annotations", {}).get("org.opencontainers.image.ref.name")
        if name:
            digests[name] = entry["digest"]
    gone = ["image-v2", "files-v1"]
    succeed("oci_tag", {"dest": f"oci:{path}", "tags": gone, "state": "absent"})
    return Made(path, {name: digest for name, digest in digests.items() if name not in gone}, gone)


def prune(path: pathlib.Path, **options: t.Any) -> Result:
    """Check mode says what the run does, a second run does nothing."""
    arguments = {"path": str(path), "keep_younger": 0, **options}
    planned = succeed("oci_layout_prune", arguments, check=True)
    done = succeed("oci_layout_prune", arguments)
    keys = ("changed", "removed", "removed_size", "removed_entries", "size", "diff")
    assert {key: done[key] for key in keys} == {key: planned[key] for key in keys}
    assert not succeed("oci_layout_prune", arguments)["changed"]
    return done


def test_umoci_removes_the_same(made: Made, tmp_path: pathlib.Path, peers: t.Any) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(made.path, theirs)
    peer(peers.require("umoci"), "gc", "--layout", theirs)
    before = blobs_of(Layout(str(made.path)))
    done = prune(made.path)
    assert done["changed"] and blobs_of(Layout(str(made.path))) == blobs_of(Layout(str(theirs)))
    assert before - blobs_of(Layout(str(theirs))) == {one["digest"] for one in done["removed"]}


def test_what_umoci_does_not_know(made: Made, tmp_path: pathlib.Path, peers: t.Any) -> None:
    """The differences that docs/differences.md tells."""
    saved = {name: add_blob(made.path, name.encode()) for name in ("config", "layer")}
    names = {name: f"blobs/sha256/{digest.encoded}" for name, digest in saved.items()}
    (made.path / "manifest.json").write_text(json.dumps([{"Config": names["config"], "RepoTags": None, "Layers": [names["layer"]]}]))
    theirs = tmp_path / "theirs"
    shutil.copytree(made.path, theirs)
    peer(peers.require("umoci"), "gc", "--layout", theirs)
    assert not set(saved.values()) & blobs_of(Layout(str(theirs)))
    young = succeed("oci_layout_prune", {"path": str(made.path)})
    assert not young["changed"] and young["kept_young"]
    done = prune(made.path)
    assert {one["digest"] for one in done["removed"]} == {one["digest"] for one in young["kept_young"]}
    assert blobs_of(Layout(str(made.path))) - blobs_of(Layout(str(theirs))) == set(saved.values())


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_every_tool_reads_what_is_left(made: Made, tmp_path: pathlib.Path, peers: t.Any, form: str) -> None:
    place = made.path if form == "folder" else as_tar(made.path)
    done = prune(place, keep_untagged=False)
    assert done["removed"] and done["size"] < done["size"] + done["removed_size"]
    skopeo, oras, transport = peers.require("skopeo"), peers.require("oras"), "oci" if form == "folder" else "oci-archive"
    for name, digest in made.refs.items():
        found = json.loads(peer(skopeo, "inspect", "--raw", f"{transport}:{place}:{name}"))
        assert found["schemaVersion"] == 2
        peer(skopeo, *SKOPEO, "copy", "--all", "--preserve-digests", f"{transport}:{place}:{name}", f"oci:{tmp_path}/again:{name}")
        assert Layout(str(tmp_path / "again")).resolve(name).digest == digest
    peer(oras, "pull", "--oci-layout", f"{place}:files-v2", "-o", tmp_path / "pulled")
    assert (tmp_path / "pulled" / "file.txt").read_text() == "files-v2"
    for name in ("image-v1", "files-v2"):
        assert "application/vnd.example.sbom" in peer(oras, "discover", "--oci-layout", "--format", "json", f"{place}:{name}")


def test_the_facts_are_those_of_the_tools(made: Made, peers: t.Any) -> None:
    told = succeed("oci_layout_info", {"path": str(made.path), "verify": True})
    named = {ref["ref"]: ref["digest"] for ref in told["refs"] if ref["ref"]}
    assert named == made.refs and told["damaged"] == told["invalid"] == told["missing"] == []
    assert sorted(peer(peers.require("umoci"), "list", "--layout", made.path).split()) == sorted(named)
    assert sorted(peer(peers.require("oras"), "repo", "tags", "--oci-layout", made.path).split()) == sorted(named)
    platforms = {ref["ref"]: ref["platforms"] for ref in told["refs"]}
    assert platforms["image-v1"] == ["linux/amd64", "linux/arm64"] and platforms["by-skopeo"] == ["linux/amd64"]
    files = json.loads(peer(peers.require("oras"), "discover", "--oci-layout", "--format", "json", f"{made.path}:files-v2"))
    attached = [one["digest"] for one in files.get("referrers") or files["manifests"]]
    assert [one["digest"] for one in told["referrers"][made.refs["files-v2"]]] == attached
    assert told["dangling_size"] == prune(made.path)["removed_size"]


@pytest.mark.parametrize("origin", BY_OTHERS, ids=lambda path: path.name)
def test_layouts_of_others_are_sound(origin: pathlib.Path, tmp_path: pathlib.Path, peers: t.Any) -> None:
    """Nothing in them is found to be damaged, and what umoci removes from them is what we remove."""
    path = tmp_path / origin.name
    (shutil.copytree if origin.is_dir() else shutil.copy)(origin, path)
    before = state(path)
    told = succeed("oci_layout_info", {"path": str(path), "verify": True})
    entries = (Layout if origin.is_dir() else Archive)(str(path)).index.entries
    assert told["damaged"] == told["missing"] == [] and len(told["refs"]) == len(entries) and state(path) == before
    if origin.is_dir():
        theirs = tmp_path / "theirs"
        shutil.copytree(origin, theirs)
        peer(peers.require("umoci"), "gc", "--layout", theirs)
        prune(path)
        assert blobs_of(Layout(str(path))) == blobs_of(Layout(str(theirs)))
    else:
        assert not prune(path)["changed"] and state(path) == before


def test_a_registry_makes_good_what_a_disk_has_lost(
    made: Made, tmp_path: pathlib.Path, peers: t.Any, registry: t.Any, repository: str
) -> None:
    """What skopeo could not read any more it reads again; the requests are those for what was lost."""
    skopeo, dest = peers.require("skopeo"), f"{registry.host}/{repository}"
    for name in made.refs:
        copy = {"src": f"oci:{made.path}:{name}", "dest": f"{dest}:{name}", "dest_registry": HTTP, "referrers": True}
        succeed("oci_copy", copy)
    sound = {digest: blob(made.path, digest).read_bytes() for digest in audit(Layout(str(made.path))).reach.edges}
    layout = Layout(str(made.path))
    image, files = layout.resolve("image-v1"), layout.resolve("files-v2")
    below = layout.under(image)
    flip(made.path, below[-1])
    flip(made.path, below[1])
    blob(made.path, files).unlink()
    refused = subprocess.run(
        [skopeo, *SKOPEO, "copy", "--all", f"oci:{made.path}:image-v1", f"oci:{tmp_path}/x:x"], capture_output=True, check=False
    )
    assert refused.returncode != 0
    told = succeed("oci_layout_info", {"path": str(made.path), "verify": True})
    assert {one["digest"] for one in told["damaged"]} == {below[-1].digest, below[1].digest}
    assert files.digest in {one["digest"] for one in told["missing"]}
    arguments = {"path": str(made.path), "verify": True, "repair_from": [dest], "repair_registry": HTTP}
    planned = succeed("oci_layout_info", arguments, check=True)
    done = succeed("oci_layout_info", arguments)
    assert done["repaired"] == planned["repaired"] and {one["digest"] for one in done["repaired"]} == {
        below[-1].digest,
        below[1].digest,
        files.digest,
    }
    assert done["requests"] == {"GET": 3, "HEAD": 1}
    assert not succeed("oci_layout_info", arguments)["changed"]
    assert {digest: blob(made.path, digest).read_bytes() for digest in sound} == sound
    for name in made.refs:
        peer(skopeo, *SKOPEO, "copy", "--all", f"oci:{made.path}:{name}", f"oci:{tmp_path}/again:{name}")


def test_another_layout_makes_good_a_tar(made: Made, tmp_path: pathlib.Path, peers: t.Any) -> None:
    shutil.copytree(made.path, tmp_path / "good")
    image = Layout(str(made.path)).resolve("image-v1")
    flip(made.path, Layout(str(made.path)).under(image)[-1])
    tar = as_tar(made.path)
    assert succeed("oci_layout_info", {"path": str(tar), "verify": True, "repair_from": [f"oci:{tmp_path}/good"]})["changed"]
    peer(peers.require("skopeo"), *SKOPEO, "copy", "--all", f"oci-archive:{tar}:image-v1", f"oci:{tmp_path}/again:x")
    found = verified(audit(Archive(str(tar))), 2)
    assert not found.damaged and not found.missing


def test_a_layout_that_is_written_is_waited_for(made: Made, tmp_path: pathlib.Path) -> None:
    """Of another process: as soon as it ends, however it does, the blobs go."""
    code = (
        "import sys; from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout;"
        "from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Incoming;"
        "layout = Layout(sys.argv[1]);"
        "bracket = layout.receiving(Incoming(layout.resolve('by-skopeo')));"
        "bracket.__enter__(); print('writing', flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(made.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
    with pytest.raises(OCIError, match="is locked by another process"), removing(made.path):
        pass
    writer.kill()
    writer.communicate()
    assert prune(made.path)["changed"]


@contextlib.contextmanager
def removing(path: pathlib.Path) -> t.Iterator[None]:
    """The lock that whoever removes holds, without the patience."""
    with folder(str(path / "blobs")) as blobs, locked(blobs, str(path), wait=0.2):
        yield


WRITERS, ROUNDS = 4, 12
PATIENCE = 200  # seconds, until something was removed
# Of the processes that are forked from this one.
REMOVED = multiprocessing.get_context("fork").Event()


def rounds(least: int) -> t.Iterator[int]:
    """As many, and on until something was removed: how the processes take turns is not for the test to say."""
    end = time.monotonic() + PATIENCE
    return itertools.takewhile(lambda number: number < least or not (REMOVED.is_set() or time.monotonic() > end), itertools.count())


def write_again_and_again(path: str, source: str, name: str) -> t.List[str]:
    """A ref comes and goes and comes; what it said that was no plain success."""
    words = []
    for _round in rounds(ROUNDS):
        layout, target = Layout(source), Layout(path)
        try:
            apply_copy(plan_copy(layout, layout.resolve(name), target, [name]), layout, target)
            Layout(path).untag(name)
        except OCIError as error:
            words.append(str(error))
    while True:
        layout, target = Layout(source), Layout(path)
        try:
            apply_copy(plan_copy(layout, layout.resolve(name), target, [name]), layout, target)
            return words
        except OCIError as error:
            words.append(str(error))


def prune_again_and_again(path: str, _source: str, _name: str) -> t.List[str]:
    removed = 0
    for _round in rounds(ROUNDS * 3):
        removed += len(apply_prune(Layout(path), Wanted(0)).blobs)
        if removed:
            REMOVED.set()
    return [f"removed {removed}"]


def test_writers_and_who_removes_at_once(tmp_path: pathlib.Path) -> None:
    """Whatever the order, a ref that was written has all of its content; who counted on what went says so, and does it again."""
    source, path, names = str(tmp_path / "source"), str(tmp_path / "target"), [f"r{number}" for number in range(WRITERS)]
    for name in names:
        store(Layout(source), [name], name.encode() * 1000, b"shared" * 1000)
    store(Layout(path), ["stays"], b"stays" * 1000)
    work = [(write_again_and_again, name) for name in names] + [(prune_again_and_again, "")] * 2
    with multiprocessing.get_context("fork").Pool(len(work)) as pool:
        waiting = [pool.apply_async(act, (path, source, name)) for act, name in work]
        words = [one.get(timeout=240) for one in waiting]
    assert any(said != ["removed 0"] for said in words[WRITERS:]), "nothing was removed: this shows nothing"
    for said in itertools.chain(*words[:WRITERS]):
        assert "and is gone: run again" in said or "no manifest" in said or "blob" in said, said
    found = verified(audit(Layout(path)), 4)
    assert Layout(path).names() == [*names, "stays"] and not found.damaged and not found.missing
    apply_prune(Layout(path), Wanted(0))
    assert not verified(audit(Layout(path)), 4).missing and not audit(Layout(path)).dangling


def test_words_of_a_layout_that_is_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "docker.tar").write_bytes(b"no tar at all" * 100)
    for module in ("oci_layout_info", "oci_layout_prune"):
        assert "docker.tar" in fail(module, {"path": str(tmp_path / "docker.tar")})

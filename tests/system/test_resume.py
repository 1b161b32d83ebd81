# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pull or copy that was cut goes on in the next run (threat rows 34 and 60): bytes are counted by a proxy before the registry."""

from __future__ import annotations

import json
import pathlib
import re
import signal
import typing as t
import uuid

import pytest
from cutting_proxy import CUT_ONCE, HOLD, CuttingProxy
from resuming import KINDS, MIB, SENT, Published, Transfer, publish
from support import peer, start_module, succeed

SIZE_MIB = 64


@pytest.fixture(scope="module", name="published")
def _published(tmp_path_factory: pytest.TempPathFactory, registry: t.Any) -> Published:
    return publish(tmp_path_factory.mktemp("resume"), registry.host, f"resume/{uuid.uuid4().hex[:12]}", SIZE_MIB)


@pytest.fixture(name="proxy")
def _proxy(registry: t.Any) -> t.Iterator[CuttingProxy]:
    with CuttingProxy(registry.host) as proxy:
        yield proxy


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_link(kind: str, published: Published, proxy: CuttingProxy, tmp_path: pathlib.Path) -> None:
    transfer = Transfer(kind, tmp_path, published, proxy)
    message = transfer.cut()
    kept = re.search(r"the first ([0-9]+) bytes are kept in (\S+), the next run goes on from there", message)
    assert kept and int(kept.group(1)) > 0.85 * published.size, message
    assert [pathlib.Path(kept.group(2))] == transfer.partials()
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in transfer.partials())
    share = transfer.go_on()
    print(f"{kind}: {share:.1%} were sent by the second run")
    assert share <= SENT
    transfer.check()


@pytest.mark.parametrize("kind", KINDS)
def test_kill_9(kind: str, published: Published, proxy: CuttingProxy, tmp_path: pathlib.Path) -> None:
    transfer = Transfer(kind, tmp_path, published, proxy)
    transfer.kill()
    share = transfer.go_on()
    print(f"{kind}: {share:.1%} were sent by the second run")
    assert share <= SENT
    transfer.check()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_kept_and_is_damaged(kind: str, published: Published, proxy: CuttingProxy, tmp_path: pathlib.Path) -> None:
    """The digest over the whole decides; then everything is fetched once more."""
    transfer = Transfer(kind, tmp_path, published, proxy)
    transfer.cut()
    (partial,) = transfer.partials()
    with partial.open("r+b") as file:
        file.seek(30 * MIB)
        file.write(b"damaged")
    assert 1 <= transfer.go_on() < 1 + SENT
    transfer.check()


@pytest.mark.parametrize("kind", KINDS)
def test_check_mode_leaves_what_was_kept(kind: str, published: Published, proxy: CuttingProxy, tmp_path: pathlib.Path) -> None:
    transfer = Transfer(kind, tmp_path, published, proxy)
    transfer.cut()
    (partial,) = transfer.partials()
    before = (partial.stat().st_ino, partial.stat().st_mtime_ns, partial.stat().st_size)
    proxy.heal()
    assert succeed(transfer.module, transfer.arguments, check=True)["changed"]
    assert transfer.partials() == [partial]
    assert (partial.stat().st_ino, partial.stat().st_mtime_ns, partial.stat().st_size) == before


def test_peers_do_not_see_what_was_kept(
    published: Published, proxy: CuttingProxy, tmp_path: pathlib.Path, peers: t.Any, registry: t.Any
) -> None:
    """A cut copy into a layout that has another image: that one is there for everybody, and nothing else."""
    (tmp_path / "a.txt").write_text("a")
    layers = [{"src": str(tmp_path / "a.txt"), "dest": "/a.txt"}]
    succeed("oci_layout_build", {"path": str(tmp_path / "copy"), "tag": "other", "layers": layers})
    Transfer("folder", tmp_path, published, proxy).cut()
    layout = tmp_path / "copy"
    assert [path.name for path in layout.glob(".lading-partial-*")]
    assert peer(peers.require("oras"), "repo", "tags", "--oci-layout", layout).split() == ["other"]
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    skopeo = (peers.require("skopeo"), "--policy", policy, "copy", f"oci:{layout}:other", f"oci:{tmp_path}/by-skopeo:other")
    peer(*skopeo)
    peer(peers.require("oras"), "cp", "--from-oci-layout", f"{layout}:other", "--to-oci-layout", f"{tmp_path}/by-oras:other")
    pushed = f"{registry.host}/resume/{uuid.uuid4().hex[:12]}:v1"
    peer(peers.require("crane"), "push", "--insecure", layout, pushed)
    assert json.loads(peer(peers.require("crane"), "manifest", "--insecure", pushed))["layers"]
    for name in ("by-skopeo", "by-oras"):
        assert not list((tmp_path / name).rglob(".lading-*"))


def test_a_person_who_ends_it_finds_nothing_left(published: Published, proxy: CuttingProxy, tmp_path: pathlib.Path) -> None:

    transfer = Transfer("folder", tmp_path, published, proxy)
    proxy.break_after(HOLD, down=published.size // 2)
    process = start_module(transfer.module, {**transfer.arguments, "_ansible_remote_tmp": "/tmp"})
    assert proxy.broken.wait(300)
    process.send_signal(signal.SIGINT)
    proxy.heal()
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert transfer.partials() == []


def test_other_content_under_the_same_name(published: Published, proxy: CuttingProxy, tmp_path: pathlib.Path, registry: t.Any) -> None:
    """The tag was moved between the runs: what was kept is of no use, and goes."""
    (tmp_path / "b.txt").write_text("b")
    other = f"{registry.host}/{published.repository}:other"
    files = [{"src": str(tmp_path / "b.txt")}]
    build = {"path": str(tmp_path / "b"), "tag": "v1", "artifact_type": "application/vnd.lading.test", "files": files}
    succeed("oci_layout_build", build)
    succeed("oci_copy", {"src": f"oci:{tmp_path}/b:v1", "dest": other, "dest_registry": {"plain_http": True}})
    place = tmp_path / "place"
    for kind in KINDS:
        transfer = Transfer(kind, place, published, proxy)
        place.mkdir(exist_ok=True)
        transfer.cut()
        proxy.heal()
        succeed(transfer.module, {**transfer.arguments, "src": f"{proxy.host}/{published.repository}:other"})
        assert transfer.partials() == []


def push_that_is_cut(published: Published, proxy: CuttingProxy) -> float:
    """A push whose link breaks once, at nine tenths; the share of the content that was sent again."""
    push = {
        "src": f"oci:{published.layout}:v1",
        "dest": f"{proxy.host}/resume/{uuid.uuid4().hex[:12]}:v1",
        "dest_registry": {"plain_http": True, "timeout": 20},
    }
    proxy.break_after(CUT_ONCE, up=published.size * 9 // 10)
    assert succeed("oci_copy", push)["changed"]
    assert proxy.broken.is_set()
    again = proxy.up / published.size - 1
    print(f"{again:.1%} were sent again")
    return again


def test_an_upload_goes_on_within_its_run(published: Published, referrers_registry: t.Any) -> None:
    """Threat row 41: in one PUT; the registry says how far it got."""
    with CuttingProxy(referrers_registry.host) as proxy:
        assert push_that_is_cut(published, proxy) < SENT


def test_an_upload_that_a_registry_forgets_is_sent_again(published: Published, proxy: CuttingProxy) -> None:
    """Distribution ends a session in which a request was cut: then the blob is sent anew, once."""
    assert push_that_is_cut(published, proxy) < 0.9 + SENT

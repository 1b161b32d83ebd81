# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plays of docs/air-gap.md, one side after the other: in check mode, for real, and again, when nothing changes."""

from __future__ import annotations

import pathlib
import re
import shutil
import typing as t

import yaml
from ansible_runs import run_playbook
from examples import ROOT, adapted, make_signed
from support import succeed

YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CHANGED = re.compile(r"changed=(\d+)")
Play = t.Dict[str, t.Any]


def plays_of_the_page(here: t.Mapping[str, str], registry: t.Any) -> t.Dict[str, Play]:
    """By the hosts that they are for. Here those are all this machine, and the registry has no TLS."""
    defaults = {"group/lading.oci.registry": {"registries": [{"host": registry.host, "plain_http": True}]}}
    common = {"hosts": "localhost", "connection": "local", "gather_facts": False, "module_defaults": defaults}
    blocks = YAML_BLOCK.findall((ROOT / "docs" / "air-gap.md").read_text())
    return {play["hosts"]: {**play, **common} for block in blocks for play in adapted(block, here)}


def run(play: Play, folder: pathlib.Path, *options: str, returncode: int = 0) -> str:
    """What it prints."""
    playbook = folder / "playbook.yml"
    playbook.write_text(yaml.safe_dump([play], sort_keys=False))
    done = run_playbook([*options, str(playbook)])
    assert done.returncode == returncode, done.stdout + done.stderr
    return done.stdout


def changes(play: Play, folder: pathlib.Path, *options: str) -> int:
    """Run it; how many tasks changed something, or would."""
    counts = CHANGED.search(run(play, folder, *options).rpartition("PLAY RECAP")[2])
    assert counts
    return int(counts.group(1))


def digest_at(reference: str) -> t.Optional[str]:
    (found,) = succeed("oci_info", {"src": reference, "src_registry": {"plain_http": True}, "gather": []})["images"]
    return found.get("digest")


def digests(layout: pathlib.Path) -> t.Dict[str, str]:
    return {ref["ref"]: ref["digest"] for ref in succeed("oci_layout_info", {"path": str(layout)})["refs"]}


def test_the_air_gap(place: t.Tuple[pathlib.Path, t.Dict[str, str]], registry: t.Any) -> None:
    folder, here = place
    # A return value is called pinned, too.
    here = {**here, "/etc/pki/": f"{folder}/", "pinned": "pinned"}
    transfer, inbox = folder / "srv" / "transfer", folder / "srv" / "inbox"
    make_signed(folder, here["registry.example.com/"])
    plays = plays_of_the_page(here, registry)
    assert sorted(plays) == ["edge", "landing", "lonely", "packing"]

    assert changes(plays["packing"], folder, "--check", "--diff") == 3
    assert not transfer.exists()
    assert [changes(plays["packing"], folder) for _run in range(2)] == [3, 0]
    assert set(digests(transfer / "releases.tar")) == {"1.2.0", "1.3.0", "2.0.0"}
    app = digests(transfer / "app.tar")
    assert any(ref.endswith(".sig") for ref in app)

    shutil.copytree(transfer, inbox)
    (inbox / "site.tar").write_bytes((transfer / "site.tar").read_bytes().replace(b"listen 80", b"listen 81"))
    assert "It has arrived as it was sent" in run(plays["landing"], folder, returncode=2)
    assert digest_at(f"{here['edge.example.com:5000/']}team/app:1.4") is None

    shutil.copy(transfer / "site.tar", inbox)
    shutil.rmtree(transfer)
    assert [changes(plays["landing"], folder) for _run in range(2)] == [3, 0]
    for side in ("registry.example.com/", "edge.example.com:5000/"):
        assert digest_at(f"{here[side]}team/app:1.4") == app["1.4"]

    for hosts in ("edge", "lonely"):
        assert changes(plays[hosts], folder) >= 1
        assert changes(plays[hosts], folder) == 0
        assert (folder / "opt" / "site" / "site.conf").read_text() == "listen 80\n"
        assert (folder / "opt" / "site" / "assets" / "logo.svg").read_text() == "<svg/>"

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run with nothing to do imports and asks for. Ansible sends source code, so each task compiles all of it that it imports."""

from __future__ import annotations

import json
import pathlib
import typing as t

import imported
import pytest
from support import Result, start_module, succeed

PLAIN = {"plain_http": True}
# What takes long to import, or has no use where there is no TLS, no login, nothing to compress, and nothing to check.
COSTLY = {"requests", "jsonschema", "certifi", "tarfile", "urllib3.contrib.socks", "multiprocessing", "asyncio", "zstandard"}
OF_REGISTRIES = {"urllib3", "http.client", "ssl", "email.message", "ipaddress"}


class Case(t.NamedTuple):
    """``lines``: the most of our own that may be imported. ``requests``: of the source, of the destination."""

    module: str
    arguments: t.Dict[str, t.Any]
    lines: int
    requests: t.Tuple[t.Dict[str, int], t.Dict[str, int]]
    without: t.Set[str] = COSTLY


def again(case: Case) -> t.Tuple[Result, str]:
    """The answer, and what ``-X importtime`` tells."""
    process = start_module(case.module, {**case.arguments, "_ansible_remote_tmp": "/tmp"}, options=("-X", "importtime"))
    out, told = process.communicate(timeout=300)
    return json.loads(out), told


@pytest.fixture(name="cases")
def _cases(tmp_path: pathlib.Path, registry: t.Any, repository: str) -> t.Dict[str, Case]:
    """Each done once."""
    content = tmp_path / "content"
    content.mkdir()
    (content / "a.txt").write_text("a")
    layout, host = f"oci:{tmp_path / 'layout'}", f"{registry.host}/{repository}"
    image = {"path": str(tmp_path / "layout"), "tag": "image", "layers": [{"src": str(content), "dest": "/srv"}], "platform": "linux/amd64"}
    files = {"path": str(tmp_path / "layout"), "tag": "files", "artifact_type": "application/vnd.example"}
    files["files"] = [{"src": str(content / "a.txt")}]
    push = {"src": f"{layout}:image", "dest": f"{host}:image", "dest_registry": PLAIN}
    across = {"src": f"{host}:image", "src_registry": PLAIN, "dest": f"{host}-copy:image", "dest_registry": PLAIN}
    fetch = {"src": f"{host}:image", "src_registry": PLAIN, "dest": f"oci:{tmp_path / 'fetched'}:image"}
    pull = {"src": f"{host}:files", "src_registry": PLAIN, "dest": str(tmp_path / "pulled")}
    digest = succeed("oci_layout_build", image)["digest"]
    pinned = {**fetch, "src": f"{host}@{digest}"}
    found = {
        "build": Case("oci_layout_build", image, BUILD, ({}, {}), COSTLY | OF_REGISTRIES),
        "build of files": Case("oci_layout_build", files, BUILD, ({}, {}), COSTLY | OF_REGISTRIES),
        "layout to registry": Case("oci_copy", push, COPY, ({}, {"HEAD": 1})),
        "registry to registry": Case("oci_copy", across, COPY, ({"HEAD": 1}, {"HEAD": 1})),
        "registry to layout": Case("oci_copy", fetch, COPY, ({"HEAD": 1}, {})),
        "pinned to layout": Case("oci_copy", pinned, COPY, ({}, {})),
        "pull": Case("oci_pull", pull, PULL, ({"HEAD": 1}, {})),
    }
    for name, case in found.items():
        if name == "pull":
            succeed("oci_copy", {"src": f"{layout}:files", "dest": f"{host}:files", "dest_registry": PLAIN})
        succeed(case.module, case.arguments)
    return found


# A little over what they are. Where one has to grow, the file that grew is best divided by what few runs need.
BUILD, COPY, PULL = 6100, 5350, 6700


def test_nothing_to_do_imports_little(cases: t.Dict[str, Case]) -> None:
    for name, case in cases.items():
        result, told = again(case)
        assert result["changed"] is False, f"{name}: {result}"
        asked = result["stats"]["requests"]
        assert (asked["source"], asked["destination"]) == case.requests, f"{name}: {asked}"
        ours, others = imported.lines(told), imported.names(told)
        assert 1000 < sum(ours.values()) <= case.lines, f"{name}: {sum(ours.values())} lines of {dict(sorted(ours.items()))}"
        assert not others & case.without, f"{name} imports {sorted(others & case.without)}"


def test_what_is_needed_is_seen(cases: t.Dict[str, Case]) -> None:
    """The look at imports sees them: a build that compresses something imports what compresses."""
    case = cases["build"]
    pathlib.Path(case.arguments["layers"][0]["src"], "b.txt").write_text("b")
    result, told = again(case)
    assert result["changed"] is True
    assert "plugins.module_utils._oci.content.codec" in imported.lines(told)

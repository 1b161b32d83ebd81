# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mistakes that docs/troubleshooting.md has are made, and the message of each is the one that stands there."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_runs import run_ansible
from support import fail, succeed

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"
# A cell may have a code span with pipes; the page's have none.
ROW = re.compile(r"^\| (?P<mistake>[^|]+) \| `(?P<message>[^|]+)` \| (?P<advice>[^|]+) \|$", re.MULTILINE)
ROWS = {row["mistake"]: row["message"] for row in ROW.finditer(PAGE.read_text())}
PLAIN = {"plain_http": True}
Task = t.Tuple[str, t.Dict[str, t.Any]]


class World(t.NamedTuple):
    """``layout`` has v1, an image, and multi, an index; the registry has them as app and multi, and an artifact, site."""

    folder: pathlib.Path
    host: str
    secure: t.Any

    @property
    def layout(self) -> str:
        return f"oci:{self.folder / 'layout'}"

    def copy(self, src: str, **options: t.Any) -> Task:
        return "oci_copy", {"src": src, "dest": f"oci:{self.folder / 'new'}:v1", **options}

    def fetch(self, rest: str, **options: t.Any) -> Task:
        """From the registry without TLS."""
        return self.copy(f"{self.host}/{rest}", src_registry=PLAIN, **options)

    def fetch_all(self, rest: str, **options: t.Any) -> Task:
        return self.fetch(rest, **{"dest": f"oci:{self.folder / 'new'}", **options})

    def login(self, **options: t.Any) -> Task:
        """From the one with TLS and a login."""
        return self.copy(f"{self.secure.host}/team/app:1.4", src_registry={"retries": 0, **options})

    def pull(self, rest: str, **options: t.Any) -> Task:
        return "oci_pull", {"src": f"{self.host}/{rest}", "src_registry": PLAIN, "dest": str(self.folder / "pulled"), **options}

    def push(self, **options: t.Any) -> Task:
        return "oci_push", {"dest": f"{self.host}/team/site:2", "dest_registry": PLAIN, **options}


@pytest.fixture(scope="module", name="world")
def _world(tmp_path_factory: pytest.TempPathFactory, registry: t.Any, secure_registry: t.Any) -> World:
    world = World(tmp_path_factory.mktemp("mistakes"), registry.host, secure_registry)
    images = Images(world.folder / "layout")
    images.index(*(images.image(tar_of(arch=name), platform=f"linux/{name}") for name in ("amd64", "arm64")), tags=["multi"])
    images.image(tar_of(name="app"), tags=["v1"])
    (world.folder / "f.txt").write_text("x")
    (world.folder / "empty").mkdir()
    (world.folder / "other").mkdir()
    (world.folder / "other" / "file").write_text("x")
    (world.folder / "text.tar").write_text("no tar")
    for ref, rest in (("v1", "app:1.4"), ("multi", "multi:1.4")):
        succeed("oci_copy", {"src": f"{world.layout}:{ref}", "dest": f"{world.host}/team/{rest}", "dest_registry": PLAIN})
    succeed(*world.push(dest=f"{world.host}/team/site:1", files=[{"src": str(world.folder / "f.txt")}]))
    succeed("oci_copy", {"src": f"{world.layout}:v1", "dest": f"oci:{world.folder / 'app.tar'}:v1"})
    whole = (world.folder / "app.tar").read_bytes()
    (world.folder / "cut.tar").write_bytes(whole[: len(whole) // 2])
    return world


MISTAKES: t.Dict[str, t.Callable[[World], Task]] = {
    "the host is left out: `alpine:3`": lambda world: world.copy("alpine:3"),
    "a path without `oci:`": lambda world: world.copy(str(world.folder / "layout")),
    "a URL: `http://HOST/REPOSITORY`": lambda world: world.copy(f"http://{world.host}/team/app:1.4"),
    "a transport of other tools: `docker-daemon:app:1`": lambda world: world.copy("docker-daemon:app:1"),
    "a reference where a path is meant: `path: oci:app.tar:1.4`": lambda world: (
        "oci_layout_build",
        {"path": "oci:app.tar:1.4", "tag": "1.4", "layers": [{"src": str(world.folder / "f.txt")}]},
    ),
    "upper case in a repository": lambda world: world.fetch("Team/App:1.4"),
    "no tag": lambda world: world.fetch("team/app"),
    "no tag at the destination": lambda world: world.copy(f"{world.layout}:v1", dest=f"{world.host}/team/untagged", dest_registry=PLAIN),
    "a digest that is cut": lambda world: world.fetch("team/app@sha256:12"),
    "a tag that is a number: `tag: 2.30`": lambda world: (
        "oci_layout_build",
        {"path": str(world.folder / "new"), "tag": 2.30, "layers": [{"src": str(world.folder / "f.txt")}]},
    ),
    "a tag in the reference and in its own option": lambda world: world.fetch("team/app:1.4", src_ref="1.4"),
    "a tag beside `all_tags`": lambda world: world.fetch("team/app:1.4", all_tags=True),
    '`tags_matching: "*"`': lambda world: world.fetch_all("team/app", tags_matching="*"),
    "`tags_matching` that no tag matches": lambda world: world.fetch_all("team/app", tags_matching="semver:>=7"),
    "a wrong tag": lambda world: world.fetch("team/app:9"),
    "a wrong repository": lambda world: world.fetch_all("team/nothing", all_tags=True),
    "no login": lambda world: world.login(ca_path=str(world.secure.ca_path)),
    "a wrong password": lambda world: world.login(ca_path=str(world.secure.ca_path), username="tester", password="not this one"),
    "a user name without a password": lambda world: world.login(username="tester"),
    "HTTPS to a registry without TLS": lambda world: world.copy(f"{world.host}/team/app:1.4"),
    "`dest_registry: true`": lambda world: world.copy(f"{world.layout}:v1", dest=f"{world.host}/team/app:1.4", dest_registry=True),
    "HTTP to a registry with TLS": lambda world: world.login(plain_http=True),
    "a certificate of a private CA": lambda world: world.login(),
    "a certificate file that is not there": lambda world: world.login(ca_path=str(world.folder / "none.pem")),
    "a registry that does not run": lambda world: world.copy("127.0.0.1:1/team/app:1.4", src_registry={**PLAIN, "retries": 0}),
    "a host that nobody knows": lambda world: world.copy("registry.invalid/team/app:1.4", src_registry={"retries": 0}),
    "registry options beside a layout": lambda world: world.copy(f"{world.layout}:v1", src_registry=PLAIN),
    "a tag removed where registries cannot": lambda world: (
        "oci_tag",
        {"dest": f"{world.host}/team/app:1.4", "dest_registry": PLAIN, "state": "absent"},
    ),
    "a tag that must not move": lambda world: world.copy(
        f"{world.layout}:multi", dest=f"{world.host}/team/app:1.4", dest_registry=PLAIN, force_tag=False
    ),
    "no such folder": lambda world: world.copy(f"oci:{world.folder / 'nothing'}:v1"),
    "a wrong ref": lambda world: world.copy(f"{world.layout}:v9"),
    "several refs, and none chosen": lambda world: world.copy(world.layout),
    "an empty folder": lambda world: world.copy(f"oci:{world.folder / 'empty'}:v1"),
    "a folder of other files": lambda world: world.copy(f"{world.layout}:v1", dest=f"oci:{world.folder / 'other'}:v1"),
    "a file that is no tar": lambda world: world.copy(f"oci:{world.folder / 'text.tar'}:v1"),
    "a tar that was cut on its way": lambda world: world.copy(f"oci:{world.folder / 'cut.tar'}:v1"),
    "a path below a file": lambda world: world.copy(f"oci:{world.folder / 'f.txt' / 'app.tar'}:v1"),
    "a folder called a tar": lambda world: world.copy(f"oci-archive:{world.folder / 'layout'}:v1"),
    "a layout tar called Docker's": lambda world: world.copy(f"docker-archive:{world.folder / 'app.tar'}:v1"),
    "Docker's tar as a destination": lambda world: world.fetch("team/app:1.4", dest=f"docker-archive:{world.folder / 'new.tar'}:v1"),
    # Not even root makes a folder there.
    "a place that cannot be written to": lambda world: world.copy(f"{world.layout}:v1", dest="oci:/sys/lading:v1"),
    "a typo in a platform": lambda world: world.fetch("team/multi:1.4", platforms=["linux/arm46"]),
    "half a platform: `arm64`": lambda world: world.fetch("team/multi:1.4", platforms=["arm64"]),
    "an image for another platform": lambda world: world.fetch("team/app:1.4", platforms=["linux/s390x"]),
    "an artifact pulled as an image": lambda world: world.pull("team/site:1", unpack="rootfs"),
    "an image pulled as files": lambda world: world.pull("team/app:1.4"),
    "a glob or media type that nothing has": lambda world: world.pull("team/site:1", include=["*.conf"]),
    "a file where a folder is to be": lambda world: world.pull("team/site:1", dest=str(world.folder / "f.txt")),
    "files that are on the controller only": lambda world: world.push(files=[{"src": str(world.folder / "none.txt")}]),
    "a list of paths, or one path, for `files`": lambda world: world.push(files=[str(world.folder / "f.txt")]),
    "a command as one text: `cmd: /bin/sh -c ls`": lambda world: (
        "oci_layout_build",
        {"path": str(world.folder / "new"), "tag": "v1", "config": {"cmd": "/bin/sh -c ls"}},
    ),
    "a media type that is none": lambda world: world.push(artifact_type="sbom", files=[{"src": str(world.folder / "f.txt")}]),
    "an option that there is not": lambda world: world.fetch("team/app", tag="1.4"),
    "nothing to verify by": lambda world: ("oci_verify", {"src": f"{world.host}/team/app:1.4", "src_registry": PLAIN}),
}


WARNINGS = {"no tag at the destination", "`tags_matching` that no tag matches", "an image pulled as files"}
# What the action plugin sees, before the module has its arguments.
ON_THE_CONTROLLER = {
    "a tag that is a number: `tag: 2.30`",
    "`dest_registry: true`",
    "a list of paths, or one path, for `files`",
    "a command as one text: `cmd: /bin/sh -c ls`",
}


def said_of(world: World, mistake: str) -> str:
    """The message of the error or, where there is none to be, of the warning."""
    module, arguments = MISTAKES[mistake](world)
    if mistake in WARNINGS:
        warnings = succeed(module, arguments)["warnings"]
        return "\n".join(text if isinstance(text, str) else text["event"]["msg"] for text in warnings)
    if mistake not in ON_THE_CONTROLLER:
        return fail(module, arguments)
    done = run_ansible("ansible", ["localhost", "-m", f"lading.oci.{module}", "-a", json.dumps(arguments)])
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def test_the_page_has_all_of_them() -> None:
    assert set(MISTAKES) >= WARNINGS | ON_THE_CONTROLLER
    assert list(ROWS) == list(MISTAKES) and len(ROWS) >= 30


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(world: World, mistake: str) -> None:
    said = said_of(world, mistake)
    pattern = ".*".join(map(re.escape, ROWS[mistake].split("...")))
    assert re.search(pattern, said, re.DOTALL), said
    assert not (world.folder / "new").exists() and not (world.folder / "pulled").exists()


def test_on_the_command_line(world: World, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page says of one-liners: lists with commas, dictionaries as name=value, and the whole as JSON."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.conf").write_text("listen 80\n")
    dest = f"{world.host}/{tmp_path.name.lower().replace('_', '-')}/site:1"
    whole = json.dumps({"src": dest, "src_registry": PLAIN, "gather": ["manifest", "tags"]})
    lines = [
        ("oci_push", f"dest={dest} tags=v1,latest files=src=site.conf dest_registry=plain_http=true,retries=0"),
        ("oci_info", f"src={dest} gather=manifest,tags src_registry=plain_http=true"),
        ("oci_info", whole),
    ]
    said = []
    for module, arguments in lines:
        done = run_ansible("ansible", ["localhost", "-m", f"lading.oci.{module}", "-a", arguments])
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(json.loads(done.stdout[done.stdout.index("{") :]))
    assert said[0]["changed"] and sorted(said[0]["tags"]) == ["1", "latest", "v1"]
    assert said[1] == said[2]
    assert said[2]["images"][0]["layers"][0]["annotations"]["org.opencontainers.image.title"] == "site.conf"
    assert sorted(said[2]["images"][0]["tags"]) == ["1", "latest", "v1"]

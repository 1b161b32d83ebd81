# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks of the collection as a person runs them: in check mode from nothing, for real, again, and with what goes wrong."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
import yaml
from ansible_collections.lading.oci.plugins.module_utils._oci.content.layout import Layout
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.images import Images, tar_of
from ansible_runs import run_playbook
from support import succeed

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECAP = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
QUIET = {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"}
PLAIN = {"plain_http": True}
SBOM = "application/vnd.example.sbom"


class Runner:
    """One playbook with its variables, run from a folder of its own."""

    def __init__(self, folder: pathlib.Path, name: str, inventory: str = "") -> None:
        self.folder, self.name, self.inventory = folder, name, inventory

    def _run(self, values: t.Mapping[str, t.Any], *options: str) -> t.Tuple[int, str]:
        (self.folder / "vars.json").write_text(json.dumps(values))
        hosts = ["-i", self.inventory] if self.inventory else []
        done = run_playbook([*hosts, f"lading.oci.{self.name}", "-e", f"@{self.folder / 'vars.json'}", *options], **QUIET)
        return done.returncode, done.stdout + done.stderr

    def changed(self, values: t.Mapping[str, t.Any], *options: str) -> int:
        """How many tasks of all hosts changed something in a run that succeeds."""
        code, out = self._run(values, *options)
        assert code == 0 and "[WARNING]: Deprecat" not in out, out
        return sum(int(found[2]) for found in RECAP.findall(out))

    def from_nothing(self, values: t.Mapping[str, t.Any], untouched: t.Callable[[], object]) -> None:
        """Check mode says that there is something to do and does nothing; the run does it; the next one has nothing to do."""
        before = untouched()
        assert self.changed(values, "--check", "--diff")
        assert untouched() == before
        assert self.changed(values)
        assert untouched() != before
        assert self.changed(values, "--check", "--diff") == 0
        assert self.changed(values) == 0

    def failure(self, values: t.Mapping[str, t.Any], *options: str) -> str:
        """The first error that a run that must fail shows."""
        code, out = self._run(values, *options)
        assert code != 0, out
        return out[out.index("[ERROR]") :].partition("\nOrigin:")[0]


class Side(t.NamedTuple):
    """Repositories of a registry, below a name that no other test uses."""

    host: str
    prefix: str

    def reference(self, rest: str) -> str:
        return f"{self.host}/{self.prefix}/{rest}"

    def found(self, rest: str, **gather: t.Any) -> t.Dict[str, t.Any]:
        return succeed("oci_info", {"src": [self.reference(rest)], "src_registry": PLAIN, **gather})["images"][0]

    def digest(self, rest: str) -> t.Optional[str]:
        return self.found(rest, gather=[]).get("digest")

    def tags(self, repository: str) -> t.List[str]:
        return self.found(repository, gather=["tags"]).get("tags") or []


@pytest.fixture(name="central")
def _central(tmp_path: pathlib.Path, registry: t.Any, repository: str) -> Side:
    """An image with an SBOM, and a repository of three releases."""
    images = Images(tmp_path / "seed")
    images.referrer(images.image(tar_of(name="app"), tags=["app"]), SBOM)
    for tag in ("1.0.0", "1.2.0", "2.0.0"):
        images.image(tar_of(release=tag), tags=[tag])
    side = Side(registry.host, f"{repository}/central")
    src = f"oci:{images.layout.path}"
    succeed("oci_copy", {"src": f"{src}:app", "dest": side.reference("app:1.4"), "dest_registry": PLAIN, "referrers": True})
    succeed("oci_copy", {"src": src, "dest": side.reference("releases"), "dest_registry": PLAIN, "tags_matching": "semver:*"})
    return side


@pytest.fixture(name="edge")
def _edge(referrers_registry: t.Any, repository: str) -> Side:
    """Another registry, with nothing in it."""
    return Side(referrers_registry.host, f"{repository}/edge")


@pytest.fixture(name="reached")
def _reached(central: Side, edge: Side) -> t.Dict[str, t.Any]:
    return {"lading_oci_registries": [{"host": side.host, "plain_http": True, "retries": 0} for side in (central, edge)]}


def at_edge(central: Side, edge: Side) -> Side:
    """Where repositories of ``central`` are when they were copied to ``edge``."""
    return Side(edge.host, f"{edge.prefix}/{central.prefix}")


def attached(side: Side, image: str) -> t.List[str]:
    return [one["artifact_type"] for one in side.found(image, gather=["referrers"])["referrers"]]


class TestMirror:
    def test_into_a_registry(self, tmp_path: pathlib.Path, central: Side, edge: Side, reached: t.Dict[str, t.Any]) -> None:
        there = at_edge(central, edge)
        values = {
            **reached,
            "mirror_images": [central.reference("app:1.4"), central.reference("releases")],
            "mirror_dest": f"{edge.host}/{edge.prefix}",
            "mirror_tags_matching": "semver:1.x",
        }
        Runner(tmp_path, "mirror").from_nothing(values, lambda: (there.digest("app:1.4"), there.tags("releases")))
        assert there.digest("app:1.4") == central.digest("app:1.4")
        assert there.tags("releases") == ["1.0.0", "1.2.0"]
        assert attached(there, "app:1.4") == [SBOM]

    def test_prunes(self, tmp_path: pathlib.Path, central: Side, edge: Side, reached: t.Dict[str, t.Any]) -> None:
        there, mirror = at_edge(central, edge), Runner(tmp_path, "mirror")
        values = {**reached, "mirror_images": central.reference("releases"), "mirror_dest": f"{edge.host}/{edge.prefix}"}
        mirror.changed(values)
        succeed("oci_tag", {"dest": there.reference("releases:1.0.0"), "tags": ["0.9.0"], "dest_registry": PLAIN})
        assert mirror.changed(values) == 0
        assert mirror.changed({**values, "mirror_prune": "true"}) == 1
        assert there.tags("releases") == ["1.0.0", "1.2.0", "2.0.0"]

    def test_into_layouts(self, tmp_path: pathlib.Path, central: Side, reached: t.Dict[str, t.Any]) -> None:
        pinned = f"{central.reference('releases')}@{central.digest('releases:2.0.0')}"
        values = {
            **reached,
            "mirror_images": f"{central.reference('app:1.4')}, {pinned}",
            "mirror_dest": f"oci:{tmp_path / 'mirror'}",
            "mirror_referrers": "false",
        }
        layout = tmp_path / "mirror" / central.prefix / "app"
        Runner(tmp_path, "mirror").from_nothing(values, layout.is_dir)
        found = succeed("oci_layout_info", {"path": str(layout), "verify": True})
        assert [one["ref"] for one in found["refs"]] == ["1.4"] and not found["damaged"]
        assert Layout(str(tmp_path / "mirror" / central.prefix / "releases")).resolve(central.digest("releases:2.0.0"))

    def test_a_relative_layout(
        self, tmp_path: pathlib.Path, central: Side, reached: t.Dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is where the user stands, not where the collection is installed."""
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        values = {**reached, "mirror_images": central.reference("releases:1.2.0"), "mirror_dest": "oci:./mirror"}
        assert Runner(tmp_path, "mirror").changed(values) == 1
        there = Layout(str(tmp_path / "here" / "mirror" / central.prefix / "releases"))
        assert str(there.resolve("1.2.0").digest) == central.digest("releases:1.2.0")

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({}, "mirror_images is needed: the images to copy, as -e mirror_images="),
            ({"mirror_images": []}, "mirror_images is needed"),
            ({"mirror_images": "quay.io/team/app:1"}, "mirror_dest is needed: a registry, as -e mirror_dest="),
            (
                {"mirror_images": "quay.io/team/app:1", "mirror_dest": "oci:mirror", "mirror_hosts": "127.0.0.1"},
                "(with its whole path on other hosts than localhost)",
            ),
            ({"mirror_images": "alpine:3", "mirror_dest": "oci:/srv"}, "mirror_images has alpine:3: write each with its registry"),
            ({"mirror_images": "a.io/app:1,b.io/app:1", "mirror_dest": "b.io/hub"}, "to a mirror_dest of its own, as b.io/hub/hub"),
        ],
    )
    def test_what_is_needed(self, tmp_path: pathlib.Path, values: t.Dict[str, t.Any], words: str) -> None:
        assert words in Runner(tmp_path, "mirror").failure(values)

    def test_what_is_not_there(self, tmp_path: pathlib.Path, central: Side, edge: Side, reached: t.Dict[str, t.Any]) -> None:
        """The others are copied all the same."""
        mirror, there = Runner(tmp_path, "mirror"), at_edge(central, edge)
        images = [central.reference("app:9"), central.reference("app:1.4")]
        values = {**reached, "mirror_images": images, "mirror_dest": f"{edge.host}/{edge.prefix}"}
        told = mirror.failure(values)
        assert f"source {images[0]}" in told and "no such tag" in told
        assert there.digest("app:1.4") == central.digest("app:1.4")
        told = mirror.failure({**values, "mirror_images": images[1], "mirror_dest": "127.0.0.1:1/mirror"})
        assert "destination 127.0.0.1:1/mirror/" in told and "connection refused" in told.lower()


class TestAirGap:
    @pytest.fixture(name="values")
    def _values(self, tmp_path: pathlib.Path, central: Side, edge: Side, reached: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
        return {
            **reached,
            "airgap_images": [central.reference("app:1.4"), central.reference("releases:2.0.0")],
            "airgap_tar": str(tmp_path / "out" / "july.tar"),
            "airgap_dest": f"{edge.host}/{edge.prefix}",
        }

    def test_out_and_in(self, tmp_path: pathlib.Path, central: Side, edge: Side, values: t.Dict[str, t.Any]) -> None:
        there, tar = at_edge(central, edge), tmp_path / "out" / "july.tar"
        Runner(tmp_path, "airgap_out").from_nothing(values, tar.exists)
        listed = yaml.safe_load(pathlib.Path(f"{tar}.yml").read_text())
        assert listed == {central.reference(name): central.digest(name) for name in ("app:1.4", "releases:2.0.0")}
        Runner(tmp_path, "airgap_in").from_nothing(values, lambda: there.digest("app:1.4"))
        assert there.digest("app:1.4") == central.digest("app:1.4")
        assert there.digest("releases:2.0.0") == central.digest("releases:2.0.0")
        assert attached(there, "app:1.4") == [SBOM]

    def test_relative_paths(
        self, tmp_path: pathlib.Path, central: Side, values: t.Dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All of them start where the user stands."""
        here = tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        values = {**values, "airgap_tar": "july.tar", "airgap_dest": "oci:in"}
        assert Runner(tmp_path, "airgap_out").changed(values)
        assert sorted(path.name for path in here.iterdir()) == ["july.tar", "july.tar.layout", "july.tar.yml"]
        assert Runner(tmp_path, "airgap_out").changed({**values, "airgap_list": "other.yml", "airgap_folder": "../kept"})
        assert (here / "other.yml").read_text() == (here / "july.tar.yml").read_text() and (tmp_path / "kept").is_dir()
        assert Runner(tmp_path, "airgap_in").changed({**values, "airgap_list": "other.yml"}) == 1
        assert str(Layout(str(here / "in" / central.prefix / "app")).resolve("1.4").digest) == central.digest("app:1.4")

    def test_what_is_not_wanted_any_more(self, tmp_path: pathlib.Path, central: Side, values: t.Dict[str, t.Any]) -> None:
        out = Runner(tmp_path, "airgap_out")
        out.changed(values)
        fewer = {**values, "airgap_images": [central.reference("releases:1.0.0"), central.reference("releases:2.0.0")]}
        assert out.changed(fewer, "--check")
        assert out.changed(fewer)
        assert out.changed(fewer) == 0
        found = succeed("oci_layout_info", {"path": values["airgap_tar"], "verify": True})
        assert sorted(one["ref"] for one in found["refs"]) == sorted(fewer["airgap_images"])
        assert all(blob["reached"] for blob in found["blobs"]) and len(found["blobs"]) == 6

    def test_what_was_changed_on_the_way(self, tmp_path: pathlib.Path, central: Side, edge: Side, values: t.Dict[str, t.Any]) -> None:
        there, tar, into = at_edge(central, edge), pathlib.Path(values["airgap_tar"]), Runner(tmp_path, "airgap_in")
        assert f"{tar} is not there: is the path right, on localhost?" in into.failure(values)
        Runner(tmp_path, "airgap_out").changed(values)
        listed = pathlib.Path(f"{tar}.yml")
        text = listed.read_text()
        listed.write_text(text.replace(central.digest("app:1.4") or "", central.digest("releases:1.0.0") or ""))
        told = into.failure(values)
        assert f"other content than {listed} says for {central.reference('app:1.4')}, nothing was copied" in told
        listed.unlink()
        assert f"{listed} is not there: carry over the list" in into.failure(values)
        listed.write_text(text)
        content = bytearray(tar.read_bytes())
        content[content.index(b'"A=b"')] ^= 1
        tar.write_bytes(content)
        (damaged,) = succeed("oci_layout_info", {"path": str(tar), "verify": True})["damaged"]
        told = into.failure(values)
        assert f"{tar} is damaged, nothing was copied: carry it over once more (what is damaged: {damaged['digest']})" in told
        assert there.digest("app:1.4") is None

    @pytest.mark.parametrize(
        ("name", "values", "words"),
        [
            ("airgap_out", {}, "airgap_images is needed: the images and artifacts to take, as -e airgap_images="),
            ("airgap_out", {"airgap_images": "a.io/app:1"}, "airgap_tar is needed: the tar to write, with .tar at the end"),
            ("airgap_out", {"airgap_images": "a.io/app:1", "airgap_tar": "/x/july"}, "airgap_tar is needed"),
            ("airgap_out", {"airgap_images": "a.io/app:1", "airgap_tar": "oci:/x/y.tar"}, "airgap_tar is needed"),
            (
                "airgap_out",
                {"airgap_images": "a.io/app:1", "airgap_tar": "july.tar", "airgap_hosts": "127.0.0.1"},
                "(with its whole path on other hosts than localhost)",
            ),
            (
                "airgap_out",
                {"airgap_images": "a.io/app:1", "airgap_tar": "/x/y.tar", "airgap_list": "y.yml", "airgap_hosts": "127.0.0.1"},
                "airgap_list is y.yml: write the path without oci:, and the whole of it on other hosts than localhost",
            ),
            (
                "airgap_out",
                {"airgap_images": "a.io/app:1", "airgap_tar": "/x/y.tar", "airgap_folder": "oci:/x/kept"},
                "airgap_folder is oci:/x/kept: write the path without oci:",
            ),
            ("airgap_out", {"airgap_images": "a.io/app", "airgap_tar": "/x/y.tar"}, "airgap_images has a.io/app: write each with"),
            ("airgap_in", {}, "airgap_tar is needed: the tar that lading.oci.airgap_out wrote"),
            ("airgap_in", {"airgap_tar": "oci:/x/y.tar"}, "airgap_tar is needed"),
            ("airgap_in", {"airgap_tar": "y.tar", "airgap_hosts": "127.0.0.1"}, "with their whole paths on other hosts than localhost)"),
            ("airgap_in", {"airgap_tar": "/x/y.tar"}, "airgap_dest is needed: a registry, as -e airgap_dest="),
            (
                "airgap_in",
                {"airgap_tar": "/x/y.tar", "airgap_dest": "oci:in", "airgap_hosts": "127.0.0.1"},
                "(with its whole path on other hosts than localhost)",
            ),
        ],
    )
    def test_what_is_needed(self, tmp_path: pathlib.Path, name: str, values: t.Dict[str, t.Any], words: str) -> None:
        assert words in Runner(tmp_path, name).failure(values)


class TestDeploy:
    @pytest.fixture(name="fleet")
    def _fleet(self, tmp_path: pathlib.Path) -> Runner:
        hosts = {f"web{number}": {"ansible_connection": "local"} for number in range(1, 4)}
        folder = tmp_path / "fleet"
        inventory = {"all": {"hosts": hosts, "vars": {"deploy_dest": f"{folder}/{{{{ inventory_hostname }}}}"}}}
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory))
        return Runner(tmp_path, "deploy_artifact", str(tmp_path / "inventory.yml"))

    @pytest.fixture(name="values")
    def _values(self, tmp_path: pathlib.Path, central: Side, reached: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
        self.release(tmp_path, central, site="one", old="old")
        return {**reached, "deploy_artifact": central.reference("site:2.3")}

    def release(self, folder: pathlib.Path, central: Side, **files: str) -> None:
        for name, content in files.items():
            (folder / name).write_text(content)
        items = [{"src": str(folder / name)} for name in files]
        succeed("oci_push", {"dest": central.reference("site:2.3"), "files": items, "dest_registry": PLAIN})

    def test_onto_a_fleet(self, tmp_path: pathlib.Path, central: Side, fleet: Runner, values: t.Dict[str, t.Any]) -> None:
        tasks = tmp_path / "after.yml"
        tasks.write_text(f"- ansible.builtin.shell: echo {{{{ inventory_hostname }}}} >> {tmp_path}/restarted\n")
        values["deploy_tasks"] = str(tasks)
        fleet.from_nothing(values, (tmp_path / "fleet").exists)
        assert (tmp_path / "restarted").read_text().split() == ["web1", "web2", "web3"]
        self.release(tmp_path, central, site="two")
        assert fleet.changed(values, "--limit", "web2") == 2
        assert fleet.changed(values)
        sites = [tmp_path / "fleet" / f"web{number}" for number in range(1, 4)]
        assert [sorted(path.name for path in site.iterdir()) for site in sites] == [["site"]] * 3
        assert {(site / "site").read_text() for site in sites} == {"two"}
        assert (tmp_path / "restarted").read_text().split()[3:] == ["web2", "web1", "web3"]

    def test_a_tag_that_moves_meanwhile(self, tmp_path: pathlib.Path, central: Side, fleet: Runner, values: t.Dict[str, t.Any]) -> None:
        (tmp_path / "two").write_text("two")
        move = {"dest": central.reference("site:2.3"), "files": [{"src": str(tmp_path / "two")}], "dest_registry": PLAIN}
        (tmp_path / "move.yml").write_text(json.dumps([{"lading.oci.oci_push": move}]))
        fleet.changed({**values, "deploy_tasks": str(tmp_path / "move.yml")})
        assert sorted(path.name for path in (tmp_path / "fleet").rglob("*") if path.is_file()) == ["old"] * 3 + ["site"] * 3

    def test_it_stops_at_the_first_host_that_fails(self, tmp_path: pathlib.Path, fleet: Runner, values: t.Dict[str, t.Any]) -> None:
        (tmp_path / "fleet").mkdir()
        (tmp_path / "fleet" / "web2").write_text("in the way")
        assert "web2" in fleet.failure(values)
        assert sorted(path.name for path in (tmp_path / "fleet").iterdir() if path.is_dir()) == ["web1"]

    def test_what_goes_wrong(self, tmp_path: pathlib.Path, central: Side, fleet: Runner, values: t.Dict[str, t.Any]) -> None:
        assert "deploy_artifact is needed: the artifact with its tag, as -e deploy_artifact=" in fleet.failure({})
        assert "deploy_dest is needed: the folder on the hosts" in fleet.failure({**values, "deploy_dest": "site"})
        wrong = central.reference("site:9")
        code, out = fleet._run({**values, "deploy_artifact": wrong})
        assert code and f"deploy_artifact: there is no {wrong} (no such tag, digest or repository" in out and "caused by" not in out
        assert not (tmp_path / "fleet").exists()

    def test_no_hosts(self, tmp_path: pathlib.Path, fleet: Runner, values: t.Dict[str, t.Any]) -> None:
        told = Runner(tmp_path, "deploy_artifact").failure({**values, "deploy_dest": "/opt/site"})
        assert "no host of the inventory is all: give the inventory, as -i inventory" in told
        assert "no host of the inventory is nobody" in fleet.failure({**values, "deploy_hosts": "nobody"})

    def test_tasks_in_a_relative_file(
        self, tmp_path: pathlib.Path, fleet: Runner, values: t.Dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        pathlib.Path("after.yml").write_text(f"- ansible.builtin.shell: echo {{{{ inventory_hostname }}}} >> {tmp_path}/restarted\n")
        fleet.changed({**values, "deploy_tasks": "after.yml"}, "--limit", "web2")
        assert (tmp_path / "restarted").read_text().split() == ["web2"]


class TestQuickstart:
    def test_from_nothing(self, tmp_path: pathlib.Path, registry: t.Any) -> None:
        folder = tmp_path / "try"
        values = {"quickstart_folder": str(folder), "quickstart_registry": registry.host}
        Runner(tmp_path, "quickstart").from_nothing(values, folder.exists)
        assert (folder / "pulled" / "assets" / "index.html").is_file()

    def test_a_relative_folder(self, tmp_path: pathlib.Path, registry: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert Runner(tmp_path, "quickstart").changed({"quickstart_folder": "try", "quickstart_registry": registry.host})
        assert (tmp_path / "try" / "pulled" / "assets" / "index.html").is_file()

    def test_what_is_needed(self, tmp_path: pathlib.Path) -> None:
        assert "quickstart_folder is needed: the folder to work in" in Runner(tmp_path, "quickstart").failure({})


@pytest.mark.usefixtures("docker")
class TestBuildAndPush:
    @pytest.fixture(name="values")
    def _values(self, tmp_path: pathlib.Path, registry: t.Any, repository: str) -> t.Dict[str, t.Any]:
        (tmp_path / "hello").mkdir()
        (tmp_path / "hello" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
        values = {"build_context": f"{tmp_path}/hello", "build_dest": f"{tmp_path}/hello.tar", "build_registry": registry.host}
        return {**values, "build_plain_http": "true", "build_repository": repository}

    def test_from_nothing_and_again(self, tmp_path: pathlib.Path, registry: t.Any, repository: str, values: t.Dict[str, t.Any]) -> None:
        build, (above, _slash, name) = Runner(tmp_path, "build_and_push"), repository.partition("/")
        pushed = Side(registry.host, above)
        build.from_nothing(values, lambda: pushed.digest(f"{name}:v1"))
        first, made = pushed.digest(f"{name}:v1"), (tmp_path / "hello.tar").read_bytes()
        (tmp_path / "hello" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /again\n")
        assert build.changed(values, "--check") == 2, "the build and the push"
        assert pushed.digest(f"{name}:v1") == first and (tmp_path / "hello.tar").read_bytes() == made
        assert build.changed(values) == 2
        assert pushed.digest(f"{name}:v1") != first
        assert build.changed(values, "--check") == 0

    def test_relative_paths(
        self, tmp_path: pathlib.Path, registry: t.Any, repository: str, values: t.Dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With and without a dot, they start where the user stands."""
        monkeypatch.chdir(tmp_path)
        assert Runner(tmp_path, "build_and_push").changed({**values, "build_context": "hello", "build_dest": "bare.tar"}) == 2
        assert (tmp_path / "bare.tar").is_file()
        assert Runner(tmp_path, "build_and_push").changed({**values, "build_context": "./hello", "build_dest": "./bare.tar"}) == 0

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({}, "build_context is needed: the folder with the Dockerfile"),
            ({"build_context": "./hello"}, "build_dest is needed: the layout tar to make"),
            ({"build_context": "./hello", "build_dest": "oci:hello.tar"}, "build_dest is needed: the layout tar to make, without oci:"),
            (
                {"build_context": "hello", "build_dest": "/x/hello.tar", "build_hosts": "127.0.0.1"},
                "build_context is needed: the folder with the Dockerfile, as -e build_context=./hello (with its whole path on other hosts",
            ),
            (
                {"build_context": "https://a.io/b.git", "build_dest": "hello.tar", "build_hosts": "127.0.0.1"},
                "build_dest is needed: the layout tar to make, without oci:, as -e build_dest=./hello-world.tar (with its whole path",
            ),
        ],
    )
    def test_what_is_needed(self, tmp_path: pathlib.Path, values: t.Dict[str, t.Any], words: str) -> None:
        assert words in Runner(tmp_path, "build_and_push").failure(values)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_each_says_how_to_run_it(name: str) -> None:
    """The header names the command, and each variable that is asked for."""
    text = (ROOT / "playbooks" / f"{name}.yml").read_text()
    header, body = text.partition("\n- name:")[::2]
    assert "#   ansible-playbook " in header and f"lading.oci.{name} -e " in header and "# Needed:" in header
    prefix = name.partition("_")[0]
    made = set(re.findall(rf"(?:register: |loop_var: |^ +)({prefix}_\w+)(?=:|\n)", body, re.MULTILINE))
    told = set(re.findall(rf"^# +.*?({prefix}_\w+)", header, re.MULTILINE)) | set(re.findall(rf"\b{prefix}_\w+", header))
    assert set(re.findall(rf"\b{prefix}_\w+", body)) - made <= told

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real registry whose tags move between plan and apply, or that does not keep what it says it has stored (threat rows 39 and 43)."""

from __future__ import annotations

import json
import pathlib
import typing as t
import urllib.error
import urllib.request
import uuid

import clients
import pytest
import tally as tallies
from clients import LAYOUT, REGISTRY, Place
from fault_proxy import FOR_EVER, Answer, Fault, FaultProxy, Handler, Respond, Rule
from support import succeed

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
BLOB_PUT, MANIFEST = "/blobs/uploads/", "/manifests/"
DROPPED = Respond(201, {"Docker-Content-Digest": "{digest}"})
WAYS = ("folder", "tar", "registry", "pull")


class Stored:
    """Manifests of a repository, as the registry itself has them."""

    def __init__(self, host: str, repository: str) -> None:
        self.host, self.repository = host, repository

    @property
    def place(self) -> Place:
        return Place(REGISTRY, f"{self.host}/{self.repository}")

    def ask(self, method: str, what: str, content: t.Optional[bytes] = None) -> t.Optional[bytes]:
        headers = {"Accept": f"{IMAGE}, {INDEX}", "Content-Type": IMAGE}
        request = urllib.request.Request(f"http://{self.host}/v2/{self.repository}/{what}", content, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return t.cast(bytes, answer.read())
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
            return None


class Moves(Fault):
    """Once the tag has been asked for, it names something else: what it named stays in the registry, or does not."""

    def __init__(self, stored: Stored, other: bytes, gone: str = "") -> None:
        self._stored, self._other, self._gone = stored, other, gone

    def answer(self, handler: Handler, body: bytes) -> Answer:
        answer = handler.ask(body)
        self._stored.ask("PUT", "manifests/v1", self._other)
        if self._gone:
            self._stored.ask("DELETE", f"manifests/{self._gone}")
        return answer


class Two:
    """Artifacts of one file, called ``planned`` and ``other``, in one repository; the tag v1 names the first."""

    def __init__(self, layout: pathlib.Path, host: str, repository: str) -> None:
        self.layout, self.stored = layout, Stored(host, repository)
        options = {"dest_registry": {"plain_http": True}, "tags": ["v1"]}
        dest = f"{host}/{repository}"
        self.digests = {
            name: succeed("oci_copy", {**options, "src": f"oci:{layout}:{name}", "dest": f"{dest}:{name}"})["digest"]
            for name in ("other", "planned")
        }

    def document(self, name: str) -> bytes:
        return (self.layout / "blobs" / "sha256" / self.digests[name].partition(":")[2]).read_bytes()


class Way:
    """How it is taken from the registry behind a proxy, and what is at the destination then."""

    def __init__(self, kind: str, folder: pathlib.Path, host: str) -> None:
        self._kind, self._folder = kind, folder
        self._client = clients.Ours(folder / "client", clients.Access(retries=1))
        self._pushed = Stored(host, f"moved/{folder.name.replace('_', '-').strip('-').lower()}")
        self._dest = {
            "folder": Place(LAYOUT, f"{folder}/dest"),
            "tar": Place(clients.ARCHIVE, f"{folder}/dest.tar"),
            "registry": self._pushed.place,
        }

    def run(self, source: Place) -> clients.Run:
        if self._kind == "pull":
            return self._client.pull(source, f"{self._folder}/dest")
        return self._client.copy(source, self._dest[self._kind])

    def content(self) -> t.Optional[bytes]:
        """The file's content by name: of the artifact that v1 names, whose blobs are read; None when there is no such name."""
        if self._kind == "pull":
            path = self._folder / "dest" / "file"
            return path.read_bytes() if path.exists() else None
        if self._kind == "registry" and self._pushed.ask("GET", "manifests/v1") is None:
            return None
        dest = self._folder / ("dest.tar" if self._kind == "tar" else "dest")
        if self._kind != "registry" and not (dest / "index.json").exists() and not dest.is_file():
            return None
        done = self._client.pull(self._dest[self._kind], f"{self._folder}/looked")
        return (self._folder / "looked" / "file").read_bytes() if done.succeeded else None


@pytest.fixture(scope="module", name="layout")
def _layout(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("two")
    for name in ("planned", "other"):
        (folder / "file").write_bytes(name.encode() * 1000)
        files = [{"src": str(folder / "file")}]
        succeed("oci_layout_build", {"path": str(folder / "layout"), "tag": name, "artifact_type": "a/b", "files": files})
    return folder / "layout"


@pytest.fixture(name="two")
def _two(layout: pathlib.Path, registry: t.Any, repository: str) -> Two:
    return Two(layout, registry.host, repository)


@pytest.fixture(name="repository")
def _repository() -> str:
    return f"changes/{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize("kind", WAYS)
def test_a_tag_that_moves_once_it_was_resolved(
    kind: str, two: Two, registry: t.Any, tmp_path: pathlib.Path, ours: t.Any, report: t.Any
) -> None:
    """What was planned is what is done, and what is reported; the next run follows the tag."""
    way = Way(kind, tmp_path, registry.host)
    rules = [Rule("HEAD", "/manifests/v1$", Moves(two.stored, two.document("other")))]
    with FaultProxy(registry.host, rules) as proxy:
        source = Place(REGISTRY, f"{proxy.host}/{two.stored.repository}")
        done = way.run(source)
        assert [one.method for one in proxy.seen if one.faulty] == ["HEAD"]
        answer = json.loads(done.output)
        problems = [] if done.succeeded and answer["digest"] == two.digests["planned"] else [f"it answered {answer}"]
        problems += [] if way.content() == b"planned" * 1000 else ["what came is not what was planned"]
        again = json.loads(way.run(source).output)
        problems += [] if again["changed"] and again["digest"] == two.digests["other"] else [f"the next run: {again}"]
        problems += [] if way.content() == b"other" * 1000 else ["the next run did not follow the tag"]
    report(tallies.RACES, problems)


@pytest.mark.parametrize("kind", WAYS)
def test_a_tag_that_moves_and_what_it_named_is_gone(
    kind: str, two: Two, registry: t.Any, tmp_path: pathlib.Path, ours: t.Any, report: t.Any
) -> None:
    """An error that says what is not there; nothing has a name, and the next run succeeds."""
    way = Way(kind, tmp_path, registry.host)
    rules = [Rule("HEAD", "/manifests/v1$", Moves(two.stored, two.document("other"), two.digests["planned"]))]
    with FaultProxy(registry.host, rules) as proxy:
        source = Place(REGISTRY, f"{proxy.host}/{two.stored.repository}")
        done = way.run(source)
        message = json.loads(done.output).get("msg", "")
        told = "not found" in message and two.digests["planned"] in message and proxy.host in message
        problems = [] if not done.succeeded and told else [f"it answered {done.output}"]
        problems += [] if way.content() is None else ["something has a name"]
        again = way.run(source)
        problems += [] if again.succeeded and way.content() == b"other" * 1000 else [f"the next run: {again.output}"]
    report(tallies.RACES, problems)


@pytest.mark.parametrize("kind", ["folder", "registry"])
def test_a_tag_of_the_destination_that_moves_after_it_was_looked_up(
    kind: str, two: Two, registry: t.Any, tmp_path: pathlib.Path, ours: t.Any, report: t.Any
) -> None:
    """Somebody else writes the name that is to be written: the last one wins, with all that is under it."""
    client = clients.Ours(tmp_path / "client")
    dest = Stored(registry.host, f"{two.stored.repository}-dest")
    succeed("oci_copy", {"src": f"oci:{two.layout}:other", "dest": f"{dest.place.name}:v0", "dest_registry": {"plain_http": True}})
    source = Place(LAYOUT, str(two.layout), "planned") if kind == "folder" else Place(REGISTRY, two.stored.place.name, "planned")
    with FaultProxy(registry.host, [Rule("HEAD", "/manifests/v1$", Moves(dest, two.document("other")))]) as proxy:
        done = client.copy(source, Place(REGISTRY, f"{proxy.host}/{dest.repository}"))
        assert any(one.faulty for one in proxy.seen)
    problems = [] if done.succeeded else [done.output]
    problems += [] if dest.ask("GET", "manifests/v1") == two.document("planned") else ["the tag names something else"]
    report(tallies.RACES, problems + ([] if client.pull(dest.place, f"{tmp_path}/looked").succeeded else ["it cannot be pulled"]))


@pytest.mark.parametrize("what", ["manifest", "child", "blob"])
def test_stored_and_not_kept(what: str, registry: t.Any, repository: str, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """A registry that says 201 and keeps nothing, once. It shows where something is to name what is lost; the next run brings it."""
    layout, names = tmp_path / "layout", ("amd64", "arm64")
    for name in names:
        (tmp_path / name).write_text(name * 1000)
        image = {"path": str(layout), "tag": name, "platform": f"linux/{name}", "layers": [{"src": str(tmp_path / name)}]}
        succeed("oci_layout_build", image)
    entries = [{"src": f"oci:{layout}:{name}"} for name in names]
    root = succeed("oci_layout_build", {"path": str(layout), "tag": "v1", "manifests": entries})["digest"]
    document = json.loads((layout / "blobs" / "sha256" / root.partition(":")[2]).read_bytes())
    child = document["manifests"][0]["digest"]
    blob = json.loads((layout / "blobs" / "sha256" / child.partition(":")[2]).read_bytes())["layers"][0]["digest"]
    rule, missing = {
        "manifest": (Rule("PUT", f"{MANIFEST}v1$", Respond(201, {"Docker-Content-Digest": root})), ""),
        "child": (Rule("PUT", f"{MANIFEST}{child}", Respond(201, {"Docker-Content-Digest": child})), child),
        "blob": (Rule("PUT", f"{BLOB_PUT}.*{blob.partition(':')[2]}", DROPPED), blob),
    }[what]
    client, stored = clients.Ours(tmp_path / "client", clients.Access(retries=1)), Stored(registry.host, repository)
    with FaultProxy(registry.host, [rule]) as proxy:
        source, dest = Place(LAYOUT, str(layout)), Place(REGISTRY, f"{proxy.host}/{repository}")
        done = client.copy(source, dest)
        assert any(one.faulty for one in proxy.seen)
        message = json.loads(done.output).get("msg", "")
        # That a name is not kept shows at the next look at it only.
        problems = [] if done.succeeded == (what == "manifest") else [f"it answered {done.output}"]
        told = done.succeeded or ("BLOB_UNKNOWN" in message and missing in message and f"{proxy.host}/{repository}" in message)
        problems += [] if told else [f"the error does not say what is missing: {message}"]
        problems += [] if stored.ask("GET", "manifests/v1") is None else ["the tag is there"]
        again = json.loads(client.copy(source, dest).output)
        problems += [] if again["changed"] and again["digest"] == root else [f"the next run: {again}"]
        third = json.loads(client.copy(source, dest).output)
        problems += [] if not third.get("failed") and not third["changed"] else [f"the third run: {third}"]
    problems += [] if client.copy(stored.place, Place(LAYOUT, f"{tmp_path}/back")).succeeded else ["it is not whole"]
    report(tallies.FAULTS, problems)


def test_a_registry_that_keeps_nothing_ever(two: Two, registry: t.Any, tmp_path: pathlib.Path, ours: t.Any, report: t.Any) -> None:
    """Each run says that it has changed something; none says that all is well."""
    client = clients.Ours(tmp_path / "client", clients.Access(retries=1))
    rule = Rule("PUT", MANIFEST, Respond(201, {"Docker-Content-Digest": two.digests["planned"]}), FOR_EVER)
    with FaultProxy(registry.host, [rule]) as proxy:
        dest = Place(REGISTRY, f"{proxy.host}/{two.stored.repository}-none")
        answers = [json.loads(client.copy(Place(LAYOUT, str(two.layout), "planned"), dest).output) for _run in range(2)]
    report(tallies.FAULTS, [f"it answered {answer}" for answer in answers if not answer["changed"] and not answer.get("failed")])

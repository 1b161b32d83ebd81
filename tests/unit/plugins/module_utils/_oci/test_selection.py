# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of an artifact is selected, by each way to ask for it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.receipt import Receipt
from ansible_collections.lading.oci.plugins.module_utils._oci.selection import Selection, Wanted, select
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import EMPTY, TITLE, Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import MemorySource, member, tar_gz

CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


@pytest.fixture(name="source")
def _source() -> MemorySource:
    return MemorySource()


@pytest.fixture(name="site")
def _site(source: MemorySource) -> Descriptor:
    page = source.add(b"<p>", "text/html", **{TITLE: "www/index.html"})
    return source.artifact(
        source.file("a.conf", b"a"), source.file("etc/b.conf", b"b"), page, source.folder("docs", tar_gz(member("docs/x")))
    )


@pytest.fixture(autouse=True)
def _cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def selected(source: MemorySource, root: Descriptor, **wanted: t.Any) -> Selection:
    return select(source, root, Receipt("/dest", pytest.fail), Wanted(**wanted))


def titles(selection: Selection) -> t.List[str]:
    return [item.title for item in selection.items]


def on(platform: str, desc: Descriptor) -> Descriptor:
    return dataclasses.replace(desc, platform=Platform.parse(platform).to_json())


def image(source: MemorySource, platform: str, *layers: Descriptor) -> Descriptor:
    config = {**Platform.parse(platform).to_json(), "rootfs": {"type": "layers", "diff_ids": []}}
    return source.artifact(*layers, config=source.add(json.dumps(config).encode(), mediatype.OCI_CONFIG))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"include": ["*.conf"]}, ["a.conf"]),
        ({"include": ["**/*.conf"]}, ["a.conf", "etc/b.conf"]),
        ({"include": ["a.conf", "docs"]}, ["a.conf", "docs"]),
        ({"exclude": ["**/*.conf"]}, ["www/index.html", "docs"]),
        ({"include": ["**/*.conf"], "exclude": ["etc/**"]}, ["a.conf"]),
        ({"media_types": ["text/html"]}, ["www/index.html"]),
        ({"media_types": ["text/html", "text/plain"], "exclude": ["a.*"]}, ["etc/b.conf", "www/index.html"]),
        ({"exclude": ["**"]}, []),
    ],
)
def test_filters(source: MemorySource, site: Descriptor, wanted: t.Dict[str, t.Any], expected: t.List[str]) -> None:
    selection = selected(source, site, **wanted)
    assert titles(selection) == expected
    everything = {"a.conf", "etc/b.conf", "www/index.html", "docs"}
    assert {"/".join(parts) for parts in selection.others} == everything - set(expected)


@pytest.mark.parametrize("wanted", [{"include": ["*.txt"]}, {"media_types": ["text/css"]}, {"include": ["docs/x"]}])
def test_no_match_lists_what_there_is(source: MemorySource, site: Descriptor, wanted: t.Dict[str, t.Any]) -> None:
    with pytest.raises(InvalidError, match="no layer matches include, exclude and media_types") as caught:
        selected(source, site, **wanted)
    for there in ("source memory: ", "a.conf (text/plain)", "etc/b.conf", "www/index.html (text/html)", "docs ("):
        assert there in str(caught.value)


def test_no_match_tells_of_what_lacks_a_name(source: MemorySource) -> None:
    chart = source.add(b"chart", CHART)
    with pytest.raises(InvalidError, match="give it one with names") as caught:
        selected(source, source.artifact(chart), media_types=[CHART])
    assert f"{chart.digest} ({CHART})" in str(caught.value)
    with pytest.raises(InvalidError, match="there are: no layers at all$"):
        selected(source, source.artifact(), include=["a"])


def test_a_filter_does_not_let_a_bad_title_pass(source: MemorySource) -> None:
    root = source.artifact(source.file("a", b"1"), source.file("../b", b"2"))
    with pytest.raises(InvalidError, match="not a plain relative path"):
        selected(source, root, include=["a"])


def test_filtered_titles_are_in_nobodys_way(source: MemorySource) -> None:
    root = source.artifact(source.file("a", b"1"), source.file("a/b", b"2"))
    assert titles(selected(source, root, include=["a/b"])) == ["a/b"]


class TestNames:
    def test_by_media_type_and_by_digest(self, source: MemorySource) -> None:
        chart, other = source.add(b"chart", CHART), source.add(b"other", CHART)
        root = source.artifact(chart, other, source.file("README", b"r"))
        names = {CHART: "charts/mychart.tgz", other.digest: "other.tgz"}
        selection = selected(source, root, names=names, untitled="fail")
        assert titles(selection) == ["charts/mychart.tgz", "other.tgz", "README"] and selection.skipped == ()
        assert [item.desc for item in selection.items][:2] == [chart, other]

    def test_a_title_stays(self, source: MemorySource) -> None:
        root = source.artifact(source.file("mine", b"1"))
        assert titles(selected(source, root, names={"text/plain": "yours"})) == ["mine"]

    def test_globs_see_the_name(self, source: MemorySource) -> None:
        root = source.artifact(source.add(b"chart", CHART), source.file("a", b"1"))
        assert titles(selected(source, root, names={CHART: "mychart.tgz"}, include=["*.tgz"])) == ["mychart.tgz"]

    def test_a_name_is_never_unpacked(self, source: MemorySource) -> None:
        layer = source.add(tar_gz(member("x")), CHART, **{"io.deis.oras.content.unpack": "true"})
        assert [item.folder for item in selected(source, source.artifact(layer), names={CHART: "x.tgz"}).items] == [False]

    def test_one_name_for_two(self, source: MemorySource) -> None:
        first, second = source.add(b"1", CHART), source.add(b"2", CHART)
        with pytest.raises(InvalidError, match="'x.tgz' is for two contents") as caught:
            selected(source, source.artifact(first, second), names={CHART: "x.tgz"})
        assert first.digest in str(caught.value) and second.digest in str(caught.value)
        assert titles(selected(source, source.artifact(first, first), names={CHART: "x.tgz"})) == ["x.tgz"]

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ({CHART: "../x"}, "the file name '../x' is not a plain relative path"),
            ({CHART: 7}, "is 7, it must be a string"),
            ({"mychart": "x"}, "'mychart' is neither the digest nor the media type"),
            ({"sha256:12": "x"}, "sha256:12"),
        ],
    )
    def test_bad_ones(self, source: MemorySource, site: Descriptor, names: t.Dict[str, t.Any], message: str) -> None:
        with pytest.raises(InvalidError, match=message):
            selected(source, site, names=names)


class TestConfig:
    def test_of_a_manifest(self, source: MemorySource) -> None:
        config = source.add(b"{1}", "application/vnd.example.config.v1+json")
        selection = selected(source, source.artifact(source.file("a", b"1"), config=config), config="meta/config.json", include=["a"])
        assert titles(selection) == ["meta/config.json", "a"] and selection.items[0].desc == config

    def test_the_empty_one(self, source: MemorySource) -> None:
        assert [item.desc for item in selected(source, source.artifact(), config="c").items] == [EMPTY]

    def test_of_an_index(self, source: MemorySource) -> None:
        one, two = source.artifact(source.file("a", b"1")), source.artifact(source.file("b", b"2"))
        attestation = on("unknown/unknown", two)
        assert titles(selected(source, source.index(one, attestation), config="c"))[0] == "c"
        with pytest.raises(InvalidError, match="has 2 manifests: choose one with platform"):
            selected(source, source.index(one, two), config="c")
        chosen = selected(source, source.index(on("linux/amd64", one), two), config="c", platform=Platform("linux", "amd64"))
        assert titles(chosen) == ["c", "a"]
        with pytest.raises(InvalidError, match="has 0 manifests"):
            selected(source, source.index(), config="c")

    def test_a_bad_path_and_a_taken_one(self, source: MemorySource, site: Descriptor) -> None:
        with pytest.raises(InvalidError, match="the config's path '/c' is not a plain relative path"):
            selected(source, site, config="/c")
        with pytest.raises(InvalidError, match="config is to be written to 'a.conf', which is the name of a file as well"):
            selected(source, site, config="a.conf")


class TestSubject:
    def test_only_when_wanted_and_to_the_end(self, source: MemorySource) -> None:
        first = source.artifact(source.file("first", b"1"))
        second = source.artifact(source.file("second", b"2"), subject=first.to_json())
        third = source.artifact(source.file("third", b"3"), subject=second.to_json())
        assert titles(selected(source, third)) == ["third"]
        assert sorted(titles(selected(source, third, subject=True, config="c"))) == ["c", "first", "second", "third"]

    def test_the_platform_chooses_in_a_subject_too(self, source: MemorySource) -> None:
        amd64, arm64 = source.artifact(source.file("tool", b"x86")), source.artifact(source.file("tool", b"arm"))
        index = source.index(on("linux/amd64", amd64), on("linux/arm64", arm64))
        root = source.artifact(source.file("signature", b"!"), subject=index.to_json())
        selection = selected(source, root, subject=True, platform=Platform("linux", "arm64"))
        assert selection.pulled == root and titles(selection) == ["signature", "tool"]
        assert selection.items[1].desc == Descriptor.of(b"arm", "text/plain")
        with pytest.raises(NotFoundError, match="nothing for linux/s390x"):
            selected(source, root, subject=True, platform=Platform("linux", "s390x"))

    def test_one_that_is_not_there(self, source: MemorySource) -> None:
        absent = Descriptor.of(b"absent", mediatype.OCI_MANIFEST)
        with pytest.raises(NotFoundError, match=absent.digest):
            selected(source, source.artifact(subject=absent.to_json()), subject=True)

    def test_a_chain_without_end_is_refused(self, source: MemorySource) -> None:
        root = source.artifact()
        for number in range(40):
            root = source.artifact(annotations={"number": str(number)}, subject=root.to_json())
        with pytest.raises(InvalidError, match="deeper than"):
            selected(source, root, subject=True)


class TestPlatform:
    def test_of_an_index_of_artifacts(self, source: MemorySource) -> None:
        amd64, arm64 = source.artifact(source.file("tool", b"x86")), source.artifact(source.file("tool", b"arm"))
        root = source.index(on("linux/amd64", amd64), source.index(on("linux/arm64", arm64)))
        with pytest.raises(InvalidError, match="choose one with platform"):
            selected(source, root)
        selection = selected(source, root, platform=Platform("linux", "arm64"))
        assert (selection.root, selection.pulled) == (root, arm64)
        assert [item.desc for item in selection.items] == [Descriptor.of(b"arm", "text/plain")]
        with pytest.raises(NotFoundError, match=r"nothing for linux/s390x \(it has linux/amd64, linux/arm64\)"):
            selected(source, root, platform=Platform("linux", "s390x"))

    def test_of_single_manifests(self, source: MemorySource) -> None:
        arm64 = Platform("linux", "arm64")
        assert titles(selected(source, source.artifact(source.file("a", b"1")), platform=arm64)) == ["a"]
        root = image(source, "linux/amd64", source.file("b", b"2"))
        assert titles(selected(source, root)) == ["b"]
        with pytest.raises(InvalidError, match="is an image for linux/amd64, not for linux/arm64"):
            selected(source, root, platform=arm64)

    def test_what_was_remembered_is_not_read_again(self, source: MemorySource) -> None:
        root = source.index(image(source, "linux/amd64", source.file("b", b"2")), image(source, "linux/arm64"))
        wanted = {"platform": Platform("linux", "amd64"), "config": "c"}
        first = selected(source, root, **wanted)
        assert len(first.read) == 5, "the index, both manifests and both configs"
        Receipt("/dest", pytest.fail).remember(root, first.manifests, {})
        source.opened.clear()
        again = selected(source, root, **wanted)
        assert again.items == first.items and again.read == () and source.opened == []

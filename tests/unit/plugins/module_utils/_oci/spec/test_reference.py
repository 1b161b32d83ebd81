# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import reference
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import (
    LayoutReference,
    RegistryReference,
    check_path,
    image_name,
    parse,
)

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures"
DIGEST = "sha256:" + "f" * 64


def rows(name: str, group: str) -> t.List[t.Dict[str, t.Any]]:
    return json.loads((FIXTURES / name).read_text())["groups"][group]


def is_qualified(row: t.Mapping[str, t.Any]) -> bool:
    """We ask for more than distribution/reference does: a first part that can only be a host."""
    domain = row.get("domain") or ""
    return "." in domain or ":" in domain or domain == "localhost" or domain != domain.lower()


@pytest.mark.parametrize("row", rows("distribution-reference-parse.json", "parse"), ids=lambda row: row["input"][:40])
def test_the_vectors_of_distribution(row: t.Dict[str, t.Any]) -> None:
    if row.get("err") or not is_qualified(row):
        with pytest.raises(InvalidError):
            parse(row["input"])
        return
    found = parse(row["input"])
    assert isinstance(found, RegistryReference)
    assert found.name == row["repository"].replace(row["domain"], row["domain"].lower(), 1)
    assert (found.tag, found.digest) == (row.get("tag"), row.get("digest"))


@pytest.mark.parametrize("row", rows("umoci-refname.json", "refname"), ids=lambda row: row["refname"][:40])
def test_the_ref_names_of_umoci(row: t.Dict[str, t.Any]) -> None:
    if row["valid"]:
        assert reference.check_ref_name(row["refname"]) == row["refname"]
    else:
        with pytest.raises(InvalidError):
            reference.check_ref_name(row["refname"])


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_is_one_registry(host: str) -> None:
    found = parse(f"docker://{host}/alpine:3")
    assert found == RegistryReference("docker.io", "library/alpine", "3")
    assert isinstance(found, RegistryReference) and found.host == "registry-1.docker.io"
    assert parse(f"{host}/grafana/loki:3") == RegistryReference("docker.io", "grafana/loki", "3")


def test_a_tag_and_a_digest() -> None:
    found = parse(f"localhost:5000/a:v1@{DIGEST}")
    assert str(found) == f"localhost:5000/a:v1@{DIGEST}"
    assert isinstance(found, RegistryReference) and found.target == DIGEST


@pytest.mark.parametrize(
    "text, path, tag, digest",
    [
        ("oci:/srv/x", "/srv/x", None, None),
        ("oci:x.tar:v1", "x.tar", "v1", None),
        ("oci:./a/b:1.0_rc-2", "./a/b", "1.0_rc-2", None),
        (f"oci:/srv/x@{DIGEST}", "/srv/x", None, DIGEST),
        ("oci:/srv/me@home/x:v1", "/srv/me@home/x", "v1", None),
        ("oci:/srv/me@home:v1", "/srv/me@home", "v1", None),
    ],
)
@pytest.mark.parametrize("prefix", ["oci:", "oci-archive:"])
def test_layouts(text: str, path: str, tag: t.Optional[str], digest: t.Optional[str], prefix: str) -> None:
    found = parse(text.replace("oci:", prefix, 1))
    assert found == LayoutReference(path, tag, digest, prefix == "oci-archive:")
    assert parse(str(found)) == found


@pytest.mark.parametrize("text", ["oci:/a:b:c", "oci:/a:b/c", f"oci:/a:v1@{DIGEST}", "oci:C:/x:v1", "oci:x:example.com/app:v1"])
def test_what_has_two_readings_says_so(text: str) -> None:
    with pytest.raises(InvalidError, match="ambiguous.*src_ref, dest_ref"):
        parse(text)


@pytest.mark.parametrize("text", ["", "oci:", "oci::v1", "oci:/a:", f"oci:@{DIGEST}", "oci:/a@sha256:12", "oci:/a\nb", "oci:/a\x1b[0m"])
def test_broken_layout_references(text: str) -> None:
    with pytest.raises(InvalidError):
        parse(text)


@pytest.mark.parametrize("path", ["/a:b", "/srv/with:colon.tar", "x@y"])
@pytest.mark.parametrize("ref", ["v1", "example.com:5000/app:v1", DIGEST])
def test_a_ref_said_apart(path: str, ref: str) -> None:
    found = parse(f"oci:{path}", ref)
    assert isinstance(found, LayoutReference) and found.path == path and found.target == ref


def test_a_tag_said_apart() -> None:
    assert parse("localhost:5000/a", "v1") == RegistryReference("localhost:5000", "a", "v1")
    assert parse("localhost:5000/a", DIGEST).digest == DIGEST
    with pytest.raises(InvalidError, match="say it once"):
        parse("localhost:5000/a:v1", "v2")
    with pytest.raises(InvalidError):
        parse("localhost:5000/a", "not a tag")


@pytest.mark.parametrize(
    "text", ["alpine", "alpine:3", "library/alpine", "./x.tar:v1", "/srv/x", "localhost:99999/a", "a_b.com/x", "-a.com/x"]
)
def test_unqualified_and_impossible_hosts(text: str) -> None:
    with pytest.raises(InvalidError):
        parse(text)


@pytest.mark.parametrize("text", ["dir:/x", "docker-daemon:x", "oci-layout:///x:v1", "https://localhost:5000/a:v1"])
def test_other_transports_are_named(text: str) -> None:
    with pytest.raises(InvalidError, match="is not supported"):
        parse(text)


@pytest.mark.parametrize(
    "text, path, tag, digest",
    [
        ("docker-archive:/srv/x.tar", "/srv/x.tar", None, None),
        ("docker-archive:x.tar:alpine", "x.tar", "alpine", None),
        ("docker-archive:x.tar:example.com:5000/a/b:1.0", "x.tar", "example.com:5000/a/b:1.0", None),
        ("docker-archive:/srv/x.tar:@3", "/srv/x.tar", "@3", None),
        (f"docker-archive:/srv/x.tar@{DIGEST}", "/srv/x.tar", None, DIGEST),
    ],
)
def test_docker_archives(text: str, path: str, tag: t.Optional[str], digest: t.Optional[str]) -> None:
    found = parse(text)
    assert found == LayoutReference(path, tag, digest, archive=True, docker=True)
    assert parse(str(found)) == found


@pytest.mark.parametrize("text", ["Oci:2/v", "docker://oci:2/v:1", "docker://oci-archive:5000/a/b", "docker://dir:1/v"])
def test_a_host_that_is_called_as_a_transport(text: str) -> None:
    """What is shown, and given back, means the same when it is read again."""
    found = parse(text)
    assert isinstance(found, RegistryReference) and str(found).startswith("docker://")
    assert parse(str(found)) == found
    assert not image_name(text).startswith("docker:")


def test_a_docker_archives_name_said_apart() -> None:
    found = parse("docker-archive:/srv/a:b.tar", "alpine:3")
    assert found == LayoutReference("/srv/a:b.tar", "alpine:3", archive=True, docker=True)
    assert parse("docker-archive:/srv/a:b.tar", DIGEST).digest == DIGEST


@pytest.mark.parametrize("text", ["docker-archive:", "docker-archive::a", "docker-archive:x.tar:"])
def test_broken_docker_archives(text: str) -> None:
    with pytest.raises(InvalidError, match="no (path|name after the colon) in .*expected docker-archive:PATH"):
        parse(text)


def test_a_docker_archives_name_has_no_digest() -> None:
    with pytest.raises(InvalidError, match="ambiguous"):
        parse(f"docker-archive:x.tar:alpine:3@{DIGEST}")


@pytest.mark.parametrize(
    "name, full",
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("grafana/loki:3", "docker.io/grafana/loki:3"),
        ("localhost/a:1", "localhost/a:1"),
        ("example.com:5000/a/b", "example.com:5000/a/b:latest"),
    ],
)
def test_image_names_as_docker_writes_them(name: str, full: str) -> None:
    assert reference.image_name(name) == full


def test_positions() -> None:
    assert [reference.position_of(ref) for ref in ("@0", "@12", "@", "@x", "v1", "@-1")] == [0, 12, None, None, None, None]


@pytest.mark.parametrize("text", ["./x.tar:v1", "/srv/x", "~/x.tar", "hello-world.tar:v1", "../x"])
def test_a_path_is_told_how_to_be_one(text: str) -> None:
    with pytest.raises(InvalidError, match="written oci:PATH"):
        parse(text)


def test_digits_of_other_scripts_are_no_port_and_no_tag() -> None:
    for text in ("localhost:\u0665\u0660/a", "localhost:5000/a:\u0665", "localhost:5000/a:v1\n"):
        with pytest.raises(InvalidError):
            parse(text)


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        ("oci:q.tar:1", "as path: q.tar (./oci:q.tar:1 is"),
        ("oci-archive:/srv/q.tar", "as path: /srv/q.tar ("),
        ("docker-archive:q.tar:app:1", "as path: q.tar ("),
        ("docker://localhost:5000/app", "as path: PATH ("),
        ("dir:q", "as path: q ("),
        ("oci:", "as path: PATH ("),
    ],
)
def test_a_reference_where_a_path_is_meant(path: str, instead: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(f"path is {path!r}: a path is meant, without ")) as caught:
        check_path("path", path)
    assert instead in str(caught.value)


@pytest.mark.parametrize("path", ["./oci:q.tar:1", "/srv/oci:q.tar", "~/oci:q", "a:b", "ocix", "oci"])
def test_paths_with_colons(path: str) -> None:
    check_path("path", path)

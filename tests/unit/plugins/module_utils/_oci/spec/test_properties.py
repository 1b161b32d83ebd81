# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds of every text, document and version: parsers are total, what is written is read back, limits are kept."""

from __future__ import annotations

import json
import typing as t

import pytest

pytest.importorskip("hypothesis")

from ansible_collections.lading.oci.plugins.module_utils._oci.globs import Glob
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest, mediatype, reference, semver, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, OCIError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.image import parse_config
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.timestamp import Timestamp
from ansible_collections.lading.oci.plugins.module_utils._oci.titles import check_link, parse_member, parse_title
from hypothesis import given, settings
from hypothesis import strategies as st

steady = settings(max_examples=60, deadline=None, derandomize=True, database=None)

TEXTS = st.text(max_size=60) | st.text("abz019AZ:/@._-+*?[]~^<>=|,! \u202e\n\\", max_size=40)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
DIGESTS = HEX.map(lambda text: f"sha256:{text}") | st.tuples(HEX, HEX).map(lambda two: "sha512:" + "".join(two))
NAMES = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,2}", fullmatch=True)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
TYPES = st.sampled_from([*mediatype.ACCEPTED_MANIFESTS, mediatype.OCI_LAYER, mediatype.OCI_CONFIG, "text/plain"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("schemaVersion", "mediaType", "digest", "size", "config", "layers", "manifests", "subject", "annotations", "data", "platform")
DOCUMENTS = st.dictionaries(st.sampled_from([*FIELDS, "artifactType", "rootfs", "os", "architecture", "history"]), JSON, max_size=6)


@steady
@given(TEXTS)
def test_any_text_is_a_value_or_our_own_error(text: str) -> None:
    parsers: t.Sequence[t.Callable[[str], object]] = (
        reference.parse,
        reference.image_name,
        reference.check_tag,
        reference.check_ref_name,
        Digest,
        Platform.parse,
        semver.Range,
        Glob,
        parse_title,
        lambda name: parse_member(name, ("top",)),
        lambda link: check_link(link, ("a", "b"), "x"),
        lambda time: Timestamp.parse(time, "x"),
        lambda ref: reference.parse("oci:/x", ref),
    )
    for parse in parsers:
        try:
            parse(text)
        except OCIError as error:
            assert str(error).isprintable()
    semver.Version.parse(text)
    reference.position_of(text)


@steady
@given(NAMES.map(lambda name: name.replace("_", "-")), st.lists(NAMES, min_size=1, max_size=3), st.none() | TAGS, st.none() | DIGESTS)
def test_a_registry_reference_is_read_back(host: str, parts: t.List[str], tag: t.Optional[str], digest: t.Optional[str]) -> None:
    text = f"{host}:5000/{'/'.join(parts)}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    found = reference.parse(text)
    assert str(found) == text and reference.parse(str(found)) == found
    assert found.target == (digest or tag)


@steady
@given(st.lists(NAMES, min_size=1, max_size=2), TAGS)
def test_names_of_docker_hub_are_normalised_once(parts: t.List[str], tag: str) -> None:
    name = reference.image_name(f"docker.io/{'/'.join(parts)}:{tag}")
    assert reference.image_name(name) == name and reference.qualified(name) == name
    assert reference.parse(name) == reference.parse(name.replace("docker.io", "INDEX.docker.io", 1))


@steady
@given(st.lists(TEXTS.filter(lambda text: text.isprintable() and text), min_size=1, max_size=3), TAGS)
def test_a_path_given_apart_from_its_ref_is_taken_whole(parts: t.List[str], tag: str) -> None:
    path = "/" + "/".join(parts)
    found = reference.parse(f"oci:{path}", tag)
    assert isinstance(found, reference.LayoutReference) and (found.path, found.target) == (path, tag)


@steady
@given(DIGESTS, st.text(max_size=3))
def test_a_digest_has_hexadecimal_digits_and_no_more(text: str, more: str) -> None:
    digest = Digest(text)
    assert digest == text and f"{digest.algorithm}:{digest.encoded}" == text and set(digest.encoded) <= set("0123456789abcdef")
    for other in (text + more, more + text, text.replace("a", "A"), text[:-1] + more):
        try:
            assert Digest(other) == other and set(Digest(other).encoded) <= set("0123456789abcdef")
        except InvalidError:
            assert other != text


@steady
@given(st.text(max_size=80))
def test_titles_stay_below_their_folder(text: str) -> None:
    for title in (text, f"a/{text}", f"{text}/../b", text.replace("x", "/")):
        try:
            parts = parse_title(title)
        except InvalidError:
            continue
        assert "/".join(parts) == title and title.isprintable() and not {"", ".", ".."} & set(parts)


@steady
@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "c"]), max_size=5), st.integers(0, 3))
def test_links_that_pass_lead_nowhere_else(parts: t.List[str], depth: int) -> None:
    try:
        check_link("/".join(parts), ("f",) * depth, "x")
    except InvalidError:
        return
    level, deepest = depth, depth
    for part in parts:
        level += {"..": -1, ".": 0, "": 0}.get(part, 1)
        deepest = min(deepest, level)
    assert deepest >= 0


@steady
@given(JSON)
def test_json_is_read_as_others_read_it(document: t.Any) -> None:
    for content in (json.dumps(document).encode(), strictjson.dumps(document)):
        try:
            assert strictjson.loads(content, "x") == document
        except InvalidError as error:
            assert "too large" in str(error)  # a float of more digits than are taken


@steady
@given(st.dictionaries(st.text(max_size=5), st.integers(0, 9), min_size=1, max_size=3))
def test_a_name_that_stands_twice_is_refused(document: t.Dict[str, int]) -> None:
    inner = json.dumps(document)[1:-1]
    with pytest.raises(InvalidError, match="stands twice"):
        strictjson.loads(f"[{{{inner}, {inner}}}]".encode(), "x")


@steady
@given(st.binary(max_size=80) | JSON.map(lambda document: json.dumps(document).encode()[:-1]))
def test_any_bytes_are_a_document_or_our_own_error(content: bytes) -> None:
    try:
        document = strictjson.loads(content, "x")
    except OCIError:
        return
    assert document == json.loads(content)


@steady
@given(DIGESTS, st.integers(0, 2**63 - 1), TYPES, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3), st.none() | TYPES)
def test_a_descriptor_is_read_back(digest: str, size: int, media_type: str, annotations: t.Dict[str, str], kind: t.Optional[str]) -> None:
    desc = Descriptor(media_type, Digest(digest), size, annotations, kind or "", {"os": "linux", "x": [1]})
    again = Descriptor.parse(desc.to_json())
    assert again == desc and again.to_json() == desc.to_json()
    assert (again.annotations, again.platform, again.artifact_type) == (annotations, desc.platform, kind or "")


@steady
@given(DOCUMENTS, TYPES)
def test_any_document_is_one_thing_or_none(document: t.Dict[str, t.Any], media_type: str) -> None:
    content = strictjson.dumps({"schemaVersion": 2, **document})
    desc = Descriptor.of(content, media_type)
    for parse in (
        lambda: manifest.parse(desc, content),
        lambda: manifest.sniff_media_type(content, "x"),
        lambda: parse_config(content, "x"),
        lambda: Descriptor.parse(document),
    ):
        try:
            found = parse()
        except OCIError:
            continue
        if isinstance(found, manifest.Manifest):
            assert found.media_type == media_type and not (found.manifests and found.layers)


NUMBERS = st.integers(0, 10**12)
PRE = st.from_regex(r"[0-9a-z]{1,3}(\.[0-9a-z]{1,3})?", fullmatch=True)


@steady
@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.none() | PRE), min_size=3, max_size=3))
def test_versions_are_ordered(parts: t.List[t.Tuple[int, int, int, t.Optional[str]]]) -> None:
    one, two, three = (semver.Version.parse(f"v{a}.{b}.{c}" + (f"-{pre}" if pre else "")) for a, b, c, pre in parts)
    assert one is not None and two is not None and three is not None
    assert (one < two) + (one == two) + (one > two) == 1
    assert not (one < two < three) or one < three
    a, b, c, pre = parts[0]
    text = f"{a}.{b}.{c}" + (f"-{pre}" if pre else "")
    assert one in semver.Range(f"={text}") and one in semver.Range(f">={text}") and one in semver.Range(f"^{text}")
    assert one not in semver.Range(f"<{text}") and one not in semver.Range(f">{text}")


@steady
@given(st.from_regex(r"[A-Za-z0-9]{1,8}/[A-Za-z0-9_]{1,8}(/[a-z0-9]{1,4})?", fullmatch=True))
def test_platforms_are_normalised_once(text: str) -> None:
    found = Platform.parse(text)
    assert Platform.parse(str(found)) == found == Platform.from_json(found.to_json())


@steady
@given(st.integers(0, 253402300799))
def test_times_are_read_back(epoch: int) -> None:
    found = Timestamp.parse(str(epoch), "x") if epoch < 10**12 else Timestamp(epoch)
    assert Timestamp.parse(str(found), "x") == found == Timestamp(epoch)


@steady
@given(st.lists(st.sampled_from(["a", "ab", "b.txt", "*"]), min_size=1, max_size=5))
def test_globs_match_themselves_and_whole_parts_alone(parts: t.List[str]) -> None:
    title = tuple(part.replace("*", "x") for part in parts)
    assert Glob("**").matches(title) and Glob("/".join("*" for _part in title)).matches(title)
    assert Glob("/".join(title)).matches(title) and Glob("**/" + title[-1]).matches(title)
    assert not Glob("/".join(["*"] * (len(title) + 1))).matches(title)

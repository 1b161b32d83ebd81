# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages hold together: links lead to files, anchors and pictures that are there; the contents name every page; the site is made of
them with links that lead there too."""

from __future__ import annotations

import pathlib
import re
import typing as t
from xml.etree import ElementTree

import docs_site
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("roles/*/README.md")])
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*"))
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
SVG = "{http://www.w3.org/2000/svg}"


def links_of(text: str) -> t.List[t.Tuple[bool, str, str]]:
    """Whether it is a picture, what it says, where it leads."""
    return [(bool(mark), said, where) for mark, said, where in LINK.findall(FENCED.sub("", text))]


def anchors_of(text: str) -> t.Set[str]:
    """As GitHub makes them of headings; the same heading again gets a number."""
    anchors: t.Set[str] = set()
    for heading in HEADING.findall(FENCED.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number, one = 0, slug
        while one in anchors:
            number += 1
            one = f"{slug}-{number}"
        anchors.add(one)
    return anchors


def broken(page: pathlib.Path, text: str) -> t.List[str]:
    found = []
    for is_picture, said, where in links_of(text):
        if "://" in where or where.startswith("mailto:"):
            continue
        name, _hash, anchor = where.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or ROOT not in target.parents:
            found.append(f"{where}: no such file")
        elif anchor and anchor not in anchors_of(text if target == page else target.read_text()):
            found.append(f"{where}: no such heading")
        elif is_picture and len(said) < 20:
            found.append(f"{where}: a picture that does not say what it shows")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: pathlib.Path) -> None:
    assert not broken(page, page.read_text())


def test_a_broken_link_is_noticed() -> None:
    page = ROOT / "docs" / "air-gap.md"
    text = "# One two\n[a](nowhere.md) [b](#one-two) [c](#three) [`d`](security.md#none) ![e](pictures/house.svg)\n```\n[f](nothing)\n```\n"
    assert [line.partition(":")[0] for line in broken(page, text)] == ["nowhere.md", "#three", "security.md#none", "pictures/house.svg"]


def test_the_contents_name_every_page() -> None:
    named = {where for _picture, _said, where in links_of((ROOT / docs_site.CONTENTS).read_text())}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} == {name for name in named if "/" not in name}


def test_every_picture_is_shown_and_can_be_read() -> None:
    shown = {where.rpartition("/")[2] for page in PAGES for picture, _said, where in links_of(page.read_text()) if picture}
    assert len(PICTURES) >= 3
    assert {picture.name for picture in PICTURES} == shown
    for picture in PICTURES:
        root = ElementTree.parse(picture).getroot()
        assert root.get("role") == "img" and all((root.findtext(f"{SVG}{name}") or "").strip() for name in ("title", "desc"))
        # What is drawn has a ground of its own, and both go by the reader's choice.
        assert "prefers-color-scheme: dark" in (root.findtext(f"{SVG}style") or "")
        ground = root.find(f"{SVG}rect")
        assert ground is not None and ground.get("class") == "page"


def test_the_sites_links_lead_to_what_it_has(tmp_path: pathlib.Path) -> None:
    """Without antsibull-docs and Sphinx: the pages as they are given to them. A page of the reference stands for its plugin or role."""
    docs_site.write_source(ROOT, tmp_path)
    kinds = {"modules": "module", "lookup": "lookup", "filter": "filter", "test": "test"}
    reference = {"index.rst", *(f"{role.name}_role.rst" for role in (ROOT / "roles").iterdir())}
    for folder, kind in kinds.items():
        reference |= {f"{path.stem}_{kind}.rst" for path in (ROOT / "plugins" / folder).glob("*.py")}
    pages = sorted(tmp_path.rglob("*.md"))
    assert tmp_path / "index.md" in pages and len(pages) >= 13
    places = [
        (page, (page.parent / where.partition("#")[0]).resolve())
        for page in pages
        for _picture, _said, where in links_of(page.read_text())
        if "://" not in where and not where.startswith("#")
    ]
    assert len(places) >= 40
    in_reference = [place for _page, place in places if place.parent == tmp_path / docs_site.REFERENCE]
    assert len(in_reference) >= 20 and {place.name for place in in_reference} <= reference
    assert not [str(place) for _page, place in places if place not in in_reference and not place.exists()]


def test_the_page_of_playbooks_is_made_of_their_heads() -> None:
    head = """---
# A license

# What it does.
#
#   ansible-playbook lading.oci.one -e a_b=1
#
# Needed:
#   a_b         a thing,
#               or two of them
# Not needed:
#   c_d, c_e    two others; none
- name: One
"""
    assert (
        docs_site.playbook_section("one", head)
        == """## one

What it does.

```sh
ansible-playbook lading.oci.one -e a_b=1
```

| needed | what it is |
| --- | --- |
| `a_b` | a thing, or two of them |

| not needed | what it is |
| --- | --- |
| `c_d`, `c_e` | two others; none |
"""
    )
    text = docs_site.playbooks_page(ROOT)
    for playbook in (ROOT / "playbooks").glob("*.yml"):
        section = text.partition(f"\n## {playbook.stem}\n")[2].partition("\n## ")[0]
        assert "\n```sh\nansible-playbook " in section and "\n| needed | what it is |\n| --- | --- |\n| `" in section
        # Nothing of it is taken for text that is set as it stands.
        assert not re.findall(r"^ .*", section, re.MULTILINE)


def test_links_to_other_files_lead_to_the_repository() -> None:
    pages = docs_site.find_pages(ROOT)
    assert pages.target("../galaxy.yml", "docs/security.md") == f"{pages.repository}/blob/main/galaxy.yml"
    assert pages.target("docs/security.md#a", "README.md") == "docs/security.md#a"
    assert pages.target("../plugins/lookup/digest.py", "docs/cookbook.md") == "../reference/digest_lookup.rst"
    assert pages.target("../roles/buildx/README.md", docs_site.CONTENTS) == "roles/buildx/README.md"
    assert pages.target("meta/argument_specs.yml", "roles/buildx/README.md") == "../../reference/buildx_role.rst"
    assert pages.target("playbooks/build_and_push.yml", "README.md") == "playbooks.md#build_and_push"
    assert pages.target("https://example.com/a", "README.md") == "https://example.com/a"
    assert pages.rewritten("[a](../README.md)\n```\n[b](../README.md)\n```\n", docs_site.CONTENTS) == (
        "[a](README.md)\n```\n[b](../README.md)\n```\n"
    )

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make docs``: the documentation as a site, of the files that people read in the repository.

    docs_site.py FOLDER

Pages are Markdown and have one source. docs/README.md is the contents: its sections are the site's menu, and what it links to are the
pages. A link to a module or to the options of a role leads to its page in the reference, which antsibull-docs makes of the documentation in
the code. The page of the playbooks is made of the comments at their heads. A link to any other file leads to the repository.
``FOLDER/html`` is the site, ``FOLDER/source`` what Sphinx is given. Every warning is an error.
"""

from __future__ import annotations

import os
import pathlib
import posixpath
import re
import shutil
import subprocess
import sys
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(__file__).resolve().parent
COLLECTION = "lading.oci"
CONTENTS = "docs/README.md"
PICTURES = "docs/pictures"
# Where antsibull-docs puts the reference, in the source and so in the site.
REFERENCE = "reference"
PLAYBOOKS = "playbooks"
PLUGIN = re.compile(r"^plugins/(?:(module)s|(lookup)|(filter)|(test))/(\w+)[.]py$")
ROLE = re.compile(r"^roles/(\w+)(?:/meta/argument_specs[.]yml)?$")
PLAYBOOK = re.compile(rf"^{PLAYBOOKS}/(\w+)[.]yml$")
# The head of a playbook: the comment after those of the license.
HEAD = re.compile(r"^---\n(?:# .*\n)+\n((?:#.*\n)+)- name: ")
# A line of it that is about a variable, and one that goes on about it.
VARIABLE = re.compile(r"^  (\w+(?:, \w+)*) +(\S.*)$")
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
CODE = re.compile(r"^(```.*?^```$)", re.DOTALL | re.MULTILINE)
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
ITEM = re.compile(r"^- \[([^\]]+)\]\(([^)\s]+)\)", re.MULTILINE)


class Pages(t.NamedTuple):
    """The pages, by their path in the repository, and where what is no page is found."""

    paths: t.FrozenSet[str]
    repository: str

    def of_site(self, path: str) -> t.Optional[str]:
        """Where the site has a file of the repository; None when it has not."""
        plugin, role = PLUGIN.match(path), ROLE.match(path)
        if path == CONTENTS:
            return "index.md"
        if path in self.paths or path.startswith(PICTURES + "/"):
            return path
        if path == PLAYBOOKS or PLAYBOOK.match(path):
            return f"{PLAYBOOKS}.md"
        if plugin:
            return f"{REFERENCE}/{plugin.group(5)}_{next(filter(None, plugin.groups()[:4]))}.rst"
        if role:
            return f"{REFERENCE}/{role.group(1)}_role.rst"
        if path in ("plugins", "plugins/modules", "plugins/lookup", "plugins/filter", "plugins/test", "roles"):
            return f"{REFERENCE}/index.rst"
        return None

    def target(self, link: str, page: str) -> str:
        """A link of a page, as that page has it in the site."""
        if "://" in link or link.startswith(("#", "mailto:")):
            return link
        name, hash_sign, anchor = link.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), name))
        place = self.of_site(path)
        if place is None:
            return f"{self.repository}/blob/main/{path}{hash_sign}{anchor}"
        playbook = PLAYBOOK.match(path)
        if playbook:
            hash_sign, anchor = "#", playbook.group(1)
        start = posixpath.dirname(t.cast(str, self.of_site(page))) or "."
        return posixpath.relpath(place, start) + hash_sign + anchor

    def rewritten(self, text: str, page: str) -> str:
        def changed(found: t.Match[str]) -> str:
            return found.group(1) + self.target(found.group(2), page) + found.group(3)

        parts = CODE.split(text)
        return "".join(part if part.startswith("```") else LINK.sub(changed, part) for part in parts)


def find_pages(root: pathlib.Path) -> Pages:
    """All of docs/, and what the contents name of other pages: those beside the README, and those of roles."""
    named = {posixpath.normpath(posixpath.join("docs", link)) for _title, link in ITEM.findall((root / CONTENTS).read_text())}
    others = {path for path in named if path.endswith(".md")}
    # No YAML parser is needed for one line.
    repository = re.search(r"^repository: (\S+)$", (root / "galaxy.yml").read_text(), re.MULTILINE)
    assert repository, "galaxy.yml names no repository"
    return Pages(frozenset({f"docs/{file.name}" for file in (root / "docs").glob("*.md")} | others), repository.group(1))


def menu(contents: str, pages: Pages) -> str:
    """The sections of the contents as trees of pages: what Sphinx shows beside each page."""
    trees = []
    _before, *sections = SECTION.split(contents)
    for title, text in zip(sections[::2], sections[1::2]):
        entries = []
        for name, link in ITEM.findall(text):
            place = pages.target(link, CONTENTS)
            if "://" not in place:
                entries.append(f"{name} <{posixpath.splitext(place)[0]}>")
        if entries:
            trees.append("\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *dict.fromkeys(entries), "```", ""]))
    return "\n" + "\n".join(trees)


def playbook_section(name: str, text: str) -> str:
    """What a playbook does, how it is called, and tables of its variables."""
    head = HEAD.match(text)
    assert head, f"{name} has no comment at its head"
    lines = [line[2:] for line in head.group(1).splitlines()]
    parts, is_open = [f"## {name}", ""], False
    for line in lines:
        variable, is_command = VARIABLE.match(line), line.startswith("  ansible-playbook ")
        if is_command and not is_open:
            parts.append("```sh")
        elif is_open and not is_command:
            parts.append("```")
        is_open = is_command
        if is_command:
            parts.append(line.strip())
        elif line in ("Needed:", "Not needed:"):
            parts += [*([""] if parts[-1] else []), f"| {line[:-1].lower()} | what it is |", "| --- | --- |"]
        elif variable:
            parts.append(f"| {', '.join(f'`{one}`' for one in variable.group(1).split(', '))} | {variable.group(2)} |")
        elif line.startswith("    "):
            # It goes on in the cell.
            parts[-1] = f"{parts[-1][:-2]} {line.strip()} |"
        else:
            parts.append(line)
    return "\n".join([*parts, ""])


def playbooks_page(root: pathlib.Path) -> str:
    before = (
        "# Playbooks\n\nThey come with the collection, and ask for a variable that is missing. After a semicolon: what holds without it.\n"
    )
    return "\n".join([before, *(playbook_section(file.stem, file.read_text()) for file in sorted((root / PLAYBOOKS).glob("*.yml")))])


def at_github(url: str) -> str:
    """What makes the theme link a page's file there."""
    return f"---\ngithub_url: {url}\n---\n\n"


def write_source(root: pathlib.Path, source: pathlib.Path) -> None:
    pages = find_pages(root)
    for page in sorted(pages.paths):
        text = pages.rewritten((root / page).read_text(), page)
        if page == CONTENTS:
            text += menu((root / page).read_text(), pages)
        place = source / t.cast(str, pages.of_site(page))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(at_github(f"{pages.repository}/blob/main/{page}") + text)
    (source / f"{PLAYBOOKS}.md").write_text(at_github(f"{pages.repository}/tree/main/{PLAYBOOKS}") + playbooks_page(root))
    shutil.copytree(root / PICTURES, source / PICTURES)
    shutil.copy(TOOLS / "docs_site_conf.py", source / "conf.py")
    (source / "_static").mkdir()
    shutil.copy(TOOLS / "docs_site.css", source / "_static")


def run(program: str, *arguments: str, **environment: str) -> None:
    """One of the programs beside this Python, which start others from there. Ends with its output when it fails."""
    beside = str(pathlib.Path(sys.executable).parent)
    values = {**os.environ, "PATH": os.pathsep.join([beside, os.environ["PATH"]]), **environment}
    command = [os.path.join(beside, program), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=values, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{program} failed with exit code {done.returncode}")


def make_reference(folder: pathlib.Path, place: pathlib.Path) -> None:
    namespace, _dot, name = COLLECTION.partition(".")
    tree = folder / "collections" / "ansible_collections" / namespace
    tree.mkdir(parents=True)
    (tree / name).symlink_to(ROOT)
    # antsibull-docs writes only where nobody else may.
    place.mkdir(mode=0o700, parents=True)
    arguments = ("collection", "--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(place), COLLECTION)
    run("antsibull-docs", *arguments, ANSIBLE_COLLECTIONS_PATH=str(folder / "collections"))
    # It is made although no plugin has such a variable, and says that.
    (place / "environment_variables.rst").unlink()


def main() -> int:
    folder = pathlib.Path(sys.argv[1]).resolve()
    source, html = folder / "source", folder / "html"
    for name in ("collections", "source", "html", "doctrees"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    make_reference(folder, source / REFERENCE)
    write_source(ROOT, source)
    run("sphinx-build", "-q", "-W", "--keep-going", "-j", "auto", "-b", "html", "-d", str(folder / "doctrees"), str(source), str(html))
    print(f"{len(list(html.rglob('*.html')))} pages; the first is {html / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Sphinx makes the site with; docs_site.py puts it beside the pages."""

from __future__ import annotations

import re
import typing as t

from docutils import nodes

project = "lading.oci"
title = html_title = "lading.oci"
project_copyright = "Contributors to the lading.oci project"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
# A heading has the anchor that it has in the repository.
myst_heading_anchors = 4

pygments_style = "ansible"
highlight_language = "YAML+Jinja"
# "--check" stays two dashes.
smartquotes = False
html_theme = "sphinx_rtd_theme"
html_static_path = ["_static"]
html_css_files = ["docs_site.css"]
html_copy_source = False
html_use_index = False
html_show_sphinx = False
default_role = "any"

ANSIBLE = "https://docs.ansible.com/projects/ansible/latest/"
# What the reference says of Ansible itself. Its own inventory of labels would have to be fetched for each build.
LABELS = {
    "common_return_values": "reference_appendices/common_return_values.html",
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
}
MODULE = re.compile(r"^ansible_collections[.]ansible[.]builtin[.](\w+)$")


def ansible_page(target: str) -> t.Optional[str]:
    found = MODULE.match(target)
    return f"collections/ansible/builtin/{found.group(1)}.html" if found else LABELS.get(target)


def resolve(_app: t.Any, _env: t.Any, node: t.Any, content: t.Any) -> t.Optional[nodes.reference]:
    page = ansible_page(node.get("reftarget", ""))
    if page is None:
        return None
    return nodes.reference("", "", content, internal=False, refuri=ANSIBLE + page)


def setup(app: t.Any) -> t.Dict[str, bool]:
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

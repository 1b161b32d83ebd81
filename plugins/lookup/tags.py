# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: tags
short_description: The tags of a repository
description:
  - Lists the tags of repositories in a registry, or the refs of OCI layouts (Open Container Initiative, not Oracle Cloud), as C(crane ls)
    and C(oras repo tags) do.
  - Use C(query) to get a list. C(lookup) joins the tags by commas.
extends_documentation_fragment:
  - lading.oci.lookup
options:
  _terms:
    description:
      - Repositories, as V(HOST[:PORT]/REPOSITORY), and layouts, as V(oci:PATH) or V(oci-archive:PATH). Lists of them will do too.
      - Layouts are those of the controller. Relative paths start at the folder of the playbook.
    type: list
    elements: str
    required: true
  tags_matching:
    description:
      - List only tags that match this regular expression as a whole, or that are versions within a range, as V(semver:>=1.2).
      - The lists of referrers that some registries keep under tags are never listed.
    type: str
  default:
    description:
      - What to give for a repository or layout that is not there, as V([]). Without it that is an error.
      - A registry that refuses access, or cannot be reached, is an error all the same.
    type: raw
seealso:
  - module: lading.oci.oci_info
  - plugin: lading.oci.digest
    plugin_type: lookup
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: The releases of 1.x
  ansible.builtin.debug:
    msg: "{{ query('lading.oci.tags', 'registry.example.com/team/releases', tags_matching='semver:1.x') }}"

- name: Is this version free?
  ansible.builtin.assert:
    that: "'1.5' not in query('lading.oci.tags', 'registry.example.com/team/app', default=[])"
    fail_msg: Version 1.5 is published already

- name: The refs of a layout tar on the controller
  ansible.builtin.debug:
    msg: "{{ item }}"
  loop: "{{ query('lading.oci.tags', 'oci:/srv/images/app-fixed.tar') }}"
"""

RETURN = r"""
_raw:
  description: The tags, in the order of the registry or layout. Of several repositories those of the first come first.
  type: list
  elements: str
  sample: ["1.0.0", "1.2.0"]
"""

import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, located
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import Reference
from ansible_collections.lading.oci.plugins.module_utils._oci.tag_selection import parse_filter
from ansible_collections.lading.oci.plugins.plugin_utils._lookup import Params, ReferenceLookup


class LookupModule(ReferenceLookup):
    OPTIONS = {"tags_matching": {"type": "str"}}

    def prepare(self, params: Params) -> t.Callable[[Reference, Source], t.List[t.Any]]:
        matches = parse_filter(params["tags_matching"])

        def find(parsed: Reference, source: Source) -> t.List[t.Any]:
            if parsed.target is not None:
                with located(source.location):
                    raise InvalidError(f"it has a tag, ref or digest; the tags of {parsed.name} are asked for without")
            return [str(name) for name in source.names() if matches(name)]

        return find

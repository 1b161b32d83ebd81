# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: digest
short_description: The digest that a tag or ref names now
description:
  - Tells the digest of an image or artifact (Open Container Initiative, not Oracle Cloud) in a registry or an OCI layout, as
    C(crane digest) and C(oras resolve) do, so that templates pin what they name.
  - Each reference costs a registry one HEAD request. Nothing is pulled.
  - Use C(query) for several references. C(lookup) joins their digests by commas.
extends_documentation_fragment:
  - lading.oci.lookup
options:
  _terms:
    description:
      - References, as V(HOST[:PORT]/REPOSITORY:TAG), V(oci:PATH:REF) or V(oci-archive:PATH:REF). The forms are those of
        O(lading.oci.oci_copy#module:src). Lists of them will do too.
      - Layouts are those of the controller. Relative paths start at the folder of the playbook.
      - One that has a digest already is looked for as well.
    type: list
    elements: str
    required: true
  platform:
    description:
      - Of an index the digest of the image for this platform, as V(linux/arm64). Without it the digest of the index itself, which is
        what a tag of a multi-platform image is best pinned to.
      - V(host) is Linux on the processor of the controller.
      - The index is read for it, and of what is no index the configuration. An image for another platform is an error.
    type: str
  default:
    description:
      - What to give for a reference that is not there. Without it that is an error.
      - A registry that refuses access, or cannot be reached, is an error all the same.
    type: raw
seealso:
  - module: lading.oci.oci_info
  - plugin: lading.oci.oci_pin
    plugin_type: filter
  - plugin: lading.oci.tags
    plugin_type: lookup
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: A compose file that names no tags
  ansible.builtin.copy:
    dest: /srv/app/compose.yml
    content: |
      services:
        app:
          image: {{ image | lading.oci.oci_pin(lookup('lading.oci.digest', image)) }}
    mode: "0644"
  vars:
    image: registry.example.com/team/app:1.4

- name: A registry without TLS
  ansible.builtin.debug:
    msg: "{{ lookup('lading.oci.digest', 'localhost:5000/site:2.3', plain_http=true) }}"

- name: A registry with a login. Best set where the inventory is, for all lookups
  ansible.builtin.debug:
    msg: "{{ lookup('lading.oci.digest', 'registry.example.com/team/app:1.4') }}"
  vars:
    lading_oci_registries:
      - host: registry.example.com
        username: deploy
        password: "{{ vault_registry_password }}"

- name: The digests of several images, asked for once for all hosts
  ansible.builtin.set_fact:
    digests: "{{ dict(images | zip(query('lading.oci.digest', images))) }}"
  run_once: true
  vars:
    images:
      - registry.example.com/team/app:1.4
      - registry.example.com/team/site:v1

- name: The image of an index for one platform
  ansible.builtin.debug:
    msg: "{{ lookup('lading.oci.digest', 'registry.example.com/team/multi:1.4', platform='linux/arm64') }}"

- name: Only what has not been released yet is built
  ansible.builtin.debug:
    msg: There is no release 9.9 yet
  when: lookup('lading.oci.digest', 'registry.example.com/team/app:9.9', default='') == ''
"""

RETURN = r"""
_raw:
  description: A digest for each reference, in their order.
  type: list
  elements: str
  sample: ["sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b"]
"""

import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source
from ansible_collections.lading.oci.plugins.module_utils._oci.platforms import parse_platform, select_manifest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import Reference
from ansible_collections.lading.oci.plugins.plugin_utils._lookup import Params, ReferenceLookup


class LookupModule(ReferenceLookup):
    OPTIONS = {"platform": {"type": "str"}}

    def prepare(self, params: Params) -> t.Callable[[Reference, Source], t.List[t.Any]]:
        platform = parse_platform(params["platform"]) if params["platform"] is not None else None

        def find(parsed: Reference, source: Source) -> t.List[t.Any]:
            root = source.resolve(parsed.target)
            if platform is not None:
                root = select_manifest(source, root, platform)
            # Ansible keeps no classes of others in its variables.
            return [str(root.digest)]

        return find

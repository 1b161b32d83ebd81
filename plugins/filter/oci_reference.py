# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: oci_reference
short_description: Take a reference to an image or artifact apart, or put one together
description:
  - Of a text it makes a dictionary of the parts of that reference. Of such a dictionary it makes the text.
  - The text that is made is in its normal form. Docker Hub is V(docker.io) by whatever name, and V(docker.io/alpine) is
    V(docker.io/library/alpine).
  - The forms are those of O(lading.oci.oci_copy#module:src). The host of a registry is never left out.
positional: _input
options:
  _input:
    description:
      - A reference as text, or a dictionary.
      - The keys of a dictionary are those of the return value. What is null, empty or left out the reference does not have. Without
        C(kind) it is a layout when there is a C(path), and in a registry otherwise.
    type: raw
    required: true
author:
  - The lading.oci contributors (!UNKNOWN)
seealso:
  - plugin: lading.oci.oci_pin
    plugin_type: filter
  - plugin: lading.oci.oci_reference
    plugin_type: test
"""

EXAMPLES = r"""
- name: The parts of a reference
  ansible.builtin.assert:
    that:
      - image.registry == 'registry.example.com:5000'
      - image.repository == 'team/app'
      - image.tag == '1.4'
      - image.digest is none
  vars:
    image: "{{ 'registry.example.com:5000/team/app:1.4' | lading.oci.oci_reference }}"

- name: The same repository and tag in another registry
  ansible.builtin.debug:
    msg: "{{ 'registry.example.com/team/app:1.4' | lading.oci.oci_reference | combine(mirror) | lading.oci.oci_reference }}"
  vars:
    mirror:
      registry: edge.example.com:5000

- name: A reference of its parts
  ansible.builtin.assert:
    that: (parts | lading.oci.oci_reference) == 'oci:/srv/mirror/hello.tar:v1'
  vars:
    parts:
      path: /srv/mirror/hello.tar
      tag: v1
"""

RETURN = r"""
_value:
  description:
    - Of a dictionary the text.
    - Of a text a dictionary with C(kind) (V(registry), V(oci), V(oci-archive) or V(docker-archive)), C(registry) (with its port),
      C(repository), C(path), C(tag) (of a layout the ref) and C(digest). All keys are there. What the reference does not have is null.
  type: raw
  sample:
    kind: registry
    registry: registry.example.com:5000
    repository: team/app
    path: null
    tag: "1.4"
    digest: null
"""

import typing as t
from collections.abc import Mapping

from ansible_collections.lading.oci.plugins.plugin_utils._errors import failing_filter
from ansible_collections.lading.oci.plugins.plugin_utils._reference import fields_of, parse, text_of


def oci_reference(value: object) -> t.Union[str, t.Dict[str, t.Optional[str]]]:
    with failing_filter():
        return text_of(value) if isinstance(value, Mapping) else fields_of(parse(value))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"oci_reference": oci_reference}

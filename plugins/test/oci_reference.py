# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: oci_reference
short_description: Is it a reference to an image or artifact
description:
  - Whether the modules of this collection take it as a reference. Nothing is asked of a registry, and no layout has to be there.
  - The host of a registry is never left out, so V(alpine:3) is none and V(docker.io/library/alpine:3) is one.
options:
  _input:
    description:
      - What may be a reference. What is no text is none.
    type: raw
    required: true
author:
  - The lading.oci contributors (!UNKNOWN)
seealso:
  - plugin: lading.oci.oci_reference
    plugin_type: filter
  - plugin: lading.oci.oci_digest
    plugin_type: test
"""

EXAMPLES = r"""
- name: What is given is checked before anything is done
  ansible.builtin.assert:
    that:
      - image is lading.oci.oci_reference
      - (image | lading.oci.oci_reference).digest is lading.oci.oci_digest
    fail_msg: image has to be a whole reference with a digest
  vars:
    image: registry.example.com/team/app@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b

- name: A short name is none
  ansible.builtin.assert:
    that: "'alpine:3' is not lading.oci.oci_reference"
"""

RETURN = r"""
_value:
  description: Whether it is a reference.
  type: bool
"""

import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.plugin_utils._reference import parse


def oci_reference(value: object) -> bool:
    try:
        parse(value)
    except InvalidError:
        return False
    return True


class TestModule:
    def tests(self) -> t.Dict[str, t.Callable[..., bool]]:
        return {"oci_reference": oci_reference}

# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: oci_digest
short_description: Is it a digest that content can be verified by
description:
  - Whether it is V(sha256:) and 64, or V(sha512:) and 128, of the digits V(0) to V(9) and V(a) to V(f). The modules of this collection
    take no others.
options:
  _input:
    description:
      - What may be a digest. What is no text is none.
    type: raw
    required: true
author:
  - The lading.oci contributors (!UNKNOWN)
seealso:
  - plugin: lading.oci.digest
    plugin_type: lookup
  - plugin: lading.oci.oci_reference
    plugin_type: test
"""

EXAMPLES = r"""
- name: A version file has to have a digest
  ansible.builtin.assert:
    that:
      - good is lading.oci.oci_digest
      - bad is not lading.oci.oci_digest
  vars:
    good: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
    bad: sha256:9c5b2a0a
"""

RETURN = r"""
_value:
  description: Whether it is such a digest.
  type: bool
"""

import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import is_digest


def oci_digest(value: object) -> bool:
    return isinstance(value, str) and is_digest(value)


class TestModule:
    def tests(self) -> t.Dict[str, t.Callable[..., bool]]:
        return {"oci_digest": oci_digest}

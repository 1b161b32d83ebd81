# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: oci_platform
short_description: A platform as images name it
description:
  - Operating systems and processors have several names. This gives those that images and indexes have, V(linux/amd64) for
    V(linux/x86_64).
  - A variant that goes without saying is left out, V(linux/arm64) for V(linux/arm64/v8).
positional: _input, os
options:
  _input:
    description:
      - A platform, as V(linux/x86_64) or V(linux/arm/v7), or a processor alone, as the fact C(ansible_facts.architecture).
    type: str
    required: true
  os:
    description:
      - The operating system for a processor alone. For images it is nearly always Linux. The fact C(ansible_facts.system) will do.
    type: str
    default: linux
author:
  - The lading.oci contributors (!UNKNOWN)
seealso:
  - module: lading.oci.oci_pull
  - module: lading.oci.oci_info
"""

EXAMPLES = r"""
- name: The processor of this host
  ansible.builtin.setup:
    gather_subset: [architecture]

- name: The digest of the image for this host
  ansible.builtin.debug:
    msg: "{{ lookup('lading.oci.digest', 'registry.example.com/team/multi:1.4', platform=platform) }}"
  vars:
    platform: "{{ ansible_facts.architecture | lading.oci.oci_platform }}"

- name: Names of one platform
  ansible.builtin.assert:
    that:
      - "'linux/x86_64' | lading.oci.oci_platform == 'linux/amd64'"
      - "'armv7l' | lading.oci.oci_platform == 'linux/arm/v7'"
      - "'arm64' | lading.oci.oci_platform(os='Darwin') == 'darwin/arm64'"
"""

RETURN = r"""
_value:
  description: The platform, as C(os/architecture) or C(os/architecture/variant).
  type: str
  sample: linux/amd64
"""

import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, printable
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform
from ansible_collections.lading.oci.plugins.plugin_utils._errors import failing_filter


def oci_platform(value: object, os: object = "linux") -> str:
    with failing_filter():
        for text in (value, os):
            if not isinstance(text, str):
                raise InvalidError(f"not a platform: {printable(repr(text), 160)}")
        return str(Platform.parse(value if "/" in str(value) else f"{os}/{value}"))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"oci_platform": oci_platform}

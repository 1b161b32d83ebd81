# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: oci_pin
short_description: Pin a reference to a digest
description:
  - The reference with the digest, so that it names the same content for ever, whatever becomes of its tag.
  - Nothing is asked of a registry. The lookup P(lading.oci.digest#lookup) tells the digest that a tag names.
positional: _input, digest
options:
  _input:
    description:
      - A reference, as V(registry.example.com/team/app:1.4) or V(oci:/srv/images/app:1.4).
      - A digest that it has already is replaced.
    type: str
    required: true
  digest:
    description:
      - The digest, as V(sha256:) and 64 hexadecimal digits.
    type: str
    required: true
  keep_tag:
    description:
      - Whether the tag stays, as V(registry.example.com/team/app:1.4@sha256:...). It tells people what was meant. Tools go by the digest.
      - A reference to a layout has a ref or a digest, so there it is an error.
    type: bool
    default: false
author:
  - The lading.oci contributors (!UNKNOWN)
seealso:
  - plugin: lading.oci.digest
    plugin_type: lookup
  - plugin: lading.oci.oci_reference
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Whatever the tag names now is what every host gets
  lading.oci.oci_copy:
    src: "{{ image | lading.oci.oci_pin(lookup('lading.oci.digest', image)) }}"
    dest: oci:/srv/images/app:deployed
  vars:
    image: registry.example.com/team/app:1.4

- name: With the tag, for people
  ansible.builtin.assert:
    that:
      - image | lading.oci.oci_pin(digest) == 'registry.example.com/team/app@' ~ digest
      - image | lading.oci.oci_pin(digest, keep_tag=true) == 'registry.example.com/team/app:1.4@' ~ digest
  vars:
    image: registry.example.com/team/app:1.4
    digest: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
"""

RETURN = r"""
_value:
  description: The reference with the digest, in its normal form.
  type: str
  sample: registry.example.com/team/app@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
"""

import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import LayoutReference
from ansible_collections.lading.oci.plugins.plugin_utils._errors import failing_filter
from ansible_collections.lading.oci.plugins.plugin_utils._reference import parse


def oci_pin(value: object, digest: object, keep_tag: object = False) -> str:
    with failing_filter():
        if not isinstance(keep_tag, bool):
            raise InvalidError(f"keep_tag is true or false, not {str(keep_tag)[:160]!r}")
        found = parse(value)
        if keep_tag and isinstance(found, LayoutReference) and found.tag:
            raise InvalidError(f"{found}: a reference to a layout has a ref or a digest, so there is no keep_tag")
        return str(found._replace(tag=found.tag if keep_tag else None, digest=Digest(digest)))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"oci_pin": oci_pin}

#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_layout_prune
short_description: Remove what no ref of an OCI layout needs
description:
  - Removes blobs from a layout folder or layout tar (Open Container Initiative, not Oracle Cloud) that no entry of its C(index.json)
    reaches. Moved and removed refs leave such blobs behind in a folder. A tar is written anew without them.
  - Refs stay as they are. M(lading.oci.oci_tag) removes refs.
  - Tasks of this collection that write the same layout are waited for, an hour at most, and wait for this one. So nothing that they count
    on goes. Other tools know no such lock, see O(keep_younger).
  - Files that are no blobs are never removed. Nor are blobs that only the C(manifest.json) of C(docker save) names, or an entry of
    C(index.json) of a kind that is not known.
  - A manifest that is damaged fails the task, and nothing is removed, because nobody can know what it needs. What is missing is no
    reason to fail, as a layout may hold some platforms of an image only.
extends_documentation_fragment:
  - lading.oci.attributes
options:
  path:
    description:
      - The layout, a folder or a tar. Where there is none there is nothing to remove.
      - The path alone, without V(oci:) and without a ref. One that really begins so is written V(./oci:PATH).
    type: path
    required: true
  keep_younger:
    description:
      - Blobs of a folder that were stored within so many seconds are kept, with everything that they need.
      - It is for other tools. They store blobs first and name them at the end, which for a large image may take longer than this.
        V(0) is for a layout that nothing else writes to.
      - In a tar nothing is on its way, so it has no meaning there.
    type: int
    default: 3600
  keep_untagged:
    description:
      - Whether entries of C(index.json) without a name keep what they name. Many tools list there what is attached to an image, and what
        was pushed by its digest.
      - With V(false) such an entry goes, unless it is attached to something that stays, a ref reaches it anyway, or it is younger than
        O(keep_younger). So does an image that was stored without a name, even when there is no other.
    type: bool
    default: true
seealso:
  - module: lading.oci.oci_layout_info
  - module: lading.oci.oci_tag
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: An old release goes
  lading.oci.oci_tag:
    dest: oci:/srv/mirror/releases:v0.9
    state: absent

- name: What nothing needs any more goes
  lading.oci.oci_layout_prune:
    path: /srv/mirror/releases

- name: With what was attached to it
  lading.oci.oci_layout_prune:
    path: /srv/mirror/releases
    keep_untagged: false
    keep_younger: 0
  register: pruned

- name: How much that was
  ansible.builtin.debug:
    msg: "{{ pruned.removed | length }} blobs, {{ pruned.removed_size | human_readable }}"
"""

RETURN = r"""
exists:
  description: Whether there is a layout. Of one that is not there nothing else is told.
  returned: success
  type: bool
removed:
  description: The blobs that were removed. In check mode, those that the run would remove.
  returned: when the layout exists
  type: list
  elements: dict
  contains:
    digest:
      description: The digest.
      type: str
      sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
    size:
      description: Bytes.
      type: int
      sample: 3338412
removed_size:
  description: Bytes of RV(removed).
  returned: when the layout exists
  type: int
removed_entries:
  description: The entries of C(index.json) that were removed. Empty unless O(keep_untagged=false).
  returned: when the layout exists
  type: list
  elements: dict
  contains:
    digest:
      description: The digest of what the entry named.
      type: str
    media_type:
      description: Its media type.
      type: str
    artifact_type:
      description: Its artifact type, if the entry says it.
      type: str
kept_young:
  description: Blobs that nothing names, and that were kept because of O(keep_younger). Like RV(removed).
  returned: when the layout exists
  type: list
  elements: dict
  contains:
    digest:
      description: The digest.
      type: str
    size:
      description: Bytes.
      type: int
kept_young_size:
  description: Bytes of RV(kept_young).
  returned: when the layout exists
  type: int
size:
  description: Bytes of all blobs that stay.
  returned: when the layout exists
  type: int
interrupted:
  description: True. The next run goes on where it was.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.garbage import Wanted, apply_prune, plan_prune, prune_result
from ansible_collections.lading.oci.plugins.module_utils._oci.module import at_least, failing, open_layout
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import NotFoundError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import check_path


def run(module: AnsibleModule) -> None:
    """Plan, apply unless in check mode, report."""
    params = module.params
    at_least(0, keep_younger=params["keep_younger"])
    check_path("path", params["path"])
    store, wanted = open_layout(params["path"]), Wanted(params["keep_younger"], params["keep_untagged"])
    try:
        plan = plan_prune(store, wanted)
    except NotFoundError:
        module.exit_json(changed=False, exists=False)
    if plan.changed and not module.check_mode:
        plan = apply_prune(store, wanted)
    module.exit_json(exists=True, **prune_result(plan, f"oci:{params['path']}"))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "keep_younger": {"type": "int", "default": 3600},
            "keep_untagged": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_tag
short_description: Set, move and remove tags in a registry or an OCI layout
description:
  - Lets tags of a repository, or refs of a layout (Open Container Initiative, not Oracle Cloud), name what they should, as C(oras tag) and
    C(crane tag) do. The content has to be there. It is not transferred, and stays as it is.
  - Removes tags without the manifest that they name, which other tags may name as well.
extends_documentation_fragment:
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.registry
  - lading.oci.registry.destination
options:
  dest:
    description:
      - What the tags are to name, as V(HOST[:PORT]/REPOSITORY:TAG), V(HOST[:PORT]/REPOSITORY@DIGEST), V(oci:PATH:REF), V(oci:PATH@DIGEST)
        or V(oci-archive:PATH:REF). V(oci:PATH) will do for a layout that has just one manifest.
      - With O(state=absent), the repository or layout that the tags are removed from. A tag in it is removed too. With a digest in it, only
        tags that name that digest are removed.
    type: str
    required: true
  dest_ref:
    description:
      - The tag, ref or digest of O(dest) when it is not in it. With this O(dest) has the path alone, which may then contain colons.
    type: str
  tags:
    description:
      - The tags or refs.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(present) lets each of O(tags) name what O(dest) does.
      - V(absent) removes them where they are there. A registry that does not delete single tags fails the task. The manifest is never
        deleted in their place, as that would take its other tags along.
      - A layout folder keeps the content of a ref that was removed. A layout tar is written anew, without what no other ref needs.
    type: str
    choices: [present, absent]
    default: present
  force_tag:
    description:
      - Whether a tag that names something else is moved. With V(false) that is an error, and no tag is set.
    type: bool
    default: true
seealso:
  - module: lading.oci.oci_copy
  - module: lading.oci.oci_info
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: What was tested is released
  lading.oci.oci_tag:
    dest: localhost:5000/hello-artifact:v1
    dest_registry:
      plain_http: true
    tags: [v1.0, stable]

- name: A tag of its own for what was deployed, and never another meaning for it
  lading.oci.oci_tag:
    dest: registry.example.com/team/app@{{ deployed.digest }}
    tags: ["deployed-{{ inventory_hostname }}"]
    force_tag: false

- name: A layout tar gets one more ref
  lading.oci.oci_tag:
    dest: oci:/srv/mirror/hello.tar:v1
    tags: [latest]

- name: An old tag goes
  lading.oci.oci_tag:
    dest: oci:/srv/mirror/releases:v0.9
    state: absent

- name: These go if they still name what was found to be broken
  lading.oci.oci_tag:
    dest: registry.example.com/team/app@{{ broken.digest }}
    tags: [latest, stable]
    state: absent
"""

RETURN = r"""
digest:
  description: The digest of what the tags name. Null in check mode when the layout does not exist yet.
  returned: with O(state=present)
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
reference:
  description: The repository or layout with that digest, as it can be given as a source.
  returned: with O(state=present)
  type: str
  sample: localhost:5000/hello-artifact@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
media_type:
  description: The media type of the manifest or index. Null in check mode when the layout does not exist yet.
  returned: with O(state=present)
  type: str
  sample: application/vnd.oci.image.manifest.v1+json
tags:
  description: Each tag or ref, with the digest that it named before (null when there was none) and after (null when there is none).
  returned: success
  type: dict
  sample: {"stable": {"before": null, "after": "sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b"}}
requests:
  description: HTTP requests made, by verb. In check mode, those that the check made.
  returned: success
  type: dict
  sample: {"HEAD": 3, "GET": 1, "PUT": 2}
interrupted:
  description: True. The next run goes on where it was.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Target
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    failing,
    is_unmade,
    open_target,
    registries_argument_spec,
    side_argument_spec,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.results import checked_tags, copy_result, unmade_result, untags_result
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, located
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import Reference, RegistryReference
from ansible_collections.lading.oci.plugins.module_utils._oci.tagging import plan_tags, plan_untag, refuse_moves

Result = t.Dict[str, t.Any]
_OF_CONTENT = ("changed", "digest", "reference", "media_type", "tags", "diff")


def tag(module: AnsibleModule, dest: Reference, target: Target) -> Result:
    names = checked_tags(dest, module.params["tags"])
    if not names:
        raise InvalidError("tags is empty: there is nothing to set")
    if module.check_mode and is_unmade(dest):
        module.warn(f"{target.location} is not there: check mode takes it for what an earlier task would make")
        found = unmade_result(dest._replace(tag=None, digest=None), names, target, target)
    else:
        if dest.target is None and isinstance(dest, RegistryReference):
            with located(target.location):
                raise InvalidError("it has no tag and no digest: which of its manifests are the tags to name?")
        plan = plan_tags(target, target.resolve(dest.target), names)
        if not module.params["force_tag"]:
            refuse_moves(plan, target)
        if plan.changed and not module.check_mode:
            apply_copy(plan, target, target)
        found = copy_result(plan, None, dest.name, None, target)
    return {key: found[key] for key in _OF_CONTENT}


def untag(module: AnsibleModule, dest: Reference, target: Target) -> Result:
    names = checked_tags(dest, [*([dest.tag] if dest.tag else []), *module.params["tags"]])
    if not names:
        raise InvalidError("neither dest nor tags has a tag: there is nothing to remove")
    plan = plan_untag(target, names, dest.digest)
    if plan.going and not module.check_mode:
        target.untag(*plan.going)
    return untags_result(plan.current, plan.going, dest.name)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "str", "required": True},
            "dest_ref": {"type": "str"},
            "dest_registry": side_argument_spec(),
            "tags": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "force_tag": {"type": "bool", "default": True},
            **registries_argument_spec(),
        },
        supports_check_mode=True,
    )
    with failing(module):
        dest, target = open_target(module, module.params["dest"], module.params["dest_ref"], module.params["dest_registry"])
        result = (tag if module.params["state"] == "present" else untag)(module, dest, target)
        module.exit_json(**result, requests=dict(target.requests))


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_layout_info
short_description: Get facts of an OCI layout, find what is damaged or missing, and repair it
description:
  - Returns what a layout folder or layout tar (Open Container Initiative, not Oracle Cloud) has. It tells the refs, every blob and whether
    a ref reaches it, what is missing, and what is attached to what. With O(verify) it reads and hashes everything.
  - What is wrong is a fact, not a failure. RV(damaged) and RV(invalid) are empty for a layout that is sound. RV(missing) may have entries
    all the same, because a layout may hold some platforms of an image only.
  - With O(repair_from) it fetches what is damaged or missing. Without that nothing is ever changed.
extends_documentation_fragment:
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.attributes.progress
  - lading.oci.registry
  - lading.oci.registry.repair
requirements:
  - jsonschema (on the target), optional, to validate documents against the OCI JSON schemas
options:
  path:
    description:
      - The layout, a folder or a tar. One that is not there is a fact, too.
      - The path alone, without V(oci:) and without a ref. One that really begins so is written V(./oci:PATH).
    type: path
    required: true
  verify:
    description:
      - Whether all content is read and hashed, and manifests and configurations are checked by the rules of the specification, and by its
        JSON schemas where C(jsonschema) is installed.
      - Without it manifests are read, and of other blobs the sizes are compared.
    type: bool
    default: false
  repair_missing:
    description:
      - Whether O(repair_from) brings what is missing as well. With V(false) only what is damaged is repaired, and a layout that has some
        platforms of an image keeps just those.
    type: bool
    default: true
  concurrency:
    description:
      - How many blobs are hashed and fetched at the same time.
    type: int
    default: 8
seealso:
  - module: lading.oci.oci_layout_prune
  - module: lading.oci.oci_info
  - module: lading.oci.oci_copy
    description: With O(lading.oci.oci_copy#module:deep) it repairs what a single ref needs.
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: What is in this layout?
  lading.oci.oci_layout_info:
    path: /srv/mirror/releases
  register: mirror

- name: Its refs
  ansible.builtin.debug:
    msg: "{{ mirror.refs | map(attribute='ref') }}"

- name: Everything is read, and has to be sound and complete
  lading.oci.oci_layout_info:
    path: /srv/mirror/hello.tar
    verify: true
  register: checked
  failed_when: (checked.damaged + checked.invalid + checked.missing) | length > 0

- name: What a bad disk has done is made good
  lading.oci.oci_layout_info:
    path: /srv/mirror/releases
    verify: true
    repair_from:
      - localhost:5000/hello-artifact
      - oci:/srv/backup/releases
    repair_registry:
      plain_http: true
"""

RETURN = r"""
exists:
  description: Whether there is a layout. Of one that is not there nothing else is told.
  returned: success
  type: bool
refs:
  description: The entries of C(index.json) that are valid, in its order.
  returned: when the layout exists
  type: list
  elements: dict
  contains:
    ref:
      description: The ref. Null for an entry without a name, as many tools write them for what is attached to another.
      type: str
      sample: v1
    image_name:
      description: The full image name that BuildKit and containerd write, or null.
      type: str
      sample: docker.io/library/hello:v1
    digest:
      description: The digest of what it names.
      type: str
      sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
    media_type:
      description: Its media type.
      type: str
      sample: application/vnd.oci.image.index.v1+json
    size:
      description: Bytes of the manifest or index itself.
      type: int
    artifact_type:
      description: What kind of artifact it is. Empty for an image.
      type: str
    platforms:
      description: The platforms of the image, or of all images of the index, as the index says, else their configurations.
      type: list
      elements: str
      sample: ["linux/amd64", "linux/arm64"]
    exists:
      description: Whether the manifest or index is in the layout.
      type: bool
blobs:
  description: Every blob, in the order of the digests.
  returned: when the layout exists
  type: list
  elements: dict
  contains:
    digest:
      description: The digest that the blob is called by. With O(verify) see RV(damaged) for whether it has it.
      type: str
    media_type:
      description: The media type that what names it says. Null for a blob that nothing names.
      type: str
    size:
      description: Bytes, as it is stored.
      type: int
    reached:
      description: Whether an entry of C(index.json) names it, or something that one names.
      type: bool
size:
  description: Bytes of all blobs.
  returned: when the layout exists
  type: int
dangling:
  description: The digests of blobs that nothing reaches. What a damaged manifest names is among them, as nobody can know it.
  returned: when the layout exists
  type: list
  elements: str
dangling_size:
  description: Bytes of RV(dangling).
  returned: when the layout exists
  type: int
missing:
  description: What is named and not there, as it was found. Layers that nobody hands on (C(nondistributable)) are not listed.
  returned: when the layout exists
  type: list
  elements: dict
  contains:
    digest:
      description: Its digest.
      type: str
    media_type:
      description: Its media type.
      type: str
    size:
      description: Its size.
      type: int
    named_by:
      description: The digests of the manifests that name it, or C(index.json).
      type: list
      elements: str
damaged:
  description:
    - What is there and is not what it ought to be, as it was found. Without O(verify) that is what sizes and the manifests tell.
  returned: when the layout exists
  type: list
  elements: dict
  contains:
    digest:
      description: The digest that it ought to have.
      type: str
    media_type:
      description: The media type that what names it says. Null for a blob that nothing names.
      type: str
    size:
      description: The size that it ought to have. As it is stored for a blob that nothing names.
      type: int
    error:
      description: What is wrong.
      type: str
    reached:
      description: Whether a ref needs it.
      type: bool
invalid:
  description:
    - Documents that are what their digests say, and break the rules, so that no copy of them is better. Without O(verify) those that
      cannot be read as what they are called.
  returned: when the layout exists
  type: list
  elements: dict
  contains:
    document:
      description: The digest of the document, or C(index.json).
      type: str
    error:
      description: What is wrong.
      type: str
validated:
  description: What documents were checked by, C(rules) and where that could be done C(schemas). Empty without O(verify).
  returned: when the layout exists
  type: list
  elements: str
  sample: ["rules", "schemas"]
foreign:
  description: Paths in the layout that are none of its own. A folder ends with a slash, and what is in it is not told.
  returned: when the layout exists
  type: list
  elements: str
  sample: ["manifest.json"]
unfinished:
  description: Files that tasks left which were cut short. The next one that writes the layout goes on with them, or removes them.
  returned: when the layout exists
  type: list
  elements: str
nested_indexes:
  description: Indexes that are entries of other indexes.
  returned: when the layout exists
  type: list
  elements: dict
  contains:
    digest:
      description: The digest of the inner one.
      type: str
    within:
      description: The digest of the outer one.
      type: str
referrers:
  description: What is attached to what, by the digest of the subject, which need not be in the layout.
  returned: when the layout exists
  type: dict
  sample:
    sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b:
      - digest: sha256:0f5a6f0b9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf
        media_type: application/vnd.oci.image.manifest.v1+json
        size: 721
        artifact_type: application/vnd.example.sbom
repaired:
  description: What was fetched. In check mode, what the run would fetch.
  returned: when the layout exists and O(repair_from) is given
  type: list
  elements: dict
  contains:
    digest:
      description: Its digest.
      type: str
    media_type:
      description: Its media type.
      type: str
    size:
      description: Bytes.
      type: int
    was:
      description: V(damaged) or V(missing).
      type: str
    source:
      description: Which of O(repair_from) it came from. C(embedded) when the manifest that names it has the content in itself.
      type: str
unrepaired:
  description: What none of O(repair_from) could give. With any the task fails, after it has repaired everything else.
  returned: when the layout exists and O(repair_from) is given
  type: list
  elements: dict
  contains:
    digest:
      description: Its digest.
      type: str
    media_type:
      description: Its media type.
      type: str
    size:
      description: Bytes.
      type: int
    was:
      description: V(damaged) or V(missing).
      type: str
    error:
      description: What the sources said.
      type: str
requests:
  description: HTTP requests made, by verb. In check mode, those that the check made.
  returned: success
  type: dict
  sample: {"HEAD": 1, "GET": 2}
interrupted:
  description: True. The next run goes on where it was.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import collections
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.audit import Audit, audit, verified
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    at_least,
    failing,
    open_layout,
    open_repair,
    registries_argument_spec,
    side_argument_spec,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import NotFoundError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import check_path

Result = t.Dict[str, t.Any]


def look(params: t.Dict[str, t.Any]) -> t.Optional[Audit]:
    """None when there is no layout."""
    try:
        seen = audit(open_layout(params["path"]))
    except NotFoundError:
        return None
    return verified(seen, params["concurrency"]) if params["verify"] else seen


def repair(module: AnsibleModule, seen: Audit, sources: t.Mapping[str, Source]) -> Result:
    # Each run compiles what it imports, and most of them only look.
    from ansible_collections.lading.oci.plugins.module_utils._oci.repair import (
        Supply,
        apply_repair,
        plan_repair,
        planned,
        repair_result,
        what_is_lost,
    )

    params = module.params
    plan = plan_repair(seen, [Supply(*item) for item in sources.items()], params["repair_missing"], params["concurrency"])
    outcome = planned(plan) if module.check_mode else apply_repair(plan, seen.store, params["concurrency"])
    result = repair_result(outcome, f"oci:{params['path']}")
    return {**result, "failed": True, "msg": f"{seen.store.location}: {what_is_lost(outcome)}"} if outcome.lost else result


def run(module: AnsibleModule) -> None:
    params = module.params
    at_least(1, concurrency=params["concurrency"])
    check_path("path", params["path"])
    sources = {text: open_repair(module, text, params["repair_registry"])[1] for text in params["repair_from"]}
    seen = look(params)
    result: Result = {"changed": False, "exists": seen is not None, **(seen.facts() if seen is not None else {})}
    if seen is not None and sources:
        result.update(repair(module, seen, sources))
    requests: t.Counter[str] = collections.Counter()
    for source in sources.values():
        requests.update(source.requests)
    result["requests"] = dict(requests)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "verify": {"type": "bool", "default": False},
            "repair_from": {"type": "list", "elements": "str", "default": []},
            "repair_registry": side_argument_spec(),
            "repair_missing": {"type": "bool", "default": True},
            "concurrency": {"type": "int", "default": 8},
            **registries_argument_spec(),
        },
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()

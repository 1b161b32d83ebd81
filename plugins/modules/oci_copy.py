#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_copy
short_description: Copy an image or artifact between OCI layouts and registries
description:
  - Makes a tag of a registry, a layout folder or a layout tar (Open Container Initiative, not Oracle Cloud) name the same
    manifest as O(src) does, with everything under it.
  - The digest is always kept. An index is copied with all its children.
  - A source layout that does not exist is an error in a run. In check mode it is a warning, and the copy would be a change, because an
    earlier task may make it.
  - What the destination has is neither read nor sent. When its tags are right already, one HEAD request per tag is all.
extends_documentation_fragment:
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.registry
  - lading.oci.registry.source
  - lading.oci.registry.destination
options:
  dest:
    description:
      - Where to copy to, in the same forms. A layout that does not exist is made, as a tar when its path ends in V(.tar)
        or O(dest) starts with V(oci-archive:).
      - Without a tag or ref here, in O(dest_ref) or in O(tags), the content is only reachable by its digest.
      - A digest in O(dest) must be that of O(src).
    type: str
    required: true
  dest_ref:
    description:
      - The tag, ref or digest of O(dest) when it is not in it.
    type: str
  tags:
    description:
      - More tags or refs for the destination, set together with the one in O(dest).
    type: list
    elements: str
    default: []
  concurrency:
    description:
      - How many blobs are transferred at the same time.
    type: int
    default: 4
seealso:
  - module: lading.oci.oci_layout_build
  - module: lading.oci.oci_pull
  - name: Distributing OCI Layouts
    description: The same workflow with the C(oras) command.
    link: https://oras.land/docs/how_to_guides/distributing_oci_layouts
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: A layout tar goes to a registry
  lading.oci.oci_copy:
    src: oci:/srv/images/hello-world.tar:v1
    dest: localhost:5000/hello-artifact:v1
    dest_registry:
      plain_http: true

- name: From the registry into a layout tar, under two refs
  lading.oci.oci_copy:
    src: localhost:5000/hello-artifact:v1
    src_registry:
      plain_http: true
    dest: oci:/srv/mirror/hello.tar:v1
    tags: [stable]

- name: A path with a colon, and a ref that is a full image name
  lading.oci.oci_copy:
    src: oci:/srv/images/hello-world.tar
    src_ref: v1
    dest: oci:/srv/store/team:a
    dest_ref: example.com/hello:v1

- name: Between two registries, each reached in its own way
  module_defaults:
    group/lading.oci.registry:
      registries:
        - host: registry.example.com
          username: reader
          password: "{{ reader_password }}"
        - host: edge.example.com:5000
          ca_path: /etc/pki/edge-ca.pem
  block:
    - name: Mirror one image, and pin its digest
      lading.oci.oci_copy:
        src: registry.example.com/team/app:1.4
        dest: edge.example.com:5000/team/app:1.4
        tags: [latest]
      register: mirrored
"""

RETURN = r"""
digest:
  description: The digest of the manifest or index that was copied. Null in check mode when the source layout does not exist yet.
  returned: success
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
reference:
  description: The destination with that digest, as it can be given as a source again.
  returned: success
  type: str
  sample: localhost:5000/hello-artifact@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
media_type:
  description: The media type of the manifest or index. Null in check mode when the source layout does not exist yet.
  returned: success
  type: str
  sample: application/vnd.oci.image.index.v1+json
tags:
  description: Each tag or ref of the destination, with the digest that it named before (null when there was none) and after.
  returned: success
  type: dict
  sample: {"v1": {"before": null, "after": "sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b"}}
skipped_layers:
  description: The digests of non-distributable layers, which are not copied.
  returned: success
  type: list
  elements: str
stats:
  description:
    - What was transferred. In check mode, what would be.
    - That a blob would be mounted is what the registry is expected to do. When it will not, the run transfers the blob.
  returned: success
  type: dict
  contains:
    blobs_transferred:
      description: Blobs that were sent to the destination.
      type: int
    blobs_mounted:
      description: Blobs that the registry took over from another of its repositories.
      type: int
    blobs_present:
      description: Blobs that were found at the destination. Those below a manifest that is there are not looked at, nor counted.
      type: int
    manifests_transferred:
      description: Manifests and indexes that were sent to the destination.
      type: int
    bytes_transferred:
      description: Bytes of the blobs and manifests that were sent.
      type: int
    bytes_mounted:
      description: Bytes of the blobs that were mounted.
      type: int
    bytes_present:
      description: Bytes of the blobs and manifests that were found at the destination.
      type: int
    requests:
      description: HTTP requests made, by side (C(source), C(destination)) and verb. In check mode, those that the check made.
      type: dict
      sample: {"source": {}, "destination": {"HEAD": 1}}
"""

import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.content.codec import check_level
from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Spool
from ansible_collections.lading.oci.plugins.module_utils._oci.convert import Conversion
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import CopyOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.copy_task import CopyTask, Wanted
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    at_least,
    failing,
    is_unmade,
    open_source,
    open_target,
    registries_argument_spec,
    side_argument_spec,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.platforms import parse_platform
from ansible_collections.lading.oci.plugins.module_utils._oci.results import (
    check_digest,
    checked_tags,
    item_result,
    items_result,
    root_result,
    unmade_result,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import LayoutReference, Reference
from ansible_collections.lading.oci.plugins.module_utils._oci.tag_selection import parse_filter

FORMATS = {"oci": False, "docker": True}


def wanted_of(params: t.Dict[str, t.Any]) -> Wanted:
    """The options of the task, checked. Raises InvalidError."""
    at_least(1, concurrency=params["concurrency"])
    compression, level = params["compression"], params["compression_level"]
    if level is not None and compression is None:
        raise InvalidError("compression_level needs compression")
    check_level(compression or "", level, "compression_level")
    return Wanted(
        options=CopyOptions(params["concurrency"], params["nondistributable"], params["deep"]),
        platforms=tuple(dict.fromkeys(parse_platform(text) for text in params["platforms"])),
        conversion=Conversion(FORMATS.get(params["format"] or ""), compression, level),
        referrers=params["referrers"],
        artifact_types=tuple(params["artifact_types"]),
        digest_tags=params["digest_tags"],
        force_tag=params["force_tag"],
    )


def check_many(params: t.Dict[str, t.Any], src: Reference, dest: Reference) -> bool:
    """Whether many tags are copied. Raises InvalidError for options that then make no sense, and for ``prune`` when they are not."""
    many = params["all_tags"] or params["tags_matching"] is not None
    if params["prune"] and not many:
        raise InvalidError("prune needs all_tags or tags_matching: without them it is not known which tags ought to be there")
    if many and (src.target or dest.target or params["tags"]):
        raise InvalidError("all_tags and tags_matching copy tags under their own names: src, dest and tags must not name any")
    return many


def plan_one(task: CopyTask, params: t.Dict[str, t.Any], src: Reference, dest: Reference) -> None:
    root = task.source.resolve(src.target)
    # A digest in dest is compared with what the root becomes, which is known once it is planned.
    names = [*([dest.tag] if dest.tag else []), *params["tags"]]
    item = task.add(root, task.look_up(checked_tags(dest, names)))
    check_digest(dest, item.plan.root)


def plan_many(task: CopyTask, params: t.Dict[str, t.Any], dest: Reference) -> None:
    matches = parse_filter(params["tags_matching"])
    tags = [tag for tag in task.source.names() if matches(tag)]
    if params["prune"] and not tags:
        raise InvalidError(f"{task.source.location} has no tag that is meant: prune would remove all there are at the destination")
    current = task.look_up(checked_tags(dest, tags))
    for tag, root in zip(tags, task.resolve(tags)):
        task.add(root, {tag: current[tag]}, tag)
    if params["prune"]:
        task.prune(matches)


def run(module: AnsibleModule) -> None:
    """Plan, apply unless in check mode, report."""
    params = module.params
    wanted = wanted_of(params)
    src, source = open_source(module, params["src"], params["src_ref"], params["src_registry"])
    dest, target = open_target(module, params["dest"], params["dest_ref"], params["dest_registry"])
    many = check_many(params, src, dest)
    if module.check_mode and is_unmade(src):
        module.warn(f"{source.location} is not there: check mode takes it for what an earlier task would make")
        module.exit_json(**unmade_result(dest, params["tags"], source, target))
    near = dest.path if isinstance(dest, LayoutReference) else tempfile.gettempdir()
    task = CopyTask(source, target, wanted, Spool(None if module.check_mode else near))
    if many:
        plan_many(task, params, dest)
    else:
        plan_one(task, params, src, dest)
    outcome = None
    if task.changed and not module.check_mode:
        outcome = task.apply()
    result = items_result(task.items, task.pruned, outcome, dest.name, source, target)
    if many:
        result["items"] = [item_result(item, outcome, dest.name) for item in task.items]
    else:
        result.update(root_result(task.items[0], dest.name))
    module.exit_json(**result)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "str", "required": True},
            "src_ref": {"type": "str"},
            "src_registry": side_argument_spec(),
            "dest": {"type": "str", "required": True},
            "dest_ref": {"type": "str"},
            "dest_registry": side_argument_spec(),
            "tags": {"type": "list", "elements": "str", "default": []},
            "force_tag": {"type": "bool", "default": True},
            "all_tags": {"type": "bool", "default": False},
            "tags_matching": {"type": "str"},
            "prune": {"type": "bool", "default": False},
            "platforms": {"type": "list", "elements": "str", "default": []},
            "referrers": {"type": "bool", "default": False},
            "artifact_types": {"type": "list", "elements": "str", "default": []},
            "digest_tags": {"type": "bool", "default": False},
            "format": {"type": "str", "choices": ["oci", "docker"]},
            "compression": {"type": "str", "choices": ["gzip", "zstd", "none"]},
            "compression_level": {"type": "int"},
            "nondistributable": {"type": "bool", "default": False},
            "deep": {"type": "bool", "default": False},
            "concurrency": {"type": "int", "default": 4},
            **registries_argument_spec(),
        },
        mutually_exclusive=[("all_tags", "tags_matching")],
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()

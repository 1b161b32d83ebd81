#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_push
short_description: Push files as an artifact into a registry or an OCI layout
description:
  - Packs files and folders of the target into an artifact (Open Container Initiative, not Oracle Cloud), and stores it in a registry or a
    layout, as C(oras push) does. Nothing is written to disk on the way, except for folders that are compressed.
  - The same files give the same digest, whenever and wherever they are pushed, as nothing is recorded of times, owners and hosts. What the
    destination has is not transferred again.
extends_documentation_fragment:
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.attributes.progress
  - lading.oci.artifact
  - lading.oci.artifact.files
  - lading.oci.registry
  - lading.oci.registry.destination
options:
  dest:
    description:
      - Where to push to, as V(HOST[:PORT]/REPOSITORY:TAG), V(oci:PATH:REF) or V(oci-archive:PATH:REF). A layout that does not exist is
        made, as a tar when its path ends in V(.tar). Folders above it that are missing are made, too.
      - Without a tag or ref here, in O(dest_ref) or in O(tags), the artifact is only reachable by its digest. In a registry the task warns
        of that, unless O(dest) has a digest.
      - With a digest here, the artifact has to have that digest, or nothing is pushed.
    type: str
    required: true
  dest_ref:
    description:
      - The tag, ref or digest of O(dest) when it is not in it. With this O(dest) has the path alone, which may then contain colons.
    type: str
  tags:
    description:
      - More tags or refs for the artifact, set together with the one in O(dest).
    type: list
    elements: str
    default: []
  force_tag:
    description:
      - Whether a tag that names something else is moved. With V(false) that is an error, and nothing is pushed.
    type: bool
    default: true
  artifact_type:
    description:
      - What kind of artifact it is, a media type, for example V(application/vnd.example.site.v1).
      - The default is V(application/vnd.unknown.artifact.v1), as with C(oras). With O(config) there is none, as its media type says it.
    type: str
  concurrency:
    description:
      - How many blobs are looked up and transferred at the same time.
    type: int
    default: 8
seealso:
  - module: lading.oci.oci_attach
  - module: lading.oci.oci_layout_build
  - module: lading.oci.oci_pull
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Files go to a registry, under two tags
  lading.oci.oci_push:
    dest: localhost:5000/hello-artifact:v1
    dest_registry:
      plain_http: true
    tags: [latest]
    artifact_type: application/vnd.example.site.v1
    files:
      - src: /srv/build/site.conf
        media_type: text/plain
      - src: /srv/build/assets/
    annotations:
      org.opencontainers.image.source: https://example.com/team/site

- name: With a configuration, and annotations out of a file
  lading.oci.oci_push:
    dest: registry.example.com/team/model:2
    files:
      - src: /srv/model/weights.bin
        media_type: application/octet-stream
    config:
      src: /srv/model/config.json
      media_type: application/vnd.example.model.config.v1+json
    annotation_file: /srv/model/annotations.json

- name: A release is never overwritten
  lading.oci.oci_push:
    dest: oci:/srv/mirror/site.tar:v1.0
    files:
      - src: /srv/build/site.conf
    force_tag: false
"""

RETURN = r"""
digest:
  description: The digest of the artifact's manifest.
  returned: success
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
reference:
  description: The destination with that digest, as it can be given as a source.
  returned: success
  type: str
  sample: localhost:5000/hello-artifact@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
media_type:
  description: The media type of the manifest.
  returned: success
  type: str
  sample: application/vnd.oci.image.manifest.v1+json
artifact_type:
  description: What kind of artifact it is. The media type of O(config) when O(artifact_type) is not given with it.
  returned: success
  type: str
  sample: application/vnd.example.site.v1
tags:
  description: Each tag or ref, with the digest that it named before (null when there was none) and after.
  returned: success
  type: dict
  sample: {"v1": {"before": null, "after": "sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b"}}
stats:
  description: What was transferred. In check mode, what the run would transfer.
  returned: success
  type: dict
  contains:
    blobs_transferred:
      description: Files that were sent.
      type: int
    blobs_mounted:
      description: Always 0. There for likeness with M(lading.oci.oci_copy).
      type: int
    blobs_present:
      description: Files that the destination had.
      type: int
    manifests_transferred:
      description: 1 when the manifest was sent, else 0.
      type: int
    bytes_transferred:
      description: Bytes of what was sent.
      type: int
    bytes_mounted:
      description: Always 0.
      type: int
    bytes_present:
      description: Bytes of what the destination had.
      type: int
    requests:
      description: HTTP requests made, by side (C(source), C(destination)) and verb. In check mode, those that the check made.
      type: dict
      sample: {"source": {}, "destination": {"HEAD": 1}}
interrupted:
  description: True. The next run goes on where it was.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.artifact_options import artifact_argument_spec, artifact_of
from ansible_collections.lading.oci.plugins.module_utils._oci.artifacts import pack
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import CopyOptions, Planner, apply_copy, look_up
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    at_least,
    failing,
    open_target,
    registries_argument_spec,
    side_argument_spec,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.results import check_digest, checked_tags, copy_result
from ansible_collections.lading.oci.plugins.module_utils._oci.tagging import refuse_moves
from ansible_collections.lading.oci.plugins.module_utils._oci.validation import validate


def run(module: AnsibleModule) -> None:
    """Pack, plan, apply unless in check mode, report."""
    params = module.params
    at_least(1, concurrency=params["concurrency"])
    dest, target = open_target(module, params["dest"], params["dest_ref"], params["dest_registry"])
    names = checked_tags(dest, [*([dest.tag] if dest.tag else []), *params["tags"]])
    packed = pack(artifact_of(params, os.environ), dest, target, names[0] if names else None, module.check_mode)
    check_digest(dest, packed.root)
    if target.remote and not names and dest.digest is None:
        from ansible_collections.lading.oci.plugins.module_utils._oci.advice import without_tag

        module.warn(without_tag(target.location))
    options = CopyOptions(params["concurrency"])
    plan = Planner(target, options).plan(packed.content, packed.root, look_up(target, names, options.concurrency))
    if not params["force_tag"]:
        refuse_moves(plan, target)
    validate(packed.content, plan.missing)
    outcome = None
    if plan.changed and not module.check_mode:
        outcome = apply_copy(plan, packed.content, target, options.concurrency)
    module.exit_json(artifact_type=packed.artifact_type, **copy_result(plan, outcome, dest.name, None, target))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "str", "required": True},
            "dest_ref": {"type": "str"},
            "dest_registry": side_argument_spec(),
            "tags": {"type": "list", "elements": "str", "default": []},
            "force_tag": {"type": "bool", "default": True},
            "artifact_type": {"type": "str"},
            **artifact_argument_spec(),
            "concurrency": {"type": "int", "default": 8},
            **registries_argument_spec(),
        },
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_attach
short_description: Attach files to an image or artifact in a registry or an OCI layout
description:
  - Packs files of the target into an artifact (Open Container Initiative, not Oracle Cloud) that belongs to an image or another artifact,
    for example an SBOM, a signature or a test report, as C(oras attach) does. It is found by M(lading.oci.oci_info), and travels along
    with O(lading.oci.oci_copy#module:referrers).
  - An equal artifact that is attached already is found, so a second run attaches nothing. Equal are kind, files, configuration and
    annotations. The time that an artifact says it was made at counts only when O(created) is given.
  - Registries without the Referrers API, and layouts that list what is attached under a tag, get it there.
extends_documentation_fragment:
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.artifact
  - lading.oci.artifact.files
  - lading.oci.registry
  - lading.oci.registry.destination
options:
  dest:
    description:
      - What to attach to, as V(HOST[:PORT]/REPOSITORY:TAG), V(HOST[:PORT]/REPOSITORY@DIGEST), V(oci:PATH:REF) or V(oci-archive:PATH:REF).
        It has to be there.
    type: str
    required: true
  dest_ref:
    description:
      - The tag, ref or digest of O(dest) when it is not in it. With this O(dest) has the path alone, which may then contain colons.
    type: str
  platform:
    description:
      - Attach to the image of an index that is for this platform, not to the index. V(host) is Linux on the processor of the target.
    type: str
  state:
    description:
      - V(present) attaches the artifact.
      - V(absent) deletes what is attached with O(artifact_type), with O(digest) or with both, and what is attached to that. Not every
        registry can delete, or is set up to. One that does not fails the task.
    type: str
    choices: [present, absent]
    default: present
  artifact_type:
    description:
      - What kind of artifact it is, a media type, for example V(application/spdx+json). Needed with O(state=present).
    type: str
  digest:
    description:
      - The digest of what is to be deleted. Only with O(state=absent).
    type: str
  concurrency:
    description:
      - How many blobs are looked up and transferred at the same time.
    type: int
    default: 8
seealso:
  - module: lading.oci.oci_copy
  - module: lading.oci.oci_info
  - module: lading.oci.oci_push
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: An image gets its SBOM
  lading.oci.oci_attach:
    dest: localhost:5000/hello-artifact:v1
    dest_registry:
      plain_http: true
    artifact_type: application/spdx+json
    files:
      - src: /srv/build/sbom.spdx.json
        media_type: application/spdx+json

- name: A report of the tests on one platform
  lading.oci.oci_attach:
    dest: registry.example.com/team/multi:1.4
    platform: linux/arm64
    artifact_type: application/vnd.example.report.v1
    files:
      - src: /srv/build/report.xml
    annotations:
      org.example.result: passed

- name: Old reports go
  lading.oci.oci_attach:
    dest: oci:/srv/mirror/app:1.4
    artifact_type: application/vnd.example.report.v1
    state: absent
"""

RETURN = r"""
subject:
  description: The digest of what it is attached to. Null where O(dest) is not there, with O(state=absent) or in check mode.
  returned: success
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
digest:
  description: The digest of the artifact that is attached, of the equal one when that was there. Null in check mode when O(dest) is not
    there yet.
  returned: with O(state=present)
  type: str
  sample: sha256:5c29cc7e5dbe1ab4ca6d1e8b8f3df0c1b1f7bd2e26f1e8fae0d1e9a5d0c8a2b4
reference:
  description: The repository or layout with that digest, as it can be given as a source.
  returned: with O(state=present)
  type: str
  sample: localhost:5000/hello-artifact@sha256:5c29cc7e5dbe1ab4ca6d1e8b8f3df0c1b1f7bd2e26f1e8fae0d1e9a5d0c8a2b4
artifact_type:
  description: What kind of artifact it is.
  returned: with O(state=present)
  type: str
  sample: application/spdx+json
deleted:
  description: The digests of what was deleted, or would be in check mode.
  returned: with O(state=absent)
  type: list
  elements: str
tags:
  description: Refs of a layout that go along, with the digests that they named before, and null after.
  returned: with O(state=absent)
  type: dict
  sample: {}
requests:
  description: HTTP requests made, by verb. In check mode, those that the check made.
  returned: success
  type: dict
  sample: {"HEAD": 1, "GET": 1}
interrupted:
  description: True. The next run goes on where it was.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.artifact_options import artifact_argument_spec, artifact_of
from ansible_collections.lading.oci.plugins.module_utils._oci.artifacts import pack
from ansible_collections.lading.oci.plugins.module_utils._oci.attaching import plan_attachment
from ansible_collections.lading.oci.plugins.module_utils._oci.change_results import attachment_result, removal_result
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Target
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import CopyOptions, Planner, apply_copies
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    at_least,
    failing,
    is_unmade,
    open_target,
    registries_argument_spec,
    side_argument_spec,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.platforms import parse_platform, select_manifest
from ansible_collections.lading.oci.plugins.module_utils._oci.removal import plan_removal
from ansible_collections.lading.oci.plugins.module_utils._oci.results import unmade_result
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, located
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import Reference
from ansible_collections.lading.oci.plugins.module_utils._oci.subjects import typed_referrers
from ansible_collections.lading.oci.plugins.module_utils._oci.validation import validate

Result = t.Dict[str, t.Any]
_OF_FILES = ("files", "config", "annotations", "annotation_file", "created")


def check_options(params: t.Mapping[str, t.Any], dest: Reference) -> None:
    """Raises InvalidError."""
    at_least(1, concurrency=params["concurrency"])
    if params["state"] == "present" and params["digest"] is not None:
        raise InvalidError("digest is of what is to be deleted: it goes with state=absent only")
    if params["state"] == "absent":
        stray = [name for name in _OF_FILES if params[name]]
        if stray:
            raise InvalidError(f"{stray[0]} is of what is attached: it does not go with state=absent")
    if dest.target is None:
        raise InvalidError(f"destination {dest} has no tag and no digest: what is it to be attached to?")


def subject_of(target: Target, root: Descriptor, platform: t.Optional[str]) -> Descriptor:
    """The root, or its image for the platform. Raises NotFoundError, InvalidError."""
    return root if platform is None else select_manifest(target, root, parse_platform(platform))


def attach(module: AnsibleModule, dest: Reference, target: Target) -> Result:
    params = module.params
    if module.check_mode and is_unmade(dest):
        module.warn(f"{target.location} is not there: check mode takes it for what an earlier task would make")
        unmade = unmade_result(dest, [], target, target)
        return {"changed": True, "subject": None, "digest": None, **{key: unmade[key] for key in ("reference", "diff")}}
    subject = subject_of(target, target.resolve(dest.target), params["platform"])
    packed = pack(artifact_of(params, os.environ, subject), dest, target, None, module.check_mode)
    planner = Planner(target, CopyOptions(params["concurrency"]))
    attachment = plan_attachment(planner, subject, packed, dated=params["created"] is not None)
    validate(packed.content, [desc for attached in attachment.plans for desc in attached.plan.missing])
    if attachment.changed and not module.check_mode:
        apply_copies([(attached.plan, attached.content) for attached in attachment.plans], target, params["concurrency"])
    return {"subject": subject.digest, **attachment_result(attachment, subject, dest.name)}


def detach(module: AnsibleModule, dest: Reference, target: Target) -> Result:
    params = module.params
    wanted = Digest(params["digest"]) if params["digest"] is not None else None
    root = target.lookup(t.cast(str, dest.target))
    if root is None:
        return {"subject": None, **removal_result(plan_removal(target, []), dest)}
    subject = subject_of(target, root, params["platform"])
    with located(target.location):
        attached = [desc for desc in typed_referrers(target, subject) if params["artifact_type"] in (None, desc.artifact_type)]
    removal = plan_removal(target, [desc for desc in attached if wanted in (None, desc.digest)], referrers=True)
    if removal.changed and not module.check_mode:
        removal.apply(target)
    # The tag of dest is the subject's, which stays.
    return {"subject": subject.digest, **removal_result(removal, dest._replace(tag=None))}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "str", "required": True},
            "dest_ref": {"type": "str"},
            "dest_registry": side_argument_spec(),
            "platform": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "artifact_type": {"type": "str"},
            "digest": {"type": "str"},
            **artifact_argument_spec(),
            "concurrency": {"type": "int", "default": 8},
            **registries_argument_spec(),
        },
        required_if=[("state", "present", ("artifact_type",)), ("state", "absent", ("artifact_type", "digest"), True)],
        supports_check_mode=True,
    )
    with failing(module):
        dest, target = open_target(module, module.params["dest"], module.params["dest_ref"], module.params["dest_registry"])
        check_options(module.params, dest)
        result = (attach if module.params["state"] == "present" else detach)(module, dest, target)
        module.exit_json(**result, requests=dict(target.requests))


if __name__ == "__main__":
    main()

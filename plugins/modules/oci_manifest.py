#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_manifest
short_description: Store and delete manifests in a registry or an OCI layout
description:
  - Stores a manifest or index (Open Container Initiative, not Oracle Cloud) byte for byte, as C(oras manifest push) does, for what no
    other module makes. M(lading.oci.oci_info) reads one with V(raw) in its option C(gather).
  - Deletes a manifest, as C(oras manifest delete), C(crane delete) and C(skopeo delete) do, also with what is attached to it.
extends_documentation_fragment:
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.registry
  - lading.oci.registry.destination
options:
  dest:
    description:
      - The manifest's place, as V(HOST[:PORT]/REPOSITORY:TAG), V(HOST[:PORT]/REPOSITORY@DIGEST), V(oci:PATH:REF), V(oci:PATH@DIGEST) or
        V(oci-archive:PATH:REF).
      - With O(state=present) it may come without tag and digest. Then the manifest is only reachable by its digest. A digest here has to be
        that of the manifest.
    type: str
    required: true
  dest_ref:
    description:
      - The tag, ref or digest of O(dest) when it is not in it. With this O(dest) has the path alone, which may then contain colons.
    type: str
  state:
    description:
      - V(present) stores what O(content) or O(src) is. What it names (configuration, layers, manifests of an index) has to be there.
      - V(absent) deletes the manifest that O(dest) names. B(All its tags go with it). Use M(lading.oci.oci_tag) to remove a tag alone.
        Not every registry can delete, or is set up to. One that does not fails the task.
      - What was below a deleted manifest is left to the garbage collection of the registry. A layout folder keeps it, a layout tar
        is written anew without it.
      - A manifest that is part of an index is not deleted from a layout while that index stays. A registry is not asked for such indexes.
    type: str
    choices: [present, absent]
    default: present
  content:
    description:
      - The manifest, byte for byte. Digests that it was signed by stay right.
    type: str
  src:
    description:
      - A file on the target that holds the manifest, in place of O(content).
    type: path
  media_type:
    description:
      - The media type of the manifest. By default what it says itself, or the OCI type that its fields tell.
    type: str
  tags:
    description:
      - More tags or refs for the manifest. Only with O(state=present).
    type: list
    elements: str
    default: []
  force_tag:
    description:
      - Whether a tag that names something else is moved. With V(false) that is an error, and nothing is stored.
    type: bool
    default: true
  referrers:
    description:
      - Whether what is attached to the manifest is deleted too, and what is attached to that. Only with O(state=absent).
    type: bool
    default: false
seealso:
  - module: lading.oci.oci_info
  - module: lading.oci.oci_tag
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: A manifest that another tool wrote
  lading.oci.oci_manifest:
    dest: oci:/srv/mirror/app:v2
    src: /srv/build/manifest.json

- name: An image goes, with its signatures and SBOMs, wherever its tags are
  lading.oci.oci_manifest:
    dest: localhost:5000/hello-artifact:v1
    dest_registry:
      plain_http: true
    state: absent
    referrers: true

- name: An SBOM goes
  lading.oci.oci_manifest:
    dest: oci:/srv/mirror/app@{{ sbom.digest }}
    state: absent
"""

RETURN = r"""
digest:
  description: The digest of the manifest. Null when O(state=absent) found none.
  returned: success
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
media_type:
  description: Its media type.
  returned: with O(state=present)
  type: str
  sample: application/vnd.oci.image.manifest.v1+json
reference:
  description: The destination with that digest, as it can be given as a source.
  returned: with O(state=present)
  type: str
  sample: localhost:5000/hello-artifact@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
tags:
  description:
    - Each tag or ref, with the digest that it named before and after (null for none). With O(state=absent) those that go along, as far as
      they are known. A registry is not asked for its other tags.
  returned: success
  type: dict
  sample: {"v1": {"before": "sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b", "after": null}}
deleted:
  description: The digests of what was deleted, or would be in check mode. The manifest, then what was attached to it.
  returned: with O(state=absent)
  type: list
  elements: str
requests:
  description: HTTP requests made, by verb. In check mode, those that the check made.
  returned: success
  type: dict
  sample: {"HEAD": 1, "GET": 1, "DELETE": 1}
interrupted:
  description: True. The next run goes on where it was.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.change_results import removal_result
from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Overlay
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Target
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.file_options import media_type_of
from ansible_collections.lading.oci.plugins.module_utils._oci.layer import open_regular
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    failing,
    open_target,
    registries_argument_spec,
    side_argument_spec,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.removal import plan_removal
from ansible_collections.lading.oci.plugins.module_utils._oci.results import check_digest, checked_tags, copy_result
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import manifest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, NotFoundError, located, storage_errors
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import Reference
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.strictjson import MAX_DOCUMENT
from ansible_collections.lading.oci.plugins.module_utils._oci.tagging import refuse_moves

Result = t.Dict[str, t.Any]
_OF_CONTENT = ("changed", "digest", "reference", "media_type", "tags", "diff")


def given(params: t.Mapping[str, t.Any]) -> t.Tuple[Descriptor, bytes]:
    """The manifest to store. Raises InvalidError for what is none."""
    if params["content"] is not None:
        content, what = params["content"].encode(), "content"
    else:
        what = f"src {params['src']}"
        with located(what), storage_errors("reading"), open_regular(params["src"]) as file:
            content = file.read(MAX_DOCUMENT + 1)
    media_type = media_type_of(params["media_type"], "media_type") or manifest.sniff_media_type(content, what)
    desc = Descriptor.of(content, media_type)
    with located(what):
        manifest.parse(desc, content)
    return desc, content


def store(params: t.Mapping[str, t.Any], dest: Reference, target: Target, check_mode: bool) -> Result:
    root, content = given(params)
    check_digest(dest, root)
    names = checked_tags(dest, [*([dest.tag] if dest.tag else []), *params["tags"]])
    overlay = Overlay(target)
    overlay.add_bytes(root, content)
    plan = plan_copy(overlay, root, target, names)
    lacking = [desc.digest for desc in plan.missing if desc.digest != root.digest]
    if lacking:
        with located(target.location):
            raise NotFoundError(f"it has no {lacking[0]}, which the manifest names: copy or push that first")
    if not params["force_tag"]:
        refuse_moves(plan, target)
    if plan.changed and not check_mode:
        apply_copy(plan, overlay, target)
    found = copy_result(plan, None, dest.name, None, target)
    return {key: found[key] for key in _OF_CONTENT}


def delete(params: t.Mapping[str, t.Any], dest: Reference, target: Target, check_mode: bool) -> Result:
    if dest.target is None:
        with located(target.location):
            raise InvalidError("it has no tag and no digest: which of its manifests is to go?")
    root = target.lookup(dest.target)
    removal = plan_removal(target, [root] if root is not None else [], params["referrers"])
    if removal.changed and not check_mode:
        removal.apply(target)
    return {"digest": root.digest if root is not None else None, **removal_result(removal, dest)}


def check_options(params: t.Mapping[str, t.Any]) -> None:
    """Raises InvalidError for options that do not go with the state."""
    stray = ("content", "src", "media_type", "tags") if params["state"] == "absent" else ("referrers",)
    for name in stray:
        if params[name]:
            raise InvalidError(f"{name} does not go with state={params['state']}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "str", "required": True},
            "dest_ref": {"type": "str"},
            "dest_registry": side_argument_spec(),
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "content": {"type": "str"},
            "src": {"type": "path"},
            "media_type": {"type": "str"},
            "tags": {"type": "list", "elements": "str", "default": []},
            "force_tag": {"type": "bool", "default": True},
            "referrers": {"type": "bool", "default": False},
            **registries_argument_spec(),
        },
        mutually_exclusive=[("content", "src")],
        required_if=[("state", "present", ("content", "src"), True)],
        supports_check_mode=True,
    )
    params = module.params
    with failing(module):
        check_options(params)
        dest, target = open_target(module, params["dest"], params["dest_ref"], params["dest_registry"])
        result = (store if params["state"] == "present" else delete)(params, dest, target, module.check_mode)
        module.exit_json(**result, requests=dict(target.requests))


if __name__ == "__main__":
    main()

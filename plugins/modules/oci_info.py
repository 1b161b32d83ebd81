#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_info
short_description: Get facts of images and artifacts in a registry or an OCI layout
description:
  - Returns facts of images and artifacts (Open Container Initiative, not Oracle Cloud) where they are, as C(oras manifest fetch),
    C(oras discover), C(crane digest), C(crane config), C(crane ls) and C(skopeo inspect) do. No daemon is asked, and no layer is read.
  - What is not there is a fact, RV(images[].exists=false), not a failure. Whether it may be seen at all is another matter. A registry
    that refuses access, or cannot be reached, is an error.
  - Everything is verified against its digest before it is told.
extends_documentation_fragment:
  - lading.oci.attributes.info_module
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.registry
  - lading.oci.registry.images
options:
  gather:
    description:
      - What to tell of each, beside whether it exists, its digest, media type and size.
      - An empty list is one HEAD request for each.
      - V(manifest) reads the manifest or index, for annotations, platforms and layers.
      - V(config) reads the configuration of an image as well (environment, command, labels).
      - V(raw) gives the manifest or index as it is stored, byte for byte.
      - V(referrers) lists what is attached to it (signatures, SBOMs), see O(depth).
      - V(tags) lists the tags of the repository, or the refs of the layout. With it an entry of O(src) in a registry may come without
        tag and digest.
    type: list
    elements: str
    choices: [manifest, config, raw, referrers, tags]
    default: [manifest, config]
  platform:
    description:
      - The platform whose image of an index is told of, as V(linux/arm64/v8). V(host) is Linux on the processor of the target.
      - Without it, layers and configuration of an index are not told.
    type: str
  depth:
    description:
      - How many levels of what is attached are listed. V(2) also lists what is attached to signatures and SBOMs.
    type: int
    default: 1
  artifact_types:
    description:
      - List only what is attached with one of these artifact types. What is attached to that is listed whatever its type.
    type: list
    elements: str
    default: []
  tags_matching:
    description:
      - List only tags that match this regular expression as a whole, or that are versions within a range, as V(semver:>=1.2).
      - The lists of referrers that some registries keep under tags are never listed.
    type: str
  catalog:
    description:
      - Registries, as V(HOST[:PORT]), whose repositories to list. Not every registry lets them be listed. One that does not is an error.
    type: list
    elements: str
    default: []
  concurrency:
    description:
      - How many images are looked at at the same time.
    type: int
    default: 8
seealso:
  - module: lading.oci.oci_copy
  - module: lading.oci.oci_pull
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: What is this image?
  lading.oci.oci_info:
    src: localhost:5000/hello-artifact:v1
    src_registry:
      plain_http: true
  register: hello

- name: Its digest, to pin it
  ansible.builtin.debug:
    msg: "{{ hello.images[0].pinned }}"

- name: Are these there? One HEAD request for each
  lading.oci.oci_info:
    src:
      - registry.example.com/team/app:1.4
      - registry.example.com/team/web:2.0
    gather: []
  register: released
  failed_when: not released.images | map(attribute='exists') is all

- name: The configuration of the image for this host
  lading.oci.oci_info:
    src: registry.example.com/team/multi:1.4
    platform: host

- name: What is attached to a release, and to that in turn
  lading.oci.oci_info:
    src: registry.example.com/team/app:1.4
    gather: [referrers]
    depth: 2

- name: All releases of 1.x in a repository
  lading.oci.oci_info:
    src: registry.example.com/team/app
    gather: [tags]
    tags_matching: "semver:1.x"

- name: What is in a layout tar
  lading.oci.oci_info:
    src: oci:/srv/mirror/hello.tar:v1

- name: The repositories of a registry
  lading.oci.oci_info:
    catalog: ["localhost:5000"]
    src_registry:
      plain_http: true
"""

RETURN = r"""
images:
  description: What O(src) names, in that order.
  returned: success
  type: list
  elements: dict
  contains:
    src:
      description: As it was given.
      type: str
      sample: localhost:5000/hello-artifact:v1
    exists:
      description: Whether it is there. Of what is not there nothing else is told, but for the tags.
      type: bool
    digest:
      description: The digest of the manifest or index.
      type: str
      sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
    pinned:
      description: The repository or layout with that digest, as it can be given as a source.
      type: str
      sample: localhost:5000/hello-artifact@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
    media_type:
      description: The media type of the manifest or index.
      type: str
      sample: application/vnd.oci.image.manifest.v1+json
    size:
      description: Bytes of the manifest or index itself.
      type: int
      sample: 1043
    annotations:
      description: Its annotations. With V(manifest) or V(config) in O(gather), as what follows.
      type: dict
    artifact_type:
      description: What kind of artifact it is. Empty for an image.
      type: str
      sample: application/vnd.example.sbom
    subject:
      description: The digest of what it is attached to, or null.
      type: str
    manifests:
      description: The entries of an index, in its order. Empty for a manifest.
      type: list
      elements: dict
      contains:
        digest:
          description: The digest of the entry.
          type: str
        media_type:
          description: Its media type.
          type: str
        size:
          description: Bytes of the manifest.
          type: int
        platform:
          description: What it is for, or null, as of an attestation.
          type: str
          sample: linux/arm64/v8
        artifact_type:
          description: Its artifact type, if the entry says it.
          type: str
        annotations:
          description: The annotations of the entry.
          type: dict
    manifest_digest:
      description:
        - The manifest that the layers and the configuration are of. Of an index it is the one for O(platform), and null when that is
          not given, or the index has none for it.
      type: str
    layers:
      description: Its layers.
      returned: when there is a RV(images[].manifest_digest)
      type: list
      elements: dict
      contains:
        digest:
          description: The digest of the layer.
          type: str
        media_type:
          description: Its media type.
          type: str
        size:
          description: Bytes, as it is stored.
          type: int
        annotations:
          description: Its annotations. C(org.opencontainers.image.title) is the name of a file of an artifact.
          type: dict
    content_size:
      description: Bytes of all its layers and of its configuration, as they are stored.
      returned: when there is a RV(images[].manifest_digest)
      type: int
      sample: 3338412
    config:
      description: The configuration, as it is stored. What runs is below C(config).
      returned: of an image, with V(config) in O(gather)
      type: dict
      sample: {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]}}
    labels:
      description: The labels of the configuration.
      returned: as RV(images[].config)
      type: dict
    platform:
      description: What the image is for, or null.
      returned: as RV(images[].config)
      type: str
      sample: linux/amd64
    raw:
      description: The manifest or index as it is stored.
      returned: with V(raw) in O(gather)
      type: str
    referrers:
      description: What is attached to it, in the order of the digests. Each has its own C(referrers) as far as O(depth) goes.
      returned: with V(referrers) in O(gather)
      type: list
      elements: dict
      sample:
        - digest: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
          media_type: application/vnd.oci.image.manifest.v1+json
          artifact_type: application/vnd.example.sbom
          size: 721
          annotations: {}
    tags:
      description: The tags of the repository or the refs of the layout, in its order. Empty where there is none.
      returned: with V(tags) in O(gather)
      type: list
      elements: str
      sample: ["v1", "v2"]
repositories:
  description: The repositories of each registry of O(catalog).
  returned: when O(catalog) is given
  type: dict
  sample: {"localhost:5000": ["hello-artifact", "team/app"]}
requests:
  description: HTTP requests made, by verb.
  returned: success
  type: dict
  sample: {"HEAD": 1, "GET": 2}
interrupted:
  description: True.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import collections
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Source
from ansible_collections.lading.oci.plugins.module_utils._oci.inspection import (
    CONFIG,
    GATHERED,
    MANIFEST,
    TAGS,
    Asked,
    inspect,
    inspect_names,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    at_least,
    failing,
    open_image,
    options_for,
    registries_argument_spec,
    side_argument_spec,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.platforms import parse_platform
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.catalog import Catalog
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, located
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import Reference, RegistryReference, parse_host
from ansible_collections.lading.oci.plugins.module_utils._oci.tag_selection import parse_filter

Opened = t.Tuple[str, Reference, Source]


def asked_of(params: t.Dict[str, t.Any]) -> Asked:
    """Raises InvalidError."""
    at_least(1, depth=params["depth"], concurrency=params["concurrency"])
    if params["tags_matching"] is not None and TAGS not in params["gather"]:
        raise InvalidError("tags_matching chooses among tags: it needs tags in gather")
    if not params["src"] and not params["catalog"]:
        raise InvalidError("there is nothing to tell of: src and catalog are both empty")
    return Asked(
        frozenset(params["gather"]),
        parse_platform(params["platform"]) if params["platform"] is not None else None,
        params["depth"],
        frozenset(params["artifact_types"]),
        parse_filter(params["tags_matching"]),
    )


def facts_of(opened: Opened, asked: Asked) -> t.Dict[str, t.Any]:
    text, parsed, source = opened
    if parsed.target is None and asked.gather == {TAGS}:
        return {"src": text, **inspect_names(source, asked)}
    if parsed.target is None and isinstance(parsed, RegistryReference):
        with located(source.location):
            raise InvalidError("it has no tag and no digest: of a repository as a whole only the tags can be told (gather: [tags])")
    return {"src": text, **inspect(source, parsed.name, parsed.target, asked)}


def open_catalog(module: AnsibleModule, host: str) -> Catalog:
    """The repositories of a registry."""
    with located(f"registry {host}"):
        parsed = parse_host(host)
        return Catalog(parsed, options_for(module, parsed, module.params["src_registry"]), module.warn)


def run(module: AnsibleModule) -> None:
    params = module.params
    asked = asked_of(params)
    opened = [(text, *open_image(module, text, params["src_registry"])) for text in params["src"]]
    catalogs = {host: open_catalog(module, host) for host in params["catalog"]}
    with ThreadPoolExecutor(max_workers=params["concurrency"]) as pool:
        images = list(pool.map(lambda one: facts_of(one, asked), opened))
        listed = dict(zip(catalogs, pool.map(lambda catalog: catalog.repositories(), catalogs.values())))
    requests: t.Counter[str] = collections.Counter()
    for asker in [*(source for _text, _parsed, source in opened), *catalogs.values()]:
        requests.update(asker.requests)
    module.exit_json(changed=False, images=images, requests=dict(requests), **({"repositories": listed} if listed else {}))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "list", "elements": "str", "default": []},
            "src_registry": side_argument_spec(),
            "gather": {"type": "list", "elements": "str", "choices": list(GATHERED), "default": [MANIFEST, CONFIG]},
            "platform": {"type": "str"},
            "depth": {"type": "int", "default": 1},
            "artifact_types": {"type": "list", "elements": "str", "default": []},
            "tags_matching": {"type": "str"},
            "catalog": {"type": "list", "elements": "str", "default": []},
            "concurrency": {"type": "int", "default": 8},
            **registries_argument_spec(),
        },
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()

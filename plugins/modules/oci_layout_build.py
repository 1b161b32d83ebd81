#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_layout_build
short_description: Build an image, artifact or index in an OCI layout
description:
  - Makes a ref of a layout folder or layout tar (Open Container Initiative, not Oracle Cloud) name an image with the given layers,
    an artifact with the given files, or an index of the given images. No daemon is needed.
  - Builds are reproducible. The same files and options give the same digest on every host. Entries are sorted, owned by root unless
    O(layers[].owner) says otherwise, and have the time of O(created).
  - Layers are compared by the digest of their uncompressed content. One that is there already is kept as it is, and not compressed
    again.
  - Files that have not changed since the last build are not read again. They are those whose size, inode, owner, mode, mtime and ctime
    are as they were. What was seen is kept in C(lading-oci/layer) below E(XDG_CACHE_HOME), which is C(~/.cache) by default. It may be
    removed at any time. The result is the same without it, see O(checksum).
  - What was built is checked before anything is published, by the rules of the specification and, where C(jsonschema) is installed,
    against its JSON schemas.
  - An image can be built on another one, the O(base). The layers that the layout lacks are copied, the others are not read.
  - Other refs of the layout are kept.
extends_documentation_fragment:
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.attributes.progress
  - lading.oci.registry
  - lading.oci.registry.base
  - lading.oci.registry.manifests
  - lading.oci.artifact.files
requirements:
  - jsonschema (on the target), optional, to validate what was built against the OCI JSON schemas
  - zstandard or backports.zstd (on the target), for layers with zstd and a Python older than 3.14
options:
  path:
    description:
      - The layout. It is a folder, or a tar when it is one already, or does not exist and ends in V(.tar). Folders above it that are
        missing are made, too.
      - The path alone, without V(oci:) and without a ref. One that really begins so is written V(./oci:PATH).
      - Paths here and in O(layers) and O(files) are paths of the target. Relative ones start at the working directory of the
        module. With the local connection that is the folder of the playbook, in an ad-hoc command the working directory.
    type: path
    required: true
  tag:
    description:
      - The ref in the layout. Put one that YAML would take for a number in quotes.
    type: str
    required: true
  state:
    description:
      - V(present) builds.
      - V(absent) removes the ref. A layout tar loses what only that ref needed, a layout folder keeps its blobs.
    type: str
    choices: [present, absent]
    default: present
  platform:
    description:
      - The image's platform, as C(os/architecture) or C(os/architecture/variant).
      - The default is V(linux) with the architecture of the target.
      - With O(base) it says which image of an index is taken. The platform of an image that stands alone is kept, and one that does not
        run on a given platform is an error.
    type: str
  layers:
    description:
      - The layers of an image, the lowest first.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description:
          - A folder, whose content becomes the layer. Links in it stay links.
          - Or a file.
          - Or a tar, plain or compressed, with a name that ends in V(.tar), V(.tar.gz), V(.tgz), V(.tar.zst), V(.tzst), V(.tar.xz),
            V(.txz), V(.tar.bz2) or V(.tbz2). It becomes the layer as it is. One with gzip or zstd becomes it byte for byte unless
            O(layers[].compression) or O(layers[].compression_level) is given. O(layers[].dest), O(layers[].mode), O(layers[].owner)
            and O(layers[].group) cannot be given with a tar.
          - Sparse files are stored whole.
          - Needed unless O(layers[].state=absent).
        type: path
      state:
        description:
          - V(present) adds files.
          - V(absent) takes O(layers[].dest) away, a file or a folder with all that is in it, when a lower layer or the O(base) has it.
            The layer then holds a whiteout, which is what container engines understand. What is not there is no error.
          - Such items that follow on one another become one layer.
        type: str
        choices: [present, absent]
        default: present
      dest:
        description:
          - Where in the image. For a folder the folder that it becomes, V(/) by default.
          - For a file its path, or with a slash at the end the folder it is put into, V(/) by default.
          - With O(layers[].state=absent) the path that goes. It is needed then, and V(/) is refused.
        type: str
      parents:
        description:
          - Whether the folders that O(layers[].dest) names become entries of the layer, with the mode 0755 and the owner of the others.
          - Where a lower layer has such a folder it gets this mode and owner. Where it has a link, as V(/bin) is one in many
            distributions, the link becomes a folder.
          - Without these entries what is there stays, and a container engine makes what is missing.
          - The default is V(true) without a O(base) and V(false) with one.
        type: bool
      mode:
        description:
          - The permission bits of the files, as an octal string like V('0644'). Folders get execute where they have read.
          - The default is what the files have, setuid, setgid and sticky bits among it.
        type: raw
      owner:
        description:
          - The numeric user id of all entries. Names mean something else inside of the image, and are refused.
          - V(keep) is the id that each file has on the target. Folders above O(layers[].dest) are root's then.
        type: raw
        default: 0
      group:
        description:
          - The numeric group id of all entries, or V(keep).
        type: raw
        default: 0
      xattrs:
        description:
          - Whether the extended attributes C(user.*) and C(security.capability) of the files are kept. Others, such as SELinux labels
            and ACLs, never are, because they belong to the target.
          - Has no effect on a tar.
        type: bool
        default: true
      compression:
        description:
          - How the layer is compressed. The default is V(gzip), and for a tar that is gzip or zstd what it is.
          - V(zstd) needs the Python library C(zstandard) or C(backports.zstd) on the target, unless its Python is 3.14 or newer.
        type: str
        choices: [gzip, zstd, none]
      compression_level:
        description:
          - How hard it is tried. V(1) to V(9) for V(gzip), 4 by default, and V(1) to V(19) for V(zstd), 3 by default.
          - gzip is made in blocks of up to 1 MiB by all processors. The bytes do not depend on how many there are. Blocks that cannot be
            compressed are stored.
          - A layer does not tell its level. So one that is there already with the same content and O(layers[].compression) is kept, and
            a change of the level alone makes no new layer.
        type: int
  config:
    description:
      - How a container of the image runs.
      - With O(base) this changes what the image has from there. What is not given stays. An empty list or string takes the inherited
        value away.
      - In the history of the image this is then a step without a layer.
    type: dict
    suboptions:
      cmd:
        description: The default arguments, or the program and its arguments. A list, not one text.
        type: list
        elements: str
      entrypoint:
        description:
          - The program and its first arguments. A list, not one text.
          - When it is given without O(config.cmd), the arguments of the O(base) go, because they were meant for another program.
        type: list
        elements: str
      env:
        description:
          - Environment variables. Values must be strings, so quote numbers and booleans.
          - Those of the O(base) that are not named here stay. A null takes one away.
        type: dict
      labels:
        description:
          - Labels. Values must be strings.
          - Those of the O(base) that are not named here stay. A null takes one away.
        type: dict
      user:
        description: The user, as C(user), C(uid), C(user:group) or C(uid:gid).
        type: str
      working_dir:
        description: The working directory.
        type: str
      exposed_ports:
        description: Ports, as V(80), V(80/tcp) or V(53/udp). They are added to those of the O(base).
        type: list
        elements: str
      volumes:
        description: Paths that are volumes. They are added to those of the O(base).
        type: list
        elements: str
      stop_signal:
        description: The signal that stops the container, for example V(SIGTERM).
        type: str
  append:
    description:
      - Whether O(manifests) changes the index that the ref names now, and keeps its other entries and its annotations.
      - An entry with the same platform is replaced, and its attestations go with it. One without a platform replaces nothing.
      - When the ref names a single image, that is the first entry.
      - Tasks that change the same ref at the same time keep the entries of each other.
    type: bool
    default: false
  artifact_type:
    description:
      - The type of an artifact or, with O(manifests), of the index. A media type.
      - With O(files) the default is V(application/vnd.unknown.artifact.v1).
    type: str
  annotations:
    description:
      - Annotations of the manifest or index. Values must be strings. Those of the O(base) are not taken over, as they describe that
        image.
    type: dict
    default: {}
  created:
    description:
      - The time of the build, as RFC 3339 (V(2026-11-23T20:51:00Z)) or in seconds since 1970. It becomes the time of all entries and
        the C(created) of an image's config, or of an artifact's or index's annotations.
      - The default is the environment variable E(SOURCE_DATE_EPOCH) of the task. Without it entries are of 1970 and nothing says
        C(created).
    type: str
  checksum:
    description:
      - Whether every file of the layers is read, as with C(rsync --checksum), also those that seem not to have changed.
      - Needed where something writes files without a trace in their ctime. That is memory mapped files that are still written to, and
        network file systems whose clock is behind that of the target by seconds.
      - Single O(files) and tars are always read.
    type: bool
    default: false
seealso:
  - module: lading.oci.oci_copy
  - module: lading.oci.oci_pull
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Files become an image, in a layout tar
  lading.oci.oci_layout_build:
    path: /srv/images/hello-world.tar
    tag: v1
    platform: linux/amd64
    layers:
      - src: /srv/build/rootfs/
      - src: /srv/build/hello.conf
        dest: /etc/
        mode: '0644'
    config:
      cmd: [/bin/hello]
      env:
        LANG: C.UTF-8
      labels:
        org.opencontainers.image.title: hello

- name: An image on top of another one, without its package cache
  lading.oci.oci_layout_build:
    path: /srv/images/app
    tag: "1.5"
    base: registry.example.com/base/debian:12
    platform: linux/amd64
    layers:
      - dest: /var/cache/apt
        state: absent
      - src: /srv/build/rootfs/
        dest: /opt/app
        compression: zstd
        compression_level: 9
    config:
      entrypoint: [/opt/app/bin/hello]
      env:
        LANG: C.UTF-8
        DEBIAN_FRONTEND: null

- name: Files become an artifact, as oras push makes it
  lading.oci.oci_layout_build:
    path: /srv/artifacts/site.tar
    tag: "2.3"
    artifact_type: application/vnd.example.site.v1
    files:
      - src: /srv/build/site.conf
        media_type: text/plain
      - src: /srv/build/assets/
    created: "2026-11-23T20:51:00Z"

- name: Images of separate builds become one multi-platform image
  lading.oci.oci_layout_build:
    path: /srv/images/app.tar
    tag: "1.4"
    manifests:
      - src: oci-archive:/srv/build/app-amd64.tar:1.4
      - src: oci-archive:/srv/build/app-arm64.tar:1.4
      - src: registry.example.com/team/app-armv7:1.4
        platform: linux/arm/v7
    annotations:
      org.opencontainers.image.version: "1.4"

- name: One platform is built anew, the others are kept
  lading.oci.oci_layout_build:
    path: /srv/images/app-fixed.tar
    tag: "1.4"
    manifests:
      - src: oci-archive:/srv/build/app-arm64.tar:1.4
      - platform: linux/s390x
        state: absent
    append: true

- name: An old ref goes
  lading.oci.oci_layout_build:
    path: /srv/artifacts/site.tar
    tag: "2.2"
    state: absent
"""

RETURN = r"""
digest:
  description:
    - The digest of the manifest or index. With O(state=absent) the one that the ref named, or null.
    - Null in check mode when a layout that O(base) or O(manifests) name does not exist yet.
  returned: success
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
reference:
  description: The layout with that digest, as it can be given as a source. Without the digest when that is not known yet.
  returned: when O(state=present)
  type: str
  sample: oci:/srv/images/hello-world.tar@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
media_type:
  description: The media type of the manifest or index.
  returned: when O(state=present)
  type: str
  sample: application/vnd.oci.image.manifest.v1+json
base:
  description: The digest of the manifest of O(base). Of an index it is that of the image that was taken.
  returned: when O(base) is given and there
  type: str
  sample: sha256:1b1a2f5e0a2dd3d6e26d7c3b4aef5cd5a1d3b8a5b4d6f7c1c0b9a8e7d6c5b4a3
tags:
  description: The ref, with the digest that it named before (null when there was none) and after.
  returned: success
  type: dict
  sample: {"v1": {"before": null, "after": "sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b"}}
validated:
  description:
    - How the manifests, indexes and configs that were built have been checked.
    - V(rules) is the collection's own checks, V(schemas) the JSON schemas of the specification, which need C(jsonschema).
    - Empty when there was nothing new to publish.
  returned: when O(state=present)
  type: list
  elements: str
  sample: ["rules", "schemas"]
stats:
  description: What was written to the layout. In check mode, what would be.
  returned: when O(state=present)
  type: dict
  contains:
    blobs_transferred:
      description: Blobs that were written.
      type: int
    blobs_mounted:
      description: Always 0.
      type: int
    blobs_present:
      description: Blobs that were there, and kept.
      type: int
    manifests_transferred:
      description: Manifests that were written.
      type: int
    bytes_transferred:
      description: Bytes of the blobs and manifests that were written.
      type: int
    bytes_mounted:
      description: Always 0.
      type: int
    bytes_present:
      description: Bytes of the blobs and manifests that were there.
      type: int
    requests:
      description: HTTP requests by side and verb. Those of O(base), or of all registries in O(manifests) together, are the source's.
      type: dict
      sample: {"source": {"HEAD": 1, "GET": 2}, "destination": {}}
interrupted:
  description: True. The next run takes up what was begun, or begins anew.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import contextlib
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.build_options import BuildOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Overlay, Spool
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import apply_copy, plan_copy
from ansible_collections.lading.oci.plugins.module_utils._oci.file_options import files_argument_spec
from ansible_collections.lading.oci.plugins.module_utils._oci.known import known_layers
from ansible_collections.lading.oci.plugins.module_utils._oci.layer_maker import LayerMaker
from ansible_collections.lading.oci.plugins.module_utils._oci.layer_receipt import LayerReceipts
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    failing,
    is_unmade,
    open_base,
    open_layout,
    open_sources,
    registries_argument_spec,
    side_argument_spec,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.pack import Packer
from ansible_collections.lading.oci.plugins.module_utils._oci.results import copy_result, unmade_result, untag_result
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, MovedError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import LayoutReference, check_path, check_ref_name

if t.TYPE_CHECKING:
    from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import Fetcher, Source, Target
    from ansible_collections.lading.oci.plugins.module_utils._oci.index_options import IndexOptions
    from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
    from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import Reference

_APPENDS_AT_ONCE = 50  # other tasks that may change the index while this one is made
_OF_OTHERS = ("layers", "config", "files", "platform")


def is_index(params: t.Mapping[str, t.Any]) -> bool:
    """Whether the options ask for an index. Raises InvalidError for those that go with nothing else, or not with it."""
    if not params["manifests"]:
        if params["append"]:
            raise InvalidError("append keeps the other entries of an index: give manifests with it")
        return False
    others = [name for name in _OF_OTHERS if params[name]]
    if others:
        raise InvalidError(f"manifests makes an index, {others[0]} an image or artifact: give one or the other")
    return True


def build(module: AnsibleModule) -> t.Dict[str, t.Any]:
    """Pack beside the layout, then copy from there, and from the base, what the layout lacks."""
    params = module.params
    target = open_layout(params["path"])
    dest = LayoutReference(params["path"], check_ref_name(params["tag"]))
    options = BuildOptions(params, os.environ)
    base, source = None, None
    content: Fetcher = target
    if params["base"]:
        # Here and below: each run compiles what it imports, and few need this.
        from ansible_collections.lading.oci.plugins.module_utils._oci.base import check_apart, load_base
        from ansible_collections.lading.oci.plugins.module_utils._oci.content.chained import Chained

        base_reference, source = open_base(module, params["base"], params["base_ref"], params["base_registry"])
        check_apart(base_reference, dest)
        if module.check_mode and is_unmade(base_reference):
            module.warn(f"{source.location} is not there: check mode takes it for what an earlier task would make")
            return {"validated": [], **unmade_result(dest, [], source, target)}
        base = load_base(source, base_reference.target, options.platform)
        content = Chained([target, source])
    overlay = Overlay(content)
    spool = Spool(None if module.check_mode else params["path"])
    receipts = LayerReceipts(target, module.warn, used=not params["checksum"], stored=not module.check_mode)
    maker = LayerMaker(overlay, spool, known_layers(target, params["tag"]), receipts)
    root = options.pack(Packer(overlay, maker), base)
    result = publish(module, overlay, overlay, root, target, source)
    return {**result, "base": base.digest} if base else result


def build_index(module: AnsibleModule) -> t.Dict[str, t.Any]:
    """Make the index, once more when another task has changed the one that it was made of: each time one of them is done."""
    from ansible_collections.lading.oci.plugins.module_utils._oci.index_options import IndexOptions

    params = module.params
    tag = check_ref_name(params["tag"])
    options = IndexOptions(params, os.environ)
    target = open_layout(params["path"])
    opened = open_sources(module, options.sources)
    for parsed, source in opened:
        if module.check_mode and is_unmade(parsed):
            module.warn(f"{source.location} is not there: check mode takes it for what an earlier task would make")
            return {"validated": [], **unmade_result(LayoutReference(params["path"], tag), [], source, target)}
    for _try in range(_APPENDS_AT_ONCE):
        with contextlib.suppress(MovedError):
            return publish_index(module, options, opened, tag)
    return publish_index(module, options, opened, tag)


def publish_index(
    module: AnsibleModule, options: IndexOptions, opened: t.Sequence[t.Tuple[Reference, Source]], tag: str
) -> t.Dict[str, t.Any]:
    """Make the index beside the layout, then copy from there and from the sources what the layout lacks.

    Raises MovedError when it was made of the index that is there, and that has become another one.
    """
    from ansible_collections.lading.oci.plugins.module_utils._oci.content.chained import Chained
    from ansible_collections.lading.oci.plugins.module_utils._oci.index_options import requests_of_all
    from ansible_collections.lading.oci.plugins.module_utils._oci.indexes import IndexBuilder, listing

    target = open_layout(module.params["path"])
    overlay = Overlay(target)
    content = Chained([overlay, *(source for _parsed, source in opened)])
    current = target.lookup(tag)
    before = listing(content, current)
    root = options.build(IndexBuilder(overlay, content), opened, current)
    result = publish(module, overlay, content, root, target, unmoved=options.append)
    result["diff"]["before"] += before
    result["diff"]["after"] += listing(content, root)
    result["stats"]["requests"]["source"] = requests_of_all(opened)
    return result


def publish(
    module: AnsibleModule,
    overlay: Overlay,
    content: Fetcher,
    root: Descriptor,
    target: Target,
    source: t.Optional[Source] = None,
    unmoved: bool = False,
) -> t.Dict[str, t.Any]:
    """Check what was made, and let the ref name it; ``content`` is where all of it can be read, ``source`` what it was built on.

    ``unmoved``: only while the ref names what it did.
    """
    params = module.params
    plan = plan_copy(content, root, target, [params["tag"]])
    validated: t.List[str] = []
    if plan.missing:
        from ansible_collections.lading.oci.plugins.module_utils._oci.validation import validate

        validated = validate(overlay, plan.missing)
    outcome = None
    if plan.changed and not module.check_mode:
        outcome = apply_copy(plan, content, target, unmoved=unmoved)
    return {"validated": validated, **copy_result(plan, outcome, f"oci:{params['path']}", source, target)}


def remove(module: AnsibleModule) -> t.Dict[str, t.Any]:
    """Take the ref away when it is there."""
    params = module.params
    target = open_layout(params["path"])
    result = untag_result(target, params["tag"], f"oci:{params['path']}")
    if result["changed"] and not module.check_mode:
        target.untag(params["tag"])
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "tag": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "platform": {"type": "str"},
            "base": {"type": "str"},
            "base_ref": {"type": "str"},
            "base_registry": side_argument_spec(),
            "layers": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "src": {"type": "path"},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                    "dest": {"type": "str"},
                    "parents": {"type": "bool"},
                    "mode": {"type": "raw"},
                    "owner": {"type": "raw", "default": 0},
                    "group": {"type": "raw", "default": 0},
                    "xattrs": {"type": "bool", "default": True},
                    "compression": {"type": "str", "choices": ["gzip", "zstd", "none"]},
                    "compression_level": {"type": "int"},
                },
            },
            "config": {
                "type": "dict",
                "options": {
                    "cmd": {"type": "list", "elements": "str"},
                    "entrypoint": {"type": "list", "elements": "str"},
                    "env": {"type": "dict"},
                    "labels": {"type": "dict"},
                    "user": {"type": "str"},
                    "working_dir": {"type": "str"},
                    "exposed_ports": {"type": "list", "elements": "str"},
                    "volumes": {"type": "list", "elements": "str"},
                    "stop_signal": {"type": "str"},
                },
            },
            "manifests": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "src": {"type": "str"},
                    "src_ref": {"type": "str"},
                    "src_registry": side_argument_spec(),
                    "platform": {"type": "str"},
                    "annotations": {"type": "dict", "default": {}},
                    "nested": {"type": "bool", "default": False},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
                "required_if": [("state", "present", ["src"]), ("state", "absent", ["platform"])],
            },
            "append": {"type": "bool", "default": False},
            "artifact_type": {"type": "str"},
            "files": files_argument_spec(),
            "annotations": {"type": "dict", "default": {}},
            "created": {"type": "str"},
            "checksum": {"type": "bool", "default": False},
            **registries_argument_spec(),
        },
        supports_check_mode=True,
    )
    with failing(module):
        check_path("path", module.params["path"])
        if module.params["state"] == "absent":
            module.exit_json(**remove(module))
        module.exit_json(**(build_index(module) if is_index(module.params) else build(module)))


if __name__ == "__main__":
    main()

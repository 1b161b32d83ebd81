#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_pull
short_description: Pull the files of an artifact out of a registry or an OCI layout
description:
  - Writes the files that an artifact (Open Container Initiative, not Oracle Cloud) holds below a folder, as C(oras pull) does.
  - A layer with the annotation C(org.opencontainers.image.title) is a file of that name. With the annotation
    C(io.deis.oras.content.unpack) as well it is a folder, which is unpacked.
  - All children of an index are pulled, unless O(platform) chooses one. What a manifest is attached to (its C(subject)) is pulled
    with O(include_subject) only.
  - Files are compared with those on disk by digest. Only what differs is fetched, and it is verified before it appears under its
    name. What is equal is not touched. Files that the artifact does not have stay where they are.
  - Every title and every member of a folder is checked before anything is written. A path that leads out of O(dest), also through
    a symbolic link that stands there, is an error.
notes:
  - What is learned of an artifact (its manifests, what its folders hold) is kept in C(lading-oci/pull) below E(XDG_CACHE_HOME),
    or below C(~/.cache). With that, a run that finds nothing to do is one HEAD request, and none when O(src) has a digest.
    The folder may be removed at any time.
  - When nothing is known of a folder layer, and its folder exists, then the layer is fetched to compare them, in check mode too.
  - Of a folder layer only files, folders and symbolic links within the folder are taken. A hard link becomes a file of its own.
    Anything else is an error. Times, owners and extended attributes are not taken over.
  - A new file gets the mode that the umask allows, in a folder layer that of its member (without setuid, setgid and sticky, not
    writable by group and others), unless O(mode) is given. A file that is replaced keeps its owner, and its mode when it is not
    in a folder layer. A member's execute permission is restored when it is lost, unless O(mode) is given.
extends_documentation_fragment:
  - ansible.builtin.files
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.registry
  - lading.oci.registry.source
options:
  dest:
    description:
      - The folder to write to. It is created when it is missing.
      - To get a layout instead of files use M(lading.oci.oci_copy).
    type: path
    required: true
  untitled:
    description:
      - What to do with layers that have no title, and no name by O(names), such as the layers of an image.
      - V(skip) leaves them out, and RV(msg) says how to get them.
      - V(fail) makes them an error.
      - V(digest) writes them as files that are named by their digest, as V(sha256-9c5b2a...).
      - The configuration of a manifest is no layer. It is only written when it has a title, or with O(config).
    type: str
    choices: [skip, fail, digest]
    default: skip
  names:
    description:
      - File names for layers that have no title. A key is the media type of the layers, or the digest of one layer, which counts first.
        A value is a path below O(dest).
      - A layer with a title keeps its title.
      - Two different layers with one name are an error. Give them names by their digests.
    type: dict
    default: {}
  include:
    description:
      - Pull only files whose title, or name by O(names) or O(untitled=digest), matches one of these globs as a whole.
      - V(*), V(?) and V([...]) do not match a slash. A part V(**) is any number of parts, also none, so V(**/*.conf) is every
        C(.conf) file and V(docs/**) is all of C(docs). Upper and lower case differ.
      - A folder layer is one file here. The glob is matched against the title of the folder, and it is pulled whole or not at all.
      - When nothing is left, the task fails and lists the layers that there are.
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Do not pull files that match one of these globs, also when O(include) has them. Globs are those of O(include).
    type: list
    elements: str
    default: []
  media_types:
    description:
      - Pull only layers of these media types. Others are left out without a word.
      - When nothing is left, the task fails and lists the layers that there are.
    type: list
    elements: str
    default: []
  config:
    description:
      - The path below O(dest) to write the configuration of the manifest to. The empty configuration C({}) is written too.
      - O(include), O(exclude) and O(media_types) do not apply to it.
      - Of an index with several manifests choose one with O(platform). Attestations are not counted.
    type: str
  include_subject:
    description:
      - Pull the files of what the manifest is attached to as well, and of what that is attached to.
      - When that is an index, all its children are pulled, or with O(platform) the one for that platform.
    type: bool
    default: false
  platform:
    description:
      - Pull only the manifest of an index that is for this platform, as V(linux/arm64) or V(linux/arm/v7). V(host) is Linux on the
        processor of the target.
      - An index that has nothing for it is an error, and so is an image for another platform. An artifact outside of an index has no
        platform, and is pulled.
    type: str
  concurrency:
    description:
      - How many files are fetched at the same time.
    type: int
    default: 3
  unpack_limits:
    description:
      - Bounds for each folder that is unpacked. Beyond them the task fails before anything is written.
    type: dict
    suboptions:
      bytes:
        description:
          - How many bytes the folder may have as a tar. The default is 64 GiB.
        type: int
        default: 68719476736
      ratio:
        description:
          - How many times the size of its gzip the folder may have. The first 256 MiB are free.
        type: int
        default: 200
      entries:
        description:
          - How many files, folders and links the folder may have.
        type: int
        default: 200000
  mode:
    description:
      - The permissions of the regular files that are pulled, as for M(ansible.builtin.file). Folders and links keep theirs.
    type: raw
  owner:
    description:
      - The user who is to own what is pulled, folder layers with their folders and links.
    type: str
  group:
    description:
      - The group that is to own what is pulled, folder layers with their folders and links.
    type: str
  unsafe_writes:
    description:
      - There for likeness with other modules. Files are always replaced as a whole.
    type: bool
    default: false
seealso:
  - module: lading.oci.oci_copy
  - module: lading.oci.oci_layout_build
  - name: Pushing and pulling
    description: The same with the C(oras) command.
    link: https://oras.land/docs/how_to_guides/pushing_and_pulling
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Files of an artifact, from a registry
  lading.oci.oci_pull:
    src: localhost:5000/site:2.3
    src_registry:
      plain_http: true
    dest: /opt/site

- name: From a layout tar, for one user only
  lading.oci.oci_pull:
    src: oci:/srv/artifacts/site.tar:2.3
    dest: /opt/site
    owner: www-data
    group: www-data
    mode: "0640"

- name: A pinned digest needs no request when the files are there
  lading.oci.oci_pull:
    src: registry.example.com/team/site@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
    dest: /opt/site
  notify: Reload the web server

- name: A large and well-packed folder
  lading.oci.oci_pull:
    src: registry.example.com/team/model:7
    dest: /srv/model
    concurrency: 8
    unpack_limits:
      bytes: 549755813888
      ratio: 1000

- name: All layers of an image as files
  lading.oci.oci_pull:
    src: oci:/srv/images/hello-world.tar:v1
    dest: /srv/layers
    untitled: digest

- name: A Helm chart, whose layer has no title
  lading.oci.oci_pull:
    src: registry.example.com/charts/mychart:0.1.0
    dest: /srv/charts
    names:
      application/vnd.cncf.helm.chart.content.v1.tar+gzip: mychart-0.1.0.tgz

- name: A WASM module, under a name of its own
  lading.oci.oci_pull:
    src: registry.example.com/team/filter:1.0
    dest: /opt/proxy/filters
    names:
      application/wasm: filter.wasm

- name: A model file and its licence, without the rest of the repository
  lading.oci.oci_pull:
    src: registry.example.com/models/small:1
    dest: /srv/models/small
    include:
      - "*.gguf"
      - LICENSE

- name: An untitled layer, by its digest; anything else without a title is an error
  lading.oci.oci_pull:
    src: registry.example.com/team/data:1
    dest: /srv/data
    untitled: fail
    names:
      sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824: data.bin

- name: Only the pages, without drafts
  lading.oci.oci_pull:
    src: registry.example.com/team/pages:2
    dest: /srv/pages
    media_types:
      - text/html
    exclude:
      - drafts/**

- name: The binary for this machine, with the configuration of its manifest
  lading.oci.oci_pull:
    src: registry.example.com/team/tool:3
    dest: /opt/tool
    platform: host
    config: config.json

- name: A report, and the files that it is about
  lading.oci.oci_pull:
    src: registry.example.com/team/report:1
    dest: /srv/report
    include_subject: true
"""

RETURN = r"""
digest:
  description: The digest of the manifest or index that was pulled.
  returned: success
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
reference:
  description: The source with that digest, as it can be given as O(src) again.
  returned: success
  type: str
  sample: localhost:5000/site@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
manifest_digest:
  description: The digest of the manifest that O(platform) chose. It differs from RV(digest) when that is an index.
  returned: when O(platform) is given
  type: str
  sample: sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
media_type:
  description: The media type of the manifest or index.
  returned: success
  type: str
  sample: application/vnd.oci.image.manifest.v1+json
files:
  description: The files and folders that are pulled, in the order of the artifact. With O(config) the configuration comes first.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Where it stands.
      type: str
      sample: /opt/site/dist/site.conf
    title:
      description: Its name in the artifact, or the one that O(names), O(config) or O(untitled=digest) gives it.
      type: str
      sample: dist/site.conf
    state:
      description: V(file), or V(directory) for a folder that is unpacked.
      type: str
      sample: file
    digest:
      description: The digest of its layer.
      type: str
      sample: sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
    size:
      description: The bytes of its layer.
      type: int
      sample: 10
    media_type:
      description: The media type of its layer.
      type: str
      sample: text/plain
    changed:
      description: Whether it was written, or its attributes were set. In check mode, whether that would be done.
      type: bool
skipped_layers:
  description: The digests of layers without a title, which were left out.
  returned: success
  type: list
  elements: str
msg:
  description: How to get the layers that were left out.
  returned: when there are such layers
  type: str
stats:
  description:
    - What was transferred. In check mode, what the run would transfer, with what the check itself had to fetch.
  returned: success
  type: dict
  contains:
    blobs_transferred:
      description: Layers that were fetched.
      type: int
    blobs_mounted:
      description: Always 0. There for likeness with M(lading.oci.oci_copy).
      type: int
    blobs_present:
      description: Layers whose files were found in O(dest) as they should be.
      type: int
    manifests_transferred:
      description: Manifests and indexes that were read from the source, and the configurations that O(platform) had to be compared with.
      type: int
    bytes_transferred:
      description: Bytes of the layers that were fetched and of the manifests that were read.
      type: int
    bytes_mounted:
      description: Always 0.
      type: int
    bytes_present:
      description: Bytes of the layers whose files were found in O(dest).
      type: int
    requests:
      description: HTTP requests made, by side (C(source), C(destination)) and verb. In check mode, those that the check made.
      type: dict
      sample: {"source": {"HEAD": 1}, "destination": {}}
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import requests_of
from ansible_collections.lading.oci.plugins.module_utils._oci.destination import Destination
from ansible_collections.lading.oci.plugins.module_utils._oci.folders import FolderBlobs
from ansible_collections.lading.oci.plugins.module_utils._oci.module import (
    at_least,
    failing,
    open_source,
    registries_argument_spec,
    side_argument_spec,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.plaintar import Limits
from ansible_collections.lading.oci.plugins.module_utils._oci.platforms import parse_platform
from ansible_collections.lading.oci.plugins.module_utils._oci.receipt import Receipt
from ansible_collections.lading.oci.plugins.module_utils._oci.selection import UNTITLED, Item, Wanted, select
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, printable
from ansible_collections.lading.oci.plugins.module_utils._oci.unpack import (
    Line,
    Pull,
    UnpackPlan,
    apply_unpack,
    plan_unpack,
    standing,
    stats_of,
)

LAYOUTS = ("oci:", "oci-archive:")


def folder_path(dest: str) -> str:
    """The absolute path that ``dest`` means. Raises InvalidError when it is a layout reference."""
    if dest.startswith(LAYOUTS):
        raise InvalidError(f"dest is a folder for files, and {dest} is a layout: lading.oci.oci_copy writes layouts")
    return os.path.abspath(dest)


def wanted_of(params: t.Mapping[str, t.Any]) -> Wanted:
    """What of the artifact the task asks for."""
    return Wanted(
        untitled=params["untitled"],
        include=params["include"],
        exclude=params["exclude"],
        media_types=params["media_types"],
        names=params["names"],
        config=params["config"],
        subject=params["include_subject"],
        platform=parse_platform(params["platform"]) if params["platform"] is not None else None,
    )


def octal_mode(mode: t.Union[str, int, None]) -> t.Optional[int]:
    """Permission bits that new files can have from the start; None when there are none, or when they are relative (u+x)."""
    try:
        return None if mode is None else (mode if isinstance(mode, int) else int(mode, 8)) & 0o777
    except ValueError:
        return None


def set_attributes(module: AnsibleModule, pull: Pull, plan: UnpackPlan) -> t.Dict[Item, t.List[Line]]:
    """Mode, owner, group and the like of what stands there; the items that this changed, and how.

    What is yet to be written has none: check mode does not look at it.
    """
    found: t.Dict[Item, t.List[Line]] = {}
    arguments = module.load_file_common_arguments(module.params, path=pull.destination.path)
    for one in plan.items:
        if one.changed and module.check_mode:
            continue
        for parts, is_file in standing(pull, one.item):
            # Never expanded: a title may well have a dollar sign.
            wanted = dict(arguments, path=os.path.join(pull.destination.path, *parts))
            if not is_file:
                wanted.update(mode=None, attributes=None)
            diff: t.Dict[str, t.Dict[str, t.Any]] = {}
            if module.set_fs_attributes_if_different(wanted, False, diff, expand=False):
                before, after = (" ".join(f"{key} {value}" for key, value in diff.get(side, {}).items()) for side in ("before", "after"))
                found.setdefault(one.item, []).append(Line("/".join(parts), before, after))
    return found


def result_of(pull: Pull, plan: UnpackPlan, attributes: t.Mapping[Item, t.Sequence[Line]]) -> t.Dict[str, t.Any]:
    """What the module returns, all but ``reference`` and the requests."""
    lines = [line for one in plan.items for line in (*one.lines, *(() if one.changed else attributes.get(one.item, ())))]
    root, path = plan.selection.root, pull.destination.path
    result = {
        "changed": plan.changed or bool(attributes),
        "digest": root.digest,
        "media_type": root.media_type,
        "files": [
            {
                "path": os.path.join(path, *one.item.parts),
                "title": one.item.title,
                "state": "directory" if one.item.folder else "file",
                "digest": one.item.desc.digest,
                "size": one.item.desc.size,
                "media_type": one.item.desc.media_type,
                "changed": one.changed or one.item in attributes,
            }
            for one in plan.items
        ],
        "skipped_layers": [desc.digest for desc in plan.selection.skipped],
        "diff": {
            "before_header": path,
            "after_header": path,
            "before": "".join(f"{printable(line.path)}: {printable(line.before)}\n" for line in lines),
            "after": "".join(f"{printable(line.path)}: {printable(line.after)}\n" for line in lines),
        },
    }
    if plan.selection.skipped:
        types = ", ".join(dict.fromkeys(desc.media_type for desc in plan.selection.skipped))
        result["msg"] = (
            f'Skipped {len(plan.selection.skipped)} layers without a file name in "org.opencontainers.image.title" ({types}). '
            "Give them file names with names, pull them as files that are named by their digests with untitled=digest, "
            "or copy all layers into a layout with lading.oci.oci_copy (dest: oci:PATH)."
        )
    return result


def run(module: AnsibleModule) -> None:
    """Plan, apply unless in check mode, report."""
    params = module.params
    at_least(1, concurrency=params["concurrency"], **params["unpack_limits"])
    dest = folder_path(params["dest"])
    reference, source = open_source(module, params["src"], params["src_ref"], params["src_registry"])
    receipt = Receipt(dest, module.warn)
    pinned = receipt.root(reference.digest) if reference.digest is not None else None
    selection = select(source, pinned or source.resolve(reference.target), receipt, wanted_of(params))
    destination, limits = Destination(dest, octal_mode(params["mode"])), Limits(**params["unpack_limits"])
    with FolderBlobs(source, destination, receipt, limits, keep=not module.check_mode) as blobs:
        pull = Pull(source, selection, destination, blobs, limits, modes=params["mode"] is None)
        plan = plan_unpack(pull)
        if plan.changed and not module.check_mode:
            plan = apply_unpack(plan, pull, params["concurrency"])
        if not module.check_mode:
            receipt.remember(selection.root, selection.manifests, blobs.listings)
        result = result_of(pull, plan, set_attributes(module, pull, plan))
    module.exit_json(
        reference=f"{reference.name}@{selection.root.digest}",
        stats={**vars(stats_of(plan)), "requests": requests_of(source, None)},
        **({"manifest_digest": selection.pulled.digest} if params["platform"] is not None else {}),
        **result,
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "str", "required": True},
            "src_ref": {"type": "str"},
            "src_registry": side_argument_spec(),
            "dest": {"type": "path", "required": True},
            "untitled": {"type": "str", "choices": list(UNTITLED), "default": "skip"},
            "names": {"type": "dict", "default": {}},
            "include": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "media_types": {"type": "list", "elements": "str", "default": []},
            "config": {"type": "str"},
            "include_subject": {"type": "bool", "default": False},
            "platform": {"type": "str"},
            "concurrency": {"type": "int", "default": 3},
            "unpack_limits": {
                "type": "dict",
                "apply_defaults": True,
                "options": {
                    "bytes": {"type": "int", "default": 68719476736},
                    "ratio": {"type": "int", "default": 200},
                    "entries": {"type": "int", "default": 200000},
                },
            },
            **registries_argument_spec(),
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_pull
short_description: Pull the files of an artifact or the root file system of an image
description:
  - Writes the files that an artifact (Open Container Initiative, not Oracle Cloud) holds below a folder, as C(oras pull) does.
  - A layer with the annotation C(org.opencontainers.image.title) is a file of that name. With the annotation
    C(io.deis.oras.content.unpack) as well it is a folder, which is unpacked.
  - All children of an index are pulled, unless O(platform) chooses one. What a manifest is attached to (its C(subject)) is pulled
    with O(include_subject) only.
  - Files are compared with those on disk by digest. Only what differs is fetched, and it is verified before it appears under its
    name. What is equal is not touched. Files that the artifact does not have stay where they are, unless O(prune=true).
  - Every title and every member of a folder is checked before anything is written. A path that leads out of O(dest), also through
    a symbolic link that stands there, is an error.
  - With O(unpack=rootfs) the layers of an image are unpacked over each other instead, as C(umoci unpack) and container engines do.
notes:
  - What is learned of an artifact (its manifests, what its folders hold) is kept in C(lading-oci/pull) below E(XDG_CACHE_HOME),
    or below C(~/.cache). With that, a run that finds nothing to do is one HEAD request, and none when O(src) has a digest.
    The folder may be removed at any time. Then O(prune) has nothing to go by until files are written again.
  - When a connection breaks, what has come is kept in a file C(.lading-partial-*) in or above the destination, and the next run goes
    on from there. A pull that completes removes such files; they may be removed at any time.
  - When nothing is known of a folder layer, and its folder exists, then the layer is fetched to compare them, in check mode too.
  - Of a folder layer only files, folders and symbolic links within the folder are taken. A hard link becomes a file of its own.
    Anything else is an error. Times, owners and extended attributes are not taken over.
  - A new file gets the mode that the umask allows, in a folder layer that of its member (without setuid, setgid and sticky, not
    writable by group and others), unless O(mode) is given. A file that is replaced keeps its owner, and its mode when it is not
    in a folder layer. A member's execute permission is restored when it is lost, unless O(mode) is given.
  - "With O(unpack=rootfs): layers are applied in their order, with whiteouts, opaque folders and hard links. A symbolic link on the way
    to a member is followed within the root file system, as container engines do. On disk nothing is ever reached through a link.
    Symbolic links are kept as they are: an absolute one is meant to be seen from within that root."
  - "With O(unpack=rootfs): kind, permissions, owner, content, link target, device numbers and the extended attributes that are taken
    over are compared with what stands in O(dest). What differs is repaired. Times are set as in the layers, but another time alone is
    not repaired. All blobs are verified, and all layers are judged, before anything is written."
  - "With O(unpack=rootfs): what was written is kept in C(lading-oci/rootfs) below the same folder as above. When another image is
    unpacked into O(dest) later, what it does not have is removed, if it was written by this module and is still of the same kind.
    Other files stay. Without that record the layers are fetched again to compare, and nothing is removed."
  - "With O(unpack=rootfs): a file or link replaces whatever stands in its place, but a folder that holds files of others is never
    removed. That is an error."
  - "With O(unpack=rootfs): files appear under their names whole. The file system is synced once, at the end. After a power cut during
    the run, run it again."
  - "With O(unpack=rootfs) and a user other than root, the user can always read every file, and enter and change every folder,
    whatever the layers say."
extends_documentation_fragment:
  - ansible.builtin.files
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.attributes.progress
  - lading.oci.registry
  - lading.oci.registry.source
options:
  dest:
    description:
      - The folder to write to. It is created when it is missing, and so are the folders above it.
      - To get a layout instead of files use M(lading.oci.oci_copy).
    type: path
    required: true
  unpack:
    description:
      - What to pull.
      - V(files) writes the files of an artifact, by their titles.
      - V(rootfs) unpacks the layers of an image over each other, so that O(dest) is its root file system. Use a folder that nothing
        else writes to.
      - With V(rootfs) owners and permissions are the image's, see O(rootfs_options). The options O(mode), O(owner), O(group),
        O(attributes), O(seuser), O(serole), O(setype) and O(selevel) are errors then. So are those that choose or name files,
        O(prune) and O(backup). What an image no longer has is always removed, when an earlier run unpacked it.
    type: str
    choices: [files, rootfs]
    default: files
  rootfs_options:
    description:
      - What to take over of an image's root file system. Only with O(unpack=rootfs).
    type: dict
    suboptions:
      devices:
        description:
          - Whether to make devices and FIFOs. That needs root.
          - Otherwise they are left out, with a warning and listed in RV(skipped_entries).
        type: bool
        default: false
      owner:
        description:
          - V(keep) gives everything the user and group numbers of the layers. That needs root.
          - V(current) leaves everything to the user who runs the task.
          - The default is V(keep) for root, V(current) for others.
        type: str
        choices: [keep, current]
      special_bits:
        description:
          - Whether setuid and setgid are kept.
          - The default is V(true) where O(rootfs_options.owner=keep), else V(false).
        type: bool
      xattrs:
        description:
          - Whether extended attributes of the namespace C(user) are set, for root C(security.capability) as well. Others never are.
          - Where the file system has no extended attributes they are left out.
          - The default is V(true) for root, V(false) for others.
        type: bool
  untitled:
    description:
      - What to do with layers that have no title, and no name by O(names), such as the layers of an image.
      - V(skip) leaves them out, and RV(msg) says how to get them. When nothing else is pulled, as of most images, that is a warning.
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
      - When nothing is left, the task fails and lists the titles that there are.
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Do not pull files that match one of these globs, also when O(include) has them.
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
      - Without it all of an index is pulled. With O(unpack=rootfs) it is then asked for V(host), and an image that is no index is taken
        whatever it is for.
    type: str
  prune:
    description:
      - Remove files that an earlier pull from this source into O(dest) wrote and that the artifact no longer has, members of folder
        layers too. Folders that such a pull made are removed when nothing else is in them.
      - The source is the repository or the layout's path, whatever the tag or digest. Files that pulls from other sources wrote are
        not touched, nor files that nobody pulled.
      - A file that was changed since it was pulled stays, with a warning. From then on it is taken for yours.
      - Titles that O(include), O(exclude) and O(media_types) leave out are still in the artifact, so they are not removed. Files
        that got their name from O(names), O(untitled) or O(config) are removed when that name is not given any more.
      - What was written is known from the cache that the notes tell of. Without it nothing is removed.
    type: bool
    default: false
  backup:
    description:
      - Keep a file that is replaced by other content, or removed by O(prune), beside its place, as C(NAME.PID.DATE~).
      - Links and folders are not kept.
    type: bool
    default: false
  concurrency:
    description:
      - How many files are fetched at the same time.
    type: int
    default: 8
  unpack_limits:
    description:
      - Bounds for each folder that is unpacked, with O(unpack=rootfs) for all layers together. Beyond them the task fails before
        anything is written.
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
    concurrency: 16
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

- name: Only the pages, as they are in this version; pages of an earlier one go, and what is replaced is kept
  lading.oci.oci_pull:
    src: registry.example.com/team/pages:2
    dest: /srv/pages
    media_types:
      - text/html
    exclude:
      - drafts/**
    prune: true
    backup: true

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

- name: The root file system of an image, with its owners
  lading.oci.oci_pull:
    src: oci:/srv/images/hello-world.tar:v1
    dest: /opt/rootfs/hello-world
    unpack: rootfs

- name: The root file system for another platform, all of it owned by whoever runs this
  lading.oci.oci_pull:
    src: oci:/srv/images/hello-world.tar:v1
    dest: /opt/rootfs/hello-world-amd64
    unpack: rootfs
    platform: linux/amd64
    rootfs_options:
      owner: current
      special_bits: false
"""

RETURN = r"""
digest:
  description: The digest of the manifest or index that O(src) means.
  returned: success
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
reference:
  description: The source with that digest, as it can be given as O(src) again.
  returned: success
  type: str
  sample: localhost:5000/site@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
media_type:
  description: The media type of the manifest or index.
  returned: success
  type: str
  sample: application/vnd.oci.image.manifest.v1+json
files:
  description: The files and folders that the artifact holds, in its order.
  returned: with O(unpack=files)
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
removed:
  description: The files, links and folders that O(prune) removed, or would remove in check mode.
  returned: success
  type: list
  elements: str
  sample: ["/opt/site/old.conf"]
backup_files:
  description: The files that O(backup) kept, under their new names.
  returned: when there are such files, not in check mode
  type: list
  elements: str
  sample: ["/opt/site/site.conf.4711.2026-01-31@12:00:00~"]
skipped_layers:
  description: The digests of layers without a title, which were left out.
  returned: with O(unpack=files)
  type: list
  elements: str
manifest_digest:
  description: The digest of the manifest that O(platform) chose. It differs from RV(digest) when that is an index.
  returned: when O(platform) is given, and with O(unpack=rootfs)
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
platform:
  description: What the image is for.
  returned: with O(unpack=rootfs)
  type: str
  sample: linux/amd64
entries:
  description: How many paths the root file system has, by kind (C(files), C(folders), C(links), C(devices)).
  returned: with O(unpack=rootfs)
  type: dict
  sample: {"files": 412, "folders": 71, "links": 398, "devices": 0}
changes:
  description: What was changed, or would be, in order. The first 1000 paths.
  returned: with O(unpack=rootfs)
  type: list
  elements: dict
  contains:
    path:
      description: Below O(dest). C(.) is O(dest) itself.
      type: str
      sample: etc/passwd
    before:
      description: What stood there, or V(absent).
      type: str
      sample: file 0600 0:0 12 bytes
    after:
      description: What stands there now, or V(absent).
      type: str
      sample: hard link to usr/bin/perl
changes_count:
  description: How many paths were changed, or would be.
  returned: with O(unpack=rootfs)
  type: int
skipped_entries:
  description: Devices and FIFOs of the image that were left out. The first 1000.
  returned: with O(unpack=rootfs)
  type: list
  elements: str
msg:
  description: How to get the layers that were left out.
  returned: with O(unpack=files), when there are such layers
  type: str
stats:
  description:
    - What was transferred. In check mode, what the run would transfer, with what the check itself had to fetch.
  returned: success
  type: dict
  contains:
    blobs_transferred:
      description: Layers that were fetched, with O(unpack=rootfs) the image's configuration as well.
      type: int
    blobs_mounted:
      description: Always 0. There for likeness with M(lading.oci.oci_copy).
      type: int
    blobs_present:
      description: Layers whose files were found in O(dest) as they should be. With O(unpack=rootfs), layers that were not needed.
      type: int
    manifests_transferred:
      description: Manifests and indexes that were read from the source, and configurations that O(platform) had to look into.
      type: int
    bytes_transferred:
      description: Bytes of the layers that were fetched and of the manifests that were read.
      type: int
    bytes_mounted:
      description: Always 0.
      type: int
    bytes_present:
      description: Bytes of the layers that blobs_present counts.
      type: int
    requests:
      description: HTTP requests made, by side (C(source), C(destination)) and verb. In check mode, those that the check made.
      type: dict
      sample: {"source": {"HEAD": 1}, "destination": {}}
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
from ansible_collections.lading.oci.plugins.module_utils._oci.pruning import PrunePlan, Written
from ansible_collections.lading.oci.plugins.module_utils._oci.receipt import Receipt
from ansible_collections.lading.oci.plugins.module_utils._oci.selection import UNTITLED, Item, Selection, Wanted, select
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, printable
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import check_path
from ansible_collections.lading.oci.plugins.module_utils._oci.stats import requests_of
from ansible_collections.lading.oci.plugins.module_utils._oci.unpack import (
    Line,
    Pull,
    UnpackPlan,
    apply_unpack,
    plan_unpack,
    standing,
    stats_of,
)

if t.TYPE_CHECKING:
    from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform

LAYOUTS = ("oci:", "oci-archive:")
FOR_ROOTFS = ("rootfs_options",)
ATTRIBUTES = ("mode", "owner", "group", "attributes", "seuser", "serole", "setype", "selevel")
FOR_FILES = ("untitled", "names", "include", "exclude", "media_types", "config", "include_subject", "prune", "backup", *ATTRIBUTES)


def folder_path(dest: str) -> str:
    """The absolute path that ``dest`` means. Raises InvalidError when it is a layout reference."""
    if dest.startswith(LAYOUTS):
        raise InvalidError(f"dest is a folder for files, and {dest} is a layout: lading.oci.oci_copy writes layouts")
    check_path("dest", dest)
    return os.path.abspath(dest)


def wanted(params: t.Mapping[str, t.Any]) -> Wanted:
    """What of the artifact the task asks for."""
    return Wanted(
        untitled=params["untitled"],
        include=params["include"],
        exclude=params["exclude"],
        media_types=params["media_types"],
        names=params["names"],
        config=params["config"],
        subject=params["include_subject"],
        platform=platform_of(params["platform"]),
    )


def platform_of(text: t.Optional[str]) -> t.Optional[Platform]:
    if text is None:
        return None
    from ansible_collections.lading.oci.plugins.module_utils._oci.platforms import parse_platform  # each run compiles what it imports

    return parse_platform(text)


def octal_mode(mode: t.Union[str, int, None]) -> t.Optional[int]:
    """Permission bits that new files can have from the start; None when there are none, or when they are relative (u+x)."""
    try:
        return None if mode is None else (mode if isinstance(mode, int) else int(mode, 8)) & 0o777
    except ValueError:
        return None


@contextlib.contextmanager
def naming(module: AnsibleModule, wanted: t.Mapping[str, t.Any]) -> t.Iterator[None]:
    """Let Ansible's own errors, as "chown failed", say of which file, and what was wanted."""
    fail = module.fail_json

    def fail_with_path(msg: str, **more: t.Any) -> t.NoReturn:
        asked = "".join(f", {name}: {wanted[name]}" for name in ("owner", "group", "mode") if wanted[name] is not None)
        hint = f" (the task runs as user {os.geteuid()}: is become needed?)" if os.geteuid() else ""
        fail(msg=printable(f"destination {wanted['path']}{asked}: {msg}{hint}"), **more)

    module.fail_json = fail_with_path  # type: ignore[method-assign]
    try:
        yield
    finally:
        module.fail_json = fail  # type: ignore[method-assign]


def set_attributes(module: AnsibleModule, pull: Pull, plan: UnpackPlan) -> t.Dict[Item, t.List[Line]]:
    """Mode, owner, group and the like of what stands there; the items that this changed, and how.

    What is yet to be written has none: check mode does not look at it.
    """
    found: t.Dict[Item, t.List[Line]] = {}
    if all(module.params[name] is None for name in ATTRIBUTES):
        return found
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
            with naming(module, wanted):
                differs = module.set_fs_attributes_if_different(wanted, False, diff, expand=False)
            if differs:
                before, after = (" ".join(f"{key} {value}" for key, value in diff.get(side, {}).items()) for side in ("before", "after"))
                found.setdefault(one.item, []).append(Line("/".join(parts), before, after))
    return found


def warn_of_kept(module: AnsibleModule, written: Written, pruned: PrunePlan, dest: str) -> None:
    """Say what ``prune`` did not remove, although it might be expected to."""
    if not written.known and os.path.isdir(dest):
        module.warn(f"prune removed nothing from {dest}: what earlier pulls from this source wrote there, if any did, is not known")
    for parts in pruned.changed_since:
        module.warn(
            printable(f"{os.path.join(dest, *parts)} is not in the artifact any more, and was changed since it was pulled: it stays")
        )


def result_of(pull: Pull, plan: UnpackPlan, pruned: PrunePlan, attributes: t.Mapping[Item, t.Sequence[Line]]) -> t.Dict[str, t.Any]:
    """What the module returns, all but ``reference`` and the requests."""
    lines = [line for one in plan.items for line in (*one.lines, *(() if one.changed else attributes.get(one.item, ())))]
    lines += [removal.line for removal in pruned.removals]
    root, path = plan.selection.root, pull.destination.path
    result = {
        "changed": plan.changed or pruned.changed or bool(attributes),
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
        "removed": [os.path.join(path, *removal.parts) for removal in pruned.removals],
        "skipped_layers": [desc.digest for desc in plan.selection.skipped],
        "diff": {
            "before_header": path,
            "after_header": path,
            "before": "".join(f"{printable(line.path)}: {printable(line.before)}\n" for line in lines),
            "after": "".join(f"{printable(line.path)}: {printable(line.after)}\n" for line in lines),
        },
    }
    if pull.destination.backups:
        result["backup_files"] = sorted(pull.destination.backups)
    if plan.selection.skipped:
        result["msg"] = about_skipped(plan.selection)
    return result


def about_skipped(selection: Selection) -> str:
    """What to do about layers that have no file name."""
    types = ", ".join(dict.fromkeys(desc.media_type for desc in selection.skipped))
    image = "Unpack the image's root file system with unpack=rootfs. Or give" if selection.image else "Give"
    return (
        f'Skipped {len(selection.skipped)} layers without a file name in "org.opencontainers.image.title" ({types}). '
        f"{image} them file names with names, pull them as files that are named by their digests with untitled=digest, "
        "or copy all layers into a layout with lading.oci.oci_copy (dest: oci:PATH)."
    )


def run(module: AnsibleModule) -> None:
    """Plan, apply unless in check mode, report."""
    params = module.params
    refuse_options(params, FOR_ROOTFS, "unpack=files")
    at_least(1, concurrency=params["concurrency"], **params["unpack_limits"])
    dest = folder_path(params["dest"])
    reference, source = open_source(module, params["src"], params["src_ref"], params["src_registry"])
    receipt = Receipt(dest, module.warn)
    pinned = receipt.root(reference.digest) if reference.digest is not None else None
    selection = select(source, pinned or source.resolve(reference.target), receipt, wanted(params))
    if selection.skipped and not selection.items:
        module.warn(f"{source.location}: there is no file to pull. {about_skipped(selection)}")
    destination = Destination(dest, octal_mode(params["mode"]), params["backup"])
    limits, written, pruned = Limits(**params["unpack_limits"]), Written(receipt, reference.name), PrunePlan()
    with FolderBlobs(source, destination, receipt, limits, keep=not module.check_mode) as blobs:
        pull = Pull(source, selection, destination, blobs, modes=params["mode"] is None, announce=written.announce)
        plan = plan_unpack(pull)
        if params["prune"]:
            pruned = written.plan(pull, params["backup"])
            warn_of_kept(module, written, pruned, dest)
        if plan.changed and not module.check_mode:
            plan = apply_unpack(plan, pull, params["concurrency"])
        if pruned.changed and not module.check_mode:
            pruned = written.apply(pull, params["backup"])
        if not module.check_mode:
            written.finish(pull, pruned)
            receipt.remember(selection.root, selection.manifests, blobs.listings)
            destination.clear_partials(item.desc for item in selection.items if item.folder)
        result = result_of(pull, plan, pruned, set_attributes(module, pull, plan))
    module.exit_json(
        reference=f"{reference.name}@{selection.root.digest}",
        stats={**vars(stats_of(plan)), "requests": requests_of(source, None)},
        **({"manifest_digest": selection.pulled.digest} if params["platform"] is not None else {}),
        **result,
    )


def refuse_options(params: t.Mapping[str, t.Any], names: t.Iterable[str], mode: str) -> None:
    """Raises InvalidError for an option that the mode has no use for."""
    for name in names:
        value = params[name]
        if value is not None and value is not False and value not in ([], {}, "skip"):
            raise InvalidError(f"{name} is given, which does nothing with {mode}")


def run_rootfs(module: AnsibleModule) -> None:
    """As ``run``, for the root file system of an image."""
    # What unpacking files needs none of, and is as large as what it needs: each run compiles what it imports.
    from ansible_collections.lading.oci.plugins.module_utils._oci.documents import Documents
    from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.apply import apply_rootfs
    from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.image import read_image
    from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.layers import Layers
    from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.plan import Unpacking, plan_rootfs
    from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.receipt import Receipt as RootfsReceipt
    from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.report import policy_of
    from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.report import result_of as rootfs_result_of
    from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.report import stats_of as rootfs_stats_of

    params = module.params
    refuse_options(params, FOR_FILES, "unpack=rootfs")
    at_least(1, concurrency=params["concurrency"], **params["unpack_limits"])
    policy = policy_of(params["rootfs_options"] or {})
    platform = platform_of(params["platform"])
    dest, limits = folder_path(params["dest"]), Limits(**params["unpack_limits"])
    reference, source = open_source(module, params["src"], params["src_ref"], params["src_registry"])
    receipt = RootfsReceipt(dest, module.warn)
    pinned = receipt.root(reference.digest) if reference.digest is not None else None
    documents = Documents(source, receipt.document)
    image = read_image(source, pinned or source.resolve(reference.target), documents, platform)
    destination = Destination(dest)
    with Layers(source, image, limits, None if module.check_mode else destination) as layers:
        work = Unpacking(image, layers, policy, destination, receipt, documents.contents, params["concurrency"])
        plan = plan_rootfs(work)
        if not module.check_mode:
            plan = apply_rootfs(work, plan)
            destination.clear_partials(image.layers)
        stats = rootfs_stats_of(work, plan, documents)
    if plan.skipped:
        module.warn(f"{len(plan.skipped)} devices and FIFOs of the image were left out: rootfs_options.devices makes them, as root")
    module.exit_json(
        reference=f"{reference.name}@{image.root.digest}",
        stats={**vars(stats), "requests": requests_of(source, None)},
        **rootfs_result_of(work, plan),
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "str", "required": True},
            "src_ref": {"type": "str"},
            "src_registry": side_argument_spec(),
            "dest": {"type": "path", "required": True},
            "unpack": {"type": "str", "choices": ["files", "rootfs"], "default": "files"},
            "rootfs_options": {
                "type": "dict",
                "options": {
                    "devices": {"type": "bool", "default": False},
                    "owner": {"type": "str", "choices": ["keep", "current"]},
                    "special_bits": {"type": "bool"},
                    "xattrs": {"type": "bool"},
                },
            },
            "untitled": {"type": "str", "choices": list(UNTITLED), "default": "skip"},
            "names": {"type": "dict", "default": {}},
            "include": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "media_types": {"type": "list", "elements": "str", "default": []},
            "config": {"type": "str"},
            "include_subject": {"type": "bool", "default": False},
            "platform": {"type": "str"},
            "prune": {"type": "bool", "default": False},
            "backup": {"type": "bool", "default": False},
            "concurrency": {"type": "int", "default": 8},
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
        (run_rootfs if module.params["unpack"] == "rootfs" else run)(module)


if __name__ == "__main__":
    main()

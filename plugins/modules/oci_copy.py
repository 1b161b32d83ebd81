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
  - The digest is kept, unless O(platforms), O(format) or O(compression) ask for something else. An index is copied with all its
    children.
  - With O(all_tags) or O(tags_matching) many tags of a repository or layout are copied, each under its own name.
  - A source layout that does not exist is an error in a run. In check mode it is a warning, and the copy would be a change, because an
    earlier task may make it.
  - When a connection breaks, what has come for a layout is kept in a file C(.lading-partial-*) in the layout's folder, or beside the
    tar, and the next run goes on from there. A copy that completes removes it; it may be removed at any time.
  - What the destination has is neither read nor sent. When its tags are right already, one HEAD request per tag is all, unless an option
    has to look at more (O(platforms), O(format), O(compression), O(referrers), O(digest_tags), O(deep)).
extends_documentation_fragment:
  - lading.oci.attributes
  - lading.oci.attributes.actiongroup_registry
  - lading.oci.attributes.progress
  - lading.oci.registry
  - lading.oci.registry.source
  - lading.oci.registry.destination
options:
  dest:
    description:
      - Where to copy to, in the same forms, but for V(docker-archive:) and V(@N). A layout that does not exist is made, as a tar when its
        path ends in V(.tar) or O(dest) starts with V(oci-archive:). Folders above it that are missing are made, too.
      - Without a tag or ref here, in O(dest_ref) or in O(tags), the content is only reachable by its digest. In a registry the task warns
        of that, unless O(dest) or O(src) has a digest.
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
  force_tag:
    description:
      - Whether a tag or ref of the destination that names something else is moved. With V(false) that is an error, and nothing is
        copied.
    type: bool
    default: true
  all_tags:
    description:
      - Copy all tags or refs of O(src), which then names a repository or a layout without a tag, and so does O(dest).
      - Tags that hold lists of referrers (C(sha256-<hex>)) are not meant. They follow from O(referrers).
    type: bool
    default: false
  tags_matching:
    description:
      - As O(all_tags), for the tags that match. When none does the task warns of it, and copies nothing.
      - A regular expression that has to match the whole tag, for example V(v1[.][0-9]+).
      - Or V(semver:) and a range of versions, for example V(semver:>=1.2 <2), V(semver:^1.4), V(semver:~1.2.3) or V(semver:1.x || 3.x).
        Tags that are no versions are left out. So are pre-releases, unless the range names one of the same version.
    type: str
  prune:
    description:
      - Whether tags or refs of the destination are removed that match O(tags_matching) (with O(all_tags), all of them) and that O(src)
        does not have. The manifests that they name are not deleted from a registry.
      - Not every registry can delete a tag. One that cannot fails the task, when everything has been copied.
    type: bool
    default: false
  platforms:
    description:
      - Copy only these platforms of an index, as C(os/architecture) or C(os/architecture/variant). V(host) is Linux on the target's
        own processor.
      - With one platform its manifest is what the tags name.
      - With several it is an index with these platforms and their attestations. It has another digest, unless O(src) has no others.
      - A platform that O(src) does not have is an error.
    type: list
    elements: str
    default: []
  referrers:
    description:
      - Whether what is attached to the image travels with it, such as signatures, SBOMs and attestations. That is what names it, or one
        of its platforms, as its C(subject), and what is attached to that.
      - Lists of referrers are read and written through the registry's Referrers API, or under the tags that stand in for it. In a
        layout they are found by the C(subject) of its manifests and under such tags.
      - Cannot be given with O(format) or O(compression).
    type: bool
    default: false
  artifact_types:
    description:
      - With O(referrers), the artifact types that are copied. All when empty.
      - What is attached to a referrer is copied with it, whatever its type.
    type: list
    elements: str
    default: []
  digest_tags:
    description:
      - Whether tags that begin with a digest of the image travel with it, as C(sha256-<hex>.sig), under which older versions of C(cosign)
        keep signatures. The tags of O(src) are listed for that.
    type: bool
    default: false
  format:
    description:
      - V(docker) makes manifests of Docker's media types, V(oci) those of OCI. The digest changes, the image's ID does not.
      - An image that has the format is copied as it is. Docker's format has no annotations, no attestations, no artifacts and no layers
        of zstd.
      - Attestations of a manifest whose digest changes are left out (RV(dropped)).
    type: str
    choices: [oci, docker]
  compression:
    description:
      - Compress the layers anew that are compressed otherwise. The digest changes, the image's ID does not.
      - A layer that an image at the destination has in this form already, by the digest of its content, is taken from there.
      - To know the digest, check mode has to read and compress layers as well. It keeps nothing of them.
      - V(zstd) needs a library on the target (C(backports.zstd) or C(zstandard)), unless its Python is 3.14 or newer.
    type: str
    choices: [gzip, zstd, none]
  compression_level:
    description:
      - The level of O(compression), 1 to 9 for V(gzip), 1 to 19 for V(zstd). It does not cause layers to be compressed anew.
    type: int
  nondistributable:
    description:
      - Whether non-distributable (foreign) layers are copied too, when O(src) has them. Their URLs are never followed.
    type: bool
    default: false
  deep:
    description:
      - Read and hash everything that the destination has of it, and repair what is damaged or lost.
      - An ordinary run takes a manifest that a registry has as proof of all below it. In a layout it sees to it that all below it is there
        with its size, and hashes what a new manifest is to name.
      - That reads all bytes at the destination.
    type: bool
    default: false
  hardlinks:
    description:
      - Whether a blob that goes from one layout folder to another on the same file system may be one file with two names, after it was
        hashed. Where the file system shares blocks of files (reflinks of Btrfs and XFS) that is done instead, whatever this says.
      - Only files of the user that the module runs as, which nobody else can write to, get a second name. Others are copied, and so
        is everything else.
      - Blobs of a layout are never written to again. Set this to V(false) for a copy that has to outlive damage to the disk, or
        tools that do not keep to that.
    type: bool
    default: true
  concurrency:
    description:
      - How many blobs are looked up and transferred at the same time.
      - On a fast link two or three are enough, and more do no harm; on one of 50 ms, many small blobs take half the time with eight
        that they take with three. The measurements are in the collection's documentation on performance.
    type: int
    default: 8
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

- name: Two platforms of an index, with signatures and SBOMs
  lading.oci.oci_copy:
    src: registry.example.com/team/multi:1.4
    dest: edge.example.com:5000/team/multi:1.4
    platforms: [linux/amd64, linux/arm64]
    referrers: true

- name: The image for this host only, into a layout
  lading.oci.oci_copy:
    src: registry.example.com/team/multi:1.4
    dest: oci:/srv/mirror/multi:1.4
    platforms: [host]

- name: A repository into one layout tar, for the other side of an air gap
  lading.oci.oci_copy:
    src: registry.example.com/team/releases
    dest: oci:/srv/mirror/releases.tar
    all_tags: true
    referrers: true

- name: And on the other side into the registry there, all releases from 1.2 on
  lading.oci.oci_copy:
    src: oci:/srv/mirror/releases.tar
    dest: edge.example.com:5000/team/releases
    tags_matching: "semver:>=1.2"

- name: A layout folder that has just the releases of 1.x
  lading.oci.oci_copy:
    src: registry.example.com/team/releases
    dest: oci:/srv/mirror/releases
    tags_matching: "semver:1.x"
    prune: true

- name: For an old engine, in Docker's format
  lading.oci.oci_copy:
    src: registry.example.com/team/multi:1.4
    dest: edge.example.com:5000/team/old:1.4
    format: docker

- name: Smaller layers for a slow link
  lading.oci.oci_copy:
    src: registry.example.com/team/multi:1.4
    dest: oci:/srv/mirror/small.tar:1.4
    platforms: [linux/arm64]
    compression: zstd
    compression_level: 19

- name: A release is never overwritten
  lading.oci.oci_copy:
    src: registry.example.com/team/app:1.4
    dest: edge.example.com:5000/team/app:1.4.0
    force_tag: false

- name: After a disk fault, read everything again and repair it
  lading.oci.oci_copy:
    src: registry.example.com/team/app:1.4
    dest: oci:/srv/mirror/app:1.4
    deep: true

- name: One of several images that docker save wrote
  lading.oci.oci_copy:
    src: docker-archive:/srv/images/saved.tar:example.com/app:1.4
    dest: localhost:5000/app:1.4
    dest_registry:
      plain_http: true

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
  description:
    - The digest of the manifest or index that the destination has. Null in check mode when the source layout does not exist yet.
  returned: when one tag is copied
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
source_digest:
  description:
    - The digest of the manifest or index that O(src) names. Another one than RV(digest) when O(platforms), O(format) or O(compression)
      changed something.
  returned: when one tag is copied
  type: str
  sample: sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
reference:
  description: The destination with that digest, as it can be given as a source again.
  returned: when one tag is copied
  type: str
  sample: localhost:5000/hello-artifact@sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b
media_type:
  description: The media type of the manifest or index. Null in check mode when the source layout does not exist yet.
  returned: when one tag is copied
  type: str
  sample: application/vnd.oci.image.index.v1+json
tags:
  description:
    - Each tag or ref of the destination, with the digest that it named before (null when there was none) and after (null when it was
      removed).
  returned: success
  type: dict
  sample: {"v1": {"before": null, "after": "sha256:9c5b2a0ae3a8a3b0ad6f8a2ff5dbf1d0bde6b1f5d0be6d8ad1b1e7bf0f5a6f0b"}}
copies:
  description: Each tag that was copied, in the order of O(src).
  returned: when O(all_tags) or O(tags_matching) is given
  type: list
  elements: dict
  contains:
    tag:
      description: The tag.
      type: str
    changed:
      description: Whether something was transferred for it, or the tag was set. In check mode, whether it would be.
      type: bool
    digest:
      description: The digest that it names now.
      type: str
    before:
      description: The digest that it named before, or null.
      type: str
    source_digest:
      description: The digest that it names in O(src).
      type: str
    reference:
      description: The destination with the digest.
      type: str
    media_type:
      description: The media type of the manifest or index.
      type: str
    stats:
      description: As RV(stats), without the requests. What several tags share is counted for the first.
      type: dict
referrers:
  description: What is attached to what was copied, when O(referrers) or O(digest_tags) is given.
  returned: success
  type: list
  elements: dict
  contains:
    digest:
      description: The digest of the referrer.
      type: str
    artifact_type:
      description: Its artifact type.
      type: str
    subject:
      description: The digest that it is attached to.
      type: str
    changed:
      description: Whether it was copied. In check mode, whether it would be.
      type: bool
dropped:
  description:
    - The digests of attestations that were left out, because the manifest that they speak of has another digest now, or because
      O(format=docker) has no place for them.
  returned: success
  type: list
  elements: str
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
      description:
        - Blobs that the registry took over from another of its repositories, or that a layout folder took over from another one on the
          same file system (O(hardlinks)).
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
interrupted:
  description: True. The next run takes up what was begun, or begins anew.
  returned: when a signal (Ctrl-C, SIGTERM, SIGHUP) ended the task
  type: bool
  sample: true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lading.oci.plugins.module_utils._oci.conversion import Conversion
from ansible_collections.lading.oci.plugins.module_utils._oci.copy import CopyOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.copy_results import item_result, items_result, root_result
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
from ansible_collections.lading.oci.plugins.module_utils._oci.results import check_digest, checked_tags, unmade_result
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import LayoutReference, Reference

if t.TYPE_CHECKING:
    from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Spool
    from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform

FORMATS = {"oci": False, "docker": True}


def wanted_of(params: t.Dict[str, t.Any]) -> Wanted:
    """The options of the task, checked. Raises InvalidError."""
    at_least(1, concurrency=params["concurrency"])
    compression, level = params["compression"], params["compression_level"]
    if level is not None:
        check_compression_level(compression, level)
    return Wanted(
        options=CopyOptions(params["concurrency"], params["nondistributable"], params["deep"], params["hardlinks"]),
        platforms=platforms_of(params["platforms"]),
        conversion=Conversion(FORMATS.get(params["format"] or ""), compression, level),
        referrers=params["referrers"],
        artifact_types=tuple(params["artifact_types"]),
        digest_tags=params["digest_tags"],
        force_tag=params["force_tag"],
    )


def check_compression_level(compression: t.Optional[str], level: int) -> None:
    from ansible_collections.lading.oci.plugins.module_utils._oci.content.compression import check_level

    if compression is None:
        raise InvalidError("compression_level needs compression")
    check_level(compression, level, "compression_level")


def platforms_of(texts: t.Sequence[str]) -> t.Tuple[Platform, ...]:
    if not texts:
        return ()
    from ansible_collections.lading.oci.plugins.module_utils._oci.platforms import parse_platform

    return tuple(dict.fromkeys(parse_platform(text) for text in texts))


def spool_for(wanted: Wanted, dest: Reference, check_mode: bool) -> t.Optional[Spool]:
    """Where layers that are compressed anew are kept; None when there are none."""
    if wanted.conversion.compression is None:
        return None
    import tempfile

    from ansible_collections.lading.oci.plugins.module_utils._oci.content.overlay import Spool

    near = dest.path if isinstance(dest, LayoutReference) else tempfile.gettempdir()
    return Spool(None if check_mode else near)


def check_many(params: t.Dict[str, t.Any], src: Reference, dest: Reference) -> bool:
    """Whether many tags are copied. Raises InvalidError for options that then make no sense, and for ``prune`` when they are not."""
    if params["all_tags"] and params["tags_matching"] is not None:
        raise InvalidError("all_tags and tags_matching exclude each other")
    many = params["all_tags"] or params["tags_matching"] is not None
    if params["prune"] and not many:
        raise InvalidError("prune needs all_tags or tags_matching: without them it is not known which tags ought to be there")
    if many and (src.target or dest.target or params["tags"]):
        raise InvalidError("all_tags and tags_matching copy tags under their own names: src, dest and tags must not name any")
    return many


def plan_one(task: CopyTask, params: t.Dict[str, t.Any], src: Reference, dest: Reference) -> None:
    root = task.root(src.target)
    # A digest in dest is compared with what the root becomes, which is known once it is planned.
    names = [*([dest.tag] if dest.tag else []), *params["tags"]]
    item = task.add(root, task.look_up(checked_tags(dest, names)))
    check_digest(dest, item.plan.root)


def plan_many(task: CopyTask, params: t.Dict[str, t.Any], dest: Reference, warn: t.Callable[[str], None]) -> None:
    from ansible_collections.lading.oci.plugins.module_utils._oci.tag_selection import parse_filter

    matches = parse_filter(params["tags_matching"])
    tags = [tag for tag in task.source.names() if matches(tag)]
    if params["prune"] and not tags:
        raise InvalidError(f"{task.source.location} has no tag that is meant: prune would remove all there are at the destination")
    if not tags:
        from ansible_collections.lading.oci.plugins.module_utils._oci.advice import nothing_matches

        warn(nothing_matches(task.source.location, params["tags_matching"]))
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
        unknown = {"source_digest": None, "skipped_layers": [], "dropped": [], "referrers": []}
        module.exit_json(**unknown, **unmade_result(dest, params["tags"], source, target))
    if target.remote and not (many or dest.target or params["tags"] or src.digest):
        from ansible_collections.lading.oci.plugins.module_utils._oci.advice import without_tag

        module.warn(without_tag(target.location))
    task = CopyTask(source, target, wanted, spool_for(wanted, dest, module.check_mode))
    if many:
        plan_many(task, params, dest, module.warn)
    else:
        plan_one(task, params, src, dest)
    outcome = None
    if task.changed and not module.check_mode:
        outcome = task.apply()
    result = items_result(task.items, task.pruned, outcome, dest.name, source, target)
    if many:
        result["copies"] = [item_result(item, outcome, dest.name) for item in task.items]
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
            "hardlinks": {"type": "bool", "default": True},
            "concurrency": {"type": "int", "default": 8},
            **registries_argument_spec(),
        },
        supports_check_mode=True,
    )
    with failing(module):
        run(module)


if __name__ == "__main__":
    main()

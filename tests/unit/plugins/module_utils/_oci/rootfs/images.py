# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of tars that others may write, and the folders that they become."""

from __future__ import annotations

import gzip
import hashlib
import os
import pathlib
import stat
import tarfile
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.destination import Destination
from ansible_collections.lading.oci.plugins.module_utils._oci.documents import Documents
from ansible_collections.lading.oci.plugins.module_utils._oci.plaintar import Limits
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.apply import apply_rootfs
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.entries import Policy
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.image import read_image
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.layers import Layers
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.plan import RootfsPlan, Unpacking, plan_rootfs
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs.receipt import Receipt
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype, strictjson
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.platform import Platform
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.artifacts import Member, MemorySource, member, plain_tar

OWN = (os.geteuid(), os.getegid())
# As an ordinary user the owners are whoever it is; as root the tests set them.
POLICY = Policy(owner=(-1, -1))


def attributed(made: Member, **attributes: t.Any) -> Member:
    """The member with other attributes: uid, gid, mtime, pax_headers, devmajor, devminor."""
    for name, value in attributes.items():
        setattr(made[0], name, value)
    return made


def fifo(name: str) -> Member:
    return member(name, kind=tarfile.FIFOTYPE)


def image(
    source: MemorySource,
    *layers: t.Union[bytes, t.Sequence[Member]],
    platform: str = "",
    pack: t.Callable[[bytes], bytes] = gzip.compress,
    diff_ids: t.Sequence[str] = (),
) -> Descriptor:
    """Of plain tars or of members, the lowest layer first; for this machine and with the true diff_ids unless others are given."""
    tars = [layer if isinstance(layer, bytes) else plain_tar(*layer) for layer in layers]
    stated = (Platform.parse(platform) if platform else Platform.of_host()).to_json()
    true = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]
    config = {**stated, "rootfs": {"type": "layers", "diff_ids": list(diff_ids) or true}}
    descs = [source.add(pack(tar), mediatype.OCI_LAYER_GZIP) for tar in tars]
    return source.artifact(*descs, config=source.add(strictjson.dumps(config), mediatype.OCI_CONFIG))


class Rootfs:
    """One folder that images are unpacked into. ``warnings`` are those of the receipt."""

    def __init__(self, path: pathlib.Path, source: MemorySource, policy: Policy = POLICY, limits: Limits = Limits()) -> None:
        self.path, self.source, self.policy, self.limits = path, source, policy, limits
        self.warnings: t.List[str] = []

    def unpack(self, root: Descriptor, check: bool = False, platform: t.Optional[Platform] = None) -> RootfsPlan:
        destination, receipt = Destination(str(self.path)), Receipt(str(self.path), self.warnings.append)
        documents = Documents(self.source, receipt.document)
        found = read_image(self.source, root, documents, platform)
        with Layers(self.source, found, self.limits, None if check else destination) as layers:
            work = Unpacking(found, layers, self.policy, destination, receipt, documents.contents)
            plan = plan_rootfs(work)
            return plan if check else apply_rootfs(work, plan)

    def state(self) -> t.Dict[str, str]:
        """What stands there, by path: its mode and what it is."""
        return {str(path.relative_to(self.path)): _shown(path) for path in sorted(self.path.rglob("*"))}


def _shown(path: pathlib.Path) -> str:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return f"-> {os.readlink(path)}"
    mode = f"{stat.S_IMODE(found.st_mode):04o}"
    if stat.S_ISDIR(found.st_mode):
        return f"{mode} folder"
    return f"{mode} {path.read_bytes().decode()}" if stat.S_ISREG(found.st_mode) else f"{mode} node"

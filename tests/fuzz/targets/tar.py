# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tars: as a stream and as a file, as the folder of an artifact and as the layer of a root file system."""

from __future__ import annotations

import io

from ansible_collections.lading.oci.plugins.module_utils._oci.content import tar
from ansible_collections.lading.oci.plugins.module_utils._oci.listing import read_listing
from ansible_collections.lading.oci.plugins.module_utils._oci.plaintar import Limits
from ansible_collections.lading.oci.plugins.module_utils._oci.rootfs import members
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor

from .common import allowed, with_checksums


class Stream:
    """What cannot be rewound."""

    def __init__(self, content: bytes) -> None:
        self.read = io.BytesIO(content).read


def one_input(data: bytes) -> None:
    content = with_checksums(data)
    with allowed():
        for entry in tar.TarReader(io.BytesIO(content), len(content)):
            assert 0 <= entry.offset <= entry.offset + entry.size <= len(content)
            if entry.kind.isdigit():
                assert len(tar.encode(entry)) % tar.BLOCK == 0
    with allowed():
        reader = tar.TarReader(Stream(content))
        for entry in reader:
            members.parse_member(entry, 0, reader.read)
    with allowed():
        tar.check_header(content[:512])
    with allowed():
        listing = read_listing(io.BytesIO(content), Descriptor.of(content, mediatype.OCI_LAYER), ("top",), Limits(1 << 24, 200, 1000))
        assert all(".." not in member.path for member in listing)

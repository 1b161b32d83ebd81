# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tars of docker save and layout tars, as the file that a task names."""

from __future__ import annotations

import contextlib
import tempfile
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.content.tar_source import TarSource

from .common import allowed, with_checksums


def one_input(data: bytes) -> None:
    with _file(with_checksums(data)) as path:
        for docker in (False, True):
            with allowed():
                _read(TarSource(path, docker))


@contextlib.contextmanager
def _file(content: bytes) -> t.Iterator[str]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name


def _read(source: TarSource) -> None:
    names = source.names()
    for name in [None, "@0", *names[:4]]:
        with allowed():
            root = source.resolve(name)
            content = source.fetch_bytes(root)
            assert len(content) == root.size
            source.referrers(root)
            source.exists(root)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""A tar to read from, whichever tool has written it: an OCI layout, images of ``docker save``, or both in one (Docker 25 and later)."""

from __future__ import annotations

import os
import threading
import typing as t

from ..spec import manifest, mediatype
from ..spec.descriptor import Descriptor
from ..spec.digest import Digest
from ..spec.errors import InvalidError, NotFoundError, located
from .archive import Archive
from .archive_file import DOCKER_MANIFEST, INDEX, OCI_LAYOUT_FILE, ArchiveFile
from .docker_archive import DockerArchive, full_name
from .store import RawReader, Source


class TarSource(Source):
    """The tar at ``path``, opened at the first look. ``docker``: only what its manifest.json says counts.

    Where a tar is both, the layout is asked first. Docker leaves it without names, or without content, for images that it has not
    pulled; then manifest.json says what there is.
    """

    def __init__(self, path: str, docker: bool = False) -> None:
        self.path = os.path.realpath(path)
        self.location = f"archive {path}"
        self._docker_only = docker
        self._opening = threading.Lock()
        self._opened: t.Optional[t.Tuple[t.Optional[Archive], t.Optional[DockerArchive]]] = None

    @property
    def _sides(self) -> t.Tuple[t.Optional[Archive], t.Optional[DockerArchive]]:
        """The layout and the images of docker save, at least one of them."""
        # A second look would close the first one's file, under threads that read from it.
        with self._opening:
            if self._opened is None:
                self._opened = self._open_sides()
            return self._opened

    def _open_sides(self) -> t.Tuple[t.Optional[Archive], t.Optional[DockerArchive]]:
        file = ArchiveFile(self.path)
        saved = DOCKER_MANIFEST in file.members
        layout = INDEX in file.members and OCI_LAYOUT_FILE in file.members
        if self._docker_only or (not layout and (saved or "repositories" in file.members)):
            return None, self._docker(file)
        side = self._layout(file)
        return side, self._docker_beside(side, file) if saved else None

    def _docker_beside(self, layout: Archive, file: ArchiveFile) -> t.Optional[DockerArchive]:
        """A layout may have any other file (image-layout.md): a manifest.json that is not Docker's does not count, unless it is all."""
        try:
            return self._docker(file)
        except InvalidError:
            if layout.index.entries:
                return None
            raise

    def _layout(self, file: ArchiveFile) -> Archive:
        layout = Archive(self.path, file)
        layout.location = self.location
        return layout

    def _docker(self, file: ArchiveFile) -> DockerArchive:
        with located(self.location):
            docker = DockerArchive(file)
        docker.location = self.location
        return docker

    def _names(self) -> t.List[str]:
        layout, docker = self._sides
        return (layout.names() if layout else []) or (docker.names() if docker else [])

    def _referrers(self, subject: Descriptor) -> t.List[Descriptor]:
        layout, _docker = self._sides
        return layout.referrers(subject) if layout else []

    def _resolve(self, reference: t.Optional[str]) -> Descriptor:
        layout, docker = self._sides
        if docker is None:
            return t.cast(Archive, layout).resolve(reference)
        if layout is None:
            return docker.resolve(reference)
        if reference is None and len(docker.images) > 1:
            docker.resolve(None)  # the layout may name only some of them: which one is meant has to be clear by manifest.json as well
        found = _looked_up(layout, reference)
        if found is not None and _is_whole(layout, found):
            return found
        try:
            return _own_manifest(layout, docker, docker.resolve(reference))
        except NotFoundError:
            if found is None:
                raise
            return found

    def _exists(self, desc: Descriptor) -> bool:
        return any(side.exists(desc) for side in self._sides if side is not None)

    def _open(self, desc: Descriptor) -> RawReader:
        layout, docker = self._sides
        if layout is not None and (docker is None or layout.exists(desc)):
            return layout._open(desc)
        return t.cast(DockerArchive, docker)._open(desc)


def _looked_up(layout: Archive, reference: t.Optional[str]) -> t.Optional[Descriptor]:
    """By the name as it is given, or by the full name that Docker gives it in the layout."""
    names = [reference] if reference is None else [reference, full_name(reference)]
    for name in names:
        try:
            return layout.resolve(name)
        except NotFoundError:
            continue
    return None


def _own_manifest(layout: Archive, docker: DockerArchive, saved: Descriptor) -> Descriptor:
    """The layout's manifest of the image that manifest.json has, or the one made of it where the layout has none.

    Docker saves an index of all platforms with the content of those that it has.
    """
    config = docker.config_of(saved).digest
    for desc in layout.under(*layout.index.descriptors()):
        if _is_image_of(layout, desc, config) and _is_whole(layout, desc):
            return desc
    return saved


def _is_image_of(layout: Archive, desc: Descriptor, config: Digest) -> bool:
    if not mediatype.is_image(desc.media_type) or not layout.exists(desc):
        return False
    found = manifest.parse(desc, layout.fetch_bytes(desc)).config
    return found is not None and found.digest == config


def _is_whole(layout: Archive, root: Descriptor) -> bool:
    """Whether everything under ``root`` is there, but for layers that nobody hands on."""
    return all(layout.exists(desc) or mediatype.is_nondistributable(desc.media_type) for desc in layout.under(root))

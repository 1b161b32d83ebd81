# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Where a build's result stands: a layout tar, a layout folder, names in registries."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ..content.archive import Archive
from ..content.beneath import NewFile, default_mode, folder, sweep
from ..content.layout import Layout
from ..content.store import Source
from ..copy import CopyPlan, apply_copy, plan_copy
from ..spec import mediatype
from ..spec.descriptor import Descriptor
from ..spec.errors import InvalidError, MismatchError, NotFoundError, OCIError, located, storage_errors
from ..spec.reference import RegistryReference
from ..verify import graph, read_whole, verify
from .definition import Output

# Each name of a place with the digest that it has, None when it has none.
Names = t.Dict[str, t.Optional[str]]


class Place(t.Protocol):
    """One output's place."""

    title: str

    def names(self) -> Names:
        """What its names are now."""

    def exists(self) -> bool:
        """Whether there is anything, readable or not."""

    def damage(self) -> t.Optional[str]:
        """Why its content cannot be used, None when it is intact."""

    def receiving(self) -> t.ContextManager[t.Optional[str]]:
        """The tar for BuildKit to write, None when it writes elsewhere; what is not kept is removed."""

    def keep(self) -> bool:
        """Inside of ``receiving``, after the build: the result gets its place, unless what is there is the same (False)."""


class _LayoutPlace:
    """What the two kinds of layout share. BuildKit always writes a tar beside the destination, which only then is put in place."""

    def __init__(self, output: Output) -> None:
        self.path = t.cast(str, output.dest)
        self.title = self.path
        self._output = output
        self._new: t.Optional[NewFile] = None

    def _refs(self) -> t.List[t.Optional[str]]:
        """The refs that BuildKit gives the result: the tags of its names. Without a name it is the only manifest."""
        return list(dict.fromkeys(tag.rpartition(":")[2] for tag in self._output.tags)) or [None]

    def exists(self) -> bool:
        return os.path.lexists(self.path)

    def damage(self) -> t.Optional[str]:
        try:
            self._verify()
        except OCIError as error:
            return str(error)
        return None

    def _verify(self) -> None:
        raise NotImplementedError

    @contextlib.contextmanager
    def receiving(self) -> t.Iterator[t.Optional[str]]:
        parent = os.path.dirname(self.path)
        with located(self.path), storage_errors("writing the result"):
            os.makedirs(parent, exist_ok=True)
        with folder(parent) as parent_fd:
            sweep(parent_fd)
            with NewFile(parent_fd, default_mode()) as new:
                self._new = new
                try:
                    yield os.path.join(parent, new.name)
                finally:
                    self._new = None

    def _built(self) -> Archive:
        return Archive(os.path.join(os.path.dirname(self.path), self._temp().name))

    def _temp(self) -> NewFile:
        if self._new is None:
            raise RuntimeError("a result is kept inside of receiving(), and only there")
        return self._new


class TarPlace(_LayoutPlace):
    """A layout tar. It holds this build's result and nothing else, as buildx writes it."""

    def names(self) -> Names:
        if os.path.isdir(self.path):
            raise InvalidError(f"{self.path} is a folder: tar=false writes a layout folder")
        try:
            return _names_of(Archive(self.path))
        except OCIError:
            # Not there, or not to be read: damage() says which.
            return {}

    def _verify(self) -> None:
        archive = Archive(self.path)
        for desc in archive.index.descriptors():
            verify(archive, desc)

    def keep(self) -> bool:
        built = self._built()
        if _names_of(built) == self.names() and self.damage() is None:
            return False
        with storage_errors("putting the result in place"):
            self._temp().commit(os.path.basename(self.path))
        return True


class FolderPlace(_LayoutPlace):
    """A layout folder, whose other refs stay."""

    def names(self) -> Names:
        if os.path.lexists(self.path) and not os.path.isdir(self.path):
            raise InvalidError(f"{self.path} is not a folder: tar=true writes a layout tar")
        store = Layout(self.path)
        return {ref or "": _digest_of(store, ref) for ref in self._refs()}

    def _verify(self) -> None:
        store = Layout(self.path)
        for ref in self._refs():
            verify(store, store.resolve(ref))

    def keep(self) -> bool:
        built, store = self._built(), Layout(self.path)
        damaged, changed = self.exists() and self.damage() is not None, False
        for ref in self._refs():
            root = built.resolve(ref)
            if damaged:
                changed = _repair(built, root, store, ref) or changed
            plan = plan_copy(built, root, store, [ref] if ref else [])
            apply_copy(plan, built, store)
            changed = changed or plan.changed
        return changed


class RegistryPlace:
    """Names in registries. BuildKit pushes them itself; each is looked up with one HEAD."""

    def __init__(self, repositories: t.Mapping[RegistryReference, Source]) -> None:
        self._repositories = repositories
        self.title = ", ".join(map(str, repositories))

    def names(self) -> Names:
        found: Names = {}
        for name, repository in self._repositories.items():
            desc = repository.lookup(t.cast(str, name.tag))
            found[str(name)] = desc.digest if desc else None
        return found

    def exists(self) -> bool:
        return True

    def damage(self) -> t.Optional[str]:
        return None

    @contextlib.contextmanager
    def receiving(self) -> t.Iterator[t.Optional[str]]:
        yield None

    def keep(self) -> bool:
        """BuildKit has pushed it; its names tell whether that changed anything."""
        return False


def _names_of(archive: Archive) -> Names:
    """Every ref with its digest; a manifest without one under its digest."""
    index = archive.index
    named: Names = {name: archive.resolve(name).digest for name in index.names}
    nameless: Names = {desc.digest: desc.digest for desc in index.descriptors() if desc.digest not in named.values()}
    return {**named, **nameless}


def _digest_of(store: Layout, ref: t.Optional[str]) -> t.Optional[str]:
    try:
        return store.resolve(ref).digest
    except NotFoundError:
        return None


def _repair(built: Archive, root: Descriptor, store: Layout, ref: t.Optional[str]) -> bool:
    """Write again what is not intact under ``root``: a copy takes a blob of the right size for stored, and looks no further."""
    broken = tuple(desc for desc in graph(built, root) if not _is_intact(store, desc))
    for desc in broken:
        store.drop(desc)
    manifests = {desc.digest: built.fetch_bytes(desc) for desc in broken if mediatype.is_manifest(desc.media_type)}
    apply_copy(CopyPlan(root, {ref: None} if ref else {}, missing=broken, manifests=manifests), built, store)
    return bool(broken)


def _is_intact(store: Layout, desc: Descriptor) -> bool:
    try:
        read_whole(store, desc)
    except (MismatchError, NotFoundError):
        return False
    return True

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""The root file system that layers add up to (image-spec layer.md, "Applying Changesets"), in memory.

Symbolic links on the way to a member are followed here, within the tree, as containerd and umoci do: what a layer puts into
``lib/`` lands in ``usr/lib/`` where ``lib`` links to it. On disk nothing is ever reached through a link.
"""

from __future__ import annotations

import typing as t

from ..content import tar
from ..spec.errors import InvalidError
from ..titles import Parts
from .entries import Entry, Listing
from .members import WHITEOUT, WHITEOUT_META, parse_name

OPAQUE = WHITEOUT_META + ".opq"
MAX_DEPTH = 256  # folders in each other; each may be held open
_MAX_LINKS = 255  # on the way to one member, as containerd and securejoin count
_MAX_TEXT = 128 * 1024 * 1024  # bytes of names, links and extended attributes that are held in memory
_MAX_STEPS = 10_000_000  # through what links say, on the way to all members


class Node:
    """What a name stands for; ``names`` are a folder's, each with the number of the layer that put it there. Two names of one node
    are hard links. ``hidden``: the last layer that has taken away all that lower ones have below it."""

    __slots__ = ("entry", "names", "hidden")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.names: t.Dict[str, t.Tuple[Node, int]] = {}
        self.hidden = -1

    @property
    def is_folder(self) -> bool:
        return self.entry.kind == tar.DIRECTORY


class Tree:
    """``entries``: how many members and folders the whole may have. Layers are added the lowest first, counted from 0."""

    def __init__(self, entries: int) -> None:
        self._root = Node(Entry((), tar.DIRECTORY))
        self._has_root = False
        self._most = self._left = entries
        self._text = self._steps = 0

    def add(self, layer: int, entry: Entry) -> None:
        """Put a member where it belongs, over what lower layers and earlier members have there; a file that stands twice in a
        layer is the last one. Raises InvalidError."""
        self._charge(entry)
        path = entry.path
        if not path:
            self._add_root(entry)
            return
        if path[-1].startswith(WHITEOUT):
            self._white_out(layer, path)
            return
        folder = t.cast(Node, self._folder(path[:-1], layer, entry.name))
        if entry.kind == tar.HARD_LINK:
            folder.names[path[-1]] = (self._linked(entry), layer)
            return
        old = folder.names.get(path[-1])
        if old is not None and old[0].is_folder and entry.kind == tar.DIRECTORY:
            old[0].entry = entry
            folder.names[path[-1]] = (old[0], layer)
        else:
            folder.names[path[-1]] = (Node(entry), layer)

    def _add_root(self, entry: Entry) -> None:
        if entry.kind != tar.DIRECTORY:
            raise InvalidError("a tar member is to be the root folder itself, and is not a folder")
        self._root.entry = entry
        self._has_root = True

    def _charge(self, entry: Entry) -> None:
        self._charge_one()
        xattrs = sum(len(name) + len(value) for name, value in entry.xattrs)
        self._text += len(entry.link) + len(entry.name) + xattrs
        if self._text > _MAX_TEXT:
            raise InvalidError(f"the names, links and extended attributes of the layers have more than {_MAX_TEXT} bytes: not unpacked")

    def _charge_one(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise InvalidError(f"the layers have more than the limit of {self._most} entries: not unpacked")

    def _folder(self, path: Parts, layer: t.Optional[int], what: str) -> t.Optional[Node]:
        """The folder that ``path`` leads to. Where ``layer`` is given missing ones are made for it, else None is returned."""
        above, links = [self._root], 0
        ahead = list(reversed(path))
        while ahead:
            part = ahead.pop()
            if part in ("", "."):
                continue
            if part == "..":
                # Above the root is the root, as in any chroot.
                del above[max(1, len(above) - 1) :]
                continue
            child = above[-1].names.get(part)
            if child is None:
                if layer is None:
                    return None
                child = self._make_folder(above[-1], part, layer)
            node = child[0]
            if node.entry.kind == tar.SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    raise InvalidError(f"the tar member {what!r} lies behind more than {_MAX_LINKS} symbolic links")
                if node.entry.link.startswith("/"):
                    del above[1:]
                ahead.extend(reversed(self._link_parts(node.entry.link)))
            elif not node.is_folder:
                if layer is None:
                    return None
                raise InvalidError(f"the tar member {what!r} lies below {part!r}, which is not a folder")
            else:
                above.append(node)
                if len(above) > MAX_DEPTH:
                    raise InvalidError(f"the tar member {what!r} lies more than {MAX_DEPTH} folders deep")
        return above[-1]

    def _link_parts(self, link: str) -> t.List[str]:
        parts = link.split("/")
        self._steps += len(parts)
        if self._steps > _MAX_STEPS:
            raise InvalidError(f"the symbolic links on the way to members have more than {_MAX_STEPS} parts in all: not unpacked")
        return parts

    def _make_folder(self, parent: Node, name: str, layer: int) -> t.Tuple[Node, int]:
        self._charge_one()
        parent.names[name] = (Node(Entry((), tar.DIRECTORY)), layer)
        return parent.names[name]

    def _linked(self, entry: Entry) -> Node:
        """The file that a hard link names. A link to a symlink or a device is one of its own: it is never linked to on disk."""
        target = parse_name(entry.link, f"the hard link {entry.name!r}")
        folder = self._folder(target[:-1], None, entry.name) if target else None
        found = folder.names.get(target[-1]) if folder is not None else None
        if found is None or found[0].is_folder:
            raise InvalidError(f"the tar member {entry.name!r} is a hard link to {entry.link!r}, which is no file in the layers so far")
        return found[0] if found[0].entry.kind == tar.FILE else Node(found[0].entry)

    def _white_out(self, layer: int, path: Parts) -> None:
        name = path[-1]
        if name == WHITEOUT:
            raise InvalidError(f"the tar member {'/'.join(path)!r} is a whiteout of nothing")
        folder = self._folder(path[:-1], None, "/".join(path))
        if folder is None:
            return
        if name == OPAQUE:
            _hide_all(folder, layer)
        elif not name.startswith(WHITEOUT_META):
            # Other names of that kind are aufs's own books.
            _hide(folder, [name[len(WHITEOUT) :]], layer)

    def listing(self) -> Listing:
        """Everything in order: folders before what is in them, names sorted; the root folder only where a layer has it."""
        found = [self._root.entry._replace(path=())] if self._has_root else []
        first: t.Dict[int, Parts] = {}
        stack = [((name,), child[0]) for name, child in sorted(self._root.names.items(), reverse=True)]
        while stack:
            path, node = stack.pop()
            same = first.setdefault(id(node), path)
            found.append(node.entry._replace(path=path, same=same if same != path else ()))
            stack.extend(((*path, name), child[0]) for name, child in sorted(node.names.items(), reverse=True))
        return tuple(found)


def _hide_all(folder: Node, layer: int) -> None:
    """Once for each layer: what is there afterwards is its own."""
    if folder.hidden != layer:
        folder.hidden = layer
        _hide(folder, list(folder.names), layer)


def _hide(folder: Node, names: t.Iterable[str], layer: int) -> None:
    """Take away what lower layers have under these names; what this layer has put there stays, with the folders that it is in."""
    for name in names:
        found = folder.names.get(name)
        if found is None:
            continue
        node, placed = found
        _hide_all(node, layer)
        if placed < layer and not node.names:
            del folder.names[name]

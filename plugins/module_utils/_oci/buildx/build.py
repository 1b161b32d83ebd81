# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Build when something that decides the result has changed, or the result is not there: plan, then apply."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import typing as t
from dataclasses import dataclass

from ..cache import CacheFile
from ..content.beneath import NewFile, default_mode, folder
from ..spec import reference, strictjson
from ..spec.errors import NotFoundError, storage_errors
from . import inputs as parts
from . import report
from .cli import Buildx
from .definition import Definition
from .inputs import Inputs
from .places import Names, Place

_VERSION = 1
_SALT_BYTES = 16
# The digest that a tag of a base image has now in its registry.
ResolveImage = t.Callable[[reference.RegistryReference], str]


class Record:
    """What the last build of these outputs was made of and what it gave. Losing it costs a build, which changes nothing."""

    def __init__(self, definition: Definition) -> None:
        where = sorted(output.dest or " ".join(output.tags) for output in definition.outputs)
        self._file = CacheFile("build", "\0".join(where).encode("utf-8", "surrogateescape"))
        stored = self._file.load()
        known = stored if stored.get("version") == _VERSION and _is_whole(stored) else {}
        self.salt = bytes.fromhex(known["salt"]) if known else secrets.token_bytes(_SALT_BYTES)
        self.inputs: t.Optional[Inputs] = known.get("inputs")
        self.bases: t.Dict[str, str] = known.get("bases", {})
        self.names: t.List[Names] = known.get("names", [])

    def store(self, inputs: Inputs, bases: t.Mapping[str, str], names: t.Sequence[Names]) -> None:
        """Raises OCIError and OSError."""
        document = {"version": _VERSION, "salt": self.salt.hex(), "inputs": inputs, "bases": dict(bases), "names": list(names)}
        self._file.save(document)

    @property
    def folder(self) -> str:
        return self._file.folder


def _is_whole(stored: t.Mapping[str, t.Any]) -> bool:
    kinds = {"salt": str, "inputs": dict, "bases": dict, "names": list}
    if not all(isinstance(stored.get(name), kind) for name, kind in kinds.items()):
        return False
    with contextlib.suppress(ValueError):
        return len(bytes.fromhex(stored["salt"])) == _SALT_BYTES
    return False


@dataclass(frozen=True)
class BuildPlan:
    """``reasons``: why it has to be built, a line each; none: nothing is to be done. ``before``: each place's names and digests."""

    inputs: Inputs
    reasons: t.Tuple[str, ...]
    before: t.Tuple[Names, ...]
    bases: t.Mapping[str, str]


@dataclass(frozen=True)
class Built:
    """``after``: each place's names and digests; ``warnings``: of the build's checks; ``changed``: whether any result is another."""

    after: t.Tuple[Names, ...]
    changed: bool
    warnings: t.Tuple[str, ...]
    bases: t.Mapping[str, str]
    metadata: bytes


def plan_build(
    definition: Definition,
    places: t.Sequence[Place],
    record: Record,
    now: Inputs,
    rebuild_always: bool,
    resolve_image: t.Optional[ResolveImage],
) -> BuildPlan:
    """Compare with the last build. ``resolve_image``: looks a base image up, None when a moved base does not matter."""
    before = tuple(place.names() for place in places)
    bases = dict(record.bases)
    if resolve_image is not None:
        bases = {name: resolve_image(_image(name)) for name in record.bases}
    reasons = _reasons(definition, record, now, bases, rebuild_always)
    damages = _damages(places, before, record) if record.inputs is not None else []
    return BuildPlan(now, (*reasons, *damages), before, bases)


def _reasons(definition: Definition, record: Record, now: Inputs, bases: t.Mapping[str, str], rebuild_always: bool) -> t.List[str]:
    always = ["rebuild is always"] if rebuild_always else []
    always += [f"the context {context} is not pinned to a commit: it may have changed" for context in definition.moving_contexts]
    if record.inputs is None:
        return [*always, "no earlier build of these outputs is known"]
    moved = [f"base image {name}: {record.bases[name]} is now {digest}" for name, digest in bases.items() if record.bases[name] != digest]
    return [*always, *parts.differences(record.inputs, now), *moved]


def _damages(places: t.Sequence[Place], before: t.Sequence[Names], record: Record) -> t.List[str]:
    """Why the last build's results are not all there and intact."""
    found = []
    for number, (place, names) in enumerate(zip(places, before)):
        wanted = record.names[number] if number < len(record.names) else {}
        missing = [name for name, digest in names.items() if digest is None] if place.exists() else [place.title]
        if missing:
            found.append(f"the result is not there: {', '.join(name or place.title for name in missing)}")
        elif names and names != wanted:
            found.append(f"the result at {place.title} is another than the last build's")
        else:
            damage = place.damage()
            found += [f"the result is damaged: {damage}"] if damage else []
    return found


def apply_build(plan: BuildPlan, definition: Definition, places: t.Sequence[Place], buildx: Buildx, pin_bases: bool) -> Built:
    """Build, and put the results in place. Raises BuildError; then nothing of the destinations has changed."""
    pinned = {name: f"docker-image://{name.rpartition(':')[0]}@{digest}" for name, digest in plan.bases.items()} if pin_bases else {}
    with contextlib.ExitStack() as stack:
        with storage_errors("making a temporary folder"):
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="lading-build-"))
        metadata = os.path.join(scratch, "metadata.json")
        dests = [stack.enter_context(place.receiving()) for place in places]
        answer = buildx.call(*definition.arguments(dests, metadata, pinned), environment=definition.environment())
        if answer.code != 0:
            raise report.failure(answer.err or answer.out, [line for secret in definition.secrets for line in parts.telling_lines(secret)])
        replaced = [place.keep() for place in places]
        told = _read_file(metadata)
    known = strictjson.load_object(told, "BuildKit's metadata file")
    after = tuple(place.names() for place in places)
    bases = {**report.pinned_images(known, plan.bases if pin_bases else {}), **report.base_images(known)}
    return Built(after, any(replaced) or after != plan.before, tuple(report.warnings(known)), bases, told)


def must_have_folder(path: str, what: str) -> None:
    """For a file that is written after the build: said before it."""
    if not os.path.isdir(os.path.dirname(os.path.abspath(os.path.expanduser(path)))):
        raise NotFoundError(f"{what}: no such folder: {os.path.dirname(path)}")


def write_file(path: str, content: bytes) -> None:
    """A file that is there whole or not at all."""
    full = os.path.abspath(os.path.expanduser(path))
    with storage_errors(f"writing {path}"), folder(os.path.dirname(full)) as parent, NewFile(parent, default_mode()) as new:
        new.write(content)
        new.commit(os.path.basename(full))


def _read_file(path: str) -> bytes:
    with storage_errors(f"reading {path}"), open(path, "rb") as file:
        return file.read()


def _image(name: str) -> reference.RegistryReference:
    return t.cast(reference.RegistryReference, reference.parse(reference.qualified(name)))

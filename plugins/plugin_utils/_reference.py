# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""References as mappings, which templates can take apart and put together."""

from __future__ import annotations

import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.spec import reference
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.digest import Digest
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError, printable
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import LayoutReference, Reference, RegistryReference

Fields = t.Dict[str, t.Optional[str]]

FIELDS = ("kind", "registry", "repository", "path", "tag", "digest")
KINDS = REGISTRY, LAYOUT, LAYOUT_ARCHIVE, DOCKER_ARCHIVE = ("registry", "oci", "oci-archive", "docker-archive")
_OF_REGISTRIES, _OF_LAYOUTS = ("registry", "repository"), ("path",)


def parse(text: object) -> Reference:
    """Raises InvalidError, also for what is no text."""
    if not isinstance(text, str):
        raise InvalidError(f"not a reference: {printable(repr(text), 160)}")
    return reference.parse(text)


def fields_of(parsed: Reference) -> Fields:
    """All of ``FIELDS``; None for what the reference does not have."""
    fields: Fields = dict.fromkeys(FIELDS)
    if isinstance(parsed, RegistryReference):
        fields.update(kind=REGISTRY, registry=parsed.registry, repository=parsed.repository)
    else:
        kind = DOCKER_ARCHIVE if parsed.docker else LAYOUT_ARCHIVE if parsed.archive else LAYOUT
        fields.update(kind=kind, path=parsed.path)
    fields.update(tag=parsed.tag, digest=parsed.digest)
    # Ansible keeps no classes of others in its variables.
    return {name: None if value is None else str(value) for name, value in fields.items()}


def text_of(given: t.Mapping[t.Any, t.Any]) -> str:
    """The reference that has these fields; those that are None, empty or left out it has not. Raises InvalidError."""
    fields = _checked(given)
    kind = fields["kind"] or (LAYOUT if fields["path"] else REGISTRY)
    if kind not in KINDS:
        raise InvalidError(f"not a kind of reference: {kind!r} (there are {', '.join(KINDS)})")
    needed, useless = (_OF_REGISTRIES, _OF_LAYOUTS) if kind == REGISTRY else (_OF_LAYOUTS, _OF_REGISTRIES)
    for name in needed:
        if not fields[name]:
            raise InvalidError(f"a reference of kind {kind} needs {name}")
    for name in useless:
        if fields[name]:
            raise InvalidError(f"a reference of kind {kind} has no {name}")
    return _registry_text(fields) if kind == REGISTRY else _layout_text(fields, kind)


def _checked(given: t.Mapping[t.Any, t.Any]) -> Fields:
    for name, value in given.items():
        if name not in FIELDS:
            raise InvalidError(f"not a field of a reference: {printable(repr(name), 160)} (there are {', '.join(FIELDS)})")
        if value is not None and not isinstance(value, str):
            raise InvalidError(f"{name} of a reference is not a text: {printable(repr(value), 160)}")
    return {name: given.get(name) or None for name in FIELDS}


def _registry_text(fields: Fields) -> str:
    host = reference.parse_host(t.cast(str, fields["registry"]))
    repository = reference.check_repository(t.cast(str, fields["repository"]))
    tag = reference.check_tag(fields["tag"]) if fields["tag"] else None
    made = RegistryReference(host.registry, repository, tag, _digest_of(fields))
    # Read again, for what a whole reference has to be and its parts need not, and for what Docker Hub's imply.
    return str(reference.parse(str(made)))


def _layout_text(fields: Fields, kind: str) -> str:
    digest = _digest_of(fields)
    if digest and fields["tag"]:
        raise InvalidError(f"a reference of kind {kind} has a tag or a digest, not both")
    path = t.cast(str, fields["path"])
    made = LayoutReference(path, fields["tag"], digest, archive=kind in (LAYOUT_ARCHIVE, DOCKER_ARCHIVE), docker=kind == DOCKER_ARCHIVE)
    if reference.parse(str(made)) != made:
        raise InvalidError(f"these fields cannot be said in one reference: {printable(str(made))} reads otherwise")
    return str(made)


def _digest_of(fields: Fields) -> t.Optional[Digest]:
    return Digest(fields["digest"]) if fields["digest"] else None

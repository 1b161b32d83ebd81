# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""References: where content is, in a registry or in a layout.

Registry: ``[docker://]host[:port]/repository[:tag][@digest]``, fully qualified (distribution-spec, "Pulling manifests").
Layout: ``oci:PATH[:REF|:@N|@DIGEST]`` and ``oci-archive:PATH[:REF|:@N|@DIGEST]``; what ``docker save`` writes:
``docker-archive:PATH[:NAME[:TAG]|:@N|@DIGEST]``, to read only. ``@N`` is the N-th manifest, from 0.
"""

from __future__ import annotations

import re
import typing as t

from .digest import Digest, looks_like_digest
from .errors import InvalidError

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?", re.ASCII)
# image-spec annotations.md, org.opencontainers.image.ref.name
_REF_COMPONENT = r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
_REF_NAME = re.compile(rf"{_REF_COMPONENT}(?:/{_REF_COMPONENT})*", re.ASCII)
_POSITION = re.compile(r"@([0-9]{1,6})", re.ASCII)
_MAX_NAME = 255
_DOCKER_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_LAYOUT_PREFIXES = {"oci:": False, "oci-archive:": True}
_DOCKER = "docker://"
_DOCKER_ARCHIVE = "docker-archive:"
_OTHER_TRANSPORTS = ("oci-layout:", "ocidir:", "docker-daemon:", "dir:", "containers-storage:", "http:", "https:")

_SUPPORTED = " (host/repository, oci:PATH, oci-archive:PATH, docker-archive:PATH are)"
_BEGINNINGS = (*_LAYOUT_PREFIXES, _DOCKER_ARCHIVE, *_OTHER_TRANSPORTS)


class RegistryReference(t.NamedTuple):
    """``registry`` is the logical host[:port] ('docker.io' for every name of Docker Hub); ``tag`` and ``digest`` may be None."""

    registry: str
    repository: str
    tag: t.Optional[str] = None
    digest: t.Optional[Digest] = None

    @property
    def host(self) -> str:
        """The host[:port] that HTTP requests go to."""
        return "registry-1.docker.io" if self.registry == "docker.io" else self.registry

    @property
    def name(self) -> str:
        # A host that is called as what else a reference may begin with.
        scheme = _DOCKER if self.registry.startswith(_BEGINNINGS) else ""
        return f"{scheme}{self.registry}/{self.repository}"

    @property
    def target(self) -> t.Optional[str]:
        """What to resolve: the digest when there is one, else the tag, else None."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


class LayoutReference(t.NamedTuple):
    """``path`` of a layout directory or tar; ``archive`` is True when the reference says that it is a tar, ``docker`` when it says that
    it is one of ``docker save``. ``tag`` of a source may be ``@N``."""

    path: str
    tag: t.Optional[str] = None
    digest: t.Optional[Digest] = None
    archive: bool = False
    docker: bool = False

    @property
    def name(self) -> str:
        return (_DOCKER_ARCHIVE if self.docker else "oci-archive:" if self.archive else "oci:") + self.path

    @property
    def target(self) -> t.Optional[str]:
        return self.digest or self.tag

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


Reference = t.Union[RegistryReference, LayoutReference]


def parse(text: str, ref: t.Optional[str] = None) -> Reference:
    """Parse a reference; ``ref``, a tag, layout ref or digest, may be said apart (the ``*_ref`` options). Raises InvalidError.

    With ``ref`` given a layout's PATH is taken whole, colons and all: the way to say what one string cannot.
    """
    if not text or any(not c.isprintable() for c in text):
        raise InvalidError(f"not a reference: {text!r}")
    if ref is not None and (not ref or any(not c.isprintable() for c in ref)):
        raise InvalidError(f"not a tag, ref or digest: {ref!r}")
    for prefix, archive in _LAYOUT_PREFIXES.items():
        if text.startswith(prefix):
            return _parse_layout(text[len(prefix) :], ref, archive, text)
    if text.startswith(_DOCKER_ARCHIVE):
        return _parse_docker_archive(text[len(_DOCKER_ARCHIVE) :], ref, text)
    return _parse_registry(text, ref)


def check_path(option: str, path: str) -> None:
    """Refuse a reference where a path alone is meant."""
    begins = next((prefix for prefix in (_DOCKER, *_BEGINNINGS) if path.startswith(prefix)), None)
    if begins is not None:
        bare = path[len(begins) :].partition(":")[0]
        shown = "PATH" if begins == _DOCKER or bare[:2] in ("", "//") else bare
        meant = f"a path is meant, without {begins} and without a ref, as {option}: {shown}"
        raise InvalidError(f"{option} is {path!r}: {meant} (./{path} is one that begins so)")


def position_of(ref: str) -> t.Optional[int]:
    """The N of ``@N``; None for anything else."""
    found = _POSITION.fullmatch(ref)
    return int(found.group(1)) if found else None


def parse_host(text: str) -> RegistryReference:
    """A registry alone, as HOST[:PORT]: the repository is ''. Raises InvalidError."""
    _check_registry(text, text)
    lowered = text.lower()
    return RegistryReference("docker.io" if lowered in _DOCKER_HUB_NAMES else lowered, "")


def qualified(name: str) -> str:
    """An image name as Docker writes it with its registry: ``alpine:3`` is ``docker.io/library/alpine:3``."""
    first, slash, _rest = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if set(first) & set(".:") or first == "localhost" else f"docker.io/{name}"


def image_name(name: str) -> str:
    """The full name and tag of an image as Docker writes it, ``latest`` when it has no tag. Raises InvalidError."""
    found = _parse_registry(qualified(name), None)
    if found.digest is not None:
        raise InvalidError(f"not the name and tag of an image: {name[:300]!r}")
    full = str(found if found.tag else found._replace(tag="latest"))
    return full[len(_DOCKER) :] if full.startswith(_DOCKER) else full


def check_tag(tag: str) -> str:
    """A tag as a registry takes it (distribution-spec, "Pulling manifests")."""
    if not _TAG.fullmatch(tag):
        raise InvalidError(f"not a tag: {tag[:160]!r} (letters, digits, '_', '.', '-', at most 128, not starting with '.' or '-')")
    return tag


def check_repository(name: str) -> str:
    """A repository's name (distribution-spec, "Pulling manifests")."""
    if len(name) > _MAX_NAME or not _REPOSITORY.fullmatch(name):
        raise InvalidError(f"not a repository: {name[:160]!r} (lower case letters and digits, joined by one of ._- or __ or /)")
    return name


def check_ref_name(name: str) -> str:
    """A ref as a layout's index.json takes it (image-spec annotations.md, ref.name)."""
    if len(name) > _MAX_NAME or not _REF_NAME.fullmatch(name) or looks_like_digest(name):
        raise InvalidError(f"not a ref name for a layout: {name[:160]!r} (letters and digits, joined by one of -._:@+ or /)")
    return name


def _parse_layout(rest: str, ref: t.Optional[str], archive: bool, text: str) -> LayoutReference:
    if ref is not None:
        if not rest:
            raise InvalidError(f"no path in {text!r}")
        if looks_like_digest(ref):
            return LayoutReference(rest, digest=Digest(ref), archive=archive)
        return LayoutReference(rest, tag=ref, archive=archive)
    path, at, tail = rest.rpartition("@")
    if at and looks_like_digest(tail):
        _check_plain_path(path, text)
        return LayoutReference(path, digest=Digest(tail), archive=archive)
    path, colon, tag = rest.partition(":")
    if colon and (":" in tag or "/" in tag):
        raise InvalidError(_ambiguous(text))
    if not path or (colon and not tag):
        what = "ref after the colon" if path else "path"
        raise InvalidError(f"no {what} in {text!r} (expected oci:PATH, oci:PATH:REF or oci:PATH@DIGEST)")
    return LayoutReference(path, tag=tag or None, archive=archive)


def _parse_docker_archive(rest: str, ref: t.Optional[str], text: str) -> LayoutReference:
    """The first colon ends the path, as skopeo has it: names of images have colons of their own."""
    before, at, tail = rest.rpartition("@")
    path, colon, name = rest.partition(":")
    if ref is not None:
        path, name = rest, ref
    elif at and looks_like_digest(tail):
        _check_plain_path(before, text)
        path, name = before, tail
    if not path or (colon and not name):
        what = "name after the colon" if path else "path"
        raise InvalidError(f"no {what} in {text!r} (expected docker-archive:PATH, docker-archive:PATH:NAME:TAG or docker-archive:PATH:@N)")
    if looks_like_digest(name):
        return LayoutReference(path, digest=Digest(name), archive=True, docker=True)
    return LayoutReference(path, tag=name or None, archive=True, docker=True)


def _check_plain_path(path: str, text: str) -> None:
    if not path:
        raise InvalidError(f"no path in {text!r}")
    if ":" in path:
        raise InvalidError(_ambiguous(text))


def _ambiguous(text: str) -> str:
    return (
        f"ambiguous: {text!r} has more than one way to tell the path from the ref; "
        "give the path alone and the ref in its own option (src_ref, dest_ref, base_ref)"
    )


def _parse_registry(text: str, ref: t.Optional[str]) -> RegistryReference:
    for transport in _OTHER_TRANSPORTS:
        if text.startswith(transport):
            hint = ": leave it out; plain_http is for registries without TLS" if transport.startswith("http") else _SUPPORTED
            raise InvalidError(f"{text!r}: {transport!r} is not supported{hint}")
    if text.startswith(_DOCKER):
        text = text[len(_DOCKER) :]
    registry, slash, rest = text.partition("/")
    if text.startswith((".", "/", "~")) or (not slash and text.partition(":")[0].endswith(".tar")):
        raise InvalidError(f"not a reference to a registry: {text!r} (a layout on disk is written oci:PATH or oci:PATH:REF)")
    if not slash or not _is_domain(registry):
        raise InvalidError(
            f"not a fully qualified reference: {text!r} (expected host[:port]/repository[:tag][@digest], as docker.io/library/alpine:3)"
        )
    _check_registry(registry, text)
    rest, at, digest_text = rest.partition("@")
    digest = Digest(digest_text) if at else None
    repository, colon, tag = rest.partition(":")
    found = _normalise(RegistryReference(registry, repository, check_tag(tag) if colon else None, digest))
    if not _REPOSITORY.fullmatch(found.repository) or len(found.repository) > _MAX_NAME:
        raise InvalidError(f"not a repository name: {repository[:300]!r} in {text[:300]!r} (lower-case components, joined by '/')")
    return found if ref is None else _with_ref(found, ref, text)


def _is_domain(component: str) -> bool:
    return "." in component or ":" in component or component == "localhost" or component != component.lower()


def _check_registry(registry: str, text: str) -> None:
    if not _REGISTRY.fullmatch(registry):
        raise InvalidError(f"not a registry host: {registry[:160]!r} in {text[:300]!r}")
    port = registry.rpartition("]")[2].rpartition(":")[2] if ":" in registry.rpartition("]")[2] else ""
    if port and not 1 <= int(port) <= 65535:
        raise InvalidError(f"not a port: {port} in {text[:300]!r}")


def _normalise(found: RegistryReference) -> RegistryReference:
    """Docker Hub has three host names and an implied ``library/`` (distribution/reference, normalize.go)."""
    lowered = found.registry.lower()
    if lowered not in _DOCKER_HUB_NAMES:
        return found._replace(registry=lowered)
    repository = found.repository if "/" in found.repository else f"library/{found.repository}"
    return found._replace(registry="docker.io", repository=repository)


def _with_ref(found: RegistryReference, ref: str, text: str) -> RegistryReference:
    if found.target is not None:
        raise InvalidError(f"{text!r} has a tag or digest of its own, and {ref!r} is given beside it: say it once")
    if looks_like_digest(ref):
        return found._replace(digest=Digest(ref))
    return found._replace(tag=check_tag(ref))

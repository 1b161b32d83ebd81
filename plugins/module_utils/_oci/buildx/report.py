# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What BuildKit tells about a build: base images and warnings from its metadata file, the cause from the log of a failed one."""

from __future__ import annotations

import base64
import binascii
import re
import typing as t
from urllib.parse import unquote

from ..spec.errors import BuildError, printable

_PROVENANCE = "buildx.build.provenance"
_WARNINGS = "buildx.build.warnings"
_IMAGE = re.compile(r"pkg:docker/([^?#]+)(?:\?([^#]*))?")
_LOG_LINES = 40
_RULE = re.compile(r"^-{6,}$")
_SOURCE_LINE = re.compile(r"^(\S.*):(\d+)$")
_MARKED_LINE = re.compile(r"^\s*\d+ \| >>> (.*)$")
_PREFIXES = ("ERROR: ", "failed to build: ", "failed to solve: ")


def base_images(metadata: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """Images that the build used, as it names them (``alpine:latest``), with the digests that they had. Pinned ones are left out."""
    found: t.Dict[str, str] = {}
    for material in _materials(metadata):
        match = _IMAGE.fullmatch(str(material.get("uri")))
        digest = (material.get("digest") or {}).get("sha256")
        if match and digest and "digest=" not in (match.group(2) or ""):
            name, _at, tag = unquote(match.group(1)).rpartition("@")
            found[f"{name}:{tag}"] = f"sha256:{digest}"
    return found


def pinned_images(metadata: t.Mapping[str, t.Any], pinned: t.Mapping[str, str]) -> t.Dict[str, str]:
    """Those of ``pinned``, names with digests, that the build has used: BuildKit tells them without their tags."""
    used = {f"sha256:{(material.get('digest') or {}).get('sha256')}" for material in _materials(metadata)}
    return {name: digest for name, digest in pinned.items() if digest in used}


def warnings(metadata: t.Mapping[str, t.Any]) -> t.List[str]:
    """The warnings of build checks, a line each, with the Dockerfile's line where it is known."""
    return [_warning(item) for item in metadata.get(_WARNINGS) or [] if isinstance(item, dict)]


def failure(log: str, secrets: t.Sequence[str]) -> BuildError:
    """The error of a failed build, from its plain progress output: the cause, where, and the last lines; no secrets in it."""
    # The longest first: one can be a part of another.
    for secret in sorted(secrets, key=len, reverse=True):
        log = log.replace(secret, "***")
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    cause = lines[-1] if lines else "no output"
    for prefix in _PREFIXES:
        cause = cause[len(prefix) :] if cause.startswith(prefix) else cause
    tail = _tail(lines)
    return BuildError(f"the build failed{_place(tail)}: {cause}", tail)


def _tail(lines: t.List[str]) -> t.List[str]:
    """From the failed step on: BuildKit draws a rule before it."""
    rules = [number for number, line in enumerate(lines) if line == "------"]
    start = rules[0] if rules else 0
    return lines[max(start, len(lines) - _LOG_LINES) :]


def _place(tail: t.Sequence[str]) -> str:
    places = [line for number, line in enumerate(tail[:-1]) if _SOURCE_LINE.match(line) and _RULE.match(tail[number + 1])]
    marked = [match.group(1) for match in map(_MARKED_LINE.match, tail) if match]
    if not places:
        return ""
    return f" at {places[-1]}" + (f" ({marked[0].strip()})" if marked else "")


def _materials(metadata: t.Mapping[str, t.Any]) -> t.Iterator[t.Mapping[str, t.Any]]:
    """SLSA 0.2 calls them materials, 1.0 resolvedDependencies; with several platforms each has its own key."""
    for key, value in metadata.items():
        if key.split("/")[0] != _PROVENANCE or not isinstance(value, dict):
            continue
        listed = value.get("materials") or (value.get("buildDefinition") or {}).get("resolvedDependencies") or []
        yield from (item for item in listed if isinstance(item, dict))


def _warning(item: t.Mapping[str, t.Any]) -> str:
    source = item.get("sourceInfo") or {}
    lines = [(part.get("start") or {}).get("line") for part in item.get("range") or []]
    where = f"{source.get('filename')}:{lines[0]}: " if source.get("filename") and lines else ""
    link = f" ({item['url']})" if item.get("url") else ""
    return printable(where + _decoded(item.get("short")) + link, 1024)


def _decoded(text: t.Any) -> str:
    try:
        return base64.b64decode(str(text or ""), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return str(text)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Everything that decides a build's result, each part with what it is compared by."""

from __future__ import annotations

import hashlib
import os
import typing as t

from ..spec import reference
from ..spec.errors import InvalidError, NotFoundError, located, storage_errors
from . import context as contexts
from .definition import Definition, Secret
from .ignore import IgnorePatterns

# By name: a text, or for a folder the digest of each of its entries by path.
Inputs = t.Dict[str, t.Union[str, t.Dict[str, str]]]
ResolveLayout = t.Callable[[reference.LayoutReference], str]
_ARGUMENT, _SECRET = "argument ", "secret "
_SALTED = (_ARGUMENT, _SECRET)
_OCI_LAYOUT = "oci-layout://"
# Slow on purpose: a short secret must not be found by trying.
_ROUNDS = 200_000
_TELLING = 8


def gather(definition: Definition, builder: str, salt: bytes, resolve_layout: ResolveLayout) -> Inputs:
    """The inputs as they are now; base images are not among them. Secrets and arguments appear as salted digests."""
    inputs: Inputs = {"builder": builder}
    if definition.is_remote:
        inputs["context"] = definition.context
        inputs["dockerfile"] = definition.dockerfile
    else:
        inputs["dockerfile"] = _file_digest(definition.dockerfile)
        inputs["context"] = scan_folder(definition.context, definition.dockerfile)
    for name, value in definition.build_contexts.items():
        inputs[f"build context {name}"] = _build_context(name, value, resolve_layout)
    for name, value in definition.args.items():
        inputs[_ARGUMENT + name] = salted(value.encode("utf-8", "surrogateescape"), salt)
    for secret in definition.secrets:
        inputs[_SECRET + secret.id] = salted(_secret_content(secret), salt)
    for name, values in definition.flags.items():
        inputs[name] = ", ".join(values)
    if definition.platforms:
        inputs["platforms"] = ", ".join(definition.platforms)
    if definition.source_date_epoch is not None:
        inputs["source date epoch"] = str(definition.source_date_epoch)
    for number, output in enumerate(definition.outputs):
        inputs[f"output {number}"] = output.words(None)
    return inputs


def differences(before: Inputs, after: Inputs) -> t.List[str]:
    """What has changed, a line for each part: which option, which file."""
    lines: t.List[str] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            lines += [f"{name}: {change}" for change in contexts.changes(old, new)]
        else:
            lines.append(f"{name}: {_how(old, new)}")
    return lines


def shown(inputs: Inputs, before: t.Optional[Inputs] = None) -> t.List[str]:
    """A line for each part, for a diff. Secrets and arguments only say whether they are those of ``before``."""
    return [f"{name}: {_shown(name, value, before)}" for name, value in sorted(inputs.items())]


def _shown(name: str, value: t.Union[str, t.Dict[str, str]], before: t.Optional[Inputs]) -> str:
    if name.startswith(_SALTED):
        return "another value" if before and before.get(name) not in (None, value) else "a value"
    return value if isinstance(value, str) else contexts.digest(value)


def scan_folder(folder: str, dockerfile: str) -> t.Dict[str, str]:
    """What BuildKit sees of a folder: all that its ignore file does not leave out."""
    path = contexts.ignore_file(folder, dockerfile)
    content = _read(path) if path else b""
    with located(path):
        patterns = IgnorePatterns.parse(content)
    return contexts.scan(folder, patterns)


def salted(content: bytes, salt: bytes) -> str:
    return hashlib.pbkdf2_hmac("sha256", content, salt, _ROUNDS).hex()


def _how(old: t.Any, new: t.Any) -> str:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    return "changed"


def _build_context(name: str, value: str, resolve_layout: ResolveLayout) -> t.Union[str, t.Dict[str, str]]:
    if value.startswith(_OCI_LAYOUT):
        return _layout_digest(name, value, resolve_layout)
    if os.path.isabs(value):
        return scan_folder(value, os.path.join(value, "Dockerfile"))
    return value


def _layout_digest(name: str, value: str, resolve_layout: ResolveLayout) -> str:
    """The digest that the layout's ref has now: the ref may move."""
    with located(f"build_contexts[{name}]"):
        found = t.cast(reference.LayoutReference, reference.parse("oci:" + value[len(_OCI_LAYOUT) :]))
        if not os.path.isdir(found.path):
            raise NotFoundError(f"{found.path} is no folder: BuildKit reads layouts from folders only, copy it there with oci_copy")
        return resolve_layout(found)


def _secret_content(secret: Secret) -> bytes:
    if secret.src is not None:
        return _read(secret.src)
    return (secret.value or "").encode("utf-8", "surrogateescape")


def telling_lines(secret: Secret) -> t.List[str]:
    """The lines of a secret that must not be seen in a log. Of several, a short one tells nothing, and stands in any log."""
    lines = [line.strip() for line in _secret_content(secret).decode("utf-8", "replace").splitlines() if line.strip()]
    return [line for line in lines if len(lines) == 1 or len(line) >= _TELLING]


def _file_digest(path: str) -> str:
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: str) -> bytes:
    """A small file whole: a Dockerfile, an ignore file, a secret."""
    with storage_errors(f"reading {path}"), open(path, "rb") as file:
        content = file.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise InvalidError(f"{path} is larger than {_MAX_FILE} bytes")
    return content


_MAX_FILE = 16 * 1024 * 1024

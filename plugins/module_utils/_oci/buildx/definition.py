# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""What is to be built: the module's options, checked, and the words of the command that builds it."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass, field

from ..spec import reference
from ..spec.errors import InvalidError, NotFoundError
from ..spec.platform import Platform
from ..spec.reference import qualified
from ..spec.timestamp import Timestamp
from ..strings import strings

Params = t.Mapping[str, t.Any]
OCI, REGISTRY = "oci", "registry"
# What BuildKit takes for a remote context (buildx, build/opt.go; moby urlutil).
_REMOTE = re.compile(r"https?://|git://|ssh://|git@|github\.com/")
_PINNED_GIT = re.compile(r"#[0-9a-f]{40}(:|$)")
_SECRET_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
# Exporter attributes that have an option of their own, by that option (BuildKit, exporter/containerimage/exptypes).
_ATTRIBUTES = {
    "compression": "compression",
    "compression_level": "compression-level",
    "force_compression": "force-compression",
    "rewrite_timestamp": "rewrite-timestamp",
    "insecure": "registry.insecure",
}
# What Ansible makes of an unquoted boolean for an option of type str.
_BOOLEANS = {"True": "true", "False": "false"}
_RESERVED = ("type", "dest", "name", "tar", "push", *_ATTRIBUTES.values())


@dataclass(frozen=True)
class Output:
    """Where a result goes. ``dest``: absolute path of a layout, None for a registry. ``tags``: image names, as buildx takes them."""

    kind: str
    tags: t.Tuple[str, ...]
    attributes: t.Mapping[str, str]
    dest: t.Optional[str] = None
    tar: bool = True

    def words(self, dest: t.Optional[str]) -> str:
        """The value of --output, as the CSV record that buildx parses. ``dest``: the tar that BuildKit is to write."""
        fields = {"type": self.kind, **({"dest": dest} if dest else {}), **({"name": ",".join(self.tags)} if self.tags else {})}
        return csv_record(f"{key}={value}" for key, value in {**fields, **self.attributes}.items())


@dataclass(frozen=True)
class Secret:
    """A secret of the build: the file ``src``, or ``value``, which came from the task or from the environment."""

    id: str
    src: t.Optional[str] = None
    value: t.Optional[str] = None


@dataclass(frozen=True)
class Definition:
    """A build. ``context`` and ``dockerfile`` are absolute paths, or ``context`` is a remote one and ``dockerfile`` a path in it."""

    context: str
    dockerfile: str
    outputs: t.Tuple[Output, ...]
    args: t.Mapping[str, str] = field(default_factory=dict)
    build_contexts: t.Mapping[str, str] = field(default_factory=dict)
    secrets: t.Tuple[Secret, ...] = ()
    platforms: t.Tuple[str, ...] = ()
    # Further options that decide the result, by their name on the command line.
    flags: t.Mapping[str, t.Tuple[str, ...]] = field(default_factory=dict)
    # Those that decide only how it is come by.
    transient: t.Mapping[str, t.Tuple[str, ...]] = field(default_factory=dict)
    builder: t.Optional[str] = None
    source_date_epoch: t.Optional[int] = None

    @property
    def is_remote(self) -> bool:
        return is_remote(self.context)

    @property
    def moving_contexts(self) -> t.List[str]:
        """Remote contexts that can be others tomorrow under the same name: all but a git URL with a whole commit digest."""
        contexts = (self.context, *self.build_contexts.values())
        return [context for context in contexts if is_remote(context) and not _PINNED_GIT.search(context)]

    def environment(self) -> t.Dict[str, str]:
        """Variables for the command: secrets travel here, never in its arguments."""
        values = {_variable(number): secret.value for number, secret in enumerate(self.secrets) if secret.value is not None}
        epoch = {"SOURCE_DATE_EPOCH": str(self.source_date_epoch)} if self.source_date_epoch is not None else {}
        return {**values, **epoch}

    def arguments(self, dests: t.Sequence[t.Optional[str]], metadata: str, pinned: t.Mapping[str, str]) -> t.List[str]:
        """The words after ``docker buildx``. ``dests``: a tar to write for each output; ``pinned``: contexts in place of base images."""
        flags: t.Dict[str, t.Iterable[str]] = {
            "file": [self.dockerfile],
            "output": [output.words(dest) for output, dest in zip(self.outputs, dests)],
            "build-arg": [f"{name}={value}" for name, value in self.args.items()],
            "build-context": [f"{name}={value}" for name, value in {**pinned, **self.build_contexts}.items()],
            "secret": [_secret_words(secret, number) for number, secret in enumerate(self.secrets)],
            "platform": [",".join(self.platforms)] if self.platforms else [],
            "builder": [self.builder] if self.builder else [],
            "metadata-file": [metadata],
            "progress": ["plain"],
            **self.flags,
            **self.transient,
        }
        words = [f"--{name}={value}" for name, values in flags.items() for value in values]
        return ["build", *words, "--", self.context]


def is_remote(context: str) -> bool:
    """Whether BuildKit takes it for a remote context, not for a path."""
    return _REMOTE.match(context) is not None


def csv_record(fields: t.Iterable[str]) -> str:
    """One record of RFC 4180, as buildx's options that take key=value,... are parsed."""
    return ",".join('"' + text.replace('"', '""') + '"' if set(text) & set('",\n') else text for text in fields)


def _variable(number: int) -> str:
    return f"LADING_BUILD_SECRET_{number}"


def _secret_words(secret: Secret, number: int) -> str:
    where = f"src={secret.src}" if secret.src is not None else f"env={_variable(number)}"
    return csv_record([f"id={secret.id}", where])


def parse_definition(params: Params, environment: t.Mapping[str, str]) -> Definition:
    """The build that the module's options describe. Raises InvalidError and NotFoundError before anything is run."""
    context = params["context"] if is_remote(params["context"]) else _folder(params["context"], "context")
    epoch = _epoch(params["source_date_epoch"], environment)
    return Definition(
        context=context,
        dockerfile=_dockerfile(context, params["dockerfile"]),
        outputs=_outputs(params["outputs"], params["tags"], epoch),
        args=strings(params["args"], "args"),
        build_contexts={name: _build_context(name, value) for name, value in strings(params["build_contexts"], "build_contexts").items()},
        secrets=tuple(_secret(item, f"secrets[{number}]", environment) for number, item in enumerate(params["secrets"])),
        platforms=tuple(str(Platform.parse(text)) for text in params["platforms"]),
        flags=_flags(params),
        transient=_transient(params),
        builder=params["builder"],
        source_date_epoch=epoch,
    )


def _folder(path: str, what: str) -> str:
    full = os.path.abspath(os.path.expanduser(path))
    if not os.path.isdir(full):
        raise NotFoundError(f"{what}: no such folder: {path}{_start_of(path)}")
    return full


def _start_of(path: str) -> str:
    """Where a relative path was looked for: that is not where the user stands."""
    return "" if os.path.isabs(os.path.expanduser(path)) else f" (a relative path starts at {os.getcwd()})"


def _dockerfile(context: str, given: t.Optional[str]) -> str:
    if is_remote(context):
        return given or "Dockerfile"
    path = os.path.normpath(os.path.join(context, os.path.expanduser(given or "Dockerfile")))
    if not os.path.isfile(path):
        raise NotFoundError(f"dockerfile: no such file: {path} (a relative path starts at the context)")
    return path


def _epoch(text: t.Optional[str], environment: t.Mapping[str, str]) -> t.Optional[int]:
    if text is not None:
        return Timestamp.parse(text, "source_date_epoch").epoch
    found = environment.get("SOURCE_DATE_EPOCH")
    return Timestamp.parse(found, "SOURCE_DATE_EPOCH").epoch if found else None


def _outputs(items: t.Sequence[Params], tags: t.Sequence[str], epoch: t.Optional[int]) -> t.Tuple[Output, ...]:
    if not items:
        raise InvalidError("outputs is empty: say where the result goes, as [{type: oci, dest: /srv/images/hello.tar}]")
    outputs = tuple(_output(item, tags, epoch, f"outputs[{number}]") for number, item in enumerate(items))
    paths = [output.dest for output in outputs if output.dest]
    if len(set(paths)) != len(paths):
        raise InvalidError("outputs: two of them have the same dest")
    return outputs


def _output(item: Params, shared: t.Sequence[str], epoch: t.Optional[int], what: str) -> Output:
    tags = tuple(dict.fromkeys(_tag(tag, item["type"], what) for tag in item["tags"] or shared))
    attributes = _exporter_attributes(item, epoch, what)
    if item["type"] == REGISTRY:
        if item["dest"]:
            raise InvalidError(f"{what}: a registry has no dest: name the image by tags")
        if not tags:
            raise InvalidError(f"{what}: a registry needs tags, as [registry.example.com/hello:v1]")
        # Without it BuildKit pushes Docker's media types: another digest than the same image has in a layout.
        return Output(REGISTRY, tags, {"oci-mediatypes": "true", **attributes})
    if item["insecure"]:
        raise InvalidError(f"{what}: insecure is for outputs of type registry")
    if not item["dest"]:
        raise InvalidError(f"{what}: an output of type oci needs dest")
    reference.check_path(f"{what}.dest", item["dest"])
    return Output(OCI, tags, attributes, os.path.abspath(os.path.expanduser(item["dest"])), item["tar"])


def _tag(tag: str, kind: str, what: str) -> str:
    """An image name. A registry's is fully qualified; another one may be short, as ``docker build --tag`` takes it."""
    try:
        found = reference.parse(tag if kind == REGISTRY else qualified(tag))
    except InvalidError as error:
        raise InvalidError(f"{what}: the tag {tag!r} is no image name: {error.message}") from error
    if not isinstance(found, reference.RegistryReference) or found.digest:
        raise InvalidError(f"{what}: the tag {tag!r} is no image name: expected NAME:TAG")
    return tag if found.tag else f"{tag}:latest"


def _exporter_attributes(item: Params, epoch: t.Optional[int], what: str) -> t.Dict[str, str]:
    given = {_ATTRIBUTES[name]: item[name] for name in _ATTRIBUTES if item[name] not in (None, False)}
    if item["rewrite_timestamp"] and epoch is None:
        raise InvalidError(f"{what}: rewrite_timestamp needs source_date_epoch: the time that layers are to have")
    own = strings(item["attributes"], f"{what}.attributes")
    for name in own:
        if name in _RESERVED:
            raise InvalidError(f"{what}.attributes: {name} has an option of its own")
    texts = {name: "true" if value is True else str(value) for name, value in given.items()}
    return {**texts, **own}


def _build_context(name: str, value: str) -> str:
    if "://" in value or is_remote(value):
        return value
    return _folder(value, f"build_contexts[{name}]")


def _secret(item: Params, what: str, environment: t.Mapping[str, str]) -> Secret:
    if not _SECRET_ID.fullmatch(item["id"]):
        raise InvalidError(f"{what}.id is {item['id']!r}: expected letters, digits, dots, dashes, underscores")
    if item["src"] is not None:
        path = os.path.abspath(os.path.expanduser(item["src"]))
        if not os.path.isfile(path):
            raise NotFoundError(f"{what}.src: no such file: {item['src']}{_start_of(item['src'])}")
        return Secret(item["id"], src=path)
    if item["env"] is not None:
        if item["env"] not in environment:
            raise NotFoundError(f"{what}.env: the environment has no variable {item['env']} (environment: of the task sets it)")
        return Secret(item["id"], value=environment[item["env"]])
    return Secret(item["id"], value=item["value"])


def _flags(params: Params) -> t.Dict[str, t.Tuple[str, ...]]:
    labels, annotations = strings(params["labels"], "labels"), strings(params["annotations"], "annotations")
    flags = {
        "label": tuple(f"{name}={value}" for name, value in labels.items()),
        "annotation": tuple(f"{name}={value}" for name, value in annotations.items()),
        "ssh": tuple(params["ssh"]),
        "allow": tuple(params["allow"]),
        "add-host": tuple(f"{name}:{value}" for name, value in strings(params["add_hosts"], "add_hosts").items()),
    }
    single = {"target": params["target"], "network": params["network"], "provenance": params["provenance"], "sbom": params["sbom"]}
    single["shm-size"] = params["shm_size"]
    given = {name: (_BOOLEANS.get(text, text),) for name, text in single.items() if text}
    return {name: values for name, values in {**flags, **given}.items() if values}


def _transient(params: Params) -> t.Dict[str, t.Tuple[str, ...]]:
    flags = {
        "cache-from": tuple(params["cache_from"]),
        "cache-to": tuple(params["cache_to"]),
        "no-cache": ("true",) if params["no_cache"] else (),
        "no-cache-filter": tuple(params["no_cache_filter"]),
        "pull": ("true",) if params["pull"] == "always" else (),
    }
    return {name: values for name, values in flags.items() if values}

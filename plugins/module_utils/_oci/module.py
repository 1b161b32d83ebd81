# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Where the library meets Ansible: argument specs, opening what a reference names, errors to ``fail_json``."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible.module_utils.basic import missing_required_lib

from .content.archive import Archive
from .content.layout import Layout
from .copy import Stats, requests_of, stats_of
from .registry.options import RegistryOptions
from .registry.repository import Repository, open_repository
from .registry.transport import MissingRequests
from .spec import mediatype, reference
from .spec.errors import BuildError, InvalidError, OCIError, located

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from .content.store import Source, Target
    from .copy import CopyPlan, Outcome
    from .spec.descriptor import Descriptor

ARCHIVE_SUFFIX = ".tar"


def side_options() -> t.Dict[str, t.Any]:
    """How to reach one registry; documented by the fragment ``registry``."""
    return {
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "identity_token": {"type": "str", "no_log": True},
        "auth_file": {"type": "path"},
        "auth_hosts": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path", "no_log": False},
        "validate_certs": {"type": "bool", "default": True},
        "plain_http": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 30},
        "retries": {"type": "int", "default": 5},
    }


_REQUIREMENTS = {
    "required_together": [("username", "password"), ("client_cert", "client_key")],
    "mutually_exclusive": [("password", "identity_token")],
}


def registries_argument_spec() -> t.Dict[str, t.Any]:
    """``registries``: the options of registries by host, once for all tasks of the action group."""
    return {
        "registries": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"host": {"type": "str", "required": True}, **side_options()},
            **_REQUIREMENTS,
        }
    }


def side_argument_spec(aliases: t.Sequence[str] = ()) -> t.Dict[str, t.Any]:
    """The options of the registry on one side of a task."""
    return {"type": "dict", "options": side_options(), "aliases": list(aliases), **_REQUIREMENTS}


@contextlib.contextmanager
def failing(module: AnsibleModule) -> t.Iterator[None]:
    """The one place where errors of the library become ``fail_json``."""
    try:
        yield
    except MissingRequests as error:
        module.fail_json(msg=missing_required_lib("requests"), exception=str(error))
    except BuildError as error:
        module.fail_json(msg=str(error), build_log=error.log)
    except OCIError as error:
        module.fail_json(msg=str(error))


def open_source(
    module: AnsibleModule, text: str, ref: t.Optional[str], options: t.Optional[t.Dict[str, t.Any]]
) -> t.Tuple[reference.Reference, Source]:
    """What ``text`` names, to read from."""
    return _open_side(module, "source", text, ref, options)


def open_base(
    module: AnsibleModule, text: str, ref: t.Optional[str], options: t.Optional[t.Dict[str, t.Any]]
) -> t.Tuple[reference.Reference, Source]:
    """What ``text`` names, to build on."""
    return _open_side(module, "base", text, ref, options)


def open_target(
    module: AnsibleModule, text: str, ref: t.Optional[str], options: t.Optional[t.Dict[str, t.Any]]
) -> t.Tuple[reference.Reference, Target]:
    """What ``text`` names, to write to; nothing is created yet."""
    return _open_side(module, "destination", text, ref, options)


def open_layout(path: str, archive: t.Optional[bool] = None) -> t.Union[Layout, Archive]:
    """The layout at ``path``: what is on disk decides; for a path that is not there, its name (``.tar`` is an archive)."""
    if "\0" in path:
        raise InvalidError(f"not a path: {path!r}")
    full = os.path.abspath(os.path.expanduser(path))
    if os.path.isdir(full):
        if archive:
            raise InvalidError(f"{path} is a folder, not a tar: write oci:{path} for a layout folder")
        return Layout(full)
    if archive or os.path.lexists(full) or full.endswith(ARCHIVE_SUFFIX):
        return Archive(full)
    return Layout(full)


def _open_side(
    module: AnsibleModule, side: str, text: str, ref: t.Optional[str], options: t.Optional[t.Dict[str, t.Any]]
) -> t.Tuple[reference.Reference, t.Union[Layout, Archive, Repository]]:
    """The reference and its store, which names the side in its errors."""
    with located(f"{side} {text}"):
        parsed = reference.parse(text, ref)
        store: t.Union[Layout, Archive, Repository]
        if isinstance(parsed, reference.RegistryReference):
            found = _options_for(module, parsed, options)
            store = open_repository(parsed, found, module.warn, writing=side == "destination")
        elif options is not None:
            raise InvalidError("registry options are given, but this side is a layout")
        else:
            store = open_layout(parsed.path, parsed.archive)
        store.location = f"{side} {parsed}"
        return parsed, store


def _options_for(module: AnsibleModule, parsed: reference.RegistryReference, own: t.Optional[t.Dict[str, t.Any]]) -> RegistryOptions:
    """The side's own options, else those of ``registries`` for this host: credentials go only to the host they belong to."""
    chosen = own
    if chosen is None:
        matching = [item for item in module.params.get("registries") or [] if _same_host(item["host"], parsed)]
        chosen = {key: value for key, value in matching[-1].items() if key != "host"} if matching else {}
    options = RegistryOptions(**{key: value for key, value in chosen.items() if value is not None})
    at_least(1, timeout=int(options.timeout))
    at_least(0, retries=options.retries)
    return options


def at_least(minimum: int, **options: int) -> None:
    """Refuse an option below its minimum."""
    for name, value in options.items():
        if value < minimum:
            raise InvalidError(f"{name} is {value}, it must be at least {minimum}")


def _same_host(host: str, parsed: reference.RegistryReference) -> bool:
    return host.lower() in (parsed.registry, parsed.host)


def copy_result(plan: CopyPlan, outcome: t.Optional[Outcome], name: str, src: t.Optional[Source], dst: Target) -> t.Dict[str, t.Any]:
    """What a module returns of a copy: of the run with its ``outcome``, of check mode without. ``name`` is the destination's."""
    return {
        "changed": plan.changed,
        "digest": plan.root.digest,
        "reference": f"{name}@{plan.root.digest}",
        "media_type": plan.root.media_type,
        "tags": {tag: {"before": desc.digest if desc else None, "after": plan.root.digest} for tag, desc in plan.current.items()},
        "stats": {**vars(stats_of(plan, outcome)), "requests": requests_of(src, dst)},
        "diff": _copy_diff(plan, name),
    }


def is_unmade(src: reference.Reference) -> bool:
    """A layout at whose path there is nothing."""
    return isinstance(src, reference.LayoutReference) and not os.path.lexists(os.path.abspath(os.path.expanduser(src.path)))


def unmade_result(dest: reference.Reference, more: t.Sequence[str], src: Source, dst: Target) -> t.Dict[str, t.Any]:
    """What check mode returns of a copy whose source is still to be made: all that is known is what the tags name now."""
    names = [tag for tag in dict.fromkeys([dest.tag, *more]) if tag]
    current = {tag: dst.lookup(tag) for tag in names}
    digests = {tag: str(desc.digest) if desc else None for tag, desc in current.items()}
    lines = {tag: f"{tag}: {digest or 'absent'}\n" for tag, digest in digests.items()}
    return {
        "changed": True,
        "digest": None,
        "reference": dest.name,
        "media_type": None,
        "tags": {tag: {"before": digest, "after": None} for tag, digest in digests.items()},
        "stats": {**vars(Stats()), "requests": requests_of(src, dst)},
        "diff": {
            "before_header": dest.name,
            "after_header": dest.name,
            "before": "".join(lines.values()),
            "after": "".join(f"{tag}: still to be made\n" for tag in names),
        },
    }


def untag_result(target: t.Union[Layout, Archive], tag: str, name: str) -> t.Dict[str, t.Any]:
    """What a module returns of the removal of a ref, in check mode and in the run."""
    reference.check_ref_name(tag)
    digest = target.digest_of_name(tag)
    listed = f"{tag}: {digest}\n" if digest else f"{tag}: absent\n"
    return {
        "changed": digest is not None,
        "digest": digest,
        "tags": {tag: {"before": digest, "after": None}},
        "diff": {"before_header": name, "after_header": name, "before": listed, "after": f"{tag}: absent\n"},
    }


def _copy_diff(plan: CopyPlan, name: str) -> t.Dict[str, str]:
    """Names and content before and after: the same text in check mode and in the run."""
    before = [f"{tag}: {desc.digest if desc else 'absent'}" for tag, desc in plan.current.items()]
    after = [f"{tag}: {plan.root.digest}" for tag in plan.current]
    for desc in plan.missing:
        kind = "manifest" if mediatype.is_manifest(desc.media_type) else "blob"
        how = " mounted" if desc.digest in plan.mounted else ""
        after.append(f"{kind} {desc}{how}")
    return {
        "before_header": name,
        "after_header": name,
        "before": "".join(f"{line}\n" for line in before),
        "after": "".join(f"{line}\n" for line in after),
    }


def destination_tags(dest: reference.Reference, more: t.Sequence[str], root: Descriptor) -> t.List[str]:
    """The names that the destination is to have. Raises InvalidError for a bad one, and when ``dest`` has another digest than ``root``."""
    if dest.digest is not None and dest.digest != root.digest:
        raise InvalidError(f"destination {dest} has a digest that is not the source's, which is {root.digest}")
    check = reference.check_ref_name if isinstance(dest, reference.LayoutReference) else reference.check_tag
    with located(f"destination {dest}"):
        return [check(tag) for tag in dict.fromkeys([*([dest.tag] if dest.tag else []), *more])]

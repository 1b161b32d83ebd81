# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Where the library meets Ansible: argument specs, opening what a reference names, errors to ``fail_json``."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import typing as t

from ansible.module_utils.basic import missing_required_lib

from .content.beneath import remove_temps
from .signals import Watch
from .spec import reference
from .spec.errors import BuildError, InvalidError, MissingLibrary, OCIError, TransportError, located
from .spec.progress import PROGRESS

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from .content.archive import Archive
    from .content.layout import Layout
    from .content.store import Source, Target
    from .registry.options import RegistryOptions

ARCHIVE_SUFFIX = ".tar"
# Names the file that says how far a run is: plugins/plugin_utils/_progress.py.
PROGRESS_FILE = "LADING_OCI_PROGRESS"


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
    _leave_no_core()
    if sys.version_info < (3, 10):
        from .zip_imports import let_threads_wait

        let_threads_wait()
    with _telling(), Watch(_say_last) as watch:
        try:
            yield
        except SystemExit:
            raise
        except BaseException as error:
            # What fails while a run is being ended fails because of that.
            if watch.message:
                remove_temps()
                watch.answered()
                module.fail_json(msg=watch.message, interrupted=True)
            if not isinstance(error, OCIError):
                raise
            module.fail_json(**_told(error, module.argument_spec))


@contextlib.contextmanager
def _telling() -> t.Iterator[None]:
    """How far the run is, to who asked for it; a run with nothing to do starts nothing for that."""
    path = os.environ.get(PROGRESS_FILE)
    with contextlib.ExitStack() as stack:

        def begin() -> None:
            from .telling import telling

            stack.enter_context(telling(t.cast(str, path)))

        if path:
            PROGRESS.want(begin)
        yield


def _told(error: OCIError, options: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    if isinstance(error, MissingLibrary):
        return {"msg": missing_required_lib(error.library), "exception": str(error)}
    if isinstance(error, TransportError):
        from .advice import name_option

        name_option(error, options)
    return {"msg": str(error), **({"build_log": error.log} if isinstance(error, BuildError) else {})}


def _say_last(message: str) -> None:
    """The answer of a module that cannot end in an orderly way any more."""
    os.write(1, json.dumps({"failed": True, "changed": False, "msg": message, "interrupted": True}).encode() + b"\n")


def _leave_no_core() -> None:
    """A core dump would have the passwords of the task in it."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def open_source(
    module: AnsibleModule, text: str, ref: t.Optional[str], options: t.Optional[t.Dict[str, t.Any]]
) -> t.Tuple[reference.Reference, Source]:
    """What ``text`` names, to read from."""
    return _open_side(module, "source", text, ref, options)


def open_sources(module: AnsibleModule, items: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[t.Tuple[reference.Reference, Source]]:
    """What each item (``src``, ``src_ref``, ``src_registry``) names, in order; a store of several items is opened once."""
    opened: t.List[t.Tuple[reference.Reference, Source]] = []
    by_place: t.Dict[t.Tuple[str, str], Source] = {}
    for item in items:
        parsed, store = open_source(module, item["src"], item["src_ref"], item["src_registry"])
        # Shared by several tags or refs, so it is called by none of them in errors.
        store.location = f"source {parsed.name}"
        opened.append((parsed, by_place.setdefault((parsed.name, repr(item["src_registry"])), store)))
    return opened


def open_base(
    module: AnsibleModule, text: str, ref: t.Optional[str], options: t.Optional[t.Dict[str, t.Any]]
) -> t.Tuple[reference.Reference, Source]:
    """What ``text`` names, to build on."""
    return _open_side(module, "base", text, ref, options)


def open_image(
    module: AnsibleModule, text: str, options: t.Optional[t.Dict[str, t.Any]], folder: str = ""
) -> t.Tuple[reference.Reference, Source]:
    """What ``text`` names, to be told of. ``folder``: where the relative paths of layouts start, in place of the working directory."""
    return _open_one_of_many(module, "image", text, options, folder)


def open_repair(module: AnsibleModule, text: str, options: t.Optional[t.Dict[str, t.Any]]) -> t.Tuple[reference.Reference, Source]:
    """What ``text`` names, to repair a layout from."""
    return _open_one_of_many(module, "repair source", text, options)


def _open_one_of_many(
    module: AnsibleModule, side: str, text: str, options: t.Optional[t.Dict[str, t.Any]], folder: str = ""
) -> t.Tuple[reference.Reference, Source]:
    """The registry options are for those of the many that are in a registry."""
    with located(f"{side} {text}"):
        parsed = reference.parse(text)
        if isinstance(parsed, reference.RegistryReference):
            return parsed, _open(module, side, parsed, options)
        return parsed, _open(module, side, parsed._replace(path=os.path.join(folder, os.path.expanduser(parsed.path))), None)


def open_target(
    module: AnsibleModule, text: str, ref: t.Optional[str], options: t.Optional[t.Dict[str, t.Any]]
) -> t.Tuple[reference.Reference, Target]:
    """What ``text`` names, to write to; nothing is created yet."""
    return t.cast("t.Tuple[reference.Reference, Target]", _open_side(module, "destination", text, ref, options))


def open_layout(path: str, archive: t.Optional[bool] = None) -> t.Union[Layout, Archive]:
    """The layout at ``path``: what is on disk decides; for a path that is not there, its name (``.tar`` is an archive)."""
    if "\0" in path:
        raise InvalidError(f"not a path: {path!r}")
    full = os.path.abspath(os.path.expanduser(path))
    is_folder = os.path.isdir(full)
    if is_folder and archive:
        raise InvalidError(f"{path} is a folder, not a tar: write oci:{path} for a layout folder")
    # Of the two forms only the one that is used is imported: each run compiles what it imports.
    if not is_folder and (archive or os.path.lexists(full) or full.endswith(ARCHIVE_SUFFIX)):
        from .content.archive import Archive

        return Archive(full)
    from .content.layout import Layout

    return Layout(full)


def _open_side(
    module: AnsibleModule, side: str, text: str, ref: t.Optional[str], options: t.Optional[t.Dict[str, t.Any]]
) -> t.Tuple[reference.Reference, Source]:
    """The reference and its store, which names the side in its errors; of a destination a Target."""
    with located(f"{side} {text}"):
        parsed = reference.parse(text, ref)
        return parsed, _open(module, side, parsed, options)


def _open(module: AnsibleModule, side: str, parsed: reference.Reference, options: t.Optional[t.Dict[str, t.Any]]) -> Source:
    store: Source
    if isinstance(parsed, reference.RegistryReference):
        from .registry.repository import open_repository  # a task of layouts alone has no use for any of it

        found = options_for(module, parsed, options)
        store = open_repository(parsed, found, module.warn, writing=side == "destination")
    elif options is not None:
        raise InvalidError("registry options are given, but this side is a layout: leave them out")
    elif side != "destination":
        store = _readable(parsed)
    elif parsed.docker:
        raise InvalidError("docker-archive: is for sources; docker load reads a layout tar too, which is written oci-archive:PATH:NAME")
    else:
        store = open_layout(parsed.path, parsed.archive)
    store.location = f"{side} {parsed}"
    return store


def _readable(parsed: reference.LayoutReference) -> Source:
    store = open_layout(parsed.path, parsed.archive)
    if not store.is_tar:
        return store
    from .content.tar_source import TarSource

    return TarSource(store.path, parsed.docker)


def options_for(module: AnsibleModule, parsed: reference.RegistryReference, own: t.Optional[t.Dict[str, t.Any]]) -> RegistryOptions:
    """The side's own options, else those of ``registries`` for this host: credentials go only to the host they belong to."""
    from .registry.options import RegistryOptions

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


def is_unmade(src: reference.Reference) -> bool:
    """A layout at whose path there is nothing."""
    return isinstance(src, reference.LayoutReference) and not os.path.lexists(os.path.abspath(os.path.expanduser(src.path)))

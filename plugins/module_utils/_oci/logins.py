# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""A login is kept, in an auth file or in a credential helper, or taken away."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t
from dataclasses import dataclass, field, replace

from .content.beneath import NewFile, folder, open_regular, sweep
from .content.lock import locked_file
from .registry.authfile import MAX_SIZE, UNREADABLE, Credential
from .registry.authfile_writer import AuthFileWriter, helper_answer, same_credential
from .registry.helper import HelperAnswer, clear_helper, tell_helper
from .spec.errors import InvalidError, NotFoundError, printable, storage_errors

_LOCK_SECONDS = 120.0  # its holder may ask a credential helper twice, which has a minute each time
_OTHERS = 0o077
_MAX_LINKS = 40
_BARE = "without credentials"


class Login(t.NamedTuple):
    """What is to be: ``credential`` for ``registry``, None for none, in ``auth_file``. ``helper``: in that credential helper instead."""

    registry: str
    credential: t.Optional[Credential]
    auth_file: str
    helper: str = ""


class Line(t.NamedTuple):
    """What one place has, in words without a secret."""

    place: str
    before: str
    after: str


@dataclass(frozen=True)
class LoginPlan:
    """``helper``: who is to have the credentials, '' for the file. ``content``: what the file becomes, None when it stays as it is."""

    lines: t.Tuple[Line, ...]
    content: t.Optional[bytes] = field(repr=False)
    helper: str = ""
    server: str = ""
    told: t.Optional[HelperAnswer] = field(default=None, repr=False)
    cleared: bool = False

    @property
    def changed(self) -> bool:
        return self.told is not None or self.cleared or self.content is not None


class _Standing(t.NamedTuple):
    """The file as it is; ``status`` is None when it is not there."""

    content: bytes = b""
    status: t.Optional[os.stat_result] = None

    @property
    def is_open(self) -> bool:
        """Others than its owner may read or write it."""
        return self.status is not None and bool(self.status.st_mode & _OTHERS)


def plan_login(login: Login) -> LoginPlan:
    """What ``apply_login`` would do. Raises InvalidError for a file or helper that is broken, StorageError."""
    path = _followed(login.auth_file)
    standing = _Standing()
    with storage_errors(f"reading {login.auth_file}"), contextlib.suppress(NotFoundError), folder(os.path.dirname(path)) as parent:
        standing = _read(parent, os.path.basename(path), login.auth_file)
    return _plan(login, standing)


def apply_login(login: Login) -> LoginPlan:
    """What was done, one process at a time."""
    path = _followed(login.auth_file)
    parent_path, name = os.path.split(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(storage_errors(f"writing {login.auth_file}"))
        os.makedirs(parent_path, mode=0o700, exist_ok=True)
        parent = stack.enter_context(folder(parent_path))
        stack.enter_context(locked_file(parent, name, login.auth_file, _LOCK_SECONDS))
        standing = _read(parent, name, login.auth_file)
        plan = _plan(login, standing)
        # The helper first: the file says where credentials are, so they have to be there.
        if plan.told is not None:
            tell_helper(plan.helper, plan.server, plan.told)
        if plan.cleared:
            clear_helper(plan.helper, plan.server)
        if plan.content is not None:
            _replace(parent, name, plan.content, standing.status)
        return plan


def _followed(path: str) -> str:
    """Where the file really is. A link is followed when it is the user's own, or root's: others could lead us to any file."""
    path = os.path.abspath(path)
    for _hop in range(_MAX_LINKS):
        try:
            found = os.lstat(path)
        except OSError:
            return path
        if not stat.S_ISLNK(found.st_mode):
            return path
        if found.st_uid not in (os.geteuid(), 0):
            raise InvalidError(f"{path} is a link of another user: it is not followed")
        with storage_errors(f"reading {path}"):
            path = os.path.join(os.path.dirname(path), os.readlink(path))
    raise InvalidError(f"{path} is a link that leads over more than {_MAX_LINKS} others")


def _read(parent: int, name: str, shown: str) -> _Standing:
    try:
        descriptor, status = open_regular(parent, name, shown)
    except NotFoundError:
        return _Standing()
    with open(descriptor, "rb") as file:
        return _Standing(file.read(MAX_SIZE + 1), status)


def _plan(login: Login, standing: _Standing) -> LoginPlan:
    writer = AuthFileWriter(standing.content, login.auth_file)
    helper = login.helper or writer.file.helper_for(login.registry)
    plan = _plan_helper(login, writer, helper) if helper else _plan_file(login, writer)
    # Who keeps a password in the file wants it private, whoever made the file.
    if standing.is_open and (plan.content is not None or (login.credential is not None and not helper)):
        mode = stat.S_IMODE(t.cast(os.stat_result, standing.status).st_mode)
        private = Line("mode", f"{mode:04o}", "0600")
        plan = replace(plan, content=plan.content or standing.content, lines=(*plan.lines, private))
    return plan


def _plan_file(login: Login, writer: AuthFileWriter) -> LoginPlan:
    wanted, entries = login.credential, writer.file.entries(login.registry)
    lines = [
        Line(printable(key), _said(entries[key], wanted) if key in entries else "absent", _said(wanted, wanted) if wanted else "absent")
        for key in writer.keys(login.registry)
    ]
    if wanted is None:
        changed = writer.remove(login.registry)
    else:
        changed = not entries or not all(same_credential(found, wanted) for found in entries.values())
        if changed:
            writer.put(login.registry, wanted)
    return LoginPlan(tuple(lines), writer.content() if changed else None)


def _plan_helper(login: Login, writer: AuthFileWriter, helper: str) -> LoginPlan:
    wanted, registry = login.credential, login.registry
    if wanted is not None and wanted.identity_token:
        wanted = Credential(identity_token=wanted.identity_token)  # a helper has no room for a user name beside it
    entries, named = writer.file.entries(registry), writer.file.helper_for(registry)
    held = writer.file.ask(helper, registry)
    before = _said(held, wanted) if held is not None else "absent"
    lines = [Line(f"credential helper {helper}", before, _said(wanted, wanted) if wanted is not None else "absent")]
    if wanted is None:
        changed = writer.remove(registry)
        lines += [Line(printable(key), _said(found, wanted), "absent") for key, found in entries.items()]
    else:
        changed = writer.strip(registry)
        lines += [Line(printable(key), _said(found, wanted), _BARE) for key, found in entries.items() if found is not None]
        if helper != named:
            writer.name_helper(registry, helper)
            changed = True
            lines.append(Line("credHelpers", printable(named) or "absent", helper))
    told = helper_answer(wanted) if wanted is not None and not same_credential(held, wanted) else None
    content = writer.content() if changed else None
    return LoginPlan(tuple(lines), content, helper, writer.file.server_for(registry), told, wanted is None and held is not None)


def _said(found: t.Optional[Credential], wanted: t.Optional[Credential]) -> str:
    """An entry in words: whose it is, and whether its secret is the one that is wanted."""
    if found is None or found == UNREADABLE:
        return _BARE if found is None else "unreadable"
    which = kind = _kind(found)
    if wanted is not None and kind == _kind(wanted):
        which = f"the given {kind}" if _secret(found) == _secret(wanted) else f"another {kind}"
    return ", ".join(part for part in (printable(found.username), which) if part)


def _kind(credential: Credential) -> str:
    return "identity token" if credential.identity_token else "registry token" if credential.registry_token else "password"


def _secret(credential: Credential) -> str:
    return credential.identity_token or credential.registry_token or credential.password


def _replace(parent: int, name: str, content: bytes, before: t.Optional[os.stat_result]) -> None:
    """The file is new, and only its owner's to read; who owned it does so again."""
    sweep(parent, partials=False)
    with NewFile(parent, 0o600) as new:
        if before is not None and before.st_uid != os.fstat(new.fd).st_uid:
            os.fchown(new.fd, before.st_uid, before.st_gid)
        new.write(content)
        new.commit(name)

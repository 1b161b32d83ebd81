# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: oci_htpasswd
short_description: The htpasswd file of a registry's users
description:
  - A line for each user, with the password as bcrypt, which is the only hash that registries take.
  - A line that the file has already stays as it is while the password is the same, so that a second run changes nothing.
  - The passwords are hashed where templates are, on the controller. They are in no argument list, and do not reach the host.
  - The file's content is a secret of a kind. Give the task that writes it C(no_log) and C(diff=false).
positional: _input, existing
requirements:
  - On the controller, C(libcrypt) with bcrypt (every Linux distribution of today has it) or the Python package C(bcrypt).
options:
  _input:
    description:
      - The users, as dictionaries with C(name), and C(password) or C(hash), a bcrypt hash that is taken as it is.
      - bcrypt takes 72 bytes of a password. A longer one is an error.
    type: list
    elements: dict
    required: true
  existing:
    description:
      - What the file has now. Lines that cannot be used are replaced, and those of other users go.
    type: str
    default: ""
  cost:
    description:
      - The cost of new hashes, between 4 and 31. Each step doubles the time of every request with a login.
      - A line of another cost is replaced.
    type: int
    default: 10
author:
  - The lading.oci contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: The file of which the registry's service can read the lines
  ansible.builtin.copy:
    dest: /srv/htpasswd
    content: "{{ users | lading.oci.oci_htpasswd(existing) }}"
    mode: "0640"
  diff: false
  no_log: true
  vars:
    existing: "{{ lookup('ansible.builtin.file', '/srv/htpasswd', errors='ignore') | default('', true) }}"
    users:
      - name: deploy
        password: correct horse battery staple
"""

RETURN = r"""
_value:
  description: The file's content.
  type: str
  sample: "deploy:$2y$10$OPGvtqtOVzbVuZpDOh5KpeEy4PMLmCzy4WEBpKUE7FFp8IvjVJXCq\n"
"""

import base64
import ctypes
import ctypes.util
import hmac
import re
import secrets
import typing as t

from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import InvalidError
from ansible_collections.lading.oci.plugins.plugin_utils._errors import failing_filter

HASH = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")
SECRET_BYTES = 72
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
BCRYPT64 = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def oci_htpasswd(value: object, existing: object = "", cost: object = 10) -> str:
    with failing_filter():
        if isinstance(cost, bool) or not isinstance(cost, int) or not 4 <= cost <= 31:
            raise InvalidError(f"cost is a number from 4 to 31, not {str(cost)[:160]!r}")
        if not isinstance(existing, str):
            raise InvalidError("existing is the text of the file")
        if not isinstance(value, list):
            raise InvalidError("the users are a list")
        lines = dict(line.split(":", 1) for line in existing.splitlines() if ":" in line)
        users: t.Dict[str, str] = {}
        for user in value:
            name = _name(user)
            if name in users:
                raise InvalidError(f"user {name!r} is there twice")
            users[name] = _hash(name, user, lines.get(name, ""), cost)
        return "".join(f"{name}:{hashed}\n" for name, hashed in users.items())


def _name(user: object) -> str:
    name = user.get("name") if isinstance(user, dict) else None
    if not isinstance(name, str) or not name:
        raise InvalidError("every user has a name, and a password or a hash")
    if ":" in name or name.startswith("#") or name != name.strip() or not name.isprintable():
        raise InvalidError(f"user {name[:160]!r}: a name has no colon and no control character, no # at its start and no space around it")
    return name


def _hash(name: str, user: t.Mapping[str, t.Any], line: str, cost: int) -> str:
    password, hashed = user.get("password"), user.get("hash")
    if (password is None) == (hashed is None):
        raise InvalidError(f"user {name!r} needs a password or a hash, one of them")
    if hashed is not None:
        if not isinstance(hashed, str) or not HASH.fullmatch(hashed):
            raise InvalidError(f"the hash of user {name!r} is not bcrypt's: make one with `htpasswd -nB {name}`")
        return str(hashed)
    if not isinstance(password, str) or not password or "\0" in password:
        raise InvalidError(f"the password of user {name!r} is not text, or empty, or has a NUL in it")
    secret = password.encode("utf-8", "surrogateescape")
    if len(secret) > SECRET_BYTES:
        raise InvalidError(f"the password of user {name!r} is longer than the {SECRET_BYTES} bytes that bcrypt takes")
    known = HASH.fullmatch(line)
    if known and int(known["cost"]) == cost and hmac.compare_digest(_bcrypt(secret, line), line):
        return line
    return _bcrypt(secret, f"$2y${cost:02d}${_salt()}")


def _salt() -> str:
    encoded = base64.b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    return encoded.translate(str.maketrans(BASE64, BCRYPT64))


def _bcrypt(secret: bytes, setting: str) -> str:
    """bcrypt of ``secret`` with the salt and cost of ``setting``, which may be a whole hash."""
    for attempt in (_by_libcrypt, _by_package):
        hashed = attempt(secret, setting)
        if HASH.fullmatch(hashed):
            return hashed
    raise InvalidError(
        "bcrypt cannot be had on the controller: install libxcrypt or the Python package bcrypt where Ansible runs, or give users a hash"
    )


def _by_libcrypt(secret: bytes, setting: str) -> str:
    """Empty where libcrypt is missing; what is no hash of bcrypt where it does not know bcrypt."""
    try:
        crypt = ctypes.CDLL(ctypes.util.find_library("crypt")).crypt
    except (OSError, AttributeError):
        return ""
    crypt.argtypes, crypt.restype = [ctypes.c_char_p, ctypes.c_char_p], ctypes.c_char_p
    return (crypt(secret, setting.encode()) or b"").decode("ascii", "replace")


def _by_package(secret: bytes, setting: str) -> str:
    try:
        import bcrypt
    except ImportError:
        return ""
    return t.cast(bytes, bcrypt.hashpw(secret, setting.encode()[:29])).decode()


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"oci_htpasswd": oci_htpasswd}

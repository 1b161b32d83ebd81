# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter oci_htpasswd: lines that stay while the password is the same."""

from __future__ import annotations

import ctypes.util
import sys
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.lading.oci.plugins.filter import oci_htpasswd as filter_module
from ansible_collections.lading.oci.plugins.filter.oci_htpasswd import FilterModule

oci_htpasswd = FilterModule().filters()["oci_htpasswd"]
# Of the bcrypt test vectors that OpenBSD, libxcrypt and Go share: the password is "U*U".
VECTOR = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
needs_libcrypt = pytest.mark.skipif(not ctypes.util.find_library("crypt"), reason="this machine has no libcrypt")


def user(name: str = "deploy", password: str = "pass word: ü") -> t.Dict[str, str]:
    return {"name": name, "password": password}


@pytest.fixture(name="way", params=["libcrypt", "package"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """bcrypt by only one of both."""
    if request.param == "package":
        pytest.importorskip("bcrypt", reason="the Python package bcrypt is not installed")
        monkeypatch.setattr(filter_module.ctypes.util, "find_library", lambda name: "libnothing.so.0")
    else:
        if not ctypes.util.find_library("crypt"):
            pytest.skip("this machine has no libcrypt")
        monkeypatch.setitem(sys.modules, "bcrypt", None)
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_lines_stay_while_the_password_is_the_same() -> None:
    first = oci_htpasswd([user(), user("other")], cost=4)
    names, hashes = zip(*(line.split(":") for line in first.splitlines()))
    assert names == ("deploy", "other") and all(len(hashed) == 60 and hashed.startswith("$2y$04$") for hashed in hashes)
    assert hashes[0] != hashes[1], "the same password has two salts"
    assert oci_htpasswd([user(), user("other")], first, cost=4) == first
    changed = oci_htpasswd([user(password="another"), user("other")], first, cost=4).splitlines()
    assert changed[0] != first.splitlines()[0] and changed[1] == first.splitlines()[1]
    assert oci_htpasswd([user()], first, cost=5) != first.splitlines()[0] + "\n"


@pytest.mark.usefixtures("way")
def test_a_line_of_another_program() -> None:
    assert oci_htpasswd([user("jo", "U*U")], f"jo:{VECTOR}\n", cost=5) == f"jo:{VECTOR}\n"
    assert VECTOR not in oci_htpasswd([user("jo", "U*V")], f"jo:{VECTOR}\n", cost=5)


@needs_libcrypt
def test_both_ways_make_the_same_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bcrypt", reason="the Python package bcrypt is not installed")
    by_libcrypt = oci_htpasswd([user()], cost=4)
    monkeypatch.setattr(filter_module.ctypes.util, "find_library", lambda name: "libnothing.so.0")
    assert oci_htpasswd([user()], by_libcrypt, cost=4) == by_libcrypt


def test_a_hash_is_taken_as_it_is() -> None:
    assert oci_htpasswd([{"name": "jo", "hash": VECTOR}], "jo:other\n") == f"jo:{VECTOR}\n"
    assert oci_htpasswd([], "jo:other\n") == ""


@pytest.mark.parametrize("line", ["deploy", "deploy:", "deploy:$apr1$x$y", "#deploy:x", "deploy:*0"])
def test_what_stood_there_is_no_line_of_use(line: str) -> None:
    made = oci_htpasswd([user()], f"{line}\n", cost=4)
    assert made.startswith("deploy:$2y$04$") and made.count("\n") == 1


def test_without_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_module.ctypes.util, "find_library", lambda name: "libnothing.so.0")
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(AnsibleFilterError, match="bcrypt cannot be had on the controller: install") as error:
        oci_htpasswd([user(password="not to be seen")])
    assert "seen" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("deploy",), "the users are a list"),
        ((["deploy"],), "every user has a name"),
        (([{"password": "x"}],), "every user has a name"),
        (([user("a:b")],), "'a:b': a name has no colon"),
        (([user("#a")],), "a name has no colon"),
        (([user("a\nb")],), "a name has no colon"),
        (([user(" a")],), "a name has no colon"),
        (([user(), user()],), "'deploy' is there twice"),
        (([{"name": "jo"}],), "'jo' needs a password or a hash, one of them"),
        (([{**user(), "hash": VECTOR}],), "one of them"),
        (([{"name": "jo", "hash": "$apr1$x"}],), "not bcrypt's: make one with `htpasswd -nB jo`"),
        (([user(password="")],), "not text, or empty"),
        (([user(password="a\0b")],), "has a NUL in it"),
        (([user(password="ü" * 37)],), "longer than the 72 bytes"),
        (([user()], None), "existing is the text of the file"),
        (([user()], "", 3), "cost is a number from 4 to 31, not '3'"),
        (([user()], "", True), "cost is a number"),
    ],
)
def test_what_makes_no_sense(arguments: t.Tuple[t.Any, ...], says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says):
        oci_htpasswd(*arguments)


def test_the_longest_password() -> None:
    made = oci_htpasswd([user(password="ü" * 36)], cost=4)
    assert oci_htpasswd([user(password="ü" * 36)], made, cost=4) == made
    assert oci_htpasswd([user(password="ü" * 35 + "xy")], made, cost=4) != made

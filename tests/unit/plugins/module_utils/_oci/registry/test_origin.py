# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Origins, redaction, proxies and pauses, without a server."""

from __future__ import annotations

import email.utils
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.origin import (
    Secrets,
    host_of,
    quoted,
    resolve,
    same_origin,
    secrets,
)
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.proxies import proxy_for
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.retry import LONGEST_WAIT, Patience, retry_after
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import TransportError


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example.com/x", "https://a.example.com:443/y?z", True),
        ("http://a.example.com", "http://A.example.com:80/", True),
        ("http://[::1]:5000/", "http://[::1]:5000/v2/", True),
        ("https://a.example.com", "http://a.example.com", False),
        ("https://a.example.com", "https://a.example.com:8443", False),
        ("https://a.example.com", "https://b.a.example.com", False),
        ("https://a.example.com", "https://a.example.com.", False),
    ],
)
def test_same_origin(one: str, other: str, same: bool) -> None:
    assert same_origin(one, other) is same


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example.com/",
        "https:///x",
        "https://user@a.example.com/",
        "https://a.example.com\\@b.example.com/",
        "https://a.example.com/ x",
        "https://a.example.com/\tx",
        "https://a.example.com:99999/",
        "https://[::1/",
        "https://ä.example.com/",
        "javascript:alert(1)",
    ],
)
def test_what_is_no_plain_url(url: str) -> None:
    with pytest.raises(TransportError):
        same_origin(url, "https://a.example.com")


def test_resolve() -> None:
    base = "https://a.example.com/v2/x/blobs/uploads/"
    assert resolve(base, "../y?_state=a%2Fb#frag") == "https://a.example.com/v2/x/blobs/y?_state=a%2Fb"
    assert host_of(resolve(base, "//b.example.com:443/z")) == "b.example.com"
    with pytest.raises(TransportError, match="not encrypted: refused"):
        resolve(base, "http://a.example.com/y")
    with pytest.raises(TransportError):
        resolve(base, "file:///etc/passwd")


def test_redaction() -> None:
    secrets = Secrets()
    secrets.add_login("user", 'p"ss w/rd')
    secrets.add_query("https://s3.example.com/blob?X-Sig=0123456789abcdef0123&e=1")
    secrets.add("abc", None, "")
    for leaked in (
        'p"ss w/rd',
        'p\\"ss w/rd',
        "p%22ss%20w%2Frd",
        "p%22ss+w%2Frd",
        "dXNlcjpwInNzIHcvcmQ=",
        "0123456789abcdef0123",
    ):
        assert secrets.redact(f"x{leaked}y") == "x***y"
    assert secrets.redact("abc") == "abc"
    assert secrets.redact("see https://u:p@h.example.com/a?token=1#x or so") == "see https://h.example.com/a or so"
    assert secrets.redact("Authorization: Bearer eyJhbGciOi.x_-y basic dXNlcjpw") == "Authorization: Bearer *** basic ***"


def test_the_shortest_secrets_that_are_kept() -> None:
    secrets = Secrets()
    secrets.add("abc", "wxyz")
    secrets.add_query("https://s3.example.com/blob?sig=0123456789abcdef&short=0123456789abcde")
    assert secrets.redact("wxyz abc") == "*** abc"
    assert secrets.redact("0123456789abcdef, 0123456789abcde") == "***, 0123456789abcde"


def test_redaction_shows_no_more_than_8_kib() -> None:
    assert secrets.redact("x" * 9000) == "x" * 8192


def test_redaction_of_a_text_that_was_folded_or_encoded_otherwise() -> None:
    secrets.add("folded  or\tnot/so")
    assert quoted("you sent folded  or\tnot/so here") == "you sent *** here"
    assert quoted("you sent folded or\r\n not/so here") == "you sent *** here"
    assert quoted("you sent folded%20%20or%09not%2fso here") == "you sent *** here"


def test_redaction_of_a_long_text_is_quick_and_cuts_no_secret_in_half() -> None:
    secrets = Secrets()
    secrets.add("s" * 1000)
    assert set(secrets.redact("s" * 1000 * 100)) == {"*"}
    start = time.process_time()
    secrets.redact("https://" * 100_000)
    assert time.process_time() - start < 1


def test_quoted_is_one_short_printable_line() -> None:
    assert quoted("a\n\tb\x1b[31m") == "a b\\x1b[31m"
    assert len(quoted("x" * 5000)) <= 1024 + 3


LOCAL = {"http_proxy": "http://proxy:3128", "https_proxy": "http://secure:3128"}


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://r.example.com/", LOCAL, "http://secure:3128"),
        ("http://r.example.com/", LOCAL, "http://proxy:3128"),
        ("http://r.example.com/", {"HTTP_PROXY": "proxy:3128"}, "http://proxy:3128"),
        ("http://r.example.com/", {"HTTP_PROXY": "http://proxy:3128", "REQUEST_METHOD": "GET"}, None),
        ("https://r.example.com/", {"ALL_PROXY": "socks5://proxy"}, "socks5://proxy"),
        ("https://r.example.com/", {"HTTPS_PROXY": "http://upper", "https_proxy": "http://lower"}, "http://lower"),
        ("http://localhost:5000/", LOCAL, None),
        ("http://127.1.2.3:5000/", LOCAL, None),
        ("http://[::1]:5000/", LOCAL, None),
        ("http://r.example.com/", {**LOCAL, "NO_PROXY": "*"}, None),
        ("http://r.example.com/", {**LOCAL, "no_proxy": "x, example.com"}, None),
        ("http://example.com/", {**LOCAL, "no_proxy": "example.com"}, None),
        ("http://example.com/", {**LOCAL, "no_proxy": ".example.com"}, "http://proxy:3128"),
        ("http://badexample.com/", {**LOCAL, "no_proxy": "example.com"}, "http://proxy:3128"),
        ("http://r.example.com:5000/", {**LOCAL, "no_proxy": "r.example.com:5000"}, None),
        ("http://r.example.com:5001/", {**LOCAL, "no_proxy": "r.example.com:5000"}, "http://proxy:3128"),
        ("http://10.1.2.3/", {**LOCAL, "no_proxy": "10.0.0.0/8"}, None),
        ("http://11.1.2.3/", {**LOCAL, "no_proxy": "10.0.0.0/8,nonsense/x"}, "http://proxy:3128"),
        ("http://[fd00::1]/", {**LOCAL, "no_proxy": "fd00::1"}, None),
        ("http://r.example.com/", {}, None),
    ],
)
def test_proxy(url: str, environ: t.Dict[str, str], proxy: t.Optional[str]) -> None:
    assert proxy_for(url, environ) == proxy


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (email.utils.formatdate(1030, usegmt=True), 30),
        (email.utils.formatdate(900), None),
        (email.utils.formatdate(-1030), None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: t.Optional[float]) -> None:
    assert retry_after({"Retry-After": value}, now=1000) == seconds
    assert retry_after({"Retry-After": value, "Date": "today"}, now=1000) == seconds


@pytest.mark.parametrize("now", [0, 1e9, 4e9])
def test_a_date_is_by_the_registrys_clock(now: float) -> None:
    """Threat row 35: this machine's clock may be years off, either way."""
    said = {"Date": email.utils.formatdate(2e9, usegmt=True)}
    assert retry_after({"Retry-After": email.utils.formatdate(2e9 + 30, usegmt=True), **said}, now) == 30
    assert retry_after({"Retry-After": email.utils.formatdate(2e9 - 30, usegmt=True), **said}, now) == 0
    assert retry_after({"Retry-After": "30", **said}, now) == 30
    assert retry_after(said, now) is None


def test_patience_grows_and_ends() -> None:
    pauses: t.List[float] = []
    patience = Patience(8, pauses.append)
    while patience.wait():
        pass
    assert len(pauses) == 8
    assert all(2**number / 4 <= pause <= 2**number / 2 for number, pause in enumerate(pauses[:6]))
    assert max(pauses) <= 30


def test_patience_keeps_to_what_was_asked() -> None:
    pauses: t.List[float] = []
    patience = Patience(2, pauses.append)
    assert patience.wait(3)
    with pytest.raises(TransportError, match="wait 86400 seconds"):
        patience.wait(86400)
    assert pauses == [3]
    assert LONGEST_WAIT == 120

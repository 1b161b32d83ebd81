# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attempts to have credentials sent elsewhere, as data: what the registry does, and how a client may take it."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from trap import COOKIE, REPOSITORY, SIGNATURE, Trap

REFUSED, SUCCEEDS, EITHER = "refused", "succeeds", "either"
PULL, PUSH = "pull", "push"
_BLOB, _MANIFEST, _UPLOADS, _SESSION = "/blobs/{layer}", "/manifests/", "/blobs/uploads/$", "/blobs/uploads/session"


@dataclasses.dataclass(frozen=True)
class Lure:
    """``outcome`` and ``message`` (a pattern) are what ours has to show; ``stranger``: whether ours may ask the other origin at all."""

    name: str
    verb: str
    bait: t.Callable[[Trap], None]
    outcome: str = REFUSED
    message: str = "refused"
    stranger: bool = False
    login: str = "basic"
    peers: bool = True


def _where(trap: Trap, form: str) -> str:
    """``form`` with the names of both servers in it."""
    return form.format(
        evil=trap.evil.host,
        front=trap.front.host,
        evil_port=trap.evil.port,
        front_port=trap.front.port,
        layer=trap.front.layer_digest,
        signature=SIGNATURE,
    )


def _always(trap: Trap, method: str, path: str, action: fake.Action) -> None:
    """Once the client is logged in; before, the registry asks for the login as always."""

    def guarded(handler: fake.Handler) -> None:
        if handler._let_in(REPOSITORY):
            action(handler)

    trap.front.fault(method, path.replace("{layer}", trap.front.layer_digest), guarded, times=float("inf"))


def _location(method: str, path: str, status: int, form: str) -> t.Callable[[Trap], None]:
    return lambda trap: _always(trap, method, path, fake.answer(status, {"Location": _where(trap, form)}))


_AT_EVIL = "http://{evil}/v2/" + REPOSITORY + "/blobs/{layer}"


def _redirects() -> t.List[Lure]:
    """Row 45: of a blob, elsewhere."""
    followed: t.Dict[str, t.Any] = {"outcome": SUCCEEDS, "message": "", "stranger": True}
    lures = [
        Lure(f"r45-blob-{status}", PULL, _location("GET", _BLOB, status, _AT_EVIL), **followed) for status in (301, 302, 303, 307, 308)
    ]
    lures += [
        Lure(f"r45-blob-{login}", PULL, _location("GET", _BLOB, 307, _AT_EVIL), login=login, **followed) for login in ("bearer", "none")
    ]
    path = "/v2/" + REPOSITORY + "/blobs/{layer}"
    elsewhere = {
        "other-name": "http://localhost:{evil_port}" + path,
        "without-scheme": "//{evil}" + path,
        "signed": "http://{evil}" + path + "?X-Amz-Signature={signature}",
        "upper-case": "HTTP://{evil}" + path,
    }
    lures += [Lure(f"r45-blob-{name}", PULL, _location("GET", _BLOB, 307, form), **followed) for name, form in elsewhere.items()]
    bad = {
        "user-info": "http://{front}@{evil}" + path,
        "user-and-password": "http://a:b@{evil}" + path,
        "backslash": "http://{evil}\\@{front}" + path,
        "file": "file:///etc/passwd",
        "no-host": "http:///etc/passwd",
        "port-of-letters": "http://{front}x" + path,
        "fragment": "http://{evil}#@{front}" + path,
    }
    lures += [
        Lure(f"r45-blob-{name}", PULL, _location("GET", _BLOB, 307, form), message="", outcome=EITHER, stranger=name == "fragment")
        for name, form in bad.items()
    ]
    lures += [
        Lure(
            "r45-manifest-get", PULL, _location("GET", _MANIFEST, 307, "http://{evil}/v2/" + REPOSITORY + "/manifests/v1"), EITHER, "", True
        ),
        Lure(
            "r45-manifest-head",
            PULL,
            _location("HEAD", _MANIFEST, 307, "http://{evil}/v2/" + REPOSITORY + "/manifests/v1"),
            EITHER,
            "",
            True,
        ),
        Lure("r45-blob-head", PUSH, _location("HEAD", _BLOB, 307, _AT_EVIL), EITHER, "", True),
        Lure("r45-token-in-chain", PULL, _location("GET", _BLOB, 307, _AT_EVIL + "?again"), login="bearer", **followed),
        Lure("r45-loop", PULL, _location("GET", _BLOB, 307, "/v2/" + REPOSITORY + "/blobs/{layer}"), message="redirects more than"),
    ]
    return lures


def _back(trap: Trap) -> None:
    """To the stranger and back: the registry must not get the login from there."""
    _always(trap, "GET", _BLOB + "$", fake.answer(307, {"Location": _where(trap, _AT_EVIL)}))
    back = f"http://{trap.front.host}/v2/{REPOSITORY}/blobs/{trap.front.layer_digest}?back"
    trap.evil.fault("GET", "/blobs/", fake.answer(307, {"Location": back}), times=float("inf"))


def _evil_says(status: int, headers: t.Mapping[str, str], body: bytes = b"") -> t.Callable[[Trap], None]:
    """The stranger that a blob is redirected to answers like this; ``headers`` may have the names of the servers in them."""

    def bait(trap: Trap) -> None:
        _location("GET", _BLOB, 307, _AT_EVIL + "?X-Amz-Signature={signature}")(trap)
        said = {name: _where(trap, value) for name, value in headers.items()}
        trap.evil.fault("GET", "/blobs/", fake.answer(status, said, body), times=float("inf"))

    return bait


def _strangers() -> t.List[Lure]:
    """Rows 46, 54 and 59: what the stranger does with those who come."""
    signed = SIGNATURE.encode()
    said = {
        "basic": (401, {"WWW-Authenticate": 'Basic realm="storage"'}, b""),
        "bearer-there": (401, {"WWW-Authenticate": 'Bearer realm="http://{evil}/token",service="x"'}, b""),
        "bearer-here": (401, {"WWW-Authenticate": 'Bearer realm="http://{front}/token",service="x"'}, b""),
        "digest": (401, {"WWW-Authenticate": 'Digest realm="x", nonce="y"'}, b""),
        "proxy": (407, {"Proxy-Authenticate": 'Basic realm="proxy"'}, b""),
        "says-the-query": (403, {"Content-Type": "text/plain"}, b"bad signature " + signed),
        "says-it-in-json": (403, {"Content-Type": "application/json"}, b'{"errors":[{"code":"DENIED","message":"' + signed + b'"}]}'),
        "says-it-in-detail": (
            403,
            {"Content-Type": "application/json"},
            b'{"errors":[{"code":"DENIED","detail":"' + b"x" * 285 + signed + b'"}]}',
        ),
        "escape": (403, {"Content-Type": "text/plain"}, b"\x1b[2J\x1b]0;owned\x07\r\nok: [localhost]"),
        "warning": (403, {"Warning": '299 - "\x1b[31m changed: [localhost]"'}, b""),
    }
    return [
        Lure("r46-second-hop-back", PULL, _back, REFUSED, "401", True),
        Lure("r46-second-hop-back-bearer", PULL, _back, REFUSED, "401", True, "bearer"),
        *(Lure(f"r46-stranger-{name}", PULL, _evil_says(*answer), REFUSED, "", True) for name, answer in said.items()),
    ]


def _uploads() -> t.List[Lure]:
    """Row 50: an upload that goes on elsewhere."""
    path = "/v2/" + REPOSITORY + "/blobs/uploads/session-1?_state=x"
    forms = {
        "absolute": "http://{evil}" + path,
        "without-scheme": "//{evil}" + path,
        "user-info": "http://{front}@{evil}" + path,
        "other-scheme": "https://{front}" + path,
        "other-name": "http://localhost:{front_port}" + path,
        "other-name-and-port": "http://localhost:{evil_port}" + path,
        "fragment": "http://{evil}#@{front}" + path,
        "backslash": "http://{evil}\\@{front}" + path,
        "two-backslashes": "\\\\{evil}" + path,
        "file": "file:///etc/passwd",
        "metadata": "http://169.254.169.254" + path,
        "no-host": "http:///x",
    }
    lures = [
        Lure(
            f"r50-location-{name}",
            PUSH,
            _location("POST", _UPLOADS, 202, form),
            REFUSED,
            "refused|not an? |404|400",
            peers=name != "metadata",
        )
        for name, form in forms.items()
    ]
    for method, path_, statuses in (
        ("POST", _UPLOADS, (302, 307, 308)),
        ("PUT", _SESSION, (302, 307, 308)),
        ("PUT", _MANIFEST, (302, 307)),
    ):
        where = "manifest" if path_ == _MANIFEST else "blob"
        lures += [
            Lure(f"r50-{method.lower()}-{where}-{status}", PUSH, _location(method, path_, status, "http://{evil}" + path), REFUSED, "")
            for status in statuses
        ]

    def stored_elsewhere(trap: Trap) -> None:
        _always(trap, "PUT", _MANIFEST, fake.header_changed(Location=f"http://{trap.evil.host}/v2/{REPOSITORY}/manifests/v1"))
        _always(trap, "PUT", _SESSION, fake.header_changed(Location=f"http://{trap.evil.host}/v2/{REPOSITORY}/blobs/x"))

    lures.append(Lure("r50-stored-elsewhere", PUSH, stored_elsewhere, SUCCEEDS, ""))
    lures.append(Lure("r50-bearer", PUSH, _location("POST", _UPLOADS, 202, forms["absolute"]), login="bearer"))
    return lures


def _realm(form: str) -> t.Callable[[Trap], None]:
    def bait(trap: Trap) -> None:
        trap.front.bearer = _where(trap, form)
        trap.evil.token_login = ""

    return bait


def _token_answer(action: t.Callable[[Trap], fake.Action]) -> t.Callable[[Trap], None]:
    def bait(trap: Trap) -> None:
        for method in ("GET", "POST"):
            trap.front.fault(method, "^/token", action(trap), times=float("inf"))

    return bait


def _repeats_the_header(handler: fake.Handler) -> None:
    sent = handler.headers.get("Authorization", "none")
    body = json.dumps({"errors": [{"code": "DENIED", "message": f"bad {sent}", "detail": {"headers": [sent]}}]}).encode()
    handler.answer(403, {"Content-Type": "application/json", "Warning": f'299 - "you sent {sent}"'}, body)


def _realms() -> t.List[Lure]:
    """Row 49: the login at somebody else's."""
    forms = {
        "other-port": "http://{evil}/token",
        "other-name": "http://localhost:{evil_port}/token",
        "own-port-other-name": "http://localhost:{front_port}/token",
        "other-scheme": "https://{evil}/token",
        "own-host-other-scheme": "https://{front}/token",
        "user-info": "http://{front}@{evil}/token",
        "password": "http://canary:x@{evil}/token",
        "file": "file:///etc/passwd",
        "relative": "/token",
        "without-scheme": "//{evil}/token",
        "backslash": "http://{evil}\\@{front}/token",
        "metadata": "http://169.254.169.254/latest/meta-data/iam",
        "metadata-number": "http://2852039166/latest",
        "metadata-v6": "http://[fd00:ec2::254]/latest",
    }
    refusal = "refused|not an? "
    lures = [
        Lure(f"r49-realm-{name}", PULL, _realm(form), REFUSED, refusal, login="bearer", peers=not name.startswith("metadata"))
        for name, form in forms.items()
    ]
    lures += [
        Lure("r49-realm-of-a-push", PUSH, _realm(forms["other-port"]), REFUSED, refusal, login="bearer"),
        Lure("r49-two-challenges", PULL, _both, REFUSED, refusal, login="bearer"),
        Lure("r49-token-redirected", PULL, _token_answer(_to_evil), REFUSED, "gives no token", login="bearer"),
        Lure("r54-token-server-repeats", PULL, _token_answer(lambda trap: _repeats_the_header), REFUSED, "403", login="bearer"),
    ]
    return lures


def _both(trap: Trap) -> None:
    said = f'Bearer realm="http://{trap.evil.host}/token",service="x", Basic realm="http://{trap.evil.host}/"'
    for method in ("GET", "HEAD"):
        trap.front.fault(method, "/v2/", fake.answer(401, {"WWW-Authenticate": said}), times=float("inf"))


def _to_evil(trap: Trap) -> fake.Action:
    return fake.answer(307, {"Location": f"http://{trap.evil.host}/token"})


def _registries() -> t.List[Lure]:
    """Rows 29, 47, 54 and 58: what else a registry may say."""

    def urls(media_type: str) -> t.Callable[[Trap], None]:
        def bait(trap: Trap) -> None:
            trap.front.state.manifests.clear()
            trap.front.put_image({"mediaType": media_type, "urls": [_where(trap, _AT_EVIL)]})
            del trap.front.state.blobs[trap.front.layer_digest]

        return bait

    def cookies(trap: Trap) -> None:
        changed = fake.header_changed(Set_Cookie=f"session={COOKIE}; Path=/; Domain=127.0.0.1")
        for method in ("GET", "HEAD"):
            _always(trap, method, _MANIFEST, changed)
        _location("GET", _BLOB, 307, _AT_EVIL)(trap)

    def hints(trap: Trap) -> None:
        evil = f"http://{trap.evil.host}/"
        changed = fake.header_changed(
            Alt_Svc=f'h2="{trap.evil.host}"', Refresh=f"0;url={evil}", Content_Location=evil, Link=f'<{evil}>; rel="canonical"'
        )
        for method in ("GET", "HEAD"):
            _always(trap, method, "/v2/", changed)

    def repeats(method: str, path: str) -> t.Callable[[Trap], None]:
        return lambda trap: _always(trap, method, path, _repeats_the_header)

    tar = "application/vnd.oci.image.layer"
    lures = [
        Lure("r29-urls", PULL, urls(f"{tar}.v1.tar+gzip"), REFUSED, "not found|404"),
        Lure("r29-urls-nondistributable", PULL, urls(f"{tar}.nondistributable.v1.tar+gzip"), EITHER, ""),
        Lure("r29-urls-foreign", PULL, urls("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), EITHER, ""),
        Lure("r47-cookies", PULL, cookies, SUCCEEDS, "", True),
        Lure("r58-hints-of-other-places", PULL, hints, SUCCEEDS, ""),
    ]
    for login in ("basic", "bearer"):
        lures += [
            Lure(f"r54-{name}-repeats-{login}", verb, repeats(method, path), REFUSED, "", login=login)
            for name, verb, method, path in (
                ("manifest", PULL, "GET", _MANIFEST),
                ("blob", PULL, "GET", _BLOB),
                ("upload", PUSH, "POST", _UPLOADS),
                ("name", PUSH, "PUT", _MANIFEST),
            )
        ]
    return lures


LURES = [*_redirects(), *_strangers(), *_uploads(), *_realms(), *_registries()]
assert len({lure.name for lure in LURES}) == len(LURES) and all(re.match("r[0-9]{2}-", lure.name) for lure in LURES)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nobody who cannot prove to be the registry is told anything, and nothing takes TLS away (threat rows 45, 47 to 50, 53)."""

from __future__ import annotations

import contextlib
import pathlib
import ssl
import typing as t
import warnings

import clients
import pytest
import tally as tallies
import trap as traps
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.options import RegistryOptions
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.tls import ssl_context
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from certificates import HOST, Authority
from clients import LAYOUT, REGISTRY, Access, Place
from cryptography.x509.oid import ExtendedKeyUsageOID

BAD: t.Dict[str, t.Dict[str, t.Any]] = {
    "other-address": {"host": "127.0.0.9"},
    "other-name": {"host": "registry.example.com"},
    "name-that-looks-like-the-address": {"host": "127.0.0.1.example.com"},
    "expired": {"days": (-9, -1)},
    "not-yet-valid": {"days": (2, 9)},
    "for-clients-only": {"purpose": ExtendedKeyUsageOID.CLIENT_AUTH},
    "self-signed": {"self_signed": True},
}
BLOB = f"/v2/{traps.REPOSITORY}/blobs/{{layer}}"


@pytest.fixture(name="authority")
def _authority(tmp_path: pathlib.Path) -> Authority:
    return Authority(tmp_path)


@contextlib.contextmanager
def _front(
    certificate: t.Tuple[pathlib.Path, pathlib.Path], change: t.Callable[[ssl.SSLContext], None] = lambda _context: None
) -> t.Iterator[traps.Trap]:
    """A trap whose registry has this certificate."""
    with traps.set_up() as trap:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, certificate))
        change(context)
        trap.front.wrap_tls(context)
        yield trap


def _pull(
    client_class: t.Type[clients.Client], trap: traps.Trap, tmp_path: pathlib.Path, ca_file: t.Optional[pathlib.Path], **more: t.Any
) -> clients.Run:
    access = Access(
        plain_http=False,
        ca_file=str(ca_file) if ca_file else None,
        credentials={trap.front.host: (traps.USER, traps.PASSWORD)},
        environment=more,
    )
    done = client_class(tmp_path / "client", access).copy(
        Place(REGISTRY, f"{trap.front.host}/{traps.REPOSITORY}"), Place(LAYOUT, str(tmp_path / "layout"))
    )
    assert done is not None
    return done


def _refused(trap: traps.Trap, done: clients.Run, told: bool = False) -> t.List[str]:
    """``told``: the registry itself could prove who it is, and may know the login."""
    problems = trap.leaks() + trap.shown(done.output) + (["it succeeded"] if done.succeeded else [])
    problems += ["a traceback"] if done.traceback else []
    return problems + (["the registry was asked: " + trap.front.told()] if trap.front.seen and not told else [])


def test_control(client_class: t.Type[clients.Client], authority: Authority, tmp_path: pathlib.Path) -> None:
    with _front(authority.issue("server")) as trap:
        done = _pull(client_class, trap, tmp_path, authority.path)
        assert done.succeeded, done.output
        assert traps.BASIC in trap.front.told()


@pytest.mark.parametrize("kind", [*BAD, "unknown-ca"])
def test_certificate(
    kind: str, client_class: t.Type[clients.Client], authority: Authority, report: t.Callable[..., None], tmp_path: pathlib.Path
) -> None:
    """r53: one thing is wrong with the certificate."""
    trusted = Authority(tmp_path, "another CA").path if kind == "unknown-ca" else authority.path
    with _front(authority.issue("server", **BAD.get(kind, {}))) as trap:
        done = _pull(client_class, trap, tmp_path, trusted)
        problems = _refused(trap, done)
        if client_class is clients.Ours and "certificate" not in done.output:
            problems.append(f"the message says nothing of the certificate: {done.output}")
    report(tallies.CREDENTIALS, problems, f"r53-{kind}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["r53-tls-1.0", "r53-tls-1.1"])
def test_old_versions(
    version: ssl.TLSVersion,
    client_class: t.Type[clients.Client],
    authority: Authority,
    report: t.Callable[..., None],
    tmp_path: pathlib.Path,
) -> None:
    """r53: a server with nothing newer. That it does serve is seen with a client that takes it."""

    def old(context: ssl.SSLContext) -> None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version

    with _front(authority.issue("server"), old) as trap:
        if not _serves(trap.front.host, authority.path, old):
            assert ssl_context(HOST, RegistryOptions()).minimum_version == ssl.TLSVersion.TLSv1_2
            return
        report(tallies.CREDENTIALS, _refused(trap, _pull(client_class, trap, tmp_path, authority.path)))


def _serves(host: str, ca_file: pathlib.Path, change: t.Callable[[ssl.SSLContext], None]) -> bool:
    """Whether OpenSSL here is willing to speak such a version at all."""
    import socket

    context = ssl.create_default_context(cafile=str(ca_file))
    change(context)
    name, _colon, port = host.rpartition(":")
    try:
        with socket.create_connection((name, int(port)), 10) as plain, context.wrap_socket(plain, server_hostname=name):
            return True
    except ssl.SSLError:
        return False


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_environment(
    variable: str, ours: t.Type[clients.Ours], authority: Authority, report: t.Callable[..., None], tmp_path: pathlib.Path
) -> None:
    """r53: what requests and curl read from the environment neither adds trust nor takes the given one away."""
    with _front(authority.issue("server")) as trap:
        problems = _refused(trap, _pull(ours, trap, tmp_path, None, **{variable: str(authority.path)}))
        other = Authority(tmp_path, "another CA").path
        done = _pull(ours, trap, tmp_path, authority.path, **{variable: str(other), "SSL_CERT_FILE": str(other)})
        problems += [] if done.succeeded else [f"ca_path does not count: {done.output}"]
    report(tallies.CREDENTIALS, problems)


def test_off_on_one_side(ours: t.Type[clients.Ours], authority: Authority, report: t.Callable[..., None], tmp_path: pathlib.Path) -> None:
    """r53: validate_certs=false is for one registry of a task, and not for the other."""
    with _front(authority.issue("server")) as one, _front(authority.issue("other")) as two:
        client = ours(tmp_path / "client", Access(plain_http=False, credentials={two.front.host: (traps.USER, traps.PASSWORD)}))
        one.front.basic = ""
        options = client.registry_options()
        arguments = {
            "src": f"{one.front.host}/{traps.REPOSITORY}:v1",
            "src_registry": {**options, "validate_certs": False},
            "dest": f"{two.front.host}/{traps.REPOSITORY}:v2",
        }
        done = client.module("oci_copy", {**arguments, "dest_registry": options})
        problems = _refused(two, done) + ([] if one.front.seen else ["the side without verification was not asked"])
        problems += [] if "not trusted" in done.output else [f"another error: {done.output}"]
        done = client.module("oci_copy", {**arguments, "dest_registry": {**options, "ca_path": str(authority.path)}})
        problems += [] if done.succeeded else [f"the control failed: {done.output}"]
    report(tallies.CREDENTIALS, problems)


DOWNGRADES = {
    "r45-redirect": ("GET", "/blobs/{layer}", 307, {"Location": "http://{evil}" + BLOB}),
    "r45-redirect-to-itself": ("GET", "/blobs/{layer}", 307, {"Location": "http://{front}" + BLOB}),
    "r45-manifest": ("GET", "/manifests/", 307, {"Location": "http://{evil}/v2/" + traps.REPOSITORY + "/manifests/v1"}),
    "r49-realm": ("(GET|HEAD)", "/v2/", 401, {"WWW-Authenticate": 'Bearer realm="http://{front}/token",service="x"'}),
    "r49-realm-elsewhere": ("(GET|HEAD)", "/v2/", 401, {"WWW-Authenticate": 'Bearer realm="http://{evil}/token",service="x"'}),
}


@pytest.mark.parametrize("name", DOWNGRADES)
def test_downgrade(
    name: str, client_class: t.Type[clients.Client], authority: Authority, report: t.Callable[..., None], tmp_path: pathlib.Path
) -> None:
    """The registry has TLS and leads to a place that has none."""
    methods, path, status, headers = DOWNGRADES[name]
    with _front(authority.issue("server")) as trap:
        names = {"front": trap.front.host, "evil": trap.evil.host, "layer": trap.front.layer_digest}
        action = fake.answer(status, {key: value.format(**names) for key, value in headers.items()})
        for method in ("GET", "HEAD") if "|" in methods else (methods,):
            trap.front.fault(method, path.format(**names), _when_let_in(action) if status != 401 else action, times=float("inf"))
        done = _pull(client_class, trap, tmp_path, authority.path)
        problems = _refused(trap, done, told=True)
        if client_class is not clients.Ours:
            problems = trap.leaks(strict=False) + trap.shown(done.output)
        elif trap.evil.seen:
            problems.append("the place without TLS was asked")
    report(tallies.CREDENTIALS, problems, name)


def _when_let_in(action: fake.Action) -> fake.Action:
    def guarded(handler: fake.Handler) -> None:
        if handler._let_in(traps.REPOSITORY):
            action(handler)

    return guarded


@pytest.mark.parametrize("given", ["option", "certs.d"])
def test_client_certificate(
    given: str, ours: t.Type[clients.Ours], authority: Authority, report: t.Callable[..., None], tmp_path: pathlib.Path
) -> None:
    """r47: the registry sees the client certificate, the place that it redirects to does not."""
    seen: t.Dict[str, t.List[bool]] = {"front": [], "evil": []}

    def look(who: str, action: fake.Action) -> fake.Action:
        def looking(handler: fake.Handler) -> None:
            seen[who].append(bool(handler.connection.getpeercert()))
            action(handler)

        return looking

    certificate, key = authority.issue("client", purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    with traps.set_up("none") as trap:
        for server in (trap.front, trap.evil):
            server.use_tls(*authority.issue(f"server-{server.port}"), authority.path)
        where = {"Location": trap.evil.url + BLOB.format(layer=trap.front.layer_digest)}
        trap.front.fault("GET", f"/blobs/{trap.front.layer_digest}", look("front", fake.answer(307, where)))
        trap.evil.fault("GET", "/blobs/", look("evil", lambda handler: handler.respond()))
        client = ours(tmp_path / "client", Access(plain_http=False, ca_file=str(authority.path)))
        options = client.registry_options()
        if given == "option":
            options.update({"client_cert": str(certificate), "client_key": str(key)})
        else:
            for server in (trap.front, trap.evil):
                folder = tmp_path / "client" / ".config" / "containers" / "certs.d" / server.host
                folder.mkdir(parents=True)
                (folder / "own.cert").write_bytes(certificate.read_bytes())
                (folder / "own.key").write_bytes(key.read_bytes())
        done = client.module(
            "oci_copy",
            {"src": f"{trap.front.host}/{traps.REPOSITORY}:v1", "src_registry": options, "dest": f"oci:{tmp_path / 'layout'}"},
        )
        problems = [] if done.succeeded else [f"it failed: {done.output}"]
        problems += [] if seen == {"front": [True], "evil": [False]} else [f"shown to: {seen}"]
    report(tallies.CREDENTIALS, problems)

# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials go to the registry that they are for, and nowhere else (threat rows 29, 45 to 51, 54, 58, 59)."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import clients
import lures
import pytest
import tally as tallies
import trap as traps
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake
from clients import LAYOUT, REGISTRY, Access, Place


def _do(client: clients.Client, verb: str, front: traps.Server, tmp_path: pathlib.Path) -> t.Optional[clients.Run]:
    repository, layout = Place(REGISTRY, f"{front.host}/{traps.REPOSITORY}"), Place(LAYOUT, str(tmp_path / "layout"))
    if verb == lures.PULL:
        return client.copy(repository, layout)
    traps.write_layout(tmp_path / "layout")
    return client.copy(layout, repository)


def _empty(front: traps.Server) -> None:
    """What is pushed must not be there."""
    front.state.blobs.clear()
    front.state.manifests.clear()
    front.state.tags.clear()


def _access(front: traps.Server, **more: t.Any) -> Access:
    return Access(credentials={front.host: (traps.USER, traps.PASSWORD)}, **more)


@pytest.mark.parametrize("verb", [lures.PULL, lures.PUSH])
@pytest.mark.parametrize("login", ["basic", "bearer", "none"])
def test_control(verb: str, login: str, client_class: t.Type[clients.Client], tmp_path: pathlib.Path) -> None:
    """Without a lure everything succeeds, and the registry itself was told the secret."""
    with traps.set_up(login) as trap:
        if verb == lures.PUSH:
            _empty(trap.front)
        done = _do(client_class(tmp_path / "client", _access(trap.front)), verb, trap.front, tmp_path)
        if done is None:
            return
        assert done.succeeded, done.output
        if login != "none" or client_class is clients.Ours:  # crane tells it a registry that does not ask, too
            assert (traps.BASIC in trap.front.told()) == (login != "none")
        assert not trap.evil.seen


@pytest.mark.parametrize("lure", lures.LURES, ids=lambda lure: lure.name)
def test_lure(
    lure: lures.Lure,
    client_class: t.Type[clients.Client],
    report: t.Callable[..., None],
    tally: tallies.Tally,
    tmp_path: pathlib.Path,
) -> None:
    is_ours = client_class is clients.Ours
    if not (is_ours or lure.peers):
        return tally.inapplicable(tallies.CREDENTIALS, lure.name, client_class.name)
    with traps.set_up(lure.login) as trap:
        if lure.verb == lures.PUSH:
            _empty(trap.front)
        lure.bait(trap)
        done = _do(client_class(tmp_path / "client", _access(trap.front), limit=45), lure.verb, trap.front, tmp_path)
        if done is None:
            return tally.inapplicable(tallies.CREDENTIALS, lure.name, client_class.name)
        problems = trap.leaks(strict=is_ours) + trap.shown(done.output)
        problems += ["a traceback"] if done.traceback else []
        problems += ["timed out"] if done.timed_out else []
        if is_ours:
            problems += _ours_problems(lure, trap, done)
            problems += _litter(lure, done, tmp_path)
    report(tallies.CREDENTIALS, problems, lure.name)


def _ours_problems(lure: lures.Lure, trap: traps.Trap, done: clients.Run) -> t.List[str]:
    problems = []
    if lure.outcome != lures.EITHER and done.succeeded != (lure.outcome == lures.SUCCEEDS):
        problems.append(f"it is {'not ' if done.succeeded else ''}refused: {done.output}")
    if not done.succeeded and not re.search(lure.message, done.output):
        problems.append(f"the message does not say {lure.message!r}: {done.output}")
    if trap.evil.seen and not lure.stranger:
        problems.append(f"another origin was asked: {trap.evil.told()}")
    back = [one for one in trap.front.seen if one.path.endswith("?back") and "authorization" in one.headers]
    return problems + (["the login was sent again on the way back"] if back else [])


def _litter(lure: lures.Lure, done: clients.Run, tmp_path: pathlib.Path) -> t.List[str]:
    problems = [f"left over: {path.name}" for path in tmp_path.rglob(".lading-*")]
    index = tmp_path / "layout" / "index.json"
    if lure.verb == lures.PULL and not done.succeeded and index.exists() and json.loads(index.read_text()).get("manifests"):
        problems.append("a name was given")
    return problems


class TestLists:
    """Row 51: the next page of a list is elsewhere. Ours only: the clients of the harness list nothing."""

    @pytest.mark.parametrize(
        "form",
        [
            '<http://{evil}/v2/team/app/tags/list?last=v1>; rel="next"',
            '<//{evil}/v2/team/app/tags/list?last=v1>; rel="next"',
            "<http://{front}@{evil}/v2/>; rel=next",
            '<https://{front}/v2/team/app/tags/list>; rel="next"',
            '<http://localhost:{evil_port}/v2/team/app/tags/list>; rel="next"',
        ],
        ids=["r51-absolute", "r51-without-scheme", "r51-user-info", "r51-other-scheme", "r51-other-name"],
    )
    @pytest.mark.parametrize("kind", ["tags", "referrers"])
    def test_next_page(
        self, form: str, kind: str, ours: t.Type[clients.Ours], report: t.Callable[..., None], tmp_path: pathlib.Path
    ) -> None:
        with traps.set_up() as trap:
            link = lures._where(trap, form)
            lures._always(trap, "GET", "/tags/list", fake.header_changed(Link=link))
            referrers = {"Content-Type": "application/vnd.oci.image.index.v1+json", "Link": link}
            body = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
            trap.front.fault("GET", "/referrers/", fake.answer(200, referrers, body), times=float("inf"))
            client = ours(tmp_path / "client", _access(trap.front))
            source = f"{trap.front.host}/{traps.REPOSITORY}"
            arguments: t.Dict[str, t.Any] = {"src_registry": client.registry_options(), "dest": f"oci:{tmp_path / 'layout'}"}
            arguments.update({"src": source, "all_tags": True} if kind == "tags" else {"src": f"{source}:v1", "referrers": True})
            done = client.module("oci_copy", arguments)
            problems = trap.leaks() + trap.shown(done.output) + (["it succeeded"] if done.succeeded else [])
            problems += ["another origin was asked"] if trap.evil.seen else []
            problems += ["no plain refusal: " + done.output] if not re.search("refused|not a plain host", done.output) else []
        report(tallies.CREDENTIALS, problems)


class TestOthers:
    """Row 58: one registry's credentials are nobody else's, whatever its name begins with."""

    @pytest.mark.parametrize("login", ["basic", "bearer", "bearer-of-the-other"])
    @pytest.mark.parametrize("verb", [lures.PULL, lures.PUSH])
    def test_the_other_side(
        self, login: str, verb: str, client_class: t.Type[clients.Client], report: t.Callable[..., None], tmp_path: pathlib.Path
    ) -> None:
        """r58: both registries want a login, and there are credentials for one of them."""
        with traps.set_up() as trap:
            if login == "basic":
                trap.evil.basic = "somebody:else"
            else:
                trap.evil.bearer = f"{(trap.front if login.endswith('other') else trap.evil).url}/token"
                trap.evil.token_login = trap.front.token_login = traps.LOGIN
            if login.endswith("other"):
                trap.front.basic, trap.front.bearer = "", f"{trap.front.url}/token"
            places = [Place(REGISTRY, f"{server.host}/{traps.REPOSITORY}") for server in (trap.front, trap.evil)]
            done = client_class(tmp_path / "client", _access(trap.front)).copy(*(places if verb == lures.PUSH else places[::-1]))
            assert done is not None
            secret = [*traps.forms(traps.PASSWORD), traps.BASIC, *trap.front.state.tokens]
            problems = [f"the other registry was told {needle!r}" for needle in secret if needle in trap.evil.told()]
            problems += trap.shown(done.output) + (["it succeeded"] if done.succeeded else [])
        report(tallies.CREDENTIALS, problems)

    @pytest.mark.parametrize("key", ["{host}0", "{short}", "127.0.0.1", "{host}/team/ap", "{host}/team/app/deeper", "evil.{host}"])
    def test_a_name_alike(
        self,
        key: str,
        client_class: t.Type[clients.Client],
        report: t.Callable[..., None],
        tally: tallies.Tally,
        request: pytest.FixtureRequest,
        tmp_path: pathlib.Path,
    ) -> None:
        """r58: an entry of the credentials' file whose name is nearly this registry's."""
        if "/" in key and client_class.name in ("oras", "crane"):
            # To these a name with a path is an old way to write the host.
            return tally.inapplicable(tallies.CREDENTIALS, request.node.name, client_class.name)
        with traps.set_up() as trap:
            name = key.format(host=trap.front.host, short=trap.front.host[:-1])
            access = Access(credentials={name: (traps.USER, traps.PASSWORD)})
            done = _do(client_class(tmp_path / "client", access), lures.PULL, trap.front, tmp_path)
            assert done is not None
            told = trap.front.told()
            problems = [f"it was told {needle!r}" for needle in (traps.PASSWORD, traps.BASIC) if needle in told]
            problems += ["it succeeded"] if done.succeeded else []
        report(tallies.CREDENTIALS, problems)

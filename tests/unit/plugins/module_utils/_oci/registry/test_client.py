# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins, redirects and retries as a registry and its neighbours see them."""

from __future__ import annotations

import email.utils
import io
import threading
import time
import typing as t

import pytest
from ansible_collections.lading.oci.plugins.module_utils._oci.content.store import VerifyingReader, bytes_opener
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.caller import Caller
from ansible_collections.lading.oci.plugins.module_utils._oci.registry.repository import Repository
from ansible_collections.lading.oci.plugins.module_utils._oci.spec import mediatype
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.descriptor import Descriptor
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.errors import MismatchError, RegistryError, TransportError
from ansible_collections.lading.oci.plugins.module_utils._oci.spec.reference import RegistryReference
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.content.target_contract import image, store
from ansible_collections.lading.oci.tests.unit.plugins.module_utils._oci.registry import fake_registry as fake

BLOB = b"0123456789" * 1000
LAYER = Descriptor.of(BLOB, mediatype.OCI_LAYER)
LOGIN = {"username": "user", "password": "the-password"}


@pytest.fixture(name="registry")
def _registry() -> t.Iterator[fake.FakeRegistry]:
    registry = fake.FakeRegistry()
    store(fake.Harness(registry).repository(), ["v1"], BLOB)
    registry.seen.clear()
    yield registry
    registry.close()


@pytest.fixture(name="evil")
def _evil() -> t.Iterator[fake.FakeRegistry]:
    evil = fake.FakeRegistry()
    evil.add_blob(BLOB)
    yield evil
    evil.close()


def test_half_a_secret_is_not_shown_either(registry: fake.FakeRegistry) -> None:
    registry.basic = "user:the-password"
    repository = fake.Harness(registry, **LOGIN).repository()
    repository.resolve("v1")
    body = b'{"errors":[{"code":"DENIED","detail":"' + b"x" * 290 + b'the-password"}]}'
    registry.fault("GET", "/blobs/", fake.answer(403, {"Content-Type": "application/json"}, body))
    with pytest.raises(RegistryError, match="403.*DENIED.*xxx") as caught:
        repository.fetch_bytes(LAYER)
    assert "the-" not in str(caught.value)


def test_the_query_of_any_redirect_is_a_secret(registry: fake.FakeRegistry) -> None:
    where = f"/v2/team/app/blobs/{LAYER.digest}?signature=a-signature-of-the-registry"
    registry.fault("GET", "/blobs/", fake.answer(307, {"Location": where}))
    registry.fault("GET", "signature=", fake.answer(403, {"Content-Type": "text/plain"}, b"bad a-signature-of-the-registry"))
    with pytest.raises(RegistryError, match="403 Forbidden .bad [*]{3}") as caught:
        fake.Harness(registry).repository().fetch_bytes(LAYER)
    assert "a-signature" not in str(caught.value)


class TestBasic:
    def test_is_answered_once_and_then_sent_at_once(self, registry: fake.FakeRegistry) -> None:
        registry.basic = "user:the-password"
        repository = fake.Harness(registry, **LOGIN).repository()
        repository.resolve("v1")
        repository.resolve("v1")
        assert ["authorization" in one.headers for one in registry.seen] == [False, True, True]

    def test_wrong_credentials(self, registry: fake.FakeRegistry) -> None:
        registry.basic = "user:another"
        with pytest.raises(RegistryError, match="401 Unauthorized .*with the credentials of user") as caught:
            fake.Harness(registry, **LOGIN).repository().resolve("v1")
        assert registry.methods() == ["HEAD", "HEAD"]
        assert "the-password" not in str(caught.value)

    def test_no_credentials(self, registry: fake.FakeRegistry) -> None:
        registry.basic = "user:another"
        with pytest.raises(RegistryError, match="no credentials were given or found"):
            fake.Harness(registry).repository().resolve("v1")
        assert registry.methods() == ["HEAD"]

    def test_credentials_are_looked_up_only_when_the_registry_asks(self) -> None:
        looked: t.List[int] = []

        def find() -> None:
            looked.append(1)
            time.sleep(0.05)

        caller = Caller(find)
        assert not looked
        threads = [threading.Thread(target=caller.credential) for _number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(looked) == 1

    def test_a_registry_that_wants_no_login_gets_none(self, registry: fake.FakeRegistry) -> None:
        fake.Harness(registry, **LOGIN).repository().resolve("v1")
        assert not any("authorization" in one.headers for one in registry.seen)


class TestBearer:
    @pytest.fixture(autouse=True)
    def _realm(self, registry: fake.FakeRegistry) -> None:
        registry.bearer = f"{registry.url}/token"

    def test_anonymous(self, registry: fake.FakeRegistry) -> None:
        repository = fake.Harness(registry).repository()
        repository.resolve("v1")
        repository.fetch_bytes(LAYER)
        assert [one.path.partition("?")[0].rpartition("/")[0] for one in registry.seen] == [
            "/v2/team/app/manifests",
            "",
            "/v2/team/app/manifests",
            "/v2/team/app/blobs",
        ]
        assert dict(repository.requests) == {"HEAD": 2, "GET": 2}
        assert "scope=repository%3Ateam%2Fapp%3Apull" in registry.asked("GET", "^/token")[0].path

    def test_one_token_serves_a_whole_copy(self, registry: fake.FakeRegistry) -> None:
        """A repository that is written asks for push at once: also while it only looks."""
        client = fake.Harness(registry).client
        repository = Repository(RegistryReference(registry.host, "team/new"), client, writing=True)
        assert repository.lookup("v1") is None
        desc = Descriptor.of(b"new layer", "application/octet-stream")
        repository.push(desc, bytes_opener(desc, b"new layer"))
        (token,) = registry.asked("GET", "^/token")
        assert "scope=repository%3Ateam%2Fnew%3Apull%2Cpush" in token.path

    def test_with_a_password(self, registry: fake.FakeRegistry) -> None:
        registry.token_login = "user:the-password"
        fake.Harness(registry, **LOGIN).repository().resolve("v1")
        assert all(not one.headers.get("authorization", "").startswith("Basic") for one in registry.asked("HEAD"))

    def test_a_wrong_password(self, registry: fake.FakeRegistry) -> None:
        registry.token_login = "user:another"
        with pytest.raises(RegistryError, match=r"wants a login \(with the credentials of user\): the token server .*status 401"):
            fake.Harness(registry, **LOGIN).repository().resolve("v1")

    def test_an_identity_token_goes_by_post(self, registry: fake.FakeRegistry) -> None:
        repository = fake.Harness(registry, identity_token="the-identity").repository()
        repository.resolve("v1")
        (post,) = registry.asked("POST", "/token")
        assert b"refresh_token=the-identity" in post.body
        assert repository.requests["POST"] == 1

    def test_a_token_that_ran_out(self, registry: fake.FakeRegistry) -> None:
        repository = fake.Harness(registry).repository()
        repository.resolve("v1")
        registry.state.tokens.clear()
        registry.seen.clear()
        repository.resolve("v1")
        assert registry.methods() == ["HEAD", "GET", "HEAD"]

    def test_a_token_that_is_never_good_enough(self, registry: fake.FakeRegistry) -> None:
        registry.fault("HEAD", "", fake.answer(401, {"WWW-Authenticate": f'Bearer realm="{registry.bearer}"'}), times=99)
        with pytest.raises(RegistryError, match="401"):
            fake.Harness(registry).repository().resolve("v1")
        assert registry.methods() == ["HEAD", "GET", "HEAD", "GET", "HEAD"]

    def test_a_new_token_that_ran_out_at_once(self, registry: fake.FakeRegistry) -> None:
        registry.fault("HEAD", "", lambda handler: handler.respond())
        registry.fault("HEAD", "", lambda handler: registry.state.tokens.clear() or handler.respond())
        fake.Harness(registry).repository().resolve("v1")
        assert registry.methods() == ["HEAD", "GET", "HEAD", "GET", "HEAD"]

    def test_a_scope_that_is_named_later_is_asked_for_once(self, registry: fake.FakeRegistry) -> None:
        wants = f'Bearer realm="{registry.bearer}",error="insufficient_scope",scope="repository:team/app:pull,delete"'
        registry.fault("HEAD", "", fake.answer(401, {"WWW-Authenticate": f'Bearer realm="{registry.bearer}"'}))
        registry.fault("HEAD", "", fake.answer(401, {"WWW-Authenticate": wants}), times=2)
        with pytest.raises(RegistryError, match="401"):
            fake.Harness(registry).repository().resolve("v1")
        assert len(registry.asked("HEAD")) == 3
        assert "delete%2Cpull" in registry.asked("GET", "/token")[1].path

    def test_scopes_that_grow_for_ever_are_not_run_after(self, registry: fake.FakeRegistry) -> None:
        for number in range(9):
            scope = f"repository:team/app{number}:pull"
            registry.fault("HEAD", "", fake.answer(401, {"WWW-Authenticate": f'Bearer realm="{registry.bearer}",scope="{scope}"'}))
        with pytest.raises(RegistryError, match="401"):
            fake.Harness(registry).repository().resolve("v1")
        assert registry.methods() == ["HEAD", "GET", "HEAD", "GET", "HEAD"]

    def test_the_scope_is_made_by_ourselves(self, registry: fake.FakeRegistry) -> None:
        registry.scope_in_challenge = False
        repository = fake.Harness(registry).repository()
        repository.resolve("v1")
        repository.push(LAYER, lambda: VerifyingReader(LAYER, io.BytesIO(BLOB)))
        scopes = [one.path.partition("scope=")[2] for one in registry.asked("GET", "/token")]
        assert scopes == ["repository%3Ateam%2Fapp%3Apull", "repository%3Ateam%2Fapp%3Apull%2Cpush"]
        assert registry.methods("/v2/") == ["HEAD", "HEAD", "POST", "PUT"]

    def test_one_token_for_both_sides_of_a_mount(self, registry: fake.FakeRegistry) -> None:
        harness = fake.Harness(registry)
        assert harness.repository("other/copy").mount(LAYER, harness.repository())
        assert (
            "scope=repository%3Aother%2Fcopy%3Apull%2Cpush&scope=repository%3Ateam%2Fapp%3Apull" in registry.asked("GET", "/token")[0].path
        )
        harness.repository().resolve("v1")
        assert len(registry.asked("GET", "/token")) == 1

    def test_threads_share_one_token(self, registry: fake.FakeRegistry) -> None:
        repository = fake.Harness(registry).repository()
        threads = [threading.Thread(target=repository.exists, args=(LAYER,)) for _number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(registry.asked("GET", "/token")) == 1

    def test_a_busy_token_server(self, registry: fake.FakeRegistry) -> None:
        harness = fake.Harness(registry)
        registry.fault("GET", "/token", fake.answer(503, {"Retry-After": "2"}), times=2)
        registry.fault("GET", "/token", fake.reset)
        harness.repository().resolve("v1")
        assert harness.sleeps[:2] == [2, 2]
        assert len(registry.asked("GET", "/token")) == 4

    def test_a_realm_elsewhere_is_not_asked(self, registry: fake.FakeRegistry, evil: fake.FakeRegistry) -> None:
        registry.bearer = f"{evil.url}/token"
        with pytest.raises(TransportError, match=f"another host, {evil.host}: refused.*auth_hosts"):
            fake.Harness(registry, **LOGIN).repository().resolve("v1")
        assert not evil.seen

    def test_a_realm_elsewhere_that_is_listed(self, registry: fake.FakeRegistry, evil: fake.FakeRegistry) -> None:
        evil.state.tokens = registry.state.tokens
        registry.bearer = f"{evil.url}/token"
        fake.Harness(registry, auth_hosts=[evil.host]).repository().resolve("v1")
        assert evil.methods() == ["GET"]

    def test_a_token_server_that_redirects_is_not_followed(self, registry: fake.FakeRegistry, evil: fake.FakeRegistry) -> None:
        registry.fault("GET", "/token", fake.answer(302, {"Location": f"{evil.url}/token"}))
        with pytest.raises(RegistryError, match="status 302"):
            fake.Harness(registry, **LOGIN).repository().resolve("v1")
        assert not evil.seen

    def test_a_token_that_runs_out_while_pushing(self, registry: fake.FakeRegistry) -> None:
        repository = fake.Harness(registry).repository()
        content = b"new content" * 1000
        desc = Descriptor.of(content, mediatype.OCI_LAYER)

        def expire(handler: fake.Handler) -> None:
            registry.state.tokens.clear()
            handler.respond()

        registry.fault("PUT", "", expire)
        repository.push(desc, bytes_opener(desc, content))
        assert registry.state.blobs[desc.digest] == content


class TestRedirects:
    def test_a_blob_elsewhere_comes_without_credentials(self, registry: fake.FakeRegistry, evil: fake.FakeRegistry) -> None:
        registry.basic = "user:the-password"
        repository = fake.Harness(registry, **LOGIN).repository()
        repository.resolve("v1")
        target = f"{evil.url}/v2/any/blobs/{LAYER.digest}?X-Signature=0123456789abcdef%2F%7E"
        registry.fault("GET", "/blobs/", fake.answer(307, {"Location": target}))
        assert repository.fetch_bytes(LAYER) == BLOB
        (seen,) = evil.seen
        assert seen.path == target[len(evil.url) :]
        assert set(seen.headers) <= {"host", "user-agent", "accept", "accept-encoding", "connection"}

    def test_a_way_back_gets_no_credentials_either(self, registry: fake.FakeRegistry, evil: fake.FakeRegistry) -> None:
        registry.basic = "user:the-password"
        repository = fake.Harness(registry, **LOGIN).repository()
        repository.resolve("v1")
        registry.seen.clear()
        registry.fault("GET", "/blobs/", fake.answer(302, {"Location": f"{evil.url}/hop"}))
        evil.fault("GET", "/hop", fake.answer(302, {"Location": f"{registry.url}/v2/team/app/blobs/{LAYER.digest}"}))
        with pytest.raises(RegistryError, match="401"):
            repository.fetch_bytes(LAYER)
        assert ["authorization" in one.headers for one in registry.seen] == [True, False]

    def test_a_challenge_from_elsewhere_is_not_answered(self, registry: fake.FakeRegistry, evil: fake.FakeRegistry) -> None:
        registry.fault("GET", "/blobs/", fake.answer(302, {"Location": f"{evil.url}/x"}))
        evil.fault("GET", "", fake.answer(401, {"WWW-Authenticate": 'Basic realm="gimme"'}))
        with pytest.raises(RegistryError, match="401"):
            fake.Harness(registry, **LOGIN).repository().fetch_bytes(LAYER)
        assert len(evil.seen) == 1

    def test_cookies_are_not_kept(self, registry: fake.FakeRegistry) -> None:
        repository = fake.Harness(registry).repository()
        registry.fault("HEAD", "", fake.header_changed(Set_Cookie="session=x; Path=/"))
        repository.resolve("v1")
        repository.resolve("v1")
        assert not any("cookie" in one.headers for one in registry.seen)

    def test_within_the_registry_credentials_stay(self, registry: fake.FakeRegistry) -> None:
        registry.basic = "user:the-password"
        repository = fake.Harness(registry, **LOGIN).repository()
        repository.resolve("v1")
        registry.fault("GET", "/blobs/", fake.answer(302, {"Location": f"/v2/other/blobs/{LAYER.digest}"}))
        assert repository.fetch_bytes(LAYER) == BLOB

    def test_a_put_is_not_sent_elsewhere(self, registry: fake.FakeRegistry, evil: fake.FakeRegistry) -> None:
        root, content, _blobs = image(BLOB)
        registry.fault("PUT", "", fake.answer(307, {"Location": f"{evil.url}/v2/team/app/manifests/v1"}))
        with pytest.raises(TransportError, match="PUT is redirected to another host"):
            fake.Harness(registry).repository().tag(root, content, ["v1"])
        assert not evil.seen

    def test_a_put_may_be_redirected_within_the_registry(self, registry: fake.FakeRegistry) -> None:
        root, content, _blobs = image(BLOB)
        registry.fault("PUT", "", fake.answer(307, {"Location": "/v2/team/moved/manifests/v1"}))
        fake.Harness(registry).repository().tag(root, content, ["v1"])
        assert registry.state.tags["team/moved", "v1"] == root.digest

    def test_a_tag_list_is_not_taken_from_elsewhere(self, registry: fake.FakeRegistry, evil: fake.FakeRegistry) -> None:
        registry.fault("GET", "tags", fake.answer(302, {"Location": f"{evil.url}/v2/team/app/tags/list"}))
        with pytest.raises(TransportError, match="redirected to another host"):
            list(fake.Harness(registry).repository().tags())
        assert not evil.seen

    def test_round_and_round(self, registry: fake.FakeRegistry) -> None:
        registry.fault("GET", "", fake.answer(302, {"Location": f"/v2/team/app/blobs/{LAYER.digest}"}), times=99)
        with pytest.raises(TransportError, match="more than 5 times"):
            fake.Harness(registry).repository().fetch_bytes(LAYER)
        assert len(registry.seen) == 6

    @pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "http://user:pw@127.0.0.1/x", "http://\\@x/"])
    def test_where_nobody_goes(self, registry: fake.FakeRegistry, location: str) -> None:
        registry.fault("GET", "/blobs/", fake.answer(302, {"Location": location}))
        with pytest.raises(TransportError, match="URL"):
            fake.Harness(registry).repository().fetch_bytes(LAYER)

    def test_a_signed_url_does_not_show(self, registry: fake.FakeRegistry, evil: fake.FakeRegistry) -> None:
        registry.fault("GET", "/blobs/", fake.answer(302, {"Location": f"{evil.url}/x?X-Signature=0123456789abcdef0"}))
        evil.fault("GET", "", fake.error(400, "BAD", "signature 0123456789abcdef0 of ?X-Signature=0123456789abcdef0"))
        with pytest.raises(RegistryError) as caught:
            fake.Harness(registry).repository().fetch_bytes(LAYER)
        assert "0123456789abcdef0" not in str(caught.value)

    def test_lies_from_elsewhere_are_noticed(self, registry: fake.FakeRegistry, evil: fake.FakeRegistry) -> None:
        registry.fault("GET", "/blobs/", fake.answer(302, {"Location": f"{evil.url}/x"}), times=3)
        evil.fault("GET", "", fake.answer(200, {}, b"x" * len(BLOB)), times=3)
        with pytest.raises(MismatchError):
            fake.Harness(registry).repository().fetch_bytes(LAYER)


class TestRetries:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_passing_faults(self, registry: fake.FakeRegistry, status: int) -> None:
        harness = fake.Harness(registry)
        registry.fault("HEAD", "", fake.answer(status), times=2)
        harness.repository().resolve("v1")
        assert len(registry.seen) == 3
        assert len(harness.sleeps) == 2

    def test_a_reset(self, registry: fake.FakeRegistry) -> None:
        registry.fault("HEAD", "", fake.reset, times=2)
        fake.Harness(registry).repository().resolve("v1")
        assert len(registry.seen) == 3

    def test_they_end(self, registry: fake.FakeRegistry) -> None:
        registry.fault("HEAD", "", fake.reset, times=99)
        with pytest.raises(TransportError, match=r"connection to .* failed: .*tried 3 times"):
            fake.Harness(registry, retries=2).repository().resolve("v1")
        assert len(registry.seen) == 3

    def test_nobody_has_ever_answered(self, registry: fake.FakeRegistry) -> None:
        """Most likely the port is wrong: that is said within seconds."""
        harness = fake.Harness(registry)
        registry.close()
        with pytest.raises(TransportError, match=r"is the port right\?\) \(tried 6 times\)"):
            harness.repository().resolve("v1")
        assert len(harness.sleeps) == 5 and min(harness.sleeps) > 0 and max(harness.sleeps) <= 1

    def test_a_registry_that_starts_again_is_waited_for(self, registry: fake.FakeRegistry) -> None:
        harness = fake.Harness(registry)
        harness.repository().resolve("v1")
        registry.fault("HEAD", "", fake.reset, times=99)
        registry.close()
        with pytest.raises(TransportError, match=r"\(tried 6 times\)"):
            harness.repository().resolve("v1")
        assert len(harness.sleeps) == 5 and harness.sleeps[-1] >= 4

    def test_none_when_there_are_to_be_none(self, registry: fake.FakeRegistry) -> None:
        registry.fault("HEAD", "", fake.reset)
        with pytest.raises(TransportError):
            fake.Harness(registry, retries=0).repository().resolve("v1")
        assert len(registry.seen) == 1

    @pytest.mark.parametrize("status", [501, 505])
    def test_other_errors_do_not_pass(self, registry: fake.FakeRegistry, status: int) -> None:
        registry.fault("GET", "", fake.answer(status))
        with pytest.raises(RegistryError):
            fake.Harness(registry).repository().fetch_bytes(LAYER)
        assert len(registry.seen) == 1

    def test_retry_after_in_seconds_and_as_a_date(self, registry: fake.FakeRegistry) -> None:
        harness = fake.Harness(registry)
        registry.fault("HEAD", "", fake.answer(429, {"Retry-After": "7"}))
        registry.fault("HEAD", "", fake.answer(429, {"Retry-After": email.utils.formatdate(time.time() + 60, usegmt=True)}))
        harness.repository().resolve("v1")
        assert harness.sleeps[0] == 7
        assert 50 < harness.sleeps[1] <= 60

    def test_a_day_is_not_waited(self, registry: fake.FakeRegistry) -> None:
        harness = fake.Harness(registry)
        registry.fault("HEAD", "", fake.answer(429, {"Retry-After": "86400"}))
        with pytest.raises(TransportError, match=r"wait 86400 seconds \(Retry-After\)"):
            harness.repository().resolve("v1")
        assert not harness.sleeps

    def test_an_upload_may_be_started_again(self, registry: fake.FakeRegistry) -> None:
        registry.fault("POST", "", fake.answer(503))
        fake.Harness(registry).repository().push(LAYER, lambda: VerifyingReader(LAYER, io.BytesIO(BLOB)))
        assert len(registry.asked("POST")) == 2


class TestMessages:
    def test_a_registry_that_repeats_the_header(self, registry: fake.FakeRegistry) -> None:
        registry.basic = "user:the-password"

        def repeat(handler: fake.Handler) -> None:
            fake.error(400, "BAD", f"you sent {handler.headers['Authorization']}, or the-password \x1b[31m\nred")(handler)

        registry.fault("GET", "", lambda handler: handler.respond())
        registry.fault("GET", "", repeat)
        with pytest.raises(RegistryError) as caught:
            fake.Harness(registry, **LOGIN).repository().fetch_bytes(LAYER)
        text = str(caught.value)
        assert "you sent Basic ***, or ***" in text
        assert "the-password" not in text
        assert "\x1b" not in text
        assert "\n" not in text

    def test_long_words_are_cut(self, registry: fake.FakeRegistry) -> None:
        registry.fault("GET", "", fake.error(400, "BAD", "x" * 100_000))
        with pytest.raises(RegistryError) as caught:
            fake.Harness(registry).repository().fetch_bytes(LAYER)
        assert len(str(caught.value)) < 2048

    def test_an_html_page_is_not_shown(self, registry: fake.FakeRegistry) -> None:
        registry.fault("GET", "", fake.answer(403, {"Content-Type": "text/html"}, b"<html>" * 1000))
        with pytest.raises(RegistryError, match="403 Forbidden .the answer is text/html, not a registry's"):
            fake.Harness(registry).repository().fetch_bytes(LAYER)

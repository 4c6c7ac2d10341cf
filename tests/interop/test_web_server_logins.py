"""Our client logs in at Apache and lighttpd, by Digest and with a token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import pytest

from est_core import (
    BasicCredentials,
    BearerCredentials,
    CACertsReceived,
    ClientResult,
    ClientSession,
    CredentialsRequested,
    Enrolled,
    Failed,
    Login,
    Password,
    RetryLater,
)
from est_transports.client_config import ClientConfig
from est_transports.on_sockets import Client
from tests.conftest import PeerFinder
from tests.interop.web_servers import (
    BY_DIGEST,
    BY_TOKEN,
    PASSWORD,
    TOKEN,
    USER,
    WebServer,
    apache,
    lighttpd,
)
from tests.pki import pki

GIVEN = Password(user=USER, password=PASSWORD)
WRONG = replace(GIVEN, password="Hakuna Matata")
ONE_TIME_NONCES = f"{BY_DIGEST}\nAuthDigestNonceLifetime 0\n"


@dataclass(frozen=True)
class Server:
    """A server by its name, and how it challenges."""

    program: str
    rules: str

    def __str__(self) -> str:
        return f"{self.program} {self.rules.split()[0]}"

    def run(self, peer: PeerFinder) -> AbstractContextManager[WebServer]:
        """Run it, or skip the test."""
        run = apache if self.program == "apache2" else lighttpd
        return run(peer(f"/usr/sbin/{self.program}"), self.rules)


DIGEST = [
    Server("apache2", BY_DIGEST),
    Server("lighttpd", "MD5"),
    Server("lighttpd", "SHA-256"),
    Server("lighttpd", "MD5|SHA-256"),
]


def results(
    server: WebServer, given: Login | None, asked: Login | None = None
) -> list[ClientResult | RetryLater]:
    """What comes of fetching the CA certificates, enrolling, and fetching them again."""
    session = ClientSession(server.url, trust=(pki().ca.certificate,), credentials=given)

    def answer(question: CredentialsRequested) -> Login | None:
        return asked if question.attempt == 1 else None

    config = ClientConfig(signer=server.device.signer, credentials=answer)
    exchanges = (session.cacerts(), session.enroll(server.device.info), session.cacerts())
    with Client(config) as client:
        return [client.run(exchange) for exchange in exchanges]


GOOD = [CACertsReceived, Enrolled, CACertsReceived]


@pytest.mark.req("EST-040", "EST-047", "EST-048")
@pytest.mark.parametrize("kind", DIGEST, ids=str)
def test_one_nonce_serves_all_requests_of_a_session(kind: Server, peer: PeerFinder) -> None:
    with kind.run(peer) as server:
        assert [type(result) for result in results(server, GIVEN)] == GOOD
    assert server.statuses == [401, 200, 200, 200]
    assert server.schemes == {"Digest"}
    counts = [sent.partition("nc=")[2][:8] for _, sent in server.requests]
    assert counts == ["", "00000001", "00000002", "00000003"]
    has_sha = "algorithm=SHA-256" in server.requests[1][1]
    assert has_sha == ("SHA-256" in kind.rules)


@pytest.mark.req("EST-047")
def test_a_server_whose_nonces_are_good_once_is_answered_each_time(peer: PeerFinder) -> None:
    with Server("apache2", ONE_TIME_NONCES).run(peer) as server:
        assert [type(result) for result in results(server, GIVEN)] == GOOD
    assert server.statuses == [401, 200, 401, 200, 401, 200]


@pytest.mark.parametrize("kind", DIGEST[1:3], ids=str)
def test_a_callback_answers_each_exchange(kind: Server, peer: PeerFinder) -> None:
    with kind.run(peer) as server:
        assert [type(result) for result in results(server, None, GIVEN)] == GOOD
    assert server.statuses == [401, 200] * 3


def test_a_wrong_password_is_refused_and_said_once(peer: PeerFinder) -> None:
    with DIGEST[0].run(peer) as server:  # the other one lets its refusals wait
        codes = [getattr(result, "code", "") for result in results(server, WRONG)]
    assert codes == ["auth/refused"] * 3
    assert server.statuses == [401, 401] * 3


@pytest.mark.req("EST-041")
@pytest.mark.parametrize("kind", DIGEST[:2], ids=str)
def test_basic_sent_unasked_is_a_clear_error(kind: Server, peer: PeerFinder) -> None:
    hint = BasicCredentials(user=USER, password=PASSWORD)
    with kind.run(peer) as server:
        codes = [getattr(result, "code", "") for result in results(server, hint)]
    assert codes == ["auth/scheme-not-offered"] * 3
    assert server.statuses == [401] * 3


@pytest.fixture
def token_server(peer: PeerFinder) -> Iterator[WebServer]:
    """Apache, which lets in who has the token."""
    with Server("apache2", BY_TOKEN).run(peer) as server:
        yield server


@pytest.mark.parametrize("unasked", [True, False])
def test_a_token_opens_what_is_open_for_tokens(token_server: WebServer, unasked: bool) -> None:
    token = BearerCredentials(token=TOKEN)
    got = results(token_server, *((token, None) if unasked else (None, token)))
    assert [type(result) for result in got] == GOOD


@pytest.mark.req("EST-041")
def test_a_wrong_token_and_a_password_are_refused(token_server: WebServer) -> None:
    for given, code in (
        (BearerCredentials(token="other"), "auth/refused"),
        (GIVEN, "auth/scheme-not-offered"),
    ):
        for result in results(token_server, given):
            assert isinstance(result, Failed)
            assert result.code == code

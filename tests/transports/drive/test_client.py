"""A ClientDriver takes an exchange step by step, with a link that does as the test says."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64decode
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    AuthChallenge,
    AuthScheme,
    CACertsReceived,
    Challenged,
    Channel,
    ClientExchange,
    ClientResult,
    ClientSession,
    CredentialsRequested,
    DigestCredentials,
    Enrolled,
    EstUri,
    Failed,
    Fault,
    Instant,
    LocalProtocolError,
    Login,
    Operation,
    Password,
    Pending,
    RemoteProtocolError,
    Request,
    Response,
    RetryLater,
    TlsVersion,
    TrustDecisionRequested,
)
from est_core.asn1.cms import write_certs_only
from est_core.testing import FIXED_INSTANT
from est_transports.channel.errors import TlsError
from est_transports.client_config import ClientConfig, ClientTimeouts
from est_transports.drive.client import (
    AwaitCredentials,
    ClientDriver,
    ClientStep,
    Connect,
    Lost,
    Read,
    Write,
    connect_failure,
)
from est_transports.pki.revocation import Revocation
from est_transports.pki.signers import LocalSigner
from est_transports.pki.trust import TrustAnchors
from tests.core.cast import info
from tests.core.client_cast import URI, ok, own_certificate_bag, own_key, reached, session
from tests.pki import pki
from tests.transports.https_site import client_config, identity_of

NOW = FIXED_INSTANT
CONFIG = client_config(
    identities=(identity_of(pki().client),),
    signer=LocalSigner(own_key()),
    timeouts=ClientTimeouts(response_s=10.0),
)
BAG = write_certs_only([pki().ca.certificate])
CA_ANSWER = ok(CACERTS, BAG)
PENDING = Pending(operation=SIMPLEENROLL, retry_after=30)

AnyStep = TypeVar("AnyStep", bound=ClientStep)


@dataclass
class FakeLink:
    """A link on which the test decides what is written, what comes and when it is time."""

    channel: Channel = field(default_factory=reached)
    due: float | None = None
    writes: deque[tuple[bytes, ...]] = field(default_factory=deque)
    answers: deque[Response | Lost | RemoteProtocolError] = field(default_factory=deque)
    sent: list[Request] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    broken: list[TlsError | None] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    spoilt: bool = False
    timeout_code: str = "fake/timeout"
    awaited: str = "answer"

    def fits(self, wanted: Connect, now: Instant) -> bool:
        return False

    def may_stay(self, result: ClientResult | RetryLater) -> bool:
        return False

    def send(self, request: Request, uri: EstUri, now: Instant) -> None:
        self.sent.append(request)
        self.writes.append((b"request", str(len(self.sent)).encode()))

    def outgoing(self) -> tuple[bytes, ...]:
        return self.writes.popleft() if self.writes else ()

    def receive(self, data: bytes, now: Instant) -> None:
        self.received.append(data)

    def answer(self, operation: Operation, now: Instant) -> Response | Lost | None:
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, RemoteProtocolError):
            raise answer
        return answer

    def break_off(self, error: TlsError | None) -> None:
        self.broken.append(error)

    def next_timeout(self) -> float | None:
        return self.due

    def handle_timeout(self, now: Instant) -> None:
        self.timeouts.append(now.mono)

    def spoil(self) -> None:
        self.spoilt = True


def step(driver: ClientDriver, kind: type[AnyStep], now: Instant = NOW) -> AnyStep:
    """Return the next step, which is of that kind."""
    found = driver.next_step(now)
    assert isinstance(found, kind), found
    return found


def asked(exchange: ClientExchange, link: FakeLink, config: ClientConfig = CONFIG) -> ClientDriver:
    """Return a driver whose request is written and that wants to read."""
    driver = ClientDriver(exchange, config, NOW)
    step(driver, Connect)
    driver.connected(link)
    step(driver, Write)
    return driver


def answered(driver: ClientDriver, link: FakeLink, answer: Response | Lost) -> None:
    """Have that come."""
    step(driver, Read)
    link.answers.append(answer)
    driver.receive(b"it", NOW)


# The way of a request


def test_the_steps_are_connect_write_read_and_the_result() -> None:
    link = FakeLink()
    driver = ClientDriver(session().cacerts(), CONFIG, NOW)
    connect = step(driver, Connect)
    assert connect.uri == URI
    assert (connect.config.server_name, connect.config.trust.explicit) == (
        "est.example",
        (pki().ca.certificate,),
    )
    assert connect.config.identity == CONFIG.identities[0]
    driver.connected(link)
    assert step(driver, Write) == Write(pieces=(b"request", b"1"), deadline=NOW.mono + 10)
    assert step(driver, Read) == Read(deadline=NOW.mono + 10)
    driver.receive(b"half", NOW)
    assert step(driver, Read) == Read(deadline=NOW.mono + 10)
    answered(driver, link, CA_ANSWER)
    assert link.received == [b"half", b"it"]
    assert step(driver, CACertsReceived).certificates == (pki().ca.certificate,)


def test_a_step_stays_until_it_is_done() -> None:
    driver = ClientDriver(session().cacerts(), CONFIG, NOW)
    assert driver.next_step(NOW) == driver.next_step(NOW)


def test_without_explicit_trust_the_implicit_anchors_count() -> None:
    implicit = (pki().manufacturer.certificate,)
    config = client_config(implicit=type(CONFIG.implicit)(implicit=implicit))
    connect = step(ClientDriver(ClientSession(URI).cacerts(), config, NOW), Connect)
    assert (connect.config.trust.explicit, connect.config.trust.implicit) == ((), implicit)
    assert connect.config.identity is None


@pytest.mark.req("EST-078", "EST-079")
def test_explicit_trust_disables_the_implicit_anchors() -> None:
    implicit = TrustAnchors(implicit=(pki().manufacturer.certificate,))
    driver = ClientDriver(session().cacerts(), replace(CONFIG, implicit=implicit), NOW)
    assert step(driver, Connect).config.trust == TrustAnchors(explicit=(pki().ca.certificate,))


def test_revocation_lists_count_with_explicit_trust_too() -> None:
    lists = (pki().ca.crl(pki().server.certificate),)
    revocation = Revocation(crls=lists, accept_stale=True)
    config = replace(CONFIG, implicit=TrustAnchors(revocation=revocation))
    trust = step(ClientDriver(session().cacerts(), config, NOW), Connect).config.trust
    assert trust == TrustAnchors(explicit=(pki().ca.certificate,), revocation=revocation)


def test_a_request_is_signed_for_the_connection() -> None:
    link = FakeLink()
    driver = asked(session().enroll(info(own_key())), link)
    (request,) = link.sent
    assert request.operation is SIMPLEENROLL
    assert isinstance(request.payload, bytes)
    answered(driver, link, ok(SIMPLEENROLL, own_certificate_bag()))
    assert isinstance(driver.next_step(NOW), Enrolled)


DIGEST = AuthChallenge(
    scheme="Digest", parameters=(("realm", "est"), ("nonce", "n1"), ("qop", "auth"))
)
CHALLENGED = Challenged(operation=CACERTS, challenges=(DIGEST,), status=401)
PASSWORD = Password(user="device", password="secret")


def test_an_answer_to_digest_is_made_with_the_entropy_of_the_configuration() -> None:
    link = FakeLink()
    config = replace(CONFIG, entropy=lambda size: b"\xab" * size)
    client = ClientSession(URI, trust=(pki().ca.certificate,), credentials=PASSWORD)
    driver = asked(client.cacerts(), link, config)
    answered(driver, link, CHALLENGED)
    step(driver, Connect)
    driver.connected(link)
    step(driver, Write)
    credentials = link.sent[-1].credentials
    assert isinstance(credentials, DigestCredentials)
    assert b64decode(credentials.get("cnonce") or "") == b"\xab" * 18


@pytest.mark.parametrize("given", [PASSWORD, None])
def test_an_answer_that_is_to_be_awaited_is_a_step(given: Password | None) -> None:
    async def credentials(question: CredentialsRequested) -> Login | None:
        assert question.schemes == {AuthScheme.DIGEST}
        return given

    link = FakeLink()
    driver = asked(session().cacerts(), link, replace(CONFIG, credentials=credentials))
    answered(driver, link, CHALLENGED)
    awaited = step(driver, AwaitCredentials)
    assert step(driver, AwaitCredentials) is awaited
    driver.provide_credentials(asyncio.run(_result_of(awaited)))
    step(driver, Failed if given is None else Connect)


async def _result_of(step: AwaitCredentials) -> Login | None:
    return await step.answer


def test_what_the_link_still_has_to_say_goes_out_after_the_answer() -> None:
    link = FakeLink()
    driver = asked(session().cacerts(), link)
    step(driver, Read)
    link.answers.append(CA_ANSWER)
    link.writes.append((b"acknowledged",))
    driver.receive(b"it", NOW)
    assert step(driver, Write).pieces == (b"acknowledged",)
    step(driver, CACertsReceived)


@pytest.mark.req("CB-008")
def test_a_request_goes_over_the_connection_it_was_signed_for_and_no_other() -> None:
    """Of another connection with the very same facts it is not known whose it is."""
    link = FakeLink()
    driver = ClientDriver(session().enroll(info(own_key())), CONFIG, NOW)
    step(driver, Connect)
    driver.connected(link)
    link.channel = reached()
    with pytest.raises(LocalProtocolError, match="belongs to another channel"):
        driver.next_step(NOW)
    assert link.sent == []
    assert not link.writes


# Time


def test_a_link_is_woken_when_it_wants_to_be_and_no_later_than_the_deadline() -> None:
    link = FakeLink(due=NOW.mono + 3)
    driver = asked(session().cacerts(), link)
    assert step(driver, Read).deadline == NOW.mono + 3
    driver.handle_timeout(NOW.after(3))
    assert link.timeouts == [NOW.mono + 3]
    link.due = NOW.mono + 30
    assert step(driver, Read).deadline == NOW.mono + 10


def test_what_the_link_says_when_it_is_woken_is_written() -> None:
    link = FakeLink(due=NOW.mono + 3)
    driver = asked(session().cacerts(), link)
    step(driver, Read)
    link.writes.append((b"again",))
    driver.handle_timeout(NOW.after(3))
    assert step(driver, Write).pieces == (b"again",)
    step(driver, Read)


def test_a_link_may_end_the_exchange_when_it_is_woken() -> None:
    link = FakeLink(due=NOW.mono + 3)
    driver = asked(session().cacerts(), link)
    step(driver, Read)
    link.answers.append(RemoteProtocolError("fake/silence", "nobody there", Fault.TIMEOUT))
    driver.handle_timeout(NOW.after(3))
    assert step(driver, Failed).code == "fake/silence"


def test_the_deadline_ends_the_exchange_with_the_links_code() -> None:
    link = FakeLink()
    driver = asked(session().cacerts(), link)
    step(driver, Read)
    driver.handle_timeout(NOW.after(9.9))
    step(driver, Read)
    driver.handle_timeout(NOW.after(10))
    failed = step(driver, Failed)
    assert (failed.code, failed.message) == ("fake/timeout", "no answer within 10 seconds")
    assert link.spoilt
    assert link.timeouts == [NOW.mono + 9.9]


def test_every_request_has_its_own_deadline() -> None:
    link, exchange = FakeLink(), session().enroll(info(own_key()))
    driver = asked(exchange, link)
    answered(driver, link, PENDING)
    later = step(driver, RetryLater)
    assert later.at == NOW.after(30)
    again = ClientDriver(exchange, CONFIG, later.at)
    step(again, Connect, later.at)
    again.connected(link)
    assert step(again, Write, later.at).deadline == later.at.mono + 10
    assert link.sent[0] == link.sent[1]


def test_an_exchange_whose_time_has_not_come_says_so_again() -> None:
    link, exchange = FakeLink(), session().enroll(info(own_key()))
    driver = asked(exchange, link)
    answered(driver, link, PENDING)
    assert step(driver, RetryLater) == step(driver, RetryLater)
    early = NOW.after(29)
    assert step(ClientDriver(exchange, CONFIG, early), RetryLater, early).at == NOW.after(30)


# What goes wrong


def test_a_connection_that_fails_ends_the_exchange() -> None:
    driver = ClientDriver(session().cacerts(), CONFIG, NOW)
    step(driver, Connect)
    driver.connect_failed("connect/refused", "nobody listens")
    assert step(driver, Failed) == Failed(code="connect/refused", message="nobody listens")


def test_what_was_lost_is_asked_again_where_that_does_no_harm() -> None:
    link = FakeLink()
    driver = asked(session().cacerts(), link)
    answered(driver, link, Lost(sent=True))
    step(driver, Connect)
    other = FakeLink()
    driver.connected(other)
    step(driver, Write)
    answered(driver, other, CA_ANSWER)
    step(driver, CACertsReceived)


@pytest.mark.parametrize("sent", [True, False])
def test_an_enrollment_is_asked_again_only_where_it_was_not_sent(sent: bool) -> None:
    link = FakeLink()
    driver = asked(session().enroll(info(own_key())), link)
    answered(driver, link, Lost(sent=sent))
    result = driver.next_step(NOW)
    assert isinstance(result, Failed if sent else Connect)


def test_a_broken_connection_is_the_links_to_judge() -> None:
    link, alert = FakeLink(), TlsError("tls/peer-alert", "no")
    driver = asked(session().cacerts(), link)
    step(driver, Read)
    link.answers.append(RemoteProtocolError(alert.code, alert.message))
    driver.broken(alert, NOW)
    assert link.broken == [alert]
    assert step(driver, Failed).code == "tls/peer-alert"


def test_an_answer_that_cannot_be_read_spoils_the_connection() -> None:
    link = FakeLink()
    driver = asked(session().cacerts(), link)
    step(driver, Read)
    link.answers.append(RemoteProtocolError("response/media-type", "a picture"))
    driver.receive(b"it", NOW)
    assert step(driver, Failed).code == "response/media-type"
    assert link.spoilt


# The caller's mistakes


def test_nothing_can_be_received_out_of_turn() -> None:
    driver = ClientDriver(session().cacerts(), CONFIG, NOW)
    calls: tuple[Callable[[], None], ...] = (
        lambda: driver.receive(b"it", NOW),
        lambda: driver.broken(None, NOW),
        lambda: driver.handle_timeout(NOW),
    )
    for call in calls:
        with pytest.raises(LocalProtocolError):
            call()
    link = FakeLink()
    step(driver, Connect)
    driver.connected(link)
    with pytest.raises(LocalProtocolError):  # the request is not even taken
        driver.receive(b"it", NOW)
    assert link.received == []
    step(driver, Write)
    answered(driver, link, CA_ANSWER)
    with pytest.raises(LocalProtocolError):
        driver.receive(b"more", NOW)
    step(driver, CACertsReceived)


def test_an_identity_or_a_signer_that_is_missing_is_said() -> None:
    with pytest.raises(LocalProtocolError, match="identity"):
        ClientDriver(session().cacerts(), client_config(), NOW).next_step(NOW)
    config = client_config(identities=CONFIG.identities)
    driver = ClientDriver(session().enroll(info(own_key())), config, NOW)
    step(driver, Connect)
    driver.connected(FakeLink())
    with pytest.raises(LocalProtocolError, match="signer"):
        driver.next_step(NOW)


def test_an_exchange_that_somebody_else_drives_is_let_alone() -> None:
    exchange = session().cacerts()
    exchange.next_event()
    with pytest.raises(LocalProtocolError, match="somebody else"):
        ClientDriver(exchange, CONFIG, NOW).next_step(NOW)


def test_a_newer_version_than_asked_for_is_refused() -> None:
    older = ClientSession(URI, trust=(pki().ca.certificate,), max_version=TlsVersion.TLS_1_2)
    driver = ClientDriver(older.cacerts(), client_config(), NOW)
    assert step(driver, Connect).config.max_version is TlsVersion.TLS_1_2
    with pytest.raises(LocalProtocolError):
        driver.connected(FakeLink(channel=reached(version=TlsVersion.TLS_1_3, binding=None)))


@pytest.mark.req("EST-096")
def test_a_client_that_was_told_nothing_trusts_follows_and_tells_nothing() -> None:
    config = client_config()
    question = TrustDecisionRequested(
        uri=URI,
        channel=reached(),
        certificates=(pki().ca.certificate,),
        candidates=(pki().ca.certificate,),
    )
    assert config.trust(question) == ()
    assert config.follow(EstUri.parse("https://other.example")) is False
    assert config.credentials(CredentialsRequested(uri=URI, challenges=(), attempt=1)) is None
    assert not config.tls_exporter


@pytest.mark.parametrize("name", ["connect_s", "handshake_s", "response_s"])
def test_timeouts_are_positive(name: str) -> None:
    assert getattr(ClientTimeouts(**{name: 0.5}), name) == 0.5
    with pytest.raises(LocalProtocolError, match=name):
        ClientTimeouts(**{name: 0.0})


@pytest.mark.parametrize(
    "error, connected, code",
    [
        (TlsError("tls/peer-alert", "no"), False, "tls/peer-alert"),
        (TimeoutError(), True, "tls/timeout"),
        (ConnectionResetError(), True, "tls/closed"),
        (TimeoutError(), False, "connect/timeout"),
        (ConnectionRefusedError(), False, "connect/refused"),
        (OSError("no address"), False, "connect/unreachable"),
    ],
)
def test_a_connection_that_did_not_come_about_has_a_code(
    error: Exception, connected: bool, code: str
) -> None:
    found, message = connect_failure(error, EstUri.parse("coaps://[::1]:5"), connected=connected)
    assert found == code
    assert message


# A request that is put off


def put_off() -> tuple[ClientExchange, ClientDriver, Instant]:
    """Return an exchange that is to come back, its driver, and when."""
    link = FakeLink()
    exchange = session().enroll(info(own_key()))
    driver = asked(exchange, link)
    answered(driver, link, PENDING)
    return exchange, driver, step(driver, RetryLater).at


def test_a_new_driver_asks_again_by_itself() -> None:
    exchange, _, at = put_off()
    assert isinstance(ClientDriver(exchange, CONFIG, NOW).next_step(NOW), RetryLater)
    assert isinstance(ClientDriver(exchange, CONFIG, at).next_step(at), Connect)


def test_a_new_driver_goes_on_where_the_exchange_was_told_already() -> None:
    exchange, _, at = put_off()
    exchange.handle_timeout(at)
    assert exchange.resume_at is None
    assert isinstance(ClientDriver(exchange, CONFIG, at).next_step(at), Connect)


def test_a_new_driver_for_an_exchange_that_is_over_has_its_result() -> None:
    link = FakeLink()
    exchange = session().cacerts()
    driver = asked(exchange, link)
    answered(driver, link, CA_ANSWER)
    result = step(driver, CACertsReceived)
    assert ClientDriver(exchange, CONFIG, NOW).next_step(NOW) == result == exchange.result


def test_the_same_driver_goes_on_where_it_is_told() -> None:
    _, driver, at = put_off()
    driver.handle_timeout(NOW)
    assert isinstance(driver.next_step(NOW), RetryLater)
    driver.handle_timeout(at)
    assert isinstance(driver.next_step(at), Connect)
    link = FakeLink()
    driver.connected(link)
    step(driver, Write)
    answered(driver, link, PENDING)
    assert step(driver, RetryLater).at.mono == NOW.after(30).mono


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (socket.gaierror(-2, "Name or service not known"), "connect/unknown-host", "no host"),
        (OSError(101, "Network is unreachable"), "connect/unreachable", "reached: Network is"),
        (OSError("no route"), "connect/unreachable", "reached: no route"),
    ],
)
def test_a_host_that_is_not_found_is_told_from_one_that_is_not_reached(
    error: OSError, code: str, text: str
) -> None:
    found, message = connect_failure(error, URI, connected=False)
    assert found == code
    assert text in message


def test_a_root_and_a_discovery_are_not_asked_for_together() -> None:
    assert client_config(coap_root="/est").coap_root == "/est"
    with pytest.raises(LocalProtocolError, match="nothing is to be discovered"):
        client_config(coap_root="/est", coap_discovery=True)
    with pytest.raises(LocalProtocolError):
        client_config(coap_root="/e st?")

"""Bootstrap: CA certificates from a server that nobody has verified. RFC 7030 4.1.1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import permutations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, mldsa
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    CACertsReceived,
    Channel,
    ClientExchange,
    ClientSession,
    ConnectRequested,
    CredentialsRequested,
    Enrolled,
    Failed,
    Limits,
    LocalProtocolError,
    Operation,
    RedirectRequested,
    SendRequest,
    TrustClass,
    TrustDecisionRequested,
    renewal_request_info,
)
from est_core.asn1.cms import write_certs_only
from est_core.testing import FIXED_INSTANT, CountingEntropy, Link, joined
from tests.application import GOOD
from tests.core.cast import info, server_channel, spki
from tests.core.client_cast import (
    URI,
    Network,
    answered,
    challenged,
    ok,
    own_key,
    pair,
    redirected,
    refused,
    sent,
    take,
)
from tests.pki import TOMORROW, Key, Subject, new_key, pki, rsa_key, self_signed

UNVERIFIED = replace(server_channel(trust=TrustClass.FAILED), failure="leads to no trust anchor")
UNVERIFIED_CHANNELS = {
    "no trust anchor": UNVERIFIED,
    "no certificate": server_channel(trust=TrustClass.NONE),
    "another name": server_channel(trust=TrustClass.IMPLICIT, name_matches=False),
}
VERIFIED = server_channel(trust=TrustClass.IMPLICIT)


def new_client(**changes: object) -> ClientSession:
    """A client that has a certificate and a password, and trusts nobody yet."""
    everything = {"identity": pki().client.certificate, "credentials": GOOD, **changes}
    return ClientSession(URI, **everything)  # type: ignore[arg-type]  # by name


def bootstrap(**changes: object) -> ClientExchange:
    return new_client(**changes).cacerts(bootstrap=True)


def asked(
    exchange: ClientExchange, *certificates: x509.Certificate, on: Channel = UNVERIFIED
) -> TrustDecisionRequested:
    """Get these certificates over that channel, and return the question about them."""
    answered(exchange, ok(CACERTS, write_certs_only(certificates)), on=on)
    return take(exchange, TrustDecisionRequested)


def a_root(name: str = "root", key: Key | None = None, **changes: object) -> x509.Certificate:
    subject = Subject(name=name, ca=True, key=key or new_key(), **changes)  # type: ignore[arg-type]  # by name
    return self_signed(subject).certificate


# The connection


@pytest.mark.req("EST-095", "EST-100")
def test_the_connection_is_provisional_and_shows_no_certificate() -> None:
    event = take(bootstrap(), ConnectRequested)
    assert event.provisional
    assert event.identity is None
    assert event.trust == ()


@pytest.mark.req("EST-098", "EST-292")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_other_exchange_accepts_a_server_that_is_not_verified(operation: Operation) -> None:
    client, key = new_client(), spki(own_key())
    ways: dict[Operation, Callable[[], ClientExchange]] = {
        CACERTS: client.cacerts,
        CSRATTRS: client.csrattrs,
        SIMPLEENROLL: lambda: client.enroll(info(own_key())),
        SIMPLEREENROLL: lambda: client.reenroll(
            renewal_request_info(current=pki().client.certificate, key=key)
        ),
    }
    exchange = ways[operation]()
    assert not take(exchange, ConnectRequested).provisional
    exchange.connected(UNVERIFIED)
    assert take(exchange, Failed).code == "server/untrusted"


def test_a_session_that_trusts_the_est_ca_has_nothing_to_bootstrap() -> None:
    with pytest.raises(LocalProtocolError):
        new_client(trust=(pki().ca.certificate,)).cacerts(bootstrap=True)


@pytest.mark.req("EST-064", "EST-082", "EST-095", "EST-114")
@pytest.mark.parametrize("kind", UNVERIFIED_CHANNELS)
def test_whatever_is_wrong_with_the_server_its_certificates_are_asked_about(kind: str) -> None:
    exchange = bootstrap()
    channel = UNVERIFIED_CHANNELS[kind]
    question = asked(exchange, pki().ca.certificate, on=channel)
    assert (question.uri, question.channel) == (URI, channel)
    assert exchange.result is None


@pytest.mark.req("EST-100", "EST-098", "EST-044")
@pytest.mark.parametrize("kind", UNVERIFIED_CHANNELS)
def test_the_one_request_carries_no_credentials(kind: str) -> None:
    request = sent(bootstrap(), UNVERIFIED_CHANNELS[kind]).request
    assert request.operation is CACERTS
    assert request.payload == b""
    assert request.credentials is None


def test_a_connection_lost_before_the_request_is_replaced_by_another_provisional_one() -> None:
    exchange = bootstrap()
    sent(exchange, UNVERIFIED)
    exchange.connection_lost(sent=False)
    assert take(exchange, ConnectRequested).provisional


def test_an_unverified_server_gets_one_request_and_no_other() -> None:
    exchange = bootstrap()
    sent(exchange, UNVERIFIED)
    exchange.connection_lost(sent=True)
    result = take(exchange, Failed)
    assert (result.code, "certificate" in result.message) == ("connection/lost", False)


def test_an_unverified_server_gets_a_bounded_number_of_connections() -> None:
    exchange = bootstrap(limits=Limits(connects=2))
    for _ in range(2):
        sent(exchange, UNVERIFIED)
        exchange.connection_lost(sent=False)
    assert take(exchange, Failed).code == "connection/too-many"


def test_anchors_may_come_one_by_one() -> None:
    exchange = bootstrap()
    question = asked(exchange, a_root())
    exchange.provide_trust(each for each in question.candidates)
    assert take(exchange, CACertsReceived).trusted == question.candidates


# What an unverified server may not say


@pytest.mark.req("EST-099", "EST-081", "EST-044")
@pytest.mark.parametrize("kind", UNVERIFIED_CHANNELS)
def test_a_challenge_of_an_unverified_server_is_not_answered(kind: str) -> None:
    exchange = bootstrap()
    answer = answered(exchange, challenged(CACERTS), on=UNVERIFIED_CHANNELS[kind])
    result = take(exchange, Failed)
    assert (result.code, result.response) == ("auth/provisional", answer)


@pytest.mark.req("EST-098")
@pytest.mark.parametrize(
    "location",
    ["/.well-known/est/other/cacerts", "https://other.example/.well-known/est/cacerts", ""],
)
def test_a_redirect_of_an_unverified_server_is_not_followed(location: str) -> None:
    exchange = bootstrap()
    answer = answered(exchange, redirected(CACERTS, location), on=UNVERIFIED)
    result = take(exchange, Failed)
    assert (result.code, result.response) == ("redirect/provisional", answer)


def test_a_refusal_is_a_refusal() -> None:
    exchange = bootstrap()
    answered(exchange, refused(CACERTS), on=UNVERIFIED)
    assert take(exchange, Failed).code == "response/status-500"


def test_garbage_of_an_unverified_server_is_a_failure_and_no_exception() -> None:
    exchange = bootstrap()
    answered(exchange, ok(CACERTS, b"garbage"), on=UNVERIFIED)
    assert "/" in take(exchange, Failed).code


# The decision


@pytest.mark.req("EST-096", "EST-129", "EST-123")
@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_roots_among_the_certificates_are_the_candidates_the_most_recent_first(
    order: tuple[int, ...],
) -> None:
    old, new = a_root("old", not_after=TOMORROW), a_root("new")
    bag = (old, new, pki().intermediate.certificate, pki().client.certificate)
    ders = [certificate.public_bytes(Encoding.DER) for certificate in bag]
    der = write_certs_only(bag)
    shuffled = der.replace(b"".join(sorted(ders)), b"".join(ders[at] for at in order))
    exchange = bootstrap()
    answered(exchange, ok(CACERTS, shuffled), on=UNVERIFIED)
    question = take(exchange, TrustDecisionRequested)
    assert question.candidates == (new, old)
    assert question.certificates == tuple(bag[at] for at in order)


@pytest.mark.parametrize(
    "key",
    [
        new_key(),
        rsa_key(),
        ed25519.Ed25519PrivateKey.generate(),
        ed448.Ed448PrivateKey.generate(),
        mldsa.MLDSA65PrivateKey.generate(),
    ],
    ids=lambda key: type(key).__name__,
)
def test_a_root_may_have_any_kind_of_key(key: Key) -> None:
    root = a_root(key=key)
    assert asked(bootstrap(), root).candidates == (root,)


def test_a_certificate_that_only_names_itself_as_issuer_is_no_candidate() -> None:
    root = a_root()
    der = root.public_bytes(Encoding.DER)
    forged = x509.load_der_x509_certificate(der[:-1] + bytes([der[-1] ^ 1]))
    assert asked(bootstrap(), root, forged).candidates == (root,)


def test_an_answer_without_a_root_leaves_nothing_to_decide() -> None:
    exchange = bootstrap()
    bag = write_certs_only((pki().intermediate.certificate,))
    answered(exchange, ok(CACERTS, bag), on=UNVERIFIED)
    assert take(exchange, Failed).code == "trust/no-root"


@pytest.mark.req("EST-096")
def test_what_was_accepted_is_trusted_and_nothing_else() -> None:
    roots = (a_root("one"), a_root("two"))
    exchange = bootstrap()
    question = asked(exchange, *roots, pki().intermediate.certificate)
    exchange.provide_trust((roots[1], roots[1]))
    assert take(exchange, CACertsReceived) == CACertsReceived(
        certificates=question.certificates, trusted=(roots[1],)
    )


@pytest.mark.req("EST-096", "EST-129")
def test_nothing_is_trusted_that_was_not_accepted() -> None:
    exchange = bootstrap()
    asked(exchange, pki().ca.certificate)
    exchange.provide_trust(())
    assert take(exchange, Failed).code == "trust/refused"


def test_what_is_no_candidate_cannot_be_accepted() -> None:
    exchange = bootstrap()
    asked(exchange, pki().ca.certificate, pki().intermediate.certificate)
    for other in (pki().rogue.certificate, pki().intermediate.certificate):
        with pytest.raises(LocalProtocolError):
            exchange.provide_trust((pki().ca.certificate, other))
    assert exchange.next_event() is None
    exchange.provide_trust((pki().ca.certificate,))
    take(exchange, CACertsReceived)


# A server that verifies after all


def test_a_server_that_verifies_is_not_asked_about() -> None:
    exchange = bootstrap()
    answered(exchange, ok(CACERTS, write_certs_only((pki().ca.certificate,))), on=VERIFIED)
    assert take(exchange, CACertsReceived) == CACertsReceived(
        certificates=(pki().ca.certificate,), trusted=()
    )


def test_a_server_that_verifies_may_ask_for_credentials() -> None:
    exchange = bootstrap(credentials=None)
    answered(exchange, challenged(CACERTS), on=VERIFIED)
    take(exchange, CredentialsRequested)
    exchange.provide_credentials(GOOD)
    event = take(exchange, ConnectRequested)
    assert not event.provisional
    assert event.identity == pki().client.certificate
    exchange.connected(VERIFIED)
    assert take(exchange, SendRequest).request.credentials == GOOD


@pytest.mark.req("EST-081", "EST-098")
def test_after_a_verified_server_no_other_is_accepted() -> None:
    exchange = bootstrap()
    elsewhere = "https://other.example/.well-known/est/cacerts"
    answered(exchange, redirected(CACERTS, elsewhere), on=VERIFIED)
    take(exchange, RedirectRequested)
    exchange.provide_redirect(follow=True)
    assert not take(exchange, ConnectRequested).provisional
    exchange.connected(UNVERIFIED)
    assert take(exchange, Failed).code == "server/untrusted"


# The whole of it


@dataclass
class NewWorld(Network):
    """A network on which the server verifies by explicit trust anchors only."""

    seen: list[ConnectRequested] = field(default_factory=list)

    def __call__(self, event: ConnectRequested) -> Link:
        self.seen.append(event)
        if event.trust:
            return super().__call__(event)
        return joined(CountingEntropy(), client_sees=UNVERIFIED)


@pytest.mark.req("EST-098")
def test_a_client_without_trust_ends_up_with_a_certificate() -> None:
    network = NewWorld()
    server = pair(network)
    server.trust = lambda question: question.candidates[:1]
    received = server.run(bootstrap())
    assert isinstance(received, CACertsReceived)
    result = server.run(new_client(trust=received.trusted).enroll(info(own_key())))
    assert isinstance(result, Enrolled)
    assert [event.provisional for event in network.seen] == [True, False]
    assert server.messages[0].request.values(b"authorization") == ()
    assert server.messages[0].request.target == b"/.well-known/est/cacerts"


def test_the_pair_trusts_nobody_unasked() -> None:
    result = pair(NewWorld()).run(bootstrap())
    assert isinstance(result, Failed)
    assert result.code == "trust/refused"


def test_the_answer_to_a_question_comes_after_it_was_taken() -> None:
    exchange = bootstrap()
    sent(exchange, UNVERIFIED)
    bag = write_certs_only((pki().ca.certificate,))
    exchange.receive_response(ok(CACERTS, bag), FIXED_INSTANT)
    with pytest.raises(LocalProtocolError):
        exchange.provide_trust(())
    take(exchange, TrustDecisionRequested)

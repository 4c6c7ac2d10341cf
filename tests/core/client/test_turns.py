"""Turns of a client that are rare: connections lost twice, CoAP, waiting, contradictions."""

from __future__ import annotations

import pytest

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    BasicCredentials,
    Challenged,
    Channel,
    ClientSession,
    ConnectRequested,
    CredentialsRequested,
    Failed,
    Limits,
    LocalProtocolError,
    Pending,
    RetryLater,
    SendRequest,
    SignatureRequested,
    TlsVersion,
    TrustClass,
)
from tests.core.cast import info, signer
from tests.core.client_cast import (
    URI,
    answered,
    challenged,
    enrollment,
    own_key,
    reached,
    sent,
    session,
    take,
)
from tests.pki import pki

COAPS = "coaps://est.example"
PASSWORD = BasicCredentials(user="u", password="p")
UNNAMED = Challenged(operation=CACERTS)


def test_over_coap_a_session_has_an_identity_and_no_password() -> None:
    identity = pki().client.certificate
    assert ClientSession(COAPS, identity=identity).identity == identity
    assert ClientSession(URI, credentials=PASSWORD).credentials == PASSWORD
    for given in ({}, {"credentials": PASSWORD}, {"credentials": PASSWORD, "identity": identity}):
        with pytest.raises(LocalProtocolError, match="over CoAP"):
            ClientSession(COAPS, **given)


def test_only_https_without_anchors_has_a_bootstrap() -> None:
    over_coap = ClientSession(COAPS, identity=pki().client.certificate)
    for client in (over_coap, session()):
        with pytest.raises(LocalProtocolError, match="bootstrap"):
            client.cacerts(bootstrap=True)
    assert take(ClientSession(URI).cacerts(bootstrap=True), ConnectRequested).provisional


def test_a_session_without_identity_is_told_that_it_has_nothing_to_renew() -> None:
    with pytest.raises(LocalProtocolError, match="nothing to renew"):
        ClientSession(URI).reenroll(info(own_key()))


def test_over_coap_nobody_is_asked_for_a_password() -> None:
    exchange = ClientSession(COAPS, identity=pki().client.certificate).cacerts()
    answered(exchange, UNNAMED, on=reached(version=TlsVersion.DTLS_1_2))
    assert take(exchange, Failed).code == "auth/no-challenge"


def test_a_refusal_without_a_reason_is_told_without_one() -> None:
    for reason in ("", "the account is closed"):
        exchange = ClientSession(URI, credentials=PASSWORD).cacerts()
        answered(
            exchange,
            Challenged(operation=CACERTS, reason=reason),
        )
        told = f": {reason}" if reason else ""
        assert take(exchange, Failed).message == f"the server refuses the credentials{told}"


def test_a_post_is_sent_anew_where_the_connection_is_lost_before_it_is_signed() -> None:
    exchange = enrollment()
    take(exchange, ConnectRequested)
    exchange.connected(reached())
    take(exchange, SignatureRequested)
    exchange.connection_lost(sent=True)
    sent(exchange)


def test_a_get_is_sent_twice_at_most_whatever_was_lost_between() -> None:
    exchange = session().cacerts()
    for was_sent in (True, False, True):
        sent(exchange)
        exchange.connection_lost(sent=was_sent)
    assert take(exchange, Failed).code == "connection/lost"


def test_a_signature_waits_until_it_is_asked_for() -> None:
    exchange, other = enrollment(), enrollment()
    for each in (exchange, other):
        take(each, ConnectRequested)
        each.connected(reached())
    signature = signer(own_key())(take(other, SignatureRequested))
    with pytest.raises(LocalProtocolError):
        exchange.provide_signature(signature)
    take(exchange, SignatureRequested)
    exchange.provide_signature(signature)
    take(exchange, SendRequest)


def test_a_request_that_waited_has_all_its_connections_again() -> None:
    client = ClientSession(URI, limits=Limits(connects=1))
    exchange = client.enroll(info(own_key()))
    pending = Pending(operation=SIMPLEENROLL, retry_after=5, code="x/y")
    for _ in range(2):
        answered(exchange, pending)
        exchange.handle_timeout(take(exchange, RetryLater).at)
    sent(exchange)


def test_a_401_that_names_a_scheme_asks_for_credentials() -> None:
    exchange = session().cacerts()
    answered(exchange, challenged(CACERTS))
    assert take(exchange, CredentialsRequested).attempt == 1


# Channels


def test_facts_about_a_channel_that_contradict_each_other_are_refused() -> None:
    chain = pki().client.chain
    for trust, shown in (
        (TrustClass.NONE, chain),
        (TrustClass.IMPLICIT, ()),
        (TrustClass.EXPLICIT, ()),
    ):
        with pytest.raises(LocalProtocolError):
            Channel(version=TlsVersion.TLS_1_2, trust_class=trust, peer_chain=shown)
    for trust, shown in (
        (TrustClass.NONE, ()),
        (TrustClass.FAILED, ()),
        (TrustClass.FAILED, chain),
    ):
        found = Channel(version=TlsVersion.TLS_1_2, trust_class=trust, peer_chain=shown)
        assert found.peer_certificate == next(iter(shown), None)


OLD, NEW = (TlsVersion.TLS_1_2, TlsVersion.DTLS_1_2), (TlsVersion.TLS_1_3, TlsVersion.DTLS_1_3)


def test_1_3_is_above_1_2_and_nothing_else_is_above_anything() -> None:
    above = {(a, b) for a in TlsVersion for b in TlsVersion if a.is_above(b)}
    assert above == {(new, old) for new in NEW for old in OLD}

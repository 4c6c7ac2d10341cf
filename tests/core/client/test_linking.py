"""Linking identity and proof of possession on the client: what is signed for which channel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from est_core import (
    SIMPLEENROLL,
    Channel,
    ChannelBinding,
    ClientSession,
    ConnectRequested,
    CSRAttrsReceived,
    Enrolled,
    EnrollRequested,
    Failed,
    LinkWith,
    LocalProtocolError,
    Pend,
    Pending,
    PopMode,
    RetryLater,
    SendRequest,
    SignatureRequested,
    TlsVersion,
    default_policy,
)
from est_core.asn1.attributes import challenge_attribute
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from est_core.asn1.keys import SIGNATURE_ALGORITHMS
from est_core.asn1.pkcs10 import (
    CertRequest,
    CertRequestInfo,
    parse_cert_request,
    signature_is_valid,
)
from est_core.checks.pop import linking_text, linking_values
from est_core.testing import FIXED_INSTANT
from tests.application import FakeApplication
from tests.core.asn1.build import CHALLENGE_PASSWORD, IDENTITY_LINKING, vector
from tests.core.cast import BINDING, EXPORTER, LIMITS, csr_der, info, server_channel, sign, signer
from tests.core.client_cast import (
    DEMANDING,
    URI,
    Network,
    csr_of,
    enrollment,
    failed,
    own_key,
    pair,
    reached,
    redirected,
    sent,
    take,
)
from tests.pki import new_key, pki

ENROLL = SIMPLEENROLL
OTHER = ChannelBinding(kind=BINDING.kind, data=b"other finish")
TLS_1_2, TLS_1_3 = TlsVersion.TLS_1_2, TlsVersion.TLS_1_3
UNBOUND_1_2 = server_channel()
UNBOUND_1_3 = server_channel(version=TLS_1_3)
EXPORTING = reached(version=TLS_1_3, binding=EXPORTER)
BOTH = parse_csrattrs(vector("rfc7894/DERIVED-csrattrs-linking-both.der"), LIMITS)


def client(pop: PopMode) -> ClientSession:
    return ClientSession(URI, trust=(pki().ca.certificate,), pop=pop)


def foreign(challenge_text: str | None = None) -> CertRequest:
    return parse_cert_request(csr_der(new_key(), challenge=challenge_text), LIMITS)


# Which channel, which mode: what is sent


@pytest.mark.req("EST-169", "EST-174", "EST-181", "CB-008", "EST-139")
@pytest.mark.parametrize("pop", [PopMode.AUTO, PopMode.ALWAYS])
@pytest.mark.parametrize("on", [reached(), EXPORTING], ids=["tls-unique", "tls-exporter"])
def test_a_csr_is_linked_wherever_the_channel_has_a_binding(pop: PopMode, on: Channel) -> None:
    csr = csr_of(sent(client(pop).enroll(info(own_key())), on))
    assert on.binding is not None
    assert csr.challenge_passwords == (linking_text(on.binding),)
    assert signature_is_valid(csr)


def test_on_request_a_csr_is_never_linked() -> None:
    wanted = client(PopMode.NEVER).enroll(info(own_key()), csrattrs=DEMANDING)
    assert linking_values(csr_of(sent(wanted, reached()))) == ()


@pytest.mark.req("EST-184", "CB-019")
def test_auto_sends_an_unlinked_csr_where_there_is_no_binding_and_no_demand() -> None:
    for on in (UNBOUND_1_3, UNBOUND_1_2):
        assert linking_values(csr_of(sent(enrollment(), on))) == ()


@pytest.mark.req("EST-173", "CB-024", "EST-172", "CB-012", "EST-243")
def test_auto_goes_down_to_tls_1_2_where_the_server_demands_linking() -> None:
    network = Network(newest=TLS_1_3)
    server = pair(network, policy=default_policy(require_pop=True))
    attributes = server.run(client(PopMode.AUTO).csrattrs())
    assert isinstance(attributes, CSRAttrsReceived)
    asked = attributes.csrattrs
    assert asked is not None
    assert asked.requires_linking
    exchange = client(PopMode.AUTO).enroll(info(own_key()), csrattrs=asked)
    assert isinstance(server.run(exchange), Enrolled)
    assert [event.max_version for event in network.asked] == [None, None, TLS_1_2]
    csr = server.exchanges[-1].csr
    assert csr is not None
    assert linking_values(csr) != ()


@pytest.mark.req("EST-180", "EST-281", "EST-171")
def test_an_unlinked_csr_is_refused_by_a_server_that_demands_linking_in_words() -> None:
    server = pair(Network(newest=TLS_1_3), policy=default_policy(require_pop=True))
    result = failed(server.run(enrollment()))
    assert result.code == "response/status-403"
    assert "linking of identity and proof of possession" in result.message


@pytest.mark.req("CB-024")
def test_always_goes_down_to_tls_1_2_unasked() -> None:
    exchange = client(PopMode.ALWAYS).enroll(info(own_key()))
    take(exchange, ConnectRequested)
    exchange.connected(UNBOUND_1_3)
    assert take(exchange, ConnectRequested).max_version is TLS_1_2
    with pytest.raises(LocalProtocolError):
        exchange.connected(UNBOUND_1_3)
    exchange.connected(reached())
    take(exchange, SignatureRequested)


@pytest.mark.req("CB-024")
@pytest.mark.parametrize("on", [UNBOUND_1_2, replace(UNBOUND_1_2, version=TlsVersion.DTLS_1_2)])
def test_required_linking_fails_where_no_version_gives_a_binding(on: Channel) -> None:
    for pop, csrattrs in ((PopMode.ALWAYS, None), (PopMode.AUTO, DEMANDING)):
        exchange = client(pop).enroll(info(own_key()), csrattrs=csrattrs)
        take(exchange, ConnectRequested)
        exchange.connected(on)
        assert take(exchange, Failed).code == "pop/no-binding"


@pytest.mark.req("CB-024")
def test_a_server_without_tls_1_2_cannot_be_linked_to_and_gets_no_request() -> None:
    exchange = client(PopMode.ALWAYS).enroll(info(own_key()))
    take(exchange, ConnectRequested)
    exchange.connected(UNBOUND_1_3)
    assert take(exchange, ConnectRequested).max_version is TLS_1_2
    exchange.connect_failed("tls/version", "the peer accepts none of the TLS versions offered")
    result = take(exchange, Failed)
    assert result.code == "pop/no-binding"
    assert result.message.endswith(": the peer accepts none of the TLS versions offered")


@pytest.mark.parametrize("code", ["tls/version", "connect/refused"])
def test_a_connection_that_fails_for_another_reason_is_called_by_it(code: str) -> None:
    exchange = client(PopMode.ALWAYS).enroll(info(own_key()))
    take(exchange, ConnectRequested)
    if code != "tls/version":
        exchange.connected(UNBOUND_1_3)
        take(exchange, ConnectRequested)
    exchange.connect_failed(code, "text")
    result = take(exchange, Failed)
    assert (result.code, result.message) == (code, "text")


@pytest.mark.req("CB-021")
def test_a_channel_without_extended_master_secret_is_named_as_what_does_not_link() -> None:
    for ems in (True, False):
        exchange = client(PopMode.ALWAYS).enroll(info(own_key()))
        take(exchange, ConnectRequested)
        exchange.connected(replace(UNBOUND_1_2, extended_master_secret=ems))
        result = take(exchange, Failed)
        assert result.code == "pop/no-binding"
        assert ("extended master secret" in result.message) is not ems


@pytest.mark.parametrize(
    ("pop", "csrattrs"), [(PopMode.NEVER, DEMANDING), (PopMode.AUTO, CsrAttrs(items=()))]
)
def test_linking_that_nobody_wants_needs_no_binding(pop: PopMode, csrattrs: CsrAttrs) -> None:
    exchange = client(pop).enroll(info(own_key()), csrattrs=csrattrs)
    assert linking_values(csr_of(sent(exchange, UNBOUND_1_3))) == ()


@pytest.mark.parametrize("pop", list(PopMode))
def test_an_operation_without_csr_needs_no_binding(pop: PopMode) -> None:
    sent(client(pop).cacerts(), UNBOUND_1_3)


# Which attribute


@pytest.mark.req("EST-187", "EST-188")
def test_est_identity_linking_alone_is_used_where_it_is_listed() -> None:
    exchange = client(PopMode.AUTO).enroll(info(own_key()), csrattrs=BOTH)
    csr = csr_of(sent(exchange, reached()))
    assert csr.challenge(IDENTITY_LINKING) == (linking_text(BINDING),)
    assert csr.challenge_passwords == ()


@pytest.mark.req("EST-188", "EST-189")
@pytest.mark.parametrize("csrattrs", [None, DEMANDING, BOTH])
@pytest.mark.parametrize(
    ("link_with", "oids"),
    [
        (LinkWith.CHALLENGE_PASSWORD, {CHALLENGE_PASSWORD}),
        (LinkWith.IDENTITY_LINKING, {IDENTITY_LINKING}),
        (LinkWith.BOTH, {CHALLENGE_PASSWORD, IDENTITY_LINKING}),
    ],
)
def test_a_client_may_choose_the_attribute_whatever_the_server_lists(
    link_with: LinkWith, oids: set[str], csrattrs: CsrAttrs | None
) -> None:
    choosing = ClientSession(URI, trust=(pki().ca.certificate,), link_with=link_with)
    exchange = choosing.enroll(info(own_key()), csrattrs=csrattrs)
    assert dict(csr_of(sent(exchange, reached())).challenges) == dict.fromkeys(
        oids, linking_text(BINDING)
    )
    server = pair(Network(), policy=default_policy(require_pop=True))
    assert isinstance(server.run(choosing.enroll(info(own_key()), csrattrs=csrattrs)), Enrolled)


@pytest.mark.req("EST-190")
def test_a_server_verifies_est_identity_linking() -> None:
    server = pair(Network(), policy=default_policy(require_pop=True))
    exchange = client(PopMode.AUTO).enroll(info(own_key()), csrattrs=BOTH)
    assert isinstance(server.run(exchange), Enrolled)


@pytest.mark.req("EST-175", "EST-176", "CB-009")
@pytest.mark.parametrize("pop", list(PopMode))
@pytest.mark.parametrize("on", [reached(), UNBOUND_1_3], ids=["bound", "unbound"])
def test_linking_values_of_another_channel_in_the_info_are_replaced_or_dropped(
    pop: PopMode, on: Channel
) -> None:
    stale = linking_text(OTHER)
    old = info(own_key()).with_challenge_password(stale)
    old = old.with_attribute(challenge_attribute(IDENTITY_LINKING, stale))
    exchange = client(pop).enroll(old)
    if pop is PopMode.ALWAYS:
        on = reached()
    values = linking_values(csr_of(sent(exchange, on)))
    linked = pop is not PopMode.NEVER and on.binding is not None
    assert values == ((linking_text(BINDING),) if linked else ())


# A CSR from elsewhere


@pytest.mark.parametrize("pop", [PopMode.AUTO, PopMode.NEVER])
def test_a_foreign_unlinked_csr_is_sent_as_it_is(pop: PopMode) -> None:
    csr = foreign()
    exchange = client(pop).enroll(csr)
    take(exchange, ConnectRequested)
    exchange.connected(reached())
    assert take(exchange, SendRequest).request.payload == csr.der


@pytest.mark.parametrize("pop", list(PopMode))
def test_a_foreign_csr_that_is_linked_to_this_channel_is_sent(pop: PopMode) -> None:
    csr = foreign(linking_text(BINDING))
    assert sent(client(pop).enroll(csr), reached()).request.payload == csr.der


@pytest.mark.req("CB-009", "EST-022")
@pytest.mark.parametrize("pop", list(PopMode))
@pytest.mark.parametrize("on", [reached(), UNBOUND_1_2], ids=["bound", "unbound"])
def test_a_foreign_csr_linked_to_something_else_is_never_sent(pop: PopMode, on: Channel) -> None:
    exchange = client(pop).enroll(foreign(linking_text(OTHER)))
    take(exchange, ConnectRequested)
    exchange.connected(on)
    expected = "pop/cannot-relink"
    if pop is PopMode.ALWAYS and on.binding is None:
        expected = "pop/no-binding"
    assert take(exchange, Failed).code == expected


@pytest.mark.parametrize(
    ("pop", "csrattrs"), [(PopMode.ALWAYS, None), (PopMode.AUTO, DEMANDING)], ids=["mode", "server"]
)
def test_a_foreign_unlinked_csr_is_not_sent_where_linking_is_required(
    pop: PopMode, csrattrs: CsrAttrs | None
) -> None:
    exchange = client(pop).enroll(foreign(), csrattrs=csrattrs)
    take(exchange, ConnectRequested)
    exchange.connected(reached())
    assert take(exchange, Failed).code == "pop/cannot-relink"


def test_a_foreign_csr_with_two_linking_values_is_never_sent() -> None:
    key = new_key()
    text = linking_text(BINDING)
    attributes = tuple(
        challenge_attribute("1.2.840.113549.1.9.7", each) for each in (text, text[::-1])
    )
    twice = CertRequestInfo(subject=info(key).subject, spki=info(key).spki, attributes=attributes)
    exchange = client(PopMode.AUTO).enroll(parse_cert_request(sign(twice, key), LIMITS))
    take(exchange, ConnectRequested)
    exchange.connected(reached())
    assert take(exchange, Failed).code == "pop/ambiguous"


# A new channel


@pytest.mark.req("EST-031", "CB-008", "CB-009", "CB-003")
@pytest.mark.parametrize("keep", [False, True])
def test_after_waiting_a_new_channel_gets_a_new_signature_with_the_same_key(keep: bool) -> None:
    network = Network(keep=keep)
    pending = FakeApplication(answers={EnrollRequested: Pend(retry_after_s=5)})
    server = pair(network, pending, policy=default_policy(require_pop=True))
    exchange = enrollment()
    assert isinstance(server.run(exchange), RetryLater)
    pending.answers[EnrollRequested] = pending.issue
    exchange.handle_timeout(FIXED_INSTANT.after(5))
    assert isinstance(server.run(exchange), Enrolled)
    first, second = (served.csr for served in server.exchanges)
    assert first is not None
    assert second is not None
    assert (first.spki, first.subject) == (second.spki, second.subject)
    assert (first.der == second.der) == keep
    for csr, link in zip((first, second), network.links * (2 if keep else 1), strict=True):
        assert link.client.binding is not None
        assert linking_values(csr) == (linking_text(link.client.binding),)


@pytest.mark.req("EST-022")
def test_a_redirect_to_another_origin_gets_a_new_signature() -> None:
    exchange = enrollment()
    first = csr_of(sent(exchange, reached()))
    there = "https://other.example/.well-known/est/simpleenroll"
    exchange.receive_response(redirected(ENROLL, there), FIXED_INSTANT)
    exchange.next_event()
    exchange.provide_redirect(follow=True)
    second = csr_of(sent(exchange, reached(binding=OTHER)))
    assert first.challenge_passwords == (linking_text(BINDING),)
    assert second.challenge_passwords == (linking_text(OTHER),)
    assert first.spki == second.spki


def test_a_retry_on_the_same_channel_sends_the_same_signature_unasked() -> None:
    exchange = enrollment()
    first = sent(exchange, reached())
    exchange.connection_lost(sent=False)
    take(exchange, ConnectRequested)
    exchange.connected(reached())
    assert take(exchange, SendRequest) == first


@pytest.mark.req("EST-027")
def test_an_unlinked_csr_is_signed_once_for_all_connections() -> None:
    exchange = enrollment()
    pending = Pending(operation=ENROLL)
    first = sent(exchange, UNBOUND_1_3)
    exchange.receive_response(pending, FIXED_INSTANT)
    at = take(exchange, RetryLater).at
    exchange.handle_timeout(at)
    take(exchange, ConnectRequested)
    exchange.connected(UNBOUND_1_3)
    assert take(exchange, SendRequest).request == first.request


# The signature


@pytest.mark.req("EST-245")
def test_the_signature_is_asked_for_with_the_algorithm_that_was_chosen() -> None:
    sha384 = next(row for row in SIGNATURE_ALGORITHMS if row.name == "ecdsa-with-SHA384")
    for algorithm in (None, sha384):
        exchange = client(PopMode.AUTO).enroll(info(own_key()), algorithm=algorithm)
        take(exchange, ConnectRequested)
        exchange.connected(reached())
        asked = take(exchange, SignatureRequested)
        assert asked.algorithm.name == (algorithm.name if algorithm else "ecdsa-with-SHA256")


@pytest.mark.req("EST-139")
@pytest.mark.parametrize("signature", [b"", b"garbage", b"\x30\x06\x02\x01\x01\x02\x01\x01"])
def test_a_signature_that_does_not_verify_is_refused_and_may_be_given_again(
    signature: bytes,
) -> None:
    exchange = enrollment()
    take(exchange, ConnectRequested)
    exchange.connected(reached())
    question = take(exchange, SignatureRequested)
    wrong_key = signer(new_key())(question)
    for bad in (signature, wrong_key):
        with pytest.raises(LocalProtocolError):
            exchange.provide_signature(bad)
        assert exchange.next_event() is None
    exchange.provide_signature(signer(own_key())(question))
    assert signature_is_valid(csr_of(take(exchange, SendRequest)))

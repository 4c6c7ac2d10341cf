"""A client exchange from the first connection to its result, against a server in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    CACERTS,
    CSRATTRS,
    SIMPLEENROLL,
    CACertsReceived,
    CACertsRequested,
    ClientExchange,
    ClientSession,
    ConnectRequested,
    CredentialsRequested,
    CSRAttrsReceived,
    CSRAttrsRequested,
    Decision,
    Deny,
    Enrolled,
    EnrollRequested,
    Fail,
    Failed,
    Fault,
    Instant,
    Label,
    Limits,
    LocalProtocolError,
    MalformedCredentials,
    OperationDefinition,
    Outcome,
    Part,
    Pend,
    Pending,
    Postpone,
    RedirectRequested,
    Refused,
    RemoteProtocolError,
    RetryLater,
    SendRequest,
    SignatureRequested,
    Success,
    TlsVersion,
    TrustClass,
    TrustDecisionRequested,
    default_policy,
)
from est_core.asn1.cms import write_certs_only
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.asn1.keys import SIGNATURE_ALGORITHMS
from est_core.codec.retry import RetryAfter
from est_core.testing import FIXED_INSTANT
from tests.answers import one_of, response_of
from tests.application import GOOD, FakeApplication, issue
from tests.core.cast import info, server_channel, signer, spki
from tests.core.client_cast import (
    URI,
    Network,
    answered,
    challenged,
    enrollment,
    failed,
    ok,
    own_certificate_bag,
    own_key,
    pair,
    reached,
    redirected,
    refused,
    sent,
    session,
    take,
)
from tests.pki import new_key, pki

ENROLL = SIMPLEENROLL
ELSEWHERE = "https://other.example/.well-known/est/simpleenroll"


# Results


@pytest.mark.req("EST-010", "EST-112", "EST-116")
def test_cacerts_end_in_the_certificates_of_the_server() -> None:
    server = pair(Network())
    result = server.run(session().cacerts())
    assert result == CACertsReceived(certificates=(pki().ca.certificate,))
    assert server.messages[0].request.method == b"GET"
    assert server.messages[0].request_body == b""


@pytest.mark.req("EST-004", "EST-009")
def test_the_label_of_the_uri_is_in_every_path() -> None:
    label = Label("printers")
    server = pair(Network(), policy=default_policy(labels=frozenset({label})))
    for exchange in (
        session(replace(URI, label=label)).cacerts(),
        enrollment(session(replace(URI, label=label))),
    ):
        server.run(exchange)
        path = b"/.well-known/est/printers/" + exchange.operation.name.encode()
        assert server.messages[-1].request.target == path


@pytest.mark.req("EST-235", "EST-238", "EST-240")
def test_csrattrs_end_in_what_the_server_asks_for() -> None:
    wanted = CsrAttrs(items=(ObjectId(oid="2.5.4.5"),))
    result = pair(Network(), FakeApplication(csrattrs=wanted)).run(session().csrattrs())
    assert isinstance(result, CSRAttrsReceived)
    assert result.csrattrs == wanted


@pytest.mark.req("EST-239", "EST-240")
@pytest.mark.parametrize("answer", ["204", "404", "empty sequence"])
def test_no_csrattrs_are_none_however_the_server_says_so(answer: str) -> None:
    nothing = default_policy()
    if answer == "404":
        rows = tuple(row for row in nothing.rows if row.operation is not CSRATTRS)
        nothing = replace(nothing, rows=rows)
    exchange = session().csrattrs()
    if answer == "empty sequence":
        answered(exchange, ok(CSRATTRS, b"\x30\x00"))
        assert exchange.result == CSRAttrsReceived(csrattrs=None)
    else:
        server = pair(Network(), policy=nothing)
        expected = CSRAttrsReceived(csrattrs=None, not_found=answer == "404")
        assert server.run(exchange) == expected
        assert server.messages[0].response.status == int(answer)


@pytest.mark.req("EST-002", "EST-138", "EST-148")
def test_enrollment_ends_in_the_certificate_that_was_issued() -> None:
    application = FakeApplication()
    exchange = enrollment()
    result = pair(Network(), application).run(exchange)
    assert result == Enrolled(certificate=application.issued[0], others=())
    assert exchange.result is result


@pytest.mark.req("EST-163", "EST-166")
@pytest.mark.parametrize("rekey", [False, True])
def test_renewal_and_rekeying_end_in_the_certificate_that_was_issued(rekey: bool) -> None:
    current = pki().client
    key = new_key() if rekey else current.key
    application = FakeApplication()
    server = pair(Network(), application)
    server.sign = signer(key)  # type: ignore[arg-type]  # every key of the cast is P-256
    result = server.run(session().reenroll(info(key)))  # type: ignore[arg-type]
    assert result == Enrolled(certificate=application.issued[0], others=())
    assert server.messages[0].request.target.endswith(b"/simplereenroll")


def test_a_session_without_identity_renews_nothing() -> None:
    with pytest.raises(LocalProtocolError):
        ClientSession(URI).reenroll(info(own_key()))


@pytest.mark.req("EST-149", "EST-129")
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_own_certificate_is_found_by_its_key_among_others_in_any_order(
    order: tuple[int, ...],
) -> None:
    mine, other = issue(spki(own_key())), issue(spki(new_key()))
    certificates = (mine, other, pki().ca.certificate)
    bag = write_certs_only(certificates)
    ders = [certificate.public_bytes(Encoding.DER) for certificate in certificates]
    shuffled = bag.replace(b"".join(sorted(ders)), b"".join(ders[at] for at in order))
    exchange = enrollment()
    answered(exchange, ok(ENROLL, shuffled))
    assert isinstance(exchange.result, Enrolled)
    assert exchange.result.certificate == mine
    assert set(exchange.result.others) == {other, pki().ca.certificate}


@pytest.mark.req("EST-149")
def test_an_answer_without_a_certificate_for_the_own_key_is_refused() -> None:
    exchange = enrollment()
    answered(exchange, ok(ENROLL, write_certs_only([issue(spki(new_key()))])))
    assert failed(exchange.result).code == "response/other-key"


def test_a_key_in_an_unusual_form_is_found_in_the_answer_all_the_same() -> None:
    usual = spki(own_key())
    # A compressed point: 02 or 03, then x. RFC 5480 2.2.
    x, y = usual[27:59], usual[59:]
    compressed = b"\x30\x39" + usual[2:23] + b"\x03\x22\x00" + bytes((2 + y[-1] % 2,)) + x
    exchange = session().enroll(replace(info(own_key()), spki=compressed))
    answered(exchange, ok(ENROLL, own_certificate_bag()))
    assert isinstance(exchange.result, Enrolled)


@pytest.mark.req("EST-290")
@pytest.mark.parametrize(
    ("operation", "der"),
    [
        (ENROLL, b"\x30\x03\x02\x01\x00"),
        (ENROLL, b"garbage"),
        (ENROLL, b""),
        (CACERTS, own_certificate_bag()[:-1]),
        (CACERTS, own_certificate_bag() + b"\0"),
        (CSRATTRS, b"\x30\x80"),
    ],
)
def test_garbage_in_a_success_is_a_failure_and_no_exception(
    operation: OperationDefinition, der: bytes
) -> None:
    exchange = ClientExchange(
        session(), operation, info(own_key()) if operation is ENROLL else None
    )
    answered(exchange, ok(operation, der))
    assert "/" in failed(exchange.result).code


def test_a_success_with_content_of_another_kind_is_refused() -> None:
    exchange = session().cacerts()
    part = Part(kind="csrattrs", content=b"\x30\x00")
    answered(exchange, Success(operation=CACERTS, parts=(part,)))
    assert failed(exchange.result).code == "response/part"


def test_a_refusal_without_a_code_of_its_own_has_one() -> None:
    exchange = session().cacerts()
    response = Refused(operation=CACERTS, fault=Fault.INTERNAL)
    answered(exchange, response)
    assert failed(exchange.result) == Failed(
        code="response/fault", message="the server gave no reason", response=response
    )


@pytest.mark.parametrize(
    "status, words",
    [(202, "no answer to this request"), (206, "no answer"), (303, "redirect"), (404, "no reason")],
)
def test_a_status_without_a_text_is_told_by_its_class(status: int, words: str) -> None:
    exchange = session().cacerts()
    response = Refused(operation=CACERTS, fault=Fault.MALFORMED, status=status)
    answered(exchange, response)
    assert words in failed(exchange.result).message


@pytest.mark.req("EST-034", "EST-033", "EST-276", "EST-150", "EST-116")
@pytest.mark.parametrize(
    ("decision", "status", "fault"),
    [
        (Postpone(retry_after_s=7, reason="later"), 503, Fault.BUSY),
        (Fail(), 500, Fault.INTERNAL),
        (Deny(code="policy/no", reason="not you"), 403, Fault.FORBIDDEN),
        (Deny(code="policy/no", reason="not this", content=True), 400, Fault.MALFORMED),
    ],
)
@pytest.mark.parametrize("operation", [ENROLL, CACERTS, CSRATTRS])
def test_a_refusal_ends_in_failed_with_the_servers_answer(
    operation: OperationDefinition, decision: Decision, status: int, fault: Fault
) -> None:
    kinds = (EnrollRequested, CACertsRequested, CSRAttrsRequested)
    application = FakeApplication(answers=dict.fromkeys(kinds, decision))
    exchange = ClientExchange(
        session(), operation, info(own_key()) if operation is ENROLL else None
    )
    result = failed(pair(Network(), application).run(exchange))
    assert result.code == f"response/status-{status}"
    assert result.response is not None
    assert (result.response.status, one_of(Refused, result.response).fault) == (status, fault)
    assert result.message == (result.response.reason or "the server gave no reason")
    if isinstance(decision, Postpone):
        assert one_of(Refused, result.response).retry_after == 7


@pytest.mark.req("EST-034")
def test_429_is_a_failure_that_keeps_its_retry_after() -> None:
    exchange = session().cacerts()
    busy = Refused(operation=CACERTS, fault=Fault.BUSY, status=429, retry_after=30)
    answered(exchange, busy)
    assert failed(exchange.result).response == busy


def test_an_answer_that_could_not_be_read_ends_the_exchange_with_its_code() -> None:
    exchange = session().cacerts()
    sent(exchange)
    exchange.receive_fault(RemoteProtocolError("body/base64", "not base64"))
    assert exchange.result == Failed(code="body/base64", message="not base64")


# Waiting


@pytest.mark.req("EST-025", "EST-026")
@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (120, 120),
        (FIXED_INSTANT.wall + timedelta(seconds=90), 90),
        (FIXED_INSTANT.wall - timedelta(days=1), 1),
        (None, 60),
        (0, 1),
        (2**31, 30 * 24 * 3600),
    ],
)
def test_a_pending_request_is_asked_again_at_the_time_the_server_says(
    retry_after: RetryAfter | None, seconds: int
) -> None:
    exchange = enrollment()
    answered(exchange, Pending(operation=ENROLL, retry_after=retry_after))
    at = FIXED_INSTANT.after(seconds)
    assert take(exchange, RetryLater).at == at
    assert exchange.resume_at == at
    assert exchange.result is None


@pytest.mark.req("EST-026")
def test_a_timeout_that_comes_early_does_nothing() -> None:
    exchange = enrollment()
    answered(exchange, Pending(operation=ENROLL, retry_after=120))
    at = take(exchange, RetryLater).at
    for early in (FIXED_INSTANT, at.after(-0.001)):
        exchange.handle_timeout(early)
        assert exchange.next_event() is None
    exchange.handle_timeout(at)
    take(exchange, ConnectRequested)


@pytest.mark.req("EST-024", "EST-027", "EST-137")
def test_a_pending_request_is_repeated_until_it_is_settled() -> None:
    pending = FakeApplication(answers={EnrollRequested: Pend(retry_after_s=5)})
    server = pair(Network(keep=True), pending)
    exchange = enrollment()
    for _ in range(20):  # more often than one answer may take connections
        assert server.run(exchange) == RetryLater(at=server.now.after(5))
        server.now = server.now.after(5)
        exchange.handle_timeout(server.now)
    pending.answers[EnrollRequested] = pending.issue
    assert isinstance(server.run(exchange), Enrolled)
    bodies = {message.request_body for message in server.messages}
    assert len(bodies) == 1, "the same request on the same connection"


# Connections


def test_a_connection_that_cannot_be_had_ends_the_exchange() -> None:
    exchange = session().cacerts()
    take(exchange, ConnectRequested)
    exchange.connect_failed("connect/refused", "nobody listens")
    assert take(exchange, Failed) == Failed(code="connect/refused", message="nobody listens")


def test_a_connection_is_asked_for_with_the_sessions_trust_identity_and_version() -> None:
    client = ClientSession(
        URI,
        trust=(pki().ca.certificate,),
        identity=pki().client.certificate,
        max_version=TlsVersion.TLS_1_2,
    )
    assert take(client.cacerts(), ConnectRequested) == ConnectRequested(
        uri=URI,
        trust=(pki().ca.certificate,),
        identity=pki().client.certificate,
        max_version=TlsVersion.TLS_1_2,
        provisional=False,
        idempotent=True,
    )
    assert not take(client.enroll(info(own_key())), ConnectRequested).idempotent


def test_without_trust_anchors_the_drivers_own_are_left_to_it() -> None:
    assert take(ClientSession(URI).cacerts(), ConnectRequested).trust == ()


@pytest.mark.parametrize("was_sent", [False, True])
def test_a_get_is_tried_again_when_its_connection_is_lost(was_sent: bool) -> None:
    exchange = session().cacerts()
    sent(exchange)
    exchange.connection_lost(sent=was_sent)
    sent(exchange)


def test_a_get_that_was_sent_is_tried_again_once_for_each_answer() -> None:
    """RFC 9110 9.2.2: no automatic retry of a failed automatic retry."""
    exchange = session().cacerts()
    sent(exchange)
    exchange.connection_lost(sent=True)
    sent(exchange)
    exchange.receive_response(redirected(CACERTS, "/.well-known/est/x/cacerts"), FIXED_INSTANT)
    sent(exchange)
    exchange.connection_lost(sent=True)
    sent(exchange)
    exchange.connection_lost(sent=True)
    failed = take(exchange, Failed)
    assert failed.code == "connection/lost"
    assert "issued" not in failed.message


def test_a_post_is_tried_again_only_if_nothing_of_it_had_left() -> None:
    exchange = enrollment()
    sent(exchange)
    exchange.connection_lost(sent=False)
    sent(exchange)
    exchange.connection_lost(sent=True)
    assert take(exchange, Failed).code == "connection/lost"


def test_a_connection_lost_while_signing_is_replaced() -> None:
    exchange = enrollment()
    take(exchange, ConnectRequested)
    exchange.connected(reached())
    take(exchange, SignatureRequested)
    exchange.connection_lost(sent=False)
    sent(exchange)


def test_a_server_that_never_answers_gets_a_bounded_number_of_connections() -> None:
    client = ClientSession(URI, limits=Limits(connects=3))
    exchange = client.cacerts()
    for _ in range(3):
        sent(exchange)
        exchange.connection_lost(sent=False)
    assert take(exchange, Failed).code == "connection/too-many"


def test_a_channel_above_the_version_asked_for_is_the_drivers_mistake() -> None:
    client = ClientSession(URI, max_version=TlsVersion.TLS_1_2)
    exchange = client.cacerts()
    take(exchange, ConnectRequested)
    with pytest.raises(LocalProtocolError):
        exchange.connected(reached(version=TlsVersion.TLS_1_3, binding=None))
    exchange.connected(reached())
    take(exchange, SendRequest)


# Calls out of turn


def at_connecting() -> ClientExchange:
    exchange = enrollment()
    take(exchange, ConnectRequested)
    return exchange


def at_signing() -> ClientExchange:
    exchange = at_connecting()
    exchange.connected(reached())
    take(exchange, SignatureRequested)
    return exchange


def at_sent() -> ClientExchange:
    exchange = enrollment()
    sent(exchange)
    return exchange


def at_challenged() -> ClientExchange:
    exchange = enrollment()
    answered(exchange, challenged(ENROLL))
    take(exchange, CredentialsRequested)
    return exchange


def at_redirected() -> ClientExchange:
    exchange = enrollment()
    answered(exchange, redirected(ENROLL, ELSEWHERE))
    take(exchange, RedirectRequested)
    return exchange


def at_deciding_trust() -> ClientExchange:
    exchange = ClientSession(URI).cacerts(bootstrap=True)
    bag = write_certs_only((pki().ca.certificate,))
    answered(exchange, ok(CACERTS, bag), on=server_channel(trust=TrustClass.FAILED))
    take(exchange, TrustDecisionRequested)
    return exchange


def at_waiting() -> ClientExchange:
    exchange = enrollment()
    answered(exchange, Pending(operation=ENROLL))
    take(exchange, RetryLater)
    return exchange


def at_done() -> ClientExchange:
    exchange = enrollment()
    answered(exchange, refused(ENROLL))
    take(exchange, Failed)
    return exchange


LATER = FIXED_INSTANT.after(3600)
CALLS: dict[str, Callable[[ClientExchange], None]] = {
    "connected": lambda exchange: exchange.connected(reached()),
    "connect_failed": lambda exchange: exchange.connect_failed("connect/refused", "no"),
    "connection_lost": lambda exchange: exchange.connection_lost(sent=False),
    "provide_signature": lambda exchange: exchange.provide_signature(b"\x30\x06"),
    "receive_response": lambda exchange: exchange.receive_response(refused(ENROLL), FIXED_INSTANT),
    "receive_fault": lambda exchange: exchange.receive_fault(RemoteProtocolError("a/b", "c")),
    "provide_credentials": lambda exchange: exchange.provide_credentials(GOOD),
    "provide_redirect": lambda exchange: exchange.provide_redirect(follow=True),
    "provide_trust": lambda exchange: exchange.provide_trust(()),
    "handle_timeout": lambda exchange: exchange.handle_timeout(LATER),
}
STATES: dict[Callable[[], ClientExchange], frozenset[str]] = {
    at_connecting: frozenset({"connected", "connect_failed"}),
    at_signing: frozenset({"connection_lost"}),  # and a signature, if it is a good one
    at_sent: frozenset({"connection_lost", "receive_response", "receive_fault"}),
    at_challenged: frozenset({"provide_credentials"}),
    at_redirected: frozenset({"provide_redirect"}),
    at_deciding_trust: frozenset({"provide_trust"}),
    at_waiting: frozenset({"handle_timeout"}),
    at_done: frozenset(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("state", STATES)
def test_a_call_out_of_turn_is_refused_and_changes_nothing(
    state: Callable[[], ClientExchange], call: str
) -> None:
    exchange = state()
    result, resume_at = exchange.result, exchange.resume_at
    if call in STATES[state]:
        CALLS[call](exchange)
        assert exchange.next_event() is not None
        return
    with pytest.raises(LocalProtocolError):
        CALLS[call](exchange)
    assert exchange.next_event() is None
    assert (exchange.result, exchange.resume_at) == (result, resume_at)
    for legal in STATES[state]:
        fresh = state()
        with pytest.raises(LocalProtocolError):
            CALLS[call](fresh)
        CALLS[legal](fresh)
        assert fresh.next_event() is not None


@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_told_before_the_question_was_taken(call: str) -> None:
    waiting = at_connecting()
    waiting.connected(reached())  # leaves SignatureRequested
    for exchange in (enrollment(), waiting):
        with pytest.raises(LocalProtocolError):
            CALLS[call](exchange)


def test_a_response_for_another_operation_is_the_drivers_mistake(now: Instant) -> None:
    exchange = at_sent()
    with pytest.raises(LocalProtocolError):
        exchange.receive_response(refused(CACERTS), now)
    exchange.receive_response(refused(ENROLL), now)


@pytest.mark.parametrize(
    ("operation", "outcome"),
    [
        (ENROLL, Outcome.NOT_AVAILABLE),
        (CACERTS, Outcome.NOT_AVAILABLE),
        (CACERTS, Outcome.PENDING),
        (CSRATTRS, Outcome.PENDING),
    ],
)
def test_an_outcome_the_operation_does_not_have_is_the_drivers_mistake(
    operation: OperationDefinition, outcome: Outcome, now: Instant
) -> None:
    exchange = ClientExchange(
        session(), operation, info(own_key()) if operation is ENROLL else None
    )
    sent(exchange)
    with pytest.raises(LocalProtocolError):
        exchange.receive_response(response_of(outcome, operation), now)
    exchange.receive_response(refused(operation), now)
    assert isinstance(exchange.result, Failed)


def test_malformed_credentials_are_never_to_be_sent() -> None:
    malformed = MalformedCredentials(code="auth/malformed", message="?")
    with pytest.raises(LocalProtocolError):
        session(credentials=malformed)
    exchange = at_challenged()
    with pytest.raises(LocalProtocolError):
        exchange.provide_credentials(malformed)
    exchange.provide_credentials(GOOD)


@pytest.mark.parametrize("problem", ["no key", "another kind of key"])
def test_a_key_that_cannot_sign_so_is_refused_at_once(problem: str) -> None:
    wanted, algorithm = info(own_key()), None
    if problem == "no key":
        wanted = replace(wanted, spki=b"\x30\x00")
    else:
        algorithm = next(row for row in SIGNATURE_ALGORITHMS if row.name == "Ed25519")
    with pytest.raises(LocalProtocolError):
        session().enroll(wanted, algorithm=algorithm)

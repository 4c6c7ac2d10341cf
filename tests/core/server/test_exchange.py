"""One request to one response: the questions in between, and what is refused before any."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography import x509

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Authentication,
    BindingKind,
    CACertsRequested,
    Channel,
    ChannelBinding,
    CSRAttrsRequested,
    Decision,
    Deny,
    EnrollRequested,
    Fail,
    Fault,
    ForeignChallenge,
    Instant,
    Issue,
    Label,
    LocalProtocolError,
    Operation,
    Outcome,
    Pend,
    PolicyRow,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    Refused,
    Rejected,
    Request,
    Response,
    ResponseReady,
    ServerExchange,
    ServerPolicy,
    ServerSession,
    Success,
    TlsVersion,
    TrustClass,
    UnreadablePayload,
    Verified,
    default_policy,
)
from est_core.asn1.attributes import (
    Extension,
    challenge_attribute,
    challenge_password,
    extension_request,
)
from est_core.asn1.cms import read_certs_only
from est_core.asn1.csrattrs import CsrAttrs, ObjectId, parse_csrattrs
from tests.answers import one_of, value_of
from tests.application import GOOD, FakeApplication, issue
from tests.core.cast import (
    BINDING,
    EXPORTER,
    LIMITS,
    channel,
    csr_der,
    finish,
    info,
    receive,
    sign,
    spki,
)
from tests.pki import Subject, new_key, pki

LINKING = base64.b64encode(BINDING.data).decode()
OPEN = ServerPolicy(
    rows=tuple(
        PolicyRow(operation=operation, authentication=Authentication.OPEN)
        for operation in OPERATIONS
    )
)
REQUIRE_POP = ServerPolicy(rows=tuple(replace(row, require_pop=True) for row in OPEN.rows))


def enroll(
    payload: bytes,
    now: Instant,
    *,
    on: Channel | None = None,
    policy: ServerPolicy = OPEN,
    application: FakeApplication | None = None,
) -> Response:
    request = Request(operation=SIMPLEENROLL, payload=payload)
    return finish(receive(request, now, on=on, policy=policy), application)


def open_question(now: Instant, *, payload: bytes | None = None) -> ServerExchange:
    """An exchange whose EnrollRequested was taken and not answered."""
    request = Request(operation=SIMPLEENROLL, payload=payload or csr_der())
    exchange = receive(request, now, policy=OPEN)
    assert isinstance(exchange.next_event(), EnrollRequested)
    return exchange


# What is answered


@pytest.mark.req("EST-112", "EST-117", "EST-119")
def test_cacerts_are_what_the_application_provides(now: Instant) -> None:
    chain = (pki().ca.certificate, pki().intermediate.certificate)
    application = FakeApplication(answers={CACertsRequested: ProvideCACerts(certificates=chain)})
    response = finish(receive(Request(operation=CACERTS), now), application)
    part = one_of(Success, response).parts[0]
    assert part.kind == "certs-only"
    assert set(read_certs_only(part.content, LIMITS)) == set(chain)


@pytest.mark.req("EST-238", "EST-239")
@pytest.mark.parametrize(
    ("attrs", "outcome"),
    [
        (None, Outcome.NOT_AVAILABLE),
        (CsrAttrs(items=()), Outcome.NOT_AVAILABLE),
        (CsrAttrs(items=(ObjectId(oid="1.2.840.10045.4.3.3"),)), Outcome.OK),
    ],
)
def test_csrattrs_without_an_item_are_not_available(
    attrs: CsrAttrs | None, outcome: Outcome, now: Instant
) -> None:
    application = FakeApplication(csrattrs=attrs)
    response = finish(receive(Request(operation=CSRATTRS), now), application)
    assert response.outcome is outcome


@pytest.mark.req("EST-237")
def test_who_asks_for_csrattrs_is_told_so_that_the_answer_may_depend_on_it(now: Instant) -> None:
    for peer in (pki().client, pki().client_below_intermediate):
        on = channel(TrustClass.EXPLICIT, peer=peer)
        asked = receive(Request(operation=CSRATTRS), now, on=on).next_event()
        assert isinstance(asked, CSRAttrsRequested)
        assert asked.identity.certificate == peer.certificate


@pytest.mark.req("EST-172", "EST-243", "CB-012")
@pytest.mark.parametrize("attrs", [None, CsrAttrs(items=(ObjectId(oid="1.2.840.10045.4.3.3"),))])
def test_a_required_binding_is_listed_in_every_csrattrs_answer(
    attrs: CsrAttrs | None, now: Instant
) -> None:
    application = FakeApplication(csrattrs=attrs)
    request = Request(operation=CSRATTRS)
    response = finish(receive(request, now, policy=REQUIRE_POP), application)
    listed = parse_csrattrs(one_of(Success, response).parts[0].content, LIMITS)
    assert listed.oids()[-1] == "1.2.840.113549.1.9.7"
    assert len(listed.items) == (1 if attrs is None else 2)


@pytest.mark.req("EST-172", "EST-243")
@pytest.mark.parametrize(
    ("linking", "offered", "is_listed"),
    [
        ({SIMPLEENROLL}, {SIMPLEENROLL, SIMPLEREENROLL}, True),
        ({SIMPLEREENROLL}, {SIMPLEENROLL, SIMPLEREENROLL}, True),
        ({SIMPLEENROLL}, {SIMPLEENROLL}, True),
        (set(), {SIMPLEENROLL}, False),
        ({CSRATTRS}, {SIMPLEENROLL}, False),
        (set(), set(), False),
    ],
)
def test_a_binding_is_listed_where_any_operation_for_a_certificate_requires_it(
    linking: set[Operation], offered: set[Operation], is_listed: bool, now: Instant
) -> None:
    rows = tuple(
        PolicyRow(
            operation=each,
            authentication=Authentication.OPEN,
            require_pop=each in linking,
        )
        for each in (CSRATTRS, *offered)
    )
    request = Request(operation=CSRATTRS)
    response = finish(receive(request, now, policy=ServerPolicy(rows=rows)), FakeApplication())
    assert (response.outcome is Outcome.OK) == is_listed


@pytest.mark.req("EST-148")
def test_an_issued_certificate_is_answered_alone(now: Instant) -> None:
    key = new_key()
    application = FakeApplication()
    on = channel(TrustClass.EXPLICIT)
    assert on.peer_chain
    response = enroll(csr_der(key), now, on=on, application=application)
    assert read_certs_only(one_of(Success, response).parts[0].content, LIMITS) == tuple(
        application.issued
    )


@pytest.mark.parametrize(
    ("decision", "outcome", "fault", "retry_after"),
    [
        (Pend(retry_after_s=600), Outcome.PENDING, None, 600),
        (Deny(code="x/y", reason="no"), Outcome.DENIED, Fault.FORBIDDEN, None),
        (Deny(code="x/y", reason="no", content=True), Outcome.FAULT, Fault.CONTENT, None),
        (Postpone(retry_after_s=5), Outcome.FAULT, Fault.BUSY, 5),
        (Fail(), Outcome.FAULT, Fault.INTERNAL, None),
    ],
)
@pytest.mark.req("EST-137", "EST-150", "EST-248", "EST-276")
def test_each_decision_has_its_answer(
    decision: Decision,
    outcome: Outcome,
    fault: Fault | None,
    retry_after: int | None,
    now: Instant,
) -> None:
    response = enroll(
        csr_der(), now, application=FakeApplication(answers={EnrollRequested: decision})
    )
    assert response.outcome is outcome
    assert (value_of(response, "fault"), value_of(response, "retry_after")) == (fault, retry_after)


def test_a_request_that_is_accepted_and_not_ready_has_a_code_for_the_log(now: Instant) -> None:
    application = FakeApplication(answers={EnrollRequested: Pend(retry_after_s=600)})
    assert enroll(csr_der(), now, application=application).code == "enroll/pending"


@pytest.mark.req("EST-280")
def test_an_internal_failure_tells_the_client_nothing(now: Instant) -> None:
    application = FakeApplication(answers={EnrollRequested: Fail(code="ca/hsm-on-fire")})
    response = enroll(csr_der(), now, application=application)
    assert response.reason == "internal error"
    assert response.code == "ca/hsm-on-fire"


# What is refused before the application hears of it


@pytest.mark.req("EST-142", "EST-295", "CMC-047")
def test_a_csr_signed_by_another_key_is_refused(now: Instant) -> None:
    forged = sign(info(new_key()), new_key())
    application = FakeApplication()
    response = enroll(forged, now, application=application)
    assert (response.code, one_of(Refused, response).fault) == (
        "csr/bad-signature",
        Fault.MALFORMED,
    )
    assert not application.asked


@pytest.mark.parametrize("challenge", [None, LINKING, "c29tZWJvZHkgZWxzZQ=="])
def test_nothing_is_told_of_the_linking_before_the_signature_is_right(
    challenge: str | None, now: Instant
) -> None:
    wanted = info(new_key())
    if challenge is not None:
        wanted = wanted.with_challenge_password(challenge)
    response = enroll(sign(wanted, new_key()), now, on=channel(binding=BINDING), policy=REQUIRE_POP)
    assert response.code == "csr/bad-signature"


@pytest.mark.parametrize(
    "payload", [b"", b"\x30\x00", b"garbage", csr_der()[:-1], csr_der() + b"\0"]
)
def test_what_is_no_csr_is_malformed(payload: bytes, now: Instant) -> None:
    application = FakeApplication()
    assert one_of(Refused, enroll(payload, now, application=application)).fault is Fault.MALFORMED
    assert not application.asked


def test_a_body_that_could_not_be_decoded_is_refused_after_authentication(now: Instant) -> None:
    payload = UnreadablePayload(code="body/base64", message="not base64")
    request = Request(operation=SIMPLEENROLL, payload=payload)
    assert finish(receive(request, now)).outcome is Outcome.CHALLENGE
    authenticated = replace(request, credentials=GOOD)
    assert finish(receive(authenticated, now)).code == "body/base64"


def test_a_body_that_an_operation_does_not_have_is_not_looked_at(now: Instant) -> None:
    payload = UnreadablePayload(code="body/base64", message="not base64")
    assert finish(receive(Request(operation=CACERTS, payload=payload), now)).outcome is Outcome.OK


def test_the_csr_is_known_where_there_is_a_question_about_it(now: Instant) -> None:
    request = Request(operation=SIMPLEENROLL, payload=csr_der())
    assert receive(request, now).csr is None, "who sent it is asked for credentials first"
    known = receive(request, now, policy=OPEN).csr
    assert known is not None
    assert known.der == request.payload


# Linking identity and proof of possession


@pytest.mark.req("EST-136", "EST-167", "EST-174", "EST-178")
@pytest.mark.parametrize("policy", [OPEN, REQUIRE_POP])
def test_a_csr_linked_to_its_channel_is_accepted(policy: ServerPolicy, now: Instant) -> None:
    application = FakeApplication()
    response = enroll(csr_der(challenge=LINKING), now, policy=policy, application=application)
    assert response.outcome is Outcome.OK
    asked = application.asked[0]
    assert isinstance(asked, EnrollRequested)
    assert asked.linked


@pytest.mark.req("EST-168", "EST-171", "EST-180", "EST-281")
def test_an_unlinked_csr_is_refused_only_where_linking_is_required(now: Instant) -> None:
    assert enroll(csr_der(), now).outcome is Outcome.OK
    response = enroll(csr_der(), now, policy=REQUIRE_POP)
    assert (response.outcome, response.code) == (Outcome.DENIED, "pop/missing")
    assert "linking of identity and proof of possession (POP)" in response.reason


WRONG_VALUES = {
    "another channel's": base64.b64encode(b"other finish").decode(),
    "a longer one with the right prefix": base64.b64encode(BINDING.data + b"more").decode(),
    "a shorter one with the right prefix": base64.b64encode(BINDING.data[:9]).decode(),
    "hexadecimal": BINDING.data.hex(),
    "with a line break": LINKING + "\n",
    "a password": "estpwd",
    "nothing at all in base64": "====",
}


@pytest.mark.req("EST-136", "EST-170", "EST-176", "CB-010", "CB-026")
@pytest.mark.parametrize("value", WRONG_VALUES.values(), ids=WRONG_VALUES.keys())
@pytest.mark.parametrize("policy", [OPEN, REQUIRE_POP], ids=["optional", "required"])
def test_a_wrong_binding_is_refused_whether_or_not_one_is_required(
    value: str, policy: ServerPolicy, now: Instant
) -> None:
    application = FakeApplication()
    response = enroll(csr_der(challenge=value), now, policy=policy, application=application)
    assert (response.outcome, response.code) == (Outcome.DENIED, "pop/mismatch")
    assert not application.asked


@pytest.mark.req("EST-184", "CB-019", "CB-026")
def test_on_tls_1_3_any_challenge_password_is_refused(now: Instant) -> None:
    on = channel(version=TlsVersion.TLS_1_3)
    assert enroll(csr_der(challenge=LINKING), now, on=on).code == "pop/mismatch"
    assert enroll(csr_der(), now, on=on).outcome is Outcome.OK


FINISHED = "it has the length of a Finished message of TLS 1.3, which is no binding"
OR_EXPORTER = " and of tls-exporter, which is not turned on here"


@pytest.mark.req("CB-019", "CB-026")
@pytest.mark.parametrize("size", [32, 48])
def test_a_finished_message_of_tls_1_3_is_called_so_and_not_shown(size: int, now: Instant) -> None:
    """Several TLS libraries hand it out as tls-unique."""
    value = base64.b64encode(bytes(range(size))).decode()
    for version, end in (
        (TlsVersion.TLS_1_3, FINISHED if size == 48 else f"{FINISHED}{OR_EXPORTER}"),
        (TlsVersion.TLS_1_2, f"{FINISHED}, and this connection is TLSv1.2"),
        (TlsVersion.DTLS_1_2, f"{FINISHED}, and this connection is DTLSv1.2"),
    ):
        on = replace(channel(version=version, binding=None), can_challenge=True)
        response = enroll(csr_der(challenge=value), now, on=on)
        assert (response.outcome, response.code) == (Outcome.DENIED, "pop/mismatch")
        assert response.reason.endswith(end)
        assert value not in response.reason


def test_the_length_of_an_exported_value_is_no_finished_message_where_there_is_one(
    now: Instant,
) -> None:
    on = channel(version=TlsVersion.TLS_1_3, binding=EXPORTER)
    exported = base64.b64encode(bytes(32)).decode()
    assert enroll(csr_der(challenge=exported), now, on=on).reason.endswith("of this connection")
    finished = base64.b64encode(bytes(48)).decode()
    assert enroll(csr_der(challenge=finished), now, on=on).reason.endswith(FINISHED)


@pytest.mark.parametrize("value", ["estpwd", LINKING, "====", "gr\xfc\xdfe"])
def test_any_other_value_on_tls_1_3_is_told_that_there_is_no_binding(
    value: str, now: Instant
) -> None:
    on = channel(version=TlsVersion.TLS_1_3)
    reason = enroll(csr_der(challenge=value), now, on=on).reason
    assert reason.endswith("; TLS 1.3 has no tls-unique (RFC 9266)")
    assert value not in reason


@pytest.mark.req("CB-026")
def test_with_an_exporter_only_the_exported_value_links(now: Instant) -> None:
    on = channel(version=TlsVersion.TLS_1_3, binding=EXPORTER)
    exported = base64.b64encode(EXPORTER.data).decode()
    assert enroll(csr_der(challenge=exported), now, on=on).outcome is Outcome.OK
    assert enroll(csr_der(challenge=LINKING), now, on=on).code == "pop/mismatch"


@pytest.mark.req("EST-183")
@pytest.mark.parametrize(
    "tags", [(0x13,), (0x0C,), (0x16,), (0x14,)], ids=["Printable", "UTF8", "IA5", "T61"]
)
def test_the_string_type_of_the_binding_does_not_matter(tags: tuple[int], now: Instant) -> None:
    key = new_key()
    value = bytes((tags[0], len(LINKING))) + LINKING.encode()
    attribute = replace(challenge_password("x"), values=(value,))
    der = sign(info(key).with_attribute(attribute), key)
    assert enroll(der, now, policy=REQUIRE_POP).outcome is Outcome.OK


@pytest.mark.req("EST-183")
def test_two_linking_values_are_refused_even_if_one_is_right(now: Instant) -> None:
    key = new_key()
    twice = replace(
        info(key), attributes=(challenge_password(LINKING), challenge_password("other"))
    )
    response = enroll(sign(twice, key), now)
    assert response.outcome in (Outcome.DENIED, Outcome.FAULT)
    assert response.code.startswith(("pop/", "csr/"))


@pytest.mark.req("EST-190", "EST-191")
def test_est_identity_linking_is_verified_like_challenge_password(now: Instant) -> None:
    key, oid = new_key(), "1.2.840.113549.1.9.16.2.58"
    for value, outcome in ((LINKING, Outcome.OK), ("b3RoZXIgZmluaXNo", Outcome.DENIED)):
        der = sign(info(key).with_attribute(challenge_attribute(oid, value)), key)
        assert enroll(der, now, policy=REQUIRE_POP).outcome is outcome
    both = (
        info(key).with_attribute(challenge_attribute(oid, LINKING)).with_challenge_password("wrong")
    )
    assert enroll(sign(both, key), now).code == "pop/mismatch"


@pytest.mark.req("CB-018")
def test_tls_exporter_links_one_request_of_a_connection_and_no_other(now: Instant) -> None:
    exported = base64.b64encode(EXPORTER.data).decode()
    on = channel(version=TlsVersion.TLS_1_3, binding=EXPORTER)
    session = ServerSession(policy=OPEN, channel=on)

    def answer(payload: bytes) -> Response:
        request = Request(operation=SIMPLEENROLL, payload=payload)
        return finish(session.receive_request(request, now))

    assert answer(csr_der()).outcome is Outcome.OK, "not linked, and so not counted"
    assert answer(csr_der(challenge=LINKING)).code == "pop/mismatch"
    assert not session.binding_use.is_over
    first = csr_der(challenge=exported)
    assert answer(first).outcome is Outcome.OK
    assert session.binding_use.is_over
    assert answer(first).outcome is Outcome.OK, "the same one once more"
    second = answer(csr_der(challenge=exported))
    assert (second.outcome, second.code) == (Outcome.DENIED, "pop/used-binding")


@pytest.mark.req("CB-018")
def test_tls_unique_links_many_requests_of_a_connection(now: Instant) -> None:
    session = ServerSession(policy=REQUIRE_POP, channel=channel())
    for _ in range(2):
        request = Request(operation=SIMPLEENROLL, payload=csr_der(challenge=LINKING))
        assert finish(session.receive_request(request, now)).outcome is Outcome.OK
    assert not session.binding_use.is_over


def test_foreign_challenges_are_ignored_only_where_the_operator_says_so(now: Instant) -> None:
    ignore = replace(OPEN, foreign_challenge=ForeignChallenge.IGNORE)
    application = FakeApplication()
    response = enroll(csr_der(challenge="code"), now, policy=ignore, application=application)
    assert response.outcome is Outcome.OK
    asked = application.asked[0]
    assert isinstance(asked, EnrollRequested)
    assert not asked.linked
    strict = replace(REQUIRE_POP, foreign_challenge=ForeignChallenge.IGNORE)
    assert enroll(csr_der(challenge="code"), now, policy=strict).code == "pop/missing"


# Re-enrollment


def renew(payload: bytes, now: Instant, application: FakeApplication | None = None) -> Response:
    device = pki().ca.issue(Subject(name="device-1", dns=("a.example",)))
    request = Request(operation=SIMPLEREENROLL, payload=payload)
    return finish(receive(request, now, on=channel(TrustClass.EXPLICIT, peer=device)), application)


def names(*dns: str) -> Extension:
    value = x509.SubjectAlternativeName([x509.DNSName(name) for name in dns]).public_bytes()
    return Extension(oid="2.5.29.17", value=value)


def renewal_csr(name: str, *dns: str) -> bytes:
    key = new_key()
    wanted = info(key, name)
    if dns:
        wanted = wanted.with_attribute(extension_request([names(*dns)]))
    return sign(wanted, key)


@pytest.mark.req("EST-156", "EST-158", "EST-163")
def test_the_same_subject_and_names_may_be_renewed(now: Instant) -> None:
    application = FakeApplication()
    response = renew(renewal_csr("device-1", "a.example"), now, application)
    assert response.outcome is Outcome.OK
    asked = application.asked[0]
    assert isinstance(asked, ReenrollRequested)
    assert asked.rekey


@pytest.mark.req("EST-163")
def test_the_same_key_is_a_renewal_and_no_rekey(now: Instant) -> None:
    key = new_key()
    device = pki().ca.issue(Subject(name="device-1", key=key))
    request = Request(operation=SIMPLEREENROLL, payload=csr_der(key))
    exchange = receive(request, now, on=channel(TrustClass.EXPLICIT, peer=device))
    asked = exchange.next_event()
    assert isinstance(asked, ReenrollRequested)
    assert not asked.rekey
    assert asked.current == device.certificate


@pytest.mark.req("EST-156", "EST-158", "EST-159")
@pytest.mark.parametrize(
    ("name", "dns", "code"),
    [
        ("device-2", ("a.example",), "renewal/subject"),
        ("device-1", (), "renewal/subject-alt-name"),
        ("device-1", ("b.example",), "renewal/subject-alt-name"),
        ("device-1", ("a.example", "b.example"), "renewal/subject-alt-name"),
    ],
)
def test_a_changed_subject_or_name_is_refused(
    name: str, dns: tuple[str, ...], code: str, now: Instant
) -> None:
    application = FakeApplication()
    response = renew(renewal_csr(name, *dns), now, application)
    assert (response.code, one_of(Refused, response).fault) == (code, Fault.CONTENT)
    assert not application.asked


def test_a_policy_that_asks_for_no_certificate_still_needs_one_to_renew(now: Instant) -> None:
    request = Request(operation=SIMPLEREENROLL, payload=csr_der())
    assert finish(receive(request, now, policy=OPEN)).code == "renewal/no-certificate"


# Out of turn


WRONG_ANSWERS: list[Decision] = [
    Verified(user="eve"),
    Rejected(),
    ProvideCACerts(certificates=(pki().ca.certificate,)),
    ProvideCSRAttrs(csrattrs=None),
]


@pytest.mark.parametrize("decision", WRONG_ANSWERS, ids=lambda decision: type(decision).__name__)
def test_a_decision_that_is_no_answer_changes_nothing(decision: Decision, now: Instant) -> None:
    exchange = open_question(now)
    with pytest.raises(LocalProtocolError, match=r"is no answer to EnrollRequested: .*Issue or "):
        exchange.decide(decision)
    assert exchange.next_event() is None
    exchange.decide(Pend(retry_after_s=1))
    assert isinstance(exchange.next_event(), ResponseReady)


def test_a_certificate_for_another_key_is_the_applications_mistake(now: Instant) -> None:
    exchange = open_question(now)
    with pytest.raises(LocalProtocolError, match="another key"):
        exchange.decide(Issue(certificate=pki().client.certificate))
    assert exchange.issued is None
    assert exchange.is_open


def test_a_question_is_answered_after_it_was_taken_and_once(now: Instant) -> None:
    request = Request(operation=CSRATTRS)
    exchange = receive(request, now)
    with pytest.raises(LocalProtocolError, match="events first"):
        exchange.decide(ProvideCSRAttrs(csrattrs=None))
    assert isinstance(exchange.next_event(), CSRAttrsRequested)
    exchange.decide(ProvideCSRAttrs(csrattrs=None))
    assert isinstance(exchange.next_event(), ResponseReady)
    with pytest.raises(LocalProtocolError):
        exchange.decide(ProvideCSRAttrs(csrattrs=None))


# Time and loss


@pytest.mark.req("EST-033")
def test_an_application_that_does_not_answer_in_time_makes_it_busy(now: Instant) -> None:
    exchange = open_question(now)
    exchange.handle_timeout(now.after(LIMITS.decision_s - 1))
    assert exchange.next_event() is None
    exchange.handle_timeout(exchange.deadline)
    event = exchange.next_event()
    assert isinstance(event, ResponseReady)
    assert (one_of(Refused, event.response).fault, one_of(Refused, event.response).retry_after) == (
        Fault.BUSY,
        60,
    )


@pytest.mark.parametrize("how", ["timeout", "abandon"])
def test_a_certificate_issued_too_late_is_kept_and_its_answer_dropped(
    how: str, now: Instant
) -> None:
    key = new_key()
    exchange = open_question(now, payload=csr_der(key))
    if how == "timeout":
        exchange.handle_timeout(exchange.deadline)
        assert isinstance(exchange.next_event(), ResponseReady)
    else:
        exchange.abandon("connection lost")
        assert exchange.abandoned == "connection lost"
    certificate = issue(spki(key))
    exchange.decide(Issue(certificate=certificate))
    assert exchange.issued == certificate
    assert exchange.next_event() is None
    assert not exchange.is_open


def test_an_abandoned_question_without_consequences_is_closed(now: Instant) -> None:
    exchange = receive(Request(operation=CACERTS), now)
    exchange.abandon("connection lost")
    assert exchange.next_event() is None
    assert not exchange.is_open
    exchange.abandon("again")
    assert exchange.abandoned == "connection lost"


def test_two_exchanges_of_one_session_do_not_share_events(now: Instant) -> None:
    session = ServerSession(policy=default_policy(), channel=channel())
    first = session.receive_request(Request(operation=CACERTS), now)
    second = session.receive_request(Request(operation=CSRATTRS), now)
    assert isinstance(second.next_event(), CSRAttrsRequested)
    assert isinstance(first.next_event(), CACertsRequested)


def test_a_binding_has_the_length_of_its_kind() -> None:
    for kind, size in ((BindingKind.TLS_UNIQUE, 48), (BindingKind.TLS_EXPORTER, 12)):
        with pytest.raises(LocalProtocolError):
            ChannelBinding(kind=kind, data=b"x" * size)


@pytest.mark.req("CB-019")
def test_tls_unique_is_no_fact_of_tls_1_3() -> None:
    with pytest.raises(LocalProtocolError):
        Channel(version=TlsVersion.TLS_1_3, binding=BINDING)


def test_an_exchange_says_what_it_is_and_where_it_stands(now: Instant) -> None:
    assert repr(open_question(now)) == "<ServerExchange simpleenroll asking EnrollRequested>"


# Labels


@pytest.mark.parametrize("of_label", [False, True])
def test_the_rules_of_a_label_are_those_of_its_requests_and_of_no_others(
    of_label: bool, now: Instant
) -> None:
    label, enroll = Label("lab"), SIMPLEENROLL
    rows = [row for row in OPEN.rows if row.operation is not enroll]
    rows += [
        PolicyRow(operation=enroll, authentication=Authentication.OPEN, require_pop=not of_label),
        PolicyRow(
            operation=enroll, authentication=Authentication.OPEN, label=label, require_pop=of_label
        ),
    ]
    policy = ServerPolicy(rows=tuple(rows), labels=frozenset({label}))
    for asked, is_told in ((label, of_label), (None, not of_label)):
        request = Request(operation=enroll, label=asked, payload=csr_der())
        response = finish(receive(request, now, policy=policy))
        assert response.code == ("pop/missing" if is_told else "")
        told = finish(receive(Request(operation=CSRATTRS, label=asked), now, policy=policy))
        assert (told.outcome is Outcome.OK) is is_told  # that challengePassword is wanted

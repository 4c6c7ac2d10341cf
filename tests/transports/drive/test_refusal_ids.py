"""Which answers get an id, and that the record of the request has the same."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    SIMPLEENROLL,
    AuthenticateRequested,
    Challenge,
    Challenged,
    Channel,
    Credentials,
    Deny,
    EnrollRequested,
    Fail,
    Issue,
    Limits,
    RefusalTag,
    Rejected,
    Request,
    Response,
    ServerQuestion,
    ServerSession,
    TlsVersion,
    TrustClass,
    default_policy,
    new_refusal_id,
)
from est_core.asn1.pkcs10 import parse_cert_request
from est_core.testing import FIXED_INSTANT, Answer
from est_transports.drive import Ask, OpenRequest, Record, Wire, observers, request_fields
from est_transports.drive.records import Requested
from tests.application import GOOD, WRONG, FakeApplication
from tests.core.cast import csr_der
from tests.core.server.test_codes import csr as csr_with_code
from tests.pki import pki

ADDRESS: Final = "192.0.2.9:1"


def chance(size: int) -> bytes:
    return bytes(range(1, size + 1))


ID: Final = new_refusal_id(chance)


def write(_response: Response) -> int:
    return 1


def served(
    credentials: Credentials | None,
    answers: Mapping[type[ServerQuestion], Answer] | None = None,
    payload: bytes | None = None,
    *,
    otp_challenge: bool = False,
    trust_class: TrustClass = TrustClass.NONE,
) -> tuple[Response, Record]:
    """Return the answer to one request as it is written, and its record."""
    request = OpenRequest(wire=Wire.HTTPS, peer=ADDRESS, channel=None, started=0.0, entropy=chance)
    policy = replace(default_policy(), otp_challenge=otp_challenge)
    channel = Channel(version=TlsVersion.TLS_1_3, peer_address=ADDRESS, trust_class=trust_class)
    session = ServerSession(policy=policy, channel=channel)
    wanted = Request(operation=SIMPLEENROLL, payload=payload or csr_der(), credentials=credentials)
    request.begin(session, wanted, FIXED_INSTANT, FakeApplication(answers or {}))
    while isinstance(step := request.next_step(), Ask):
        request.decide(step, step.consult(), FIXED_INSTANT)
    assert step is not None
    response, _ = request.written(step, write)
    return response, request.finish(response, status=400, sent_bytes=1, now=FIXED_INSTANT)


def test_a_refusal_has_an_id_and_its_code_and_the_record_has_the_id() -> None:
    response, record = served(GOOD, payload=b"\x30\x00")
    assert response.tag == RefusalTag(id=ID, code="csr/malformed")
    assert record.refusal_id == ID
    assert request_fields(record)["refusal"] == ID


def test_a_certificate_has_none() -> None:
    response, record = served(GOOD)
    assert record.issued is not None
    assert (response.tag, record.refusal_id) == (None, "")


def test_who_is_asked_for_credentials_first_is_not_refused() -> None:
    response, record = served(None)
    assert isinstance(response, Challenged)
    assert (response.tag, record.refusal_id, record.code) == (None, "", "auth/missing")


def test_who_showed_a_certificate_that_does_not_count_is_refused() -> None:
    response, record = served(None, trust_class=TrustClass.FAILED)
    assert isinstance(response, Challenged)
    assert (record.refusal_id, record.code) == (ID, "auth/missing")


@pytest.mark.parametrize(
    "answers",
    [{}, {AuthenticateRequested: Rejected()}, {EnrollRequested: Challenge(code="test/more")}],
    ids=["wrong", "rejected", "not enough"],
)
def test_who_has_shown_credentials_is_refused_by_a_401(
    answers: Mapping[type[ServerQuestion], Answer],
) -> None:
    response, record = served(GOOD if answers else WRONG, answers)
    assert isinstance(response, Challenged)
    assert record.refusal_id == ID


def test_a_code_in_the_request_was_shown_too() -> None:
    response, record = served(
        None,
        {AuthenticateRequested: Rejected()},
        payload=csr_with_code(otp="wrong-code"),
        otp_challenge=True,
    )
    assert record.code != "auth/missing"
    assert response.tag is not None


@pytest.mark.parametrize(
    "decision, told",
    [
        (Deny(code="names/not-registered", reason="no"), "names/not-registered"),
        (Deny(code="plant/on-strike", reason="no"), ""),
        (Fail(code="plant/burnt-down"), ""),
        (Fail(), "server/internal"),
    ],
)
def test_a_code_is_told_where_the_table_has_it_and_not_an_applications_own(
    decision: Deny | Fail, told: str
) -> None:
    response, record = served(GOOD, {EnrollRequested: decision})
    assert response.tag == RefusalTag(id=ID, code=told)
    assert record.code == decision.code


def test_an_answer_that_cannot_be_written_is_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    request = OpenRequest(wire=Wire.HTTPS, peer=ADDRESS, channel=None, started=0.0, entropy=chance)
    response, _ = served(GOOD)

    def no_format(answer: Response) -> int:
        if answer is response:
            raise ValueError("no format for that")
        return 1

    with caplog.at_level(logging.ERROR, "est_transports"):
        failure, written = request.written(response, no_format)
    assert (failure.code, written) == ("server/internal", 1)
    assert failure.tag == RefusalTag(id=ID, code="server/internal")


def test_a_refusal_that_has_an_id_keeps_it() -> None:
    request = OpenRequest(
        wire=Wire.HTTPS, peer=ADDRESS, channel=None, started=0.0, entropy=lambda size: b"\0" * size
    )
    response, _ = served(GOOD, payload=b"\x30\x00")
    assert request.written(response, write)[0].tag == RefusalTag(id=ID, code="csr/malformed")


# What else the record says


@pytest.mark.parametrize(
    "decision, reason",
    [
        (
            Deny(code="plant/on-strike", reason="no", note="since\n\x1b[2J May"),
            "no (since  [2J May)",
        ),
        (Issue(certificate=pki().client.certificate, note="x" * 999), "x" * 256),
    ],
)
def test_what_an_application_notes_is_recorded_and_the_client_is_not_told(
    decision: Deny | Issue, reason: str
) -> None:
    if isinstance(decision, Issue):
        issuing = FakeApplication()

        def issue(question: EnrollRequested) -> Issue:
            return Issue(certificate=issuing.certify(question.csr), note=decision.note)

        response, record = served(GOOD, {EnrollRequested: issue})
    else:
        response, record = served(GOOD, {EnrollRequested: decision})
        assert response.reason == "no"
    assert request_fields(record)["reason"] == reason
    assert record.note == decision.note[:256].translate({10: " ", 27: " "})


def test_the_names_that_are_asked_for_are_recorded_where_the_request_was_read() -> None:
    _, record = served(GOOD, {EnrollRequested: Deny(code="names/not-registered", reason="no")})
    assert record.requested is not None
    assert record.requested.subject_text == "CN=device-1"
    assert record.requested.names == ()
    assert served(None)[1].requested is None
    assert served(GOOD, payload=b"\x30\x00")[1].requested is None


def test_what_is_refused_before_anything_is_asked_is_read_for_a_client_that_is_known() -> None:
    linked = csr_with_code(challenge="somebody else's")
    _, record = served(GOOD, payload=linked)
    assert record.code.startswith("pop/")
    assert record.requested is not None
    assert record.requested.subject_text == "CN=device-1"


def test_alternative_names_have_the_words_for_their_kinds() -> None:
    names = (x509.DNSName("gate.example"), x509.IPAddress(ip_address("192.0.2.7")))
    requested = Requested(subject=x509.Name([]), alt_names=names)
    assert (requested.subject_text, requested.names) == (
        "",
        ("DNS:gate.example", "IP:192.0.2.7"),
    )
    signed = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    csr = parse_cert_request(signed.public_bytes(Encoding.DER), Limits())
    assert Requested.of_csr(csr) == requested


def test_all_observers_are_told_and_none_keeps_it_from_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Record] = []

    def broken(_record: Record) -> None:
        raise RuntimeError("the observer's own")

    _, record = served(None)
    observers(broken, told.append, broken, told.append)(record)
    assert told == [record, record]
    assert caplog.text.count("the observer failed") == 2

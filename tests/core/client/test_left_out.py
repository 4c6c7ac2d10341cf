"""Answers with certificates that cannot be read: the others are delivered, and it is told."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    CACertsReceived,
    Enrolled,
    Limits,
    TrustDecisionRequested,
)
from est_core.wires.coapmap import Code, ContentFormat, ResponseHead, read_response
from tests.application import issue
from tests.core.asn1.build import GOST_KEY, certificate, subject_with, tlv
from tests.core.asn1.test_cms import bag
from tests.core.cast import spki
from tests.core.client.test_bootstrap import UNVERIFIED, bootstrap
from tests.core.client_cast import (
    answered,
    enrollment,
    failed,
    ok,
    own_key,
    session,
    take,
)
from tests.pki import new_key, pki

ENROLL = SIMPLEENROLL
UNREADABLE = certificate(key=GOST_KEY)


def bag_of(*ders: bytes) -> bytes:
    return bag(tlv(0xA0, *ders))


def der_of(readable: x509.Certificate) -> bytes:
    return readable.public_bytes(Encoding.DER)


def test_ca_certificates_are_delivered_beside_one_that_cannot_be_read() -> None:
    exchange = session().cacerts()
    answered(exchange, ok(CACERTS, bag_of(UNREADABLE, der_of(pki().ca.certificate))))
    assert isinstance(exchange.result, CACertsReceived)
    assert exchange.result.certificates == (pki().ca.certificate,)
    assert [each.der for each in exchange.result.left_out] == [UNREADABLE]


def test_without_any_that_can_be_read_there_are_no_ca_certificates() -> None:
    exchange = session().cacerts()
    answered(exchange, ok(CACERTS, bag_of(UNREADABLE)))
    failure = failed(exchange.result)
    assert failure.code == "cms/bad-certificate"
    assert "certificate 1, subject CN=device-1" in failure.message
    assert "1.2.643.7.1.1.1.1" in failure.message


@pytest.mark.parametrize(
    ("count", "told"), [(1, ""), (2, "; and 1 more"), (3, "; and 2 more"), (12, "; and 11 more")]
)
def test_of_several_that_cannot_be_read_the_first_is_told_and_how_many_more(
    count: int, told: str
) -> None:
    several = [certificate(key=GOST_KEY, serial=bytes([1 + each])) for each in range(count)]
    exchange = session().cacerts()
    answered(exchange, ok(CACERTS, bag_of(*several)))
    message = failed(exchange.result).message
    first = message.removesuffix(told)
    assert first.startswith("certificate 1, ")
    assert first + told == message
    assert "more" not in first


@pytest.mark.req("EST-149")
def test_the_issued_certificate_is_delivered_beside_one_that_cannot_be_read() -> None:
    mine = issue(spki(own_key()))
    exchange = enrollment()
    answered(exchange, ok(ENROLL, bag_of(UNREADABLE, der_of(mine))))
    assert isinstance(exchange.result, Enrolled)
    assert exchange.result.certificate == mine
    assert [each.der for each in exchange.result.left_out] == [UNREADABLE]


def test_the_issued_certificate_that_cannot_be_read_is_not_lost() -> None:
    mine = certificate(key=spki(own_key()), subject=subject_with(0x13, b"a_b"))
    exchange = enrollment()
    answered(exchange, ok(ENROLL, bag_of(mine, der_of(pki().ca.certificate))))
    failure = failed(exchange.result)
    assert failure.code == "response/unreadable-certificate"
    assert "subject CN=a_b" in failure.message
    assert [each.der for each in failure.left_out] == [mine]


def test_an_answer_for_another_key_says_what_it_could_not_read() -> None:
    exchange = enrollment()
    answered(exchange, ok(ENROLL, bag_of(UNREADABLE, der_of(issue(spki(new_key()))))))
    failure = failed(exchange.result)
    assert failure.code == "response/other-key"
    assert "1.2.643.7.1.1.1.1" in failure.message
    assert [each.der for each in failure.left_out] == [UNREADABLE]


def test_in_a_bootstrap_what_was_left_out_is_told_before_and_after_the_decision() -> None:
    exchange = bootstrap()
    answer = ok(CACERTS, bag_of(UNREADABLE, der_of(pki().ca.certificate)))
    answered(exchange, answer, on=UNVERIFIED)
    question = take(exchange, TrustDecisionRequested)
    assert [each.der for each in question.left_out] == [UNREADABLE]
    exchange.provide_trust(question.candidates)
    assert isinstance(exchange.result, CACertsReceived)
    assert [each.der for each in exchange.result.left_out] == [UNREADABLE]


def test_in_a_bootstrap_the_only_root_that_cannot_be_read_is_named() -> None:
    exchange = bootstrap()
    answer = ok(CACERTS, bag_of(UNREADABLE, der_of(pki().server.certificate)))
    answered(exchange, answer, on=UNVERIFIED)
    failure = failed(exchange.result)
    assert failure.code == "trust/no-root"
    assert "1.2.643.7.1.1.1.1" in failure.message


def test_a_bare_certificate_over_coap_that_cannot_be_read_is_not_lost_either() -> None:
    mine = certificate(key=spki(own_key()), subject=subject_with(0x13, b"a_b"))
    head = ResponseHead(code=Code.CHANGED, content_format=ContentFormat.PKIX_CERT)
    answer = read_response(ENROLL, head, mine, limits=Limits())
    exchange = enrollment()
    answered(exchange, answer)
    failure = failed(exchange.result)
    assert failure.code == "response/unreadable-certificate"
    assert [each.der for each in failure.left_out] == [mine]

"""The OCSP responder: the status of each certificate, signed by a key that the CA has certified."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponse, OCSPResponseStatus
from cryptography.x509.oid import ExtendedKeyUsageOID

from est_core import LocalProtocolError
from est_transports.authority.ca import Enrollment
from est_transports.authority.crls import REVOCATION_REASONS
from est_transports.authority.ocsp_identity import (
    OPERATION,
    RENEWED_BEFORE,
    VALIDITY,
    OcspIdentity,
    new_ocsp_identity,
)
from est_transports.authority.ocsp_responder import OcspResponder, OcspTimes
from est_transports.authority.stores import PREPARED
from est_transports.pki.serials import serial_text
from tests.transports.authority.ocsp_site import (
    NOW,
    SHA1,
    Responding,
    asking,
    asking_of_serial,
    cert_id,
    make_ca,
    message,
    responding,
)
from tests.transports.ca_fakes import ec_key, name, request

HASHES = (SHA1, hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


@pytest.fixture
def site() -> Responding:
    return responding()


def verified(response: OCSPResponse, issuer: x509.Certificate) -> None:
    """Verify an answer as a client does: by the delegate in it, which the CA has certified."""
    assert response.response_status is OCSPResponseStatus.SUCCESSFUL
    (delegate,) = response.certificates
    delegate.verify_directly_issued_by(issuer)
    usage = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    delegate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    key = delegate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature, signed = response.signature, response.tbs_response_bytes
    key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    key_id = delegate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert response.responder_key_hash == key_id.digest


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda each: each.name)
def test_what_was_issued_is_good(site: Responding, algorithm: hashes.HashAlgorithm) -> None:
    issuer = site.ca.certificate
    response = site.answer(asking(site.leaf, issuer, algorithm))
    verified(response, issuer)
    assert response.certificate_status is OCSPCertStatus.GOOD
    assert response.serial_number == site.leaf.serial_number
    assert response.hash_algorithm.name == algorithm.name
    assert response.this_update_utc == NOW
    assert response.next_update_utc == NOW + OcspTimes().validity


@pytest.mark.parametrize("reason", REVOCATION_REASONS)
def test_what_was_revoked_is_revoked_at_once_with_time_and_reason(
    site: Responding, reason: str
) -> None:
    asked = asking(site.leaf, site.ca.certificate)
    assert site.answer(asked).certificate_status is OCSPCertStatus.GOOD  # and is kept
    site.revoke(reason)
    response = site.answer(asked)
    verified(response, site.ca.certificate)
    assert response.certificate_status is OCSPCertStatus.REVOKED
    assert response.revocation_time_utc == NOW
    expected = None if reason == "unspecified" else REVOCATION_REASONS[reason]
    assert response.revocation_reason is expected


def test_a_hold_that_ended_is_good_again(site: Responding) -> None:
    asked = asking(site.leaf, site.ca.certificate)
    site.revoke("certificateHold")
    assert site.answer(asked).certificate_status is OCSPCertStatus.REVOKED
    assert site.ca.store.release_hold(serial_text(site.leaf.serial_number))
    assert site.answer(asked).certificate_status is OCSPCertStatus.GOOD


def test_what_the_store_does_not_have_is_unknown_and_kept_by_nobody(site: Responding) -> None:
    asked = asking_of_serial(4711, site.ca.certificate)
    answer = site.responder.answer(asked, NOW)
    response = site.answer(asked)
    verified(response, site.ca.certificate)
    assert response.certificate_status is OCSPCertStatus.UNKNOWN
    assert answer.max_age is None


def test_a_certificate_of_another_ca_in_the_store_is_unknown(site: Responding) -> None:
    other = make_ca("Other CA")
    leaf = other.issue(request(subject=name("x")), Enrollment(operation="x"), now=NOW)
    record = other.store.find_certificate(serial_text(leaf.serial_number))
    assert record is not None
    site.ca.store.records.clear()  # type: ignore[attr-defined]  # counting serials are the same
    site.ca.store.record_certificate(record)
    response = site.answer(asking_of_serial(leaf.serial_number, site.ca.certificate))
    assert response.certificate_status is OCSPCertStatus.UNKNOWN


@pytest.mark.parametrize("is_revoked", [False, True])
def test_what_is_prepared_is_never_good(site: Responding, is_revoked: bool) -> None:
    serial = serial_text(site.leaf.serial_number)
    found = site.ca.store.find_certificate(serial)
    assert found is not None
    site.ca.store.records[serial] = replace(found, state=PREPARED)  # type: ignore[attr-defined]
    if is_revoked:
        site.revoke("superseded")
    response = site.answer(asking(site.leaf, site.ca.certificate))
    expected = OCSPCertStatus.REVOKED if is_revoked else OCSPCertStatus.UNKNOWN
    assert response.certificate_status is expected


@pytest.mark.parametrize("algorithm", [SHA1, hashes.SHA256()], ids=["sha1", "sha256"])
def test_for_another_ca_nobody_is_asked(site: Responding, algorithm: hashes.HashAlgorithm) -> None:
    same_name = make_ca("Test CA ").certificate
    for issuer in (make_ca("Other CA").certificate, same_name):
        response = site.answer(asking(site.leaf, issuer, algorithm))
        assert response.response_status is OCSPResponseStatus.UNAUTHORIZED


def test_a_hash_that_is_not_known_names_nobody(site: Responding) -> None:
    response = site.answer(message(cert_id(algorithm="300706052b0e030263")))
    assert response.response_status is OCSPResponseStatus.UNAUTHORIZED


def test_what_is_no_request_is_malformed(site: Responding) -> None:
    response = site.answer(b"junk")
    assert response.response_status is OCSPResponseStatus.MALFORMED_REQUEST


def test_a_nonce_is_repeated_and_its_answer_is_nobody_elses(site: Responding) -> None:
    for nonce in (b"n", b"n" * 32):
        asked = asking(site.leaf, site.ca.certificate, nonce=nonce)
        answer, response = site.responder.answer(asked, NOW), site.answer(asked)
        verified(response, site.ca.certificate)
        found = response.extensions.get_extension_for_class(x509.OCSPNonce)
        assert found.value.nonce == nonce
        assert answer.max_age is None
    without = site.answer(asking(site.leaf, site.ca.certificate))
    assert len(without.extensions) == 0


def test_an_answer_is_signed_once_for_as_long_as_it_may_be_kept(site: Responding) -> None:
    asked, age = asking(site.leaf, site.ca.certificate), OcspTimes().max_age
    first = site.responder.answer(asked, NOW)
    assert first.max_age == age
    assert site.responder.answer(asked, NOW + age - timedelta(seconds=1)) == first
    assert site.responder.answer(asked, NOW + age) != first
    assert site.responder.answer(asked, NOW - timedelta(days=1)).this_update != NOW
    assert site.signs is not None
    site.signs = new_ocsp_identity(site.ca, now=NOW)
    assert site.responder.answer(asked, NOW) != first  # by the old key


def test_so_many_answers_are_kept(site: Responding) -> None:
    issuer, store = site.ca.certificate, site.ca.store
    responder = OcspResponder(issuer=issuer, store=store, identity=lambda _: site.signs, kept_max=2)
    asked = [asking(site.leaf, issuer, each) for each in HASHES[:3]]
    first, second = (responder.answer(each, NOW) for each in asked[:2])
    assert responder.answer(asked[0], NOW) == first
    responder.answer(asked[2], NOW)  # the one that was asked for longest ago gives way
    assert responder.answer(asked[0], NOW) == first
    assert responder.answer(asked[1], NOW) != second


def test_it_answers_no_longer_than_its_certificate_is_valid(site: Responding) -> None:
    asked = asking(site.leaf, site.ca.certificate)
    assert site.signs is not None
    end = site.signs.certificate.not_valid_after_utc
    answer = site.responder.answer(asked, end - timedelta(seconds=100))
    assert answer.next_update == end
    assert answer.max_age == timedelta(seconds=50)
    site.signs = None
    response = site.answer(asked)
    assert response.response_status is OCSPResponseStatus.TRY_LATER


def test_the_delegate_is_on_record_and_good_itself(site: Responding) -> None:
    assert site.signs is not None
    certificate = site.signs.certificate
    record = site.ca.store.find_certificate(serial_text(certificate.serial_number))
    assert record is not None
    assert record.operation == OPERATION
    response = site.answer(asking(certificate, site.ca.certificate))
    assert response.certificate_status is OCSPCertStatus.GOOD


def test_a_delegate_is_renewed_in_time(site: Responding) -> None:
    assert site.signs is not None
    identity, end = site.signs, site.signs.certificate.not_valid_after_utc
    assert end == NOW + VALIDITY
    assert not identity.is_due(NOW)
    assert identity.is_due(end - RENEWED_BEFORE)
    assert identity.is_valid(end - RENEWED_BEFORE)
    assert not identity.is_valid(end)
    assert identity.is_due(NOW - timedelta(days=1))


def test_a_delegate_is_this_cas_has_its_key_and_is_not_revoked(site: Responding) -> None:
    assert site.signs is not None
    identity = site.signs
    assert identity.is_of(site.ca)
    assert not identity.is_of(make_ca("Other CA"))
    assert not OcspIdentity(key=ec_key(), certificate=identity.certificate).is_of(site.ca)
    assert not OcspIdentity(key=ec_key(), certificate=site.leaf).is_of(site.ca)
    root = site.ca.certificate
    assert not OcspIdentity(key=ec_key("Test CA"), certificate=root).is_of(site.ca)
    serial = serial_text(identity.certificate.serial_number)
    assert site.ca.store.revoke_certificate(serial, at=NOW, reason="keyCompromise")
    assert not identity.is_of(site.ca)


def test_answers_outlive_caches() -> None:
    with pytest.raises(LocalProtocolError, match="twice as long"):
        OcspTimes(validity=timedelta(minutes=5), max_age=timedelta(minutes=3))
    with pytest.raises(LocalProtocolError, match="twice as long"):
        OcspTimes(max_age=timedelta(0))

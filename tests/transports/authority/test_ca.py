"""The reference CA: what it issues, what it remembers, and whom it refuses."""

from __future__ import annotations

import hashlib
import ipaddress
import multiprocessing
import os
import shutil
import subprocess
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from est_core import LocalProtocolError
from est_core.asn1.pkcs10 import CertRequest
from est_transports.authority.ca import (
    CAUnavailable,
    Enrollment,
    ReferenceCA,
    Refused,
    new_serial,
)
from est_transports.authority.issuers import make_issuer
from est_transports.authority.new_ca import new_intermediate, new_root, new_tls_identity
from est_transports.authority.profiles import (
    CertificatePlan,
    PlannedExtension,
    Profile,
    SanKind,
)
from est_transports.authority.stores import PREPARED, DuplicateSerial, StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.signers import LocalSigner, SignerError, SigningKey
from tests.transports.ca_fakes import (
    CA_NAME,
    NOW,
    MemoryStore,
    RemoteSigner,
    alt_names,
    counting_entropy,
    dns,
    ec_key,
    key_usage,
    make_ca,
    name,
    request,
)

ENROLL = Enrollment(
    operation="simpleenroll", user="alice", client_subject="CN=old", peer="192.0.2.1:4711"
)
RENEW = Enrollment(operation="simplereenroll")
SERVER = Profile(name="tls", extended_key_usage=(ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,))
MINUTES = timedelta(minutes=5)
SIGNS = "digital_signature"


def enrolled(ca: ReferenceCA, csr: CertRequest | None = None) -> x509.Certificate:
    return ca.issue(csr or request(dns("device-1.example")), ENROLL, now=NOW)


def refusal(ca: ReferenceCA, csr: CertRequest, enrollment: Enrollment = ENROLL) -> Refused:
    with pytest.raises(Refused) as caught:
        ca.issue(csr, enrollment, now=NOW)
    return caught.value


# --- What is issued --------------------------------------------------------------------------


def test_a_certificate_has_exactly_these_extensions() -> None:
    ca = make_ca()
    certificate = enrolled(ca)
    own = x509.SubjectKeyIdentifier.from_public_key(ec_key().public_key())
    issuers = x509.SubjectKeyIdentifier.from_public_key(ec_key("ca").public_key())
    expected = {
        x509.BasicConstraints(ca=False, path_length=None): True,
        key_usage("digital_signature"): True,
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]): False,
        dns("device-1.example"): False,
        own: False,
        x509.AuthorityKeyIdentifier(issuers.digest, None, None): False,
    }
    assert {item.value: item.critical for item in certificate.extensions} == expected
    assert certificate.version is x509.Version.v3
    assert certificate.subject == name("device-1")
    assert certificate.issuer == CA_NAME
    certificate.verify_directly_issued_by(ca.certificate)


@pytest.mark.parametrize(
    "key",
    [
        ec_key(),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-256", "P-384", "RSA", "Ed25519"],
)
def test_a_certificate_is_what_the_steps_of_a_builder_make_to_the_byte(key: SigningKey) -> None:
    ca = make_ca()
    certificate = enrolled(ca, request(dns("device-1.example"), key_usage(SIGNS), key=key))
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(certificate.serial_number)
        .not_valid_before(NOW - MINUTES)
        .not_valid_after(NOW + timedelta(days=365))
    )
    for value, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(SIGNS), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (dns("device-1.example"), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ec_key("ca").public_key()), False),
    ):
        builder = builder.add_extension(value, critical)
    expected = builder.sign(ec_key("ca"), SHA256())
    assert certificate.tbs_certificate_bytes == expected.tbs_certificate_bytes


def test_a_plan_that_makes_no_certificate_is_the_callers_mistake() -> None:
    ca = make_ca(store := MemoryStore())
    twice = (PlannedExtension(value=dns("a.example")), PlannedExtension(value=dns("b.example")))
    own = PlannedExtension(value=x509.SubjectKeyIdentifier(b"\1"))
    for extensions, days in ((twice, 1), ((own,), 1), ((), -1)):
        plan = CertificatePlan(
            subject=name("device-1"),
            public_key=ec_key().public_key(),
            extensions=extensions,
            validity=timedelta(days=days),
        )
        with pytest.raises(LocalProtocolError, match=r"^a plan "):
            ca.issue_plan(plan, ENROLL, now=NOW)
    assert not store.records


def test_subject_and_key_are_those_of_the_request_to_the_byte() -> None:
    subject = x509.Name(
        [
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, "42"),
                    x509.NameAttribute(x509.NameOID.COMMON_NAME, "Gerät"),
                ]
            ),
        ]
    )
    csr = request(subject=subject)
    certificate = enrolled(make_ca(), csr)
    assert certificate.subject.public_bytes() == csr.subject_der
    assert (
        certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        == csr.spki
    )


def test_a_serial_number_is_positive_of_159_bits_and_fits_20_octets() -> None:
    assert new_serial(lambda size: b"\xff" * size) == 2**159 - 1
    assert enrolled(make_ca(entropy=os.urandom)).serial_number.bit_length() <= 159
    with pytest.raises(LocalProtocolError):
        new_serial(bytes)


def test_validity_is_that_of_the_profile_with_room_for_slow_clocks() -> None:
    certificate = make_ca().issue(request(), ENROLL, now=NOW + timedelta(days=9, microseconds=5))
    assert certificate.not_valid_before_utc == NOW + timedelta(days=9) - MINUTES
    assert certificate.not_valid_after_utc == NOW + timedelta(days=9 + 365)


def test_validity_is_never_past_nor_before_the_issuers() -> None:
    ca = make_ca(profiles=[Profile(name="long", validity=timedelta(days=36500))])
    certificate = ca.issue(request(), replace(ENROLL, label="long"), now=NOW - MINUTES)
    assert certificate.not_valid_before_utc == ca.certificate.not_valid_before_utc
    assert certificate.not_valid_after_utc == ca.certificate.not_valid_after_utc


def test_a_ca_whose_own_certificate_is_not_valid_issues_nothing() -> None:
    store = MemoryStore()
    ca = make_ca(store)
    for moment in (NOW - timedelta(days=1), NOW + timedelta(days=3700)):
        with pytest.raises(CAUnavailable):
            ca.issue(request(), ENROLL, now=moment)
    assert not store.records


def test_a_label_selects_its_profile_and_an_unknown_one_is_refused() -> None:
    ca = make_ca(profiles=[SERVER])
    csr = request(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))
    assert refusal(ca, csr).code == "profile/extended-key-usage"
    certificate = ca.issue(csr, replace(ENROLL, label="tls"), now=NOW)
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    refused = refusal(ca, request(), replace(ENROLL, label="nonsense"))
    assert refused.code == "profile/label"
    assert not refused.content


def test_a_signer_that_keeps_its_key_issues_the_same() -> None:
    remote = RemoteSigner(LocalSigner(ec_key("ca")))
    local_ca, remote_ca = make_ca(), make_ca(signer=remote)
    ours, theirs = enrolled(local_ca), enrolled(remote_ca)
    assert remote.signatures == 1
    assert ours.tbs_certificate_bytes == theirs.tbs_certificate_bytes
    theirs.verify_directly_issued_by(remote_ca.certificate)


# --- What is remembered ----------------------------------------------------------------------


def test_the_record_says_what_was_issued_to_whom() -> None:
    store = MemoryStore()
    ca = make_ca(store)
    certificate = enrolled(ca)
    (record,) = store.records.values()
    assert record.serial == f"{certificate.serial_number:x}"
    assert record.der == certificate.public_bytes(Encoding.DER)
    assert record.subject == "CN=device-1"
    assert (record.not_before, record.not_after) == (
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
    assert record.spki_sha256 == hashlib.sha256(request().spki).digest()
    assert record.issued_at == NOW
    assert (record.operation, record.user, record.client_subject, record.peer) == (
        "simpleenroll",
        "alice",
        "CN=old",
        "192.0.2.1:4711",
    )
    assert record.profile == "default"
    assert record.replaces is None


def test_a_certificate_that_could_not_be_recorded_is_not_issued() -> None:
    class Full(MemoryStore):
        def record_certificate(self, record: object, **_others: object) -> None:
            raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="full"):
        enrolled(make_ca(Full()))


def test_an_equal_serial_number_is_not_issued_twice() -> None:
    ca = make_ca(entropy=lambda size: b"\x11" * size)
    enrolled(ca)
    with pytest.raises(DuplicateSerial):
        enrolled(ca)


def test_a_signer_that_fails_leaves_a_record_that_says_it_may_have_signed() -> None:
    class Away(RemoteSigner):
        def sign(self, tbs: bytes, algorithm: object) -> bytes:
            raise SignerError("the token is away")

    store = MemoryStore()
    with pytest.raises(SignerError):
        enrolled(make_ca(store, signer=Away(LocalSigner(ec_key("ca")))))
    (record,) = store.records.values()
    assert record.state == PREPARED


# --- Who is refused --------------------------------------------------------------------------


def test_what_a_profile_refuses_is_refused_and_not_recorded() -> None:
    store = MemoryStore()
    ca = make_ca(store)
    assert refusal(ca, request(dns("est.example.com"))).code == "profile/own-name"
    assert refusal(ca, request(x509.BasicConstraints(ca=True, path_length=None))).code == (
        "profile/ca"
    )
    assert not store.records


def test_the_cas_own_key_is_certified_for_nobody() -> None:
    assert refusal(make_ca(), request(key=ec_key("ca"))).code == "profile/ca-key"


@pytest.mark.req("EST-165")
def test_a_certificate_is_renewed_while_it_is_valid_and_not_revoked() -> None:
    store = MemoryStore()
    ca = make_ca(store)
    current = enrolled(ca)
    later = NOW + timedelta(days=300)
    renewed = ca.issue(request(key=ec_key("new")), RENEW, now=later, replaces=current)
    assert store.records[f"{renewed.serial_number:x}"].replaces == f"{current.serial_number:x}"

    def why(moment: datetime) -> tuple[str, bool]:
        with pytest.raises(Refused) as caught:
            ca.issue(request(), RENEW, now=moment, replaces=current)
        return caught.value.code, caught.value.content

    assert why(NOW + timedelta(days=366)) == ("renewal/expired", False)
    with pytest.raises(Refused, match="renewal/not-yet-valid"):
        ca.may_renew(current, NOW - timedelta(days=1))
    store.revoke_certificate(f"{current.serial_number:x}", at=NOW, reason="keyCompromise")
    assert why(later) == ("renewal/revoked", False)
    assert len(store.records) == 2


@pytest.mark.req("EST-165")
def test_a_certificate_is_renewed_from_its_first_to_its_last_second() -> None:
    store = MemoryStore()
    ca = make_ca(store)
    current = enrolled(ca)
    second = timedelta(seconds=1)
    begin, end = current.not_valid_before_utc, current.not_valid_after_utc
    for moment in (begin, end):
        ca.may_renew(current, moment)
    for moment, code in ((begin - second, "not-yet-valid"), (end + second, "expired")):
        with pytest.raises(Refused, match=f"renewal/{code}"):
            ca.may_renew(current, moment)


@pytest.mark.req("EST-156", "EST-159")
def test_a_renewed_certificate_keeps_the_spelling_of_the_old_one() -> None:
    store = MemoryStore()
    ca = make_ca(store)
    first = enrolled(ca, request(dns("Device-1.example"), subject=name("Device 1")))
    asked = request(
        dns("DEVICE-1.EXAMPLE"), subject=name(" DEVICE  1 "), key=ec_key("new"), critical=True
    )
    renewed = ca.issue(asked, RENEW, now=NOW, replaces=first)
    assert renewed.subject.public_bytes() == first.subject.public_bytes()
    names = [
        each.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        for each in (first, renewed)
    ]
    assert names[0].value.public_bytes() == names[1].value.public_bytes()
    assert names[0].critical == names[1].critical
    assert store.records[f"{renewed.serial_number:x}"].subject == "CN=Device 1"
    assert renewed.public_key() == ec_key("new").public_key()


def test_nobody_is_certified_under_the_subject_of_a_ca_of_the_chain_or_of_the_server() -> None:
    issuer = make_issuer(
        "Field CA", "EC P-256", intermediate=True, now=NOW, entropy=counting_entropy()
    )
    server = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "Enrollment"),
        ]
    )
    store = MemoryStore()
    ca = ReferenceCA(
        certificate=issuer.certificate,
        chain=issuer.chain,
        signer=LocalSigner(issuer.key),
        store=store,
        profiles={"default": Profile(name="default", san_kinds=frozenset(SanKind))},
        default_profile="default",
        reserved_subjects=[("this server's TLS certificate", server)],
        entropy=counting_entropy(),
    )
    swapped = x509.Name([x509.RelativeDistinguishedName([part]) for part in reversed(list(server))])
    for subject, whose in (
        (name("Field CA"), "the issuing CA"),
        (name("FIELD  ca "), "the issuing CA"),
        (name("\uff26ield CA"), "the issuing CA"),
        (name("field ca root"), "the root CA"),
        (server, "this server's TLS certificate"),
    ):
        for csr in (
            request(subject=subject),
            request(alt_names(x509.DirectoryName(subject))),
        ):
            refused = refusal(ca, csr)
            assert refused.code == "profile/reserved-subject"
            assert refused.text == f"the subject is that of {whose}"
    assert not store.records
    for subject in (name("Field CA 2"), name("Enrollment"), swapped):
        assert enrolled(ca, request(subject=subject)).subject == subject


@pytest.mark.req("EST-165")
def test_a_grace_period_is_given_only_where_it_is_configured() -> None:
    store = MemoryStore()
    current = enrolled(make_ca(store))
    patient = ReferenceCA(
        certificate=make_ca().certificate,
        signer=LocalSigner(ec_key("ca")),
        store=store,
        profiles={"default": Profile(name="default")},
        default_profile="default",
        renewal_grace=timedelta(days=7),
        entropy=counting_entropy(),
    )
    patient.may_renew(current, NOW + timedelta(days=371))
    with pytest.raises(Refused, match="renewal/expired"):
        patient.may_renew(current, NOW + timedelta(days=373))


def test_a_certificate_of_another_ca_is_not_renewed_even_with_a_known_serial() -> None:
    ca = make_ca()
    known = enrolled(ca)
    impostor = enrolled(make_ca(), request(dns("device-1.example")))
    unknown = enrolled(make_ca(entropy=os.urandom))
    assert impostor.serial_number == known.serial_number
    for certificate in (impostor, unknown):
        with pytest.raises(Refused, match="renewal/unknown-certificate"):
            ca.issue(request(), RENEW, now=NOW, replaces=certificate)


def test_a_certificate_on_record_from_a_ca_of_another_name_is_not_renewed() -> None:
    """A store that was brought along from an older CA has its certificates on record too."""
    store = MemoryStore()
    older = make_ca(store, certificate=new_ca_named("Older CA"))
    known = enrolled(older)
    ca = make_ca(store)
    with pytest.raises(Refused, match="renewal/unknown-certificate"):
        ca.may_renew(known, NOW)
    older.may_renew(known, NOW)


def new_ca_named(text: str) -> x509.Certificate:
    """Return a root of another name, of the CA's usual key."""
    local, key = LocalSigner(ec_key("ca")), ec_key("ca").public_key()
    return new_root(name(text), local, key, now=NOW, entropy=counting_entropy())


def test_the_subject_of_every_ca_of_the_chain_is_reserved_and_that_of_the_one_above() -> None:
    """The last certificate of the chain need not be a root: then its issuer is one more CA."""
    top = _signed("Top", "Middle 1", ec_key("top"), ec_key("middle"))
    middle = _signed("Middle 1", "Middle 2", ec_key("middle"), ec_key("low"))
    low = _signed("Middle 2", "Middle", ec_key("low"), ec_key("ca"))
    ca = make_ca(certificate=low, chain=[middle, top])
    expected = {
        "Middle": "the issuing CA",
        "Middle 2": "an intermediate CA",
        "Middle 1": "the root CA",
        "Top": "the CA above",
    }
    for text, whose in expected.items():
        assert refusal(ca, request(subject=name(text))).text == f"the subject is that of {whose}"


def _signed(
    issuer: str, subject: str, signer: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """Return the certificate of a CA below another."""
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=99))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(signer, SHA256())
    )


# --- Making a CA -----------------------------------------------------------------------------


def test_a_root_may_certify_end_entities_and_nothing_else() -> None:
    root = make_ca().certificate
    found = {item.oid: (item.value, item.critical) for item in root.extensions}
    assert found == {
        ExtensionOID.BASIC_CONSTRAINTS: (x509.BasicConstraints(ca=True, path_length=0), True),
        ExtensionOID.KEY_USAGE: (key_usage("key_cert_sign", "crl_sign"), True),
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: (
            x509.SubjectKeyIdentifier.from_public_key(ec_key("ca").public_key()),
            False,
        ),
    }
    assert root.subject == root.issuer == CA_NAME
    assert root.not_valid_after_utc - root.not_valid_before_utc == timedelta(days=3652) + MINUTES
    root.verify_directly_issued_by(root)


def test_a_root_is_made_with_the_signers_own_key() -> None:
    with pytest.raises(LocalProtocolError):
        new_root(
            CA_NAME,
            LocalSigner(ec_key("ca")),
            ec_key().public_key(),
            now=NOW,
            entropy=counting_entropy(),
        )


def below(issuer: x509.Certificate, *, now: datetime, days: int = 10) -> x509.Certificate:
    """Return the certificate of a new CA below one of the CA's usual key."""
    return new_intermediate(
        name("Below"),
        ec_key("below").public_key(),
        issuer=issuer,
        signer=LocalSigner(ec_key("ca")),
        now=now,
        entropy=counting_entropy(),
        validity_days=days,
    )


def test_a_ca_below_another_lasts_no_longer_and_says_who_issued_it() -> None:
    root = make_ca().certificate
    end = root.not_valid_after_utc
    certificate = below(root, now=NOW)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=10)
    assert below(root, now=end - timedelta(days=9)).not_valid_after_utc == end
    found = {item.oid: (item.value, item.critical) for item in certificate.extensions}
    identifiers = [
        x509.SubjectKeyIdentifier.from_public_key(ec_key(which).public_key())
        for which in ("below", "ca")
    ]
    assert found == {
        ExtensionOID.BASIC_CONSTRAINTS: (x509.BasicConstraints(ca=True, path_length=0), True),
        ExtensionOID.KEY_USAGE: (key_usage("key_cert_sign", "crl_sign"), True),
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: (identifiers[0], False),
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: (
            x509.AuthorityKeyIdentifier(identifiers[1].digest, None, None),
            False,
        ),
    }
    certificate.verify_directly_issued_by(root)


def test_a_ca_that_is_about_to_end_certifies_no_other() -> None:
    root = make_ca().certificate
    end = root.not_valid_after_utc
    for late in (end + MINUTES, end, end - MINUTES):
        with pytest.raises(LocalProtocolError, match="about to"):
            below(root, now=late)
    with pytest.raises(LocalProtocolError, match="not that of a CA"):
        below(as_ca(constraints=False, usage=None), now=NOW)


def test_the_servers_certificate_names_its_hosts_and_is_recorded() -> None:
    store = MemoryStore()
    ca = make_ca(store)
    names = ["est.example.com", "192.0.2.7", "2001:db8::7", "[::1]"]
    certificate = new_tls_identity(ca, names, ec_key("tls").public_key(), now=NOW)
    extensions = certificate.extensions
    alt = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(alt) == [
        x509.DNSName("est.example.com"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    planned = {item.value: item.critical for item in list(extensions)[:3]}
    assert planned == {
        x509.BasicConstraints(ca=False, path_length=None): True,
        key_usage("digital_signature"): True,
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]): False,
    }
    assert certificate.subject == name("est.example.com")
    assert certificate.not_valid_after_utc == NOW + timedelta(days=365)
    assert [record.operation for record in store.records.values()] == ["tls-identity"]


def test_a_server_needs_a_name_that_fits() -> None:
    ca = make_ca()
    key = ec_key("tls").public_key()
    for names in ([], ["münchen.example"]):
        with pytest.raises(LocalProtocolError):
            new_tls_identity(ca, names, key, now=NOW)
    for size, subject in ((64, name("a" * 56 + ".example")), (65, x509.Name([]))):
        host = "a" * (size - 8) + ".example"
        certificate = new_tls_identity(ca, [host], key, now=NOW)
        assert certificate.subject == subject
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert found.value == dns(host)
        assert found.critical == (size > 64)


def test_a_key_may_be_given_in_place_of_its_signer() -> None:
    certificate = make_ca().certificate
    ca = ReferenceCA(
        certificate=certificate,
        signer=ec_key("ca"),
        store=MemoryStore(),
        profiles={"default": Profile(name="default")},
        default_profile="default",
        entropy=counting_entropy(),
    )
    enrolled(ca).verify_directly_issued_by(certificate)


@pytest.mark.req("EST-120")
def test_ca_certificates_lead_from_the_issuer_to_the_root() -> None:
    ca = make_ca()
    assert ca.ca_certificates() == (ca.certificate,)
    signer = LocalSigner(ec_key("top"))
    top = new_root(
        name("Top"), signer, ec_key("top").public_key(), now=NOW, entropy=counting_entropy()
    )
    middle = _intermediate(top)
    chained = make_ca(certificate=middle, chain=[top])
    assert chained.ca_certificates() == (middle, top)
    enrolled(chained).verify_directly_issued_by(middle)
    with pytest.raises(LocalProtocolError, match="chain"):
        make_ca(certificate=middle, chain=[ca.certificate])


def _intermediate(top: x509.Certificate) -> x509.Certificate:
    """Return the CA key's certificate by another CA, without a subject key identifier."""
    return (
        x509.CertificateBuilder()
        .subject_name(name("Middle"))
        .issuer_name(top.subject)
        .public_key(ec_key("ca").public_key())
        .serial_number(5)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=99))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ec_key("top"), SHA256())
    )


def as_ca(*, constraints: bool | None, usage: tuple[str, ...] | None) -> x509.Certificate:
    """Return a self-signed certificate of the CA's key: cA true, false, or not said at all."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(CA_NAME)
        .issuer_name(CA_NAME)
        .public_key(ec_key("ca").public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=99))
    )
    if constraints is not None:
        value = x509.BasicConstraints(ca=constraints, path_length=None)
        builder = builder.add_extension(value, critical=True)
    if usage is not None:
        builder = builder.add_extension(key_usage(*usage), critical=True)
    return builder.sign(ec_key("ca"), SHA256())


@pytest.mark.parametrize("usage", [("key_cert_sign",), ("key_cert_sign", "crl_sign"), None])
def test_a_certificate_of_a_ca_may_sign_certificates(usage: tuple[str, ...] | None) -> None:
    certificate = as_ca(constraints=True, usage=usage)
    enrolled(make_ca(certificate=certificate)).verify_directly_issued_by(certificate)


@pytest.mark.parametrize(
    "constraints, usage",
    [
        (True, ("crl_sign",)),
        (True, ("digital_signature", "crl_sign", "key_agreement")),
        (False, ("key_cert_sign", "crl_sign")),
        (None, ("key_cert_sign", "crl_sign")),
        (False, None),
        (None, None),
    ],
)
def test_a_certificate_that_may_not_sign_certificates_is_not_that_of_a_ca(
    constraints: bool | None, usage: tuple[str, ...] | None
) -> None:
    """RFC 5280 4.2.1.3: of a CA that has keyUsage, keyCertSign is one."""
    with pytest.raises(LocalProtocolError, match="not that of a CA"):
        make_ca(certificate=as_ca(constraints=constraints, usage=usage))


def test_a_ca_that_does_not_fit_together_cannot_be_made() -> None:
    ca = make_ca()
    leaf = enrolled(ca, request(key=ec_key("leaf")))
    with pytest.raises(LocalProtocolError, match="not that of its certificate"):
        make_ca(signer=LocalSigner(ec_key("other")))
    with pytest.raises(LocalProtocolError, match="not that of a CA"):
        make_ca(certificate=leaf, signer=LocalSigner(ec_key("leaf")))
    with pytest.raises(LocalProtocolError, match="renewal_grace"):
        ReferenceCA(
            certificate=ca.certificate,
            signer=LocalSigner(ec_key("ca")),
            store=MemoryStore(),
            profiles={"default": Profile(name="default")},
            default_profile="default",
            renewal_grace=timedelta(seconds=-1),
            entropy=counting_entropy(),
        )
    with pytest.raises(LocalProtocolError, match="no profile"):
        ReferenceCA(
            certificate=ca.certificate,
            signer=LocalSigner(ec_key("ca")),
            store=MemoryStore(),
            profiles={},
            default_profile="default",
            entropy=counting_entropy(),
        )


# --- With others -----------------------------------------------------------------------------


@pytest.fixture
def openssl() -> str:
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("openssl is not installed")
    return found


def test_openssl_verifies_and_reads_what_is_issued(openssl: str, tmp_path: Path) -> None:
    ca = make_ca(entropy=os.urandom)
    leaf = enrolled(ca)
    server = new_tls_identity(
        ca, ["est.example.com", "192.0.2.7"], ec_key("tls").public_key(), now=NOW
    )
    files = {"root": ca.certificate, "leaf": leaf, "server": server}
    for stem, certificate in files.items():
        (tmp_path / f"{stem}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    moment = str(int(NOW.timestamp()))
    verify = [openssl, "verify", "-x509_strict", "-attime", moment, "-CAfile", "root.pem"]
    for stem, purpose in (("leaf", "sslclient"), ("server", "sslserver")):
        subprocess.run(
            [*verify, "-purpose", purpose, f"{stem}.pem"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        wrong = "sslserver" if purpose == "sslclient" else "sslclient"
        refused = subprocess.run(
            [*verify, "-purpose", wrong, f"{stem}.pem"], cwd=tmp_path, capture_output=True
        )
        assert refused.returncode != 0
    text = subprocess.run(
        [openssl, "x509", "-text", "-noout", "-in", "server.pem"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for line in (
        "CA:FALSE",
        "Digital Signature",
        "TLS Web Server Authentication",
        "DNS:est.example.com, IP Address:192.0.2.7",
    ):
        assert line in text


def _issue_many(path: Path, key_der: bytes, certificate_der: bytes, csr_der: bytes) -> None:
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    from est_core import Limits
    from est_core.asn1.pkcs10 import parse_cert_request

    key = load_der_private_key(key_der, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    with closing(SqliteStore(path)) as store:
        ca = ReferenceCA(
            certificate=x509.load_der_x509_certificate(certificate_der),
            signer=LocalSigner(key),
            store=store,
            profiles={"default": Profile(name="default")},
            default_profile="default",
            entropy=os.urandom,
        )
        csr = parse_cert_request(csr_der, Limits())
        for _ in range(200):
            certificate = ca.issue(csr, ENROLL, now=NOW)
            assert store.find_certificate(f"{certificate.serial_number:x}") is not None


def test_two_processes_issue_from_one_store(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    path = tmp_path / "est.db"
    SqliteStore.create(path).close()
    key = ec_key("ca").private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    certificate = make_ca().certificate.public_bytes(Encoding.DER)
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_issue_many, args=(path, key, certificate, request().der))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    with closing(SqliteStore(path)) as store:
        records = store.list_certificates(limit=1000)
    assert len(records) == 400
    assert len({record.serial for record in records}) == 400

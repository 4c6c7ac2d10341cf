"""Devices at a server: enrolled, on record, revoked, and called like another."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

from asn1crypto import csr as csr_asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from est_transports.authority.stores import IssuedRecord
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.names import name_text
from est_transports.pki.serials import serial_text
from tests.deployment import Deployment
from tests.odd_certificates import element, rebuilt
from tests.pki import Authority, Entity, Subject
from tests.system.independent_client import IndependentClient
from tests.system.peers import OwnCa
from tests.system.requests import Key, certificates, csr, new_key

NAME = "device-1"


def enrolled(server: Deployment, name: str = NAME, *extensions: x509.ExtensionType) -> Entity:
    """Return a device that got its certificate by a password."""
    key = new_key()
    with IndependentClient(server.port, server.ca_file) as client:
        answer = client.enroll(csr(key, name, *extensions))
    assert answer.status == 200, answer.body
    (certificate,) = certificates(answer.body)
    return Entity(certificate=certificate, key=key, chain=(certificate,))


def on_record(server: Deployment, subject: Subject) -> Entity:
    """Return a device whose certificate the CA has on record, whatever its dates."""
    entity = OwnCa(server.directory).issue(subject)
    certificate = entity.certificate
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    store = SqliteStore(server.directory / "est.db")
    store.record_certificate(
        IssuedRecord(
            serial=serial_text(certificate.serial_number),
            subject=name_text(certificate.subject),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            der=certificate.public_bytes(Encoding.DER),
            spki_sha256=hashlib.sha256(spki).digest(),
            issued_at=certificate.not_valid_before_utc,
            operation="simpleenroll",
        )
    )
    store.close()
    return entity


def revoke(server: Deployment, entity: Entity) -> None:
    """Take a certificate back, as the store knows it: from the next request on."""
    store = SqliteStore(server.directory / "est.db")
    serial = serial_text(entity.certificate.serial_number)
    assert store.revoke_certificate(serial, at=datetime.now(UTC), reason="keyCompromise")
    store.close()


def device_key(entity: Entity) -> ec.EllipticCurvePrivateKey:
    """Return the key of a device, which is one for P-256."""
    assert isinstance(entity.key, ec.EllipticCurvePrivateKey)
    return entity.key


def with_serial(ca: Authority, entity: Entity) -> Entity:
    """Return what a CA certifies for the same subject, with the same serial number."""
    twin = ca.issue(Subject(name=NAME))
    serial = entity.certificate.serial_number
    size = serial.bit_length() // 8 + 1
    der = rebuilt(twin.certificate, ca, serial_number=element(2, serial.to_bytes(size, "big")))
    return _with(twin, der)


def with_key_of(der: bytes, other: bytes) -> bytes:
    """Return a request with the public key of another one, and its own signature."""
    mine, theirs = (csr_asn1.CertificationRequest.load(each) for each in (der, other))
    mine["certification_request_info"]["subject_pk_info"] = theirs["certification_request_info"][
        "subject_pk_info"
    ]
    return bytes(mine.dump(force=True))


def called(entity: Entity, subject: x509.Name, issuer: Authority) -> Entity:
    """Return an entity whose certificate has another subject."""
    return _with(entity, rebuilt(entity.certificate, issuer, subject=subject.public_bytes()))


def _with(entity: Entity, der: bytes) -> Entity:
    certificate = x509.load_der_x509_certificate(der)
    return replace(entity, certificate=certificate, chain=(certificate,))


def named(**parts: str) -> x509.Name:
    """Return a subject of these attributes."""
    oids = {"cn": NameOID.COMMON_NAME, "serial": NameOID.SERIAL_NUMBER}
    return x509.Name([x509.NameAttribute(oids[part], text) for part, text in parts.items()])


def request_for(subject: x509.Name, key: Key | None = None) -> bytes:
    """Return a request for a subject, of a new key unless there is one."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key or new_key(), hashes.SHA256()).public_bytes(Encoding.DER)

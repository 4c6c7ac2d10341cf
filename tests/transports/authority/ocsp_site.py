"""What the tests of OCSP share: a CA in memory with a responder, and requests of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from est_transports.authority.ca import Enrollment, ReferenceCA
from est_transports.authority.new_ca import new_root
from est_transports.authority.ocsp_identity import OcspIdentity, new_ocsp_identity
from est_transports.authority.ocsp_responder import OcspResponder
from est_transports.authority.profiles import Profile
from est_transports.pki.serials import serial_text
from est_transports.pki.signers import LocalSigner
from tests.transports.ca_fakes import MemoryStore, counting_entropy, ec_key, name, request

NOW: Final = datetime.fromisoformat("2027-03-01T12:00:00+00:00")
SHA1: Final = hashes.SHA1()
NONCE_OID: Final = "2b0601050507300102"


def make_ca(common_name: str = "Test CA", now: datetime = NOW) -> ReferenceCA:
    """Return a CA with a store in memory."""
    key = ec_key(common_name)
    root = new_root(
        name(common_name), LocalSigner(key), key.public_key(), now=now, entropy=counting_entropy()
    )
    return ReferenceCA(
        certificate=root,
        signer=key,
        store=MemoryStore(),
        profiles={"client": Profile(name="client")},
        default_profile="client",
        entropy=counting_entropy(),
    )


@dataclass
class Responding:
    """A CA, its responder, and one certificate; `signs` is what signs answers."""

    ca: ReferenceCA
    leaf: x509.Certificate
    signs: OcspIdentity | None
    responder: OcspResponder = field(init=False)

    def __post_init__(self) -> None:
        self.responder = OcspResponder(
            issuer=self.ca.certificate, store=self.ca.store, identity=lambda _: self.signs
        )

    def answer(self, der: bytes, after: timedelta = timedelta(0)) -> ocsp.OCSPResponse:
        return ocsp.load_der_ocsp_response(self.responder.answer(der, NOW + after).der)

    def revoke(self, reason: str) -> None:
        serial = serial_text(self.leaf.serial_number)
        assert self.ca.store.revoke_certificate(serial, at=NOW, reason=reason)


def responding() -> Responding:
    ca = make_ca()
    leaf = ca.issue(request(), Enrollment(operation="simpleenroll"), now=NOW)
    return Responding(ca, leaf, new_ocsp_identity(ca, now=NOW))


def asking(
    leaf: x509.Certificate,
    issuer: x509.Certificate,
    algorithm: hashes.HashAlgorithm = SHA1,
    nonce: bytes | None = None,
    critical: tuple[x509.ExtensionType, ...] = (),
) -> bytes:
    """Return a request about a certificate."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, algorithm)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    for each in critical:
        builder = builder.add_extension(each, critical=True)
    return builder.build().public_bytes(Encoding.DER)


def asking_of_serial(serial: int, issuer: x509.Certificate) -> bytes:
    """Return a request about a serial number of an issuer."""
    known = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, SHA1).build()
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        known.issuer_name_hash, known.issuer_key_hash, serial, SHA1
    )
    return builder.build().public_bytes(Encoding.DER)


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return an element of DER."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def cert_id(serial: bytes = b"\1", algorithm: str = "300906052b0e03021a0500") -> bytes:
    """Return a Request about nobody's certificate; `algorithm` is an AlgorithmIdentifier in hex."""
    hashed = bytes.fromhex(algorithm), tlv(4, b"n" * 20), tlv(4, b"k" * 20), tlv(2, serial)
    return tlv(0x30, tlv(0x30, *hashed))


def message(*requests: bytes, version: bytes = b"", extensions: bytes = b"") -> bytes:
    """Return an OCSPRequest of such requests."""
    found = tlv(0xA2, tlv(0x30, extensions)) if extensions else b""
    return tlv(0x30, tlv(0x30, version, tlv(0x30, *requests), found))


def raw_nonce(value: bytes) -> bytes:
    """Return the extension with these octets as its value."""
    return tlv(0x30, tlv(6, bytes.fromhex(NONCE_OID)), tlv(4, value))

"""What of a CA's certificate is judged, read once."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from est_core.asn1.certificates import UNREADABLE
from est_core.asn1.keys import MIN_RSA_BITS, STRONG_BY_KIND, STRONG_CURVES, STRONG_HASHES
from est_core.values import unchecked_value_class

NARROWING: Final = {
    ExtensionOID.NAME_CONSTRAINTS: "nameConstraints",
    ExtensionOID.EXTENDED_KEY_USAGE: "extendedKeyUsage",
    ExtensionOID.POLICY_CONSTRAINTS: "policyConstraints",
    ExtensionOID.INHIBIT_ANY_POLICY: "inhibitAnyPolicy",
}
"""Extensions that say what a CA may not certify."""
_UNDERSTOOD: Final = frozenset(
    {
        *NARROWING,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)


@unchecked_value_class
class CaFacts:
    """A certificate, and what it says as far as a root and its link are judged by it.

    `path_length` is None where there is no bound. `narrowing` has the values of the extensions of
    `NARROWING` that are there. `flaw` says why it is not good enough for a CA, or nothing.
    """

    certificate: x509.Certificate
    subject: bytes
    issuer: bytes
    key: bytes
    key_id: bytes | None
    issuer_key_id: bytes | None
    issuer_serial: int | None
    path_length: int | None
    narrowing: dict[x509.ObjectIdentifier, bytes]
    flaw: str
    weakness: str

    @property
    def is_self_issued(self) -> bool:
        """True if subject and issuer are one name: a root, or a link to one. RFC 5280 3.2."""
        return self.subject == self.issuer

    @property
    def begin(self) -> datetime:
        """Its notBefore."""
        return self.certificate.not_valid_before_utc

    @property
    def end(self) -> datetime:
        """Its notAfter."""
        return self.certificate.not_valid_after_utc

    @property
    def age(self) -> tuple[datetime, datetime]:
        """Sorts by age, the newest last. Where they begin at once the later end is newer."""
        return self.begin, self.end

    def may_be_from(self, issuer: CaFacts) -> bool:
        """True if name and key identifiers do not say that another CA issued this."""
        if self.issuer != issuer.subject:
            return False
        if self.issuer_serial not in (None, issuer.certificate.serial_number):
            return False
        return None in (self.issuer_key_id, issuer.key_id) or self.issuer_key_id == issuer.key_id


def facts_of(certificate: x509.Certificate) -> CaFacts | None:
    """Return what a certificate says, None for one of which a part cannot be read."""
    try:
        return _facts_of(certificate)
    except UNREADABLE:
        return None


def _facts_of(certificate: x509.Certificate) -> CaFacts:
    extensions = {each.oid: each for each in certificate.extensions}
    values = {oid: each.value for oid, each in extensions.items()}
    constraints = values.get(ExtensionOID.BASIC_CONSTRAINTS)
    own_id = values.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    above = values.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    issuer_id = above if isinstance(above, x509.AuthorityKeyIdentifier) else None
    key = certificate.public_key()
    return CaFacts(
        certificate=certificate,
        subject=certificate.subject.public_bytes(),
        issuer=certificate.issuer.public_bytes(),
        key=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key_id=own_id.digest if isinstance(own_id, x509.SubjectKeyIdentifier) else None,
        issuer_key_id=None if issuer_id is None else issuer_id.key_identifier,
        issuer_serial=None if issuer_id is None else issuer_id.authority_cert_serial_number,
        path_length=(
            constraints.path_length if isinstance(constraints, x509.BasicConstraints) else None
        ),
        narrowing={oid: values[oid].public_bytes() for oid in NARROWING if oid in values},
        flaw=_flaw(extensions),
        weakness=weak_key(certificate) or _weak_signature(certificate),
    )


def _flaw(extensions: dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]) -> str:
    """Return why these are not the extensions of a CA's certificate. RFC 5280 4.2.1.3, 4.2.1.9."""
    constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    if constraints is None or not isinstance(constraints.value, x509.BasicConstraints):
        return "it has no basicConstraints"
    if not constraints.value.ca:
        return "it is not that of a CA"
    usage = extensions.get(ExtensionOID.KEY_USAGE)
    signs = usage is None or not isinstance(usage.value, x509.KeyUsage) or usage.value.key_cert_sign
    if not signs:
        return "it is not for signing certificates (no keyCertSign)"
    for oid, extension in extensions.items():
        if extension.critical and oid not in _UNDERSTOOD:
            return f"its critical extension {oid.dotted_string} is not understood"
    return ""


def weak_key(certificate: x509.Certificate) -> str:
    """Return why the key of a certificate is not good enough, or ""."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"it has an RSA key of {key.key_size} bits" if key.key_size < MIN_RSA_BITS else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return (
            f"its key is on curve {key.curve.name}" if key.curve.name not in STRONG_CURVES else ""
        )
    return "" if isinstance(key, STRONG_BY_KIND) else "its key is of a kind that is not accepted"


def _weak_signature(certificate: x509.Certificate) -> str:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or algorithm.name in STRONG_HASHES:  # None: the algorithm has its own
        return ""
    return f"it is signed with {algorithm.name}"


class Signatures:
    """Verifies signatures of certificates, so many and no more: each takes a while."""

    def __init__(self, left: int) -> None:
        self._left = left
        self.are_used_up: bool = False

    def verify(self, facts: CaFacts, issuer: CaFacts) -> bool:
        """True if the issuer's name and key are those that signed the certificate."""
        if self._left == 0:
            self.are_used_up = True
            return False
        self._left -= 1
        try:
            facts.certificate.verify_directly_issued_by(issuer.certificate)
        except (InvalidSignature, *UNREADABLE):
            return False
        return True

"""A look at each certificate before it is signed: what nobody could take back afterwards.

Profiles and plans are made so that none of this happens; the look is there for the day on which
one is not. It looks at values, whose encoding is the library's, and at the bytes of the subject
only, so that it costs little beside the signature. Its rules are those of RFC 5280 by which others
refuse or misread certificates; what certificates in the field break without harm passes.
docs/reference/lint.md has the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from est_core.asn1 import children, read_element, read_oid
from est_core.asn1.oid_names import named
from est_core.values import unchecked_value_class
from est_transports.authority.certificate_plan import CertificatePlan
from est_transports.authority.profile_names import READABLE_TAGS, VALUE_CHARS_OF, Refused, shown

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

_SERIAL_BITS: Final = 159  # 20 octets with the sign. RFC 5280 4.1.2.2
_BITS: Final = 0x03
_PRINTABLE: Final = 0x13
_PRINTABLE_CHARS: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?"
)
_COUNTRY: Final = NameOID.COUNTRY_NAME.dotted_string
_CHARS_OF: Final = {oid.dotted_string: most for oid, most in VALUE_CHARS_OF.items()}

_SIGNS: Final = frozenset({"digital_signature", "content_commitment"})
_USES_OF: Final = {  # RFC 5280 4.2.1.12: one of these is what a purpose needs
    ExtendedKeyUsageOID.SERVER_AUTH: {"digital_signature", "key_encipherment", "key_agreement"},
    ExtendedKeyUsageOID.CLIENT_AUTH: {"digital_signature", "key_agreement"},
    ExtendedKeyUsageOID.CODE_SIGNING: {"digital_signature"},
    ExtendedKeyUsageOID.EMAIL_PROTECTION: _SIGNS | {"key_encipherment", "key_agreement"},
    ExtendedKeyUsageOID.TIME_STAMPING: _SIGNS,
    ExtendedKeyUsageOID.OCSP_SIGNING: _SIGNS,
}
_NEVER_CRITICAL: Final = frozenset(  # RFC 5280 4.2.1.1, 4.2.1.2, 4.2.2.1; RFC 7633 4.1
    {
        x509.AuthorityKeyIdentifier.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.AuthorityInformationAccess.oid,
        x509.TLSFeature.oid,
    }
)


@unchecked_value_class
class UnsignedCertificate:
    """What is about to be signed, and what it is held against.

    `issuer_key` is how the key of the issuer is called; it is valid from `issuer_begin` to
    `issuer_end`. Times are aware UTC.
    """

    plan: CertificatePlan
    issuer: x509.Name
    issuer_key: bytes | None
    issuer_begin: datetime
    issuer_end: datetime
    serial: int
    begin: datetime
    end: datetime
    extensions: Sequence[x509.Extension[x509.ExtensionType]]

    def value(self, kind: type[_Kind]) -> _Kind | None:
        """Return the extension of a kind, None where it is not there."""
        return next((each.value for each in self.extensions if isinstance(each.value, kind)), None)


def check_unsigned(certificate: UnsignedCertificate) -> None:
    """Return for a certificate that may be signed. Raises Refused("issuer/lint")."""
    for rule, problem in findings(certificate):
        raise Refused("issuer/lint", f"{problem} ({rule})")


def findings(certificate: UnsignedCertificate) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a certificate: the name of the rule, and the text."""
    for rule, problems in _RULES.items():
        for problem in problems(certificate):
            yield rule, problem


def _serial_number(certificate: UnsignedCertificate) -> Iterator[str]:
    if certificate.serial <= 0 or certificate.serial.bit_length() > _SERIAL_BITS:
        yield "the serial number is not positive, or has more than 20 octets"


def _validity(certificate: UnsignedCertificate) -> Iterator[str]:
    begin, end, last = certificate.begin, certificate.end, certificate.plan.not_after
    if begin > end:
        yield "it ends before it begins"
    if begin.microsecond or end.microsecond:
        yield "its times are no whole seconds"
    if begin < certificate.issuer_begin or end > certificate.issuer_end:
        yield "it is valid when its issuer is not"
    if last is not None and end > last:
        yield "it is valid past not_after"


def _issuer(certificate: UnsignedCertificate) -> Iterator[str]:
    if not certificate.issuer.rdns:
        yield "the issuer has no name"  # RFC 5280 4.1.2.4
    own = certificate.value(x509.AuthorityKeyIdentifier)
    if own is None or own.key_identifier != certificate.issuer_key:
        yield "the authorityKeyIdentifier is not that of the issuer"
    if certificate.value(x509.SubjectKeyIdentifier) is None:
        yield "there is no subjectKeyIdentifier"


def _extensions(certificate: UnsignedCertificate) -> Iterator[str]:
    oids = [each.oid for each in certificate.extensions]
    if len(set(oids)) < len(oids):  # RFC 5280 4.2
        yield "an extension is there twice"
    for each in certificate.extensions:
        if each.critical and each.oid in _NEVER_CRITICAL:
            yield f"the extension {named(each.oid.dotted_string)} is critical"


def _key_usage(certificate: UnsignedCertificate) -> Iterator[str]:
    constraints = certificate.value(x509.BasicConstraints)
    is_ca = constraints is not None and constraints.ca
    usage = certificate.value(x509.KeyUsage)
    if usage is None:
        if is_ca:
            yield "a CA without keyUsage"
        return
    uses = _uses(usage)
    if not uses:
        yield "keyUsage allows nothing"
    if usage.key_cert_sign != is_ca:
        yield "keyCertSign and cA differ"  # RFC 5280 4.2.1.3, 4.2.1.9
    if wrong := uses & _uses_not_of(certificate.plan.public_key):
        yield f"keyUsage {min(wrong)} is none of such a key"
    purposes = certificate.value(x509.ExtendedKeyUsage)
    fitting = [_USES_OF.get(oid, uses) & uses for oid in purposes or ()]
    if fitting and not any(fitting):
        yield "no purpose of extendedKeyUsage goes with keyUsage"  # RFC 5280 4.2.1.12


def _uses(usage: x509.KeyUsage) -> set[str]:
    found = {
        "digital_signature": usage.digital_signature,
        "content_commitment": usage.content_commitment,
        "key_encipherment": usage.key_encipherment,
        "data_encipherment": usage.data_encipherment,
        "key_agreement": usage.key_agreement,
        "key_cert_sign": usage.key_cert_sign,
        "crl_sign": usage.crl_sign,
    }
    return {use for use, is_set in found.items() if is_set}


def _uses_not_of(key: CertificatePublicKeyTypes) -> frozenset[str]:
    """Return the uses that no key of a kind has. RFC 8813 3, RFC 3279 2.3.1, RFC 9295 3."""
    match key:
        case RSAPublicKey():
            return frozenset({"key_agreement"})
        case EllipticCurvePublicKey():
            return frozenset({"key_encipherment", "data_encipherment"})
        case _:
            return frozenset({"key_encipherment", "data_encipherment", "key_agreement"})


def _purposes(certificate: UnsignedCertificate) -> Iterator[str]:
    purposes = certificate.value(x509.ExtendedKeyUsage)
    if purposes is not None and len(set(purposes)) != len(list(purposes)):
        yield "a purpose of extendedKeyUsage is there twice"


def _subject(certificate: UnsignedCertificate) -> Iterator[str]:
    subject, constraints = certificate.plan.subject, certificate.value(x509.BasicConstraints)
    is_ca = constraints is not None and constraints.ca
    if not subject.rdns:
        alternatives = (
            each
            for each in certificate.extensions
            if isinstance(each.value, x509.SubjectAlternativeName)
        )
        if is_ca or not any(each.critical for each in alternatives):
            yield "no subject, and no critical subjectAltName"  # RFC 5280 4.1.2.6, 4.2.1.6
    elif subject == certificate.issuer and not is_ca:
        yield "the subject is that of the issuer"


def _alternative_names(certificate: UnsignedCertificate) -> Iterator[str]:
    names = certificate.value(x509.SubjectAlternativeName)
    if names is not None and not any(True for _ in names):
        yield "the subjectAltName is empty"  # RFC 5280 4.2.1.6


def _name_strings(certificate: UnsignedCertificate) -> Iterator[str]:
    if certificate.plan.keeps_names:
        return  # as they were certified before
    for rdn in children(read_element(certificate.plan.subject.public_bytes())):
        parts = [children(attribute) for attribute in children(rdn)]
        oids = [read_oid(oid) for oid, _ in parts]
        if len(set(oids)) < len(oids) or not oids:
            yield "a part of the subject is empty, or has an attribute twice"  # X.501 9.3
        for oid, (_, value) in zip(oids, parts, strict=True):
            if problem := _string_problem(oid, value.tag, value.content):
                yield f"{named(oid)} in the subject {problem}"


def _string_problem(oid: str, tag: int, content: bytes) -> str:
    if tag == _BITS and oid == NameOID.X500_UNIQUE_IDENTIFIER.dotted_string:
        return ""
    if tag not in READABLE_TAGS - {_BITS}:
        return "is no UTF8String, PrintableString or IA5String"  # RFC 5280 4.1.2.4
    if not content:
        return "is empty"
    if tag == _PRINTABLE and not _PRINTABLE_CHARS.issuperset(content):
        return f"holds what no PrintableString has: {shown(content.decode('latin-1'))}"
    chars = len(content.decode("utf-8", "replace"))
    if chars > _CHARS_OF.get(oid, chars) or (oid == _COUNTRY and chars != 2):
        return f"has {chars} characters"  # RFC 5280 appendix A.1
    return ""


_RULES: Final = {
    "serial-number": _serial_number,
    "validity": _validity,
    "issuer": _issuer,
    "extensions": _extensions,
    "key-usage": _key_usage,
    "extended-key-usage": _purposes,
    "subject": _subject,
    "subject-alt-name": _alternative_names,
    "name-strings": _name_strings,
}

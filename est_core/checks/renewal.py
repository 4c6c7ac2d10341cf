"""Does a request for renewal keep the identity of the certificate it replaces? RFC 7030 4.2.2."""

from __future__ import annotations

import string
from collections import Counter
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core._errors import Fault, RemoteProtocolError
from est_core._limits import Limits
from est_core._oids import CHANGE_SUBJECT_NAME
from est_core.asn1.attributes import read_general_names
from est_core.asn1.pkcs10 import CertRequest

_DNS_NAME_TAG: Final = 0x82
_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def check_renewal(csr: CertRequest, current: x509.Certificate, limits: Limits) -> bool:
    """Return whether the key changes (rekey), for a CSR that keeps subject and subjectAltName.

    Subjects are compared as RFC 5280 7.1 says: string type, case and runs of blanks do not
    matter. That goes for ASCII only: the full folding of RFC 4518 makes one name of "straße" and
    "strasse", which most who read certificates take for two. subjectAltNames are compared as
    sets. Raises RemoteProtocolError "renewal/subject",
    "renewal/subject-alt-name", "renewal/change-subject-name", or "renewal/certificate" where
    the current certificate cannot be read.
    """
    if csr.attribute(CHANGE_SUBJECT_NAME):
        raise _refusal("renewal/change-subject-name", "a change of names is not offered here")
    try:
        subject, names = current.subject, _subject_alt_name(current)
        spki = public_key_der(current)
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        Warning,  # for a long common name, where the program turned warnings into errors
    ) as exc:
        raise _refusal("renewal/certificate", "the current certificate is malformed") from exc
    if _comparable_name(csr.subject) != _comparable_name(subject):
        raise _refusal("renewal/subject", "the subject is not that of the current certificate")
    if _comparable_names(csr.subject_alt_name_der, limits) != _comparable_names(names, limits):
        raise _refusal(
            "renewal/subject-alt-name",
            "the subjectAltName is not that of the current certificate",
        )
    return csr.spki != spki


def public_key_der(certificate: x509.Certificate) -> bytes:
    """Return the SubjectPublicKeyInfo of a certificate in DER."""
    key = certificate.public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _refusal(code: str, message: str) -> RemoteProtocolError:
    return RemoteProtocolError(code, message, Fault.CONTENT)


def _subject_alt_name(certificate: x509.Certificate) -> bytes | None:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return None
    return extension.value.public_bytes()


def _comparable_name(name: x509.Name) -> list[Counter[tuple[str, str | bytes]]]:
    # Counted: an RDN with CN=a and CN=A has two parts, and is not the one with CN=a alone.
    return [
        Counter((part.oid.dotted_string, _comparable_text(part.value)) for part in rdn)
        for rdn in name.rdns
    ]


def _comparable_text(value: str | bytes) -> str | bytes:
    if not isinstance(value, str):
        return value
    return " ".join(filter(None, value.split(" "))).translate(_ASCII_LOWER)


def _comparable_names(der: bytes | None, limits: Limits) -> frozenset[bytes]:
    if der is None:
        return frozenset()
    return frozenset(
        name.lower() if name[0] == _DNS_NAME_TAG else name
        for name in read_general_names(der, limits)
    )

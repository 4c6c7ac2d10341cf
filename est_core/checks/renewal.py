"""Does a request for renewal keep the identity of the certificate it replaces? RFC 7030 4.2.2."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core._errors import Fault, RemoteProtocolError
from est_core._limits import Limits
from est_core._oids import CHANGE_SUBJECT_NAME
from est_core.arguments import checked
from est_core.asn1.certificates import UNREADABLE, names_of
from est_core.asn1.pkcs10 import CertRequest
from est_core.checks.names import canonical_general_names, same_name

OTHER_NAMES: Final = frozenset({"renewal/subject", "renewal/subject-alt-name"})
"""Codes that say that a request has other names than the certificate it is held against."""


@checked
def check_renewal(csr: CertRequest, current: x509.Certificate, limits: Limits) -> bool:
    """Return whether the key changes (rekey), for a CSR that keeps subject and subjectAltName.

    Subjects are compared as RFC 5280 7.1 says, subjectAltNames as sets of names that compare as
    RFC 5280 7.2 to 7.5 say: see `est_core.checks.names`. Raises RemoteProtocolError
    "renewal/subject", "renewal/subject-alt-name", "renewal/change-subject-name", or
    "renewal/certificate" where the current certificate cannot be read.
    """
    if csr.attribute(CHANGE_SUBJECT_NAME):
        raise _refusal("renewal/change-subject-name", "a change of names is not offered here")
    try:
        subject, names = names_of(current, {csr.subject_der: csr.subject})
        kept = canonical_general_names(names, limits)
        key = current.public_key()
    except RemoteProtocolError as exc:
        raise _unreadable(exc.message) from exc
    except UNREADABLE as exc:
        raise _unreadable("its public key cannot be read") from exc
    if subject is not csr.subject and not same_name(csr.subject, subject):
        raise _refusal("renewal/subject", "the subject is not that of the current certificate")
    asked = canonical_general_names(csr.subject_alt_name_der, limits)
    if asked != kept:
        raise _refusal(
            "renewal/subject-alt-name",
            "the subjectAltName is not that of the current certificate",
        )
    return csr.public_key() != key


def public_key_der(certificate: x509.Certificate) -> bytes:
    """Return the SubjectPublicKeyInfo of a certificate in DER."""
    key = certificate.public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _refusal(code: str, message: str) -> RemoteProtocolError:
    return RemoteProtocolError(code, message, Fault.CONTENT)


def _unreadable(reason: str) -> RemoteProtocolError:
    return _refusal("renewal/certificate", f"the current certificate is malformed: {reason}")

"""Does a request for renewal keep the identity of the certificate it replaces? RFC 7030 4.2.2."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core._errors import Fault, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1.certificates import UNREADABLE, names_of
from est_core.asn1.pkcs10 import CertRequest
from est_core.asn1.requested import name_kind
from est_core.checks.names import (
    CanonicalName,
    CanonicalNames,
    canonical_general_names,
    same_name,
    shown_name,
)

OTHER_NAMES: Final = frozenset({"renewal/subject", "renewal/subject-alt-name"})
"""Codes that say that a request has other names than the certificate it is held against."""

_SHOWN_NAMES: Final = 4


@checked
def check_renewal(csr: CertRequest, current: x509.Certificate, limits: Limits) -> bool:
    """Return whether the key changes (rekey), for a CSR that keeps subject and subjectAltName.

    Subjects are compared as RFC 5280 7.1 says, subjectAltNames as sets of names that compare as
    RFC 5280 7.2 to 7.5 say: see `est_core.checks.names`. What a ChangeSubjectName asks for is not
    looked at. Raises RemoteProtocolError "renewal/subject", "renewal/subject-alt-name", or
    "renewal/certificate" where the current certificate cannot be read.
    """
    try:
        subject, names = names_of(current, {csr.subject_der: csr.subject})
        kept = canonical_general_names(names, limits)
        key = current.public_key()
    except RemoteProtocolError as exc:
        raise _unreadable(exc.message) from exc
    except UNREADABLE as exc:
        raise _unreadable("its public key cannot be read") from exc
    if subject is not csr.subject and not same_name(csr.subject, subject):
        text = f"the subject is {_told(csr.subject)}, that of the current certificate is"
        raise _refusal("renewal/subject", f"{text} {_told(subject)}")
    asked = canonical_general_names(csr.subject_alt_name_der, limits)
    if asked != kept:
        text = "the subjectAltName is not that of the current certificate"
        raise _refusal("renewal/subject-alt-name", f"{text}: {_difference(asked, kept)}")
    return csr.public_key() != key


def public_key_der(certificate: x509.Certificate) -> bytes:
    """Return the SubjectPublicKeyInfo of a certificate in DER."""
    key = certificate.public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _told(name: x509.Name) -> str:
    return shown_name(name.rfc4514_string()) or "empty"


def _difference(asked: CanonicalNames, kept: CanonicalNames) -> str:
    """Return which names a request lacks, and which it has beside those of the certificate."""
    sides = (("lacks", kept - asked), ("has", asked - kept))
    return ", ".join(f"it {verb} {_some(names)}" for verb, names in sides if names)


def _some(names: CanonicalNames) -> str:
    texts = sorted(_text(name) for name in names)
    more = f" and {len(texts) - _SHOWN_NAMES} more" if len(texts) > _SHOWN_NAMES else ""
    return f"{', '.join(texts[:_SHOWN_NAMES])}{more}"


def _text(name: bytes | CanonicalName | str) -> str:
    if isinstance(name, str):
        return shown_name(name)
    if isinstance(name, tuple):
        return "a directoryName"
    kind = name_kind(name[0])
    if kind == "dNSName":
        return shown_name(f"{kind} {name[1:].decode('latin-1')}")
    return f"an {kind}" if kind[0] in "aeio" else f"a {kind}"


def _refusal(code: str, message: str) -> RemoteProtocolError:
    return RemoteProtocolError(code, message, Fault.CONTENT)


def _unreadable(reason: str) -> RemoteProtocolError:
    return _refusal("renewal/certificate", f"the current certificate is malformed: {reason}")

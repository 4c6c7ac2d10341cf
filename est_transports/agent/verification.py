"""Whether a certificate that came may take the place of the running one. RFC 7030 4.2.1, 3.6."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core import Limits, RemoteProtocolError
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request
from est_core.checks.issued import issued_differences
from est_core.values import unchecked_value_class
from est_transports.pki.chains import chain_problem

OTHER_KEY: Final = "response/other-key"
NOT_AS_ASKED: Final = "response/not-as-asked"
UNTRUSTED: Final = "response/untrusted-certificate"
NOT_YET_VALID: Final = "response/not-yet-valid"


@unchecked_value_class
class Refusal:
    """Why a certificate is not used. With `keep` it may be, later: nothing is wrong with it."""

    code: str
    message: str
    keep: bool = False


def public_spki(certificate: x509.Certificate) -> bytes:
    """Return the public key of a certificate as a SubjectPublicKeyInfo in DER."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def refusal_of(
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    *,
    spki: bytes,
    request: bytes | None,
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> Refusal | None:
    """Return why a certificate may not be used, None if it may.

    It has to be for the key, and as its `request` asked: for those names, no CA's, not expired.
    A valid path leads from it, by way of `chain`, to an anchor. `now` is aware UTC.
    """
    if public_spki(certificate) != spki:
        return Refusal(code=OTHER_KEY, message="the certificate is for another key")
    asked = _request(request)
    if asked is None:
        return Refusal(code=NOT_AS_ASKED, message="what was asked for is not known any more")
    differences = issued_differences(asked, certificate, now=now)
    dangerous = [each.text for each in differences if each.dangerous]
    if dangerous:
        return Refusal(code=NOT_AS_ASKED, message=f"the certificate {'; it '.join(dangerous)}")
    begin = certificate.not_valid_before_utc
    if begin > now:
        text = f"the certificate is not valid before {begin:%Y-%m-%d %H:%M:%SZ}"
        return Refusal(code=NOT_YET_VALID, message=text, keep=True)
    problem = chain_problem(certificate, anchors=anchors, others=chain, now=now)
    if problem:
        text = f"no valid path leads from the certificate to a trust anchor: {problem}"
        return Refusal(code=UNTRUSTED, message=text)
    return None


def _request(der: bytes | None) -> CertRequest | None:
    try:
        return None if der is None else parse_cert_request(der, Limits())
    except RemoteProtocolError:
        return None

"""Certificates as operations answer with them: certs-only CMS, on CoAP one certificate too."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from est_core._errors import RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1._der import check_der
from est_core.asn1.certificates import UnreadableCertificate
from est_core.asn1.cms import read_certs_only, write_bag
from est_core.asn1.kinds import Kind, kind_of
from est_core.codec.media import ContentFormat
from est_core.operation import CoapAnswer

CERTS_ONLY: Final = "certs-only"
"""What a part of that kind is called."""

_LIMITS: Final = Limits()


def _only_certificate(bag: bytes) -> bytes | None:
    """Return the certificate of a bag that holds one, and None for any other bag."""
    try:
        certificates = read_certs_only(bag, _LIMITS)
    except RemoteProtocolError:
        return None
    return certificates[0].public_bytes(Encoding.DER) if len(certificates) == 1 else None


def _bag_of(payload: bytes, limits: Limits) -> bytes:
    """Return a bag that holds a bare certificate.

    One that cannot be read is no less the one that was issued.
    """
    check_der(payload, limits, max_bytes=limits.response_body_bytes)
    if kind_of(payload) is not Kind.CERTIFICATE:
        raise RemoteProtocolError("cms/bad-certificate", "the answer is not a certificate")
    return write_bag([payload])


# RFC 9148 4.3: 287 can take the place of 281 where there is one certificate.
COAP_ANSWERS: Final = (
    CoapAnswer(number=ContentFormat.CERTS_ONLY),
    CoapAnswer(number=ContentFormat.PKIX_CERT, write=_only_certificate, read=_bag_of),
)


def told(left_out: tuple[UnreadableCertificate, ...]) -> str:
    """Return the first certificate that was left out, and how many more."""
    more = f"; and {len(left_out) - 1} more" * (len(left_out) > 1)
    return f"{left_out[0].text}{more}" if left_out else "there is no certificate"
